"""TIFF: OME, ImageJ, MetaMorph, LSM, whole slides and plain; classic and BigTIFF; pages over z, t and c; any compression tifffile knows.

Pixels are read segment by segment, or mapped where they lie uncompressed in one run. Every segment is checked against the size of the file
before anything is decoded, because decoders fill what is missing with zeros.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.beside import digest_files
from sciimg.io.exif import note_turned
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Box, Image, Load, accepted_dtype, default_channels, too_large
from sciimg.io.personal import note_personal
from sciimg.io.spacing import Wishes, settle
from sciimg.io.tiff_axes import Layout, layout_of
from sciimg.io.tiff_chain import Declared, walk_chain
from sciimg.io.tiff_ome import SETS, OmeSet, is_companion, ome_set
from sciimg.io.tiff_pixels import PlainLoader, is_plain
from sciimg.io.tiff_segments import Grid, tasks

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

EXTENSIONS = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".stk", ".lsm", ".svs", ".ndpi", ".companion.ome")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_RATIO = 1100  # deflate compresses no more than 1032 : 1
_THREADS = min(4, os.cpu_count() or 1)
_FILES_AT_ONCE = 64  # open files of a set
_PALETTE, _WHITE_IS_ZERO = 3, 0  # PhotometricInterpretation, TIFF 6.0
_COLOURS: Mapping[int, tuple[str, ...]] = {5: ("cyan", "magenta", "yellow", "black"), 8: ("lightness", "a", "b")}


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of a TIFF file, or of the companion of a set of OME-TIFFs."""
    return head[:4] in _MAGIC or is_companion(head)


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the first image of a TIFF file, or the one that its planes belong to, at full resolution, as a lazy image.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``absurd-size``, ``too-large``, ``complex``, ``dtype``, ``unknown-axes``, ``axes``,
        ``inconsistent-pages``, ``unknown-spacing``, ``spacing-contradiction``, and those of :func:`sciimg.io.tiff_ome.ome_set`.
    """
    from sciimg.io.tiff_metadata import metadata_of

    with ExitStack() as opened:
        tif, declared = (None, {}) if _is_companion_file(path) else _open(path, opened)
        described = _described(path, tif)
        if described is not None:
            series = _ome_series(path, tif, declared, described, opened)
            more, others = described.images - 1, ""
        else:
            assert tif is not None
            series, rest = _first_series(path, tif, declared)
            more, others = len(rest), ", ".join(str(tuple(s.shape)) for s in rest[:5])
        with decoding(path, what="The TIFF structure cannot be read"):
            keyframe = series.keyframe
            pages = list(series.pages)
            offset = series.dataoffset if len({p.parent.filehandle.path for p in pages if p is not None}) == 1 else None
            said = metadata_of(keyframe.parent, series, described)
            shown = (*_note_photometric(path, keyframe), *note_turned(path, int(keyframe.tags.valueof(274) or 1)))
        dtype = accepted_dtype(_dtype(path, series), str(path))
        layout = layout_of(series, wishes, path)
        _check_size(path, series, pages, offset, wishes.memory_limit)
        load = _loader(path, series, pages, layout, offset)
    spacing, notes = settle(layout.axes, said.spacing, wishes, path)
    count = layout.channels
    files = described.files if described else (path,)
    return Image(
        load=load,
        axes=layout.axes,
        shape=layout.shape,
        dtype=dtype,
        spacing=spacing,
        channels=said.channels if len(said.channels) == count else _channels(count, series),
        source=path.name,
        hash=lambda: digest_files(files),
        acquisition=said.acquisition,
        problems=(
            *notes,
            *layout.notes,
            *_note_other_images(path, more, others),
            *shown,
            *note_personal(path, said.personal),
        ),
        memory_limit=wishes.memory_limit,
    )


def parts(path: Path) -> list[Path]:
    """Return the file, or the files of the OME set that it belongs to; only names that sets have by custom are looked into."""
    if not path.name.lower().endswith(SETS):
        return [path]
    with ExitStack() as opened:
        tif, _ = (None, {}) if _is_companion_file(path) else _open(path, opened)
        described = _described(path, tif)
    return list(described.files) if described else [path]


def _is_companion_file(path: Path) -> bool:
    with path.open("rb") as stream:
        return is_companion(stream.read(4096))


def _open(path: Path, opened: ExitStack) -> tuple["TiffFile", dict[int, Declared]]:
    import tifffile

    declared = walk_chain(path)
    with _quiet(), decoding(path, what="The TIFF structure cannot be read"):
        tif = tifffile.TiffFile(path)
    opened.callback(tif.filehandle.close)
    return tif, declared


def _described(path: Path, tif: "TiffFile | None") -> OmeSet | None:
    """Return where the planes of the image are, for OME-TIFF and its companions."""
    if tif is None:
        return ome_set(path, path.read_text(encoding="utf-8-sig", errors="replace"), 0)
    with _quiet(), decoding(path, what="The TIFF structure cannot be read"):
        text = tif.ome_metadata if tif.is_ome else None
        pages = len(tif.pages)
    return ome_set(path, text, pages) if text else None


def _ome_series(
    path: Path, tif: "TiffFile | None", declared: dict[int, Declared], described: OmeSet, opened: ExitStack
) -> "TiffPageSeries":
    """Return the planes that OME-XML names as one series, whichever files they are in."""
    import tifffile

    with _quiet():
        files = {file: (tif, declared) if tif is not None and file == path else _open(file, opened) for file in described.files}
        with decoding(path, what="The TIFF structure cannot be read"):
            for own, _ in files.values():
                own.pages.cache = True
                own.pages.useframes = True
                own.pages.set_keyframe(0)
            counts = {file: len(own.pages) for file, (own, _) in files.items()}
        for file, number in described.planes:
            if number >= counts[file]:
                message = f"The OME-XML places a plane on page {number} of {file.name!r}, which has {counts[file]} pages. Get a fresh copy."
                raise refuse(file, "plane-missing", message)
        keyframe = files[described.planes[0][0]][0].pages.first
        wanted = dict.fromkeys(described.planes)
        _refuse_unlike(path, [list(files[file][1].values())[number] for file, number in wanted if number < len(files[file][1])])
        with decoding(path, what="The TIFF structure cannot be read"):
            pages = [files[file][0].pages[number] for file, number in described.planes]
            length, width, samples = keyframe.imagelength, keyframe.imagewidth, keyframe.samplesperpixel
            sizes = {a: int(described.pixels.get(f"Size{a}") or 0) for a in "YX"}
            dtype, axes, shape = keyframe.dtype, described.axes + keyframe.axes, (*described.shape, *keyframe.shape)
        if (sizes["Y"], sizes["X"]) != (length, width) or (samples != described.samples):
            message = (
                f"The pages must be as the OME-XML says, {sizes['Y']} x {sizes['X']} with {described.samples} samples a pixel; they are "
                f"{length} x {width} with {samples}. Was the file changed by a program that left the XML?"
            )
            raise refuse(path, "inconsistent-pages", message)
        return tifffile.TiffPageSeries(pages, shape, dtype, axes, kind="ome", parent=keyframe.parent)


def _first_series(path: Path, tif: "TiffFile", declared: dict[int, Declared]) -> tuple["TiffPageSeries", list["TiffPageSeries"]]:
    """Return the first series at full resolution, and the others."""
    if tif.is_imagej:  # one stack by definition
        _refuse_unlike(path, list(declared.values()))
    with _quiet(), decoding(path, what="The TIFF structure cannot be read"):
        first, *rest = tif.series
        first = first.levels[0]
        offsets = [p.offset for p in first.pages if p is not None]
        stated = tif.imagej_metadata if tif.is_imagej else None
        declares = math.prod(int(stated.get(k, 1)) for k in ("frames", "slices", "channels")) if stated else 1
        planes = math.prod(first.shape) // max(1, math.prod(first.keyframe.shape))
        colours = first.keyframe.samplesperpixel
    if declares > planes * colours:
        message = f"The header declares {declares} planes; there is room for {planes} before the end of the file. Get a fresh copy."
        raise refuse(path, "truncated", message)
    _refuse_unlike(path, [declared[offset] for offset in offsets if offset in declared])
    return first, rest


def _refuse_unlike(path: Path, pages: Sequence[Declared]) -> None:
    """Refuse a stack whose pages are not like its first one, by which all of them would be decoded."""
    for number, page in enumerate(pages):
        if page != pages[0]:
            message = (
                f"All planes of a stack must have one size, compression and kind of pixel; plane {number} has {page}, the first {pages[0]} "
                "(width, length, compression, photometric, samples, planar). Save them as images of their own."
            )
            raise refuse(path, "inconsistent-pages", message)


def _dtype(path: Path, series: "TiffPageSeries") -> np.dtype[Any]:
    page = series.keyframe
    if series.dtype is None or page.sampleformat in (5, 6):
        kind = "complex" if page.sampleformat in (5, 6) else "dtype"
        message = f"Pixels must be real numbers; sample format {page.sampleformat} with {page.bitspersample} bits is not. Convert the file."
        raise refuse(path, kind, message)
    return series.dtype


def _check_size(path: Path, series: "TiffPageSeries", pages: Sequence[Any], offset: int | None, limit: int) -> None:
    """Refuse what cannot be there: pages that are missing, segments beyond the end of the file, segments beyond memory."""
    if not pages or any(page is None for page in pages):
        missing = sum(page is None for page in pages)
        message = f"All planes must be in the file; {missing} of {len(pages)} are missing. Is it one of several files?"
        raise refuse(path, "truncated", message)
    sizes = {p: p.stat().st_size for p in {_file(page) for page in pages}}
    size = sum(sizes.values())
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
    keyframe = series.keyframe
    with decoding(path, what="The TIFF structure cannot be read"):
        grid = Grid.of(keyframe)
    if not keyframe.is_final and grid.nbytes(series.dtype) > limit:
        raise too_large(str(path), (*grid.step[1:], grid.samples), grid.nbytes(series.dtype), limit)
    if math.prod(keyframe.shape) * len(pages) != math.prod(series.shape):
        raise refuse(path, "truncated", f"{tuple(series.shape)} is declared; {len(pages)} planes of {tuple(keyframe.shape)} are there.")
    for number, page in enumerate(pages):
        counts = page.databytecounts
        if not counts or not all(counts) or len(counts) != len(page.dataoffsets):
            raise refuse(path, "truncated", f"Every segment of plane {number} must have data; some are empty.")
        _refuse_beyond(_file(page), max(o + n for o, n in zip(page.dataoffsets, counts, strict=True)), sizes[_file(page)])


def _file(page: Any) -> Path:
    return Path(page.parent.filehandle.path)


def _refuse_beyond(path: Path, end: int, size: int) -> None:
    if end > size:
        message = f"The header is intact, but pixels should reach to byte {end} and the file ends at {size}. Get a fresh copy."
        raise refuse(path, "truncated", message)


def _loader(path: Path, series: "TiffPageSeries", pages: Sequence[Any], layout: Layout, offset: int | None) -> Load:
    file = _file(series.keyframe)
    if is_plain(series.keyframe, offset is not None) and {_file(page) for page in pages} <= {file}:
        return PlainLoader(file, series, layout, offset)
    return _mapped(series, offset, layout) if offset is not None else _by_segment(path, series, pages, layout)


def _mapped(series: "TiffPageSeries", offset: int, layout: Layout) -> Load:
    """Return a loader for pixels that lie uncompressed in one run."""
    path = _file(series.keyframe)
    order = series.keyframe.parent.byteorder
    dtype, shape = series.dtype.newbyteorder(order), tuple(series.shape)

    def load(box: Box) -> NDArray[Any]:
        with decoding(path, "truncated"):
            raw = np.memmap(path, dtype, "r", offset, shape)
            return layout.view(raw)[box].astype(dtype.newbyteorder("="))

    return load


def _by_segment(path: Path, series: "TiffPageSeries", pages: Sequence[Any], layout: Layout) -> Load:
    """Return a loader that decodes the segments a box touches, a few at a time."""
    keyframe, dtype = series.keyframe, series.dtype.newbyteorder("=")
    separate, depth, _, _, samples = keyframe.shaped
    with decoding(path, what="The TIFF structure cannot be read"):
        for own in {id(page.keyframe): page.keyframe for page in pages}.values():
            own.decode  # noqa: B018  made now, while the file is open: making it may read tags

    def load(box: Box) -> NDArray[Any]:
        out = np.empty(layout.box_shape(box), dtype)
        rows, columns = (box[layout.axes.index(a)] for a in "yx")
        part = (separate, depth, rows.stop - rows.start, columns.stop - columns.start, samples)
        wanted = iter(layout.planes(box))
        with _quiet(), decoding(path, what=f"A plane of {path.name} cannot be decoded"), ThreadPoolExecutor(_THREADS) as pool:
            while some := list(islice(wanted, _FILES_AT_ONCE)):
                with ExitStack() as opened:
                    streams = {f: (Lock(), opened.enter_context(f.open("rb"))) for f in {_file(pages[n]) for n, _ in some}}
                    todo, rest = [], []
                    for number, place in some:
                        page, pixels = pages[number], layout.window(out[place])
                        if pixels is None:
                            pixels = np.empty(part, dtype)
                            rest.append((place, pixels))
                        todo.append(list(tasks(page, _file(page), *streams[_file(page)], rows, columns, pixels)))
                    if len(todo) < _THREADS:  # the segments of few planes are shared out, else the planes
                        todo = [[task] for plane in todo for task in plane]
                    for done in [pool.submit(_all, group) for group in todo]:
                        done.result()
                for place, pixels in rest:
                    out[place] = layout.place(pixels, box)
        return layout.trim(out, box)

    return load


def _all(group: Sequence[Callable[[], None]]) -> None:
    for task in group:
        task()


def _channels(count: int, series: "TiffPageSeries") -> tuple[Any, ...]:
    from sciimg.types import Channel

    page = series.keyframe
    if count == page.samplesperpixel and (named := _COLOURS.get(int(page.photometric), ())[:count]):
        return tuple(Channel(name) for name in named) if len(named) == count else default_channels(count)
    return default_channels(count, colour="S" in series.axes and int(page.photometric) in (2, 6))


def _note_other_images(path: Path, more: int, shapes: str) -> tuple[Problem, ...]:
    if not more:
        return ()
    others = f"the others ({shapes}) are" if shapes else "the others are"
    message = f"The file holds {more + 1} images; one is read, {others} not. Save them apart to use them."
    return (Problem(path.name, "more-images", message),)


def _note_photometric(path: Path, page: Any) -> tuple[Problem, ...]:
    if int(page.photometric) == _PALETTE and not _is_grey(page):
        message = (
            "Pixels are numbers of colours in a table; the numbers are read, the colours are not. Convert to RGB if the colours matter."
        )
        return (Problem(path.name, "palette", message),)
    if int(page.photometric) == _WHITE_IS_ZERO and page.bitspersample > 1:  # libraries write truth values so, and mean 1 by true
        message = "The file says that 0 is white; values are read as they are, so that bright is small. Invert the file if that matters."
        return (Problem(path.name, "white-is-zero", message),)
    return ()


def _is_grey(page: Any) -> bool:
    """Whether a table of colours says what the numbers say: a ramp from black to white."""
    table = page.colormap
    return table is not None and bool((table == table[0]).all() and (np.diff(table[0].astype(np.int64)) > 0).all())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile's log lines off the user's terminal; what matters of them is checked here and becomes a problem."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
