"""Many images of one shape as one array that need not fit in memory."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem

IN_MEMORY = 2**28  # bytes; more lies in a temporary file, from which the system reads what is looked at


class Stack:
    """An array (count, ...) that is filled image by image.

    More than 256 MiB go to a file in the folder for temporary files (TMPDIR), which vanishes with the process however that ends.
    """

    def __init__(self, count: int) -> None:
        self._most = count
        self._room: NDArray[Any] | None = None
        self.count = 0

    def add(self, image: NDArray[Any]) -> None:
        """Put an image, of the shape and dtype of the first, behind those that are there."""
        if self._room is None:
            self._room = _room((self._most, *image.shape), image.dtype)
        self._room[self.count] = image
        self.count += 1

    @property
    def array(self) -> NDArray[Any]:
        """The images so far; at least one."""
        assert self._room is not None
        return self._room[: self.count]


@contextmanager
def on_disk(images: NDArray[Any]) -> Iterator[Path]:
    """Yield a file in the folder for temporary files (TMPDIR) from which workers read their rows."""
    with tempfile.NamedTemporaryFile(prefix="sciimg-images-", suffix=".npy") as file:
        np.save(file, images)
        file.flush()
        yield Path(file.name)


def rows_of(file: Path, start: int, stop: int) -> NDArray[Any]:
    """Return some rows of the images of :func:`on_disk`.

    Raises
    ------
    InputError
        Kind ``not-shared``: the worker is on a machine that has not got the file.
    """
    try:
        return np.array(np.load(file, mmap_mode="r")[start:stop])
    except FileNotFoundError as error:
        message = "Workers read images from a folder that all machines share; this one does not see it. Set TMPDIR to such a folder."
        raise InputError(Problem(str(file), "not-shared", message)) from error


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the array keeps what it maps
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here; where a page is first written it would kill the process
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype, "w+", shape=shape)
