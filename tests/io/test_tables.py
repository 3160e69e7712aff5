"""Tables: values keep their kind, rows find their image, contradictions are named by line."""

import sys
from datetime import date, datetime
from pathlib import Path
from zipfile import ZipFile

import openpyxl
import pytest

from sciimg.errors import InputError, MissingExtraError
from sciimg.io.tables import read_table
from sciimg.protocol.data import Table


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


def workbook(path, rows, change=None):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if change:
        change(book)
    with path.open("wb") as stream:
        book.save(stream)
    return path


ROWS = [
    ["id", "n", "day", "mean"],
    ["a", 1, date(2024, 2, 1), 0.5],
    ["b", 2.0, datetime(2024, 2, 1, 13, 5), None],
    [None],
    ["007", 3, None, 2],
]


def sheet(folder, rows=ROWS, change=None, name="t.xlsx"):
    workbook(folder / name, rows, change)
    return read_table(Table(uri=name, key="id"), folder)


@pytest.mark.parametrize("name", ["t.xlsx", "t.csv"])
def test_a_workbook_gives_values_and_its_own_row_numbers(tmp_path, name):
    rows = sheet(tmp_path, name=name)
    assert rows.values["a"] == {"n": 1, "day": "2024-02-01", "mean": 0.5}
    assert rows.values["b"] == {"n": 2, "day": "2024-02-01T13:05:00", "mean": None}
    assert rows.lines == {"a": 2, "b": 3, "007": 5}
    assert rows.notes == ()


def test_contradictions_of_a_workbook_are_listed_with_their_rows(tmp_path):
    rows = sheet(tmp_path, [["id", "g"], ["a", "x"], ["b", "x"], ["a", "y"], ["../c", "x"], [None, "x"]])
    assert set(rows.values) == {"b"}
    assert {p.kind: p.where for (p,) in rows.problems.values()} == {
        "rows-contradict": "t.xlsx:2",
        "path-escape": "t.xlsx:5",
        "row-without-key": "t.xlsx:6",
    }
    assert "lines 2, 4" in rows.problems["a"][0].message


def test_what_a_workbook_hides_is_refused(tmp_path):
    def merged(book):
        book.active.merge_cells("B2:B3")

    def formula(book):
        book.active["B2"] = "=1+1"  # saved without a value, as no spreadsheet program computed it

    def fault(book):
        book.active["B3"] = "#N/A"

    for change, word in ((merged, "B2:B3"), (formula, "B2"), (fault, "B3")):
        with pytest.raises(InputError) as caught:
            sheet(tmp_path, change=change)
        assert {p.kind for p in caught.value.problems} == {"table-syntax"} and word in str(caught.value)


def test_the_first_visible_sheet_is_read_and_the_others_are_noted(tmp_path):
    def more(book):
        book.create_sheet("hidden", 0).sheet_state = "hidden"

    rows = sheet(tmp_path, change=more)
    assert set(rows.values) == {"a", "b", "007"}
    assert [p.kind for p in rows.notes] == ["more-sheets"]


def test_bombs_and_old_workbooks(tmp_path, monkeypatch):
    workbook(tmp_path / "t.xlsx", ROWS)
    with ZipFile(tmp_path / "t.xlsx", "a") as archive:
        archive.writestr("xl/x.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(InputError, match="xml-entities"):
        read_table(Table(uri="t.xlsx", key="id"), tmp_path)
    workbook(tmp_path / "t.xlsx", ROWS)
    monkeypatch.setattr("sciimg.io.sheets._MOST", 2**10)
    with pytest.raises(InputError, match="absurd-size"):
        read_table(Table(uri="t.xlsx", key="id"), tmp_path)
    (tmp_path / "t.xlsx").write_bytes(b"\xd0\xcf\x11\xe0" + b"\0" * 600)
    with pytest.raises(InputError, match="old or locked"):
        read_table(Table(uri="t.xlsx", key="id"), tmp_path)


def test_openpyxl_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    workbook(tmp_path / "t.xlsx", ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match="pip install openpyxl"):
        read_table(Table(uri="t.xlsx", key="id"), tmp_path)


@pytest.mark.parametrize(("text", "name"), [("id;v\na;1,5\n", "t.csv"), ("id\tv\na\t1,5\n", "t.csv"), ("id\tv\na\t1,5\n", "t.tab")])
def test_other_delimiters(tmp_path, text, name):
    assert rows_of(tmp_path, text, name=name).values["a"] == {"v": "1,5"}


def test_keys_that_lead_out_of_the_source(tmp_path):
    rows = rows_of(tmp_path, "id,v\n../a.tif,1\nx/../../b,2\n..\\c,3\nd..e,4\n/abs/f.tif,5\n")
    assert set(rows.values) == {"d..e", "/abs/f.tif"}
    assert {p.kind for found in rows.problems.values() for p in found} == {"path-escape"}
    assert rows.key_of(Path("/f.tif")) is None


def test_doubtful_columns_are_noted_with_their_rows(tmp_path):
    body = "".join(f"i{n},{n / 2},{'Control' if n % 2 else 'drug'},x\n" for n in range(8))
    rows = rows_of(tmp_path, "id,dose,arm,k\n" + body + "i8,n/a,control,x\ni9,4,drug ,X\n")
    assert [(p.where, p.kind) for p in rows.notes] == [("t.csv:10", "mixed-column"), ("t.csv:3", "spelling"), ("t.csv:2", "spelling")]
    assert "'n/a' (line 10)" in rows.notes[0].message and "'Control' (line 3), 'control' (line 10)" in rows.notes[1].message
    assert len(rows.values) == 10
