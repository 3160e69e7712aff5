"""How a job can end, in words: which job, which node, which log, and what to do."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from sciimg.errors import Problem, SciimgError
from sciimg.protocol.cluster import Resources
from sciimg.stages.slurm.queue import Job

_AGAIN = "Run the same command again: the stage goes on from where it stopped."
_TAIL = 4000  # bytes of a log in which an ending is looked for
_FULL = 1 << 16  # with fewer bytes free not even the note of a job fits


class JobError(SciimgError):
    """A job ended without a result (exit code 1)."""

    exit_code = 1


@dataclass(frozen=True)
class Ending:
    """A job that came to its end, as far as is known.

    Parameters
    ----------
    stage, title, job : str
        The stage, and its job's name and number.
    log_file : Path
    wishes : Resources
        What the job had asked for.
    last : Job or None
        What the queue knew of it last; None when it was forgotten there.
    code : int or None
        Exit code that the job left, if it could; above 128 a signal.
    node : str
        Where it ended.
    """

    stage: str
    title: str
    job: str
    log_file: Path
    wishes: Resources
    last: Job | None
    code: int | None = None
    node: str = ""

    def error(self, kind: str | None = None) -> JobError:
        """Return the error to raise; ``kind`` where the job itself says nothing wrong."""
        kind = kind or self.kind()
        where = self.node or (self.last.nodes if self.last else "")
        which = f"Job {self.job} ({self.title}) on {f'node {where}' if where else 'no node'}"
        return JobError(Problem(str(self.log_file), kind, f"{which} {self._words(kind)}"))

    def kind(self) -> str:
        """Return the short name of what happened."""
        state = self.last.state if self.last else "UNKNOWN"
        if state == "OUT_OF_MEMORY" or (self.code in (1, 137, 143) and self._log_says("oom-kill", "oom_kill", "memory limit")):
            return "out-of-memory"
        if state in ("CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED"):
            return {"CANCELLED": "cancelled", "TIMEOUT": "time-limit", "DEADLINE": "time-limit"}.get(state, "node-failed")
        if self.code is None:
            return "disk-full" if _free(self.log_file.parent) < _FULL else "job-lost"
        known = {
            121: "inputs-not-visible",
            122: "not-continued",
            123: "too-many-restarts",
            124: "no-progress",
            126: "not-ready",
            127: "no-environment",
        }
        return known.get(self.code, "stage-failed")

    def _words(self, kind: str) -> str:
        memory = f"memory: {self.wishes.memory}" if self.wishes.memory else "the partition's default memory"
        match kind:
            case "out-of-memory":
                return f"was killed for memory; it had {memory}. Ask for more in the cluster file (memory: of this stage). {_AGAIN}"
            case "cancelled":
                return f"was cancelled, by an operator or by scancel. {_AGAIN}"
            case "time-limit":
                limit = f"its time limit ({self.wishes.time})"
                return f"was killed at {limit} before it could ask for another slot. Raise time: or signal_lead_s:. {_AGAIN}"
            case "no-progress":
                return (
                    f"reached its time limit ({self.wishes.time}) twice without any progress in between. "
                    "Raise time: of this stage in the cluster file and run the same command again."
                )
            case "too-many-restarts":
                return f"was continued in as many new slots as restarts: allows. Raise time: or restarts:. {_AGAIN}"
            case "not-continued":
                return f"could not be put back into the queue at its time limit; the log has Slurm's reason: {self._last_line()} {_AGAIN}"
            case "node-failed":
                return f"ended with its node ({self.last.state if self.last else 'unknown'}), and Slurm did not start it again. {_AGAIN}"
            case "disk-full":
                return f"could not leave its exit code: the disk of {self.log_file.parent} is full. Make room. {_AGAIN}"
            case "job-lost":
                state = self.last.state if self.last else "forgotten by the queue"
                return (
                    f"ended ({state}) and left no exit code. Killed from outside, or its node does not see the run folder: "
                    f"look there with `srun ls {self.log_file.parent}`. {_AGAIN}"
                )
            case "inputs-not-visible":
                return (
                    "did not see what earlier stages wrote within shared_folder_wait_s. Is the run folder shared with this node? "
                    "Raise the wait, or leave the node out with options: [--exclude=NODE]."
                )
            case "not-ready" | "no-environment":
                return (
                    f"found its node not ready: {self._last_line()} "
                    "Mend environment: or python: in the cluster file, or leave the node out with options: [--exclude=NODE]."
                )
            case "outputs-not-visible":
                return (
                    f"says that it is done, and its folder {self.stage} was not to be seen here within shared_folder_wait_s. "
                    f"Is the run folder shared with this node? Raise the wait. {_AGAIN}"
                )
            case "corrupt-output":
                return (
                    "says that it is done, and what lies in the run folder has another digest than the one it left. "
                    f"It was set aside as .{self.stage}.corrupt. Look after disk and network of the node; the same command makes it again."
                )
            case _:
                code = self.code or 0
                how = f"signal {code - 128} ({signal.strsignal(code - 128)})" if code > 128 else f"exit code {code}"
                return f"ended with {how}: {self._last_line()} {_AGAIN}"

    def _log_says(self, *words: str) -> bool:
        text = self._tail().lower()
        return any(word in text for word in words)

    def _last_line(self) -> str:
        return ([line for line in self._tail().splitlines() if line.strip()] or ["the log is empty."])[-1].strip()

    def _tail(self) -> str:
        try:
            with self.log_file.open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
                return stream.read().decode(errors="replace")
        except OSError:
            return ""


def _free(folder: Path) -> int:
    try:
        now = os.statvfs(folder)
    except OSError:
        return _FULL
    return now.f_bavail * now.f_frsize
