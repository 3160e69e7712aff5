"""Runs side by side, deviations from a plan, and the way from a guideline's topics to a report's sections."""

import json
import re
import shutil
from pathlib import Path

import pytest
from report_run import make_run

from sciimg.errors import InputError
from sciimg.report.build import report_of_run, write_report
from sciimg.report.runs import report_of_runs, runs_in
from sciimg.report.sections.crosswalk import guidelines
from sciimg.stages.report import report_command


def every(sections, kind):
    for own in sections:
        yield from (b for b in own.blocks if b.kind == kind)
        yield from every(own.parts, kind)


def names(sections):
    for own in sections:
        yield own.name
        yield from names(own.parts)


@pytest.fixture(scope="module")
def two(tmp_path_factory, refused_run) -> Path:
    """The refused run, and the same study registered later with another bar."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(refused_run, folder / "first")
    shutil.copytree(refused_run, folder / "second")
    study = folder / "second/study.yaml"
    study.write_text(study.read_text().replace("registered: 2026-01-15", "registered: 2026-02-01").replace("count: 64", "count: 96"))
    return folder


def test_runs_are_compared_gate_by_gate_on_one_scale(two: Path) -> None:
    page = report_of_runs(runs_in(two))
    assert page.verdict.sentence == "2 refused." and page.study == "fixture"
    decision = json.loads((two / "first/decide/decision.json").read_text())
    blocks = list(every(page.sections, "gates"))
    assert sum(len(b.lines) for b in blocks) == 2 * len(decision["gates"])
    for block in blocks:
        drawn = [line.ruler.data for line in block.lines if line.ruler]
        bars = {tuple(re.findall(r'<line x1="([\d.]+)" x2="\1" y1="3"', svg)) for svg in drawn}
        assert len(bars) <= 1  # the same bar stands at the same place in every row


def test_what_changed_between_two_studies_of_one_name_is_said(two: Path) -> None:
    (table,) = (t for t in every(report_of_runs(runs_in(two)).sections, "table") if t.columns[0].title == "Key")
    assert {row[0]: row[1:] for row in table.rows} == {"registered": ("2026-01-15", "2026-02-01"), "generate.count": ("64", "96")}


def test_the_page_of_runs_has_two_faces_and_is_written_the_same_again(two: Path, tmp_path: Path) -> None:
    files = [Path(f) for f in report_command(two, plan=False, out=tmp_path)["files"]]
    assert [f.name for f in files] == ["runs.html", "runs.pdf"]
    before = [f.read_bytes() for f in files]
    write_report(report_of_runs(runs_in(two)), tmp_path)
    assert [f.read_bytes() for f in files] == before


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds study\.yaml"):
        report_command(tmp_path, plan=False, out=tmp_path)


def test_every_topic_of_a_guideline_stands_in_a_section_or_says_why_not(refused) -> None:
    there = set(names(refused.sections))
    for guideline in guidelines():
        for item in guideline["items"]:
            assert set(item) <= {"n", "topic", "in", "not", "but"} and ("in" in item) != ("not" in item), item
            assert set(item.get("in", ())) <= there, item
    shown = next(s for s in refused.sections if s.name == "crosswalk")
    assert [t.caption.partition(" (")[0] for t in every([shown], "table")] == [g["name"] for g in guidelines()]


def test_deviations_are_found_in_the_records(refused_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(refused_run, run)

    def said() -> str:
        section = next(s for own in report_of_run(run).sections for s in own.parts if s.name == "deviations")
        return " ".join(b.text if b.kind == "prose" else " ".join(b.items) for b in section.blocks)

    for stage, version in (("ingest", "1.0"), ("verify", "2.0")):
        (run / stage).mkdir(exist_ok=True)
        (run / stage / "stage.json").write_text(json.dumps({"environment": {"numpy": version, "machine": stage}}))
    (run / "train-ldm/model").mkdir(parents=True, exist_ok=True)
    card = run / "train-ldm/model/model.json"
    card.write_text(json.dumps((json.loads(card.read_text()) if card.exists() else {}) | {"device": "cuda:0"}))
    study = run / "study.yaml"
    study.write_text(study.read_text() + "review: {readers: 3}\n")
    found = said()
    assert "different versions of numpy: 1.0 and 2.0" in found and "machine" not in found.replace("another machine", "")
    assert "Recipe ldm was trained on cuda:0" in found and "3 readers were planned; none has answered yet" in found


def test_nothing_but_what_the_records_show_is_a_deviation(tmp_path: Path) -> None:
    run = make_run(tmp_path, good=True)
    (section,) = (s for own in report_of_run(run).sections for s in own.parts if s.name == "deviations")
    assert [b.items for b in section.blocks] == [("1 input was quarantined and took no part; Data says which and why.",)]
    (run / "ingest/rejected.json").unlink()
    (section,) = (s for own in report_of_run(run).sections for s in own.parts if s.name == "deviations")
    assert [b.kind for b in section.blocks] == ["prose"]
