"""Files that workers write apart from all others, and what is looked at before they are taken over.

A worker holds the lock of its folder, so that a task which runs twice writes once. What it wrote is read again by whichever worker is free,
and compared with the checksum that was taken where it was made: this finds what was damaged on the way to the disk, and waits for what a
network file system shows late. It is no proof that the right pixels were written; ``sciimg info --verify`` reads those.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sciimg.files import checksum, hold, still_wanted

_Name = TypeVar("_Name")
Made = tuple[_Name, list[tuple[Path, str]]]  # what a task was for; the places that it wrote, with their checksums
Seen = tuple[_Name, list[tuple[Path, bool]]]  # the same; whether each place holds what was written
_PATIENCE_S = 60.0  # for a worker that was given up and is still at work


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is missing, for the length of the block.

    The folder above it is made and removed by whoever waits for the work.

    Raises
    ------
    BusyError
        Somebody else does not let it go.
    FileNotFoundError
        Nobody waits for the work any more.
    """
    still_wanted(folder.parent)
    with hold(folder.with_name(f"{folder.name}.lock"), _PATIENCE_S, remove=True):
        folder.mkdir(exist_ok=True)
        yield


def intact(made: Made[_Name]) -> Seen[_Name]:
    """Read what a task wrote, and say of each place whether it holds it."""
    name, places = made
    return name, [(place, _same(place, told)) for place, told in places]


def _same(place: Path, told: str) -> bool:
    try:
        return checksum(place) == told
    except OSError:
        return False
