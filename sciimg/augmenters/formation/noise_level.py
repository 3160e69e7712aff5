"""Noise measured on real images themselves: its level, and how that grows with the signal.

The residual that no smooth image has (second differences along every axis; Immerkær 1996, doi:10.1006/cviu.1996.0060) is compared with the
local mean; the line through variance against mean gives gain and read noise (Foi et al. 2008, doi:10.1109/TIP.2008.2001399). Robust
quantiles keep edges out. Judges measure noise by code of their own.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import norm

Array = NDArray[np.float64]
_LEVELS = 16
_FEWEST = 200  # pixels of a level
_WILD = 5.0  # standard deviations beyond which a residual is an edge
_SHARE = 0.5  # calmest share of a level's pixels: edges and texture are in the rest


def residuals(images: Array, dims: int) -> Array:
    """Return residuals of unit gain on white noise for images (..., [Z,] Y, X); one pixel is lost at every border."""
    out = images
    for axis in range(images.ndim - dims, images.ndim):
        if images.shape[axis] >= 3:
            out = np.diff(out, n=2, axis=axis) / np.sqrt(6.0)
    return out


def sigma_of(values: Array) -> float:
    """Return the standard deviation of normal values from the median of their size; outliers do not move it."""
    return float(np.median(np.abs(values)) / norm.ppf(0.75))


def _variance(values: Array) -> float:
    """Mean square with the largest few held back: unlike a median it is right for counts of a few photons, which are not normal."""
    limit = _WILD * sigma_of(values)
    return float(np.square(np.clip(values, -limit, limit) if limit > 0 else values).mean())


def variance_by_level(images: Array, dims: int) -> tuple[Array, Array, Array]:
    """Return mean level, noise variance and number of pixels of up to 16 levels of intensity.

    Parameters
    ----------
    images : array, shape (N, [Z,] Y, X)
        One channel.
    """
    spread = residuals(images, dims)
    used = [axis for axis in range(images.ndim - dims, images.ndim) if images.shape[axis] >= 3]
    inside = tuple(slice(1, -1) if axis in used else slice(None) for axis in range(images.ndim))
    size = [3 if axis in used else 0 for axis in range(images.ndim)]
    mean = ndimage.uniform_filter(images, [s or 1 for s in size], mode="mirror")[inside]
    wide = ndimage.uniform_filter(images, [5 if s else 1 for s in size], mode="mirror")[inside]
    calm = np.abs(mean - wide)  # where the signal itself changes: chosen by a quantity that does not hold the residual
    edges = np.quantile(mean, np.linspace(0, 1, _LEVELS + 1))
    place = np.clip(np.searchsorted(edges, mean.ravel(), side="right") - 1, 0, _LEVELS - 1)
    rows = []
    for level in range(_LEVELS):
        own = np.flatnonzero(place == level)
        if len(own) < _FEWEST:
            continue
        own = own[np.argsort(calm.ravel()[own], kind="stable")[: int(_SHARE * len(own))]]
        rows.append((mean.ravel()[own].mean(), _variance(spread.ravel()[own]), len(own)))
    table = np.array(rows).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]
