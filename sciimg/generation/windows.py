"""Overlapping windows over a field that is larger than a network's view: where they lie, and how much each counts at each place."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem

Index = tuple[int, ...]
Box = tuple[slice, ...]
_FRESH = 0.75  # share of a window's usable size between one window and the next


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one size at equal distances; all tuples have one entry an axis, ([Z,] Y, X).

    Parameters
    ----------
    size : tuple of int
        Of a window.
    first : tuple of int
        Samples at its beginning that are padding in the eyes of the network, and count nothing where a neighbour has better.
    usable : tuple of int
        Samples that follow and are no padding.
    stride : tuple of int
    counts : tuple of int

    Notes
    -----
    A *cell* is what lies between the beginnings of two windows; the last one along an axis goes on to the end of the field. As a window is
    at most two strides long, a cell is seen by its own window and the one before along each axis, and by no other.
    """

    size: tuple[int, ...]
    first: tuple[int, ...]
    usable: tuple[int, ...]
    stride: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the field that the windows cover."""
        return tuple(n + (c - 1) * s for n, c, s in zip(self.size, self.counts, self.stride, strict=True))

    def indices(self) -> Iterator[Index]:
        """Yield the place of every window, and so of every cell, in C order."""
        yield from product(*(range(c) for c in self.counts))

    def start(self, index: Index) -> tuple[int, ...]:
        return tuple(i * s for i, s in zip(index, self.stride, strict=True))

    def window(self, index: Index) -> Box:
        return tuple(slice(a, a + n) for a, n in zip(self.start(index), self.size, strict=True))

    def cell(self, index: Index) -> Box:
        ends = (a + s if i < c - 1 else a + n for a, s, i, c, n in self._along(index))
        return tuple(slice(a, b) for a, b in zip(self.start(index), ends, strict=True))

    def seen_by(self, cell: Index) -> list[Index]:
        """Return the windows that see a cell, in C order."""
        return list(product(*((i - 1, i) if i else (0,) for i in cell)))

    def cells_in(self, box: Box) -> Iterator[Index]:
        """Yield the cells that share samples with a box, in C order."""
        edges = zip(box, self.stride, self.counts, strict=True)
        yield from product(*(range(min(b.start // s, c - 1), min((b.stop - 1) // s, c - 1) + 1) for b, s, c in edges))

    def weight(self, index: Index) -> NDArray[np.float32]:
        """Return how much a window counts at each of its samples; over all windows the weights of a sample sum to 1.

        Squared sines between neighbours, as in overlap-add; nothing from the padding except at the border of the field.
        """
        out = np.ones((), np.float64)
        for i, c, n, lead, u, s in zip(index, self.counts, self.size, self.first, self.usable, self.stride, strict=True):
            place, overlap = np.arange(n) - lead + 0.5, u - s
            rise = np.sin(0.5 * math.pi * np.clip(place / overlap, 0, 1)) ** 2 if i else np.ones(n)
            fall = np.cos(0.5 * math.pi * np.clip((place - s) / overlap, 0, 1)) ** 2 if i < c - 1 else np.ones(n)
            out = np.multiply.outer(out, rise * fall)
        return out.astype(np.float32)

    def scaled(self, factor: Sequence[int]) -> "Windows":
        """Return the same windows on a grid finer by an integral factor."""

        def finer(part: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(n * f for n, f in zip(part, factor, strict=True))

        return Windows(finer(self.size), finer(self.first), finer(self.usable), finer(self.stride), self.counts)

    def _along(self, index: Index) -> Iterator[tuple[int, int, int, int, int]]:
        yield from zip(self.start(index), self.stride, index, self.counts, self.size, strict=True)


def covering(wanted: Sequence[int], size: Sequence[int], first: Sequence[int], usable: Sequence[int], align: Sequence[int]) -> Windows:
    """Return windows whose usable parts cover ``wanted`` samples an axis.

    Parameters
    ----------
    wanted : sequence of int
    size, first, usable : sequence of int
        As of :class:`Windows`.
    align : sequence of int
        Strides are multiples of it.

    Raises
    ------
    InputError
        Kind ``no-overlap``: too much of a window is padding.
    """
    strides = []
    for n, u, a in zip(size, usable, align, strict=True):
        half = -(-n // (2 * a)) * a  # a window must not reach over three cells
        strides.append(max(half, int(_FRESH * u) // a * a))
    if any(s >= u for s, u in zip(strides, usable, strict=True)):
        message = (
            f"Windows of {tuple(size)} points of which {tuple(usable)} are no padding cannot overlap at steps of {tuple(strides)}. "
            f"Train on larger patches, or on patches whose sizes need no padding."
        )
        raise InputError(Problem("--shape", "no-overlap", message))
    counts = (max(1, -(-(n - u) // s) + 1) for n, u, s in zip(wanted, usable, strides, strict=True))
    return Windows(tuple(size), tuple(first), tuple(usable), tuple(strides), tuple(counts))
