"""The chain of image file directories of a TIFF. A cut file may end in the middle of it; readers then see fewer planes, or no text.

Readers of stacks look into the first directory only and take the others to be like it, so what each page declares is kept here.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sciimg.io.faults import refuse

_NDPI = 65420  # Hamamatsu: links between directories are 64 bits there, and the upper halves of values follow the link
# What pages of one stack must have in common: width, length, compression, photometric, samples a pixel, planar configuration.
_SHARED = (256, 257, 259, 262, 277, 284)
_DEFAULTS = {259: 1, 277: 1, 284: 1}  # TIFF 6.0
# Bytes of one value by field type (TIFF 6.0, section 2; 13 IFD; 16 to 18 BigTIFF).
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class _Layout:
    """Widths of a classic TIFF or a BigTIFF."""

    order: str  # of bytes, for struct
    count: str  # entries of a directory
    offset: str  # offsets, and the number of values of an entry

    @property
    def width(self) -> int:
        return struct.calcsize(self.offset)

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + "HH" + self.offset * 2)


CLASSIC, BIG = ("H", "I"), ("Q", "Q")
Declared = tuple[int | None, ...]  # the values of ``_SHARED``


def walk_chain(path: Path) -> dict[int, Declared]:
    """Return what each page declares, by the offset of its directory, in order.

    Every directory, what its entries point to, and the next directory must lie inside the file.

    Raises
    ------
    InputError
        Kind ``truncated``, or ``corrupt`` for a chain that bites its tail.
    """
    size = path.stat().st_size
    pages: dict[int, Declared] = {}
    with path.open("rb") as stream:
        magic = stream.read(4)
        layout = _Layout("<" if magic[:2] == b"II" else ">", *(BIG if b"+" in magic else CLASSIC))
        wide = path.suffix.lower() == ".ndpi" and b"*" in magic
        link = layout.order + ("Q" if wide else layout.offset)
        at = _number(stream, 4 if wide else layout.width, link, size, path)
        while at:
            if at in pages:
                raise refuse(path, "corrupt", f"Page {len(pages)} must follow the others; the file leads back to an earlier one.")
            entries, end = _directory(stream, at, layout, size, path)
            pages[at] = _declared(entries, layout)
            hamamatsu = any(tag == _NDPI for tag, *_ in entries)
            if hamamatsu and not wide:
                return pages
            if not hamamatsu:
                _refuse_values_beyond(entries, layout, size, path)
            at = _number(stream, end, link, size, path)
    return pages


def _declared(entries: list[tuple[int, ...]], layout: _Layout) -> Declared:
    found = {tag: _inline(kind, value, layout) for tag, kind, count, value in entries if count == 1 and tag in _SHARED}
    return tuple(found.get(tag, _DEFAULTS.get(tag)) for tag in _SHARED)


def _inline(kind: int, value: int, layout: _Layout) -> int:
    """Return a short value, which a big-endian file keeps in the upper half of its field."""
    spare = 8 * (layout.width - _SIZES.get(kind, layout.width))
    return value >> spare if layout.order == ">" else value & ((1 << (8 * layout.width - spare)) - 1)


def _directory(stream: BinaryIO, at: int, layout: _Layout, size: int, path: Path) -> tuple[list[tuple[int, ...]], int]:
    """Return the entries (tag, type, number of values, value or offset) of a directory, and where it ends."""
    form = layout.order + layout.count
    count = _number(stream, at, form, size, path)
    start = at + struct.calcsize(form)
    end = start + count * layout.entry.size
    if end > size:
        raise _cut(path, end, size)
    stream.seek(start)
    return list(layout.entry.iter_unpack(stream.read(end - start))), end


def _refuse_values_beyond(entries: list[tuple[int, ...]], layout: _Layout, size: int, path: Path) -> None:
    for _, kind, count, offset in entries:
        length = _SIZES.get(kind, 0) * count
        if length > layout.width and offset + length > size:
            raise _cut(path, offset + length, size)


def _number(stream: BinaryIO, at: int, form: str, size: int, path: Path) -> int:
    end = at + struct.calcsize(form)
    if end > size:
        raise _cut(path, end, size)
    stream.seek(at)
    return int(struct.unpack(form, stream.read(struct.calcsize(form)))[0])


def _cut(path: Path, end: int, size: int) -> Exception:
    return refuse(path, "truncated", f"The description of the pages should reach to byte {end}; the file ends at {size}. Get a fresh copy.")
