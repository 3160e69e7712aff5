"""What sciimg says when something is wrong: problems as (where, kind, message), and exit codes.

A function that meets several problems collects them all and raises once. The command line prints the problems as one readable
block; ``--debug`` shows the traceback.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Parameters
    ----------
    where : str
        File, ``file:line``, key path or item that the problem belongs to.
    kind : str
        Short stable name of the rule, in kebab-case, e.g. ``"truncated"``, ``"unknown-spacing"``.
    message : str
        The rule, what was expected, what came and what to do next, in one or two sentences.
    """

    where: str
    kind: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def printable(text: str) -> str:
    """Return a text that any file and terminal can hold: bytes that are no UTF-8, and control characters, become escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


class SciimgError(Exception):
    """Base of every error that a user may meet. Carries all problems; never shown as a traceback by the command line."""

    exit_code = 2

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        if not self.problems:
            raise ValueError("A SciimgError needs at least one problem.")
        super().__init__("\n".join(f"{p.where}: {p.message} [{p.kind}]" for p in self.problems))

    def __reduce__(self) -> tuple[type["SciimgError"], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # an error that a worker raised is the same here


class InputError(SciimgError):
    """Bad usage or bad input; nothing was written (exit code 2)."""


class StudyError(InputError):
    """A study that cannot be used; lists every problem with its line and key path."""


class ClusterError(InputError):
    """A cluster file that cannot be used, or a cluster that does not take what it asks for; lists every problem."""


class MissingExtraError(InputError):
    """An optional dependency is needed; the message says which extra to install."""


class BusyError(InputError):
    """Another process holds the run or collection; the message says who."""


class StorageError(SciimgError):
    """The place that is written to does not take more; what is whole is kept and continued by the same command (exit code 1)."""

    exit_code = 1


class RemoteError(SciimgError):
    """An object store refuses: never the fault of one image, so that it is no InputError, for which images are left out (exit code 2)."""


class WorkerError(SciimgError):
    """Workers were lost or gave wrong results; what is whole is kept and continued by the same command (exit code 1)."""

    exit_code = 1


class TrainingFailedError(SciimgError):
    """Training diverged or could not start; the best checkpoint, if any, is kept (exit code 1)."""

    exit_code = 1


class CheckpointedError(SciimgError):
    """Training was told to stop and has; the same command goes on exactly there (exit code 85, as batch systems know it)."""

    exit_code = 85


class AuditError(SciimgError):
    """A release does not verify (exit code 1)."""

    exit_code = 1


class RefusedError(SciimgError):
    """The study was refused, so that there is nothing of the kind that is asked for (exit code 1)."""

    exit_code = 1
