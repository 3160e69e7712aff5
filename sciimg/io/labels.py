"""Label images: read from files beside the images, made from tissue maps, or segmented; always int32 on the image's spatial grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.io.colour import grey_of
from sciimg.io.expand import expand
from sciimg.io.faults import refuse
from sciimg.io.image import Image
from sciimg.io.names import stem
from sciimg.io.nuclei import segment_nuclei
from sciimg.io.open import open_image
from sciimg.io.spacing import AGREE, convert
from sciimg.protocol.data import LabelFiles, Labels, SegmentNuclei, TissueMaps
from sciimg.types import LabelKind, Spacing

Int = NDArray[np.int32]
Index = Mapping[str, Sequence[Path]]
PIXELS = Spacing((1.0,), "pixel")  # a label image lies on its image's grid; its own spacing does not matter
_MISPLACED = 0.1  # voxels by which the corners of two grids that are one may differ, after rounding in headers
_FULL = 0.9  # an integer probability map fills its range at least this far


@dataclass(frozen=True)
class LabelImage:
    """Labels of one image: ``pixels`` [z]yx, what they number, and how they came about."""

    pixels: Int
    kind: LabelKind
    parameters: Mapping[str, Any]


def make_labels(image: Image, plan: Labels, *, name: str, folder: Path = Path(), index: Index | None = None) -> LabelImage:
    """Return the labels of an image.

    Parameters
    ----------
    image : Image
        After preparation.
    plan : LabelFiles, SegmentNuclei or TissueMaps
    name : str
        The image's stem, to which a label file is matched.
    folder : Path
        What the plan's relative paths are relative to.
    index : mapping, optional
        What :func:`label_index` gives for the plan, so that a folder is not searched for every image.

    Raises
    ------
    InputError
        Kinds ``mask-missing``, ``mask-shape``, ``mask-misplaced``, ``mask-not-integer``, ``mask-negative``, ``mask-value``,
        ``unknown-channel``, ``tissue-map-range``, and those of reading.
    """
    match plan:
        case LabelFiles():
            return _from_files(image, plan, name, label_index(plan, folder) if index is None else index)
        case SegmentNuclei():
            channel = _channel(image, plan.channel)
            other = None if plan.subtract is None else _channel(image, plan.subtract)
            pixels = segment_nuclei(channel, other, plan)
            return LabelImage(pixels, "instances", plan.model_dump(mode="json") | {"objects": int(pixels.max())})
        case TissueMaps():
            return _from_maps(image, plan, folder)
        case _:
            assert_never(plan)


def labels_from_file(path: Path, image: Image) -> Int:
    """Return the labels in a file, checked against the image they belong to.

    Raises
    ------
    InputError
        Kinds ``mask-shape``, ``mask-misplaced``, ``mask-spacing``, ``mask-not-integer``, ``mask-negative``, and those of reading.
    """
    label = open_image(path, spacing=PIXELS, label=True)
    pixels = _one_plane(label)
    if pixels.shape != image.spatial_shape:
        message = (
            f"A mask must have the shape of its image, {image.spatial_shape} along {image.spatial}; it has {pixels.shape}. Was it made "
            "for another image, or resampled?"
        )
        raise refuse(path, "mask-shape", message)
    _refuse_misplaced(label, image, path)
    _refuse_other_scale(label, image, path)
    if pixels.dtype.kind == "f" and not np.array_equal(pixels, np.rint(pixels)):
        odd = pixels[pixels != np.rint(pixels)]
        message = f"A mask must hold whole numbers; {odd.size} values are not, e.g. {odd.flat[0]:g}. Was it interpolated?"
        raise refuse(path, "mask-not-integer", message)
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > np.iinfo(np.int32).max:
        raise refuse(path, "mask-negative", f"Label numbers go from 0 (background) up; the file has {low:g} to {high:g}.")
    return pixels.astype(np.int32)


def _from_files(image: Image, plan: LabelFiles, name: str, index: Index) -> LabelImage:
    files = index.get(name, ())
    if len(files) != 1:
        found = f"{len(files)} have ({', '.join(f.name for f in files)})" if files else "none has"
        message = f"One label file must have the stem of its image, {name!r}; in {plan.uri} {found}. Add it, or take the image out."
        raise refuse(image.source, "mask-missing", message)
    pixels = labels_from_file(files[0], image)
    parameters = {"kind": "files", "file": files[0].name}
    if plan.values is None:
        return LabelImage(pixels, plan.labels, parameters)
    numbered = _renumbered(pixels, plan.values, files[0])
    return LabelImage(numbered, plan.labels, parameters | {"classes": list(plan.values)})


def label_index(plan: Labels | None, folder: Path) -> Index:
    """Return the label files of a plan by stem; empty for a plan that needs none."""
    by_stem: dict[str, list[Path]] = {}
    for path in expand(plan.uri, folder) if isinstance(plan, LabelFiles) else ():
        by_stem.setdefault(stem(path), []).append(path)
    return by_stem


def _renumbered(pixels: Int, values: Mapping[str, tuple[int, ...]], path: Path) -> Int:
    numbered, known = np.zeros_like(pixels), pixels == 0
    for number, meant in enumerate(values.values(), 1):
        here = np.isin(pixels, meant)
        numbered[here] = number
        known |= here
    if not known.all():
        strange = np.unique(pixels[~known])[:5].tolist()
        raise refuse(path, "mask-value", f"Every label value must be named under `values`; {strange} are not. Add them, or clean the mask.")
    return numbered


def _one_plane(label: Image) -> NDArray[Any]:
    """Return the label pixels [z]yx; a grey mask that was saved as colour is one plane, a coloured one is refused."""
    pixels = label.read()
    if label.axes.startswith("c") and label.channel_names[:3] == ("red", "green", "blue"):
        return grey_of(pixels, 0, label.source)
    if label.axes != label.spatial:
        raise refuse(label.source, "mask-shape", f"A mask has spatial axes only; this one has {label.axes!r}, shape {label.shape}.")
    return pixels


def _refuse_misplaced(label: Image, image: Image, path: Path) -> None:
    if label.affine is None or image.affine is None or image.spatial != "zyx":
        return
    ends = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*[n - 1 for n in image.spatial_shape[::-1]], 1]
    apart = np.linalg.norm((ends @ (label.affine - image.affine).T)[:, :3], axis=1).max()
    voxel = np.linalg.norm(image.affine[:3, :3], axis=0).min()
    if apart > _MISPLACED * voxel:
        message = f"A mask must lie where its image lies; a corner is {apart:.3g} mm away. Resample the mask onto the image."
        raise refuse(path, "mask-misplaced", message)


def _refuse_other_scale(label: Image, image: Image, path: Path) -> None:
    """A mask that states a physical size of its own must state its image's, unless the user overrode that."""
    own, its = label.spacing, image.spacing
    if own is None or its is None or "pixel" in (own.unit, its.unit) or any(p.kind == "spacing-overridden" for p in image.problems):
        return
    if any(abs(convert(a, own.unit, its.unit) / b - 1) > AGREE for a, b in zip(own.values, its.values, strict=True)):
        message = (
            f"A mask must have the spacing of its image, {its.values} {its.unit}; its file says {own.values} {own.unit}. Was it made for "
            "another image, or saved by a program that guessed?"
        )
        raise refuse(path, "mask-spacing", message)


def _channel(image: Image, name: str) -> NDArray[Any]:
    """Return one channel, [z]yx."""
    if name not in image.channel_names:
        raise refuse(image.source, "unknown-channel", f"The channel must be one of {', '.join(image.channel_names)}; got {name!r}.")
    if "t" in image.axes:
        raise refuse(image.source, "mask-time", "Labels are made for images without a time axis. Split the time points into images.")
    if "c" not in image.axes:
        return image.read()
    at, number = image.axes.index("c"), image.channel_names.index(name)
    box = tuple(slice(number, number + 1) if i == at else slice(None) for i in range(len(image.axes)))
    return image.read(box).squeeze(at)


def _from_maps(image: Image, plan: TissueMaps, folder: Path) -> LabelImage:
    """The largest probability wins where it exceeds the threshold; equal ones go to the class named first."""
    if plan.rest and image.axes != image.spatial:
        raise refuse(image.source, "tissue-map-rest", f"`rest` needs one channel and no time axis to see where air is; got {image.axes!r}.")
    maps, problems = [], []
    for name, uri in plan.maps.items():
        try:
            maps.append(_probabilities(expand(uri, folder)[0], image))
        except InputError as error:
            problems += [Problem(p.where, p.kind, f"{p.message} (tissue map {name!r})") for p in error.problems]
    if problems:
        raise InputError(problems)
    stacked = np.stack(maps)
    winner = stacked.argmax(0).astype(np.int32) + 1
    claimed = stacked.max(0) > plan.threshold
    rest = (image.read() > 0) * len(plan.classes) if plan.rest else 0
    pixels = np.where(claimed, winner, rest).astype(np.int32)
    return LabelImage(pixels, "classes", {"kind": "tissue-maps", "classes": list(plan.classes), "threshold": plan.threshold})


def _probabilities(path: Path, image: Image) -> NDArray[np.float32]:
    """Return a map as probabilities 0 … 1: floating-point or binary as they are, integers by the range of their type."""
    label = open_image(path, spacing=PIXELS)
    pixels = label.read()
    if pixels.shape != image.spatial_shape:
        raise refuse(path, "mask-shape", f"A tissue map must have the shape of its image, {image.spatial_shape}; it has {pixels.shape}.")
    _refuse_misplaced(label, image, path)
    low, high = float(pixels.min()), float(pixels.max())
    full = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "iu" else 1.0
    if low < 0 or (high > 1 and not _FULL * full <= high <= full):
        message = f"Probabilities go from 0 to 1, or fill the range of an integer type; this {pixels.dtype} map has {low:g} to {high:g}."
        raise refuse(path, "tissue-map-range", message)
    return np.asarray(pixels / (full if high > 1 else 1.0), np.float32)
