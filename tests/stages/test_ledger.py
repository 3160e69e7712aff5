"""The ledger carries out a stage exactly once, and never believes a half-done one."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from sciimg.errors import BusyError
from sciimg.files import hold
from sciimg.stages.ledger import Run, Stage, folder_digest, perform

STUDY = Path(__file__).parents[2] / "protocols" / "tissue-demo.yaml"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.begin(STUDY, tmp_path)


def writes(text: str, name: str = "first", needs: tuple[str, ...] = ()) -> Stage:
    return Stage(name, needs, lambda run, out: (out / "result.txt").write_text(text) and None)


def test_a_done_stage_is_not_done_again(run: Run) -> None:
    assert perform(writes("a"), run)
    assert not perform(writes("b"), run)
    assert (run.folder("first") / "result.txt").read_text() == "a"


def test_changed_parameters_redo_the_stage_and_what_needs_it(run: Run) -> None:
    second = writes("x", "second", ("first",))
    perform(writes("a"), run)
    perform(second, run)
    changed = Stage("first", (), lambda r, out: (out / "result.txt").write_text("b") and None, parameters=lambda r: {"v": 2})
    assert perform(changed, run)
    assert not second.is_done(run)
    assert perform(second, run)


def test_equal_outputs_leave_later_stages_done(run: Run) -> None:
    second = writes("x", "second", ("first",))
    perform(writes("a"), run)
    perform(second, run)
    again = Stage("first", (), lambda r, out: (out / "result.txt").write_text("a") and None, parameters=lambda r: {"v": 2})
    perform(again, run)
    assert second.is_done(run)


def test_an_interrupted_stage_continues_from_what_it_left(run: Run) -> None:
    def breaks(run: Run, out: Path) -> None:
        (out / "part-1").write_text("kept")
        raise RuntimeError("power cut")

    def continues(run: Run, out: Path) -> None:
        assert (out / "part-1").read_text() == "kept"
        (out / "part-2").write_text("new")

    with pytest.raises(RuntimeError, match="power cut"):
        perform(Stage("first", (), breaks), run)
    assert not run.folder("first").exists()
    assert perform(Stage("first", (), continues), run)
    assert {p.name for p in run.folder("first").iterdir()} == {"part-1", "part-2", "stage.json"}


def test_remains_of_other_inputs_are_not_used(run: Run) -> None:
    def breaks(run: Run, out: Path) -> None:
        (out / "old").write_text("stale")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        perform(Stage("first", (), breaks), run)
    fresh = Stage("first", (), lambda r, out: (out / "new").write_text("x") and None, parameters=lambda r: 1)
    perform(fresh, run)
    assert {p.name for p in run.folder("first").iterdir()} == {"new", "stage.json"}


def test_a_missing_need_is_named(run: Run) -> None:
    with pytest.raises(Exception, match="needs 'first'"):
        perform(writes("x", "second", ("first",)), run)


def test_the_ledger_names_inputs_outputs_and_costs(run: Run) -> None:
    perform(writes("a"), run)
    entry = json.loads((run.folder("first") / "stage.json").read_text())
    assert entry["inputs"]["study"] == run.loaded.study.digest
    assert entry["outputs"] == folder_digest(run.folder("first"))
    assert entry["timings"]["wall_s"] >= 0
    assert entry["environment"]["numpy"]


def _hold(path: Path, held: "multiprocessing.synchronize.Event") -> None:
    with hold(path):
        held.set()
        time.sleep(60)


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / ".lock", held))
    process.start()
    try:
        assert held.wait(30)
        with pytest.raises(BusyError, match=f"process {process.pid}"), hold(tmp_path / ".lock", patience_s=0.2):
            pass
    finally:
        process.kill()
        process.join()
    with hold(tmp_path / ".lock"):
        pass  # the kernel gave it back


def test_only_the_ledgers_own_files_are_left_out_of_a_digest(tmp_path: Path) -> None:
    """A file whose name only ends like that of one is an output."""
    (tmp_path / "model").mkdir()
    before = folder_digest(tmp_path)
    (tmp_path / "model" / "training.json").write_text("{}")
    assert folder_digest(tmp_path) == before
    (tmp_path / "model" / "my-training.json").write_text("{}")
    assert folder_digest(tmp_path)["files"] == before["files"] + 1
