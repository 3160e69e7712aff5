"""Faults of a real Slurm. After each: nothing lost, nothing doubled, the bytes of an undisturbed run.

Most hit one stage of a copied run whose other stages are done, through the engine itself; where the flow is a part of the fault, the whole
command runs. The stages that follow are done only if the one that was hit came out with the same bytes.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from debian import install
from disturbed import HIT, Disturbed, find
from safetensors.torch import load_file
from slurm_cluster import wait_for

from sciimg.stages.slurm.endings import JobError

LONG_S = 900
SLEEPS = """
case "$*" in -c*) exit 0 ;; esac
exec sleep 1000
"""


def problem(error: "pytest.ExceptionInfo[JobError]", job: str | None = None) -> str:
    """Return the kind, having seen that the message names job, log and what to do."""
    (said,) = error.value.problems
    assert "logs" in said.where and "Job " in said.message, said
    assert any(words in said.message for words in ("Run the same command", "the same command", "cluster file", "shared_folder_wait_s")), (
        said
    )
    assert job is None or f"Job {job} " in said.message
    return said.kind


def kill(*processes: int) -> None:
    assert processes
    for process in processes:
        os.kill(process, signal.SIGKILL)


# ---------------------------------------------------------------- without a fault


def test_undisturbed(disturbed: Disturbed) -> None:
    disturbed.without()
    command = disturbed.command()
    said, _ = command.communicate(timeout=1800)
    assert command.returncode == 1, said  # refused, as designed
    assert "Traceback" not in said
    judged = [f"{stage}-{recipe}" for stage in ("train", "generate", "validate") for recipe in ("ldm", "gan")]
    disturbed.remade = ("ingest", "split", "baseline", *judged, "decide", "release")
    disturbed.whole()
    assert disturbed.row is not None and disturbed.row["jobs"] == 8


def test_training_is_a_job_like_any_other(disturbed: Disturbed) -> None:
    disturbed.without("train-gan")
    assert disturbed.begin("train-gan").result(LONG_S) == 0
    disturbed.whole()


# ---------------------------------------------------------------- SIGKILL of any process


def test_engine_killed(disturbed: Disturbed) -> None:
    """The process that submitted and waits; the next one finds the job."""
    disturbed.without(HIT)
    first = disturbed.begin_apart()
    with disturbed.held():
        kill(first.pid)
        (job,) = disturbed.jobs()
        assert job["state"] == "RUNNING"  # the job goes on
    assert disturbed.begin().result(LONG_S) == 0
    disturbed.whole()


def test_flow_killed(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.command()
    with disturbed.held():
        kill(first.pid)
        wait_for(lambda: not find(lambda words: "flows" in words and str(disturbed.workdir) in words), 30, "the flow to follow")
        assert disturbed.jobs()[0]["state"] == "RUNNING"  # the job goes on
    again = disturbed.command()
    said, _ = again.communicate(timeout=LONG_S)
    assert again.returncode == 1 and "Traceback" not in said, said
    disturbed.whole()


def test_stage_killed(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin()
    disturbed.wait_for_work()
    with disturbed.held() as processes:
        kill(*processes)
    with pytest.raises(JobError) as error:
        first.result(60)
    assert problem(error) == "stage-failed" and "signal 9" in str(error.value)
    assert disturbed.begin().result(LONG_S) == 0
    disturbed.whole(jobs=2)


def test_srun_killed(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin()
    with disturbed.held():
        kill(*find(lambda words: words[0].endswith("srun") and words[-2:] == [HIT, str(disturbed.run.path)]))
    with pytest.raises(JobError) as error:
        first.result(60)
    assert problem(error) == "stage-failed"
    assert disturbed.begin().result(LONG_S) == 0
    disturbed.whole(jobs=2)


def test_slurmctld_killed(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin()
    with disturbed.held():
        controller = disturbed.cluster.pid("slurmctld")
        assert controller is not None
        time.sleep(10)  # it writes its state to disk every few seconds, and forgets what came later
        kill(controller)
        time.sleep(5)
        disturbed.cluster.run("slurmctld")
        assert not first.done()
    assert first.result(LONG_S) == 0
    disturbed.whole()


def test_slurmd_killed_and_back(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin()
    with disturbed.held():
        node = disturbed.jobs()[0]["node"]
        daemon = disturbed.cluster.pid(f"slurmd.{node}")
        assert daemon is not None
        kill(daemon)
        time.sleep(3)
        disturbed.cluster.start_node(node)
    assert first.result(LONG_S) == 0
    disturbed.whole()


# ---------------------------------------------------------------- nodes


def test_node_lost(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin()
    disturbed.wait_for_work()
    with disturbed.held() as processes:
        node = disturbed.jobs()[0]["node"]
        daemon = disturbed.cluster.pid(f"slurmd.{node}")
        assert daemon is not None
        job = disturbed.jobs()[0]["id"]
        steps = find(lambda words: words[0].startswith("slurmstepd") and f"[{job}." in words[0])
        scripts = find(lambda words: "slurm_script" in " ".join(words) and f"job{int(job):05d}" in " ".join(words))
        kill(daemon, *processes, *steps, *scripts)
    try:
        assert first.result(LONG_S) == 0
        assert disturbed.jobs()[0]["node"] != node
    finally:
        disturbed.cluster.start_node(node)
        disturbed.cluster.wait_for(lambda: disturbed.cluster.states()[node] in ("idle", "mixed", "allocated"), 60, "the node to return")
    disturbed.whole()


def test_node_drained(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin()
    with disturbed.held():
        node = disturbed.jobs()[0]["node"]
        disturbed.cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        assert first.result(LONG_S) == 0  # what runs there may end
        shutil.rmtree(disturbed.run.folder(HIT))
        assert disturbed.begin().result(LONG_S) == 0  # what comes goes elsewhere
        assert disturbed.jobs()[-1]["node"] != node
    finally:
        disturbed.cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    disturbed.whole(jobs=2)


# ---------------------------------------------------------------- time


def test_time_limit(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin(file=disturbed.cluster_file(defaults='{time: "0:02:00", memory: 2G}'))
    disturbed.wait_for_work()
    for process in disturbed.processes():
        os.kill(process, signal.SIGSTOP)  # a stage that would take for ever
    assert first.result(LONG_S) == 0
    assert "goes on in a new slot" in disturbed.log()
    disturbed.whole()
    assert disturbed.row is not None and disturbed.row["restarts"] >= 1


def test_time_limit_without_progress(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    slow = disturbed.cluster_file(defaults='{time: "0:02:00"}', python=disturbed.interpreter(SLEEPS))
    first = disturbed.begin(file=slow)
    with pytest.raises(JobError) as error:
        first.result(LONG_S)
    assert problem(error, disturbed.jobs()[0]["id"]) == "no-progress" and "0:02:00" in str(error.value)


def test_cancelled(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.begin(file=disturbed.cluster_file(python=disturbed.interpreter(SLEEPS)))
    disturbed.cluster.wait_for(lambda: [job for job in disturbed.jobs() if job["state"] == "RUNNING"], 60, "a running job")
    (job,) = disturbed.jobs()
    disturbed.cluster.run("scancel", job["id"])
    with pytest.raises(JobError) as error:
        first.result(120)
    assert problem(error, job["id"]) == "cancelled" and f"node {job['node']}" in str(error.value)


# Ranks that stop once, as training does on a signal, and end well in their second slot.
RANKS = """
case "$*" in -c*) exit 0 ;; esac
run=%s
mkdir -p $run/.train-gan.partial
cd $run/.train-gan.partial
echo "${SLURM_RESTART_COUNT:-0} $SLURM_PROCID/$SLURM_NTASKS $SLURMD_NODENAME $MASTER_ADDR:$MASTER_PORT" >>rank-$SLURM_PROCID
[ "${SLURM_RESTART_COUNT:-0}" = 0 ] && exit 85
[ $SLURM_PROCID = 0 ] && cp -r %s/train-gan $run/.new && mv $run/.new $run/train-gan
exit 0
"""


def test_ranks_on_two_nodes_stop_and_go_on(disturbed: Disturbed) -> None:
    disturbed.without("train-gan")
    (source,) = disturbed.reference.glob("smoke-*")
    python = disturbed.interpreter(RANKS % (disturbed.run.path, source))
    file = disturbed.cluster_file(stages="{train-*: {nodes: 2, tasks: 2}}", python=python)
    assert disturbed.begin("train-gan", file).result(LONG_S) == 0
    (job,) = disturbed.jobs("train-gan")
    meeting = f"127.0.0.1:{20000 + int(job['id']) % 20000}"  # both nodes are this machine
    for rank, node in enumerate(("n1", "n2")):
        said = (disturbed.run.path / f".train-gan.partial/rank-{rank}").read_text().splitlines()
        assert said == [f"{attempt} {rank}/2 {node} {meeting}" for attempt in (0, 1)]
    disturbed.whole()
    assert disturbed.row is not None and disturbed.row["restarts"] == 1


def test_a_training_meets_its_time_limit(disturbed: Disturbed) -> None:
    """The signal comes in the middle of training, which saves its state and goes on from there: the weights of a training in one piece."""
    disturbed.without("train-gan")
    first = disturbed.begin("train-gan", disturbed.cluster_file(defaults='{time: "0:03:00", memory: 2G}'))
    slow_until_the_signal(disturbed)
    assert first.result(LONG_S) == 0
    disturbed.whole()
    assert disturbed.row is not None and disturbed.row["restarts"] == 1
    assert "goes on in a new slot" in disturbed.log("train-gan")


def slow_until_the_signal(disturbed: Disturbed) -> None:
    """Hold a training that has begun until its job was told that the limit is near; the signal waits with it."""
    disturbed.wait_for_work("train-gan")
    held = disturbed.processes("train-gan")
    for process in held:
        os.kill(process, signal.SIGSTOP)
    wait_for(lambda: all(pending(process, signal.SIGUSR1) for process in held), 120, "the signal before the time limit")
    for process in held:
        os.kill(process, signal.SIGCONT)


def pending(process: int, number: int) -> bool:
    """Whether a signal waits for a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return bool((int(lines["ShdPnd"], 16) | int(lines["SigPnd"], 16)) >> (number - 1) & 1)


def test_two_ranks_of_a_training_meet_their_time_limit(disturbed: Disturbed) -> None:
    """On two nodes: stopped and continued, they make what they make in one piece, and nearly what one process makes."""
    disturbed.without("train-gan")
    ranks = "{train-*: {nodes: 2, tasks: 2}}"
    assert disturbed.begin("train-gan", disturbed.cluster_file(stages=ranks)).result(LONG_S) == 0
    model, (source,) = disturbed.run.path / "train-gan/model/model.safetensors", disturbed.reference.glob("smoke-*")
    in_one_piece, (one, two) = (
        model.read_bytes(),
        (load_file(p / "train-gan/model/model.safetensors") for p in (source, disturbed.run.path)),
    )
    differences = {name: (one[name].float() - two[name].float()).abs().max().item() for name in one}
    assert one.keys() == two.keys() and max(differences.values()) < 1e-3, max(differences.items(), key=lambda item: item[1])
    shutil.rmtree(disturbed.run.folder("train-gan"))
    first = disturbed.begin("train-gan", disturbed.cluster_file(stages=ranks, defaults='{time: "0:03:00", memory: 2G}'))
    slow_until_the_signal(disturbed)
    assert first.result(LONG_S) == 0
    assert model.read_bytes() == in_one_piece
    job = disturbed.jobs("train-gan")[-1]
    disturbed.row = {"lost": 0, "doubled": 0, "bytes_equal": True, "jobs": 1, "restarts": disturbed.cluster.restarts(job["id"])}
    disturbed.row |= {
        "stages": ["train-gan"],
        "compared_with": "the same two ranks in one piece",
        "largest_difference": max(differences.values()),
    }
    assert disturbed.row["restarts"] == 1


def test_work_divided_between_jobs(disturbed: Disturbed) -> None:
    """Ingest and generation with two more jobs each, that Dask feeds."""
    disturbed.without(HIT, "generate-gan")
    divided = disturbed.cluster_file(stages="{ingest: {workers: 2}, generate-*: {workers: 2}}")
    for stage in disturbed.remade:
        assert disturbed.begin(stage, divided).result(LONG_S) == 0
    disturbed.whole()
    found = disturbed.cluster.jobs("dask-worker")
    assert len(found) == 4, found
    wait_for(
        lambda: all(job["state"] != "RUNNING" for job in disturbed.cluster.jobs("dask-worker")), 120, "workers to end with their stage"
    )
    assert len(list((disturbed.run.path / "logs").glob("dask-worker*.out"))) == 4


SLOWLY = """
import time
from sciimg import workers
at_once = workers._sealed
def slowly(function, item):
    time.sleep(3)
    return at_once(function, item)
workers._sealed = slowly
"""
DIVIDED = "generate-gan"


def at_work(disturbed: Disturbed) -> tuple[Future[int], str]:
    """Begin a stage that two jobs share; return it and one of the two, which stands still with work in hand."""
    (disturbed.folder / "sitecustomize.py").write_text(SLOWLY)
    slow = f"export PYTHONPATH={disturbed.folder}:$PYTHONPATH"
    before = {job["id"] for job in disturbed.cluster.jobs("dask-worker")}
    first = disturbed.begin(DIVIDED, disturbed.cluster_file(stages=f'{{{DIVIDED}: {{workers: 2, environment: ["{slow}"]}}}}'))
    logs = disturbed.run.path / "logs"

    def joined() -> bool:
        return sum("Registered to" in path.read_text() for path in logs.glob("dask-worker*.err")) == 2

    wait_for(joined, 180, "two jobs at work", lambda: disturbed.log(DIVIDED))
    time.sleep(2)
    job = next(job["id"] for job in disturbed.cluster.jobs("dask-worker") if job["id"] not in before)
    for process in members(job):
        os.kill(process, signal.SIGSTOP)
    time.sleep(40)  # twice as long as one of them takes for all
    assert not first.done(), disturbed.log(DIVIDED)  # what was handed to the other is waited for
    return first, job


def members(job: str) -> list[int]:
    """Return the processes of a job, without Slurm's own."""
    steps = find(lambda words: words[0].startswith("slurmstepd") and f"[{job}." in words[0])
    return [process for step in steps for process in find(lambda words: not words[0].startswith("slurmstepd"), below=step)]


def test_worker_of_divided_work_lost(disturbed: Disturbed) -> None:
    disturbed.without(DIVIDED)
    first, job = at_work(disturbed)
    kill(*members(job))
    assert first.result(LONG_S) == 0
    disturbed.whole()


def test_parent_of_divided_work_killed(disturbed: Disturbed) -> None:
    disturbed.without(DIVIDED)
    first, job = at_work(disturbed)
    kill(*disturbed.processes(DIVIDED))
    with pytest.raises(JobError) as error:
        first.result(60)
    assert problem(error) == "stage-failed"
    again = disturbed.begin(DIVIDED)  # alone, while the workers of the first have not noticed
    for process in members(job):
        os.kill(process, signal.SIGCONT)
    assert again.result(LONG_S) == 0
    disturbed.whole(jobs=2)
    wait_for(lambda: all(job["state"] != "RUNNING" for job in disturbed.cluster.jobs("dask-worker")), 180, "workers without a task to end")
    assert disturbed.compare(jobs=2)["bytes_equal"]  # and what they did last has changed nothing


# Another clock for every process that asks, and another again a moment later.
JUMPS = """
case "$*" in -c*) exit 0 ;; esac
export LD_PRELOAD=%s FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE=%s FAKETIME_DONT_FAKE_MONOTONIC=1
exec "$PYTHON" "$@"
"""


def test_clock_jumps(disturbed: Disturbed) -> None:
    library = faketime()
    disturbed.without(HIT)
    clock = disturbed.folder / "clock"
    clock.write_text("-400d\n")
    first = disturbed.begin(file=disturbed.cluster_file(python=disturbed.interpreter(JUMPS % (library, clock))))
    with disturbed.held():
        clock.write_text("+30d\n")
    for jump in ("-3650d", "+0d", "-1d"):
        time.sleep(1)
        clock.write_text(f"{jump}\n")
    assert first.result(LONG_S) == 0
    disturbed.whole()


def faketime() -> str:
    """Return the library that gives processes another clock; it is installed where it is missing."""
    if not list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")):
        install("libfaketime")
    return str(next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")))


# ---------------------------------------------------------------- disks and the shared folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("mounting a small file system takes root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_disk_full(disturbed: Disturbed, small_disk: Path) -> None:
    disturbed.without(HIT, at=small_disk / "runs")
    first = disturbed.begin(file=disturbed.cluster_file(shared_folder_wait_s="5"))
    filler = small_disk / "filler"
    with disturbed.held(), pytest.raises(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1 << 16))
    with pytest.raises(JobError) as error:
        first.result(LONG_S)
    assert problem(error) == "disk-full"
    filler.unlink()
    assert disturbed.begin().result(LONG_S) == 0
    disturbed.whole(jobs=2)


def test_read_only_output(disturbed: Disturbed, small_disk: Path) -> None:
    """Nothing is submitted that could not leave its result; the command says so like any other refusal of the system."""
    disturbed.without(HIT, at=small_disk / "runs")
    subprocess.run(["mount", "-i", "-n", "-o", "remount,bind,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only file system"):
        disturbed.begin().result(LONG_S)
    said, _ = (command := disturbed.command()).communicate(timeout=LONG_S)
    assert command.returncode == 2 and "Read-only file system" in said and "Traceback" not in said
    subprocess.run(["mount", "-i", "-n", "-o", "remount,bind,rw", str(small_disk)], check=True)
    assert not disturbed.jobs()
    assert disturbed.begin().result(LONG_S) == 0
    disturbed.whole()


def hidden(place: Path, seconds: float) -> None:
    """Hide a file or folder for a while, as a network file system may that has not looked again yet."""
    aside = place.with_name(f".{place.name}.unseen")
    place.rename(aside)
    time.sleep(seconds)
    aside.rename(place)


def when_there(place: Path, then: Callable[[], None], name: str = "") -> threading.Thread:
    """Do something as soon as a path exists, or with ``name`` a file of this pattern in it."""

    def watch() -> None:
        deadline = time.monotonic() + LONG_S
        while not (list(place.glob(name)) if name else place.exists()) and time.monotonic() < deadline:
            time.sleep(0.005)
        then()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_late_visibility(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    place, study = disturbed.run.folder(HIT), disturbed.run.path / "study.yaml"
    late = when_there(disturbed.run.path / f"logs/{HIT}.sbatch", lambda: hidden(study, 8))
    outputs = when_there(disturbed.run.path / "logs", lambda: hidden(place, 8), f"{HIT}.*.rc")  # the job itself sees what it wrote
    assert disturbed.begin().result(LONG_S) == 0
    for thread in (late, outputs):
        thread.join(30)
    disturbed.whole()


def test_corrupt_file_came_back(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    place = disturbed.run.folder(HIT)

    def flip() -> None:
        largest = max((path for path in place.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        with largest.open("r+b") as stream:
            stream.seek(-1, os.SEEK_END)
            last = stream.read(1)[0]
            stream.seek(-1, os.SEEK_END)
            stream.write(bytes([last ^ 1]))

    thread = when_there(place / "stage.json", flip)
    first = disturbed.begin(file=disturbed.cluster_file(shared_folder_wait_s="3"))
    with pytest.raises(JobError) as error:
        first.result(LONG_S)
    thread.join(10)
    assert problem(error) == "corrupt-output"
    assert disturbed.begin().result(LONG_S) == 0
    disturbed.whole(jobs=2)


# ---------------------------------------------------------------- two at once


def test_two_flows_at_once(disturbed: Disturbed) -> None:
    """Even where locks do not reach from one machine to the other, both find the same job."""
    disturbed.without(HIT)
    first = disturbed.begin()
    disturbed.cluster.wait_for(disturbed.jobs, 60, "a job")
    second = disturbed.begin()
    assert first.result(LONG_S) == 0 and second.result(LONG_S) == 0
    disturbed.whole()


def test_second_command_is_told_who_holds_the_run(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    disturbed.workdir = disturbed.run.path.parent
    with (disturbed.run.path / ".run.lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write("process 1 on login2")
        stream.flush()
        command = disturbed.command()
        said, _ = command.communicate(timeout=300)
    assert command.returncode == 2
    assert "process 1 on login2 holds .run.lock" in said and "Traceback" not in said


def test_lock_of_a_lost_process(disturbed: Disturbed) -> None:
    """The lock of a stage whose holder goes within the patience of the file server is waited for."""
    disturbed.without(HIT)
    lock = (disturbed.run.path / f".{HIT}.lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_EX)
    first = disturbed.begin()
    disturbed.wait_for_processes()
    time.sleep(8)
    lock.close()
    assert first.result(LONG_S) == 0
    disturbed.whole()


# ---------------------------------------------------------------- Prefect


def test_prefect_server_killed_and_its_database_deleted(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    first = disturbed.command(PREFECT_API_URL=None)  # an embedded server, as on a laptop
    with disturbed.held():
        kill(*find(lambda words: any("prefect.server.api.server" in word for word in words), below=first.pid))
        shutil.rmtree(disturbed.workdir / ".prefect")
    try:
        said, _ = first.communicate(timeout=60)
        assert "Traceback" not in said
    except subprocess.TimeoutExpired:  # it asks a dead server again and again
        kill(first.pid)
    again = disturbed.command()
    said, _ = again.communicate(timeout=LONG_S)
    assert again.returncode == 1 and "Traceback" not in said, said
    disturbed.whole()


# ---------------------------------------------------------------- what cannot work


def test_partition_that_does_not_exist(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    file = disturbed.cluster_file(defaults="{partition: gpu-a100}", stages="{train-*: {memory: 900G}}")
    command = disturbed.command(file)
    said, _ = command.communicate(timeout=300)
    assert command.returncode == 2 and "Traceback" not in said
    assert "Partitions here: cpu." in said and "stage ingest" in said and str(file) in said
    assert not disturbed.jobs()


def test_node_without_the_environment(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    lines = '{options: ["--nodelist=n2"], environment: ["true", "test -e /opt/site/sciimg"]}'
    with pytest.raises(JobError) as error:
        disturbed.begin(file=disturbed.cluster_file(defaults=lines)).result(120)
    assert problem(error) == "not-ready"
    assert "node n2" in str(error.value) and "environment[1]" in str(error.value) and "test -e /opt/site/sciimg" in str(error.value)
    with pytest.raises(JobError) as error:
        disturbed.begin(file=disturbed.cluster_file(python="/opt/site/python")).result(120)
    assert problem(error) == "no-environment" and "/opt/site/python" in str(error.value)


GREEDY = """
case "$*" in -c*) exit 0 ;; esac
exec "$PYTHON" -c "import time; block = b'1' * (400 << 20); time.sleep(60)"
"""


def test_killed_for_memory(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    greedy = disturbed.cluster_file(defaults="{memory: 100M}", python=disturbed.interpreter(GREEDY))
    with pytest.raises(JobError) as error:
        disturbed.begin(file=greedy).result(120)
    assert problem(error, disturbed.jobs()[0]["id"]) == "out-of-memory" and "memory: 100M" in str(error.value)


def test_inputs_that_a_node_does_not_see(disturbed: Disturbed) -> None:
    disturbed.without(HIT)
    place = disturbed.run.path / "study.yaml"
    thread = when_there(disturbed.run.path / f"logs/{HIT}.sbatch", lambda: hidden(place, 15))
    with pytest.raises(JobError) as error:
        disturbed.begin(file=disturbed.cluster_file(shared_folder_wait_s="4")).result(120)
    thread.join(30)
    assert problem(error) == "inputs-not-visible"
