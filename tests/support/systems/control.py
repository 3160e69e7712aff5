"""What steers a system must be seen in its images: masks read back by an independent segmenter, looks of a reference image."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.segmentation import Segmenter, Training, train_segmenter

from .common import features
from .datasets import default
from .subject import Answerer, Measure, Subject, asked, nearest

_STEPS = {2: 250, 3: 600}  # by dimensions
_LEARNED_FROM = 128
_COPIED = 0.9  # correlation from which a sample copies its reference


def mask_dice(answerer: Answerer, subject: Subject) -> float | None:
    """Dice of the mask that was asked for with the one an independent segmenter finds, over its Dice on the real images of these masks."""
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    return dice(images, told, subject.dims) / dice(told.images, told, subject.dims)


def dice(images: NDArray[Any], told: PatchSet, dims: int) -> float:
    """Mean over classes (nuclei; or tissues) of the Dice of told and found labels, all images together."""
    segmenter = segmenter_of(dims)
    found = segmenter.probabilities(images).argmax(1)
    assert told.labels is not None
    if told.label_kind == "instances":
        return _dice(found > 0, told.labels > 0)
    return float(np.mean([_dice(found == number, told.labels == number) for number in range(1, segmenter.classes)]))


@cache
def segmenter_of(dims: int) -> Segmenter:
    """A segmenter that has seen real training images of the default data alone; trained once a process."""
    data = default(dims)
    assert data is not None
    return train_segmenter(data.train.draw(("segmenter",), range(_LEARNED_FROM)), Training(steps=_STEPS[dims]), key=("segmenter", dims))


def reference_likeness(answerer: Answerer, subject: Subject) -> float | None:
    """Share of pairs (own, other reference) in which a sample looks more like its own; 0.5 is chance.

    Looks are levels, spreads and energies by scale. Copies of the reference count as not obedient.
    """
    given = subject.given_of(subject.told)
    made = asked(answerer, subject)
    if made is None or given is None:
        return None
    images, told = made
    references = subject.made_of(told)
    scale = features(subject.made_of(subject.training)).std(0) + 1e-9
    a, b = features(images) / scale, features(references) / scale
    distances = np.square(a[:, None] - b[None]).sum(2)
    own = np.diag(distances)[:, None]
    nearer = (own < distances) + 0.5 * (own == distances)
    copied = np.array([nearest(image[None], reference[None])[0] > _COPIED for image, reference in zip(images, references, strict=True)])
    nearer[copied] = 0.0
    others = ~np.eye(len(images), dtype=bool)
    return float(nearer[others].mean())


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


MEASURES: dict[str, Measure] = {"mask-dice": mask_dice, "reference-likeness": reference_likeness}
