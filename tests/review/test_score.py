"""Filled tables read back and scored; every problem named at once."""

import csv
import io

import openpyxl
import pytest

from sciimg.errors import InputError
from sciimg.review.key import KeyItem, ReviewKey
from sciimg.review.score import score_files

pytestmark = pytest.mark.usefixtures("few_rounds")
HEADER = "reader,item,answer,truth\n"


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def kinds(error):
    return [p.kind for p in error.value.problems]


@pytest.fixture
def long_table(tmp_path):
    """Three readers, ten items; each reader is right on eight of them."""
    lines = [
        f"{reader},{item},{truth if (item + shift) % 5 else other},{truth}"
        for shift, reader in enumerate(("anna", "ben", "chi"))
        for item in range(10)
        for truth, other in [("real", "synthetic") if item % 2 else ("synthetic", "real")]
    ]
    return write(tmp_path / "long.csv", HEADER + "\n".join(lines) + "\n")


@pytest.fixture
def key(tmp_path):
    items = [
        KeyItem(reader=f"r{r}", item=f"r{r}-{i}", stimulus=f"s{i % 6}", truth="real" if i % 6 < 3 else "synthetic",
                role="catch" if i % 6 == 5 else "repeat" if i == 6 else "main")
        for r in (1, 2)
        for i in range(7)
    ]  # fmt: skip
    key = ReviewKey(readers=("r1", "r2"), items=tuple(items), sources={})
    key.write(tmp_path / "key.json")
    return tmp_path / "key.json"


def filled(path, reader, answers):
    return write(path, "reader,item,answer,confidence\n" + "".join(f"{reader},{reader}-{i},{a},3\n" for i, a in enumerate(answers)))


def test_long_table_gives_the_documented_json(long_table):
    summary = score_files([long_table]).summary()
    assert list(summary)[:8] == ["readers", "items", "accuracy", "ci95", "p_value", "d_prime", "agreement", "equivalence"]
    assert (summary["readers"], summary["items"], summary["accuracy"]) == (3, 10, 0.8)
    assert set(summary["agreement"]) == {"fleiss_kappa", "gwet_ac1", "krippendorff_alpha"}
    assert summary["p_value"] == pytest.approx(0.0014309, abs=1e-6)  # binomial, 24 of 30
    assert summary["equivalence"]["equivalent"] is False


def test_without_a_key_the_score_says_so(long_table):
    assert any("no key" in note for note in score_files([long_table]).notes)


def test_a_step_that_became_a_decimal_number_is_still_one(tmp_path):
    table = write(tmp_path / "a.csv", "reader,item,answer,truth,confidence\na,1,real,real,3.0\na,2,synthetic,synthetic,\n")
    assert score_files([table]).confidence[0]["confidence"] == 3
    with pytest.raises(InputError) as error:
        score_files([write(tmp_path / "b.csv", table.read_text().replace("3.0", "3.5"))])
    assert kinds(error) == ["out-of-scale"]


def test_windows_spreadsheet_csv_reads_the_same(long_table, tmp_path):
    text = long_table.read_text().replace(",", ";").replace("real", "Real ").replace("\n", "\r\n")
    other = write(tmp_path / "excel.csv", "Please fill in;;;\r\n" + text, encoding="utf-8-sig")
    assert score_files([other]) == score_files([long_table])


def test_workbook_reads_the_same_whatever_its_name(long_table, tmp_path):
    book = openpyxl.Workbook()
    for row in csv.reader(io.StringIO(long_table.read_text())):
        book.active.append([int(c) if c.isdecimal() else c for c in row])
    book.save(tmp_path / "filled.xlsx")
    (tmp_path / "filled.xlsx").rename(tmp_path / "filled.csv")
    assert score_files([tmp_path / "filled.csv"]) == score_files([long_table])


def test_order_of_files_and_lines_does_not_matter(long_table, tmp_path):
    header, *lines = long_table.read_text().splitlines()
    a = write(tmp_path / "a.csv", "\n".join([header, *lines[20:]]))
    b = write(tmp_path / "b.csv", "\n".join([header, *reversed(lines[:20])]))
    assert score_files([a, b]) == score_files([long_table])


def test_every_problem_of_a_table_at_once(tmp_path):
    table = write(
        tmp_path / "bad.csv",
        HEADER
        + "anna,1,real,real\nanna,1,synthetic,real\nben,1,fake,real\n,2,real,real\n"
        + "ben,3,real,\nben,4,real,real\nanna,4,real,synthetic\nben,5,,real\n",
    )
    with pytest.raises(InputError) as error:
        score_files([table, tmp_path / "gone.csv", write(tmp_path / "empty.csv", ""), write(tmp_path / "odd.csv", "a,b\n1,2\n")])
    assert set(kinds(error)) == {
        "two-answers", "out-of-scale", "missing-reader", "missing-truth", "two-truths", "unanswered",
        "missing-file", "empty-file", "missing-column",
    }  # fmt: skip
    assert any(p.where == "bad.csv:4" and "'fake'" in p.message for p in error.value.problems)


def test_sheets_with_a_key(tmp_path, key):
    right = ["real", "real", "real", "synthetic", "synthetic", "synthetic", "real"]
    wrong_repeat = [*right[:6], "synthetic"]
    scored = score_files([filled(tmp_path / "1.csv", "r1", right), filled(tmp_path / "2.csv", "r2", wrong_repeat)], key)
    assert (scored.readers, scored.items, scored.trials, scored.accuracy) == (2, 5, 10, 1.0)  # repeats and catches stay out
    assert [(r.repeats, r.repeats_same, r.catches, r.catches_seen) for r in scored.per_reader] == [(1, 1, 1, 1), (1, 0, 1, 1)]
    assert scored.agreement["gwet_ac1"] == 1


def test_every_problem_of_sheets_at_once(tmp_path, key):
    one = write(
        tmp_path / "1.csv",
        "reader,item,answer,confidence\nr1,r1-0,real,9\nr1,r1-1,real,\nr1,r1-1,real,\nr1,r2-3,real,\nr1,zzz,real,\nwho,r1-2,real,\nr1,r1-2,,\n",
    )
    with pytest.raises(InputError) as error:
        score_files([one], key)
    assert sorted(kinds(error)) == [
        "missing-reader", "out-of-scale", "two-answers", "unanswered", "unknown-item", "unknown-item", "unknown-reader",
    ]  # fmt: skip
    assert any("belongs to r2's sheet" in p.message for p in error.value.problems)
    missing = next(p for p in error.value.problems if p.kind == "missing-reader")
    assert missing.where == "r2"


def test_partial_scoring_says_what_is_missing(tmp_path, key):
    scored = score_files([filled(tmp_path / "1.csv", "r1", ["real", "real"])], key, partial=True)
    assert scored.trials == 2
    assert scored.agreement["fleiss_kappa"] is None
    assert scored.d_prime is None
    assert any("No answer of r2" in note for note in scored.notes)


def test_an_untouched_twin_of_a_filled_sheet_does_no_harm(tmp_path, key):
    answers = ["real"] * 7
    files = [filled(tmp_path / f"{r}.csv", r, answers) for r in ("r1", "r2")]
    twin = filled(tmp_path / "twin.csv", "r1", [""] * 7)
    assert score_files([*files, twin], key) == score_files(files, key)


def test_a_file_that_is_not_a_key(tmp_path, long_table):
    with pytest.raises(InputError) as error:
        score_files([long_table], long_table)
    assert kinds(error) == ["not-a-key"]
