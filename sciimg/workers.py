"""Array work on several processes: one function over many items, here, on this machine, or on a cluster, with the same results.

Dask distributed carries the tasks and repeats those of a worker that is lost. An item names files, rows and digests, and so does a result:
arrays travel through the file system. A result comes back sealed with a digest, taken where it was made; one that does not agree with
its seal is asked for again. Results are handed on in the order of the items, whoever was first.

A task may run twice, and a worker that was given up may still be at work. So a task writes beside its place, holds the lock of what it
writes (:func:`sciimg.files.hold`), and finds again what is whole.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeVar

from sciimg.errors import InputError, MissingExtraError, Problem, WorkerError

ADDRESS = "DASK_SCHEDULER_ADDRESS"  # a Dask cluster that exists
SITE = "SCIIMG_WORKERS"  # JSON: jobs of Slurm that each stage submits for itself, as :func:`slurm_workers` writes it

WHICH_SLURM = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS")  # of what Slurm has in the environment, what says which one it is

_T = TypeVar("_T")
_R = TypeVar("_R")
_TRIES = 3  # of a task whose result does not agree with its seal
_AHEAD = 3  # tasks a thread: one that runs, others so that it never waits
_HELD = 4096  # results that wait for an earlier one
_CONNECT_S = 30.0  # to a scheduler
_JOIN_S = 600.0  # for the first worker of a cluster that exists
_IDLE_S = 60  # a worker of a Slurm job that no scheduler answers for so long ends
_LOCAL = threading.local()


class Workers(Protocol):
    """Somewhere to compute."""

    @property
    def several(self) -> bool:
        """Whether tasks run in other processes."""

    def map(self, function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """Yield ``function(item)`` in the order of the items, which are taken as they are needed."""


class _Here:
    """The process that asks."""

    several = False

    def map(self, function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        return map(function, items)


HERE: Workers = _Here()


def on_worker() -> bool:
    """Whether this is a task of a worker, which has one core for itself: threads of its own would take those of others."""
    return getattr(_LOCAL, "task", False)


@contextmanager
def open_workers(count: int | None = None) -> Iterator[Workers]:
    """Yield the workers that are asked for.

    Parameters
    ----------
    count : int, optional
        So many processes of this machine; 1 is this process. When left out, the cluster whose scheduler ``DASK_SCHEDULER_ADDRESS`` names,
        else jobs of Slurm where ``SCIIMG_WORKERS`` describes them, else this process.

    Raises
    ------
    InputError
        Kinds ``no-cluster``, ``no-workers``: the cluster does not answer, or nobody works there. ``bad-value``.
    MissingExtraError
        dask-jobqueue is needed and not there.
    """
    if count is not None and count < 1:
        raise InputError(Problem("--workers", "bad-value", f"At least one worker is needed; got {count}."))
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what concerns a user is raised here; the rest comes as tracebacks
    with ExitStack() as stack:
        if count is None and os.environ.get(ADDRESS):
            yield stack.enter_context(_existing(os.environ[ADDRESS]))
        elif count is None and os.environ.get(SITE):
            yield stack.enter_context(_on_slurm(os.environ[SITE]))
        elif count is None or count == 1:
            yield HERE
        else:
            yield stack.enter_context(local(count))


@contextmanager
def local(count: int) -> Iterator["Cluster"]:
    """Yield processes of this machine, one thread each. They end with this process, however it ends."""
    from distributed import Client, LocalCluster

    page = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}  # no web page, and no port that others use
    plain = {"env": {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}}  # a profile that nobody reads costs as much as small tasks
    about: dict[str, Any] = {"threads_per_worker": 1, "processes": True, "memory_limit": 0, **page, **plain}
    with (
        tempfile.TemporaryDirectory(prefix="sciimg-workers-", ignore_cleanup_errors=True) as folder,
        LocalCluster(n_workers=count, local_directory=folder, silence_logs=logging.CRITICAL, **about) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield Cluster(client)


@contextmanager
def _existing(address: str) -> Iterator["Cluster"]:
    from distributed import Client

    try:
        client = Client(address, set_as_default=False, timeout=_CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        message = f"It must be the address of a Dask scheduler, e.g. tcp://host:8786; nothing answers at {address!r} ({error}). Start it, "
        raise InputError(Problem(ADDRESS, "no-cluster", f"{message}correct the address, or unset the variable.")) from error
    with client:
        _first(client, address, _JOIN_S)
        yield Cluster(client)


def slurm_workers(
    count: int,
    cores: int,
    memory: str,
    *,
    partition: str | None = None,
    account: str | None = None,
    walltime: str | None = None,
    interface: str | None = None,
    directives: Sequence[str] = (),
    prologue: Sequence[str] = (),
    logs: str | None = None,
) -> dict[str, str]:
    """Return the environment that makes stages compute on jobs of Slurm of their own.

    Parameters
    ----------
    count : int
        Jobs.
    cores : int
        Of a job; each is a worker.
    memory : str
        Of a job, e.g. ``"16GB"``.
    partition, account, walltime, interface
        As of ``sbatch`` and of dask-jobqueue; ``interface`` is the network interface that the nodes see one another by, e.g. ``ib0``.
    directives : sequence of str
        Further ones, e.g. ``"--qos=normal"``.
    prologue : sequence of str
        Lines of shell before the worker starts.
    logs : str, optional
        Folder of the jobs' output; default: the working directory.
    """
    told = {"count": count, "cores": cores, "memory": memory, "partition": partition, "account": account, "walltime": walltime}
    told |= {"interface": interface, "directives": list(directives), "prologue": list(prologue), "logs": logs}
    return {SITE: json.dumps(told, sort_keys=True)}


@contextmanager
def _on_slurm(text: str) -> Iterator["Cluster"]:
    """Submit the jobs; they end with this process, or within a minute after it was killed."""
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError:
        message = 'Workers on Slurm need dask-jobqueue: pip install "sciimg[hpc]".'
        raise MissingExtraError(Problem(SITE, "missing-extra", message)) from None
    from distributed import Client

    try:
        told: Mapping[str, Any] = json.loads(text)
        count, about = int(told["count"]), _jobs(told)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(Problem(SITE, "bad-value", f"It describes jobs of Slurm as JSON; {type(error).__name__}: {error}.")) from error
    with _outside_of_a_job(), SLURMCluster(**about) as cluster, Client(cluster, set_as_default=False) as client:
        _ask_slurm(cluster.job_script())
        cluster.scale(jobs=count)
        _first(client, "the queue of Slurm", None)
        yield Cluster(client)


def _ask_slurm(script: str) -> None:
    """Have Slurm say whether it would take a job: dask-jobqueue would wait for ever for one that it cannot submit.

    Raises
    ------
    InputError
        Kind ``no-workers``, with Slurm's own word.
    """
    command = ["sbatch", "--test-only"]
    try:
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
        said = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["nothing"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said:
        message = (
            f"This machine must be able to submit jobs of workers; {' '.join(command)} says: {said} Correct `workers` of the stage in the "
        )
        raise InputError(Problem(SITE, "no-workers", f"{message}cluster file, or leave it out where nodes may not submit jobs."))


def _jobs(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of dask-jobqueue's SLURMCluster."""
    return {
        "cores": int(told["cores"]),
        "processes": int(told["cores"]),
        "memory": told["memory"],
        "queue": told.get("partition"),
        "account": told.get("account"),
        "walltime": told.get("walltime"),
        "interface": told.get("interface"),
        "python": sys.executable,
        "death_timeout": _IDLE_S,
        "job_extra_directives": ["--requeue", *told.get("directives", ())],
        "job_script_prologue": list(told.get("prologue", ())),
        "log_directory": told.get("logs"),
        "scheduler_options": {"dashboard_address": None},
    }


@contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Hide that this process is a job itself: what Slurm says of it would be taken as wishes for the jobs that it submits."""
    own = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("SLURM_", "SBATCH_")) and name not in WHICH_SLURM}
    try:
        yield
    finally:
        os.environ.update(own)


def _first(client: Any, where: str, patience_s: float | None) -> None:
    """Wait for the first worker, and say so."""
    for timeout in (10, patience_s):
        try:
            client.wait_for_workers(1, timeout=timeout)
            return
        except TimeoutError:
            print(f"Waiting: no worker of {where} has begun yet.", file=sys.stderr, flush=True)
    message = f"At least one worker is needed; in {patience_s:g} s none has joined {where}. Start workers (`dask worker ADDRESS`)."
    raise InputError(Problem(where, "no-workers", message))


class Cluster:
    """A Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    """

    several = True

    def __init__(self, client: Any) -> None:
        self._client = client

    def map(self, function: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """Yield the results in order; few tasks are under way at a time, so that memory does not depend on the number of items.

        Raises
        ------
        SciimgError
            What a task raised; :class:`WorkerError` of kinds ``corrupt-result``, ``workers-lost``.
        """
        from distributed import as_completed

        flying = as_completed(loop=self._client.loop)
        task_of: dict[Any, tuple[int, _T, int]] = {}
        done: dict[int, _R] = {}
        coming, wanted, room = enumerate(items), 0, 0

        def begin(number: int, item: _T, attempt: int) -> None:
            future = self._client.submit(_sealed, function, item, pure=False)
            task_of[future] = number, item, attempt
            flying.add(future)

        try:
            while True:
                room = max(2, _AHEAD * sum(self._client.nthreads().values())) if not len(task_of) % 8 else room
                while len(task_of) < room and len(done) < _HELD and (following := next(coming, None)) is not None:
                    begin(*following, 1)
                while wanted in done:
                    yield done.pop(wanted)
                    wanted += 1
                if not task_of:
                    return
                future = next(flying)
                number, item, attempt = task_of.pop(future)
                data, seal = self._result(future)
                if hashlib.sha256(data).hexdigest() == seal:
                    done[number] = _opened(data)
                elif attempt < _TRIES:
                    begin(number, item, attempt + 1)
                else:
                    message = f"A result must agree with the digest that its worker took of it; after {_TRIES} attempts it does not. "
                    raise WorkerError(Problem("workers", "corrupt-result", f"{message}Look for a machine with damaged memory."))
        finally:
            self._client.cancel(list(task_of))

    def _result(self, future: Any) -> tuple[bytes, str]:
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            result: tuple[bytes, str] = future.result()
        except KilledWorker as error:
            message = f"A task that several workers in a row do not survive is not repeated for ever: {error} Give workers more memory, or "
            raise WorkerError(Problem("workers", "workers-lost", f"{message}use fewer; the same command goes on.")) from error
        except CancelledError as error:
            message = "The cluster must stay while it is used; its scheduler is gone. Start it again; the same command goes on."
            raise WorkerError(Problem("workers", "workers-lost", message)) from error
        return result


def _sealed(function: Callable[[_T], _R], item: _T) -> tuple[bytes, str]:
    """Do one task, on a worker; return the result in bytes with their digest."""
    import cloudpickle

    _LOCAL.task = True
    try:
        data: bytes = cloudpickle.dumps(function(item))
    finally:
        _LOCAL.task = False
    return data, hashlib.sha256(data).hexdigest()


def _opened(data: bytes) -> Any:
    import pickle

    return pickle.loads(data)
