"""Noise of unit variance taken out of images by hard thresholds in an undecimated wavelet basis: fast enough for every training batch.

The starlet transform (Starck & Murtagh 2006, *Astronomical Image and Data Analysis*, section 2.2) is isotropic, redundant, and a sum: an
image is its coarse version plus one plane of details a scale.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_SPLINE = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0  # cubic B-spline
_SCALES = 3
_THRESHOLD = (
    3.0,
    2.0,
    1.5,
)  # in standard deviations of the noise at a scale; what passes is kept whole


def details(images: NDArray[np.float64], dims: int) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the details of every scale, finest first, and what remains; their sum is the image.

    Parameters
    ----------
    images : array, shape (..., [Z,] Y, X)
    dims : int
        How many trailing axes are spatial.
    """
    planes = []
    for scale in range(_SCALES):
        coarse = images
        for axis in range(images.ndim - dims, images.ndim):
            if images.shape[axis] > 1:
                coarse = ndimage.correlate1d(coarse, _spread(scale), axis=axis, mode="mirror")
        planes.append(images - coarse)
        images = coarse
    return planes, images


def denoised(images: NDArray[np.float64], dims: int) -> NDArray[np.float64]:
    """Return images whose white noise had unit variance with less of it; shapes as in :func:`details`."""
    planes, out = details(images, dims)
    for plane, sigma, k in zip(planes, noise_of_scales(dims), _THRESHOLD, strict=True):
        out = out + np.where(np.abs(plane) > k * sigma, plane, 0.0)
    return out


@cache
def noise_of_scales(dims: int) -> tuple[float, ...]:
    """Return the standard deviation of each scale's details of unit white noise: the norm of its response to one pixel."""
    spike = np.zeros((65,) * dims)
    spike[(32,) * dims] = 1.0
    return tuple(float(np.linalg.norm(plane)) for plane in details(spike, dims)[0])


def _spread(scale: int) -> NDArray[np.float64]:
    """The spline with 2^scale - 1 zeros between its taps."""
    out = np.zeros(4 * 2**scale + 1)
    out[:: 2**scale] = _SPLINE
    return out
