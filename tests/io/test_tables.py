"""Tables: values keep their kind, rows find their image, contradictions are named by line."""

from pathlib import Path

import pytest

from sciimg.errors import InputError
from sciimg.io.tables import read_table
from sciimg.protocol.models import Table


def rows_of(folder, text, key="id", name="t.csv", **options):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(Table(uri=name, key=key, **options), folder)


def problems(folder, text, **options):
    with pytest.raises(InputError) as caught:
        rows_of(folder, text, **options)
    return caught.value.problems


def test_values_keep_their_kind(tmp_path):
    rows = rows_of(tmp_path, "id,n,mean,code,group,note\na,1,0.5,007,x,\nb,-2,1e3,010,y,inf\nc,,,,,\n")
    assert rows.values["a"] == {"n": 1, "mean": 0.5, "code": "007", "group": "x", "note": None}
    assert rows.values["b"] == {"n": -2, "mean": 1000.0, "code": "010", "group": "y", "note": "inf"}
    assert set(rows.values["c"].values()) == {None}
    assert rows.frame.loc["b", "n"] == -2
    assert rows.lines == {"a": 2, "b": 3, "c": 4}


def test_tab_separated_with_a_byte_order_mark_and_quotes(tmp_path):
    rows = rows_of(tmp_path, '\ufeffid\tnote\n001\t"two\nlines"\n002\tplain\n', name="t.tsv")
    assert rows.values["001"] == {"note": "two\nlines"}
    assert rows.values["002"] == {"note": "plain"}


def test_where_keeps_rows_and_remembers_the_others(tmp_path):
    rows = rows_of(tmp_path, "id,kind,day\na,x,1\nb,y,1\nc,x,2\n", where={"kind": ("x",), "day": ("1", "3")})
    assert set(rows.values) == {"a"}
    assert rows.excluded == {"b", "c"}
    (problem,) = problems(tmp_path, "id,kind\na,x\n", where={"kind": ("z",)})
    assert problem.kind == "no-rows" and "kind in ['z']" in problem.message


@pytest.mark.parametrize(
    ("key", "path", "found"),
    [
        ("a1", "x/a1.nii.gz", True),
        ("a1.nii.gz", "x/a1.nii.gz", True),
        ("a1.ome.tif", "x/a1.ome.tif", True),
        ("x/a1.tif", "data/x/a1.tif", True),
        ("y/a1.tif", "data/x/a1.tif", False),
        ("a1", "x/a10.tif", False),
        ("a.1", "x/a.1.tif", True),
    ],
)
def test_keys_are_stems_names_or_ends_of_paths(tmp_path, key, path, found):
    rows = rows_of(tmp_path, f"id,v\n{key},1\n")
    assert (rows.key_of(Path(path)) is not None) is found


def test_contradicting_rows_are_named_by_line_and_the_others_stay(tmp_path):
    rows = rows_of(tmp_path, "id,v,w\na,1,1\nb,2,1\na,3,1\nc,4,1\nc,4,1\n,5,1\n")
    assert set(rows.values) == {"b", "c"}
    (problem,) = rows.problems["a"]
    assert (problem.where, problem.kind) == ("t.csv:2", "rows-contradict")
    assert "lines 2, 4" in problem.message and "differ in v" in problem.message
    assert rows.problems[""][0].kind == "row-without-key"


def test_rows_without_an_image_are_counted_with_their_lines(tmp_path):
    rows = rows_of(tmp_path, "id,v\n" + "".join(f"i{n},0\n" for n in range(40)))
    (problem,) = rows.without_image(f"i{n}" for n in range(20))
    assert "20 do not (lines 22, 23," in problem.message
    assert rows.without_image(rows.values) == ()


def test_every_missing_column_at_once_with_the_one_that_was_meant(tmp_path):
    found = problems(tmp_path, "image_id,phenotype\na,x\n", key="imageid", where={"phenotyp": ("x",)})
    assert [p.kind for p in found] == ["missing-column"] * 2
    assert "Did you mean 'image_id'?" in found[0].message and "Did you mean 'phenotype'?" in found[1].message


@pytest.mark.parametrize("text", [b"id,v\na\n", b"id,id\na,b\n", b"", b"id,v\n\xff\xfe,1\n", b'id,v\n"a,1\n'])
def test_what_is_no_table(tmp_path, text):
    assert {p.kind for p in problems(tmp_path, text)} == {"table-syntax"}
