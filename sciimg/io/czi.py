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
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Box, Image, Load, default_channels, too_large
from sciimg.io.personal import named_people, note_personal
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.io.xml import children, first, number, parse
from sciimg.records import digest_file
from sciimg.types import AXES, Channel

EXTENSIONS = (".czi",)
_FILE, _DIRECTORY, _TILE, _METADATA = b"ZISRAWFILE", b"ZISRAWDIRECTORY", b"ZISRAWSUBBLOCK", b"ZISRAWMETADATA"
_HEAD = struct.Struct("<16sqq")  # of a segment: its kind, bytes kept for it, bytes used
_ENTRY, _RANGE = struct.Struct("<2siqiiBB4xi"), struct.Struct("<4siifi")  # of the directory, and of each dimension in it
_PIXELS = {0: ("<u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("<u1", 3), 4: ("<u2", 3), 8: ("<f4", 3), 9: ("<u1", 4)}  # type, samples
_COMPLEX = (10, 11)
_NONE, _JPEG_XR, _ZSTD, _ZSTD_HEADED = 0, 4, 5, 6
_COMPRESSIONS = {1: "JPEG", 2: "LZW", 100: "the camera's own", 1000: "the system's own"}
_BGR = [2, 1, 0, 3]  # samples of a pixel → red, green, blue, alpha
_OTHER_AXES = {"R": "rotation", "I": "illumination", "B": "block", "H": "phase", "V": "view"}
_MAX_RATIO = 5000  # blank tiles pack well; beyond this a directory is wrong
_NANOSECOND = 1e-9  # the unit of ExposureTime


@dataclass(frozen=True)
class _Tile:
    """One subblock: where it lies in the image and where in the file."""

    plane: tuple[int, int, int]  # t, c, z
    y: int
    x: int
    height: int
    width: int
    mosaic: int
    pixel_type: int
    compression: int
    position: int  # of the segment
    start: int = 0  # of its pixels, known once the segment has been looked at
    size: int = 0

    @property
    def rectangle(self) -> tuple[int, int, int, int]:
        return self.y, self.x, self.y + self.height, self.x + self.width


def sniff(head: bytes, path: Path) -> bool:
    """Whether the file begins with the segment of a CZI."""
    return head.startswith(_FILE + b"\0")


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
        source = _Source(stream, size, path)
        directory, metadata, notes = source.header()
        tiles = source.tiles(directory)
        root = source.xml(metadata, wishes.memory_limit)
        dtype, samples = _kind(tiles, path)
        origin, shape, by_plane = _grid(tiles, path)
        _check_size(shape, dtype, samples, tiles, size, wishes.memory_limit, path)
        said = _Said(root)
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


class _Source:
    """The segments of an open file; whatever lies beyond its end is refused before it is read."""

    def __init__(self, stream: BufferedReader, size: int, path: Path) -> None:
        self.stream, self.size, self.path = stream, size, path

    def header(self) -> tuple[int, int, tuple[Problem, ...]]:
        """Return the places of directory and metadata."""
        self._segment(0, _FILE)
        _, _, own, file, part, directory, metadata, pending = struct.unpack("<ii8x16s16siqqi", self._bytes(32, 72))
        if part or own != file:
            message = "The image is spread over several files, of which this is one. Save it as one CZI (ZEN: export, or copy the scene)."
            raise refuse(self.path, "several-files", message)
        if not directory:
            raise refuse(self.path, "truncated", "The file has no directory of its tiles; recording never ended. Repair it in ZEN.")
        message = "The file was not closed by the program that wrote it; what its directory lists is read. Was a recording interrupted?"
        return directory, metadata, (Problem(self.path.name, "not-closed", message),) if pending else ()

    def tiles(self, at: int) -> list[_Tile]:
        """Return the tiles of full resolution, in the directory's order."""
        self._segment(at, _DIRECTORY)
        (count,) = struct.unpack("<i", self._bytes(at + 32, 4))
        if count < 1:
            raise refuse(self.path, "no-image", "The file must hold an image; its directory lists no tiles.")
        found, coarse, at = list[_Tile](), 0, at + 32 + 128
        other: dict[str, set[int]] = defaultdict(set)
        for _ in range(count):
            entry, ranges, at = self._entry(at)
            start = {name: begin for name, begin, *_ in ranges}
            size = {name: length for name, _, length, _ in ranges}
            if any(stored not in (0, length) for *_, length, stored in ranges):
                coarse += 1
                continue
            self._check_entry(entry, size)
            for name in start.keys() - set("XYZCTM"):
                other[name].add(start[name])
            plane = start.get("T", 0), start.get("C", 0), start.get("Z", 0)
            _, pixel_type, position, _, compression, *_ = entry
            place = start["Y"], start["X"], size["Y"], size["X"], start.get("M", 0)
            found.append(_Tile(plane, *place, pixel_type, compression, position))
        if not found:
            raise refuse(self.path, "no-image", f"The file holds {coarse} tiles of coarser levels and none of full resolution. Export it.")
        self._refuse_other_axes(other)
        return found

    def located(self, tile: _Tile) -> _Tile:
        """Return the tile with the place of its pixels, which must be in the file and as many as declared."""
        at = tile.position
        self._segment(at, _TILE)
        about, _, size = struct.unpack("<iiq", self._bytes(at + 32, 16))
        entry, ranges, behind = self._entry(at + 48)
        lengths = {name: length for name, _, length, _ in ranges}
        if (entry[1], entry[4], lengths.get("Y"), lengths.get("X")) != (tile.pixel_type, tile.compression, tile.height, tile.width):
            message = f"Directory and tile must say the same of the tile at byte {at}; they differ. Get a fresh copy of the file."
            raise refuse(self.path, "corrupt", message)
        start = max(at + 32 + 256, behind) + about
        kind, samples = _PIXELS[tile.pixel_type]
        declared = tile.height * tile.width * samples * np.dtype(kind).itemsize
        if about < 0 or size < 1 or (tile.compression == _NONE and size < declared) or start + size > self.size:
            message = (
                f"The header is intact, but a tile of {tile.height} x {tile.width} pixels takes {size} bytes up to {start + size}; the file "
                f"ends at {self.size} (uncompressed it would take {declared}). Get a fresh copy."
            )
            raise refuse(self.path, "truncated", message)
        return _Tile(**{**tile.__dict__, "start": start, "size": size})

    def xml(self, at: int, limit: int) -> Element | None:
        if not at:
            return None
        self._segment(at, _METADATA)
        (size,) = struct.unpack("<i", self._bytes(at + 32, 4))
        if size > limit:
            raise too_large(str(self.path), (size,), size, limit)
        return parse(self._bytes(at + 32 + 256, max(size, 0)).rstrip(b"\0").decode("utf-8-sig", errors="replace"), self.path)

    def _segment(self, at: int, kind: bytes) -> None:
        name, kept, used = _HEAD.unpack(self._bytes(at, _HEAD.size))
        if name.rstrip(b"\0") != kind:
            message = f"A segment {kind.decode()} must begin at byte {at}; {name[:14]!r} is there. Get a fresh copy of the file."
            raise refuse(self.path, "corrupt", message)
        if at + _HEAD.size + (used or kept) > self.size:
            raise self._cut(at + _HEAD.size + (used or kept))

    def _entry(self, at: int) -> tuple[tuple[Any, ...], list[tuple[str, int, int, int]], int]:
        """Return an entry of the directory, (axis, start, size, stored size) of its dimensions, and the place behind it."""
        entry = _ENTRY.unpack(self._bytes(at, _ENTRY.size))
        count = entry[-1]
        if entry[0] != b"DV" or not 2 <= count <= 40:
            raise refuse(self.path, "corrupt", f"An entry of the directory of tiles must be at byte {at}; there is none. Get a fresh copy.")
        raw = _RANGE.iter_unpack(self._bytes(at + _ENTRY.size, count * _RANGE.size))
        ranges = [(name.rstrip(b"\0").decode("latin-1"), start, size, stored) for name, start, size, _, stored in raw]
        return entry, ranges, at + _ENTRY.size + count * _RANGE.size

    def _check_entry(self, entry: tuple[Any, ...], size: Mapping[str, int]) -> None:
        _, pixel_type, _, part, compression, *_ = entry
        if part:
            raise refuse(self.path, "several-files", f"All tiles must be in this file; some are in part {part} of it. Save it as one CZI.")
        if pixel_type not in _PIXELS:
            kind = "complex" if pixel_type in _COMPLEX else "dtype"
            message = f"Pixels must be grey or colours of 8 or 16 bits or float32; the pixel type is {pixel_type}. Convert the image."
            raise refuse(self.path, kind, message)
        if compression not in (_NONE, _JPEG_XR, _ZSTD, _ZSTD_HEADED):
            name = _COMPRESSIONS.get(compression, f"number {compression}")
            message = f"Tiles may be uncompressed, JPEG XR or Zstandard; their compression is {name}. Save the image with one of these."
            raise refuse(self.path, "compression", message)
        if min(size.get("Y", 0), size.get("X", 0)) < 1 or any(n != 1 for name, n in size.items() if name not in "YXM"):
            shown = ", ".join(f"{name}={n}" for name, n in size.items())
            raise refuse(self.path, "axes", f"A tile must lie in one plane, y and x; one has the sizes {shown}. Export the image.")

    def _refuse_other_axes(self, other: Mapping[str, set[int]]) -> None:
        if len(other.get("S", ())) > 1:
            scenes = ", ".join(str(s) for s in sorted(other["S"])[:20])
            message = (
                f"A file must hold one image; this one holds {len(other['S'])} scenes ({scenes}). Which one is meant cannot be said here: "
                "save the scenes apart (ZEN: Split Scenes, Write Files) or export those that you want as OME-TIFF."
            )
            raise refuse(self.path, "several-images", message)
        long = {name: len(starts) for name, starts in other.items() if len(starts) > 1}
        if long:
            shown = ", ".join(f"{_OTHER_AXES.get(name, name)} ({n})" for name, n in sorted(long.items()))
            raise refuse(self.path, "axes", f"Axes may be t, c, z, y, x; the image also has {shown}. Process or split it in ZEN.")

    def _bytes(self, at: int, count: int) -> bytes:
        if at < 0 or at + count > self.size:
            raise self._cut(at + count)
        self.stream.seek(at)
        return self.stream.read(count)

    def _cut(self, needed: int) -> Exception:
        message = f"The file should reach to byte {needed}, where its header or directory points; it ends at {self.size}. Get a fresh copy."
        return refuse(self.path, "truncated", message)


def _kind(tiles: Sequence[_Tile], path: Path) -> tuple[np.dtype[Any], int]:
    """Return dtype and samples of a pixel, which all tiles share."""
    kinds = {tile.pixel_type for tile in tiles}
    if len(kinds) > 1:
        names = ", ".join(f"{_PIXELS[k][1]} x {_PIXELS[k][0][1:]}" for k in sorted(kinds))
        raise refuse(path, "dtype", f"All channels must have one kind of pixel; these have {names}. Export them apart.")
    dtype, samples = _PIXELS[kinds.pop()]
    return np.dtype(dtype), samples


def _grid(
    tiles: Sequence[_Tile], path: Path
) -> tuple[tuple[int, ...], tuple[int, int, int, int, int], dict[tuple[int, int, int], list[_Tile]]]:
    """Return the least t, c, z, y, x, the lengths along them, and the tiles of each plane, in the order in which they are laid down."""
    planes = list(zip(*(tile.plane for tile in tiles), strict=True))
    y0, x0 = min(t.y for t in tiles), min(t.x for t in tiles)
    y1, x1 = max(t.y + t.height for t in tiles), max(t.x + t.width for t in tiles)
    origin = (*(min(p) for p in planes), y0, x0)
    t, c, z = (max(p) - min(p) + 1 for p in planes)
    by_plane: dict[tuple[int, int, int], list[_Tile]] = defaultdict(list)
    for tile in tiles:
        by_plane[tile.plane].append(tile)
    for plane, own in by_plane.items():
        if len({(tile.mosaic, tile.rectangle) for tile in own}) < len(own):
            place = ", ".join(f"{a}={n}" for a, n in zip("tcz", plane, strict=True))
            raise refuse(path, "plane-twice", f"Every tile must be there once; at {place} one is there twice. Export the image again.")
        own.sort(key=lambda tile: tile.mosaic)
    return origin, (t, c, z, y1 - y0, x1 - x0), dict(by_plane)


def _check_size(
    shape: tuple[int, ...], dtype: np.dtype[Any], samples: int, tiles: Sequence[_Tile], there: int, limit: int, path: Path
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


class _Said:
    """What the XML says, from an allow-list; names of people are only ever named."""

    def __init__(self, root: Element | None) -> None:
        self.root = root
        self.people = named_people(root) if root is not None else ()
        self.image = first(root, "Metadata", "Information", "Image") if root is not None else None

    def length(self, axis: str) -> int:
        """Return how long the XML says an axis is, 0 where it does not."""
        return int(self._number(self.image, f"Size{axis.upper()}"))

    @property
    def spacing(self) -> Stated:
        """Distances in metres, in whatever unit ZEN shows them."""
        if self.root is None:
            return Stated()
        items = children(self.root, "Metadata", "Scaling", "Items", "Distance")
        found = {(d.get("Id") or "").lower(): self._number(d, "Value") for d in items}
        return Stated.of({a: (found[a] * 1e6, "µm") for a in "zyx" if a in found})

    def channels(self, start: int, count: int) -> tuple[Channel, ...]:
        own = self._own(start, count)
        if len(own) != count:
            return default_channels(count)
        names = [c.get("Name") or self._text(c, "Fluor") for c in own]
        plain = default_channels(count)
        return tuple(
            Channel(name or known.name, self._number(c, "EmissionWavelength") or None)
            for c, name, known in zip(own, names, plain, strict=True)
        )

    def acquisition(self, start: int, count: int) -> dict[str, Any]:
        """Return how the image was taken, in the words of :func:`sciimg.io.ome.acquisition`."""
        settings = first(self.image, "ObjectiveSettings") if self.image is not None else None
        objective, own = self._objective(settings), self._own(start, count)
        found: dict[str, Any] = {
            "time_step_s": self._time_step(),
            "significant_bits": int(self._number(self.image, "ComponentBitCount")),
            "magnification": self._number(objective, "NominalMagnification"),
            "numerical_aperture": self._number(objective, "LensNA"),
            "immersion": self._text(objective, "Immersion"),
            "refractive_index": self._number(settings, "RefractiveIndex"),
            "exposure_s": [self._number(c, "ExposureTime") * _NANOSECOND or None for c in own],
            "excitation_nm": [self._number(c, "ExcitationWavelength") or None for c in own],
            "emission_nm": [self._number(c, "EmissionWavelength") or None for c in own],
            "gain": [self._number(c, "DetectorSettings", "Gain") or None for c in own],
        }
        return {k: v for k, v in found.items() if (any(e is not None for e in v) if isinstance(v, list) else v)}

    def _own(self, start: int, count: int) -> list[Element]:
        listed = children(self.image, "Dimensions", "Channels", "Channel") if self.image is not None else []
        return listed if len(listed) == count else listed[start : start + count]

    def _objective(self, settings: Element | None) -> Element | None:
        if self.root is None:
            return None
        objectives = children(self.root, "Metadata", "Information", "Instrument", "Objectives", "Objective")
        named = first(settings, "ObjectiveRef") if settings is not None else None
        if named is not None:
            return next((o for o in objectives if o.get("Id") == named.get("Id")), None)
        return objectives[0] if len(objectives) == 1 else None

    def _time_step(self) -> float:
        if self.image is None:
            return 0.0
        if step := self._number(self.image, "Dimensions", "T", "Positions", "Interval", "Increment"):
            return step
        listed = [number(word) for word in self._text(self.image, "Dimensions", "T", "Positions", "List", "Offsets").split()]
        steps = np.diff(listed)
        return float(steps.mean()) if len(steps) and np.ptp(steps) <= 0.01 * abs(steps.mean()) else 0.0

    @staticmethod
    def _text(element: Element | None, *names: str) -> str:
        found = first(element, *names) if element is not None else None
        return (found.text or "").strip() if found is not None else ""

    @classmethod
    def _number(cls, element: Element | None, *names: str) -> float:
        value = number(cls._text(element, *names))
        return value if math.isfinite(value) and value > 0 else 0.0


def _refuse_missing(
    shape: tuple[int, int, int, int, int], by_plane: Mapping[tuple[int, int, int], Any], origin: tuple[int, ...], said: _Said, path: Path
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


def _refuse_holes(
    by_plane: Mapping[tuple[int, int, int], Sequence[_Tile]], origin: tuple[int, ...], shape: tuple[int, ...], path: Path
) -> None:
    """Refuse a plane whose tiles leave pixels of the image open."""
    known: dict[frozenset[tuple[int, int, int, int]], tuple[int, int] | None] = {}
    for plane, tiles in by_plane.items():
        rectangles = frozenset(tile.rectangle for tile in tiles)
        if rectangles not in known:
            known[rectangles] = _hole(np.array(sorted(rectangles)), origin[-2:], shape[-2:])
        if (hole := known[rectangles]) is not None:
            place = ", ".join(f"{a}={n - o}" for a, n, o in zip("tczyx", (*plane, *hole), origin, strict=True))
            message = (
                f"The tiles of a plane must cover it; {len(tiles)} tile(s) leave pixels open, the first at {place}. Nothing is put in their "
                "place. If the region really is no rectangle, or channels differ in size, export a rectangle that is covered."
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


def _note_mosaic(path: Path, by_plane: Mapping[Any, Sequence[_Tile]]) -> tuple[Problem, ...]:
    most = max(len(tiles) for tiles in by_plane.values())
    if most < 2:
        return ()
    message = f"A plane is {most} tiles, put together by the places that the file gives them, later ones on top; seams are not blended."
    return (Problem(path.name, "mosaic", message),)


def _loader(
    path: Path, by_plane: Mapping[tuple[int, int, int], Sequence[_Tile]], origin: tuple[int, ...], axes: str, dtype: np.dtype[Any], samples: int
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
    path: Path, tile: _Tile, dtype: np.dtype[Any], samples: int, colours: Sequence[int], out: NDArray[Any], top: int, left: int
) -> None:
    """Put what a tile covers into ``out``, shape (c, y, x), whose first pixel is at ``top``, ``left``."""
    y0, y1 = max(tile.y, top), min(tile.y + tile.height, top + out.shape[-2])
    x0, x1 = max(tile.x, left), min(tile.x + tile.width, left + out.shape[-1])
    if y0 >= y1 or x0 >= x1:
        return
    pixels = _pixels(path, tile, dtype, samples)[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]
    out[:, y0 - top : y1 - top, x0 - left : x1 - left] = np.moveaxis(pixels[..., colours], -1, 0)


def _pixels(path: Path, tile: _Tile, dtype: np.dtype[Any], samples: int) -> NDArray[Any]:
    """Return a tile, shape (y, x, samples), colours as stored: blue first."""
    import imagecodecs

    shape = (tile.height, tile.width, samples)
    if tile.compression == _NONE:
        return np.memmap(path, dtype, "r", tile.start, shape)
    with path.open("rb") as stream:
        stream.seek(tile.start)
        data = stream.read(tile.size)
    with decoding(path, what=f"The tile at byte {tile.position} cannot be decoded"):
        if tile.compression == _JPEG_XR:
            pixels = np.asarray(imagecodecs.jpegxr_decode(data))
            pixels = pixels if samples == 1 else pixels[..., _BGR[:samples]]  # the decoder gives red first
            if pixels.dtype != dtype:
                raise ValueError(f"it holds {pixels.dtype}, the directory says {dtype}")
            return pixels.reshape(shape)
        start, interleaved = _zstd_header(data) if tile.compression == _ZSTD_HEADED else (0, False)
        size = math.prod(shape) * dtype.itemsize
        plain = np.frombuffer(imagecodecs.zstd_decode(data[start:], out=size), np.uint8)
        if len(plain) != size:
            raise ValueError(f"it holds {len(plain)} bytes instead of {size}")
        if interleaved:
            plain = np.ascontiguousarray(plain.reshape(dtype.itemsize, -1).T).reshape(-1)
        return plain.view(dtype).reshape(shape)


def _zstd_header(data: bytes) -> tuple[int, bool]:
    """Return where the stream begins, and whether low bytes come first, then all high ones."""
    size = data[0]
    if size == 1:
        return 1, False
    if size == 3 and data[1] == 1:
        return 3, bool(data[2] & 1)
    raise ValueError(f"its header begins with {data[:3].hex()}, which is not known")
