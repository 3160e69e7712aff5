"""Magnitude images of several coils: their noise law, and how to find its sigma in air and in signal.

The root of the sum of squares of n complex coil images with independent Gaussian noise of standard deviation sigma in each part follows a
noncentral chi law with 2n degrees of freedom; with one coil that is the Rician law, and in air the Rayleigh law.
Dietrich et al. 2008, doi:10.1016/j.mri.2008.02.001; Koay & Basser 2006, doi:10.1016/j.jmr.2006.01.016.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from sciimg.validation.outcome import UndefinedError

Array = NDArray[np.float64]

FEWEST, MOST = 0.1, 128.0  # effective coils; correlated coils or filters give a number that is not whole
_FAR = 30.0  # from this ratio of mean to deviation on the law is Gaussian to a part in a thousand for any such number of coils


def moments(signal: float, coils: float) -> tuple[float, float]:
    """Return mean and variance of the magnitude in units of sigma, for a signal in units of sigma (Koay & Basser 2006, eqs. 17 and 18)."""
    scale = np.sqrt(2) * np.exp(special.gammaln(coils + 0.5) - special.gammaln(coils))
    mean = float(scale * special.hyp1f1(-0.5, coils, -(signal**2) / 2))
    return mean, 2 * coils + signal**2 - mean**2


def signal_and_sigma(mean: float, deviation: float, coils: float) -> tuple[float, float]:
    """Return the signal and the sigma whose magnitude has this mean and standard deviation, in the units of both.

    The solution of Koay & Basser 2006, eq. 21. A mean too small for its deviation, which chance alone brings, has no signal.
    """
    if not deviation > 0:
        raise UndefinedError("the region has one value")
    ratio = mean / deviation

    def excess(signal: float) -> float:
        at, variance = moments(signal, coils)
        return float(at / np.sqrt(variance) - ratio)

    if ratio > max(_FAR, 4 * np.sqrt(coils)):
        return float(np.sqrt(max(mean**2 + (1 - 2 * coils) * deviation**2, 0.0))), deviation
    signal = 0.0 if excess(0.0) >= 0 else float(optimize.brentq(excess, 0.0, 2 * ratio + 4 * np.sqrt(coils)))
    sigma = deviation / np.sqrt(moments(signal, coils)[1])
    return float(signal * sigma), float(sigma)


def effective_coils(air: Array) -> float:
    """Return the number of coils whose air has the ratio of quartile distance to median that these magnitudes have: 1 for Rayleigh air.

    Quartiles pass by the few per cent of voxels that ghosts or flow brighten. Tied values count as spread evenly around their place.
    """
    low, middle, high = quantiles(air, (0.25, 0.5, 0.75))
    if not middle > 0 or not high > low or air.min() < 0:
        raise UndefinedError("no background: air does not hold the magnitudes of noise")
    width = (high - low) / middle

    def excess(log_coils: float) -> float:
        quartiles = central(np.array([0.25, 0.5, 0.75]), np.exp(log_coils))
        return float((quartiles[2] - quartiles[0]) / quartiles[1] - width)

    ends = np.log(FEWEST), np.log(MOST)
    if excess(ends[0]) <= 0:
        return FEWEST
    return MOST if excess(ends[1]) >= 0 else float(np.exp(optimize.brentq(excess, *ends)))


def air_sigma(air: Array, coils: float) -> float:
    """Return the sigma of a coil from the median of magnitude air, which follows a central chi law."""
    return float(quantiles(air, (0.5,))[0] / central(np.array(0.5), coils))


def central(levels: Array, coils: float) -> Array:
    """Return quantiles of magnitude air in units of sigma: a chi law with 2n degrees of freedom."""
    out: Array = np.sqrt(2 * special.gammaincinv(coils, levels))
    return out


def quantiles(values: Array, levels: tuple[float, ...]) -> list[float]:
    """Return quantiles of the mid-distribution, which grid values (integers) do not round: Ma, Genton & Parzen 2011."""
    places, numbers = np.unique(values, return_counts=True)
    middle = (np.cumsum(numbers) - numbers / 2) / values.size
    return [float(q) for q in np.interp(levels, middle, places)]
