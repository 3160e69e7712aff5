"""The ledger carries out a stage exactly once, and never believes a half-done one."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sciimg.errors import BusyError
from sciimg.files import hold, write_bytes
from sciimg.stages.ledger import Run, Stage, folder_digest, partial_folder, perform

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


def _killed_while_it_writes(study: Path, workdir: Path) -> None:
    def work(run: Run, out: Path) -> None:
        write_bytes(out / "inner" / "part-1", b"kept")
        os.fsync = lambda handle: os._exit(9)
        write_bytes(out / "inner" / "part-2", b"half")

    perform(Stage("first", (), work), Run.begin(study, workdir))


def test_nothing_of_a_killed_write_is_in_what_a_stage_made(run: Run, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_killed_while_it_writes, args=(STUDY, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert [p.name for p in partial_folder(run, "first").rglob(".part-2.*.partial")]

    def goes_on(run: Run, out: Path) -> None:
        assert [p.name for p in (out / "inner").iterdir()] == ["part-1"]  # before anything is listed, and signed, inside of the stage
        (out / "inner" / f".part-3.{process.pid}.partial").write_bytes(b"of a worker that was killed")
        for name in (".synthetic.partial", ".synthetic.field"):
            (out / name / ".work").mkdir(parents=True)
            (out / name / ".work/late").write_bytes(b"of a worker that was given up")

    assert perform(Stage("first", (), goes_on), run)
    assert {p.relative_to(run.folder("first")).as_posix() for p in run.folder("first").rglob("*") if p.is_file()} == {
        "inner/part-1",
        "stage.json",
    }


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


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_lines_of_stages_at_the_same_time_stay_whole(unbuffered: str) -> None:
    """`print` writes a line and its end apart where output is unbuffered: lines of two stages ran into one another."""
    script = """
from threading import Thread
from sciimg.stages.ledger import log
threads = [Thread(target=lambda k=k: [log(f"stage-{k}-{i}: begins") for i in range(300)]) for k in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
"""
    about = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    said = subprocess.run([sys.executable, "-c", script], env=about, capture_output=True, text=True, check=True).stderr
    assert sorted(said.splitlines()) == sorted(f"stage-{k}-{i}: begins" for k in range(8) for i in range(300))
