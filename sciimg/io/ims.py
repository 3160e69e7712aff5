"""Imaris 5.5 files (HDF5 with a fixed layout): full resolution, all time points and channels, cropped to the real size.

Imaris pads its arrays to whole chunks and writes every attribute as an array of characters. Names, descriptions and dates are not kept.

References
----------
Imaris 5.5 file format, https://imaris.oxinst.com/support/imaris-file-format
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import decoding, refuse, refusing
from sciimg.io.hdf5 import SIGNATURE, Content, attributes, check_stored, holds, member, opened, text
from sciimg.io.image import Box, Image, accepted_dtype, default_channels
from sciimg.io.personal import note_personal
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.records import digest_file
from sciimg.types import Channel

EXTENSIONS = (".ims",)
_LEVEL = "DataSet/ResolutionLevel 0"
_DIRECTION = "012"  # Imaris counts x, y, z
_PERSONAL = ("name", "description", "user", "author", "operator")
_UNFILLED = ("", "(name not specified)", "(description not specified)", "not specified")
Texts = Mapping[str, str]


def sniff(head: bytes, path: Path) -> bool:
    """Whether an HDF5 file has the two groups of Imaris; else whether their names stand near the start."""
    if not head.startswith(SIGNATURE):
        return False
    return holds(path, "DataSet", "DataSetInfo") or (b"DataSetInfo" in head and b"ImarisDataSet" in head)


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the image: ``[t][c][z]yx``, axes of length 1 left out.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``locked``, ``extra-missing``, ``missing-time-point``, ``missing-channel``, ``external-link``,
        ``external-data``, ``missing-chunks``, ``unknown-filter``, ``too-large``, ``dtype``, ``unknown-spacing``,
        ``spacing-contradiction``.
    """
    with decoding(path, what="The Imaris file cannot be read"), opened(path, "hdf5", "Imaris") as file:
        info = _required(file, "DataSetInfo", path)
        said = _texts(_required(info, "Image", path))
        times = member(info, "TimeInfo", path)
        clock = _texts(times) if times is not None else {}
        dyes = [_texts(_required(info, f"Channel {i}", path)) for i in range(_numbered(info, "Channel"))]
        declared = int(clock.get("DatasetTimePoints") or clock.get("FileTimePoints") or 0)
        points, channels, dtype = _checked(file, declared, len(dyes), path, wishes.memory_limit)
        size = tuple(int(said[a]) for a in "ZYX")
        stored = tuple(int(n) for n in file[_data(0, 0)].shape)
        if len(stored) != 3 or any(not 0 < n <= m for n, m in zip(size, stored, strict=True)):
            raise refuse(path, "corrupt", f"The size {size} must fit into the stored array; that is {stored}. Export the image again.")
        stated, notes = _stated(said, size, path)
        found = _acquisition(said, clock, dyes, points)
        names = _channels(dyes, channels)
    full = dict(zip("tczyx", (points, channels, *size), strict=True))
    axes = "".join(a for a, n in full.items() if n > 1 or a in "yx")
    spacing, more = settle(axes, stated, wishes, path)
    final = accepted_dtype(dtype, str(path))

    def load(box: Box) -> NDArray[Any]:
        at = dict(zip(axes, box, strict=True))
        t, c, z, y, x = (at.get(a, slice(0, 1)) for a in "tczyx")
        whole = tuple(max(0, s.stop - s.start) for s in (t, c, z, y, x))
        pixels = np.empty(whole, final)
        with refusing(path, what="The Imaris voxels cannot be decoded"), opened(path, "hdf5", "Imaris") as file:
            for i in range(whole[0]):
                for j in range(whole[1]):
                    pixels[i, j] = file[_data(t.start + i, c.start + j)][z, y, x]
        return pixels.reshape(tuple(n for a, n in zip("tczyx", whole, strict=True) if a in axes))

    return Image(
        load=load,
        axes=axes,
        shape=tuple(full[a] for a in axes),
        dtype=final,
        spacing=spacing,
        channels=names,
        source=path.name,
        hash=lambda: digest_file(path),
        acquisition=found,
        problems=(*notes, *more, *note_personal(path, _personal(said))),
        memory_limit=wishes.memory_limit,
    )


def _data(t: int, c: int) -> str:
    return f"{_LEVEL}/TimePoint {t}/Channel {c}/Data"


def _required(group: Content, name: str, path: Path) -> Content:
    found = member(group, name, path)
    if found is None:
        raise refuse(path, "corrupt", f"An Imaris file has a group {name!r}; this one has none. Export the image again.")
    return found


def _texts(group: Content) -> dict[str, str]:
    return {key: text(value) for key, value in attributes(group).items()}


def _numbered(group: Content, kind: str) -> int:
    """Return one more than the highest number of ``kind N`` in a group, so that gaps are noticed."""
    numbers = [int(n) for key in group if (n := str(key).removeprefix(f"{kind} ")) != key and n.isdecimal()]
    return max(numbers, default=-1) + 1


def _checked(file: Content, points: int, channels: int, path: Path, limit: int) -> tuple[int, int, np.dtype[Any]]:
    """Return the numbers of time points and channels and the type of voxel, once every array has been found sound and alike."""
    level = _required(file, _LEVEL, path)
    points = max(points, _numbered(level, "TimePoint"))
    first = member(level, "TimePoint 0", path)
    channels = max(channels, _numbered(first, "Channel") if first is not None else 0)
    if not points or not channels:
        raise refuse(path, "corrupt", f"An image has a time point and a channel; there are {points} and {channels}. Export it again.")
    alike: set[tuple[Any, ...]] = set()
    for t in range(points):
        point = member(level, f"TimePoint {t}", path)
        if point is None:
            message = f"All of the {points} time points must be there; number {t} is not. Export the image again."
            raise refuse(path, "missing-time-point", message)
        for c in range(channels):
            array = member(point, f"Channel {c}/Data", path)
            if array is None:
                message = f"Every time point must have all of the {channels} channels; number {c} is missing at time point {t}."
                raise refuse(path, "missing-channel", f"{message} Export the image again.")
            check_stored(array, path, limit)
            alike.add((array.shape, array.dtype))
    if len(alike) > 1:
        raise refuse(path, "corrupt", f"Time points and channels must be alike in shape and type; there are {len(alike)} kinds of them.")
    return points, channels, next(iter(alike))[1]


def _stated(said: Texts, size: tuple[int, ...], path: Path) -> tuple[Stated, tuple[Problem, ...]]:
    """Return extent over size; exactly 1 everywhere is what Imaris writes for images without a calibration: noted."""
    sizes: dict[str, tuple[float, str | None]] = {}
    for axis, direction, count in zip("xyz", _DIRECTION, reversed(size), strict=True):
        step = (_number(said.get(f"ExtMax{direction}")) - _number(said.get(f"ExtMin{direction}"))) / count
        sizes[axis] = (float(f"{abs(step):.7g}") if np.isfinite(step) else 0.0, said.get("Unit") or "um")
    if any(sizes[a][0] != 1.0 for a in "xy"):
        return Stated.of(sizes), ()
    message = f"The file says exactly 1 {sizes['x'][1]} a sample, which programs also write when they do not know it. Check it."
    return Stated.of(sizes), (Problem(path.name, "default-spacing", message),)


def _channels(dyes: list[dict[str, str]], count: int) -> tuple[Channel, ...]:
    default = default_channels(count)
    names = [d.get("Name", "") for d in dyes]
    if len(names) != count or not all(n not in _UNFILLED for n in names) or len(set(names)) != count:
        names = [c.name for c in default]
    waves = [_positive(d.get("LSMEmissionWavelength")) for d in dyes] if len(dyes) == count else [None] * count
    return tuple(Channel(n, w) for n, w in zip(names, waves, strict=True))


def _acquisition(said: Texts, clock: Texts, dyes: list[dict[str, str]], points: int) -> dict[str, Any]:
    """Return objective, wavelengths and time step; one value a channel is None where it is not known."""
    found: dict[str, Any] = {
        "magnification": _positive(said.get("LensPower", "").lower().rstrip("x")),
        "numerical_aperture": _positive(said.get("NumericalAperture")),
        "excitation_nm": [_positive(d.get("LSMExcitationWavelength")) for d in dyes],
        "emission_nm": [_positive(d.get("LSMEmissionWavelength")) for d in dyes],
        "time_step_s": _time_step(clock, points),
    }
    return {k: v for k, v in found.items() if (any(e is not None for e in v) if isinstance(v, list) else v is not None)}


def _time_step(clock: Texts, points: int) -> float | None:
    """Return the time between points where all are equally far apart (to one percent); of the dates only differences are used."""
    try:
        moments = [datetime.fromisoformat(clock[f"TimePoint{i}"]) for i in range(1, points + 1)]
        steps = [(b - a).total_seconds() for a, b in pairwise(moments)]
    except (KeyError, ValueError, TypeError):
        return None
    mean = sum(steps) / len(steps) if steps else 0.0
    return mean if mean > 0 and all(abs(s - mean) <= 0.01 * mean for s in steps) else None


def _personal(said: Texts) -> list[str]:
    return [k for k, v in said.items() if any(p in k.lower() for p in _PERSONAL) and v.lower() not in _UNFILLED]


def _number(value: str | None) -> float:
    try:
        return float(value or "nan")
    except ValueError:
        return float("nan")


def _positive(value: str | None) -> float | None:
    number = _number(value)
    return number if 0 < number < float("inf") else None
