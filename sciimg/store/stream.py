"""One pass over an image: pixels come in slabs, every level of the pyramid goes out, and what is remembered of them is small.

Memory is bounded by the slab, not by the image. All threads fill a slab of level 0 in small pieces, halving each into level 1 while it is
in the cache; then they compress it into shards. Level 1 waits until it has a whole row of shards, writes it, hands it on, and so on.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError
from sciimg.store.layout import Level, Shape, layouts, slab_axis, tiles, together
from sciimg.store.shards import THREADED_BYTES, ArrayReader, ArrayWriter, Box, in_order
from sciimg.workers import on_worker

_PIECE_BYTES = 4 * 2**20  # two planes of 1024 x 1024 uint16: small enough for the cache, large enough for a task
_FEW = 2**14  # 16-bit pixels that are sorted in 17 to 40 µs, counted in 25 to 230 µs: the larger the values, the slower
_SAMPLED_PIXELS = 2**20  # a channel: enough for percentiles of a display window


class Halve(Protocol):
    """Makes a block of the next level in ``out``; ``factors`` are 1 or 2 an axis."""

    def __call__(self, block: NDArray[Any], /, factors: Shape, out: NDArray[Any]) -> None: ...


Progress = Callable[[int], None]


class PixelSummary:
    """What one pass keeps of the pixels: a digest for each channel and time, their range, and a regular sample for percentiles.

    The digests are over the values in C order, so they depend neither on chunks nor on slabs.
    """

    def __init__(self, axes: str, shape: Shape, dtype: np.dtype[Any]) -> None:
        self._deep = slab_axis(axes)
        self._leading = shape[: self._deep]
        self._channel = axes.index("c") if "c" in axes else None
        self._little = dtype.newbyteorder("<")
        self._hashes = {place: hashlib.sha256() for place in np.ndindex(*self._leading)}
        self._step = _sampling_step(shape[self._deep :])
        count = shape[self._channel] if self._channel is not None else 1
        self.low: list[Any] = [None] * count
        self.high: list[Any] = [None] * count
        self._sample: list[list[NDArray[Any]]] = [[] for _ in range(count)]

    def add(self, origin: Shape, block: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> None:
        """Take in a block with its smallest and largest values, along the axes before the slab axis.

        The blocks of one channel and time must come in order along the slab axis and span the others.
        """
        every = (
            slice(-origin[self._deep] % self._step, None, self._step),
            *(slice(None, None, self._step),) * (block.ndim - self._deep - 1),
        )
        for place in np.ndindex(*block.shape[: self._deep]):
            where = tuple(o + i for o, i in zip(origin, place, strict=False))
            pixels = block[place]
            self._hashes[where].update(np.ascontiguousarray(pixels, dtype=self._little).data)
            channel = where[self._channel] if self._channel is not None else 0
            least, most = low[place], high[place]
            self.low[channel] = least if self.low[channel] is None else min(self.low[channel], least)
            self.high[channel] = most if self.high[channel] is None else max(self.high[channel], most)
            self._sample[channel].append(pixels[every].flatten())  # a copy: the memory of a slab is used again

    def digests(self) -> list[str]:
        """Return the SHA-256 of each channel and time, in C order."""
        return [self._hashes[place].hexdigest() for place in sorted(self._hashes)]

    def windows(self) -> list[tuple[float, float, float, float]]:
        """Return (min, max, start, end) for each channel: the range of the values, and percentiles 0.1 and 99.9 of a regular sample."""
        found = []
        for low, high, pieces in zip(self.low, self.high, self._sample, strict=True):
            start, end = _percentiles(np.concatenate(pieces))
            least, most = float(low), float(high)
            if end <= start:
                start, end = least, most
            if end <= start:  # a constant image: any window of some width shows it
                end = most = start + 1.0
            found.append((least, most, start, end))
        return found


def _percentiles(values: NDArray[Any]) -> tuple[float, float]:
    """Return percentiles 0.1 and 99.9; for the usual pixels by counting, where that is faster than sorting."""
    if values.dtype.kind != "u" or values.itemsize > 2:
        start, end = np.percentile(values, (0.1, 99.9))
        return float(start), float(end)
    places = np.array([0.001, 0.999]) * (values.size - 1)
    if values.itemsize == 2 and values.size <= _FEW:
        ordered = np.sort(values)
        low, high = (ordered[np.minimum(np.floor(places).astype(int) + i, values.size - 1)].astype(int) for i in (0, 1))
        start, end = low + (high - low) * (places % 1)
        return float(start), float(end)
    below = np.cumsum(np.bincount(values))
    low, high = (np.searchsorted(below, np.floor(places) + i, side="right") for i in (0, 1))
    start, end = low + (np.minimum(high, len(below) - 1) - low) * (places % 1)
    return float(start), float(end)


def _sampling_step(shape: Shape) -> int:
    step = 1
    while np.prod([-(-n // step) for n in shape]) > _SAMPLED_PIXELS:
        step += 1
    return step


class Source(Protocol):
    """Where the pixels of level 0 come from; an :class:`~sciimg.io.image.Image` is one."""

    @property
    def parallel(self) -> bool:
        """Whether ``fill`` may be called from several threads, on pieces of a slab."""

    def read(self, box: Box, /) -> NDArray[Any]: ...

    def fill(self, box: Box, out: NDArray[Any], /) -> None: ...


def write_levels(
    path: Path,
    axes: str,
    levels: Sequence[Level],
    dtype: np.dtype[Any],
    source: Source,
    halve: Halve,
    progress: Progress | None = None,
) -> PixelSummary:
    """Write arrays ``0``, ``1``, … under ``path`` in one pass.

    Shards that an earlier attempt left there, whole, are not written again, and the pixels of a slab whose shards are all there are read
    back from them, which is several times faster than from most sources.

    Parameters
    ----------
    source : Source
        Read once, in order: in pieces of a slab by all threads where it is ``parallel``, else a slab at a time.
    halve : callable
        Mean or nearest sample.
    progress : callable, optional
        Told after each slab how many bytes of level 0 it had.
    """
    shape = levels[0].shape
    laid_out = layouts(axes, levels, dtype.itemsize)
    writers = [ArrayWriter(path / str(i), axes, v.shape, dtype, lay) for i, (v, lay) in enumerate(zip(levels, laid_out, strict=True))]
    summary, deep = PixelSummary(axes, shape, dtype), slab_axis(axes)
    slab: NDArray[Any] | None = None  # one for all: fresh pages cost as much as decoding into them
    coarser: _Coarser | None = None
    for box in tiles(shape, together(axes, shape, laid_out[0].shard, dtype.itemsize)):
        size = tuple(s.stop - s.start for s in box)
        if box[deep].start == 0:
            coarser = _chain(writers, levels, halve, box, deep)
        block, given = _left_by_an_earlier_attempt(writers[0], box), source if source.parallel else None
        if block is not None:
            given = None
        elif given is None:
            block = source.read(box)
        else:
            block = slab = slab if slab is not None and slab.shape == size else np.empty(size, dtype)
        with _Aside(block.nbytes) as aside:
            _take_in(box, block, given, coarser, summary, deep, aside)
            writers[0].write(tuple(s.start for s in box), block)
            if coarser:
                coarser.flush(box[deep].stop)
        if progress:
            progress(block.nbytes)
    return summary


def _left_by_an_earlier_attempt(writer: ArrayWriter, box: Box) -> NDArray[Any] | None:
    """Return a slab from shards that are there already; None where one is missing or, after a power cut, damaged, which is removed."""
    files = writer.files(box)
    if not writer.several or not all(file.exists() for file in files):
        return None
    try:
        return ArrayReader(writer.path).read(box)
    except InputError:
        for file in files:
            file.unlink()
        return None


class _Aside:
    """Work that must be done in order but need not be waited for before the end of the block: digests of a large slab."""

    def __init__(self, nbytes: int) -> None:
        alone = nbytes < THREADED_BYTES or on_worker()
        self._thread = None if alone else ThreadPoolExecutor(1, thread_name_prefix="sciimg-digest")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread:
            self._thread.shutdown()
        for work in self._pending:
            work.result()

    def do(self, work: Callable[..., None], *arguments: Any) -> None:
        if self._thread:
            self._pending.append(self._thread.submit(work, *arguments))
        else:
            work(*arguments)


def _take_in(
    box: Box, block: NDArray[Any], source: Source | None, coarser: "_Coarser | None", summary: PixelSummary, deep: int, aside: _Aside
) -> None:
    """Fill a slab from the source, in pieces, each of which is halved and looked through while the processor has it in its cache."""

    def work(piece: Box) -> tuple[NDArray[Any], NDArray[Any]]:
        rows = block[piece]
        if source is not None:
            source.fill(tuple(slice(b.start + p.start, b.start + p.stop) for b, p in zip(box, piece, strict=True)), rows)
        if coarser:
            coarser.fill(rows, box[deep].start + piece[deep].start)
        inner = tuple(range(deep, rows.ndim))
        return rows.min(axis=inner), rows.max(axis=inner)

    pieces = list(_pieces(block.shape, deep, block.itemsize))
    for piece, (low, high) in zip(pieces, in_order(work, pieces, block.nbytes), strict=True):
        aside.do(summary.add, tuple(b.start + p.start for b, p in zip(box, piece, strict=True)), block[piece], low, high)


def _pieces(shape: Shape, deep: int, itemsize: int) -> Iterator[Box]:
    """Yield boxes of an even number of whole rows (planes, in 3D) that tile a slab."""
    row = math.prod(shape[:deep]) * math.prod(shape[deep + 1 :]) * itemsize
    rows = 2 * max(1, _PIECE_BYTES // (2 * row))
    yield from tiles(shape, (*shape[:deep], min(rows, shape[deep]), *shape[deep + 1 :]))


def _chain(writers: Sequence[ArrayWriter], levels: Sequence[Level], halve: Halve, box: Box, deep: int) -> "_Coarser | None":
    """Return level 1, which feeds the coarser ones, for one column of slabs of the size of ``box``; None where there is only level 0."""
    arriving = [box[deep].stop]
    for writer, level in zip(writers[1:], levels[1:], strict=True):
        rows = -(-arriving[-1] // level.factors[deep])
        depth = writer.layout.shard[deep]
        whole = depth % rows == 0 or rows % depth == 0
        arriving.append(min(max(depth, rows) if whole else depth + rows, level.shape[deep]))
    after: _Coarser | None = None
    for writer, level, rows in reversed(list(zip(writers[1:], levels[1:], arriving[1:], strict=True))):
        after = _Coarser(writer, partial(halve, factors=level.factors), level.factors[deep], box, deep, rows, after)
    return after


class _Coarser:
    """Rows of a coarser level, for one column of slabs, that wait until they are whole shards.

    Threads fill different rows at the same time; :meth:`flush` then writes what is complete and hands it to the next level.
    """

    def __init__(
        self, writer: ArrayWriter, halve: Callable[..., None], factor: int, box: Box, deep: int, rows: int, after: "_Coarser | None"
    ) -> None:
        self._writer, self._halve, self._factor, self._deep, self._after = writer, halve, factor, deep, after
        self._lead = tuple(s.start for s in box[:deep])
        self._start = 0  # the first row held
        lead = (s.stop - s.start for s in box[:deep])
        self._held = np.empty((*lead, rows, *writer.shape[deep + 1 :]), writer.dtype)

    def fill(self, rows: NDArray[Any], first: int) -> None:
        """Take in rows of the finer level, of which the first is row ``first`` there, an even number."""
        begin = first // self._factor - self._start
        end = -(-(first + rows.shape[self._deep]) // self._factor) - self._start
        self._halve(rows, out=self._rows(begin, end))

    def flush(self, end: int) -> None:
        """Write whole shards of what is held, and all of it at the end, when the finer level is complete up to row ``end``."""
        complete, depth = -(-end // self._factor), self._writer.layout.shard[self._deep]
        held = complete - self._start
        count = held if complete == self._writer.shape[self._deep] else held - held % depth
        if not count:
            return
        done = self._rows(0, count)
        self._writer.write((*self._lead, self._start, *(0,) * (done.ndim - self._deep - 1)), done)
        if self._after:
            pieces = list(_pieces(done.shape, self._deep, done.itemsize))
            fill = self._after.fill
            list(in_order(lambda p: fill(done[p], self._start + p[self._deep].start), pieces, done.nbytes))
            self._after.flush(self._start + count)
        self._rows(0, held - count)[...] = self._rows(count, held).copy()
        self._start += count

    def _rows(self, begin: int, end: int) -> NDArray[Any]:
        return self._held[(*(slice(None),) * self._deep, slice(begin, end))]
