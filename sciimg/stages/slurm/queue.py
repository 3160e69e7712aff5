"""What Slurm's own commands say: submit a job, look at the queue. No accounting database is asked."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sciimg.errors import ClusterError, InputError, Problem
from sciimg.workers import WHICH_SLURM

ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}
_SILENT = ("unable to contact slurm controller", "socket timed out", "connection refused", "connect failure", "zero bytes", "configless")
_NOT_NOW = ("busy", "down, drained or reserved")
_OWN = ("SLURM_", "SBATCH_", "SRUN_", "PMI", "PREFECT_")
_SECRET = "SCIIMG_KEY_PASSPHRASE"  # jobs never sign; Slurm keeps the environment of a job on disk


class SilentError(ClusterError):
    """Slurm's controller does not answer."""


@dataclass(frozen=True)
class Job:
    """A job as the queue shows it."""

    id: str
    name: str
    state: str
    nodes: str
    reason: str

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class Queue:
    """The jobs of this user, looked up at most every ``poll_s`` seconds, however many stages wait."""

    def __init__(self, poll_s: float) -> None:
        self.poll_s = poll_s
        self._jobs: list[Job] = []
        self._seen = -float("inf")
        self._lock = threading.Lock()

    def jobs(self, name: str, *, since: float = -float("inf")) -> list[Job]:
        """Return the jobs of a name, oldest first, as they were at the moment ``since`` of the monotonic clock or later.

        Raises
        ------
        SilentError
        """
        with self._lock:
            if self._seen < max(since, time.monotonic() - self.poll_s):
                now = time.monotonic()
                said = ask(["squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%A|%j|%T|%N|%r"])
                self._jobs = [Job(*line.split("|", 4)) for line in said.splitlines() if line.count("|") >= 4]
                self._seen = now
            return sorted((job for job in self._jobs if job.name == name), key=lambda job: int(job.id))


def ask(command: Sequence[str], timeout_s: float = 60) -> str:
    """Run one of Slurm's commands and return what it says.

    Raises
    ------
    SilentError
        Kind ``slurm-silent``: its controller does not answer.
    ClusterError
        Kind ``slurm-refused``, with Slurm's own words.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment(), stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise no_slurm(command[0]) from None
    except subprocess.TimeoutExpired:
        raise SilentError(_silence(command[0], f"no answer in {timeout_s:g} s")) from None
    said = " ".join(line.split("error: ", 1)[-1] for line in done.stderr.splitlines())
    if done.returncode == 0:
        return done.stdout
    if any(words in said.lower() for words in _SILENT):
        raise SilentError(_silence(command[0], said))
    raise ClusterError(Problem(command[0], "slurm-refused", said or f"{command[0]} ended with exit code {done.returncode}."))


def check(where: str, options: Sequence[str]) -> list[Problem]:
    """Ask Slurm whether it would take a job, without submitting one; return why not.

    Raises
    ------
    SilentError
    """
    try:
        ask(["sbatch", "--test-only", *options, "--wrap=true"])
    except SilentError:
        raise
    except ClusterError as error:
        (problem,) = error.problems
        if any(words in problem.message.lower() for words in _NOT_NOW):  # a node that is drained today is no mistake
            return []
        return [
            Problem(
                where,
                problem.kind,
                f"Slurm does not take this job: {problem.message}.{_there_are(problem.message)} Change the cluster file.",
            )
        ]
    return []


def check_installed() -> None:
    """Refuse a machine without Slurm's commands."""
    if missing := [name for name in ("sbatch", "squeue") if shutil.which(name) is None]:
        raise no_slurm(missing[0])


def no_slurm(command: str) -> InputError:
    """Return what to say where Slurm's commands are missing."""
    message = (
        f"The engine slurm needs {command} on the path of this machine, and there is none. "
        "Run on a login node (perhaps after `module load slurm`), or use --engine local."
    )
    return InputError(Problem("--engine", "no-slurm", message))


def environment() -> dict[str, str]:
    """Return what jobs inherit: the environment of this process, without that of an allocation that it runs in, and without secrets."""
    return {k: v for k, v in os.environ.items() if k in WHICH_SLURM or not (k.startswith(_OWN) or k == _SECRET)}


def _silence(command: str, said: str) -> Problem:
    message = f"Slurm's controller must answer; {command} says: {said}. Jobs go on without it. Run the same command again when it is back."
    return Problem("slurm", "slurm-silent", message)


def _there_are(said: str) -> str:
    if "partition" not in said.lower():
        return ""
    try:
        names = sorted(set(ask(["sinfo", "--noheader", "--format=%R"]).split()))
    except InputError:
        return ""
    return f" Partitions here: {', '.join(names)}."
