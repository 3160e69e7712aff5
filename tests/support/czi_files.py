"""CZI files as Zeiss's programs lay them out: segments of tiles, a directory, XML."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np

GREY8, GREY16, GREY32F, BGR24, BGR48 = 0, 1, 2, 3, 4
NONE, JPEG_XR, ZSTD, ZSTD_HEADED = 0, 4, 5, 6
_KINDS = {("|u1", 2): GREY8, ("<u2", 2): GREY16, ("<f4", 2): GREY32F, ("|u1", 3): BGR24, ("<u2", 3): BGR48}
_BGR = [2, 1, 0, 3]


@dataclass
class Tile:
    """Pixels, shape (y, x) or (y, x, rgb[a]), and where they begin: ``at`` of letters C, Z, T, S, M, Y, X ..."""

    pixels: np.ndarray
    at: Mapping[str, int] = field(default_factory=dict)
    compression: int = NONE
    stored: tuple[int, int] | None = None  # y, x covered, where the tile is of a coarser level
    kind: int | None = None

    @property
    def pixel_type(self) -> int:
        return _KINDS[self.pixels.dtype.str, self.pixels.ndim] if self.kind is None else self.kind

    def encoded(self) -> bytes:
        if self.compression == JPEG_XR:
            return imagecodecs.jpegxr_encode(np.ascontiguousarray(self.pixels), level=1.0)  # 1.0: lossless
        pixels = self.pixels[..., _BGR[: self.pixels.shape[-1]]] if self.pixels.ndim == 3 else self.pixels
        plain = np.ascontiguousarray(pixels).tobytes()
        if self.compression == ZSTD:
            return imagecodecs.zstd_encode(plain)
        if self.compression == ZSTD_HEADED:  # low bytes first, then the high ones
            apart = np.frombuffer(plain, np.uint8).reshape(-1, self.pixels.dtype.itemsize).T
            return b"\x03\x01\x01" + imagecodecs.zstd_encode(np.ascontiguousarray(apart).tobytes())
        return plain

    def entry(self, position: int) -> bytes:
        covered = self.stored or self.pixels.shape[:2]
        sizes = {"X": (covered[1], self.pixels.shape[1]), "Y": (covered[0], self.pixels.shape[0])}
        letters = ["X", "Y", *reversed([a for a in self.at if a not in "XY"])]
        ranges = b"".join(
            struct.pack("<4siifi", a.encode(), self.at.get(a, 0), *((n := sizes.get(a, (1, 1)))[0], 0.0, n[1])) for a in letters
        )
        return struct.pack("<2siqiiBB4xi", b"DV", self.pixel_type, position, 0, self.compression, int(self.stored is not None), 0,
                           len(letters)) + ranges  # fmt: skip


def planes(array: np.ndarray, axes: str, compression: int = NONE) -> list[Tile]:
    """Return one tile a plane of an array whose last axes are y and x (and rgb)."""
    outer = axes.replace("y", "").replace("x", "")
    return [
        Tile(array[index], dict(zip(outer.upper(), index, strict=True)), compression) for index in np.ndindex(*array.shape[: len(outer)])
    ]


def described(spacing: Mapping[str, float], channels: Sequence[str] = (), more: str = "", **sizes: int) -> str:
    """Return the XML; ``spacing`` is in metres."""
    distances = "".join(f'<Distance Id="{a.upper()}"><Value>{v!r}</Value></Distance>' for a, v in spacing.items())
    named = "".join(f'<Channel Id="Channel:{i}" Name="{name}"/>' for i, name in enumerate(channels))
    lengths = "".join(f"<Size{a}>{n}</Size{a}>" for a, n in sizes.items())
    return (
        f"<ImageDocument><Metadata><Information>{more}<Image>{lengths}<Dimensions><Channels>{named}</Channels></Dimensions></Image>"
        f"</Information><Scaling><Items>{distances}</Items></Scaling></Metadata></ImageDocument>"
    )


def write_czi(path: Path, tiles: Sequence[Tile], xml: str = "", part: int = 0, pending: int = 0) -> None:
    with path.open("wb") as file:
        file.write(bytes(32 + 512))
        positions = []
        for tile in tiles:
            positions.append(file.tell())
            data, entry = tile.encoded(), tile.entry(file.tell())
            fixed = (struct.pack("<iiq", 0, 0, len(data)) + entry).ljust(256, b"\0")
            file.write(_segment(b"ZISRAWSUBBLOCK", fixed + data))
        metadata = file.tell() if xml else 0
        if xml:
            file.write(_segment(b"ZISRAWMETADATA", struct.pack("<ii", len(xml.encode()), 0).ljust(256, b"\0") + xml.encode()))
        directory = file.tell()
        entries = b"".join(tile.entry(at) for tile, at in zip(tiles, positions, strict=True))
        file.write(_segment(b"ZISRAWDIRECTORY", struct.pack("<i", len(tiles)).ljust(128, b"\0") + entries, aligned=False))
        file.seek(0)
        header = struct.pack("<ii8x16s16siqqiq", 1, 0, b"a" * 16, b"a" * 16, part, directory, metadata, pending, 0)
        file.write(_segment(b"ZISRAWFILE", header.ljust(512, b"\0")))


def _segment(kind: bytes, data: bytes, aligned: bool = True) -> bytes:
    padded = data + bytes(-len(data) % 32) if aligned else data
    return struct.pack("<16sqq", kind, len(padded), len(data)) + padded
