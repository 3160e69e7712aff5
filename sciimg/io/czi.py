"""CZI, the files of Zeiss's microscopes: tiles in segments, a directory of them, and XML. Read without a library of the maker.

Every tile lies somewhere in t, c, z, y and x; what the tiles of a plane leave open is refused, never filled. Tiles of a pyramid's coarser
levels are left out. Compression is none, JPEG XR or Zstandard (imagecodecs).

References
----------
ZEISS ZISRAW (CZI) File Format, design specification 1.2.2
"""

import math
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.czi_metadata import Said
from sciimg.io.czi_segments import FILE, JPEG_XR, PIXELS, UNCOMPRESSED, ZSTD_HEADED, Segments, Tile
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Box, Image, Load, default_channels, too_large
from sciimg.io.personal import note_personal
from sciimg.io.spacing import Wishes, settle
from sciimg.records import digest_file
from sciimg.types import AXES

EXTENSIONS = (".czi",)
_BGR = [2, 1, 0, 3]  # samples of a pixel → red, green, blue, alpha
_MAX_RATIO = 5000  # blank tiles pack well; beyond this a directory is wrong
Plane = tuple[int, int, int]  # t, c, z


def sniff(head: bytes, path: Path) -> bool:
    """Whether the file begins with the segment of a CZI."""
    return head.startswith(FILE + b"\0")


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the image as a lazy one: ``[t][c][z]yx``, tiles put together, colours as the ``c`` axis in the order red, green, blue.

    Raises
    ------
    InputError
        Kinds ``truncated``, ``corrupt``, ``absurd-size``, ``too-large``, ``several-images``, ``several-files``, ``no-image``,
        ``plane-missing``, ``plane-twice``, ``hole``, ``axes``, ``complex``, ``dtype``, ``compression``, ``xml-entities``,
        ``unknown-spacing``, ``spacing-contradiction``.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        source = Segments(stream, size, path)
        directory, metadata, notes = source.header()
        tiles = source.tiles(directory)
        root = source.xml(metadata, wishes.memory_limit)
        dtype, samples = _kind(tiles, path)
        origin, shape, by_plane = _grid(tiles, path)
        _check_size(shape, dtype, samples, tiles, size, wishes.memory_limit, path)
        said = Said(root)
        _refuse_missing(shape, by_plane, origin, said, path)
        placed = {plane: [source.located(tile) for tile in own] for plane, own in by_plane.items()}
    _refuse_holes(placed, origin, shape, path)
    if samples > 1 and shape[1] > 1:
        message = f"An image has colours or channels; this one has {samples} colours in each of {shape[1]} channels. Export them apart."
        raise refuse(path, "axes", message)
    lengths = dict(zip(AXES, (shape[0], shape[1] * samples, *shape[2:]), strict=True))
    axes = "".join(a for a in AXES if a in "yx" or lengths[a] > 1)
    spacing, more = settle(axes, said.spacing, wishes, path)
    return Image(
        load=_loader(path, placed, origin, axes, dtype, samples),
        axes=axes,
        shape=tuple(lengths[a] for a in axes),
        dtype=dtype.newbyteorder("="),
        spacing=spacing,
        channels=default_channels(samples, colour=True) if samples > 1 else said.channels(origin[1], shape[1]),
        source=path.name,
        hash=lambda: digest_file(path),
        acquisition=said.acquisition(origin[1], shape[1]),
        problems=(*notes, *_note_mosaic(path, placed), *more, *note_personal(path, said.people)),
        memory_limit=wishes.memory_limit,
    )


def _kind(tiles: Sequence[Tile], path: Path) -> tuple[np.dtype[Any], int]:
    """Return dtype and samples of a pixel, which all tiles share."""
    kinds = {tile.pixel_type for tile in tiles}
    if len(kinds) > 1:
        names = ", ".join(f"{PIXELS[k][1]} x {PIXELS[k][0][1:]}" for k in sorted(kinds))
        raise refuse(path, "dtype", f"All channels must have one kind of pixel; these have {names}. Export them apart.")
    dtype, samples = PIXELS[kinds.pop()]
    return np.dtype(dtype), samples


def _grid(tiles: Sequence[Tile], path: Path) -> tuple[tuple[int, ...], tuple[int, int, int, int, int], dict[Plane, list[Tile]]]:
    """Return the least t, c, z, y, x, the lengths along them, and the tiles of each plane, in the order in which they are laid down."""
    planes = list(zip(*(tile.plane for tile in tiles), strict=True))
    y0, x0 = min(t.y for t in tiles), min(t.x for t in tiles)
    y1, x1 = max(t.y + t.height for t in tiles), max(t.x + t.width for t in tiles)
    origin = (*(min(p) for p in planes), y0, x0)
    t, c, z = (max(p) - min(p) + 1 for p in planes)
    by_plane: dict[Plane, list[Tile]] = defaultdict(list)
    for tile in tiles:
        by_plane[tile.plane].append(tile)
    if len({tile.position for tile in tiles}) < len(tiles):
        raise refuse(path, "corrupt", "Every tile must have a place of its own in the file; some share one. Get a fresh copy of the file.")
    for plane, own in by_plane.items():
        if len({(tile.mosaic, tile.rectangle) for tile in own}) < len(own):
            place = ", ".join(f"{a}={n}" for a, n in zip("tcz", plane, strict=True))
            raise refuse(path, "plane-twice", f"Every tile must be there once; at {place} one is there twice. Export the image again.")
        own.sort(key=lambda tile: tile.mosaic)
    return origin, (t, c, z, y1 - y0, x1 - x0), dict(by_plane)


def _check_size(
    shape: tuple[int, ...], dtype: np.dtype[Any], samples: int, tiles: Sequence[Tile], there: int, limit: int, path: Path
) -> None:
    declared = math.prod(shape) * samples * dtype.itemsize
    if declared > _MAX_RATIO * there:
        message = (
            f"The directory places tiles over {shape} (t, c, z, y, x), {declared / 2**30:.1f} GiB; a file of {there} bytes cannot hold "
            "that even compressed. Get a fresh copy."
        )
        raise refuse(path, "absurd-size", message)
    largest = max(tiles, key=lambda tile: tile.height * tile.width)
    piece = largest.height * largest.width * samples * dtype.itemsize
    if piece > limit:
        raise too_large(str(path), (largest.height, largest.width, samples), piece, limit)


def _refuse_missing(
    shape: tuple[int, int, int, int, int], by_plane: Mapping[Plane, Any], origin: tuple[int, ...], said: Said, path: Path
) -> None:
    """Refuse an image of which planes lack: between others, or of those that the XML announces."""
    announced = tuple(max(said.length(a), n) for a, n in zip("tcz", shape, strict=False))
    total = math.prod(announced)
    if total == len(by_plane):
        return
    if total > 10_000_000:
        raise refuse(path, "absurd-size", f"{total} planes are announced; {len(by_plane)} are there. Get a fresh copy.")
    places = (p for p in np.ndindex(*announced) if tuple(i + o for i, o in zip(p, origin, strict=False)) not in by_plane)
    place = ", ".join(f"{a}={n}" for a, n in zip("tcz", next(places), strict=True))
    message = (
        f"All {total} planes must be there; {total - len(by_plane)} are not, the first at {place}. Nothing is put in their place. Was the "
        "recording stopped? Save the part that there is as an image of its own."
    )
    raise refuse(path, "plane-missing", message)


def _refuse_holes(by_plane: Mapping[Plane, Sequence[Tile]], origin: tuple[int, ...], shape: tuple[int, ...], path: Path) -> None:
    """Refuse a plane whose tiles leave pixels of the image open."""
    known: dict[frozenset[tuple[int, int, int, int]], tuple[int, int] | None] = {}
    for plane, tiles in by_plane.items():
        rectangles = frozenset(tile.rectangle for tile in tiles)
        if rectangles not in known:
            known[rectangles] = _hole(np.array(sorted(rectangles)), origin[-2:], shape[-2:])
        if (hole := known[rectangles]) is not None:
            place = ", ".join(f"{a}={n - o}" for a, n, o in zip("tczyx", (*plane, *hole), origin, strict=True))
            message = (
                f"The tiles of a plane must cover it; {len(tiles)} tile(s) leave pixels open, the first at {place}. Nothing is put in "
                "their place. If the region really is no rectangle, or channels differ in size, export a rectangle that is covered."
            )
            raise refuse(path, "hole", message)


def _hole(rectangles: NDArray[np.int64], origin: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return a (y, x) that no rectangle (y0, x0, y1, x1) covers: between any two edges the same rectangles cover every row."""
    y_end, x_end = origin[0] + shape[0], origin[1] + shape[1]
    edges = np.unique([origin[0], *rectangles[:, 0], *rectangles[:, 2]])
    for y in edges[edges < y_end]:
        across = rectangles[(rectangles[:, 0] <= y) & (rectangles[:, 2] > y)]
        covered = origin[1]
        for start, stop in sorted(zip(across[:, 1].tolist(), across[:, 3].tolist(), strict=True)):
            if start > covered:
                break
            covered = max(covered, stop)
        if covered < x_end:
            return int(y), int(covered)
    return None


def _note_mosaic(path: Path, by_plane: Mapping[Any, Sequence[Tile]]) -> tuple[Problem, ...]:
    most = max(len(tiles) for tiles in by_plane.values())
    if most < 2:
        return ()
    message = f"A plane is {most} tiles, put together by the places that the file gives them, later ones on top; seams are not blended."
    return (Problem(path.name, "mosaic", message),)


def _loader(
    path: Path, by_plane: Mapping[Plane, Sequence[Tile]], origin: tuple[int, ...], axes: str, dtype: np.dtype[Any], samples: int
) -> Load:
    def load(box: Box) -> NDArray[Any]:
        wanted = dict(zip(axes, box, strict=True))
        whole = {a: wanted.get(a, slice(0, 1)) for a in AXES}
        colours = _BGR[:samples][whole["c"]] if samples > 1 else [0]
        channels = range(1) if samples > 1 else range(whole["c"].start, whole["c"].stop)
        times, depths = (range(whole[a].start, whole[a].stop) for a in "tz")
        height, width = (whole[a].stop - whole[a].start for a in "yx")
        out = np.empty((len(times), len(channels), len(colours), len(depths), height, width), dtype.newbyteorder("="))
        top, left = whole["y"].start + origin[-2], whole["x"].start + origin[-1]
        for i, t in enumerate(times):
            for j, c in enumerate(channels):
                for k, z in enumerate(depths):
                    for tile in by_plane[t + origin[0], c + origin[1], z + origin[2]]:
                        _paint(path, tile, dtype, samples, colours, out[i, j, :, k], top, left)
        return out.reshape(tuple(s.stop - s.start for s in box))

    return load


def _paint(
    path: Path, tile: Tile, dtype: np.dtype[Any], samples: int, colours: Sequence[int], out: NDArray[Any], top: int, left: int
) -> None:
    """Put what a tile covers into ``out``, shape (c, y, x), whose first pixel is at ``top``, ``left``."""
    y0, y1 = max(tile.y, top), min(tile.y + tile.height, top + out.shape[-2])
    x0, x1 = max(tile.x, left), min(tile.x + tile.width, left + out.shape[-1])
    if y0 >= y1 or x0 >= x1:
        return
    pixels = _pixels(path, tile, dtype, samples)[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]
    out[:, y0 - top : y1 - top, x0 - left : x1 - left] = np.moveaxis(pixels[..., colours], -1, 0)


def _pixels(path: Path, tile: Tile, dtype: np.dtype[Any], samples: int) -> NDArray[Any]:
    """Return a tile, shape (y, x, samples), colours as stored: blue first."""
    import imagecodecs

    shape = (tile.height, tile.width, samples)
    if tile.compression == UNCOMPRESSED:
        return np.memmap(path, dtype, "r", tile.start, shape)
    with path.open("rb") as stream:
        stream.seek(tile.start)
        data = stream.read(tile.size)
    with decoding(path, what=f"The tile at byte {tile.position} cannot be decoded"):
        if tile.compression == JPEG_XR:
            if (coded := _jpeg_xr_size(data)) != shape[:2]:  # before the decoder makes room for it
                raise ValueError(f"it holds {coded[0]} x {coded[1]} pixels, the directory says {shape[0]} x {shape[1]}")
            pixels = np.asarray(imagecodecs.jpegxr_decode(data))
            pixels = pixels if samples == 1 else pixels[..., _BGR[:samples]]  # the decoder gives red first
            if pixels.dtype != dtype:
                raise ValueError(f"it holds {pixels.dtype}, the directory says {dtype}")
            return pixels.reshape(shape)
        start, interleaved = _zstd_header(data) if tile.compression == ZSTD_HEADED else (0, False)
        size = math.prod(shape) * dtype.itemsize
        plain = np.frombuffer(imagecodecs.zstd_decode(data[start:], out=size), np.uint8)
        if len(plain) != size:
            raise ValueError(f"it holds {len(plain)} bytes instead of {size}")
        if interleaved:
            plain = np.ascontiguousarray(plain.reshape(dtype.itemsize, -1).T).reshape(-1)
        return plain.view(dtype).reshape(shape)


def _jpeg_xr_size(data: bytes) -> tuple[int, int]:
    """Return height and width from the image header (ITU-T T.832, 8.3)."""
    at = data.index(b"WMPHOTO\0")
    short = data[at + 10] & 0x80
    width, height = struct.unpack_from(">HH" if short else ">II", data, at + 12)
    return height + 1, width + 1


def _zstd_header(data: bytes) -> tuple[int, bool]:
    """Return where the stream begins, and whether low bytes come first, then all high ones."""
    size = data[0]
    if size == 1:
        return 1, False
    if size == 3 and data[1] == 1:
        return 3, bool(data[2] & 1)
    raise ValueError(f"its header begins with {data[:3].hex()}, which is not known")
