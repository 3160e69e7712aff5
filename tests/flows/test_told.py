"""What reaches Prefect: errors without names of files, parameters refused at once, a run at one look."""

import base64
import json
from pathlib import Path

import pytest

from flows.parameters import check_study_parameters
from flows.revalidation import _sentence, revalidation_flow
from flows.study import stage_task
from flows.told import ToldError, veiled
from flows.watch import watch_flow
from sciimg.errors import InputError, Problem, StudyError
from sciimg.files import write_json
from sciimg.stages import overview
from sciimg.stages.ledger import Run

ROOT = Path(__file__).parents[2]
SMITH = Problem("data/smith.tif", "truncated", "smith.tif ends early.")


@pytest.mark.parametrize("error", [InputError([SMITH, SMITH]), PermissionError(13, "Permission denied", "data/smith.tif")])
def test_an_error_is_told_without_names_and_carried_in_full(error: Exception) -> None:
    with pytest.raises(ToldError) as told, veiled("Stage 'ingest' has failed", "See the log."):
        raise error
    assert "smith" not in str(told.value) + repr(told.value) and "See the log." in str(told.value)
    assert told.value.__cause__ is None and told.value.__suppress_context__
    assert any("smith" in p.where for p in told.value.problems) and told.value.exit_code == 2


def test_a_mistake_in_a_study_is_told_with_its_line() -> None:
    with pytest.raises(ToldError, match=r"study.yaml:3: gates \[unknown-key\]"), veiled("No", "Look."):
        raise StudyError(Problem("study.yaml:3: gates", "unknown-key", "got 'smith'"))


def test_a_stage_that_failed_is_told_by_kind(tmp_path: Path) -> None:
    run = Run.begin(ROOT / "protocols/smoke.yaml", tmp_path)

    def runner(stage: str, folder: Path, log_file: Path) -> int:
        write_json(folder / f"logs/{stage}.problems.json", {"exit_code": 2, "problems": [SMITH.as_dict()]})
        return 2

    with pytest.raises(ToldError, match=r"Stage 'split' has failed: 1 problem \(truncated\)\.") as told:
        stage_task.fn(str(run.path), "split", None, runner)  # type: ignore[arg-type]
    assert "smith" not in str(told.value) and told.value.problems == (SMITH,)


def test_every_wrong_parameter_of_a_study_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as error:
        check_study_parameters(str(tmp_path / "none.yaml"), str(tmp_path / "file"), True, "abacus")
    assert [p.where for p in error.value.problems] == ["study_file", "workdir", "slots", "engine_name"]
    with pytest.raises(InputError, match="It is a text that is not empty; got None"):
        check_study_parameters(None, "runs", 1, "local")  # type: ignore[arg-type]


def test_wrong_parameters_of_the_other_flows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder: The folder to watch must exist"):
        watch_flow.fn(str(tmp_path / "none"), str(tmp_path / "c"))
    with pytest.raises(InputError, match="workdir: The folder of runs must exist"):
        revalidation_flow.fn(str(tmp_path / "none"))
    with pytest.raises(InputError, match="trust: It is a text; got 3"):
        revalidation_flow.fn(str(tmp_path), "", 3)  # type: ignore[arg-type]


def test_the_sheet_shows_what_is_released_and_nothing_else(tmp_path: Path) -> None:
    from report_run import make_run

    run = Run(make_run(tmp_path, good=True))
    decision = json.loads((run.folder("decide") / "decision.json").read_text())
    sheet = overview.sample_sheet(run)
    assert decision["released"] == "ldm"
    assert sheet is not None and base64.b64decode(sheet.partition(",")[2]).startswith(b"\x89PNG")
    rows = overview.gate_rows(run)
    assert [row["gate"] for row in rows] == [gate["gate"] for gate in decision["gates"]] and "reason" not in rows[0]
    write_json(run.folder("decide") / "decision.json", decision | {"decision": "refused", "released": None})
    assert overview.sample_sheet(run) is None


@pytest.mark.parametrize(
    ("now", "moved", "said"),
    [
        ("accepted", [], "Still accepted. 0 of 5 numbers moved; libraries of another version: none."),
        ("refused", [1, 2], "Signed as accepted, today it would be refused. 2 of 5 numbers moved; libraries of another version: none."),
    ],
)
def test_revalidation_says_what_moved(now: str, moved: list[int], said: str) -> None:
    value = {"verdict": "?", "decision": {"signed": "accepted", "now": now}, "moved": moved, "compared": 5, "environment": {}}
    assert _sentence(value) == said
