"""The chain of image file directories of a TIFF. A cut file may end in the middle of it; readers then see fewer planes, or no text."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sciimg.io.faults import refuse

_NDPI = 65420  # Hamamatsu: offsets of a classic TIFF are 64 bits there, and its chain cannot be walked by the standard
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


def refuse_broken_chain(path: Path) -> None:
    """Raise unless every directory, what its entries point to, and the next directory lie inside the file.

    Raises
    ------
    InputError
        Kind ``truncated``, or ``corrupt`` for a chain that bites its tail.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        magic = stream.read(4)
        layout = _Layout("<" if magic[:2] == b"II" else ">", *(BIG if b"+" in magic else CLASSIC))
        seen: set[int] = set()
        at = _number(stream, layout.width, layout.order + layout.offset, size, path)
        while at:
            if at in seen:
                raise refuse(path, "corrupt", f"Page {len(seen)} must follow the others; the file leads back to an earlier one.")
            seen.add(at)
            entries, end = _directory(stream, at, layout, size, path)
            if any(tag == _NDPI for tag, *_ in entries):
                return
            _refuse_values_beyond(entries, layout, size, path)
            at = _number(stream, end, layout.order + layout.offset, size, path)


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
