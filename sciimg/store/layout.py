"""How an array is laid out on disk: pyramid levels, chunks, shards, and the slabs in which it is written.

Everything here is a function of axes, shape, dtype and spacing, so that the same image always gives the same files.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from sciimg.types import SPATIAL

Shape = tuple[int, ...]

SLAB_BYTES = 128 * 2**20  # the largest piece of level 0 held at once; 64 planes of 1024 x 1024 uint16
_ONE_CHUNK_BYTES = 2**20  # an array up to this size is one chunk in one file: patches and small samples
_ONE_SHARD_BYTES = 4 * 2**20  # an array up to this size is one file
_LARGEST_LEVEL = {2: 256, 3: 128}  # coarser levels are added while a spatial axis is longer than this
_SHARD_EDGE = {2: 2048, 3: 512}  # at least, of the files of a volume; longer where they would be smaller than the next number
_SHARD_BYTES = 2**25  # 64 x 512 x 512 uint16: wide planes make flat slabs, and flat shards many files


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of an image.

    ``factors`` lead from the level before to this one, and ``total`` from level 0; each is 1 or a power of 2 an axis.
    """

    shape: Shape
    factors: Shape
    total: Shape


@dataclass(frozen=True, slots=True)
class Layout:
    """Chunks inside shards; ``shard`` is a multiple of ``chunk`` on every axis."""

    chunk: Shape
    shard: Shape


def pyramid(axes: str, shape: Shape, spacing: tuple[float, ...], levels: int | None = None) -> list[Level]:
    """Return the levels of an image, finest first.

    Parameters
    ----------
    axes : str
        Subset of ``tczyx``.
    shape : tuple of int
        Along ``axes``.
    spacing : tuple of float
        Along the spatial axes. Only axes of fine spacing are halved, so that coarser levels have more even voxels.
    levels : int, optional
        How many; by default as many as bring every spatial axis down to 256 (2D) or 128 (3D) samples.
    """
    largest = _LARGEST_LEVEL[len(spacing)]
    found = [Level(shape, (1,) * len(shape), (1,) * len(shape))]
    while levels is None or len(found) < levels:
        last = found[-1]
        longest = max(n for a, n in zip(axes, last.shape, strict=True) if a in SPATIAL)
        factors = _halving(axes, last, spacing)
        if max(factors) == 1 or (levels is None and longest <= largest):
            break
        smaller = tuple(-(-n // f) for n, f in zip(last.shape, factors, strict=True))
        found.append(Level(smaller, factors, tuple(t * f for t, f in zip(last.total, factors, strict=True))))
    return found


def _halving(axes: str, level: Level, spacing: tuple[float, ...]) -> Shape:
    """Return 2 for the axes to halve next: the finest ones, as many as leave the most even spacing, and all of them where that ties."""
    spatial = [i for i, a in enumerate(axes) if a in SPATIAL]
    now = {i: s * level.total[i] for i, s in zip(spatial, spacing, strict=True) if level.shape[i] > 1}
    halved: set[int] = set()
    best = math.inf
    for limit in sorted(set(now.values())):
        after = [2 * s if s <= limit else s for s in now.values()]
        unevenness = max(after) / min(after)
        if unevenness <= best * (1 + 1e-9):
            best, halved = unevenness, {i for i, s in now.items() if s <= limit}
    return tuple(2 if i in halved else 1 for i in range(len(axes)))


def layouts(axes: str, levels: Sequence[Level], itemsize: int) -> list[Layout]:
    """Return the layout of each level of an image.

    Where level 0 is written channel by channel, so are the others, however small they are: a shard is written once. Slabs of coarser
    levels are smaller, because all levels are held at once.
    """
    first = layout(axes, levels[0].shape, itemsize)
    deep = slab_axis(axes)
    lead = levels[0].shape[:deep] if first.shard[:deep] == levels[0].shape[:deep] else (1,) * deep
    coarser = (layout(axes, (*lead, *v.shape[deep:]), itemsize, SLAB_BYTES >> i) for i, v in enumerate(levels[1:], start=1))
    return [first, *coarser]


def layout(axes: str, shape: Shape, itemsize: int, slab_bytes: int | None = None) -> Layout:
    """Return the chunks and shards of one array.

    Small arrays are one chunk. Otherwise a chunk is a cube of 64 (3D; flatter and wider where z is short) or a square of 256 (2D) of one
    channel and time, and a shard holds up to 512 or 2048 samples along y and x. A shard is never deeper than a slab of ``slab_bytes``;
    that of a volume is wider where it is flatter, or a file system would run out of inodes before it runs out of room.
    """
    slab_bytes = SLAB_BYTES if slab_bytes is None else slab_bytes
    size = math.prod(shape) * itemsize
    if size <= _ONE_CHUNK_BYTES:
        return Layout(shape, shape)
    spatial = [a for a in axes if a in SPATIAL]
    edges = _chunk_edges(axes, shape, len(spatial))
    chunk = tuple(min(n, edges[a]) if a in edges else 1 for a, n in zip(axes, shape, strict=True))
    deep = slab_axis(axes)
    rows = _rows(math.prod(shape[deep + 1 :]) * itemsize, slab_bytes)
    chunk = (*chunk[:deep], min(chunk[deep], rows), *chunk[deep + 1 :])
    if size <= _ONE_SHARD_BYTES:
        return Layout(chunk, tuple(_up(n, c) for n, c in zip(shape, chunk, strict=True)))
    limit = _SHARD_EDGE[len(spatial)]
    depth = min(limit, rows) if len(spatial) == 2 else chunk[deep]
    while len(spatial) == 3 and 4 * depth * limit**2 * itemsize <= _SHARD_BYTES:
        limit *= 2
    longest = [limit if a in "yx" else c for a, c in zip(axes, chunk, strict=True)]
    longest[deep] = depth
    shard = tuple(max(c, min(_up(n, c), m // c * c)) for n, c, m in zip(shape, chunk, longest, strict=True))
    return Layout(chunk, shard)


def _chunk_edges(axes: str, shape: Shape, dims: int) -> dict[str, int]:
    if dims == 2:
        return {"y": 256, "x": 256}
    depth = shape[axes.index("z")]
    edge = 64 if depth >= 32 else 128 if depth >= 8 else 256
    return {"z": 64, "y": edge, "x": edge}


def _rows(row_bytes: int, slab_bytes: int) -> int:
    """Return how many rows (2D) or planes (3D) of one channel a slab holds: a power of 2, at least 2, so that it can be halved."""
    return int(2 ** int(math.log2(max(2, slab_bytes // row_bytes))))


def slab_axis(axes: str) -> int:
    """Return the axis along which an image is written slab by slab: its first spatial one."""
    return next(i for i, a in enumerate(axes) if a in SPATIAL)


def together(axes: str, shape: Shape, shard: Shape, itemsize: int) -> Shape:
    """Return how many samples of each axis are read at once, along whole shards.

    All channels together where that fits, because files often interleave them.
    """
    deep = slab_axis(axes)
    step = [max(1, s) if i < deep else n for i, (n, s) in enumerate(zip(shape, shard, strict=True))]
    step[deep] = min(shard[deep], shape[deep])
    if "c" in axes:
        wide = list(step)
        wide[axes.index("c")] = shape[axes.index("c")]
        if math.prod(wide) * itemsize <= SLAB_BYTES:
            step = wide
    return tuple(min(s, n) for s, n in zip(step, shape, strict=True))


def tiles(shape: Shape, step: Shape) -> Iterator[tuple[slice, ...]]:
    """Yield the boxes that tile a shape in C order; the last along an axis may be shorter."""
    starts = (range(0, n, s) for n, s in zip(shape, step, strict=True))
    for corner in product(*starts):
        yield tuple(slice(i, min(i + s, n)) for i, s, n in zip(corner, step, shape, strict=True))


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
