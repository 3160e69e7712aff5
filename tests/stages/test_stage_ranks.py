"""A stage that several processes were started for, as srun does: one writes and speaks, and all end alike; signals; exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sciimg.stages import signals
from sciimg.stages.__main__ import main
from sciimg.stages.ledger import Run, perform
from sciimg.stages.plan import plan_of

ROOT = Path(__file__).parents[2]
SMOKE = (ROOT / "protocols/smoke.yaml").read_text()
SHORT = "training.steps: 8, training.batch: 5, training.warmup: 5, training.precision: fp32, training.held_out_patches: 4"
STUDY = (
    SMOKE[: SMOKE.index("recipes:\n")]
    + f"""recipes:
  - name: gan
    recipe: gan
    options: {{{SHORT}, training.checkpoint_every: 1000, backbone.generator: [16, 16, 16], backbone.discriminator: [16, 16, 16]}}
"""
    + SMOKE[SMOKE.index("generate:\n") :]
).replace("[64, 64]\nconditions", "[32, 32]\nconditions")


# ---------------------------------------------------------------- in this process


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "study.yaml").write_text(STUDY)
    return Run.begin(tmp_path / "study.yaml", tmp_path / "runs")


def test_a_stage_that_does_not_train_is_the_first_ones_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process ends at once, with nothing written and nobody waited for."""
    monkeypatch.setattr("sciimg.stages.ledger.perform", lambda stage, run: done.append(stage.name))
    done: list[str] = []
    for rank in ("1", "0"):
        for name, value in told(rank, 1).items():
            monkeypatch.setenv(name, value)
        before = sorted(run.path.rglob("*"))
        assert main("verify", str(run.path)) == 0
        assert sorted(run.path.rglob("*")) == before
    assert done == ["verify"]


def test_ranks_that_contradict_are_said_by_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (told("2", 1) | {"SLURM_PROCID": "2"}).items():
        monkeypatch.setenv(name, value)
    assert main("train-gan", str(run.path)) == 2
    note = json.loads((run.path / "logs/train-gan.problems.json").read_text())
    assert note["exit_code"] == 2 and note["problems"][0]["where"] == "SLURM_PROCID"


@pytest.fixture
def noted() -> Iterator[list[int]]:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    signals.note()
    yield came
    signals.forget()
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_is_noted_for_training(noted: list[int]) -> None:
    assert not signals.asked()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.asked() and not noted
    signals.forget()
    assert not signals.asked() and not noted


def test_what_does_not_train_heeds_a_signal_that_came_early(noted: list[int]) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    assert not noted
    signals.heed()
    assert noted == [signal.SIGUSR1] and not signals.asked()


# ---------------------------------------------------------------- as processes


def told(rank: str, port: int, of: str = "2") -> dict[str, str]:
    """Return what srun tells a task."""
    return {"SLURM_PROCID": rank, "SLURM_NTASKS": of, "SLURM_LOCALID": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Step:
    """Ranks of one stage, as a step of a job."""

    def __init__(self, run: Run, ranks: int, stage: str = "train-gan", **environment: str) -> None:
        self.run = run
        port, environment = free_port(), os.environ | environment | {"OMP_NUM_THREADS": "1", "SCIIMG_RANK_PATIENCE_S": "120"}
        command = [sys.executable, "-m", "sciimg.stages", stage, str(run.path)]
        self.logs = [run.path.parent / f"{stage}-{rank}.log" for rank in range(ranks)]
        self.processes = [
            subprocess.Popen(
                command, env=environment | (told(str(rank), port, str(ranks)) if ranks > 1 else {}), stderr=log.open("w"), cwd=ROOT
            )
            for rank, log in enumerate(self.logs)
        ]

    def signal_at_work(self, number: int, rank: int) -> None:
        """Send a signal to one rank once all have met and the first one has begun: it is noted, and heeded after the first step."""
        while not list(self.run.path.glob(".train-gan.partial/*")):
            assert all(process.poll() is None for process in self.processes), self.logs[0].read_text()
            time.sleep(0.02)
        os.kill(self.processes[rank].pid, number)

    def codes(self) -> list[int]:
        return [process.wait(300) for process in self.processes]


@pytest.fixture(scope="module")
def split_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "study.yaml").write_text(STUDY)
    run = Run.begin(folder / "study.yaml", folder / "runs")
    for stage in ("ingest", "split"):
        perform(plan_of(run)[stage], run)
    return run


def copied(run: Run, folder: Path) -> Run:
    import shutil

    return Run(Path(shutil.copytree(run.path, folder / "runs" / run.path.name)))


def weights(run: Run) -> bytes:
    return (run.path / "train-gan/model/model.safetensors").read_bytes()


def curves(run: Run) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((run.path / "train-gan/model/curves.json").read_text())["game"]
    return told


@pytest.fixture(scope="module")
def undisturbed(split_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = copied(split_run, tmp_path_factory.mktemp("undisturbed"))
    assert Step(run, 1).codes() == [0]
    return run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_ranks_train_the_model_of_one_and_a_done_stage_ends_at_once(split_run: Run, undisturbed: Run, tmp_path: Path) -> None:
    run = copied(split_run, tmp_path)
    assert Step(run, 2).codes() == [0, 0]
    for name, values in curves(undisturbed).items():
        assert curves(run)[name] == pytest.approx(values, rel=1e-3)
    assert (run.path / "train-gan/stage.json").exists() and not list(run.path.glob(".train*.partial"))
    times = json.loads((run.path / "train-gan/model/training.json").read_text())
    assert 0 < times["waited_for_others"] < 1
    ledger = (run.path / "train-gan/stage.json").read_bytes()
    assert Step(run, 2).codes() == [0, 0] == Step(run, 1).codes() * 2
    assert (run.path / "train-gan/stage.json").read_bytes() == ledger


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_stopped_training_goes_on_bit_by_bit(split_run: Run, undisturbed: Run, tmp_path: Path) -> None:
    run = copied(split_run, tmp_path)
    step = Step(run, 1)
    step.signal_at_work(signal.SIGTERM, 0)
    assert step.codes() == [85]
    note = json.loads((run.path / "logs/train-gan.problems.json").read_text())
    assert note["exit_code"] == 85 and "goes on exactly there" in note["problems"][0]["message"]
    assert "Traceback" not in step.logs[0].read_text()
    assert not (run.path / "train-gan").exists()
    assert Step(run, 1).codes() == [0]
    assert weights(run) == weights(undisturbed) and not (run.path / "logs/train-gan.problems.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_signal_to_any_rank_stops_all_and_another_number_goes_on(split_run: Run, undisturbed: Run, tmp_path: Path) -> None:
    run = copied(split_run, tmp_path)
    step = Step(run, 2)
    step.signal_at_work(signal.SIGUSR1, 1)
    assert step.codes() == [85, 85]
    assert Step(run, 1).codes() == [0]
    for name, values in curves(undisturbed).items():
        assert curves(run)[name] == pytest.approx(values, rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_lost_rank_ends_the_other_with_one_message(split_run: Run, tmp_path: Path, rank: int) -> None:
    run = copied(split_run, tmp_path)
    step = Step(run, 2)
    step.signal_at_work(signal.SIGKILL, rank)
    codes = step.codes()
    assert codes[rank] == -signal.SIGKILL and codes[1 - rank] == 1
    assert "goes on from the last checkpoint" in step.logs[1 - rank].read_text()
    if rank == 1:
        note = json.loads((run.path / "logs/train-gan.problems.json").read_text())
        assert [p["kind"] for p in note["problems"]] == ["process-lost"]
    assert not (run.path / "train-gan").exists()


@pytest.mark.slow
def test_a_rank_whose_others_never_come_says_so(split_run: Run, tmp_path: Path) -> None:
    environment = os.environ | told("1", free_port()) | {"SCIIMG_RANK_PATIENCE_S": "3"}
    command = [sys.executable, "-m", "sciimg.stages", "train-gan", str(split_run.path)]
    assert subprocess.run(command, env=environment, cwd=ROOT, check=False, timeout=300).returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_problem_is_said_by_the_first_rank_alone(split_run: Run, tmp_path: Path) -> None:
    """Six processes for a batch of five."""
    run = copied(split_run, tmp_path)
    step = Step(run, 6)
    assert step.codes() == [2] * 6
    note = json.loads((run.path / "logs/train-gan.problems.json").read_text())
    assert [p["kind"] for p in note["problems"]] == ["small-batch"]
    assert ["small-batch" in log.read_text() for log in step.logs] == [True] + [False] * 5
