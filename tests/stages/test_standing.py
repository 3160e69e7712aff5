"""How a run stands, as `sciimg info` tells it."""

import fcntl
import json
from pathlib import Path

import pytest

from sciimg.files import write_json
from sciimg.report.costs import cells, duration, processor_hours, reasons, size, totals
from sciimg.stages.costs.measured import measured
from sciimg.stages.info import describe, table
from sciimg.stages.ledger import Run, Stage, partial_folder, perform
from sciimg.stages.standing import standing

STUDY = Path(__file__).parents[2] / "protocols" / "smoke.yaml"
HOUR = {
    "wall_s": 3600.0,
    "cpu_s": 1800.0,
    "gpu_s": 0.0,
    "peak_mb": 100.0,
    "peak_tree_mb": 300.0,
    "energy_wh": 5.0,
    "attempts": 1,
    "unknown": {},
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.begin(STUDY, tmp_path)


def states(run: Run) -> dict[str, str]:
    return {s["stage"]: s["state"] for s in standing(run)}


def test_every_state_is_told_apart(run: Run) -> None:
    perform(Stage("ingest", (), lambda r, out: None), run)
    for name in ("split", "train-ldm", "train-gan"):
        partial_folder(run, name).mkdir()
        with measured(partial_folder(run, name)):
            pass
    write_json(run.path / "logs" / "train-gan.problems.json", {"problems": [{"where": "w", "kind": "k", "message": "Out of luck."}]})
    with (run.path / ".split.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = {s["stage"]: s for s in standing(run)}
        assert found["split"]["state"] == "going on" and found["split"]["since"].endswith("Z") and found["split"]["wall_s"] >= 0
    assert found["ingest"]["state"] == "done" and found["ingest"]["done"]
    assert (found["train-gan"]["state"], found["train-gan"]["why"]) == ("failed", "Out of luck.")
    assert found["baseline"]["state"] == "waiting" and "wall_s" not in found["baseline"]
    assert states(run)["split"] == states(run)["train-ldm"] == "interrupted"
    said = table(describe(run.path))
    assert "train-gan failed: Out of luck." in said and "1 of 12 done" in said


def test_a_stage_of_another_machine_goes_on_while_its_costs_are_written(run: Run) -> None:
    partial_folder(run, "split").mkdir()
    with measured(partial_folder(run, "split")):
        (run.path / ".split.lock").write_text("process 1 on another-machine")
        assert states(run)["split"] == "going on"
    assert states(run)["split"] == "interrupted"


def test_numbers_have_their_units_in_their_names_and_add_up(run: Run) -> None:
    for name, needs in (("ingest", ()), ("split", ("ingest",))):
        perform(Stage(name, needs, lambda r, out: (out / "f").write_bytes(bytes(1000)) and None), run)
    about = json.loads(json.dumps(describe(run.path)))
    done = [s for s in about["stages"] if s["done"]]
    assert about["totals"]["wall_s"] == pytest.approx(sum(s["wall_s"] for s in done))
    assert about["totals"]["output_bytes"] == 2000
    assert about["totals"]["peak_mb"] == max(s["peak_mb"] for s in done)


def test_what_folds_took_is_told_apart() -> None:
    assert processor_hours({"ingest": HOUR, "fold-1-train-ldm": HOUR, "fold-2-train-ldm": HOUR, "folds-ldm": HOUR}) == {
        "study": 1.0,
        "folds": 1.0,
    }
    assert processor_hours({"ingest": HOUR}) == {"study": 0.5}


def test_totals_leave_out_what_is_not_known_and_say_of_how_many() -> None:
    found = totals([HOUR, HOUR | {"energy_wh": None}])
    assert (found["wall_s"], found["peak_mb"], found["energy_wh"]) == (7200, 100, 5)
    assert found["unknown_in"]["energy_wh"] == 1 and "wall_s" not in found["unknown_in"]


def test_a_ledger_of_an_earlier_version_says_what_it_knows() -> None:
    old = {"started": "2026-01-01T00:00:00Z", "wall_s": 12.5, "cpu_s": 12.0, "peak_mb": 400.2}
    assert cells(old) == ("12.5 s", "12.0 s", "?", "400 MiB", "?", "?", "?", "?")
    assert len(reasons([old])) == 1 and "earlier version" in reasons([old])[0]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min"), (None, "?")]
)
def test_durations_in_words(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_600, "1 MB"), (2.5e12, "2.5 TB"), (None, "?")]
)
def test_sizes_in_words(count: float | None, said: str) -> None:
    assert size(count) == said
