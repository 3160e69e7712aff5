"""MINC, version 1 (a netCDF file) and 2 (an HDF5 file): the volume in the file's own order of slices, in real values.

Integers mean fractions of the range between ``image-min`` and ``image-max``, which may differ from slice to slice; nibabel works the real
values out. The attributes of patient, study and history are never looked at.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import decoding, refuse
from sciimg.io.hdf5 import SIGNATURE, check_stored, holds, opened
from sciimg.io.image import MEMORY_LIMIT, Box, Image, Load, accepted_dtype, default_channels, too_large
from sciimg.io.orientation import in_mm_by_custom, placed
from sciimg.io.spacing import Stated, Wishes, convert, in_known_unit, settle
from sciimg.records import digest_file

EXTENSIONS = (".mnc", ".mnc2")
_NETCDF, _GROUP = (b"CDF\x01", b"CDF\x02"), b"minc-2.0"
_COSINES = {"xspace": (1.0, 0.0, 0.0), "yspace": (0.0, 1.0, 0.0), "zspace": (0.0, 0.0, 1.0)}
# Acquisition attributes that are numbers of the sequence: MINC's name → DICOM's keyword and factor (MINC has seconds, DICOM ms)
_ACQUISITION = {
    "repetition_time": ("RepetitionTime", 1e3), "echo_time": ("EchoTime", 1e3), "inversion_time": ("InversionTime", 1e3),
    "flip_angle": ("FlipAngle", 1.0), "slice_thickness": ("SliceThickness", 1.0), "num_averages": ("NumberOfAverages", 1.0),
}  # fmt: skip
Content = Any  # nibabel's Minc1File or Minc2File, which carry no types


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of a netCDF file with a MINC dimension, or of an HDF5 file with MINC 2's group."""
    return (head.startswith(_NETCDF) and b"space" in head) or (
        head.startswith(SIGNATURE) and (_GROUP in head or holds(path, _GROUP.decode()))
    )


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the volume as a lazy image: ``[t][z]yx``, z the slowest spatial dimension of the file; the affine says which way it runs.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``too-large``, ``axes``, ``irregular-spacing``, ``external-data``, ``missing-chunks``,
        ``extra-missing``, ``singular-affine``, ``spacing-contradiction``, ``unknown-spacing``.
    """
    volume = _describe(path, wishes.memory_limit)
    letters = _letters(volume, path)
    ordered = "".join(a for a in "tzyx" if a in letters)
    order = tuple(letters.index(a) for a in ordered)
    affine, stated, notes = _geometry(volume, letters, path)
    spacing, more = settle(ordered, stated, wishes, path)
    return Image(
        load=_loader(path, order, volume.final),
        axes=ordered,
        shape=tuple(volume.shape[i] for i in order),
        dtype=volume.final,
        spacing=spacing,
        channels=default_channels(1),
        source=path.name,
        hash=lambda: digest_file(path),
        affine=affine,
        acquisition=_acquisition(volume, letters),
        problems=(*notes, *more),
        memory_limit=wishes.memory_limit,
    )


@dataclass(frozen=True)
class _Volume:
    shape: tuple[int, ...]
    names: tuple[str, ...]  # of the dimensions, slowest first
    dimensions: tuple[Mapping[str, Any], ...]  # their attributes
    acquisition: Mapping[str, Any]
    final: np.dtype[Any]


def _describe(path: Path, limit: int) -> _Volume:
    with path.open("rb") as stream:
        second = stream.read(8) == SIGNATURE
    there = path.stat().st_size
    if not second and there > limit:
        raise too_large(str(path), (there,), there, limit)
    with decoding(path, what="The MINC header cannot be read"), _second(path) if second else _first(path) as (content, attributes):
        shape = tuple(int(n) for n in content.get_data_shape())
        names, dimensions, acquisition = attributes
        stored = np.dtype(content.get_data_dtype())
        if not second and int(np.prod(shape, dtype=object)) * stored.itemsize > there:
            raise refuse(path, "truncated", f"The header declares {shape} voxels; the file has {there} bytes. Get a fresh copy.")
        return _Volume(shape, names, dimensions, acquisition, _final(content, stored, path))


def _final(content: Content, stored: np.dtype[Any], path: Path) -> np.dtype[Any]:
    """Return the dtype of real values: the stored one where integers mean themselves (labels), a floating one where they are scaled."""
    accepted = accepted_dtype(stored, str(path))
    if accepted.kind == "f":
        return accepted
    low, high = content._get_valid_range()
    tops, bottoms = (np.asarray(v.data if hasattr(v, "data") else v[()]) for v in (content._image_max, content._image_min))
    if np.all(tops == high) and np.all(bottoms == low):
        return accepted
    return np.dtype(np.float32 if accepted.itemsize <= 2 else np.float64)


@contextmanager
def _first(path: Path) -> Iterator[tuple[Content, Any]]:
    """MINC 1. The file is read as a whole: the format ends at 2 GB, and a map of it cannot be closed while arrays point into it."""
    from nibabel.externals.netcdf import netcdf_file
    from nibabel.minc1 import Minc1File

    with netcdf_file(str(path), "r", mmap=False) as file:
        names = tuple(file.variables["image"].dimensions)
        _check_dimensions(names, {n: _plain(file.variables[n]._attributes) for n in names if n in file.variables}, path)
        dimensions = tuple(_plain(file.variables[n]._attributes) for n in names)
        acquisition = _plain(file.variables["acquisition"]._attributes) if "acquisition" in file.variables else {}
        yield Minc1File(file), (names, dimensions, acquisition)


@contextmanager
def _second(path: Path) -> Iterator[tuple[Content, Any]]:
    from nibabel.minc2 import Minc2File

    with opened(path, "minc", "MINC 2") as file:
        import h5py

        for name in ("minc-2.0", "minc-2.0/image", "minc-2.0/image/0", "minc-2.0/image/0/image", "minc-2.0/dimensions"):
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise refuse(
                    path, "external-data", f"{name} must lie in the file itself; it is absent or a link. Save the volume as one file."
                )
        group = file["minc-2.0"]
        image = group["image/0/image"]
        check_stored(image, path, MEMORY_LIMIT)
        names = tuple(_text(image.attrs["dimorder"]).split(",")[: image.ndim])
        _check_dimensions(names, {n: _plain(group["dimensions"][n].attrs) for n in names if n in group["dimensions"]}, path)
        dimensions = tuple(_plain(group["dimensions"][n].attrs) for n in names)
        acquisition = _plain(group["info/acquisition"].attrs) if "info/acquisition" in group else {}
        yield Minc2File(file), (names, dimensions, acquisition)


def _check_dimensions(names: tuple[str, ...], found: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    for name in names:
        if name not in found or not (name.endswith("space") or name == "time"):
            raise refuse(path, "axes", f"Dimensions must be x, y, z space and time; there is {name!r}. Convert the volume to NIfTI.")
        if str(found[name].get("spacing", "regular__")).startswith("irregular"):
            raise refuse(path, "irregular-spacing", f"Samples must be evenly spaced; those along {name} are not. Resample the volume.")


def _letters(volume: _Volume, path: Path) -> str:
    spatial = [n for n in volume.names if n.endswith("space")]
    if not 2 <= len(spatial) <= 3 or len(set(volume.names)) != len(volume.names):
        raise refuse(path, "axes", f"A volume has two or three dimensions of space; this one has {', '.join(volume.names)}.")
    places = iter("zyx"[-len(spatial) :])
    return "".join("t" if n == "time" else next(places) for n in volume.names)


def _geometry(volume: _Volume, letters: str, path: Path) -> tuple[NDArray[np.float64] | None, Stated, tuple[Problem, ...]]:
    """Return affine, spacing and notes: start and step run along direction cosines, which need not be of length 1. World is RAS."""
    notes: tuple[Problem, ...] = ()
    sizes: dict[str, tuple[float, str | None]] = {}
    columns, origin, complete = np.zeros((3, 3)), np.zeros(3), True
    with decoding(path, what="The MINC header cannot be read"):
        for letter, name, said in zip(letters, volume.names, volume.dimensions, strict=True):
            if letter == "t":
                continue
            step = float(np.squeeze(said.get("step", 0.0)))
            unit = said.get("units") or None
            if unit is None and step:
                unit, notes = "mm", (in_mm_by_custom(path, "MINC"),)
            sizes[letter] = (abs(step), unit)
            known = in_known_unit(1.0, unit)
            complete &= step != 0 and known is not None
            factor = convert(known[0], known[1], "millimeter") if known else 1.0
            cosines = np.asarray(said.get("direction_cosines", _COSINES.get(name, (np.nan,) * 3)), np.float64).reshape(3)
            cosines = cosines / (np.linalg.norm(cosines) or 1.0)
            columns[:, "xyz".index(letter)] = cosines * step * factor
            origin += cosines * float(np.squeeze(said.get("start", 0.0))) * factor
    stated = Stated.of(sizes)
    if "z" not in letters or not complete:
        return None, stated, notes
    for i in range(3):
        if not columns[:, i].any():
            columns[:, i] = np.nan  # a direction of length 0 is refused, not made up
    affine, more = placed(columns, origin, path)
    return affine, stated, (*notes, *more)


def _acquisition(volume: _Volume, letters: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (keyword, factor) in _ACQUISITION.items():
        value = volume.acquisition.get(name)
        if isinstance(value, int | float) and np.isfinite(value) and value > 0:
            found[keyword] = float(value) * factor
    if "t" in letters:
        said = volume.dimensions[letters.index("t")]
        step = said.get("step", 0.0)
        if isinstance(step, int | float) and np.isfinite(step) and step > 0 and str(said.get("units", "s")) in ("s", "sec", "seconds"):
            found["time_step_s"] = float(step)
    return found


def _loader(path: Path, order: tuple[int, ...], final: np.dtype[Any]) -> Load:
    with path.open("rb") as stream:
        second = stream.read(8) == SIGNATURE

    @lru_cache(maxsize=1)
    def first() -> Content:
        with _first(path) as (content, _):
            return content

    def load(box: Box) -> NDArray[Any]:
        inverse = tuple(box[order.index(i)] for i in range(len(box)))
        with decoding(path, what="The MINC voxels cannot be read"):
            if second:
                with _second(path) as (content, _):
                    real = np.asarray(content.get_scaled_data(inverse))
            else:
                real = np.asarray(first().get_scaled_data(inverse))
        if final.kind in "iu":
            real = np.rint(real)
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused by Image.read
            return real.transpose(order).astype(final)

    return load


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as texts, numbers and arrays."""
    return {str(key): _value(attributes[key]) for key in attributes}


def _value(value: Any) -> Any:
    if isinstance(value, bytes | str):
        return _text(value)
    array = np.asarray(value)
    return array.reshape(-1)[0].item() if array.size == 1 and array.dtype.kind in "iuf" else array


def _text(value: Any) -> str:
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip().strip("\0").strip()
