"""The pixels of a TIFF series, read into memory of the caller by many threads at once.

A plain segment (a strip or tile of one sample, uncompressed or deflated, with or without the horizontal predictor) goes from the file
straight to its place, and only the segments that a box touches are read. Others are the work of :mod:`sciimg.io.tiff_segments`.
"""

import math
import os
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.faults import refusing
from sciimg.io.image import Box
from sciimg.io.tiff_axes import Layout

if TYPE_CHECKING:
    from tifffile import TiffPage, TiffPageSeries

_DEFLATE = (8, 32946)  # Adobe's and the old number of the same compression
_HORIZONTAL = 2  # predictor
_buffers = threading.local()


class PlainLoader:
    """Reads boxes of a series whose pages are plain; see :class:`sciimg.io.image.Filler`.

    Parameters
    ----------
    path : Path
        The file that holds all pages.
    series : TiffPageSeries
    layout : Layout
    offset : int or None
        Where the pixels lie uncompressed in one run, if they do.
    """

    def __init__(self, path: Path, series: "TiffPageSeries", layout: Layout, offset: int | None) -> None:
        self._path, self._layout, self._offset = path, layout, offset
        self._pages: list[Any] = [] if offset is not None else list(series.pages)
        self._key: TiffPage = series.keyframe
        self._stored = series.dtype.newbyteorder(self._key.parent.byteorder)

    def __call__(self, box: Box) -> NDArray[Any]:
        out = np.empty(tuple(s.stop - s.start for s in box), self._stored.newbyteorder("="))
        self.fill(box, out)
        return out

    def fill(self, box: Box, out: NDArray[Any]) -> None:
        what = f"A plane of {self._path.name} cannot be decoded"
        with refusing(self._path, "truncated" if self._offset is not None else "corrupt", what):
            self._fill(box, out)

    def _fill(self, box: Box, out: NDArray[Any]) -> None:
        rows, columns = box[-2], box[-1]
        handle = os.open(self._path, os.O_RDONLY)
        try:
            for number, place in self._layout.planes(box):
                plane = out[place]
                for offset, count, top, left, height, width in self._segments(number, rows, columns):
                    self._segment(handle, offset, count, (top, left, height, width), rows, columns, plane)
        finally:
            os.close(handle)

    def _segments(self, number: int, rows: slice, columns: slice) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Yield offset, bytes, place and size of each segment of a page that rows and columns touch."""
        height, width = self._layout.page_shape
        if self._offset is not None:
            size = width * self._stored.itemsize
            first = self._offset + (number * height + rows.start) * size
            yield first, (rows.stop - rows.start) * size, rows.start, 0, rows.stop - rows.start, width
            return
        key, page = self._key, self._pages[number]
        high, wide = (int(key.tilelength), int(key.tilewidth)) if key.is_tiled else (min(int(key.rowsperstrip), height), width)
        across = -(-width // wide)
        for down, along in product(
            range(rows.start // high, -(-rows.stop // high)), range(columns.start // wide, -(-columns.stop // wide))
        ):
            at = down * across + along
            lines = high if key.is_tiled else min(high, height - down * high)
            yield page.dataoffsets[at], page.databytecounts[at], down * high, along * wide, lines, wide

    def _segment(
        self, handle: int, offset: int, count: int, where: tuple[int, int, int, int], rows: slice, columns: slice, plane: NDArray[Any]
    ) -> None:
        """Read and decode one segment into its part of a plane, straight where all of it is wanted in whole rows."""
        top, left, height, width = where
        whole = rows.start <= top and top + height <= rows.stop and (left, width) == (columns.start, columns.stop - columns.start)
        target = plane[top - rows.start : top - rows.start + height] if whole else None
        if target is None or not target.flags.c_contiguous or not self._stored.isnative:
            target = _buffer("segment", height * width * self._stored.itemsize).view(self._stored).reshape(height, width)
        if int(self._key.compression) in _DEFLATE:
            import imagecodecs

            packed = _buffer("packed", count)
            _read(handle, packed, offset)
            got = imagecodecs.deflate_decode(packed.data, out=target.reshape(-1).view(np.uint8).data)  # type: ignore[arg-type]
            if len(got) != target.nbytes:
                raise ValueError(f"a segment should hold {target.nbytes} bytes and has {len(got)}")
        else:
            _read(handle, target.reshape(-1).view(np.uint8), offset)
        if int(self._key.predictor) == _HORIZONTAL:
            _add_up(target)
        if not whole or not np.shares_memory(target, plane):
            lines = slice(max(top, rows.start), min(top + height, rows.stop))
            span = slice(max(left, columns.start), min(left + width, columns.stop))
            part = target[lines.start - top : lines.stop - top, span.start - left : span.stop - left]
            plane[lines.start - rows.start : lines.stop - rows.start, span.start - columns.start : span.stop - columns.start] = part


def is_plain(key: "TiffPage", one_run: bool) -> bool:
    """Whether the segments of a page can be decoded here: one sample in whole bytes, in usual bit order, deflated or not."""
    usual = key.samplesperpixel == 1 and key.imagedepth == 1 and len(key.shape) == 2 and int(key.fillorder) == 1 and not key.is_subsampled
    whole = key.dtype is not None and key.dtype.kind in "uif" and key.bitspersample == 8 * key.dtype.itemsize
    known = int(key.compression) in (1, *_DEFLATE)
    predictor = int(key.predictor) if int(key.compression) != 1 else 1
    summed = predictor == 1 or (predictor == _HORIZONTAL and key.dtype is not None and key.dtype.kind in "ui")
    if one_run:  # a stack that ImageJ or a microscope wrote behind a single page
        return bool(usual and whole)
    return bool(usual and whole and known and summed and (not key.is_tiled or key.tiledepth == 1))


def _add_up(pixels: NDArray[Any]) -> None:
    """Undo the horizontal predictor, row by row (TIFF 6.0, section 14)."""
    import imagecodecs

    if pixels.dtype.isnative:
        imagecodecs.delta_decode(pixels, axis=-1, out=pixels)
    else:
        np.cumsum(pixels, axis=-1, dtype=pixels.dtype, out=pixels)


def _buffer(name: str, size: int) -> NDArray[np.uint8]:
    """Return scratch memory of this thread."""
    memory: NDArray[np.uint8] | None = getattr(_buffers, name, None)
    if memory is None or memory.size < size:
        memory = np.empty(math.ceil(size * 1.25), np.uint8)
        setattr(_buffers, name, memory)
    return memory[:size]


def _read(handle: int, out: NDArray[np.uint8], offset: int) -> None:
    left = memoryview(out.data)
    while left:
        count = os.preadv(handle, [left], offset)
        if count == 0:
            raise EOFError(f"the file ends {len(left)} bytes too early")
        left, offset = left[count:], offset + count
