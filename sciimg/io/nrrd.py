"""NRRD: ``.nrrd`` (header and data in one file) and ``.nhdr`` (data in a file beside it). Space LPS or LAS is turned to RAS.

The header says which dimension is space, time or channels (``kinds``, ``space directions``); where it does not, and there are more than
three, the user is asked. Free ``key:=value`` pairs may hold anything, names too: only those of a diffusion scan are looked at.

References
----------
Definition of NRRD file format, https://teem.sourceforge.net/nrrd/format.html
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.beside import data_file, digest_files
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Image, accepted_dtype, check_axes, default_channels
from sciimg.io.orientation import LAS, LPS, RAS, in_mm_by_custom, placed
from sciimg.io.raw import Coding, Numbers, lazy
from sciimg.io.spacing import Stated, Wishes, in_known_unit, settle
from sciimg.types import AXES

EXTENSIONS = (".nrrd", ".nhdr")
_LONGEST = 1 << 20  # bytes of header
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    **{"float": "f4", "double": "f8"},
}
_CODINGS: Mapping[str, Coding] = {
    "raw": "plain", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2", "txt": "text", "text": "text", "ascii": "text",
}  # fmt: skip
_SPACES = {
    **dict.fromkeys(("right-anterior-superior", "ras", "right-anterior-superior-time", "rast"), RAS),
    **dict.fromkeys(("left-anterior-superior", "las", "left-anterior-superior-time", "last"), LAS),
    **dict.fromkeys(("left-posterior-superior", "lps", "left-posterior-superior-time", "lpst"), LPS),
}
_PLACES, _COLOURS = ("domain", "space"), ("rgb-color", "rgba-color")
_VECTORS = ("list", "point", "vector", "covariant-vector", "normal", "stub", "scalar", "hsv-color", "xyz-color", "quaternion")
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3}
Fields = Mapping[str, str]


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of an NRRD file."""
    return head.startswith(b"NRRD000")


def parts(path: Path) -> list[Path]:
    """Return the header and, where that is another file, its data."""
    fields, _ = _read_header(path)
    data = _data(path, fields)
    return [path] if data == path else [path, data]


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the image: ``[t][c][z]yx``.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``absurd-size``, ``too-large``, ``complex``, ``dtype``, ``encoding``, ``unknown-axes``, ``axes``,
        ``path-escape``, ``data-file-missing``, ``several-data-files``, ``singular-affine``, ``spacing-contradiction``,
        ``unknown-spacing``.
    """
    fields, end = _read_header(path)
    with decoding(path, what="The NRRD header cannot be read"):
        lengths = tuple(int(n) for n in fields["sizes"].split())
        if len(lengths) != int(fields["dimension"]):
            raise ValueError(f"dimension is {fields['dimension']}, sizes has {len(lengths)}")
        said = _Axes.of(fields, len(lengths))
    data = _data(path, fields)
    numbers = _numbers(path, data, end, fields, lengths[::-1])
    letters, axis_notes = _letters(said, lengths, wishes, path)
    size_notes = numbers.check(wishes.memory_limit)
    ordered = "".join(a for a in AXES if a in letters)
    check_axes(ordered, str(path))
    order = tuple(len(lengths) - 1 - letters.index(a) for a in ordered)
    affine, stated, notes = _geometry(fields, said, letters, path)
    spacing, more = settle(ordered, stated, wishes, path)
    final = accepted_dtype(numbers.dtype, str(path))
    colour = "c" in letters and said.kinds[letters.index("c")] in _COLOURS
    return Image(
        load=lazy(numbers, order, final),
        axes=ordered,
        shape=tuple(numbers.shape[i] for i in order),
        dtype=final,
        spacing=spacing,
        channels=default_channels(lengths[letters.index("c")] if "c" in letters else 1, colour=colour),
        source=path.name,
        hash=lambda: digest_files([path] if data == path else [path, data]),
        affine=affine,
        acquisition=_acquisition(fields, said, letters),
        problems=(*axis_notes, *notes, *size_notes, *more),
        memory_limit=wishes.memory_limit,
    )


@dataclass(frozen=True)
class _Axes:
    """What the header says of each dimension, fastest first; lists are as long as there are dimensions."""

    kinds: list[str]
    directions: list[NDArray[np.float64] | None]
    has_directions: bool
    spacings: list[float]
    units: list[str]

    @classmethod
    def of(cls, fields: Fields, count: int) -> "_Axes":
        kinds = fields.get("kinds", " ".join(["???"] * count)).lower().split()
        directions = _vectors(fields.get("space directions", " ".join(["none"] * count)))
        spacings = [float(v) for v in fields.get("spacings", " ".join(["nan"] * count)).split()]
        units = _quoted(fields["units"]) if "units" in fields else [""] * count
        for name, values in (("kinds", kinds), ("space directions", directions), ("spacings", spacings), ("units", units)):
            if len(values) != count:
                raise ValueError(f"{name} must speak of {count} dimensions; it speaks of {len(values)}")
        return cls(kinds, directions, "space directions" in fields, spacings, units)


def _read_header(path: Path) -> tuple[Fields, int]:
    """Return fields (and ``key:=value`` pairs under ``key:=``), lower case, and where the header ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        stream.readline(64)
        while True:
            raw = stream.readline(_LONGEST)
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            if stream.tell() > _LONGEST:
                raise refuse(path, "corrupt", "An NRRD header must end with an empty line; there is none. Get a fresh copy.")
            if not line:
                break
            if line.startswith("#"):
                continue
            key, mark, value = line.partition(":")
            fields[(key + ":=" if value.startswith("=") else key).strip().lower()] = value.removeprefix("=").strip() if mark else ""
        end = stream.tell()
    if "datafile" in fields:
        fields["data file"] = fields["datafile"]
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if missing:
        raise refuse(path, "truncated", f"An NRRD header must name type, dimension, sizes and encoding; {', '.join(missing)} is absent.")
    return fields, end


def _data(path: Path, fields: Fields) -> Path:
    name = fields.get("data file")
    if name is None:
        return path
    if name.upper().startswith("LIST") or ("%" in name and len(name.split()) > 3):
        message = "One file must hold all data; this header names one file a slice. Convert it to a single .nrrd."
        raise refuse(path, "several-data-files", message)
    return data_file(path, name)


def _numbers(path: Path, data: Path, end: int, fields: Fields, shape: tuple[int, ...]) -> Numbers:
    kind = _TYPES.get(fields["type"].lower())
    if kind is None:
        raise refuse(path, "dtype", f"The type must be a kind of number; it is {fields['type']!r}. Convert the file.")
    coding = _CODINGS.get(fields["encoding"].lower())
    if coding is None:
        raise refuse(path, "encoding", f"The encoding must be raw, gzip, bzip2 or text; it is {fields['encoding']!r}. Save it as gzip.")
    endian = fields.get("endian", "").lower()
    if coding != "text" and kind[1] != "1" and endian not in ("little", "big"):
        raise refuse(path, "corrupt", f"Numbers of {kind[1]} bytes need `endian: little` or `big`; it is {endian or 'absent'!r}.")
    dtype = np.dtype((">" if endian == "big" else "<") + kind)
    with decoding(path, what="The NRRD header cannot be read"):
        skip = int(fields.get("byte skip", fields.get("byteskip", "0")))
        lines = int(fields.get("line skip", fields.get("lineskip", "0")))
    if coding != "plain" and (skip or lines):
        raise refuse(path, "encoding", "Bytes or lines can be skipped only before raw data; these are packed or text. Save it again.")
    offset = 0 if data != path else end
    if lines:
        with data.open("rb") as stream:
            stream.seek(offset)
            for _ in range(min(lines, data.stat().st_size)):
                stream.readline()
            offset = stream.tell()
    numbers = Numbers(data, offset + max(skip, 0), shape, dtype, coding)
    if skip == -1:  # the data are the last bytes of the file
        return Numbers(data, max(data.stat().st_size - numbers.size, 0), shape, dtype)
    return numbers


def _letters(said: _Axes, lengths: tuple[int, ...], wishes: Wishes, path: Path) -> tuple[str, tuple[Problem, ...]]:
    """Return a letter for each dimension, fastest first."""
    if any(kind in ("complex", "2-complex") for kind in said.kinds):
        raise refuse(path, "complex", "Pixels must be real numbers; a dimension is `complex`. Save magnitude and phase as two images.")
    if wishes.axes is not None:
        if sorted(wishes.axes) != sorted(set(wishes.axes) & set(AXES)) or len(wishes.axes) != len(lengths):
            message = f"Axes must be one letter of {AXES!r} a dimension, slowest first; got {wishes.axes!r} for {lengths[::-1]}."
            raise refuse(path, "axes", message)
        return wishes.axes[::-1], ()
    letters, places = [], iter("xyzt")
    notes: tuple[Problem, ...] = ()
    for kind, direction in zip(said.kinds, said.directions, strict=True):
        if kind == "time":
            letters.append("t")
        elif kind in _COLOURS or kind in _VECTORS or kind[:1].isdigit():  # 3-vector, 3d-matrix …
            letters.append("c")
        elif direction is not None or (not said.has_directions and (kind in _PLACES or len(lengths) <= 3)):
            letters.append(next(places, "?"))
        else:
            letters.append("?")
    if "z" in letters and letters.count("t") == 1 and said.kinds[letters.index("t")] != "time":
        message = "The header calls four dimensions space; the last is taken as time, as ITK does. Set `axes` if that is wrong."
        notes = (Problem(path.name, "axis-not-named", message),)
    if "?" in letters or len(set(letters)) != len(letters):
        message = f"The header must say what each dimension is (`kinds`); it leaves {''.join(letters[::-1])!r}. Set `axes`, slowest first."
        raise refuse(path, "unknown-axes", message)
    return "".join(letters), notes


def _geometry(fields: Fields, said: _Axes, letters: str, path: Path) -> tuple[NDArray[np.float64] | None, Stated, tuple[Problem, ...]]:
    """Return affine (for a patient's space only), spacing and notes."""
    place = {a: i for i, a in enumerate(letters) if a in "xyz"}
    space = _SPACES.get(fields.get("space", "").lower())
    notes: list[Problem] = []
    if not said.has_directions:
        return None, Stated.of({a: (said.spacings[i], said.units[i]) for a, i in place.items()}), ()
    with decoding(path, what="The NRRD header cannot be read"):
        steps = {a: v for a, i in place.items() if (v := said.directions[i]) is not None}
        origin = _vectors(fields["space origin"])[0] if "space origin" in fields else None
        units = _quoted(fields.get("space units", ""))
        if any(len(v) != len(next(iter(steps.values()))) for v in (*steps.values(), *([] if origin is None else [origin]))):
            raise ValueError("space directions and origin must have as many numbers as the space has dimensions")
    unit = units[0] if units else ""
    if not unit and space is not None:
        unit = "mm"
        notes.append(in_mm_by_custom(path, "NRRD"))
    if len(set(units[:3])) > 1:
        raise refuse(path, "axes", f"The dimensions of space must share a unit; they have {units[:3]}. Repair the header.")
    stated = Stated.of({a: (float(np.linalg.norm(v)), unit) for a, v in steps.items()})
    known = in_known_unit(1.0, unit)
    if space is None or known is None or "x" not in steps or "y" not in steps or any(len(v) < 3 for v in steps.values()):
        return None, stated, tuple(notes)
    factor = known[0] * {"nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0, "pixel": 1.0}[known[1]]
    columns = np.stack([steps[a][:3] if a in steps else np.zeros(3) for a in "xyz"], axis=1)
    if origin is None:
        notes.append(Problem(path.name, "origin-not-stated", "The header gives directions but no origin; the first sample is put at 0."))
        origin = np.zeros(3)
    affine, more = placed(space @ columns * factor, space @ origin[:3] * factor, path)
    return affine, stated, (*notes, *more)


def _acquisition(fields: Fields, said: _Axes, letters: str) -> dict[str, Any]:
    """Return the time step, and the b-value of a diffusion scan."""
    found: dict[str, Any] = {}
    if "t" in letters:
        i = letters.index("t")
        step = said.spacings[i] * _SECONDS.get(said.units[i].lower(), 0.0)
        if step > 0:
            found["time_step_s"] = step
    with suppress(KeyError, ValueError):
        found["DiffusionBValue"] = float(fields["dwmri_b-value:="])
    return found


def _vectors(text: str) -> list[NDArray[np.float64] | None]:
    """Return ``(a,b,c) none (d,e,f)`` as vectors; spaces inside brackets are allowed."""
    found: list[NDArray[np.float64] | None] = []
    for piece in text.replace("none", "(none)").split("(")[1:]:
        inside = piece.partition(")")[0].strip()
        found.append(None if inside == "none" else np.array([float(v) for v in inside.split(",")]))
    return found


def _quoted(text: str) -> list[str]:
    """Return the texts of ``"mm" "" "s"``."""
    return text.split('"')[1::2]
