"""Pairs, criteria and checklists: one session, read from workbooks and tables alike, whatever side a picture stood on."""

import csv
from collections import Counter

import numpy as np
import openpyxl
import pytest

from sciimg.errors import InputError
from sciimg.protocol.data import StainSeparation
from sciimg.protocol.validation import Criterion, ReviewPlan
from sciimg.review.items import draw_session
from sciimg.review.presentation import presentation_of
from sciimg.review.questions import questions
from sciimg.review.score import score_files
from sciimg.review.sheets import write_sheets

pytestmark = pytest.mark.usefixtures("few_rounds")
CRITERIA = (
    Criterion(name="sharpness", question="How sharp?"),
    Criterion(name="realism", question="Real?", anchors=("no", "perhaps", "yes")),
)
ASKED = {"criteria": CRITERIA, "artefacts": ("blur", "seams")}
PLANS = {task: ReviewPlan(readers=3, items=10, repeats=0.3, catch_pairs=2, task=task, margin=0.2, **ASKED) for task in ("yes-no", "2afc")}
READERS = ("Ada", "Ben", "Chi")


def lines(key, reader, role):
    return [line for line in key.of(reader) if line.role == role]


@pytest.fixture(scope="module")
def session(tissue):
    return draw_session(*tissue, PLANS["2afc"], READERS, ("study", "ldm"))


def test_every_reader_sees_the_same_pairs_on_sides_of_their_own(session):
    key = session.key
    shown = [{line.stimulus: frozenset(line.pictures) for line in lines(key, r, "main")} for r in READERS]
    assert shown[0] == shown[1] == shown[2] and len(shown[0]) == 10
    sides = [{line.stimulus: line.truth for line in lines(key, r, "main")} for r in READERS]
    assert sides[0] != sides[1]
    for reader in READERS:
        assert abs(Counter(line.truth for line in key.of(reader))["a"] - len(key.of(reader)) / 2) <= 1


def test_the_right_answer_of_a_pair_is_its_synthetic_picture(session):
    for line in session.key.items:
        kinds = [session.key.sources[picture]["truth"] for picture in line.pictures]
        assert sorted(kinds) == ["real", "synthetic"]
        assert kinds["ab".index(line.truth)] == "synthetic"


def test_catch_pairs_show_a_real_image_beside_itself_torn(session):
    for line in lines(session.key, "Ada", "catch"):
        torn, intact = sorted(line.pictures, key=lambda p: "scrambled" not in session.key.sources[p])
        one, other = session.pictures[torn], session.pictures[intact]
        assert np.array_equal(np.sort(one, axis=None), np.sort(other, axis=None)) and not np.array_equal(one, other)
        in_main = {p for of in lines(session.key, "Ada", "main") for p in of.pictures}
        assert intact not in in_main  # who has seen it beside its torn twin would know it again


def test_repeats_show_the_same_pair_late(session):
    for reader in READERS:
        order = session.key.of(reader)
        first = {line.stimulus: (i, set(line.pictures)) for i, line in enumerate(order) if line.role == "main"}
        again = [(i, line) for i, line in enumerate(order) if line.role == "repeat"]
        assert len(again) == 3
        assert all(first[line.stimulus][1] == set(line.pictures) and i - first[line.stimulus][0] > 2 for i, line in again)


def test_names_of_pictures_do_not_tell_their_kind(session):
    first = [min(line.pictures) == line.pictures["ab".index(line.truth)] for line in lines(session.key, "Ada", "main")]
    assert 0 < sum(first) < len(first)


# ---------------------------------------------------------------- from sheets to scores


def answer(key, line, column, skill):
    """Return what a made-up reader says: sure to find the synthetic image, or its opposite; blur is on synthetic images alone."""
    name, *side = column.split(" ")
    picture = line.pictures["ab".index(side[0])] if side else line.pictures[0]
    synthetic = key.sources[picture]["truth"] == "synthetic"
    other = {"a": "b", "b": "a", "real": "synthetic", "synthetic": "real"}
    said = {"answer": line.truth if skill else other[line.truth], "confidence": 4, "sharpness": 2 if synthetic else 5, "realism": 2}
    return said.get(name, "X" if name == "blur" and synthetic else None)


def fill(folder, key, number, skill=True):
    """Fill workbook and table of one reader alike."""
    reader = key.readers[number - 1]
    book = openpyxl.load_workbook(folder / f"sheets/reader-{number}/answers.xlsx")
    by_item = {line.item: line for line in key.of(reader)}
    head = [cell.value for cell in book["answers"][1]]
    for row in book["answers"].iter_rows(min_row=2):
        for cell, column in zip(row[2:], head[2:], strict=True):
            cell.value = answer(key, by_item[row[1].value], column, skill)
    book.save(folder / f"{number}.xlsx")
    with (folder / f"sheets/reader-{number}/answers.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == head
    for row in rows[1:]:
        row[2:] = [str(answer(key, by_item[row[1]], column, skill) or "") for column in head[2:]]
    with (folder / f"{number}.csv").open("w") as stream:
        csv.writer(stream, delimiter=";").writerows(rows)
    return folder / f"{number}.xlsx", folder / f"{number}.csv"


@pytest.fixture(scope="module", params=["yes-no", "2afc"])
def filled(request, tissue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    real, synthetic = tissue
    show = presentation_of(real.images, real.channels, real.spacing, StainSeparation(kind="stain-separation"))
    places = {"out": folder / "sheets", "key_file": folder / "key.json"}
    key = write_sheets(real, synthetic, show, PLANS[request.param], readers=READERS, seed_key=("s",), title="C", **places)
    return folder, key, [fill(folder, key, n) for n in (1, 2, 3)]


def test_workbooks_and_tables_score_the_same(filled):
    folder, key, files = filled
    scored = score_files([book for book, _ in files], folder / "key.json")
    assert scored == score_files([table for _, table in files], folder / "key.json")
    assert (scored.task, scored.readers, scored.items, scored.accuracy) == (key.plan.task, 3, 10, 1.0)
    assert scored.agreement["gwet_ac1"] == 1  # all chose the same pictures, on whichever side they stood
    assert scored.catches == {"shown": 6, "seen": 6}
    assert (scored.repeatability["answers"].value, scored.repeatability["answers"].n) == (1, 9)
    assert scored.equivalence["margin"] == 0.2


def test_criteria_and_artefacts_are_told_apart_by_kind(filled):
    folder, key, files = filled
    scored = score_files([book for book, _ in files], folder / "key.json")
    each = 30 if key.plan.task == "2afc" else 15
    sharpness, realism = scored.criteria
    assert (sharpness.real, sharpness.synthetic) == ((0, 0, 0, 0, each), (0, each, 0, 0, 0))
    assert (sharpness.difference.value, sharpness.superiority.value) == (-3, 0)
    assert sharpness.agreement["gwet_ac2"].value == 1
    assert (realism.difference.value, realism.superiority.value) == (0, 0.5)
    assert realism.agreement["krippendorff_alpha"].value is None  # everyone gave 2 to everything
    assert (sharpness.repeats, sharpness.repeats_same) == (9 * (2 if key.plan.task == "2afc" else 1),) * 2
    blur, seams = scored.artefacts
    assert (blur.real, blur.of_real, blur.synthetic, blur.of_synthetic) == (0, each, each, each)
    assert (seams.difference.value, seams.difference.ci95) == (0, None) and "no spread" in seams.difference.reason


def test_agreement_does_not_depend_on_sides(filled):
    """One who is always wrong disagrees with the two others about every item, also where sides were swapped."""
    folder, key, files = filled
    wrong, _ = fill(folder, key, 3, skill=False)
    scored = score_files([files[0][0], files[1][0], wrong], folder / "key.json")
    assert [r.accuracy for r in scored.per_reader] == [1, 1, 0]
    assert scored.agreement["krippendorff_alpha"] < 0.05
    assert any("Chi missed 2" in note for note in scored.notes)
    fill(folder, key, 3)


def test_every_problem_of_a_filled_sheet_is_named(filled):
    folder, key, files = filled
    book = openpyxl.load_workbook(files[0][0])
    sheet = book["answers"]
    column = {cell.value.split(" ")[0]: cell.column for cell in reversed(sheet[1])}
    sheet.cell(2, column["sharpness"]).value = 6
    sheet.cell(3, column["blur"]).value = "maybe"
    sheet.cell(4, column["answer"]).value = "a" if key.plan.task == "yes-no" else "real"
    sheet.cell(5, column["realism"]).value = None
    sheet.cell(6, column["confidence"]).value = 0
    book.save(folder / "bad.xlsx")
    table = (folder / "2.csv").read_text().splitlines()
    (folder / "cut.csv").write_text("\n".join(";".join(line.split(";")[:3]) for line in table))
    with pytest.raises(InputError) as error:
        score_files([folder / "bad.xlsx", folder / "cut.csv"], folder / "key.json")
    found = Counter((p.kind, p.where) for p in error.value.problems)
    for row in (2, 3, 4, 6):
        assert found["out-of-scale", f"bad.xlsx:{row}"] == 1
    assert found["missing-column", str(folder / "cut.csv")] == 1
    assert found["missing-reader", "Chi"] == 1
    assert any(p.kind == "unanswered" and "realism" in p.message and p.where == "Ada" for p in error.value.problems)
    scale = next(p.message for p in error.value.problems if p.where == "bad.xlsx:2")
    assert "1 (very poor) to 5 (very good)" in scale and "'6'" in scale


def test_a_column_that_stands_twice_is_not_guessed_at(filled):
    folder, _, files = filled
    text = files[1][1].read_text().replace("comment", "confidence", 1)
    (folder / "twice.csv").write_text(text)
    with pytest.raises(InputError) as error:
        score_files([folder / "twice.csv"], folder / "key.json")
    assert any(p.kind == "two-columns" and "'confidence'" in p.message for p in error.value.problems)


def test_workbooks_offer_every_scale_and_lock_the_rest(filled):
    folder, key, _ = filled
    book = openpyxl.load_workbook(folder / "sheets/reader-1/answers.xlsx")
    sheet, words = book["answers"], book["questions"]
    asked = questions(key.plan)
    assert [c.value for c in sheet[1]] == ["reader", "item", *(q.column for q in asked)]
    rules = {rule.formula1.strip('"').split(",")[0]: rule for rule in sheet.data_validations.dataValidation}
    assert len(sheet.data_validations.dataValidation) == sum(bool(q.choices) for q in asked)
    assert rules["x"].showErrorMessage and all(len(r.prompt) <= 255 and len(r.promptTitle) <= 32 for r in rules.values())
    assert sheet.protection.sheet and words.protection.sheet
    assert [c.protection.locked for c in sheet[2]] == [True, True] + [False] * len(asked)
    assert [row[0].value for row in words.iter_rows(min_row=2)] == [q.column for q in asked]
    assert "1 = no, 2 = perhaps, 3 = yes" in [row[2].value for row in words.iter_rows(min_row=2)]


def test_long_tables_of_pairs_need_no_key(tmp_path):
    rows = [f"{r},{i},{'ab'[(i + (i == 3)) % 2]},{'ab'[i % 2]}" for r in ("x", "y") for i in range(8)]
    (tmp_path / "long.csv").write_text("reader,item,answer,truth\n" + "\n".join(rows))
    scored = score_files([tmp_path / "long.csv"])
    assert (scored.task, scored.accuracy, scored.agreement["gwet_ac1"]) == ("2afc", 14 / 16, 1)
    (tmp_path / "mixed.csv").write_text("reader,item,answer,truth\n" + "\n".join([*rows, "z,1,real,real"]))
    with pytest.raises(InputError) as error:
        score_files([tmp_path / "mixed.csv"])
    assert {p.kind for p in error.value.problems} == {"two-tasks", "two-truths"}
