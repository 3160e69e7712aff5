"""Decoded pixels of a collection, kept up to a bound: most patches are then a copy out of memory.

A small image is decoded whole. A large one is decoded in blocks of a few chunks, because a patch that straddles chunks would otherwise
decode many times its own pixels, and its neighbours again.
"""

from collections import OrderedDict
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.store import Collection, Volume
from sciimg.types import SPATIAL

Pixels = tuple[NDArray[Any], NDArray[np.int32] | None]  # (C, [Z,] Y, X) and ([Z,] Y, X)
Box = tuple[slice, ...]

CACHE_BYTES = 512 * 2**20
_WHOLE_BYTES = 64 * 2**20  # images up to this size are one block
_CHUNKS_A_BLOCK = 2  # along each spatial axis


class PixelCache:
    """Boxes of the images of a collection; least recently used blocks are forgotten first. Safe to use from several threads."""

    def __init__(self, collection: Collection, limit_bytes: int = CACHE_BYTES) -> None:
        self._collection = collection
        self._limit = limit_bytes
        self._blocks: OrderedDict[tuple[str, tuple[int, ...]], Pixels] = OrderedDict()
        self._steps: dict[str, tuple[int, ...]] = {}
        self._bytes = 0
        self._lock = Lock()

    def read(self, image: str, box: Box) -> Pixels:
        """Return pixels and labels of a box along the spatial axes; not to be written to."""
        step = self._steps.get(image) or self._step(image)
        ranges = [range(s.start // n, -(-s.stop // n)) for s, n in zip(box, step, strict=True)]
        if all(len(r) == 1 for r in ranges):
            place = tuple(r[0] for r in ranges)
            return _cut(self._block(image, place, step), tuple(_shift(s, i * n) for s, i, n in zip(box, place, step, strict=True)))
        return self._assemble(image, box, step, list(product(*ranges)))

    def _assemble(self, image: str, box: Box, step: tuple[int, ...], places: list[tuple[int, ...]]) -> Pixels:
        volume = self._collection.volume(image)
        shape = tuple(s.stop - s.start for s in box)
        pixels = np.empty((len(volume.channels), *shape), volume.dtype)
        labels = np.empty(shape, np.int32) if volume.label_kind else None
        for place in places:
            corner = [i * n for i, n in zip(place, step, strict=True)]
            shared = [slice(max(s.start, c), min(s.stop, c + n)) for s, c, n in zip(box, corner, step, strict=True)]
            into = tuple(_shift(s, b.start) for s, b in zip(shared, box, strict=True))
            piece, mask = _cut(self._block(image, place, step), tuple(_shift(s, c) for s, c in zip(shared, corner, strict=True)))
            pixels[(slice(None), *into)] = piece
            if labels is not None and mask is not None:
                labels[into] = mask
        return pixels, labels

    def _block(self, image: str, place: tuple[int, ...], step: tuple[int, ...]) -> Pixels:
        key = (image, place)
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
        volume = self._collection.volume(image)
        ends = (min((i + 1) * n, end) for i, n, end in zip(place, step, volume.spatial_shape, strict=True))
        block = load(volume, tuple(slice(i * n, end) for i, n, end in zip(place, step, ends, strict=True)))
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._bytes += _size(block)
            while self._bytes > self._limit and len(self._blocks) > 1:
                self._bytes -= _size(self._blocks.popitem(last=False)[1])
        return block

    def _step(self, image: str) -> tuple[int, ...]:
        volume = self._collection.volume(image)
        whole = volume.spatial_shape
        size = int(np.prod(volume.shape)) * volume.dtype.itemsize + (4 * int(np.prod(whole)) if volume.label_kind else 0)
        chunk = (c for a, c in zip(volume.axes, volume.chunk, strict=True) if a in SPATIAL)
        step = whole if size <= _WHOLE_BYTES else tuple(min(n, _CHUNKS_A_BLOCK * c) for n, c in zip(whole, chunk, strict=True))
        self._steps[image] = step
        return step


def load(volume: Volume, box: Box, out: Pixels | None = None) -> Pixels:
    """Decode a box along the spatial axes of an image without time, into ``out`` where given; a missing channel axis is added."""
    pixels, labels = out or (None, None)
    if "c" in volume.axes:
        return volume.read((slice(None), *box), out=pixels), volume.read_labels(box, out=labels)
    return volume.read(box, out=None if pixels is None else pixels[0])[None], volume.read_labels(box, out=labels)


def _cut(block: Pixels, box: Box) -> Pixels:
    return block[0][(slice(None), *box)], None if block[1] is None else block[1][box]


def _shift(s: slice, by: int) -> slice:
    return slice(s.start - by, s.stop - by)


def _size(block: Pixels) -> int:
    return block[0].nbytes + (0 if block[1] is None else block[1].nbytes)
