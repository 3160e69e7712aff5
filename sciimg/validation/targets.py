"""Label images as classes to learn, and back: instances are background, interior and border; classes stay as they are."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from sciimg.types import LabelKind

Labels = NDArray[np.int32]

INTERIOR, BORDER = 1, 2


def class_count(labels: Labels, kind: LabelKind) -> int:
    """Return the number of classes a segmenter learns, background included."""
    return 3 if kind == "instances" else int(labels.max(initial=0)) + 1


def to_classes(labels: Labels, kind: LabelKind) -> Labels:
    """Return learnable classes for labels (N, [Z,] Y, X). The border is one pixel wide and lies inside the object."""
    if kind == "classes":
        return labels
    footprint = (1, *(3,) * (labels.ndim - 1))
    highest, lowest = (f(labels, footprint, mode="nearest") for f in (ndimage.maximum_filter, ndimage.minimum_filter))
    classes: Labels = np.where(labels > 0, np.where(highest != lowest, BORDER, INTERIOR), 0).astype(np.int32)
    return classes


def to_labels(probabilities: NDArray[np.float32], kind: LabelKind, least: int = 10) -> Labels:
    """Return labels (N, [Z,] Y, X) from class probabilities (N, K, [Z,] Y, X).

    Instances: connected interiors are seeds, which a watershed on the interior's probability grows over the foreground; objects smaller
    than ``least`` pixels are dropped.
    """
    if kind == "classes":
        best: Labels = probabilities.argmax(axis=1).astype(np.int32)
        return best
    return np.stack([_instances(sample, least) for sample in probabilities])


def _instances(probability: NDArray[np.float32], least: int) -> Labels:
    mask = probability[0] < 0.5
    best = probability.argmax(axis=0)
    seeds, _ = ndimage.label(best == INTERIOR)
    grown = watershed(-probability[INTERIOR], seeds, mask=mask)
    size = np.bincount(grown.ravel())
    grown[size[grown] < least] = 0
    instances: Labels = grown.astype(np.int32)
    return instances
