"""A window: decoded blocks of a collection, and the random patches in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Protocol
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from sciimg.patches.blocks import BlockOrder, Epoch, Ints, Key
from sciimg.patches.cache import Pixels, load
from sciimg.patches.places import TRIES
from sciimg.patches.source import PatchSource
from sciimg.randomness import generator
from sciimg.store.shards import in_order

Cut = tuple[slice, ...]
_WORD = 8  # bytes to which every array in the memory of a window is aligned


@dataclass(frozen=True)
class Window:
    """Decoded blocks and the patches in them, shuffled.

    Parameters
    ----------
    pixels : list of (array, array or None)
        Of each block.
    corners : list of tuple of int
        Where each block begins in its image.
    regions : list of int
        Of each block.
    blocks : list of int
        Of each patch.
    offsets : list of list of int
        Where each patch begins in its block.
    """

    pixels: list[Pixels]
    corners: list[tuple[int, ...]]
    regions: list[int]
    blocks: list[int]
    offsets: list[list[int]]


class WindowReader:
    """Decodes the windows of an order.

    Parameters
    ----------
    source : PatchSource
        Where a place has less than its least foreground, up to 15 others of the same window are tried, and the fullest is taken.
    order : BlockOrder
    balanced : bool
        Draw patches whose middle pixel has each label class equally often inside a window (instances: an object or none), instead of
        asking for a least foreground.
    """

    def __init__(self, source: PatchSource, order: BlockOrder, *, balanced: bool) -> None:
        self._source, self._order, self._balanced = source, order, balanced
        self._shape = source.image_shape
        self._labelled = source.label_kind is not None
        self._memory = _Memory()
        self.decoded = 0  # pixels of one channel decoded so far

    def read(self, key: Key, number: int, epoch: Epoch, turn: int) -> Window:
        """Return window ``turn`` of epoch ``number``."""
        first, stop = (int(epoch.windows[turn + i]) for i in (0, 1))
        boxes = [self._order.box(epoch, b) for b in range(first, stop)]
        regions = epoch.regions[first:stop].tolist()
        memory = self._memory.take(sum(sum(self._bytes_of(box)) for box in boxes))
        blocks = self._load(regions, boxes, memory)
        drawing = _Drawing(blocks, epoch.counts[first:stop], partial(self._places, epoch, first), self._shape)
        rng = generator(*key, "window", number, turn)
        if self._balanced:
            drawing.balance(rng, instances=self._source.label_kind == "instances")
        elif self._source.min_foreground > 0:
            drawing.fill(rng, self._source.min_foreground)
        else:
            drawing.draw(rng)
        shuffle = rng.permutation(len(drawing.chosen))
        chosen, corners = drawing.chosen[shuffle], [b.corner for b in blocks]
        offsets = drawing.at[shuffle] - np.array(corners)[chosen]
        window = Window([b.pixels for b in blocks], corners, regions, chosen.tolist(), offsets.tolist())
        finalize(window, self._memory.give_back, memory)
        return window

    def _places(self, epoch: Epoch, first: int, chosen: Ints, rng: np.random.Generator) -> Ints:
        """Return a random origin in each block of a window that is named, shape (N, spatial axes)."""
        order = np.argsort(chosen, kind="stable")
        edges = np.flatnonzero(np.diff(chosen[order], prepend=-1)).tolist()
        uniform = rng.random((len(chosen), len(self._shape)))
        found = np.empty(uniform.shape, np.int64)
        for start, stop in zip(edges, [*edges[1:], len(chosen)], strict=True):
            found[order[start:stop]] = self._order.places(epoch, first + int(chosen[order[start]]), uniform[start:stop])
        return found

    def _load(self, regions: list[int], boxes: list[Cut], memory: NDArray[np.uint8]) -> list["_Block"]:
        sizes = [self._bytes_of(box) for box in boxes]
        ends = np.cumsum([sum(two) for two in sizes]).tolist()
        jobs = [(r, box, memory[end - sum(two) : end], two[0]) for r, box, two, end in zip(regions, boxes, sizes, ends, strict=True)]
        self.decoded += sum(_count(box) for box in boxes)
        return list(in_order(self._block, jobs, ends[-1]))

    def _block(self, job: tuple[int, Cut, NDArray[np.uint8], int]) -> "_Block":
        """Decode a block into its memory; it is mirrored beyond a region that is shorter than a patch."""
        number, box, memory, split = job
        region, extent, channels = self._source.regions[number], [s.stop - s.start for s in box], len(self._source.channels)
        pixels: NDArray[Any] = _array(memory[:split], self._source.dtype, (channels, *extent))
        labels = _array(memory[split:], np.dtype(np.int32), extent) if self._labelled else None
        load(self._source.collection.volume(region.image), box, (pixels, labels))
        short = [max(0, p - e) for p, e in zip(self._shape, region.extent, strict=True)]
        pad = [(n // 2, n - n // 2) for n in short]
        if any(short):
            pixels = np.pad(pixels, [(0, 0), *pad], mode="symmetric")
            labels = None if labels is None else np.pad(labels, pad, mode="symmetric")
        return _Block(tuple(s.start - before for s, (before, _) in zip(box, pad, strict=True)), (pixels, labels))

    def _bytes_of(self, box: Cut) -> tuple[int, int]:
        """Return the memory of the pixels and of the labels of a block, in whole words."""
        count = _count(box)
        pixels = count * len(self._source.channels) * self._source.dtype.itemsize
        return -(-pixels // _WORD) * _WORD, -(-4 * count // _WORD) * _WORD if self._labelled else 0


@dataclass(frozen=True, slots=True)
class _Block:
    corner: tuple[int, ...]
    pixels: Pixels

    def cut(self, origin: Sequence[int], shape: Sequence[int]) -> Cut:
        """Return the box inside the block of a patch at an origin."""
        return tuple(slice(o - c, o - c + n) for o, c, n in zip(origin, self.corner, shape, strict=True))

    def foreground(self, origin: Sequence[int], shape: Sequence[int]) -> float:
        """Return the fraction of labelled pixels of a patch."""
        assert self.pixels[1] is not None
        patch = self.pixels[1][self.cut(origin, shape)]
        return float(np.count_nonzero(patch)) / patch.size


class _Places(Protocol):
    def __call__(self, chosen: Ints, rng: np.random.Generator, /) -> Ints: ...


@dataclass
class _Drawing:
    """Which blocks of a window give patches (``chosen``, shape (N,)), and where these begin (``at``, shape (N, spatial axes))."""

    blocks: list[_Block]
    counts: Ints
    places: _Places
    shape: tuple[int, ...]

    def draw(self, rng: np.random.Generator) -> None:
        """Draw as many patches of each block as the order says."""
        self.chosen = np.repeat(np.arange(len(self.blocks)), self.counts)
        self.at = self.places(self.chosen, rng)

    def fill(self, rng: np.random.Generator, least: float) -> None:
        """Draw, and replace places that have too little foreground by the fullest of some others in the window."""
        self.draw(rng)
        found = np.array([self.blocks[b].foreground(o, self.shape) for b, o in zip(self.chosen.tolist(), self.at.tolist(), strict=True)])
        for _ in range(TRIES - 1):
            poor = np.flatnonzero(found < least)
            if not len(poor):
                break
            others = self._any(len(poor), rng)
            where = self.places(others, rng)
            for i, block, origin in zip(poor.tolist(), others.tolist(), where.tolist(), strict=True):
                if (fraction := self.blocks[block].foreground(origin, self.shape)) > found[i]:
                    self.chosen[i], self.at[i], found[i] = block, origin, fraction

    def balance(self, rng: np.random.Generator, *, instances: bool) -> None:
        """Draw several times as many places, and keep as many of each class of the middle pixel."""
        n = int(self.counts.sum())
        chosen = self._any(TRIES * n, rng)
        at = self.places(chosen, rng)
        kinds = np.array([self._middle(b, o) for b, o in zip(chosen.tolist(), at.tolist(), strict=True)])
        classes, kind = np.unique(np.minimum(kinds, 1) if instances else kinds, return_inverse=True)
        wanted = np.bincount(rng.permutation(len(classes))[np.arange(n) % len(classes)], minlength=len(classes))
        pools = [np.flatnonzero(kind == k) for k in range(len(classes))]
        kept = np.concatenate([rng.choice(p, many, replace=many > len(p)) for p, many in zip(pools, wanted.tolist(), strict=True)])
        self.chosen, self.at = chosen[kept], at[kept]

    def _any(self, n: int, rng: np.random.Generator) -> Ints:
        return rng.choice(len(self.blocks), n, p=self.counts / self.counts.sum())

    def _middle(self, block: int, origin: list[int]) -> int:
        corner, (_, mask) = self.blocks[block].corner, self.blocks[block].pixels
        assert mask is not None
        return int(mask[tuple(o - c + n // 2 for o, c, n in zip(origin, corner, self.shape, strict=True))])


class _Memory:
    """Memory of windows that are forgotten serves the next ones: fresh pages of the system cost as much as a copy."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._free: list[NDArray[np.uint8]] = []

    def take(self, nbytes: int) -> NDArray[np.uint8]:
        with self._lock:
            fitting = next((i for i, memory in enumerate(self._free) if memory.nbytes >= nbytes), None)
            if fitting is not None:
                return self._free.pop(fitting)
            self._free.clear()
        return np.empty(nbytes, np.uint8)

    def give_back(self, memory: NDArray[np.uint8]) -> None:
        with self._lock:
            self._free.append(memory)


def _array(memory: NDArray[np.uint8], dtype: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
    count = int(np.prod(shape))
    return memory[: count * dtype.itemsize].view(dtype).reshape(shape)


def _count(box: Cut) -> int:
    return int(np.prod([s.stop - s.start for s in box]))
