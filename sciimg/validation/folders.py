"""Any images as a set of one shape: a file, a folder of files, an OME-Zarr image or a collection, whoever made them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.io.expand import expand
from sciimg.io.open import open_image
from sciimg.store import Collection, Volume
from sciimg.types import LabelKind, PatchSet, Spacing
from sciimg.validation.stack import Stack


@dataclass(frozen=True)
class _Read:
    name: str
    group: str
    pixels: NDArray[Any]  # (C, [Z,] Y, X)
    channels: tuple[str, ...]
    acquisition: dict[str, Any]
    spacing: Spacing | None
    labels: NDArray[np.int32] | None = None
    label_kind: LabelKind | None = None


def load_patchset(path: Path) -> PatchSet:
    """Read every image of a path; pixel sizes are not needed to compare pixels and are not asked for, and kept where all images share one.

    One image is decoded at a time; many lie in a temporary file (:mod:`sciimg.validation.stack`).

    Parameters
    ----------
    path : Path
        A file, a folder of files, an OME-Zarr image or a collection.

    Returns
    -------
    PatchSet
        ``table["name"]`` has the stems (ids of a collection); groups are those of the catalogue, or one an image; labels those of a
        collection; ``attributes`` what all images say of their acquisition.

    Raises
    ------
    InputError
        Every file that cannot be read; kind ``mixed-shapes`` when images differ in shape or channels, ``mixed-types`` when they differ in
        dtype; kind ``time-axis``.
    """
    count, images = _collection(path) if (path / "collection.json").exists() else _files(path)
    stack, labels, names, groups, first = Stack(count), Stack(count), [], [], None
    one_spacing, acquisition = True, {}  # what all images share
    shapes: dict[tuple[int, ...], str] = {}  # with the name of an image that has it
    dtypes: dict[str, str] = {}
    for image in images:
        if first is None:
            first, acquisition = image, dict(image.acquisition)
        one_spacing &= image.spacing == first.spacing
        acquisition = {k: v for k, v in acquisition.items() if image.acquisition.get(k) == v}
        shapes.setdefault(image.pixels.shape, image.name)
        dtypes.setdefault(str(image.pixels.dtype), image.name)
        if len(shapes) == len(dtypes) == 1:
            stack.add(image.pixels)
            if image.labels is not None and image.label_kind == first.label_kind:
                labels.add(image.labels)
        names.append(image.name)
        groups.append(image.group)
    if first is None:
        raise InputError(Problem(str(path), "empty-folder", "At least one image is needed; there is none."))
    if len(shapes) > 1:
        some = "; ".join(f"{shape} (e.g. {name})" for shape, name in sorted(shapes.items())[:4])
        message = f"Images of one set have one shape (channels, [z,] y, x); there are {some}. Crop them alike, or compare them apart."
        raise InputError(Problem(str(path), "mixed-shapes", message))
    if len(dtypes) > 1:
        some = "; ".join(f"{dtype} (e.g. {name})" for dtype, name in sorted(dtypes.items()))
        message = f"Images of one set have one type of pixels, or nothing says that they share a scale; there are {some}. Save them alike."
        raise InputError(Problem(str(path), "mixed-types", message))
    labelled = labels.count == len(names)
    return PatchSet(
        stack.array,
        labels.array if labelled else None,
        np.array(groups),
        pd.DataFrame({"name": names}),
        first.spacing if first.spacing is not None and one_spacing else Spacing((1.0,) * (stack.array.ndim - 2), "pixel"),
        first.channels,
        first.label_kind if labelled else None,
        acquisition,
    )


def _collection(path: Path) -> tuple[int, Iterator[_Read]]:
    collection = Collection(path)
    table = collection.columns("id", "group")
    names = zip(table["id"].astype(str), table["group"].astype(str), strict=True)
    return len(table), (_volume(collection.volume(name), name, group) for name, group in names)


def _volume(volume: Volume, name: str, group: str) -> _Read:
    pixels = volume.read()
    channels = tuple(c.name for c in volume.channels)
    own = _channels_first(pixels, volume.axes, name)
    return _Read(name, group, own, channels, volume.acquisition, volume.spacing, volume.read_labels(), volume.label_kind)


def _files(path: Path) -> tuple[int, Iterator[_Read]]:
    files = expand(path)
    return len(files), _opened(files)


def _opened(files: list[Path]) -> Iterator[_Read]:
    """Yield what can be read; at the end say what cannot."""
    problems: list[Problem] = []
    for file in files:
        try:
            if file.suffix == ".zarr":
                yield _volume(Volume(file), file.stem, file.stem)
                continue
            image = open_image(file, spacing=Spacing((1.0,), "pixel"))
            name = file.name.split(".")[0]
            pixels = _channels_first(image.read(), image.axes, name)
            yield _Read(name, name, pixels, image.channel_names, dict(image.acquisition), image.spacing)
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)


def _channels_first(pixels: NDArray[Any], axes: str, name: str) -> NDArray[Any]:
    if "t" in axes:
        raise InputError(Problem(name, "time-axis", f"Images are compared one time point at a time; this one has axes {axes!r}."))
    return pixels if "c" in axes else pixels[None]
