"""OME-Zarr 0.4 and 0.5 from any program, and plain Zarr arrays: the finest level of the first image, axes in whatever order.

Chunks that are absent read as the fill value, which the format allows and a broken copy does too: how many there are is noted.

References
----------
Next-generation file formats, https://ngff.openmicroscopy.org/0.4 and /0.5
"""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.files import read_part
from sciimg.io.faults import decoding, refuse, refusing
from sciimg.io.image import Box, Image, accepted_dtype, check_axes, default_channels, too_large
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.objects import THREADS, ObjectPath, zarr_place
from sciimg.records import Digest, digest_file, digest_of
from sciimg.types import AXES, SPATIAL, Channel

EXTENSIONS = (".zarr",)
METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_LARGEST_JSON = 64 * 2**20
Attributes = Mapping[str, Any]


def sniff(head: bytes, path: Path) -> bool:
    """No single file is an image of this format; see :func:`holds`."""
    return False


def holds(folder: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((folder / name).is_file() for name in METADATA)


def digest_folder(folder: Path) -> Digest:
    """Return one digest over the names and digests of all files of a folder."""
    return digest_of({p.relative_to(folder).as_posix(): digest_file(p) for p in sorted(folder.rglob("*")) if p.is_file()})


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the image: ``[t][c][z]yx``.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``not-ome-zarr``, ``path-escape``, ``too-large``, ``complex``, ``dtype``, ``unknown-axes``,
        ``axes``, ``unknown-spacing``, ``spacing-contradiction``.
    """
    import zarr

    place, said = _described(path)
    inside, letters, scales, units = _level(said, place)
    with decoding(path, what="The Zarr array cannot be opened"):
        array: Any = zarr.open_array(zarr_place(place / inside), mode="r")
        shape, chunk = tuple(int(n) for n in array.shape), tuple(int(n) for n in array.chunks)
        absent = int(array.nchunks) - int(array.nchunks_initialized)
        packer = str(array.compressors[-1]) if array.compressors and array.shards is None else ""
    if "blosc" in packer.lower():
        _refuse_cut(place / inside, path)
    letters = _letters(letters, shape, wishes, path)
    axes = "".join(a for a in AXES if a in letters)
    check_axes(axes, str(path))
    if (piece := math.prod(chunk) * array.dtype.itemsize) > wishes.memory_limit:
        raise too_large(str(path), chunk, piece, wishes.memory_limit)
    order = tuple(letters.index(a) for a in axes)
    final = accepted_dtype(np.dtype(array.dtype), str(path))
    stated = Stated.of({a: (scale, unit) for a, scale, unit in zip(letters, scales, units, strict=False) if a in SPATIAL})
    spacing, notes = settle(axes, stated, wishes, path)
    count = shape[letters.index("c")] if "c" in letters else 1

    def load(box: Box) -> NDArray[Any]:
        stored = tuple(box[axes.index(a)] for a in letters)
        with refusing(path, what=f"A chunk of {path.name} cannot be decoded"):
            return np.ascontiguousarray(np.asarray(array[stored]).transpose(order), final)

    return Image(
        load=load,
        axes=axes,
        shape=tuple(shape[i] for i in order),
        dtype=final,
        spacing=spacing,
        channels=_channels(said, count),
        source=path.name,
        hash=lambda: digest_folder(path),
        acquisition=_time_step(letters, scales, units),
        problems=(*notes, *_note_absent(path, absent, array)),
        memory_limit=wishes.memory_limit,
    )


def _attributes(folder: Path) -> Attributes:
    """Return the attributes of a group or array, of either Zarr format, the ``ome`` of 0.5 unfolded."""
    for name in ("zarr.json", ".zattrs"):
        file = folder / name
        if file.is_file():
            if file.stat().st_size > _LARGEST_JSON:
                raise refuse(file, "corrupt", f"Metadata must be smaller than {_LARGEST_JSON >> 20} MiB. Get a fresh copy.")
            with decoding(file, what="The Zarr metadata cannot be read"):
                found = json.loads(file.read_bytes())
                attributes = found.get("attributes", {}) if name == "zarr.json" else found
                return {**attributes, **attributes.get("ome", {})}
    return {}


def _described(path: Path) -> tuple[Path, Attributes]:
    """Return the folder of the first image and its attributes; Bio-Formats puts images into numbered groups."""
    said = _attributes(path)
    if "multiscales" not in said and "bioformats2raw.layout" in said:
        return path / "0", _attributes(path / "0")
    return path, said


def _level(said: Attributes, path: Path) -> tuple[str, str | None, list[float], list[str | None]]:
    """Return path, axes, scales and units of the finest level; what is not said stays open."""
    if not said.get("multiscales"):
        if (path / ".zarray").is_file() or ((path / "zarr.json").is_file() and '"array"' in (path / "zarr.json").read_text()):
            return "", None, [], []
        message = "A Zarr folder must be an array, or describe `multiscales` (OME-Zarr 0.4 or 0.5). Give the folder of one image."
        raise refuse(path, "not-ome-zarr", message)
    with decoding(path, what="The multiscales metadata cannot be read"):
        scene = said["multiscales"][0]
        first = scene["datasets"][0]
        inside = str(first["path"])
        axes = [a if isinstance(a, dict) else {"name": a} for a in scene.get("axes", [])]
        letters = "".join(_LETTER.get(str(a["name"]).lower(), "?") for a in axes) or None
        units = [a.get("unit") for a in axes]
        scales = [1.0] * len(axes)
        for change in (*scene.get("coordinateTransformations", ()), *first.get("coordinateTransformations", ())):
            if change.get("type") == "scale":
                scales = [a * float(b) for a, b in zip(scales, change["scale"], strict=True)]
    if PurePosixPath(inside).is_absolute() or ".." in PurePosixPath(inside).parts:
        raise refuse(path, "path-escape", f"A level must lie inside its image; the metadata names {inside[:80]!r}. Repair the metadata.")
    return inside, letters, scales, units


_LETTER = {**{a: a for a in AXES}, "time": "t", "channel": "c", "channels": "c"}
_SECONDS = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0}


def _refuse_cut(level: Path, path: Path) -> None:
    """Compare chunks with the size in their Blosc header (bytes 12 to 15): the decoder makes pixels of half a chunk without a word."""
    chunks = sorted(p for p in level.rglob("*") if p.is_file() and p.name not in (*METADATA, ".zmetadata"))
    with ThreadPoolExecutor(THREADS if isinstance(level, ObjectPath) else 1) as pool:
        heads = list(pool.map(lambda chunk: read_part(chunk, 16, 0), chunks))
    for chunk, head in zip(chunks, heads, strict=True):
        declared, there = int.from_bytes(head[12:16], "little"), chunk.stat().st_size
        if len(head) < 16 or there < declared:
            where = chunk.relative_to(path).as_posix()
            raise refuse(path, "truncated", f"Chunk {where} should have {declared} bytes; it has {there}. Get a fresh copy.")


def _letters(letters: str | None, shape: Sequence[int], wishes: Wishes, path: Path) -> str:
    """Return a letter for each dimension as stored: the user's, the file's, or for a plain plane ``yx``."""
    taken = wishes.axes or letters or ("yx" if len(shape) == 2 else "")
    if len(taken) != len(shape) or len(set(taken)) != len(taken) or not set(taken) <= set(AXES):
        message = f"Every one of the dimensions {tuple(shape)} must be one of t, c, z, y, x; known is {taken or 'nothing'!r}. Set `axes`."
        raise refuse(path, "unknown-axes", message)
    return taken


def _channels(said: Attributes, count: int) -> tuple[Channel, ...]:
    names = [str(c.get("label") or "") for c in (said.get("omero") or {}).get("channels", []) if isinstance(c, dict)]
    return tuple(Channel(n) for n in names) if len(names) == count and all(names) and len(set(names)) == count else default_channels(count)


def _time_step(letters: str, scales: Sequence[float], units: Sequence[str | None]) -> dict[str, Any]:
    if "t" not in letters or letters.index("t") >= len(scales):
        return {}
    step = scales[letters.index("t")] * _SECONDS.get(str(units[letters.index("t")]), 0.0)
    return {"time_step_s": step} if step > 0 else {}


def _note_absent(path: Path, absent: int, array: Any) -> tuple[Problem, ...]:
    if absent <= 0:
        return ()
    message = (
        f"{absent} of {array.nchunks} chunks are not there and read as {array.fill_value}. The format allows it for chunks of one value; "
        "if the copy is incomplete, get a fresh one."
    )
    return (Problem(path.name, "absent-chunks", message),)
