"""How a reader refuses a file: one problem with a stable kind, whatever the decoding library raised."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sciimg.errors import InputError, Problem, SciimgError, printable
from sciimg.objects import answered, is_answer, uri_of


def refuse(where: str | Path, kind: str, message: str) -> InputError:
    """Return the error for one problem, ready to raise."""
    known = uri_of(where) if isinstance(where, Path) else None
    return InputError(Problem(printable(known or str(where)), kind, printable(message)))


def note_longer(path: Path, declared: int, size: int) -> tuple[Problem, ...]:
    """Return a note where a file goes on behind what its header declares: another image, or the wrong shape."""
    if size <= declared:
        return ()
    message = f"The header declares {declared} bytes and the file has {size}; what is behind is not read. Is the shape right?"
    return (Problem(path.name, "longer-than-declared", message),)


@contextmanager
def decoding(where: str | Path, kind: str = "corrupt", what: str = "The file cannot be decoded") -> Iterator[None]:
    """Turn whatever a decoding library raises on damaged bytes into one problem; its warnings are not the user's business.

    Only calls into decoding libraries belong inside the block: on damaged bytes they raise almost any exception, so that nothing
    narrower than ``Exception`` would do, and a mistake of ours must not hide behind it.
    """
    with warnings.catch_warnings(), refusing(where, kind, what):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def refusing(where: str | Path, kind: str = "corrupt", what: str = "The file cannot be decoded") -> Iterator[None]:
    """Do what :func:`decoding` does but for warnings, whose filters are one for all threads: for calls from several of them."""
    try:
        yield
    except SciimgError:
        raise
    except Exception as error:
        if is_answer(error):  # of an object store, which says nothing about the file
            raise answered(where, error) from None
        said = " ".join(str(error).split())[:200].replace('"', "'") or type(error).__name__  # in quotes, as all that is not our words
        raise refuse(where, kind, f'{what}: "{said}". Get a fresh copy of the file, or leave it out.') from error
