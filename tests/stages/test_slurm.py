"""A stage as a Slurm job, with commands that stand for Slurm's: the job's script itself runs. A real Slurm is in tests/hpc."""

import json
import threading
import time
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from sciimg.errors import ClusterError, InputError, SciimgError
from sciimg.files import write_json
from sciimg.protocol.cluster import Cluster, LoadedCluster, Resources
from sciimg.stages.launch import check_engine
from sciimg.stages.ledger import Run, Stage, folder_digest, perform
from sciimg.stages.slurm import engine as slurm
from sciimg.stages.slurm.endings import Ending, JobError
from sciimg.stages.slurm.engine import Slurm, check_stages, job_name, options
from sciimg.stages.slurm.queue import Job, check_installed, environment

STUDY = Path(__file__).parents[2] / "protocols" / "smoke.yaml"
DONE = """
mkdir "$RUN/.new" && echo made >"$RUN/.new/result.txt" && cp {ledger} "$RUN/.new/stage.json" && mv "$RUN/.new" "$RUN/train"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of two stages, a light one that is done and a heavy one that is not."""
    run = Run.begin(STUDY, tmp_path / "runs")
    first = Stage("first", (), lambda run, out: (out / "a").write_text("a") and None)
    stages = {"first": first, "train": Stage("train", ("first",), lambda run, out: None, heavy=True)}
    monkeypatch.setattr(slurm, "plan_of", lambda run: stages)
    perform(first, run)
    return run


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return FakeSlurm(tmp_path / "slurm", monkeypatch)


def engine(run: Run, script: str, **changes: object) -> Slurm:
    """Return the engine; ``script`` is what a stage does on its node."""
    made = run.path / "expected"
    made.mkdir(exist_ok=True)
    (made / "result.txt").write_text("made\n")
    ledger = run.path / "ledger.json"
    write_json(ledger, {"outputs": folder_digest(made)})
    python = run.path / f"python-{len(list(run.path.glob('python-*')))}"
    python.write_text(f'#!/bin/bash\ncase "$*" in -c*) exit 0 ;; esac\nRUN={run.path}\n{script.replace("{ledger}", str(ledger))}')
    python.chmod(0o755)
    settings = {"cluster": 1, "poll_s": 0.5, "shared_folder_wait_s": 2, "python": str(python)} | changes
    return Slurm(LoadedCluster(Cluster.model_validate(settings), "cluster.yaml"))


def go(run: Run, engine: Slurm) -> int:
    return engine("train", run.path, run.path / "logs/train.log")


def refused(run: Run, engine: Slurm) -> str:
    with pytest.raises(JobError) as error:
        go(run, engine)
    (problem,) = error.value.problems
    assert problem.where.endswith("logs/train.log") and problem.message.startswith("Job 1 (sciimg-train-")
    assert "node n1" in problem.message
    return problem.kind


def test_a_stage_is_submitted_once_and_comes_back_whole(run: Run, fake: FakeSlurm) -> None:
    assert go(run, engine(run, DONE)) == 0
    (submission,) = fake.submissions
    for word in (f"--job-name={job_name(slurm.plan_of(run)['train'], run)}", "--dependency=singleton", "--requeue", "--signal=B:USR1@300"):
        assert word in submission
    assert (run.path / "logs/train.1.rc").read_text().startswith("0 n1 ")


def test_a_flow_that_comes_back_finds_its_job(run: Run, fake: FakeSlurm) -> None:
    slow = engine(run, "sleep 2" + DONE)
    first = threading.Thread(target=go, args=(run, slow))
    first.start()
    while not list((fake.folder / "jobs").glob("1")):
        time.sleep(0.05)
    assert go(run, engine(run, "exit 9")) == 0  # another process, which knows nothing of the first
    first.join()
    assert len(fake.submissions) == 1


def test_a_checkpointed_stage_goes_on_as_the_same_job(run: Run, fake: FakeSlurm) -> None:
    steps = (
        'mkdir -p "$RUN/.train.partial"; echo x >>"$RUN/.train.partial/steps"; [ "$(wc -l <"$RUN/.train.partial/steps")" = 3 ] || exit 85'
    )
    assert go(run, engine(run, steps + DONE)) == 0
    assert len(fake.submissions) == 1
    assert "attempt 3" in (run.path / "logs/train.log").read_text()


def test_a_stage_that_only_asks_for_more_time_is_ended(run: Run, fake: FakeSlurm) -> None:
    assert refused(run, engine(run, "exit 85")) == "no-progress"


def test_restarts_have_an_end(run: Run, fake: FakeSlurm) -> None:
    moving = 'mkdir -p "$RUN/.train.partial"; echo x >>"$RUN/.train.partial/steps"; exit 85'
    assert refused(run, engine(run, moving, restarts=2)) == "too-many-restarts"


def test_a_stage_is_told_of_the_jobs_that_share_its_work(run: Run, fake: FakeSlurm) -> None:
    stages = {"train": {"workers": 3, "cpus": 2, "memory": "2G", "qos": "low", "environment": ["true 'x y'"], "interface": "ib0"}}
    assert go(run, engine(run, f'echo "$SCIIMG_WORKERS" >"$RUN/told.json"\n{DONE}', stages=stages)) == 0
    told = json.loads((run.path / "told.json").read_text())
    assert told == {
        "count": 3,
        "cores": 2,
        "memory": "2GiB",
        "partition": None,
        "account": None,
        "walltime": "4:00:00",
        "interface": "ib0",
        "directives": ["--qos=low"],
        "prologue": ["true 'x y'"],
        "logs": str(run.path / "logs"),
    }


def test_what_the_stage_said_is_left_to_the_flow(run: Run, fake: FakeSlurm) -> None:
    assert go(run, engine(run, 'echo "{}" >"$RUN/logs/train.problems.json"; exit 2')) == 2


def test_a_stage_that_was_killed(run: Run, fake: FakeSlurm) -> None:
    with pytest.raises(JobError, match=r"signal 9 \(Killed\)"):
        go(run, engine(run, "kill -9 $$"))


def test_a_corrupt_file_is_noticed_set_aside_and_made_again(run: Run, fake: FakeSlurm) -> None:
    assert refused(run, engine(run, DONE + 'echo bad >"$RUN/train/result.txt"')) == "corrupt-output"
    assert not run.folder("train").exists()
    assert go(run, engine(run, DONE)) == 0


@pytest.mark.parametrize("comes", [True, False])
def test_what_is_visible_late_is_waited_for(comes: bool, run: Run, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job sees at once what it wrote: here a copy stands for it."""
    back = '(sleep 1; mv "$RUN/.unseen" "$RUN/train") >/dev/null 2>&1 &' if comes else ""
    late = engine(run, f'{DONE}mv "$RUN/train" "$RUN/.unseen"\n{back}\n', shared_folder_wait_s=20 if comes else 2)
    body = run.path / "job.sh"
    body.write_text(slurm._BODY.read_text().replace('finish 0 "$RUN/$STAGE/stage.json"', 'finish 0 "$RUN/ledger.json"'))
    monkeypatch.setattr(slurm, "_BODY", body)
    if comes:
        assert go(run, late) == 0
    else:
        assert refused(run, late) == "outputs-not-visible"


def test_inputs_that_never_come(run: Run, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "_sha256", lambda path: "0" * 64)
    assert refused(run, engine(run, DONE, shared_folder_wait_s=1)) == "inputs-not-visible"


def test_a_node_that_is_not_ready(run: Run, fake: FakeSlurm) -> None:
    defaults = {"environment": ("true", "module load 'no such'")}
    with pytest.raises(JobError, match=r"environment\[1\] failed on node n1: module load 'no such'"):
        go(run, engine(run, DONE, defaults=defaults))
    lacking = engine(run, DONE, python="/nowhere/python")
    with pytest.raises(JobError, match="node n1 has no /nowhere/python with sciimg"):
        go(run, lacking)


def test_a_silent_controller_is_waited_for(run: Run, fake: FakeSlurm) -> None:
    silence = fake.folder / "silent"
    started = threading.Thread(target=go, args=(run, engine(run, "sleep 1" + DONE)))
    started.start()
    while not fake.submissions:
        time.sleep(0.05)
    time.sleep(0.3)
    silence.touch()
    time.sleep(2)
    assert started.is_alive()
    silence.unlink()
    started.join(20)
    assert run.folder("train").exists() and len(fake.submissions) == 1


def test_every_refusal_of_slurm_at_once_before_anything_is_submitted(run: Run, fake: FakeSlurm) -> None:
    stages = {name: Stage(name, (), lambda run, out: None, heavy=True) for name in ("train-a", "train-b", "baseline")}
    cluster = Cluster.model_validate({"cluster": 1, "stages": {"train-a": {"partition": "gpu"}, "baseline": {"partition": "big"}}})
    with pytest.raises(ClusterError) as error:
        check_stages(LoadedCluster(cluster, "site.yaml"), stages)
    assert [p.where for p in error.value.problems] == ["site.yaml: stage train-a", "site.yaml: stage baseline"]
    assert all("Partitions here: cpu." in p.message for p in error.value.problems)
    assert not fake.submissions


def test_no_slurm_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="login node"):
        check_installed()


def test_the_engine_is_looked_at_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClusterError, match=r"cluster\.yaml: There is no such file"):
        check_engine("slurm", STUDY, tmp_path / "runs")
    Path("cluster.yaml").write_text("cluster: 1\n")
    with monkeypatch.context() as patch, pytest.raises(InputError, match="needs sbatch on the path"):
        patch.setenv("PATH", str(tmp_path))
        check_engine("slurm", STUDY, tmp_path / "runs")
    with pytest.raises(InputError, match="A cluster file is for --engine slurm"):
        check_engine("local", STUDY, tmp_path / "runs", Path("cluster.yaml"))
    assert not (tmp_path / "runs").exists()


def test_jobs_inherit_neither_secrets_nor_an_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCIIMG_KEY_PASSPHRASE", "SLURM_MEM_PER_CPU", "SBATCH_PARTITION", "PREFECT_API_URL", "SLURM_CONF", "SCIIMG_DEVICE"):
        monkeypatch.setenv(name, "x")
    assert {k for k, v in environment().items() if v == "x"} == {"SLURM_CONF", "SCIIMG_DEVICE"}


def test_options_of_a_training_on_two_nodes() -> None:
    wishes = Resources(partition="gpu", time="1-00:00:00", memory="64G", cpus=8, gpus=2, nodes=2, tasks=4, options=("--constraint=a100",))
    asked = "--partition=gpu --time=1-00:00:00 --mem=64G --cpus-per-task=8 --nodes=2 --ntasks=4 --ntasks-per-node=2 --gpus-per-node=2"
    assert " ".join(options(wishes)) == f"{asked} --constraint=a100"


@pytest.mark.parametrize(
    ("state", "code", "kind", "words"),
    [
        ("OUT_OF_MEMORY", None, "out-of-memory", "memory: 16G"),
        ("CANCELLED", None, "cancelled", "scancel"),
        ("CANCELLED", 143, "cancelled", "scancel"),
        ("TIMEOUT", None, "time-limit", "4:00:00"),
        ("NODE_FAIL", None, "node-failed", "NODE_FAIL"),
        ("FAILED", None, "job-lost", "srun ls"),
        ("FAILED", 3, "stage-failed", "the last line"),
    ],
)
def test_every_ending_names_job_node_log_and_what_to_do(state: str, code: int | None, kind: str, words: str, tmp_path: Path) -> None:
    log_file = tmp_path / "train.log"
    log_file.write_text("first\nthe last line\n")
    last = Job("12", "sciimg-train-ab", state, "n7", "None")
    error: SciimgError = Ending("train", "sciimg-train-ab", "12", log_file, Resources(memory="16G"), last, code).error()
    (problem,) = error.problems
    assert problem.kind == kind and problem.where == str(log_file)
    assert problem.message.startswith("Job 12 (sciimg-train-ab) on node n7 ") and words in problem.message
    assert "same command" in problem.message


def test_the_queue_is_asked_once_for_all_that_wait(fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = slurm.Queue.__init__.__globals__["ask"]
    monkeypatch.setitem(slurm.Queue.__init__.__globals__, "ask", lambda command: asked.append(command) or real(command))
    fake.queue("1|a|RUNNING|n1|None", "2|b|PENDING||Resources")
    queue = slurm.Queue(60)
    assert [job.id for job in queue.jobs("a")] == ["1"] and queue.jobs("b")[0].reason == "Resources"
    assert len(asked) == 1
