"""The segments of a CZI: file header, directory of tiles, tiles, XML. Nothing is read that lies beyond the end of the file."""

import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from sciimg.errors import Problem
from sciimg.io.faults import refuse
from sciimg.io.image import too_large
from sciimg.io.xml import parse

FILE, _DIRECTORY, _TILE, _METADATA = b"ZISRAWFILE", b"ZISRAWDIRECTORY", b"ZISRAWSUBBLOCK", b"ZISRAWMETADATA"
_HEAD = struct.Struct("<16sqq")  # of a segment: its kind, bytes kept for it, bytes used
_ENTRY, _RANGE = struct.Struct("<2siqiiBB4xi"), struct.Struct("<4siifi")  # of the directory, and of each dimension in it
PIXELS = {0: ("<u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("<u1", 3), 4: ("<u2", 3), 8: ("<f4", 3), 9: ("<u1", 4)}  # type, samples
_COMPLEX = (10, 11)
UNCOMPRESSED, JPEG_XR, ZSTD, ZSTD_HEADED = 0, 4, 5, 6
_COMPRESSIONS = {1: "JPEG", 2: "LZW", 100: "the camera's own", 1000: "the system's own"}
_OTHER_AXES = {"R": "rotation", "I": "illumination", "B": "block", "H": "phase", "V": "view"}


@dataclass(frozen=True)
class Tile:
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


class Segments:
    """The segments of an open file; whatever lies beyond its end is refused before it is read."""

    def __init__(self, stream: BufferedReader, size: int, path: Path) -> None:
        self.stream, self.size, self.path = stream, size, path

    def header(self) -> tuple[int, int, tuple[Problem, ...]]:
        """Return the places of directory and metadata."""
        self._segment(0, FILE)
        _, _, own, file, part, directory, metadata, pending = struct.unpack("<ii8x16s16siqqi", self._bytes(32, 72))
        if part or own != file:
            message = "The image is spread over several files, of which this is one. Save it as one CZI (ZEN: export, or copy the scene)."
            raise refuse(self.path, "several-files", message)
        if not directory:
            raise refuse(self.path, "truncated", "The file has no directory of its tiles; recording never ended. Repair it in ZEN.")
        message = "The file was not closed by the program that wrote it; what its directory lists is read. Was a recording interrupted?"
        return directory, metadata, (Problem(self.path.name, "not-closed", message),) if pending else ()

    def tiles(self, at: int) -> list[Tile]:
        """Return the tiles of full resolution, in the directory's order."""
        self._segment(at, _DIRECTORY)
        (count,) = struct.unpack("<i", self._bytes(at + 32, 4))
        if count < 1:
            raise refuse(self.path, "no-image", "The file must hold an image; its directory lists no tiles.")
        found, coarse, at = list[Tile](), 0, at + 32 + 128
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
            found.append(Tile(plane, *place, pixel_type, compression, position))
        if not found:
            raise refuse(self.path, "no-image", f"The file holds {coarse} tiles of coarser levels and none of full resolution. Export it.")
        self._refuse_other_axes(other)
        return found

    def located(self, tile: Tile) -> Tile:
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
        kind, samples = PIXELS[tile.pixel_type]
        declared = tile.height * tile.width * samples * np.dtype(kind).itemsize
        if about < 0 or size < 1 or (tile.compression == UNCOMPRESSED and size < declared) or start + size > self.size:
            message = (
                f"The header is intact, but a tile of {tile.height} x {tile.width} pixels takes {size} bytes up to {start + size}; the "
                f"file ends at {self.size} (uncompressed it would take {declared}). Get a fresh copy."
            )
            raise refuse(self.path, "truncated", message)
        return replace(tile, start=start, size=size)

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
        if pixel_type not in PIXELS:
            kind = "complex" if pixel_type in _COMPLEX else "dtype"
            message = f"Pixels must be grey or colours of 8 or 16 bits or float32; the pixel type is {pixel_type}. Convert the image."
            raise refuse(self.path, kind, message)
        if compression not in (UNCOMPRESSED, JPEG_XR, ZSTD, ZSTD_HEADED):
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
