"""TIFF: OME, ImageJ, MetaMorph and plain; classic and BigTIFF; either byte order; pages over z, t and c; any compression tifffile knows.

Pixels are read by :mod:`sciimg.io.tiff_pixels`. Every segment is checked against the size of the file
before anything is decoded, because decoders fill what is missing with zeros.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sciimg.errors import Problem
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Image, accepted_dtype, default_channels, too_large
from sciimg.io.spacing import Wishes, settle
from sciimg.io.tiff_axes import layout_of
from sciimg.io.tiff_chain import refuse_broken_chain
from sciimg.io.tiff_pixels import PlaneLoader
from sciimg.records import digest_file

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage, TiffPageSeries

EXTENSIONS = (".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_RATIO = 1100  # deflate compresses no more than 1032 : 1


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of a TIFF file."""
    return head[:4] in _MAGIC


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the first series of a TIFF file as a lazy image.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``absurd-size``, ``too-large``, ``complex``, ``dtype``, ``unknown-axes``, ``axes``,
        ``unknown-spacing``, ``spacing-contradiction``.
    """
    import tifffile

    from sciimg.io.tiff_metadata import metadata_of

    refuse_broken_chain(path)
    with _quiet(), decoding(path, what="The TIFF structure cannot be read"):
        tif = tifffile.TiffFile(path)
    try:
        with _quiet(), decoding(path, what="The TIFF structure cannot be read"):
            series = list(tif.series)
            chosen = series[0].levels[0]
            pages = list(chosen.pages)
            said = metadata_of(tif, chosen)
            offset = chosen.dataoffset
            size = tif.filehandle.size
        dtype = accepted_dtype(chosen.dtype, str(path))
        layout = layout_of(chosen, wishes, path)
        _check_size(path, chosen, pages, offset, size, wishes.memory_limit)
        load = PlaneLoader(path, tif, chosen, layout, offset, _quiet)
    finally:
        tif.filehandle.close()
    spacing, notes = settle(layout.axes, said.spacing, wishes, path)
    count = layout.channels
    named = said.channels if len(said.channels) == count else default_channels(count, colour="S" in chosen.axes)
    return Image(
        load=load,
        axes=layout.axes,
        shape=layout.shape,
        dtype=dtype,
        spacing=spacing,
        channels=named,
        source=path.name,
        hash=lambda: digest_file(path),
        acquisition=said.acquisition,
        problems=(*notes, *layout.notes, *_note_other_series(path, series)),
        memory_limit=wishes.memory_limit,
    )


def _check_size(
    path: Path, series: "TiffPageSeries", pages: Sequence["TiffPage | TiffFrame | None"], offset: int | None, size: int, limit: int
) -> None:
    """Refuse what cannot be there: pages that are missing, segments beyond the end of the file, planes beyond memory."""
    if not pages or any(page is None for page in pages):
        missing = sum(page is None for page in pages)
        message = f"All planes must be in the file; {missing} of {len(pages)} are missing. Is it one of several files?"
        raise refuse(path, "truncated", message)
    declared = math.prod(series.shape) * series.dtype.itemsize
    if declared > _MAX_RATIO * size:
        message = (
            f"The header declares {tuple(series.shape)} {series.dtype}, {declared / 2**30:.1f} GiB; a file of {size} bytes cannot hold "
            "that even compressed. Get a fresh copy."
        )
        raise refuse(path, "absurd-size", message)
    if offset is not None:
        _refuse_beyond(path, offset + declared, size)
        return
    keyframe = pages[0]
    assert keyframe is not None
    plane = int(keyframe.nbytes)
    if plane > limit:
        raise too_large(str(path), tuple(keyframe.shape), plane, limit)
    if math.prod(keyframe.shape) * len(pages) != math.prod(series.shape):
        raise refuse(path, "truncated", f"{tuple(series.shape)} is declared; {len(pages)} planes of {tuple(keyframe.shape)} are there.")
    for number, page in enumerate(pages):
        assert page is not None
        counts = page.databytecounts
        if not counts or not all(counts) or len(counts) != len(page.dataoffsets):
            raise refuse(path, "truncated", f"Every segment of plane {number} must have data; some are empty.")
        _refuse_beyond(path, max(o + n for o, n in zip(page.dataoffsets, counts, strict=True)), size)


def _refuse_beyond(path: Path, end: int, size: int) -> None:
    if end > size:
        message = f"The header is intact, but pixels should reach to byte {end} and the file ends at {size}. Get a fresh copy."
        raise refuse(path, "truncated", message)


def _note_other_series(path: Path, series: Sequence["TiffPageSeries"]) -> tuple[Problem, ...]:
    if len(series) == 1:
        return ()
    shapes = ", ".join(str(tuple(s.shape)) for s in series[1:6])
    message = f"The file holds {len(series)} images; the first is read, the others ({shapes}) are not. Save them apart to use them."
    return (Problem(path.name, "more-images", message),)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile's log lines off the user's terminal; what matters of them is checked here and becomes a problem."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
