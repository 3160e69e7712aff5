"""Noise that belongs to places, not to calls: a function of (key, absolute coordinates), the same on every worker and for every tiling.

A grid is cut into blocks; each block's values come from a counter-based generator keyed by (key, block). A larger field, another window or
another order of asking changes no value, which is what lets overlapping windows of one field agree.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciimg.augmenters.system import Noise
from sciimg.randomness import generator

Key = tuple[str | int, ...]
_EDGE = {1: 256, 2: 32, 3: 16}  # samples of a block along each axis, by dimensions: a few thousand values a generator


class GridNoise:
    """Standard normal noise on an unbounded grid.

    Parameters
    ----------
    key : tuple of str or int
    """

    def __init__(self, key: Key) -> None:
        self.key = key

    def box(self, channels: int, start: Sequence[int], shape: Sequence[int]) -> Tensor:
        """Return the values (channels, [Z,] Y, X) of a box; ``start`` may be negative."""
        edge, dims = _EDGE[len(shape)], len(shape)
        out = np.empty((channels, *shape), np.float32)
        blocks = (range(a // edge, (a + n - 1) // edge + 1) for a, n in zip(start, shape, strict=True))
        for block in product(*blocks):
            low = [max(a, b * edge) for a, b in zip(start, block, strict=True)]
            high = [min(a + n, (b + 1) * edge) for a, n, b in zip(start, shape, block, strict=True)]
            there = tuple(slice(i - a, j - a) for i, j, a in zip(low, high, start, strict=True))
            here = tuple(slice(i - b * edge, j - b * edge) for i, j, b in zip(low, high, block, strict=True))
            for channel, image in enumerate(out):
                image[there] = self._block(channel, block, (edge,) * dims)[here]
        return torch.from_numpy(out)

    def under(self, *more: str | int) -> "GridNoise":
        """Return an independent field."""
        return GridNoise((*self.key, *more))

    def _block(self, channel: int, block: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.float32]:
        return generator(*self.key, channel, *block).standard_normal(shape, dtype=np.float32)


class WindowNoise(Noise):
    """What a sampler is given for windows of one field: images of noise by coordinates, vectors shared by the whole field.

    Parameters
    ----------
    field : GridNoise
    starts : sequence of tuple of int
        First point of each window.
    size : tuple of int
        Of a window in points. Noise on a coarser grid (an integral factor) is taken at the coarser coordinates.
    """

    def __init__(self, field: GridNoise, starts: Sequence[tuple[int, ...]], size: tuple[int, ...]) -> None:
        self._field, self._starts, self._size, self._calls = field, starts, size, 0
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self._starts)

    def normal(self, shape: Sequence[int]) -> Tensor:
        self._calls += 1
        own = self._field.under("call", self._calls)
        if len(shape) == 1:
            return own.box(1, (0,), shape).expand(len(self), -1)
        factor = [size // n for size, n in zip(self._size, shape[1:], strict=True)]
        return torch.stack([own.box(shape[0], [a // f for a, f in zip(start, factor, strict=True)], shape[1:]) for start in self._starts])

    def uniform(self, shape: Sequence[int]) -> Tensor:
        drawn: Tensor = torch.special.ndtr(self.normal(shape).double())
        return drawn
