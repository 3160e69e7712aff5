"""MRIQC's image quality measures, by MRIQC's definitions (release 22 and later: medians and MAD), from an image and its masks.

Esteban et al. 2017, doi:10.1371/journal.pone.0184661. What MRIQC writes as -1 or 0 where there is nothing to measure is undefined here.
Intensities are to be MRIQC's: magnitudes, negative ones set to 0. QI2 is left out: the law it fits, chi-square with free place and scale,
is not that of magnitude air; the number of coils and sigma found by ``rician-noise`` stand for it.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from sciimg.validation.outcome import UndefinedError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DIETRICH = 0.6551364  # sqrt((4 - pi) / 2), with the digits that MRIQC writes
_NORMAL = float(stats.norm.ppf(0.75))  # MAD of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of the intensities in one tissue or in air; ``mad`` is scaled to be the standard deviation of normal data."""

    mean: float
    median: float
    p05: float
    p95: float
    stdv: float
    mad: float
    k: float  # excess kurtosis
    n: int


def summary(values: Array) -> Summary:
    """Return MRIQC's summary statistics of intensities, shape (n,)."""
    if values.size < 2:
        raise UndefinedError(f"{values.size} voxels; two or more are needed")
    p05, median, p95 = (float(q) for q in np.quantile(values, [0.05, 0.5, 0.95], method="averaged_inverted_cdf"))
    spread = float(values.std())
    mad = float(np.median(np.abs(values - median))) / _NORMAL
    mean = float(values.mean())
    kurtosis = float(np.mean((values - mean) ** 4)) / spread**4 - 3 if spread > 0 else 0.0
    return Summary(mean, median, p05, p95, spread, mad, kurtosis, values.size)


def snr(tissue: Summary) -> float:
    """Return the signal-to-noise ratio within a tissue: median over the sample standard deviation."""
    return tissue.median / _positive(tissue.stdv * sqrt(tissue.n / (tissue.n - 1)), "the tissue has one value")


def snr_dietrich(tissue: Summary, air: Summary) -> float:
    """Return the signal-to-noise ratio against air: Dietrich et al. 2007, eq. A.12, doi:10.1002/jmri.20969, with the MAD of air."""
    return DIETRICH * tissue.median / _positive(air.mad, "no background: air has one value")


def cnr(white: Summary, grey: Summary, air: Summary) -> float:
    """Return the contrast-to-noise ratio of white and grey matter: Magnotta & Friedman 2006, doi:10.1007/s10278-006-0264-x."""
    noise = sqrt(air.stdv**2 + white.stdv**2 + grey.stdv**2)
    return abs(white.median - grey.median) / _positive(noise, "tissues and air have one value each")


def cjv(white: Summary, grey: Summary) -> float:
    """Return the coefficient of joint variation: Ganzetti et al. 2016, doi:10.3389/fninf.2016.00010."""
    return (white.mad + grey.mad) / _positive(abs(white.median - grey.median), "white and grey matter have one median")


def fber(image: Array, head: Mask, air: Mask) -> float:
    """Return the foreground-background energy ratio: median energy in the head over that in air."""
    if not head.any() or not air.any():
        raise UndefinedError("no background: no voxel of air, or none of the head")
    energy = _positive(float(np.median(image[air] ** 2)), "no background: the median of air is 0")
    return float(np.median(image[head] ** 2)) / energy


def efc(image: Array) -> float:
    """Return the entropy focus criterion over its largest value: Atkinson et al. 1997, doi:10.1109/42.650886. 1 for a constant image."""
    if image.size < 2:
        raise UndefinedError("one voxel")
    share = image / _positive(sqrt(float(np.sum(image**2))), "the image is zero")
    entropy = float(np.sum(share * np.log((image + 1e-16) / sqrt(float(np.sum(image**2))))))
    return float(entropy / (sqrt(image.size) * np.log(1 / sqrt(image.size))))


def wm2max(image: Array, white: Summary) -> float:
    """Return the median of white matter over the 99.95 % quantile of the whole image."""
    return white.median / _positive(float(np.percentile(image, 99.95)), "the image is zero")


def artefacts(image: Array, air: Mask) -> Mask:
    """Return the voxels of air that hold an artefact: Mortamet et al. 2009, doi:10.1002/mrm.21992, as MRIQC has it.

    Brighter than ten MAD of air, farther from the rest than a tenth of the largest such distance, and left after an opening with a cross.
    """
    values = image[air]
    positive = values[values > 0]
    if positive.size < 10:
        raise UndefinedError("no background: fewer than 10 voxels of air are not 0")
    mad = _positive(float(np.median(np.abs(positive - np.median(positive)))) / _NORMAL, "no background: air has one value")
    distance = ndimage.distance_transform_edt(air)
    marked = air & (image / mad > 10) & (distance >= 0.1 * distance.max())
    return np.asarray(ndimage.binary_opening(marked, ndimage.generate_binary_structure(image.ndim, 1)), dtype=bool)


def qi1(image: Array, air: Mask) -> float:
    """Return the share of air that holds an artefact."""
    return float(artefacts(image, air).sum() / air.sum())


def _positive(value: float, otherwise: str) -> float:
    if not value > 0:
        raise UndefinedError(otherwise)
    return value
