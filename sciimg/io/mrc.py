"""MRC and CCP4 maps (MRC2014), plain, gzipped or bzip2ed: cryo-EM volumes, tilt series, movies. Sizes are in ångström.

The header is 1024 bytes of fixed layout, so that no library is needed. An extended header of FEI microscopes gives the pixel size where
the main one does not, and how the picture was taken. Labels are free text and are never read.

References
----------
Cheng et al. 2015, MRC2014: Extensions to the MRC format header for electron cryo-microscopy and tomography,
Journal of Structural Biology 192(2), doi:10.1016/j.jsb.2015.04.002
"""

import bz2
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sciimg.errors import Problem
from sciimg.io.faults import refuse
from sciimg.io.gz import GZIP, inflate_start
from sciimg.io.image import Image, accepted_dtype, default_channels
from sciimg.io.raw import Coding, Numbers, lazy
from sciimg.io.spacing import AGREE, Stated, Wishes, settle
from sciimg.records import digest_file

# IMOD's .rec is left out: it is read, but in a folder a .REC is first of all the second half of a Philips scan.
EXTENSIONS = tuple(kind + packed for kind in (".mrc", ".map", ".mrcs", ".st", ".ccp4") for packed in ("", ".gz", ".bz2"))
_HEADER = 1024
_START = 8192  # as much of the extended header as is looked at
_BZIP2 = b"BZh"
_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}  # MODE → type; 3 and 4 are complex, 101 packs two samples in a byte
_IMOD, _IMOD_SIGNED = 1146047817, 1  # word 39 says that IMOD wrote the file, bit 0 of word 40 that its bytes are signed
_VOLUME_STACKS = range(401, 631)
# FEI1/FEI2 extended header: byte of each double → name; what a physics check may need, nothing that names a person or a place
_FEI = {
    84: "acceleration_voltage_v", 92: "dose_per_m2", 100: "alpha_tilt_deg", 220: "defocus_m",
    289: "magnification", 419: "exposure_s",
}  # fmt: skip
_FEI_PIXEL_M = (156, 164)


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes (of the content, when packed) have the word ``MAP`` where MRC2014 has it."""
    if not head.startswith((GZIP, _BZIP2)):
        return head[208:211] == b"MAP"
    return _start(path, head)[208:211] == b"MAP"


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the map as a lazy image: ``zyx``, a stack of pictures as ``tyx``, a stack of volumes as ``tzyx``.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``absurd-size``, ``too-large``, ``complex``, ``dtype``, ``axes``, ``spacing-contradiction``,
        ``unknown-spacing``.
    """
    with path.open("rb") as stream:
        head = stream.read(_START)
    start = _start(path, head)
    if len(start) < _HEADER:
        raise refuse(path, "truncated", f"An MRC header takes {_HEADER} bytes; the file has {len(start)}. Get a fresh copy.")
    header, notes = _Header.parse(start, path)
    dtype = header.dtype(path)
    letters, shape, axis_notes = _axes(header, wishes, path)
    coding: Coding = "gzip" if head.startswith(GZIP) else "bzip2" if head.startswith(_BZIP2) else "plain"
    before = _HEADER + header.extended
    numbers = Numbers(path, 0 if coding != "plain" else before, shape, dtype, coding, before if coding != "plain" else 0)
    size_notes = numbers.check(wishes.memory_limit)
    ordered = "".join(a for a in "tczyx" if a in letters)
    order = tuple(letters.index(a) for a in ordered)
    fei = _fei(start, header)
    stated, spacing_notes = _stated(header, fei, letters, wishes, path)
    spacing, more = settle(ordered, stated, wishes, path)
    final = accepted_dtype(dtype, str(path))
    lengths = tuple(shape[i] for i in order)
    return Image(
        load=lazy(numbers, order, final),
        axes=ordered,
        shape=lengths,
        dtype=final,
        spacing=spacing,
        channels=default_channels(lengths[ordered.index("c")] if "c" in ordered else 1),
        source=path.name,
        hash=lambda: digest_file(path),
        acquisition=header.placement() | {name: fei[name] for name in _FEI.values() if name in fei},
        problems=(*notes, *axis_notes, *size_notes, *spacing_notes, *more),
        memory_limit=wishes.memory_limit,
    )


@dataclass(frozen=True)
class _Header:
    order: str  # "<" or ">"
    lengths: tuple[int, int, int]  # columns, rows, sections
    mode: int
    first: tuple[int, int, int]  # columns, rows, sections: place in the unit cell's grid
    grid: tuple[int, int, int]  # X, Y, Z: samples in the cell
    cell: tuple[float, float, float]  # X, Y, Z in ångström
    angles: tuple[float, float, float]
    axes: tuple[int, int, int]  # which of X, Y, Z (1, 2, 3) columns, rows and sections run along
    space_group: int
    extended: int
    extended_type: bytes
    origin: tuple[float, float, float]
    unsigned_bytes: bool

    @classmethod
    def parse(cls, start: bytes, path: Path) -> tuple["_Header", tuple[Problem, ...]]:
        """Read the header in the byte order of its machine stamp, or in the other one if only that makes sense: noted."""
        stamped = {0x44: "<", 0x11: ">"}.get(start[212])
        orders = [stamped] if stamped else []
        for order in [*orders, *(o for o in "<>" if o != stamped)]:
            header = cls._in_order(start, order)
            if sorted(header.axes) in ([0, 0, 0], [1, 2, 3]) and 0 <= header.mode < 256 and min(header.lengths) >= 0:
                break
        else:
            message = "Mode, sizes and axes of the header make no sense in either byte order. Get a fresh copy of the file."
            raise refuse(path, "corrupt", message)
        if header.extended < 0 or min(header.lengths) < 1:
            message = f"Sizes must be positive; the header says {header.lengths} and an extended header of {header.extended} bytes."
            raise refuse(path, "corrupt", message)
        if order == stamped:
            return header, ()
        found = {"<": "little", ">": "big"}[order]
        message = f"The machine stamp {start[212:216].hex()} does not fit the header; it was read as {found}-endian, which makes sense."
        return header, (Problem(path.name, "machine-stamp", message),)

    @classmethod
    def _in_order(cls, start: bytes, order: str) -> "_Header":
        def words(at: int, code: str) -> tuple[Any, ...]:
            return struct.unpack_from(order + code, start, at)

        lengths, mode, first, grid = words(0, "3i"), words(12, "i")[0], words(16, "3i"), words(28, "3i")
        stamp, flags = words(152, "2i")
        return cls(
            order, lengths, mode, first, grid, words(40, "3f"), words(52, "3f"), words(64, "3i"), words(88, "i")[0], words(92, "i")[0],
            start[104:108], words(196, "3f"), stamp == _IMOD and not flags & _IMOD_SIGNED,
        )  # fmt: skip

    def dtype(self, path: Path) -> np.dtype[Any]:
        if self.mode in (3, 4):
            raise refuse(
                path, "complex", f"Pixels must be real numbers; mode {self.mode} is complex. Save magnitude and phase as two maps."
            )
        if self.mode not in _TYPES:
            known = ", ".join(str(mode) for mode in _TYPES)
            raise refuse(path, "dtype", f"The mode must be one of {known}; it is {self.mode}. Convert the map (IMOD: `newstack -mode 1`).")
        return np.dtype("u1" if self.mode == 0 and self.unsigned_bytes else self.order + _TYPES[self.mode])

    def along(self, values: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        """Return X, Y, Z values in the order columns, rows, sections; files that name no axes have them in that order."""
        axes = self.axes if any(self.axes) else (1, 2, 3)
        return values[axes[0] - 1], values[axes[1] - 1], values[axes[2] - 1]

    def placement(self) -> dict[str, Any]:
        """Return what fits a map into its unit cell."""
        found: dict[str, Any] = {}
        if all(np.isfinite(self.origin)) and any(self.origin):
            found["origin_angstrom"] = [float(v) for v in self.origin]
        if any(self.first):
            found["grid_start"] = list(self.first)
        if any(self.axes) and self.axes != (1, 2, 3):
            found["cell_axes"] = "".join("XYZ"[a - 1] for a in self.axes)
        return found


def _start(path: Path, head: bytes) -> bytes:
    """Return the first bytes of the content; empty or short when a packed stream is damaged."""
    if head.startswith(GZIP):
        return inflate_start(head, _START)
    if head.startswith(_BZIP2):
        try:
            with bz2.BZ2File(path) as stream:
                return stream.read(_START)
        except (OSError, EOFError, ValueError):
            return b""
    return head


def _axes(header: _Header, wishes: Wishes, path: Path) -> tuple[str, tuple[int, ...], tuple[Problem, ...]]:
    """Return letters and shape, slowest first."""
    columns, rows, sections = header.lengths
    depth = header.grid[2]
    if header.space_group in _VOLUME_STACKS:
        if depth < 1 or sections % depth:
            message = f"A stack of volumes must hold whole ones; {sections} sections are no multiple of {depth}. Repair the header."
            raise refuse(path, "axes", message)
        return "tzyx", (sections // depth, depth, rows, columns), ()
    if sections == 1:
        return "yx", (rows, columns), ()
    stack = header.space_group == 0 and depth == 1
    letters = "tyx" if stack else "zyx"
    if wishes.axes is not None:
        if wishes.axes not in ("zyx", "tyx", "cyx"):
            raise refuse(path, "axes", f"The sections of a map may be z, t or c (zyx, tyx, cyx); got {wishes.axes!r}.")
        return wishes.axes, (sections, rows, columns), ()
    message = f"The header says a stack of {sections} pictures, not of what; taken as time ('tyx'). Set `axes` if that is wrong."
    return letters, (sections, rows, columns), (Problem(path.name, "axis-not-named", message),) if stack else ()


def _stated(header: _Header, fei: dict[str, float], letters: str, wishes: Wishes, path: Path) -> tuple[Stated, tuple[Problem, ...]]:
    """Return cell over grid, else FEI's pixel size. Exactly 1 Å everywhere is what some programs write who know nothing: noted."""
    steps = [c / g if g > 0 and np.isfinite(c) and c > 0 else 0.0 for c, g in zip(header.cell, header.grid, strict=True)]
    sizes = {a: (float(f"{v:.7g}"), "angstrom") for a, v in zip("xyz", header.along((steps[0], steps[1], steps[2])), strict=True)}
    for axis in ("x", "y"):
        pixel = fei.get(f"pixel_{axis}", 0.0) * 1e10
        known = sizes[axis][0]
        if pixel > 0 and known > 0 and abs(pixel / known - 1) > AGREE and not wishes.override:
            message = (
                f"Header and extended header must agree on the pixel size; they say {known:.6g} and {pixel:.6g} Å along {axis}. Give the "
                "spacing and --override-spacing."
            )
            raise refuse(path, "spacing-contradiction", message)
        if pixel > 0 and not known > 0:
            sizes[axis] = (pixel, "angstrom")
    notes = []
    if all(sizes[a][0] == 1.0 for a in letters if a in "xyz"):
        message = "The header says exactly 1 ångström a sample, which programs also write when they do not know it. Check it."
        notes.append(Problem(path.name, "default-spacing", message))
    if any(a not in (0.0, 90.0) for a in header.angles):
        angles = ", ".join(f"{a:g}" for a in header.angles)
        notes.append(Problem(path.name, "not-orthogonal", f"The axes of the cell meet at {angles} degrees; spacing runs along the axes."))
    return Stated.of({a: sizes[a] for a in letters if a in sizes}), tuple(notes)


def _fei(start: bytes, header: _Header) -> dict[str, float]:
    """Return what the first record of an FEI extended header says; silent where there is none."""
    record = start[_HEADER : _HEADER + header.extended]
    if header.extended_type not in (b"FEI1", b"FEI2") or len(record) < 427:
        return {}

    def double(at: int) -> float:
        return float(struct.unpack_from(header.order + "d", record, at)[0])

    found = {name: double(at) for at, name in _FEI.items()}
    found |= {f"pixel_{axis}": double(at) for axis, at in zip("xy", _FEI_PIXEL_M, strict=True)}
    return {name: value for name, value in found.items() if np.isfinite(value) and value != 0}
