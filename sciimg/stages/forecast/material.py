"""What can be known of a study's images before any pixel is read: how many there are, how large, of which channels."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sciimg.errors import SciimgError
from sciimg.io.expand import expand, is_stored
from sciimg.io.labels import PIXELS
from sciimg.io.open import open_image
from sciimg.protocol import LoadedStudy
from sciimg.protocol.data import LabelFiles, Luminance, Rescale, SegmentNuclei, Source, StainSeparation, TissueMaps
from sciimg.types import LabelKind

_OPENED = 12  # headers that are read of a source; the others are taken to be like them


@dataclass(frozen=True)
class Material:
    """The real images of a study.

    Parameters
    ----------
    images : int
    pixels : float
        Of all images, channels apart.
    largest : float
        Pixels of the largest image that was looked at, channels apart.
    channels : tuple of str
        After preparation.
    dtype : str
        After preparation.
    labels : LabelKind or None
    classes : int
        Largest class number of the labels; 0 for instances.
    segmented : bool
        Whether labels are found by segmentation when images are read.
    complete : bool
        Whether every image was looked at.
    """

    images: int
    pixels: float
    largest: float
    channels: tuple[str, ...]
    dtype: str
    labels: LabelKind | None = None
    classes: int = 0
    segmented: bool = False
    complete: bool = True

    @property
    def bytes(self) -> float:
        """Of all pixels as they are kept, before they are packed."""
        return self.pixels * len(self.channels) * np.dtype(self.dtype).itemsize


def ingested(collection: Path, like: Material) -> Material:
    """Return the material of a collection that is there; what labels mean is told by the study that ``like`` was made of."""
    from sciimg.store import Collection

    table = Collection(collection).catalogue
    sizes = [_pixels(json.loads(shape), axes) for shape, axes in zip(table["shape"], table["axes"], strict=True)]
    channels = tuple(json.loads(table["channels"].iloc[0]))
    return Material(len(table), sum(sizes), max(sizes), channels, str(table["dtype"].iloc[0]), like.labels, like.classes, like.segmented)


def material(loaded: LoadedStudy) -> Material:
    """Return what a study's sources hold, by the headers of a few files of each.

    Raises
    ------
    SciimgError
        If none of the files that were looked at can be read.
    """
    found = [_of_source(source, loaded.folder) for source in loaded.study.sources]
    return Material(
        images=sum(m.images for m in found),
        pixels=sum(m.pixels for m in found),
        largest=max(m.largest for m in found),
        channels=found[0].channels,
        dtype=found[0].dtype,
        complete=all(m.complete for m in found),
        **labels_of(loaded.study.sources[0]),
    )


def _of_source(source: Source, folder: Path) -> Material:
    files = expand(source.uri, folder)
    chosen = [files[i] for i in sorted({round(i) for i in np.linspace(0, len(files) - 1, min(_OPENED, len(files)))})]
    seen: list[Material] = []
    refused: SciimgError | None = None
    for path in chosen:
        try:
            seen.append(_of_file(path, source))
        except SciimgError as error:
            refused = error
    if not seen:
        assert refused is not None
        raise refused
    each = sum(m.pixels for m in seen) / sum(m.images for m in seen)
    images = sum(m.images for m in seen) / len(seen) * len(files)
    wanted = 1.0 if source.table is None or not source.table.where else 0.5  # rows are chosen by a table that is not read here
    return Material(
        max(1, round(images * wanted)),
        each * images * wanted,
        max(m.largest for m in seen),
        seen[0].channels,
        seen[0].dtype,
        complete=len(chosen) == len(files) and wanted == 1.0,
    )


def _of_file(path: Path, source: Source) -> Material:
    if is_stored(path) and (path / "collection.json").exists():
        return ingested(path, Material(0, 0, 0, (), "uint16"))
    image = open_image(path, spacing=PIXELS, axes=source.axes, burned_in=True)  # to be counted, an image need not know its size
    pixels = _pixels(image.shape, image.axes)
    channels, dtype = _prepared(source, image.channel_names, image.dtype.name)
    return Material(1, pixels, pixels, channels, dtype)


def _prepared(source: Source, channels: Sequence[str], dtype: str) -> tuple[tuple[str, ...], str]:
    names = tuple(channels)
    for step in source.prepare:
        match step:
            case StainSeparation(stains=stains):
                names, dtype = tuple(stains), "uint16"
            case Luminance():
                names = names[:1]
            case Rescale():
                dtype = "uint16"
    return (source.channels or names), dtype


def labels_of(source: Source) -> dict[str, Any]:
    """Return what a study says of the labels of a source: their kind, the largest class, and whether a segmentation makes them."""
    kind: LabelKind | None = None
    classes = 0
    match source.labels:
        case SegmentNuclei() | LabelFiles(labels="instances"):
            kind = "instances"
        case TissueMaps(maps=maps, rest=rest):
            kind, classes = "classes", len(maps) + (rest is not None)
        case LabelFiles(values=values):
            kind, classes = "classes", len(values) if values else 3
    return {"labels": kind, "classes": classes, "segmented": isinstance(source.labels, SegmentNuclei)}


def _pixels(shape: Sequence[int], axes: str) -> float:
    """Return how many pixels an image has, channels apart."""
    return math.prod((float(n) for n, axis in zip(shape, axes, strict=True) if axis != "c"), start=1.0)
