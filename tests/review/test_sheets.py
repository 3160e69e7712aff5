"""Blinded sheets: nothing in a reader's folder tells real from synthetic, and filled sheets find their way back."""

import hashlib
import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hidden_text import found

from sciimg.errors import InputError
from sciimg.protocol.data import StainSeparation
from sciimg.protocol.validation import ReviewPlan
from sciimg.review.items import scramble
from sciimg.review.presentation import presentation_of
from sciimg.review.score import score_files
from sciimg.review.sheets import write_sheets
from sciimg.types import Spacing

PLAN = ReviewPlan(readers=2, items=12, repeats=0.25, catch_pairs=2)
READERS = ("Ada", "Ben")


def make(tissue, folder, **changes):
    real, synthetic = tissue
    show = presentation_of(real.images, real.channels, real.spacing, StainSeparation(kind="stain-separation"))
    options = {
        "out": folder / "sheets",
        "key_file": folder / "key.json",
        "readers": READERS,
        "seed_key": ("study", "ldm"),
        "title": "Colon",
    }
    return write_sheets(real, synthetic, show, PLAN, **(options | changes))


@pytest.fixture(scope="module")
def written(tissue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    return folder, make(tissue, folder)


def digests(folder):
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_each_reader_gets_pages_and_forms_and_nothing_else(written):
    folder, _ = written
    names = {p.relative_to(folder / "sheets").as_posix() for p in (folder / "sheets").rglob("*") if p.is_file()}
    assert names == {f"reader-{n}/{f}" for n in (1, 2) for f in ("sheet.html", "sheet.pdf", "answers.xlsx", "answers.csv")}
    assert (folder / "key.json").exists()


def test_what_the_key_says_was_planned(written):
    _, key = written
    for number, reader in enumerate(READERS, start=1):
        lines = [line for line in key.items if line.reader == reader]
        assert Counter(line.role for line in lines) == {"main": 12, "repeat": 3, "catch": 2}
        assert Counter(line.truth for line in lines if line.role == "main") == {"real": 6, "synthetic": 6}
        assert [line.item for line in lines] == [f"r{number}-{i:03d}" for i in range(1, 18)]
        place = {line.stimulus: i for i, line in enumerate(lines) if line.role == "main"}
        assert all(i - place[line.stimulus] >= len(lines) // 4 for i, line in enumerate(lines) if line.role == "repeat")
    shown = [{line.stimulus for line in key.items if line.reader == r and line.role == "main"} for r in READERS]
    assert shown[0] == shown[1]  # the same images, so that readers can be compared
    orders = [[line.stimulus for line in key.items if line.reader == r] for r in READERS]
    assert orders[0] != orders[1]


def test_sources_lead_back_to_the_images(written, tissue):
    _, key = written
    for name, source in key.sources.items():
        assert source["image"] == ("made" if source["truth"] == "synthetic" and "scrambled" not in source else "real"), name


def test_nothing_a_reader_holds_names_a_kind_or_a_source(written):
    folder, _ = written
    for path in (folder / "sheets").rglob("sheet.html"):
        text = re.sub(r'src="data:[^"]*"|<style>.*?</style>', "", path.read_text(), flags=re.DOTALL)
        assert re.findall(r"scrambl|catch|repeat|holdout|\bmade\b|s0\d\d|sha256", text) == []
        assert len(set(re.findall(r'alt="(Item) r\d-\d{3}"', text))) == 1
    for line in (folder / "sheets/reader-1/answers.csv").read_text().splitlines()[1:]:
        assert re.fullmatch(r"Ada,r1-\d{3},,,", line)


@pytest.mark.parametrize("task", ["yes-no", "2afc"])
def test_no_file_of_a_reader_holds_a_kind_or_a_source_packed_or_not(tissue, tmp_path, task):
    real, synthetic = (
        replace(s, table=s.table.assign(image=[f"{word}-{i}" for i in range(len(s))], origin="[0, 0]"))
        for s, word in zip(tissue, ("Qholdout", "Qmade"), strict=True)
    )
    show = presentation_of(real.images, real.channels, real.spacing, StainSeparation(kind="stain-separation"))
    plan = PLAN.model_copy(update={"task": task})
    options = {"out": tmp_path / "sheets", "key_file": tmp_path / "key.json", "readers": READERS, "seed_key": ("study", "ldm")}
    write_sheets(real, synthetic, show, plan, title="Colon", **options)
    words = ["Qholdout", "Qmade", "scramble", "stimulus", "truth", '"catch"', '"repeat"']
    files = [p for p in (tmp_path / "sheets").rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".html", ".pdf", ".xlsx", ".csv"}
    assert found([p for p in files if p.suffix != ".pdf"], words) == []
    pdfs = [p for p in files if p.suffix == ".pdf"]
    assert found(pdfs, words[:5]) == [] and all(p.read_bytes()[:5] == b"%PDF-" and p.stat().st_size > 10_000 for p in pdfs)
    assert {secret for _, secret in found([tmp_path / "key.json"], words)} >= {"Qholdout", "Qmade", "truth"}, (
        "the search reads what it is given"
    )


def test_real_and_synthetic_pictures_have_one_size_and_encoding(written):
    import base64

    from PIL import Image

    folder, _ = written
    pictures = re.findall(r'src="data:image/png;base64,([^"]*)"', (folder / "sheets/reader-1/sheet.html").read_text())
    opened = [Image.open(io.BytesIO(base64.b64decode(p))) for p in pictures]
    assert len(opened) == 17
    assert {(p.size, p.mode, tuple(p.info)) for p in opened} == {((224, 224), "RGB", ())}


def test_same_study_same_bytes(written, tissue, tmp_path):
    folder, key = written
    assert make(tissue, tmp_path) == key
    assert digests(tmp_path) == digests(folder)
    other = make(tissue, tmp_path / "other", seed_key=("another study", "ldm"))
    assert [i.stimulus for i in other.items] != [i.stimulus for i in key.items]


def test_workbook_offers_the_answers_and_locks_the_rest(written):
    folder, _ = written
    sheet = openpyxl.load_workbook(folder / "sheets/reader-1/answers.xlsx").active
    assert [c.value for c in sheet[1]] == ["reader", "item", "answer", "confidence", "comment"]
    rules = {str(v.sqref): v.formula1 for v in sheet.data_validations.dataValidation}
    assert rules == {"C2:C18": '"real,synthetic"', "D2:D18": '"1,2,3,4,5"'}
    assert sheet.protection.sheet
    assert [c.protection.locked for c in sheet[2]] == [True, True, False, False, False]


def fill(folder: Path, reader: int, answer) -> Path:
    path = folder / f"reader-{reader}/answers.xlsx"
    book = openpyxl.load_workbook(path)
    for row in book.active.iter_rows(min_row=2):
        row[2].value = answer(row[1].value)
    target = folder / f"filled-{reader}.xlsx"
    book.save(target)
    return target


def test_filled_workbooks_are_scored(tissue, tmp_path):
    key = make(tissue, tmp_path)
    truth = {line.item: line.truth for line in key.items}
    files = [fill(tmp_path / "sheets", n, truth.get) for n in (1, 2)]
    scored = score_files(files, tmp_path / "key.json")
    assert (scored.readers, scored.items, scored.accuracy, scored.agreement["fleiss_kappa"]) == (2, 12, 1.0, 1.0)
    assert [(r.repeats_same, r.catches_seen) for r in scored.per_reader] == [(3, 2), (3, 2)]


def test_forgotten_lines_and_swapped_sheets_are_named(tissue, tmp_path):
    make(tissue, tmp_path)
    first = fill(tmp_path / "sheets", 1, lambda item: None if item == "r1-004" else "real")
    with pytest.raises(InputError) as error:
        score_files([first], tmp_path / "key.json")
    assert {(p.kind, p.where) for p in error.value.problems} == {("unanswered", "Ada"), ("missing-reader", "Ben")}
    assert "r1-004" in str(error.value)


def test_refusals_name_every_problem_and_leave_nothing(tissue, tmp_path):
    with pytest.raises(InputError) as error:
        make(tissue, tmp_path, key_file=tmp_path / "sheets/key.json", readers=("Ada", "Ada"))
    assert {p.kind for p in error.value.problems} == {"key-inside", "bad-readers"}
    real, synthetic = tissue
    with pytest.raises(InputError) as error:
        make((real.take([0]), synthetic.take([0, 1])), tmp_path)
    assert {p.kind for p in error.value.problems} == {"too-few-images"}
    assert len(error.value.problems) == 2  # both shortages
    assert list(tmp_path.iterdir()) == []


def test_another_key_is_never_overwritten(tissue, tmp_path):
    make(tissue, tmp_path)
    before = (tmp_path / "key.json").read_text()
    with pytest.raises(InputError, match="Another key"):
        make(tissue, tmp_path, out=tmp_path / "again", seed_key=("other", "ldm"))
    assert (tmp_path / "key.json").read_text() == before
    assert json.loads(before)["sciimg_review_key"] == 1


def test_volumes_are_shown_as_three_planes(tissue, tmp_path):
    def volumes(patches):
        images = np.repeat(patches.images[:, :1, None], 4, axis=2)
        return replace(patches, images=images, channels=("t1",), spacing=Spacing((1.0, 1.0, 1.0), "millimeter"))

    real, synthetic = (volumes(p) for p in tissue)
    show = presentation_of(real.images, real.channels, real.spacing)
    key = write_sheets(
        real, synthetic, show, PLAN, out=tmp_path / "s", key_file=tmp_path / "k.json", readers=["A"], seed_key=("x",), title="T1"
    )
    assert len(key.items) == 17
    assert "three planes" in (tmp_path / "s/reader-1/sheet.html").read_text()


def test_scrambling_moves_blocks_and_keeps_intensities(tissue):
    image = tissue[0].images[0]
    torn = scramble(image, np.random.default_rng(3))
    assert np.array_equal(np.sort(torn, axis=None), np.sort(image, axis=None))
    assert np.mean(torn != image) > 0.5
