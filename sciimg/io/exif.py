"""The first directory of Exif, as JPEG and PNG carry it: how the picture is to be turned, and whether it may name a person or a place."""

import struct
from collections.abc import Mapping
from pathlib import Path

from sciimg.errors import Problem

_ORIENTATION = 274
_PERSONAL: Mapping[int, str] = {
    **{315: "Artist", 316: "HostComputer", 33432: "Copyright", 34853: "GPS position"},
    **{40091: "XPTitle", 40092: "XPComment", 40093: "XPAuthor", 40094: "XPKeywords"},
}


def read_exif(data: bytes) -> tuple[int, tuple[str, ...]]:
    """Return the orientation (1: as stored) and the names of personal fields in Exif, which is a TIFF without pixels.

    Damage is silence: nothing of Exif is needed to read the picture.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        entries = dict(struct.unpack_from(order + "H6xH", data, start + 2 + 12 * i) for i in range(count))
    except struct.error:
        return 1, ()
    turned = entries.get(_ORIENTATION, 1)
    return (turned if 1 <= turned <= 8 else 1), tuple(name for tag, name in _PERSONAL.items() if tag in entries)


def note_turned(path: Path, orientation: int) -> tuple[Problem, ...]:
    """Return a note for pictures that programs show turned or mirrored."""
    if orientation == 1:
        return ()
    message = f"The file asks to be shown turned or mirrored (orientation {orientation}); its pixels are read as they are stored."
    return (Problem(path.name, "turned", message),)
