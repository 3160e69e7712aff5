"""Numbers as they lie in a file behind a simple header: plain, packed as one stream, or as text (NRRD, MetaImage, MRC, PAR/REC).

Plain numbers are mapped and read a box at a time. A packed stream is read to its end, so that its checksum speaks for every byte.
"""

import bz2
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import decoding, refuse
from sciimg.io.gz import inflate
from sciimg.io.image import Box, Load, too_large

Coding = Literal["plain", "gzip", "zlib", "bzip2", "text"]
_MAX_RATIO = 1100  # deflate; bzip2 knows no such limit, so that only the memory limit stands before it
_STEP = 1 << 20


@dataclass(frozen=True)
class Numbers:
    """Where numbers lie and how.

    Parameters
    ----------
    path : Path
        The file that holds them.
    offset : int
        Of the first byte; for a packed stream ``offset`` is where the stream begins and ``skip`` what comes before the numbers in it.
    shape : tuple of int
        In C order, slowest first.
    dtype : numpy.dtype
        With its byte order.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    coding: Coding = "plain"
    skip: int = 0

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        return self.skip + self.count * self.dtype.itemsize

    def check(self, limit: int) -> tuple[Problem, ...]:
        """Compare what is declared with the size of the file before anything is allocated; return what is worth noting.

        Raises
        ------
        InputError
            Kinds ``empty-image``, ``truncated``, ``absurd-size``, ``too-large``.
        """
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise refuse(self.path, "empty-image", f"An image has two axes or more, with a sample or more; declared is {self.shape[::-1]}.")
        there = self.path.stat().st_size - self.offset
        least = {"plain": self.size, "text": 2 * self.count - 1, "bzip2": 14}.get(self.coding, self.size / _MAX_RATIO)
        if least > there:
            message = (
                f"The header declares {self.shape[::-1]} samples of {self.dtype.itemsize} bytes, {self.size} bytes; the {max(there, 0)} "
                f"bytes ({self.coding}) that the file has for them cannot hold that. Get a fresh copy, or repair the header."
            )
            raise refuse(self.path, "absurd-size" if self.size > _MAX_RATIO * max(there, 1) else "truncated", message)
        if self.coding != "plain" and self.size > limit:
            raise too_large(str(self.path), self.shape, self.size, limit)
        if self.coding == "plain" and there > self.size:
            message = f"The header declares {self.size} bytes of samples; {there - self.size} more follow, which were not read."
            return (Problem(self.path.name, "size-mismatch", message),)
        return ()

    def read(self) -> NDArray[Any]:
        """Return the numbers, mapped where that is possible.

        Raises
        ------
        InputError
            Kinds ``corrupt`` (a checksum among others), ``truncated``, ``size-mismatch``.
        """
        if self.coding == "plain":
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        if self.coding == "text":
            with decoding(self.path, what="The numbers cannot be read as text"):
                words = self.path.read_bytes()[self.offset :].split()
                if len(words) != self.count:
                    raise ValueError(f"{self.count} numbers are declared, {len(words)} are there")
                values = [int(w) for w in words] if self.dtype.kind in "ui" else [float(w) for w in words]
                return np.array(values, self.dtype).reshape(self.shape)
        content = _unpackers[self.coding](self.path, self.offset, self.size)
        if len(content) > self.size:
            message = f"The header declares {self.size} bytes; the packed stream holds more. One of the two is wrong: repair the header."
            raise refuse(self.path, "size-mismatch", message)
        return np.frombuffer(content, self.dtype, self.count, self.skip).reshape(self.shape)


def lazy(numbers: Numbers, order: tuple[int, ...], final: np.dtype[Any]) -> Load:
    """Return a loader of boxes in the transposed ``order``; a packed stream is unpacked once for as long as its image lives."""
    if numbers.coding == "plain":
        return _Mapped(numbers, order, final)

    @lru_cache(maxsize=1)
    def stored() -> NDArray[Any]:
        return numbers.read()

    def load(box: Box) -> NDArray[Any]:
        return stored().transpose(order)[box].astype(final)

    return load


@dataclass(frozen=True)
class _Mapped:
    """A loader for several threads. The file is mapped anew for each box: pages of a mapping that is kept count as the process's memory."""

    numbers: Numbers
    order: tuple[int, ...]
    final: np.dtype[Any]

    def __call__(self, box: Box) -> NDArray[Any]:
        return self.numbers.read().transpose(self.order)[box].astype(self.final)

    def fill(self, box: Box, out: NDArray[Any]) -> None:
        out[...] = self.numbers.read().transpose(self.order)[box]


def _gunzip(path: Path, offset: int, expected: int) -> bytes | bytearray:
    return inflate(path, expected, offset)


def _inflate_zlib(path: Path, offset: int, expected: int) -> bytearray:
    decoder, parts = zlib.decompressobj(15), bytearray()
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            while not decoder.eof and len(parts) <= expected:
                piece = decoder.unconsumed_tail or stream.read(_STEP)
                if not piece:
                    raise refuse(path, "truncated", "The zlib stream ends before its checksum. Get a fresh copy.")
                parts += decoder.decompress(piece, _STEP)
    except zlib.error as error:
        raise refuse(path, "corrupt", f"The zlib stream is damaged: {error}. Get a fresh copy.") from error
    return _enough(path, parts, expected)


def _bunzip(path: Path, offset: int, expected: int) -> bytearray:
    parts = bytearray()
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            with bz2.BZ2File(stream) as content:
                while len(parts) <= expected and (piece := content.read(_STEP)):
                    parts += piece
    except EOFError:
        raise refuse(path, "truncated", "The bzip2 stream ends before its end mark. Get a fresh copy.") from None
    except (OSError, ValueError) as error:
        raise refuse(path, "corrupt", f"The bzip2 stream is damaged: {error}. Get a fresh copy.") from error
    return _enough(path, parts, expected)


def _enough(path: Path, parts: bytearray, expected: int) -> bytearray:
    if len(parts) < expected:
        raise refuse(path, "truncated", f"The header declares {expected} bytes; the stream holds {len(parts)}. Get a fresh copy.")
    return parts


_unpackers: dict[str, Callable[[Path, int, int], bytes | bytearray]] = {"gzip": _gunzip, "zlib": _inflate_zlib, "bzip2": _bunzip}
