"""NPY: one array, mapped where it lies. Object arrays are refused: reading them would run pickled code."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import decoding, note_longer, refuse
from sciimg.io.image import Image, accepted_dtype, check_axes, default_channels
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.records import digest_file
from sciimg.types import AXES

EXTENSIONS = (".npy",)
_AXES = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}  # what an array without names is taken to be, with a note from 3 dimensions on


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of an NPY file."""
    return head.startswith(b"\x93NUMPY")


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the array as a lazy image.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``dtype`` (object arrays among them), ``complex``, ``unknown-axes``, ``unknown-spacing``.
    """
    with decoding(path, what="The NPY header cannot be read"), path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        offset = stream.tell()
    if dtype.hasobject:
        raise refuse(path, "dtype", "Object arrays are pickles, which can run any code, and are never read. Save plain numbers.")
    accepted = accepted_dtype(dtype, str(path))
    declared, size = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if declared > size:
        raise refuse(path, "truncated", f"The header declares {shape} {dtype}, {declared} bytes; the file has {size}. Get a fresh copy.")
    letters, notes = _axes(shape, wishes, path)
    notes += note_longer(path, declared, size)
    ordered = "".join(a for a in AXES if a in letters)
    check_axes(ordered, str(path))
    order = [letters.index(a) for a in ordered]

    def mapped() -> NDArray[Any]:
        raw = np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
        return raw.transpose(order)

    spacing, more = settle(ordered, Stated(), wishes, path)
    final = tuple(shape[i] for i in order)
    return Image(
        load=lambda box: mapped()[box].astype(accepted),
        axes=ordered,
        shape=final,
        dtype=accepted,
        spacing=spacing,
        channels=default_channels(final[ordered.index("c")] if "c" in ordered else 1),
        source=path.name,
        hash=lambda: digest_file(path),
        problems=(*notes, *more),
        memory_limit=wishes.memory_limit,
    )


def _axes(shape: tuple[int, ...], wishes: Wishes, path: Path) -> tuple[str, tuple[Problem, ...]]:
    """Return a letter for each dimension: those asked for, else the customary ones, t instead of z where only y and x have a spacing."""
    if wishes.axes is not None:
        if sorted(wishes.axes) != sorted(set(wishes.axes) & set(AXES)) or len(wishes.axes) != len(shape):
            raise refuse(path, "axes", f"Axes must be one letter of {AXES!r} a dimension; got {wishes.axes!r} for shape {shape}.")
        return wishes.axes, ()
    letters = _AXES.get(len(shape))
    if letters is None:
        raise refuse(path, "unknown-axes", f"An image has 2 to 5 dimensions; the array has shape {shape}. Reshape it.")
    if len(shape) == 3 and wishes.spacing is not None and len(wishes.spacing.values) == 2:
        letters = "tyx"
    message = f"An array does not say what its axes are; they are taken as {letters!r}. Set `axes` if that is wrong."
    return letters, (Problem(path.name, "axis-not-named", message),) if len(shape) > 2 else ()
