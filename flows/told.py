"""Errors as Prefect may keep them: its database and logs hold their text, so that no file of images is named there.

The problems themselves, which name files, stay in this process and beside the stages of the run.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sciimg.errors import BusyError, Problem, SciimgError, StudyError


class ToldError(SciimgError):
    """An error whose text is fit for Prefect; ``problems`` say everything to whoever has this object.

    Parameters
    ----------
    problems : iterable of Problem
    said : str
        What the text says before the kinds of the problems.
    hint : str
        Where to read them in full.
    exit_code : int
    shown : callable
        What is told of a problem: its kind; of a study's mistakes, which stand in a file that the user named, also the line.
    """

    def __init__(
        self, problems: Iterable[Problem], said: str, hint: str, exit_code: int, shown: Callable[[Problem], str] = lambda p: p.kind
    ) -> None:
        super().__init__(problems)
        self.exit_code = exit_code
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        self.args = (f"{said}: {count} ({', '.join(dict.fromkeys(shown(p) for p in self.problems))}). {hint}",)


@contextmanager
def veiled(said: str, hint: str) -> Iterator[None]:
    """Raise what a person has to be told of inside the block as a :class:`ToldError`.

    Parameters
    ----------
    said, hint : str
        As of :class:`ToldError`; neither may name a file of images.
    """
    try:
        yield
    except (ToldError, BusyError):  # who holds a lock is a process and a machine
        raise
    except StudyError as error:
        raise ToldError(error.problems, said, hint, error.exit_code, shown=lambda p: f"{p.where} [{p.kind}]") from None
    except SciimgError as error:
        raise ToldError(error.problems, said, hint, error.exit_code) from None
    except OSError as error:
        where, why = str(error.filename or "file system"), error.strerror or type(error).__name__
        problem = Problem(where, "file-system", f"The path must be one that can be read or written; the system says: {why}.")
        raise ToldError([problem], f"{said} ({why})", hint, SciimgError.exit_code) from None
