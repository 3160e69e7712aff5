"""Agreement of a segmentation with its truth as counts that add up: pixels per class, and objects.

Dice and F1 are taken from pooled counts, so patches without any object say what they can and no patch divides by zero.
"""

import numpy as np
from numpy.typing import NDArray

from sciimg.types import LabelKind

Array = NDArray[np.float64]
Labels = NDArray[np.int32]


def overlap_counts(predicted: Labels, truth: Labels, kind: LabelKind, classes: int) -> Array:
    """Return true positive, false positive and false negative pixels, shape (N, K, 3).

    K is 1 (any object) for instances, otherwise the number of classes without background.
    """
    wanted = range(1, max(classes, 2))
    pairs = [(predicted > 0, truth > 0)] if kind == "instances" else [(predicted == k, truth == k) for k in wanted]
    axes = tuple(range(1, truth.ndim))
    counts = [np.stack([(p & t).sum(axes), (p & ~t).sum(axes), (~p & t).sum(axes)], axis=-1) for p, t in pairs]
    return np.stack(counts, axis=1).astype(np.float64)


def object_counts(predicted: Labels, truth: Labels, threshold: float = 0.5) -> Array:
    """Return matched, spurious and missed objects, shape (N, 1, 3).

    Objects match when their intersection over union is above the threshold; above one half a match is unique
    (Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7).
    """
    return np.stack([_matches(p, t, threshold) for p, t in zip(predicted, truth, strict=True)])[:, None]


def _matches(predicted: Labels, truth: Labels, threshold: float) -> Array:
    p_values, p_index = np.unique(predicted, return_inverse=True)
    t_values, t_index = np.unique(truth, return_inverse=True)
    pairs, shared = np.unique(p_index.ravel() * len(t_values) + t_index.ravel(), return_counts=True)
    p, t = np.divmod(pairs, len(t_values))
    p_sizes, t_sizes = np.bincount(p, shared), np.bincount(t, shared)
    overlap = shared / (p_sizes[p] + t_sizes[t] - shared)
    hits = np.count_nonzero((overlap > threshold) & (p_values[p] > 0) & (t_values[t] > 0))
    return np.array([hits, np.count_nonzero(p_values > 0) - hits, np.count_nonzero(t_values > 0) - hits], dtype=np.float64)


def f1(counts: Array) -> Array:
    """Return 2 TP / (2 TP + FP + FN), the Dice coefficient, from counts (..., K, 3): mean over the K classes that occur, else NaN."""
    hit, spurious, missed = np.moveaxis(counts, -1, 0)
    total = 2 * hit + spurious + missed
    occurs = total > 0
    score = np.where(occurs, 2 * hit / np.where(occurs, total, 1.0), 0.0)
    number = occurs.sum(axis=-1)
    mean: Array = np.where(number > 0, score.sum(axis=-1) / np.maximum(number, 1), np.nan)
    return mean
