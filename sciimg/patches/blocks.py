"""An order of random patches in which every chunk is decoded at most once an epoch, and every position is equally likely.

Neighbouring chunks are gathered into blocks, and patches are drawn inside blocks. A patch that straddles two blocks cannot be drawn, so the
origin of the blocks moves by whole chunks from epoch to epoch. With the weight of a position the reciprocal of the number of origins under
which it fits into a block, these weights sum to one over all origins; so, if an origin is chosen in proportion to the total weight under
it, and a position in proportion to its own weight, each position has the same chance. Whole numbers of patches for regions and blocks
come from systematic sampling, which keeps expectations (Madow and Madow 1944, Ann. Math. Stat. 15:1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sciimg.patches.regions import Region
from sciimg.randomness import generator

Key = tuple[str | int, ...]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a region, cut into blocks under one origin.

    Parameters
    ----------
    first : int
        The first position of a patch; before the region where that is shorter than a patch.
    cumulative : array, shape (positions + 1,)
        Weight of all positions before each.
    edges : array, shape (blocks + 1,)
        Block ``k`` has the positions ``edges[k]`` to ``edges[k + 1]``; those that straddle weigh nothing.
    starts : array, shape (blocks + 1,)
        And the pixels ``starts[k]`` to ``starts[k + 1]``.
    """

    first: int
    cumulative: Floats
    edges: Ints
    starts: Ints

    @property
    def masses(self) -> Floats:
        """Weight of each block, shape (blocks,)."""
        return np.diff(self.cumulative[self.edges])

    def draw(self, block: int, uniform: Floats) -> Ints:
        """Return positions in a block from numbers in [0, 1)."""
        low, high = self.cumulative[self.edges[block]], self.cumulative[self.edges[block + 1]]
        found = np.searchsorted(self.cumulative, low + uniform * (high - low), side="right") - 1
        last = np.searchsorted(self.cumulative, high, side="left") - 1  # of those that fit, for a sum that rounds up
        return np.asarray(self.first + np.minimum(found, last), np.int64)


def origins(start: int, stop: int, patch: int, chunk: int) -> int:
    """Return how many origins the blocks of an axis have, which is also how many chunks a block spans.

    The fewest that hold a patch wherever it lies, or all that the region touches: then there is one block, and one origin.
    """
    wide = -(-(patch - 1) // chunk) + 1
    return 1 if wide >= _touched(start, stop, chunk) else wide


@lru_cache(maxsize=4096)
def axis_of(start: int, stop: int, patch: int, chunk: int, origin: int) -> Axis:
    """Return one axis of a region with its blocks moved back by ``origin`` chunks."""
    many = origins(start, stop, patch, chunk)
    first, room = start - max(0, patch - (stop - start)) // 2, max(0, stop - start - patch) + 1
    if many == 1:
        return Axis(first, np.arange(room + 1, dtype=np.float64), np.array([0, room]), np.array([start, stop]))
    block_of = (np.arange(_touched(start, stop, chunk)) + origin) // many
    block_of -= block_of[0]
    at = first + np.arange(room)
    low, high = at // chunk - start // chunk, (at + patch - 1) // chunk - start // chunk
    weight = np.where(block_of[low] == block_of[high], 1.0 / (many - (high - low)), 0.0)
    count = int(block_of[-1]) + 1
    begins = (start // chunk + np.searchsorted(block_of, np.arange(count))) * chunk
    edges = np.searchsorted(block_of[low], np.arange(count + 1))
    return Axis(first, np.concatenate([[0.0], np.cumsum(weight)]), edges, np.append(np.maximum(begins, start), stop))


def _touched(start: int, stop: int, chunk: int) -> int:
    return (stop - 1) // chunk - start // chunk + 1


@dataclass(frozen=True)
class Epoch:
    """The blocks of an epoch that give patches, in the order of their turn, and the windows of blocks that are in memory together.

    Parameters
    ----------
    regions : array, shape (B,)
        Number of the region of each block.
    blocks : array, shape (B, spatial axes)
        Number of the block along each axis.
    origins : array, shape (regions, spatial axes)
        Chunks by which the blocks of a region are moved back.
    counts : array, shape (B,)
        Patches of each block.
    windows : array, shape (W + 1,)
        Window ``w`` has the blocks ``windows[w]`` to ``windows[w + 1]``.
    firsts : array, shape (W + 1,)
        And the patches ``firsts[w]`` to ``firsts[w + 1]`` of the epoch.
    """

    regions: Ints
    blocks: Ints
    origins: Ints
    counts: Ints
    windows: Ints
    firsts: Ints


class BlockOrder:
    """Random patches block by block, epoch after epoch, as a function of a key.

    Parameters
    ----------
    regions : sequence of Region
    shape : tuple of int
        Of a patch, along the spatial axes of the images.
    chunks : sequence of tuple of int
        Shape of a chunk of each region's image, along the spatial axes.
    shares : array of float, shape (regions,)
        How much each region gives, in any unit.
    length : int
        Patches an epoch.
    pixel_bytes : int
        Of all channels and the label of one pixel.
    window_bytes : int
        Bound of the pixels of a window. A single block is a window however large it is: at most a patch and two chunks along each axis.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        shape: tuple[int, ...],
        chunks: Sequence[tuple[int, ...]],
        shares: Floats,
        length: int,
        pixel_bytes: int,
        window_bytes: int,
    ) -> None:
        self.length = length
        self._shares = shares / shares.sum()
        self._pixel_bytes, self._window_bytes = pixel_bytes, window_bytes
        self._ends = [list(zip(r.start, r.stop, shape, c, strict=True)) for r, c in zip(regions, chunks, strict=True)]
        self._whole = np.array([max(origins(*ends) for ends in axes) == 1 for axes in self._ends])
        self._sizes = np.array([np.prod(r.extent) for r in regions], np.int64)
        self._dims = len(shape)

    def epoch(self, key: Key, number: int) -> Epoch:
        """Return the blocks of an epoch."""
        rng = generator(*key, "epoch", number)
        counts = np.empty(len(self._shares), np.int64)
        turn = rng.permutation(len(counts))
        counts[turn] = _systematic(self._shares[turn] * self.length, rng.random())
        chance = rng.random((len(counts), self._dims + 1))
        moved = np.zeros((len(counts), self._dims), np.int64)
        alone = np.flatnonzero(self._whole & (counts > 0))
        owners, blocks = [alone], [np.zeros((len(alone), self._dims), np.int64)]
        patches, sizes = [counts[alone]], [self._sizes[alone]]
        for region in np.flatnonzero(~self._whole & (counts > 0)).tolist():
            axes = []
            for i, ends in enumerate(self._ends[region]):
                totals = _totals(*ends)
                moved[region, i] = min(np.searchsorted(totals, chance[region, i] * totals[-1], side="right"), len(totals) - 1)
                axes.append(axis_of(*ends, int(moved[region, i])))
            mass = _outer([axis.masses for axis in axes])
            given = _systematic(mass.ravel() / mass.sum() * int(counts[region]), float(chance[region, -1]))
            used = np.flatnonzero(given)
            owners.append(np.full(len(used), region))
            blocks.append(np.stack(np.unravel_index(used, mass.shape), axis=1))
            patches.append(given[used])
            sizes.append(_outer([np.diff(axis.starts) for axis in axes]).ravel()[used].astype(np.int64))
        turn = rng.permutation(sum(map(len, owners)))
        counts = np.concatenate(patches)[turn]
        windows = self._windows(np.concatenate(sizes)[turn] * self._pixel_bytes)
        firsts = np.concatenate([[0], np.cumsum(counts)])[windows]
        return Epoch(np.concatenate(owners)[turn], np.concatenate(blocks)[turn], moved, counts, windows, firsts)

    def box(self, epoch: Epoch, block: int) -> tuple[slice, ...]:
        """Return the pixels of a block."""
        return tuple(slice(int(a.starts[k]), int(a.starts[k + 1])) for a, k in self._axes(epoch, block))

    def places(self, epoch: Epoch, block: int, uniform: Floats) -> Ints:
        """Return origins of patches in a block, shape (N, spatial axes), from numbers in [0, 1) of that shape."""
        return np.stack([a.draw(k, uniform[:, i]) for i, (a, k) in enumerate(self._axes(epoch, block))], axis=1)

    def _axes(self, epoch: Epoch, block: int) -> list[tuple[Axis, int]]:
        region = int(epoch.regions[block])
        places = zip(self._ends[region], epoch.origins[region].tolist(), epoch.blocks[block].tolist(), strict=True)
        return [(axis_of(*ends, origin), k) for ends, origin, k in places]

    def _windows(self, nbytes: Ints) -> Ints:
        starts, held = [0], 0
        for i, n in enumerate(nbytes.tolist()):
            if held and held + n > self._window_bytes:
                starts.append(i)
                held = 0
            held += n
        return np.array([*starts, len(nbytes)], np.int64)


@lru_cache(maxsize=4096)
def _totals(start: int, stop: int, patch: int, chunk: int) -> Floats:
    """Return the weight of all positions of an axis under the origins up to each, shape (origins,)."""
    many = origins(start, stop, patch, chunk)
    return np.asarray(np.cumsum([float(axis_of(start, stop, patch, chunk, origin).cumulative[-1]) for origin in range(many)]))


def _systematic(expected: Floats, start: float) -> Ints:
    """Return whole numbers with these expectations over ``start`` uniform in [0, 1), with the sum of them (a whole number) kept."""
    upto = np.floor(np.cumsum(expected) + start)
    upto[-1] = round(float(expected.sum()))
    return np.asarray(np.diff(np.minimum(upto, upto[-1]), prepend=0.0), np.int64)


def _outer(factors: Sequence[NDArray[np.generic]]) -> Floats:
    product: Floats = np.ones(())
    for factor in factors:
        product = np.multiply.outer(product, factor)
    return product
