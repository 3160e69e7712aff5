"""Pooled distributions from counts: quantiles and Wasserstein distances of histograms on fixed edges."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DOUBLINGS = 12  # from 1/4096 of the real range


def edges_of(values: Array, bins: int, *, beyond: float = 1.0) -> Array:
    """Return bin edges at quantiles of real values, with outer bins on each side for what lies beyond them.

    The outer bins begin narrow and double, so that mass just beyond the real range counts as lying there; they reach ``beyond`` times the
    real range, and a value farther out counts as lying at their end.
    """
    inner = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    span = float(inner[-1] - inner[0]) or max(abs(float(inner[0])), 1.0)
    top = np.nextafter(inner[-1], np.inf)  # the largest real value belongs to the last inner bin
    outward = beyond * span * 0.5 ** np.arange(_DOUBLINGS, -1, -1)
    return np.unique(np.concatenate([inner[0] - outward, inner[:-1], [top], inner[-1] + outward]))


def counts(values: Array, edges: Array, weights: Array | None = None) -> Array:
    """Count values, shape (n,), in the bins, with weights where given; what lies outside counts in the outermost bin."""
    index = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(index, weights=weights, minlength=len(edges) - 1).astype(np.float64)


def cumulative(histogram: Array) -> Array:
    """Return the distribution function at the upper edge of each bin, shape (..., K); an empty one lies all in the lowest bin."""
    total = histogram.sum(axis=-1, keepdims=True)
    safe = np.where(total > 0, total, 1.0)
    return np.where(total > 0, np.cumsum(histogram, axis=-1) / safe, 1.0)


def wasserstein(first: Array, second: Array, edges: Array) -> Array:
    """Return the 1-Wasserstein distance between histograms (..., K): the area between their distribution functions.

    Within a bin the mass counts as spread evenly, so both functions are piecewise linear; the area is that of their trapezoids.
    """
    gap = cumulative(first) - cumulative(second)
    padded = np.concatenate([np.zeros_like(gap[..., :1]), gap], axis=-1)
    left, right = np.abs(padded[..., :-1]), np.abs(padded[..., 1:])
    crossing = padded[..., :-1] * padded[..., 1:] < 0
    total = np.where(left + right > 0, left + right, 1.0)
    area = np.where(crossing, (left**2 + right**2) / (2 * total), (left + right) / 2)
    distance: Array = (area * np.diff(edges)).sum(axis=-1)
    return distance


def quantile(histogram: Array, edges: Array, level: float) -> Array:
    """Return a quantile of each histogram (..., K) by linear interpolation within its bin; NaN for an empty one."""
    function = cumulative(histogram)
    index = np.argmax(function >= level, axis=-1)
    upper = np.take_along_axis(function, index[..., None], axis=-1)[..., 0]
    lower = np.where(index > 0, np.take_along_axis(function, np.maximum(index - 1, 0)[..., None], axis=-1)[..., 0], 0.0)
    step = np.where(upper > lower, upper - lower, 1.0)
    value = edges[index] + (level - lower) / step * (edges[index + 1] - edges[index])
    return np.where(histogram.sum(axis=-1) > 0, value, np.nan)
