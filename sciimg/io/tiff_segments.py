"""The strips and tiles of a TIFF page: only those are decoded that a box touches, so that a whole slide needs the memory of its tiles."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.faults import refuse

if TYPE_CHECKING:
    from tifffile import TiffPage

Task = Callable[[], None]


@dataclass(frozen=True)
class Grid:
    """How the pixels of a page are cut: ``shape`` and ``step`` over (separate samples, depth, length, width), samples of a pixel apart."""

    shape: tuple[int, int, int, int]
    samples: int
    step: tuple[int, int, int, int]

    @classmethod
    def of(cls, page: "TiffPage") -> "Grid":
        separate, depth, length, width, samples = page.shaped
        if page.is_tiled:
            step = (1, max(1, page.tiledepth), page.tilelength, page.tilewidth)
        else:
            step = (1, 1, max(1, min(page.rowsperstrip or length, length)), width)
        if not all(isinstance(n, int) and n > 0 for n in step):
            raise ValueError(f"a segment of {step} samples is declared")  # a damaged tag holds no number, or none that makes sense
        return cls((separate, depth, length, width), samples, step)

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(-(-n // s) for n, s in zip(self.shape, self.step, strict=True))

    @property
    def segments(self) -> int:
        return int(np.prod(self.counts))

    def nbytes(self, dtype: np.dtype[Any]) -> int:
        """Return the size of one decoded segment."""
        return int(np.prod(self.step, dtype=object)) * self.samples * dtype.itemsize

    def touching(self, rows: slice, columns: slice) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
        """Yield number and origin of every segment that holds some of the rows and columns."""
        whole = (slice(0, self.shape[0]), slice(0, self.shape[1]), rows, columns)
        ranges = [range(r.start // s, -(-r.stop // s)) for r, s in zip(whole, self.step, strict=True)]
        for index in product(*ranges):
            origin = tuple(i * s for i, s in zip(index, self.step, strict=True))
            yield int(np.ravel_multi_index(index, self.counts)), (origin[0], origin[1], origin[2], origin[3])


def tasks(page: Any, path: Path, lock: Lock, stream: Any, rows: slice, columns: slice, out: NDArray[Any]) -> Iterator[Task]:
    """Yield what to do to fill ``out`` with part of a page.

    Parameters
    ----------
    page : TiffPage or TiffFrame
        Decodes; its own file is not touched.
    path, stream : Path and binary file
        Where the bytes are; ``lock`` guards the place in the stream.
    rows, columns : slice
        Of the page.
    out : array, shape (separate samples, depth, rows, columns, samples of a pixel)
    """
    keyframe = page.keyframe
    grid = Grid.of(keyframe)
    if len(page.dataoffsets) != grid.segments and not keyframe.is_final:
        message = f"A page of {grid.segments} strips or tiles must have as many places of data; it has {len(page.dataoffsets)}."
        raise refuse(path, "corrupt", message)
    if keyframe.is_final and (len(page.dataoffsets) == 1 or len(page.dataoffsets) != grid.segments):
        yield lambda: _copy_plain(page, path, rows, columns, out)
        return
    for number, origin in grid.touching(rows, columns):
        yield lambda number=number, origin=origin: _decode(page, number, origin, path, lock, stream, rows, columns, out)  # type: ignore[misc]


def _decode(
    page: Any,
    number: int,
    origin: tuple[int, int, int, int],
    path: Path,
    lock: Lock,
    stream: Any,
    rows: slice,
    columns: slice,
    out: NDArray[Any],
) -> None:
    count = page.databytecounts[number]
    with lock:
        stream.seek(page.dataoffsets[number])
        data = stream.read(count)
    if len(data) != count:
        raise refuse(path, "truncated", f"Segment {number} should have {count} bytes; {len(data)} are left. Get a fresh copy.")
    decoded, _, shape = page.keyframe.decode(data, number, jpegtables=page.jpegtables, jpegheader=getattr(page, "jpegheader", None))
    if decoded is None:
        raise refuse(path, "truncated", f"Segment {number} must have data; it is empty. Get a fresh copy.")
    pixels = decoded[: shape[0], : shape[1], : shape[2]]
    separate, depth, top, left = origin
    first_row, last_row = max(rows.start, top), min(rows.stop, top + shape[1])
    first, last = max(columns.start, left), min(columns.stop, left + shape[2])
    into = (
        separate,
        slice(depth, depth + shape[0]),
        slice(first_row - rows.start, last_row - rows.start),
        slice(first - columns.start, last - columns.start),
    )
    out[into] = pixels[:, first_row - top : last_row - top, first - left : last - left]


def _copy_plain(page: Any, path: Path, rows: slice, columns: slice, out: NDArray[Any]) -> None:
    keyframe = page.keyframe
    dtype = np.dtype(keyframe.parent.byteorder + keyframe._dtype.char)
    raw = np.memmap(path, dtype, "r", page.dataoffsets[0], keyframe.shaped)
    out[...] = raw[:, :, rows, columns]
