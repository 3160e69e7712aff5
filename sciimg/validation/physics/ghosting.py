"""Ghosting: brightness of the air half a field of view away from the subject, where errors of every second echo put a copy of it."""

import json

import numpy as np
from numpy.typing import NDArray

from sciimg.types import SPATIAL, PatchSet
from sciimg.validation.physics.air import air_and_signal, brightness_cut, no_air
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import ghosted
from sciimg.validation.physics.per_sample import PerSample

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEAST = 50  # voxels of either kind of air, and of the subject, in a sample


class Ghosting(PerSample):
    """Distance between distributions over samples of the ghost-to-signal ratio along each axis that may be that of phase encoding."""

    name = "ghosting"
    estimator = (
        "per channel, sample and axis: (mean of air that lies half a field of view from the subject - mean of other air) / median of the "
        "subject (above Otsu's threshold); 50 voxels of each; samples must be whole fields of view"
    )
    unit = "fraction of the signal"
    source = "Ghost-to-signal ratio: Giannelli et al. 2010, doi:10.1120/jacmp.v11i4.3237; MRIQC's gsr: doi:10.1371/journal.pone.0184661"
    controls = (Control("ghost-10%-last-axis", ghosted(0.1, -1)), Control("ghost-10%-axis-before", ghosted(0.1, -2)))

    def undefined(self, real: PatchSet) -> str:
        return _parts(real) or no_air(real)

    def obstacle_in(self, synthetic: PatchSet) -> str:
        return no_air(synthetic)

    def basis(self, real: PatchSet) -> tuple[float, ...]:
        return tuple(brightness_cut(real.images[:, j].astype(np.float64)) for j in range(len(real.channels)))

    def values(self, patches: PatchSet, basis: tuple[float, ...]) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for j, channel in enumerate(patches.channels):
            images = patches.images[:, j].astype(np.float64)
            air = air_and_signal(images, patches.labels, basis[j])[0]
            for axis, letter in enumerate(SPATIAL[-patches.dims :]):
                ratios = [ghost_to_signal(image, a, image > basis[j], axis) for image, a in zip(images, air, strict=True)]
                out[f"{channel}:{letter}"] = np.array(ratios, dtype=np.float64)
        return out

    def smallest(self, name: str) -> float:
        return 0.002


def ghost_to_signal(image: Array, air: Mask, subject: Mask, axis: int) -> float:
    """Return the ghost-to-signal ratio of one field of view along an axis; NaN where there is too little of either kind of air."""
    copy = np.roll(subject, image.shape[axis] // 2, axis)
    ghost, elsewhere = air & copy, air & ~copy
    if min(ghost.sum(), elsewhere.sum(), subject.sum()) < _LEAST:
        return np.nan
    return float((image[ghost].mean() - image[elsewhere].mean()) / np.median(image[subject]))


def _parts(real: PatchSet) -> str:
    """Say so where the samples are cut out of images: half a side of them is not half a field of view."""
    places = real.table.get("origin")
    origins = [tuple(json.loads(place)) for place in places] if places is not None else []
    images = real.table["image"].nunique() if "image" in real.table else len(real)
    if any(any(origin[-real.dims :]) for origin in origins) or (origins and real.dims == 3 and images < len(real)):
        return "the samples are parts of images, and ghosts lie half a field of view away: patches must be as large as the images"
    return ""
