"""What is left of an image where its structure is taken out: pixel-scale residuals, and the local mean that goes with them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]

MEDIAN = 0.6744897501960817  # of |N(0, 1)|


def residual(images: Array) -> Array:
    """Return high-pass residuals whose standard deviation is that of white noise, for images (N, [Z,] Y, X); borders cut by one.

    The second difference [1, -2, 1] is taken along every axis in turn and divided by sqrt(6) each, its own norm: Immerkær 1996,
    doi:10.1006/cviu.1996.0060 (whose mask is this product in 2D). Any image that is linear along some axis leaves no residual.
    """
    out = images
    for axis in range(1, images.ndim):
        n = images.shape[axis]
        before, middle, after = (np.take(out, range(start, n - 2 + start), axis=axis) for start in range(3))
        out = (before - 2 * middle + after) / np.sqrt(6.0)
    return out


def local_mean(images: Array) -> Array:
    """Return the mean over 3 pixels a side, at the pixels of :func:`residual`."""
    means = ndimage.uniform_filter(images, (0, *(3,) * (images.ndim - 1)), mode="reflect")
    inside: Array = means[(slice(None), *(slice(1, -1),) * (images.ndim - 1))]
    return inside


def robust_sigma(images: Array) -> float:
    """Return the standard deviation of white noise in images (N, [Z,] Y, X) from the median of their absolute residuals."""
    return float(np.median(np.abs(residual(images)))) / MEDIAN
