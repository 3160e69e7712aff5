"""Any images as a set of one shape: a file, a folder of files, an OME-Zarr image or a collection, whoever made them."""

from collections.abc import Sequence
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
    images = _collection(path) if (path / "collection.json").exists() else _files(path)
    shapes = {image.pixels.shape for image in images}
    if len(shapes) > 1:
        some = "; ".join(f"{shape} (e.g. {next(i.name for i in images if i.pixels.shape == shape)})" for shape in sorted(shapes)[:4])
        message = f"Images of one set have one shape (channels, [z,] y, x); there are {some}. Crop them alike, or compare them apart."
        raise InputError(Problem(str(path), "mixed-shapes", message))
    if len(dtypes := {image.pixels.dtype for image in images}) > 1:
        some = "; ".join(f"{dtype} (e.g. {next(i.name for i in images if i.pixels.dtype == dtype)})" for dtype in sorted(dtypes, key=str))
        message = f"Images of one set have one type of pixels, or nothing says that they share a scale; there are {some}. Save them alike."
        raise InputError(Problem(str(path), "mixed-types", message))
    pixels = np.stack([image.pixels for image in images])
    labels = [image.labels for image in images if image.labels is not None and image.label_kind == images[0].label_kind]
    labelled = len(labels) == len(images)
    return PatchSet(
        pixels,
        np.stack(labels) if labelled else None,
        np.array([image.group for image in images]),
        pd.DataFrame({"name": [image.name for image in images]}),
        _common_spacing(images, pixels.ndim - 2),
        images[0].channels,
        images[0].label_kind if labelled else None,
        {k: v for k, v in images[0].acquisition.items() if all(i.acquisition.get(k) == v for i in images)},
    )


def _common_spacing(images: Sequence[_Read], dims: int) -> Spacing:
    first = images[0].spacing
    return first if first is not None and all(i.spacing == first for i in images) else Spacing((1.0,) * dims, "pixel")


def _collection(path: Path) -> list[_Read]:
    collection = Collection(path)
    table = collection.catalogue
    names = zip(table["id"].astype(str), table["group"].astype(str), strict=True)
    return [_volume(collection.volume(name), name, group) for name, group in names]


def _volume(volume: Volume, name: str, group: str) -> _Read:
    pixels = volume.read()
    channels = tuple(c.name for c in volume.channels)
    own = _channels_first(pixels, volume.axes, name)
    return _Read(name, group, own, channels, volume.acquisition, volume.spacing, volume.read_labels(), volume.label_kind)


def _files(path: Path) -> list[_Read]:
    images: list[_Read] = []
    problems: list[Problem] = []
    for file in expand(path):
        try:
            if file.suffix == ".zarr":
                images.append(_volume(Volume(file), file.stem, file.stem))
                continue
            image = open_image(file, spacing=Spacing((1.0,), "pixel"))
            name = file.name.split(".")[0]
            pixels = _channels_first(image.read(), image.axes, name)
            images.append(_Read(name, name, pixels, image.channel_names, dict(image.acquisition), image.spacing))
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    if not images:
        raise InputError(Problem(str(path), "empty-folder", "At least one image is needed; there is none."))
    return images


def _channels_first(pixels: NDArray[Any], axes: str, name: str) -> NDArray[Any]:
    if "t" in axes:
        raise InputError(Problem(name, "time-axis", f"Images are compared one time point at a time; this one has axes {axes!r}."))
    return pixels if "c" in axes else pixels[None]
