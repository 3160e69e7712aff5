"""First-order statistics of intensity, gradient and neighbourhood: what a pathologist would call stain level, contrast and grain."""

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Single = NDArray[np.float32]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LAGS = (1, 2, 4)
FLOOR = 0.01  # of a channel's scale


def texture(images: Single) -> Array:
    """Return statistics of images (N, C, [Z,] Y, X), whose channels have unit scale: shape (N, D).

    Per channel: seven quantiles; log standard deviation and log interquartile range; log median absolute Laplacian (noise and edges)
    and the same of the image smoothed by 1 px; log root mean square difference at lags 1, 2 and 4 px along each axis. Per pair of
    channels: correlation.
    """
    axes = tuple(range(2, images.ndim))
    quantiles = np.quantile(images, QUANTILES, axis=axes)
    columns = [*quantiles, np.log(images.std(axis=axes, dtype=np.float64) + FLOOR), np.log(quantiles[4] - quantiles[2] + FLOOR)]
    for sigma in (0.0, 1.0):
        smooth = ndimage.gaussian_filter(images, (0, 0, *(sigma,) * len(axes))) if sigma else images
        curvature = np.zeros_like(images)
        for axis in axes:
            curvature += ndimage.correlate1d(smooth, [1, -2, 1], axis=axis, mode="nearest")
        columns.append(np.log(np.median(np.abs(curvature), axis=axes) + FLOOR))
    for lag, axis in itertools.product(LAGS, axes):
        if lag < images.shape[axis]:
            step = np.take(images, range(lag, images.shape[axis]), axis) - np.take(images, range(images.shape[axis] - lag), axis)
            columns.append(np.log(np.sqrt(np.mean(np.square(step), axis=axes, dtype=np.float64)) + FLOOR))
    table = np.concatenate(columns, axis=1).astype(np.float64)
    return np.concatenate([table, _correlations(images)], axis=1)


def _correlations(images: Single) -> Array:
    flat = images.reshape(*images.shape[:2], -1).astype(np.float64)
    flat = flat - flat.mean(axis=2, keepdims=True)
    norm = np.sqrt(np.mean(flat**2, axis=2) + FLOOR**2)
    pairs = itertools.combinations(range(images.shape[1]), 2)
    columns = [np.mean(flat[:, a] * flat[:, b], axis=1) / (norm[:, a] * norm[:, b]) for a, b in pairs]
    return np.stack(columns, axis=1) if columns else np.empty((len(images), 0))
