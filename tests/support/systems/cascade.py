"""Detail that fits what it was made from: super-resolution, layout of a cascade, planes of a volume."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .common import mask_obedience, over_real
from .control import mask_dice
from .subject import Answerer, Measure, Subject, asked

_COARSE = 0.05  # most error of the means over blocks, as a share of their spread
_LAYOUT = 0.9
_OBEDIENT = 0.7


def super_resolution(answerer: Answerer, subject: Subject) -> float | None:
    """KID from the images whose coarse part was told, in units of that of real training images; None where that part is not kept.

    At 1, the least there is, samples are no farther from these images than other real ones are.
    """
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    process = subject.recipe.process
    factor = 2**process.halvings  # type: ignore[union-attr]
    real = subject.made_of(told)
    coarse = block_means(real, factor)
    error = np.sqrt(np.square(block_means(images, factor) - coarse).mean()) / coarse.std()
    if error > _COARSE:
        return None
    return over_real(images, real, subject.made_of(subject.training))


def kid_and_layout(answerer: Answerer, subject: Subject) -> float | None:
    """KID in units of that of real training images, where masks are read back with 0.9 of the Dice of real images; None otherwise."""
    made, layout = asked(answerer, subject), mask_dice(answerer, subject)
    if made is None or layout is None or layout < _LAYOUT:
        return None
    images, told = made
    real = subject.made_of(told)
    return over_real(images, real, subject.made_of(subject.training))


def slice_consistency(answerer: Answerer, subject: Subject) -> float | None:
    """How like those of real volumes the changes between neighbouring slices are, on the worst axis; 1 is equal, None without obedience.

    A change is 1 - r of neighbours; the ratio of means, made over real or its inverse, is what counts: both flicker and blur are unlike.
    """
    made = asked(answerer, subject)
    obedience = mask_obedience(answerer, subject)
    if made is None or obedience is None or obedience < _OBEDIENT:
        return None
    images, told = made
    ratios = changes(images) / changes(subject.made_of(told))
    return float(np.minimum(ratios, 1 / np.maximum(ratios, 1e-9)).min())


def changes(volumes: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of 1 - r of neighbouring slices, for each spatial axis."""
    out = []
    for axis in range(2, volumes.ndim):
        slices = np.moveaxis(volumes.astype(np.float64), axis, 2)
        before, after = (part.reshape(*part.shape[:3], -1) for part in (slices[:, :, :-1], slices[:, :, 1:]))
        before, after = (part - part.mean(-1, keepdims=True) for part in (before, after))
        norms = np.sqrt(np.square(before).sum(-1) * np.square(after).sum(-1))
        r = (before * after).sum(-1)[norms > 0] / norms[norms > 0]
        out.append(1 - r.mean() if r.size else 1.0)
    return np.array(out)


def block_means(images: NDArray[Any], factor: int) -> NDArray[np.float64]:
    for axis in range(2, images.ndim):
        shape = (*images.shape[:axis], images.shape[axis] // factor, factor, *images.shape[axis + 1 :])
        images = images.astype(np.float64).reshape(shape).mean(axis + 1)
    return images


MEASURES: dict[str, Measure] = {
    "super-resolution": super_resolution,
    "kid-and-layout": kid_and_layout,
    "slice-consistency": slice_consistency,
}
