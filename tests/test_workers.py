"""The same results on any number of workers, in any order, with lost workers and damaged results; and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import threads

from sciimg import workers
from sciimg.errors import InputError, Problem, WorkerError
from sciimg.workers import ADDRESS, HERE, SITE, Cluster, local, on_worker, open_workers, slurm_workers

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with threads() as several:
        yield several


def slow_first(number: int) -> int:
    time.sleep(0.05 * (number == 0))
    return number**2


def test_results_come_in_the_order_of_the_items_whoever_is_first(cluster: Cluster) -> None:
    assert list(cluster.map(slow_first, range(20))) == list(HERE.map(slow_first, range(20))) == [n**2 for n in range(20)]


def test_few_tasks_are_under_way_however_many_items_there_are(cluster: Cluster) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = cluster.map(slow_first, items())
    assert next(results) == 0 and len(taken) < 40
    results.close()  # type: ignore[attr-defined]


def test_a_map_of_a_map_is_read_to_its_end(cluster: Cluster) -> None:
    assert list(cluster.map(str, cluster.map(slow_first, range(10)))) == [str(n**2) for n in range(10)]


def test_a_task_knows_that_it_has_one_core(cluster: Cluster) -> None:
    assert list(cluster.map(lambda _: on_worker(), range(2))) == [True, True] and not on_worker()


def test_what_a_task_refuses_is_refused_here_word_by_word(cluster: Cluster) -> None:
    problem = Problem("a.tif", "truncated", "It must be whole; it is not.")

    def refuse(_: int) -> None:
        raise InputError(problem)

    with pytest.raises(InputError) as caught:
        list(cluster.map(refuse, range(3)))
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize("times", [1, 99])
def test_a_damaged_result_is_asked_for_again_or_reported(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    result, left = Cluster._result, [times]

    def damaged(self: Cluster, future: Any) -> tuple[bytes, str]:
        data, seal = result(self, future)
        if left[0]:
            left[0] -= 1
            data = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
        return data, seal

    monkeypatch.setattr(Cluster, "_result", damaged)
    if times == 1:
        assert list(cluster.map(slow_first, range(6))) == [n**2 for n in range(6)] and left == [0]
        return
    with pytest.raises(WorkerError) as caught:
        list(cluster.map(slow_first, range(6)))
    assert [p.kind for p in caught.value.problems] == ["corrupt-result"] and caught.value.exit_code == 1


# ---------------------------------------------------------------- real processes


def dies_once(task: tuple[str, int]) -> int:
    """End this worker, as a lost machine does, the first time that task 2 comes."""
    mark, number = Path(task[0]), task[1]
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def dies_always(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_tasks_of_a_lost_worker_are_done_by_others(tmp_path: Path) -> None:
    import dask

    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), local(2) as several:
        mark = str(tmp_path / "died")
        assert list(several.map(dies_once, [(mark, n) for n in range(6)])) == [n**2 for n in range(6)]
        assert (tmp_path / "died").exists()
        with pytest.raises(WorkerError) as caught:
            list(several.map(dies_always, [0]))
    assert [p.kind for p in caught.value.problems] == ["workers-lost"]


SLEEPER = """
import os, sys, time
from pathlib import Path
from sciimg.workers import local

def sleep(place):
    (Path(place) / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    with local(2) as several:
        list(several.map(sleep, [sys.argv[1]] * 2))
"""


def running(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="processes are looked for in /proc")
def test_a_killed_coordinator_leaves_no_worker_behind(tmp_path: Path) -> None:
    script, begun = tmp_path / "sleeper.py", tmp_path / "begun"
    script.write_text(SLEEPER)
    begun.mkdir()
    process = subprocess.Popen([sys.executable, str(script), str(begun)], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        until = time.monotonic() + 240
        while len(list(begun.iterdir())) < 2 and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    pids = [int(place.name) for place in begun.iterdir()]
    while any(map(running, pids)) and time.monotonic() < until + 60:
        time.sleep(0.1)
    assert len(pids) == 2 and not any(map(running, pids))


# ---------------------------------------------------------------- where


def test_there_are_as_many_processes_as_asked_for() -> None:
    with local(3) as places:
        places._client.wait_for_workers(3, timeout=120)
        assert sorted(places._client.nthreads().values()) == [1, 1, 1]


def test_without_a_wish_there_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    monkeypatch.delenv(SITE, raising=False)
    for count in (None, 1):
        with open_workers(count) as places:
            assert places is HERE and list(places.map(str, [1])) == ["1"]


def test_the_cluster_that_the_environment_names_is_used(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, cluster._client.scheduler.address)
    with open_workers() as places:
        assert places.several and list(places.map(slow_first, range(3))) == [0, 1, 4]


@pytest.mark.parametrize(
    ("variable", "text", "kind"),
    [(ADDRESS, "tcp://127.0.0.1:9", "no-cluster"), (ADDRESS, "nonsense://", "no-cluster"), (SITE, "{]", "bad-value")],
)
def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, kind: str) -> None:
    if variable == SITE:
        pytest.importorskip("dask_jobqueue", reason="pip install 'sciimg[hpc]'")
    from sciimg import workers

    monkeypatch.delenv(ADDRESS, raising=False)
    monkeypatch.setenv(variable, text)
    monkeypatch.setattr(workers, "_CONNECT_S", 0.5)
    with pytest.raises(InputError) as caught, open_workers():
        pass
    (problem,) = caught.value.problems
    assert (problem.where, problem.kind) == (variable, kind)


def test_the_environment_of_slurm_workers_says_what_jobs_are_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(slurm_workers(4, 8, "16GB", partition="cpu", directives=["--qos=low"], prologue=["module load x"])[SITE])
    about = workers._jobs(told)
    assert (told["count"], about["cores"], about["processes"], about["memory"], about["queue"]) == (4, 8, 8, "16GB", "cpu")
    assert about["job_extra_directives"] == ["--requeue", "--qos=low"] and about["job_script_prologue"] == ["module load x"]
    jobqueue = pytest.importorskip("dask_jobqueue.slurm", reason="pip install 'sciimg[hpc]'")
    job = jobqueue.SLURMJob(scheduler="tcp://node:1", name="w", **{k: v for k, v in about.items() if k != "scheduler_options"})
    script = job.job_script()
    assert "#SBATCH -p cpu" in script and "#SBATCH --qos=low" in script and "module load x" in script and sys.executable in script


@pytest.mark.parametrize(
    ("answer", "words"), [("exit 0", None), ("echo 'sbatch: error: invalid partition' >&2; exit 1", "invalid partition")]
)
def test_slurm_is_asked_whether_it_takes_workers(answer: str, words: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\n[ "$1" = --test-only ] || exit 3\ncat >{tmp_path}/script\n{answer}\n')
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if words is None:
        workers._ask_slurm("#!/bin/sh\n")
    else:
        with pytest.raises(InputError, match=words):
            workers._ask_slurm("#!/bin/sh\n")
    assert (tmp_path / "script").read_text() == "#!/bin/sh\n"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="cluster file"):
        workers._ask_slurm("")


def test_a_job_of_slurm_does_not_hand_its_own_size_to_the_jobs_that_it_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "3")
    monkeypatch.setenv("SLURM_CONF", "/etc/site.conf")
    with workers._outside_of_a_job():
        assert "SLURM_NTASKS" not in os.environ and os.environ["SLURM_CONF"] == "/etc/site.conf"  # which Slurm it is
    assert os.environ["SLURM_NTASKS"] == "3"
