"""One pass over an image: pixels come in slabs, every level of the pyramid goes out, and what is remembered of them is small.

Memory is bounded by the slab, not by the image: a slab of level 0 is written, halved and handed to level 1, which collects until it has
a whole row of shards, and so on.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sciimg.store.layout import Level, Shape, layouts, slab_axis, tiles, together
from sciimg.store.shards import ArrayWriter, Box

_SAMPLED_PIXELS = 2**20  # a channel: enough for percentiles of a display window


class Halve(Protocol):
    """Makes a block of the next level; ``factors`` are 1 or 2 an axis."""

    def __call__(self, block: NDArray[Any], /, factors: Shape) -> NDArray[Any]: ...


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

    def add(self, origin: Shape, block: NDArray[Any]) -> None:
        """Take in a block; the blocks of one channel and time must come in order along the slab axis and span the others."""
        for place in np.ndindex(*block.shape[: self._deep]):
            where = tuple(o + i for o, i in zip(origin, place, strict=False))
            pixels = block[place]
            self._hashes[where].update(np.ascontiguousarray(pixels, dtype=self._little).data)
            channel = where[self._channel] if self._channel is not None else 0
            low, high = pixels.min(), pixels.max()
            self.low[channel] = low if self.low[channel] is None else min(self.low[channel], low)
            self.high[channel] = high if self.high[channel] is None else max(self.high[channel], high)
            self._sample[channel].append(pixels[(slice(None, None, self._step),) * pixels.ndim].ravel())

    def digests(self) -> list[str]:
        """Return the SHA-256 of each channel and time, in C order."""
        return [self._hashes[place].hexdigest() for place in sorted(self._hashes)]

    def windows(self) -> list[tuple[float, float, float, float]]:
        """Return (min, max, start, end) for each channel: the range of the values, and percentiles 0.1 and 99.9 of a regular sample."""
        found = []
        for low, high, pieces in zip(self.low, self.high, self._sample, strict=True):
            start, end = (float(v) for v in np.percentile(np.concatenate(pieces), (0.1, 99.9)))
            least, most = float(low), float(high)
            if end <= start:
                start, end = least, most
            if end <= start:  # a constant image: any window of some width shows it
                end = most = start + 1.0
            found.append((least, most, start, end))
        return found


def _sampling_step(shape: Shape) -> int:
    step = 1
    while np.prod([-(-n // step) for n in shape]) > _SAMPLED_PIXELS:
        step += 1
    return step


def write_levels(
    path: Path,
    axes: str,
    levels: Sequence[Level],
    dtype: np.dtype[Any],
    read: Callable[[Box], NDArray[Any]],
    halve: Halve,
) -> PixelSummary:
    """Write arrays ``0``, ``1``, … under ``path`` in one pass.

    Parameters
    ----------
    read : callable
        Returns the pixels of a box of level 0; called once for each slab, in order.
    halve : callable
        Mean or nearest sample.
    """
    shape = levels[0].shape
    laid_out = layouts(axes, levels, dtype.itemsize)
    writers = [ArrayWriter(path / str(i), axes, v.shape, dtype, lay) for i, (v, lay) in enumerate(zip(levels, laid_out, strict=True))]
    summary = PixelSummary(axes, shape, dtype)
    deep = slab_axis(axes)
    chain: _LevelStream | None = None
    for box in tiles(shape, together(axes, shape, laid_out[0].shard, dtype.itemsize)):
        origin = tuple(s.start for s in box)
        block = read(box)
        summary.add(origin, block)
        if origin[deep] == 0:
            chain = _chain(writers, levels, halve, origin, deep)
        assert chain is not None
        chain.push(block)
    return summary


def _chain(writers: Sequence[ArrayWriter], levels: Sequence[Level], halve: Halve, origin: Shape, deep: int) -> "_LevelStream":
    """Return the stream of level 0, which feeds the coarser ones, for one column of slabs that begins at ``origin``."""
    after: _LevelStream | None = None
    for i in reversed(range(len(levels))):
        factors = levels[i + 1].factors if after else ()
        after = _LevelStream(writers[i], origin, deep, after, partial(halve, factors=factors))
    assert after is not None
    return after


class _LevelStream:
    """Collects rows until they fill a row of shards, writes those, and passes them on, halved."""

    def __init__(
        self, writer: ArrayWriter, origin: Shape, deep: int, after: "_LevelStream | None", halve: Callable[[NDArray[Any]], NDArray[Any]]
    ) -> None:
        self._writer, self._origin, self._deep, self._after, self._halve = writer, list(origin), deep, after, halve
        self._held: list[NDArray[Any]] = []
        self._rows = 0

    def push(self, block: NDArray[Any]) -> None:
        depth, end = self._writer.layout.shard[self._deep], self._writer.shape[self._deep]
        self._held.append(block)
        self._rows += block.shape[self._deep]
        while self._rows >= depth or (self._rows and self._origin[self._deep] + self._rows == end):
            held = self._held[0] if len(self._held) == 1 else np.concatenate(self._held, axis=self._deep)
            ready, rest = np.split(held, [depth], axis=self._deep)
            self._held, self._rows = [rest], rest.shape[self._deep]
            self._writer.write(tuple(self._origin), ready)
            self._origin[self._deep] += ready.shape[self._deep]
            if self._after:
                self._after.push(self._halve(ready))
