"""What a run cost stands in the report of a run, and never in a report that is released."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sciimg.report.build import report_of_run
from sciimg.report.model import ReportModel, Section, Table
from sciimg.report.runs import report_of_runs

COST = {
    "started": "2026-01-02T03:04:05Z", "attempts": 1, "unseen_s": 0, "wall_s": 90.0, "cpu_s": 3600.0, "gpu_s": 30.0, "gpu": "a GPU",
    "peak_mb": 800.0, "peak_tree_mb": 1600.0, "peak_gpu_mb": 10.0, "read_bytes": 2_000_000, "written_bytes": 3000, "energy_wh": 1.25,
    "energy_from": "counters", "machine": {}, "unknown": {},
}  # fmt: skip
LATER = COST | {"started": "2026-01-02T04:00:00Z", "attempts": 2, "unseen_s": 5.0, "gpu_s": 0.0, "energy_wh": None}


def write(run: Path, **timings: Any) -> None:
    for stage, own in timings.items():
        folder = run / stage.replace("_", "-")
        folder.mkdir(exist_ok=True)
        entry = {"timings": own, "outputs": {"bytes": 5_000_000}, "environment": {"numpy": "2.0"}}
        (folder / "stage.json").write_text(json.dumps(entry))


@pytest.fixture
def run(refused_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(refused_run, tmp_path / "run")
    write(tmp_path / "run", split=LATER | {"unknown": {"energy_wh": "no counters"}}, ingest=COST, fold_1_train_ldm=COST)
    return tmp_path / "run"


def appendix(report: ReportModel) -> Section:
    return next(s for s in report.sections if s.name == "appendix")


def tables(report: ReportModel) -> list[Table]:
    return [b for b in appendix(report).blocks if b.kind == "table" and b.caption == "What it cost"]


def test_the_appendix_shows_every_stage_and_all_together(run: Path) -> None:
    report = report_of_run(run)
    (table,) = tables(report)
    assert [row[0] for row in table.rows] == ["fold-1-train-ldm", "ingest", "split", "all"]
    assert table.rows[1][1:] == ("1 min 30 s", "1 h 00 min", "30.0 s", "800 (1600) MiB", "2 MB", "3 kB", "5 MB", "1.25 Wh")
    assert table.rows[2][3] == "–" and table.rows[2][-1] == "?"
    assert table.rows[3][1:4] == ("4 min 30 s", "3 h 00 min", "1 min 00 s") and table.rows[3][-1] == "2.5 Wh"
    (said,) = [b.text for b in appendix(report).blocks if b.kind == "prose" and "Processor hours" in b.text]
    assert "2.00 for the study and 1.00 for the folds" in said and "Energy: no counters." in said and "at most 5 s" in said


def test_a_report_that_is_released_is_the_same_whatever_it_cost(run: Path) -> None:
    before = report_of_run(run, costs=False)
    write(run, ingest=COST | {"wall_s": 1.0, "attempts": 7})
    assert report_of_run(run, costs=False) == before
    assert not tables(before) and "sciimg info" in " ".join(b.text for b in appendix(before).blocks if b.kind == "prose")
    assert report_of_run(run) != before


def test_several_runs_side_by_side_say_what_each_cost(run: Path, refused_run: Path) -> None:
    (overview,) = [b for b in report_of_runs([run, refused_run]).sections[0].blocks if b.kind == "table"]
    assert [c.title for c in overview.columns][-2:] == ["Processor", "Energy"]
    assert sorted(row[-2:] for row in overview.rows) == [("3 h 00 min", "2.5 Wh"), ("none", "none")]
