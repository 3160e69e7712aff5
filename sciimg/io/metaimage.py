"""MetaImage: ``.mha`` (header and data in one file) and ``.mhd`` (data in a file beside it). World coordinates are ITK's: LPS, mm.

The header is a list of ``key = value`` that ends with ``ElementDataFile``. Only keys known here are looked at.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.beside import data_file, digest_files
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Image, accepted_dtype, default_channels
from sciimg.io.orientation import LPS, in_mm_by_custom, placed
from sciimg.io.raw import Coding, Numbers, lazy
from sciimg.io.spacing import Stated, Wishes, settle

EXTENSIONS = (".mha", ".mhd")
_TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4",
    "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
_LONGEST = 1 << 16  # bytes of header
_LETTERS = "xyzt"
Fields = Mapping[str, str]


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are ``key = value`` lines, one of which is ``NDims``: the format has no other mark."""
    return re.match(rb"\s*[A-Za-z]\w*[ \t]*=", head) is not None and re.search(rb"(?m)^\s*NDims[ \t]*=", head) is not None


def parts(path: Path) -> list[Path]:
    """Return the header and, where that is another file, its data."""
    fields, offset = _read_header(path)
    data, _ = _place(path, fields, offset)
    return [path] if data == path else [path, data]


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the image: ``[t][c][z]yx``.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``absurd-size``, ``too-large``, ``complex``, ``dtype``, ``axes``, ``path-escape``,
        ``data-file-missing``, ``several-data-files``, ``singular-affine``, ``spacing-contradiction``, ``unknown-spacing``.
    """
    fields, offset = _read_header(path)
    with decoding(path, what="The MetaImage header cannot be read"):
        dims = int(fields["ndims"])
        lengths = [int(n) for n in fields["dimsize"].split()]
        channels = int(fields.get("elementnumberofchannels", "1"))
        if len(lengths) != dims:
            raise ValueError(f"NDims is {dims}, DimSize names {len(lengths)}")
    if not 2 <= dims <= 4:
        raise refuse(path, "axes", f"An image has x, y, and perhaps z and time; the header declares {dims} dimensions.")
    data, offset = _place(path, fields, offset)
    numbers, size_notes = _numbers(path, data, offset, fields, (*lengths[::-1], *([channels] if channels != 1 else [])), wishes)
    letters = _LETTERS[:dims][::-1] + ("c" if channels != 1 else "")
    ordered = "".join(a for a in "tczyx" if a in letters)
    order = tuple(letters.index(a) for a in ordered)
    affine, stated, notes = _geometry(fields, dims, path)
    spacing, more = settle(ordered, stated, wishes, path)
    final = accepted_dtype(numbers.dtype, str(path))
    return Image(
        load=lazy(numbers, order, final),
        axes=ordered,
        shape=tuple(numbers.shape[i] for i in order),
        dtype=final,
        spacing=spacing,
        channels=default_channels(channels, colour=final == np.uint8),
        source=path.name,
        hash=lambda: digest_files([path] if data == path else [path, data]),
        affine=affine,
        acquisition=_acquisition(fields),
        problems=(*notes, *size_notes, *more),
        memory_limit=wishes.memory_limit,
    )


def _read_header(path: Path) -> tuple[Fields, int]:
    """Return the fields under lower-case names, and where the header ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        while "elementdatafile" not in fields:
            line = stream.readline(_LONGEST)
            if not line or stream.tell() > _LONGEST:
                raise refuse(
                    path, "truncated", "A MetaImage header must end with `ElementDataFile = …`; this one does not. Get a fresh copy."
                )
            key, equals, value = line.decode("utf-8", "replace").partition("=")
            if equals:
                fields[key.strip().lower()] = value.strip()
        return fields, stream.tell()


def _place(path: Path, fields: Fields, end: int) -> tuple[Path, int]:
    """Return the file with the data and where they begin in it; -1 says that they end with the file."""
    name = fields["elementdatafile"]
    with decoding(path, what="The MetaImage header cannot be read"):
        skip = int(fields.get("headersize", "0"))
    if name.upper() == "LOCAL":
        return path, end
    if name.upper().startswith("LIST") or "%" in name:
        message = "One file must hold all data; this header names one file a slice. Convert it to .mha, or name the folder of slices."
        raise refuse(path, "several-data-files", message)
    return data_file(path, name), skip


def _numbers(
    path: Path, data: Path, offset: int, fields: Fields, shape: tuple[int, ...], wishes: Wishes
) -> tuple[Numbers, tuple[Problem, ...]]:
    kind = fields.get("elementtype", "").upper().removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise refuse(path, "dtype", f"ElementType must be a kind of number; it is {fields.get('elementtype', 'absent')!r}. Convert it.")
    big = _true(fields, "binarydatabyteordermsb") or _true(fields, "elementbyteordermsb")
    dtype = np.dtype((">" if big else "<") + _TYPES[kind])
    if min(shape) < 1:
        raise refuse(path, "empty-image", f"Every axis must have at least one sample; DimSize and channels are {shape[::-1]}.")
    coding: Coding = "text" if not _true(fields, "binarydata", "true") else "zlib" if _true(fields, "compresseddata") else "plain"
    if offset < 0:  # HeaderSize = -1
        offset = data.stat().st_size - Numbers(data, 0, shape, dtype).size if coding == "plain" else 0
        if offset < 0:
            offset = 0  # the check of sizes says it better
    numbers = Numbers(data, offset, shape, dtype, coding)
    return numbers, numbers.check(wishes.memory_limit)


def _true(fields: Fields, key: str, default: str = "false") -> bool:
    return fields.get(key, default)[:1].lower() in ("t", "1", "y")


def _geometry(fields: Fields, dims: int, path: Path) -> tuple[NDArray[np.float64] | None, Stated, tuple[Problem, ...]]:
    """Return affine, spacing and notes. Directions are listed axis by axis, each with as many numbers as the image has dimensions."""
    spacing = _floats(fields, ("elementspacing", "elementsize"), dims, path)
    matrix = _floats(fields, ("transformmatrix", "rotation", "orientation"), dims * dims, path)
    origin = _floats(fields, ("offset", "position", "origin"), dims, path)
    unit = fields.get("distanceunits")
    if spacing is None:
        return None, Stated(), ()
    space = min(dims, 3)
    notes: tuple[Problem, ...] = ()
    if unit is None and (matrix is not None or origin is not None):
        unit, notes = "mm", (in_mm_by_custom(path, "MetaImage"),)
    stated = Stated.of({a: (float(v), unit) for a, v in zip(_LETTERS[:space], spacing, strict=False)})
    # Only what lies in three dimensions lies in a patient; a picture's two have no anterior and no left.
    if dims < 3 or matrix is None or unit is None or unit.lower() != "mm":
        return None, stated, notes
    turn = matrix.reshape(dims, dims)[:3, :3].T
    at = np.zeros(3) if origin is None else origin[:3]
    affine, more = placed(LPS @ turn * spacing[:3], LPS @ at, path)
    return affine, stated, (*notes, *more)


def _floats(fields: Fields, names: tuple[str, ...], count: int, path: Path) -> NDArray[np.float64] | None:
    name = next((n for n in names if n in fields), None)
    if name is None:
        return None
    with decoding(path, what="The MetaImage header cannot be read"):
        values = np.array([float(v) for v in fields[name].split()])
        if len(values) != count:
            raise ValueError(f"{name} must have {count} numbers; it has {len(values)}")
    return values


def _acquisition(fields: Fields) -> dict[str, Any]:
    return {"Modality": fields["modality"][8:]} if fields.get("modality", "") in _MODALITIES else {}


_MODALITIES = ("MET_MOD_CT", "MET_MOD_MR", "MET_MOD_NM", "MET_MOD_US")
