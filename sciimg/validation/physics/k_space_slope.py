"""Slope of k-space: the exponent of the power law that the radial power of every sample follows, and how far it bends."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import blurred, noisier
from sciimg.validation.physics.per_sample import PerSample
from sciimg.validation.physics.power_spectrum import PowerSpectrum

Array = NDArray[np.float64]

_SPECTRUM = PowerSpectrum()


class KSpaceSlope(PerSample):
    """Distance between distributions over samples of the exponent of radial power, and of its change towards high frequencies."""

    name = "k-space-slope"
    estimator = (
        "per channel and sample: least-squares line of log10 power in rings (as in power-spectrum, without the first) over log10 "
        "frequency; slope: the exponent; bend: exponent of the upper half of the rings minus that of the lower half (noise bends it up, "
        "blur down)"
    )
    unit = "exponent of frequency"
    source = (
        "Power law of image spectra: Field 1987, doi:10.1364/JOSAA.4.002379; "
        "van der Schaaf & van Hateren 1996, doi:10.1016/0042-6989(96)00002-8"
    )
    controls = (Control("blur-1px", blurred(1.0)), Control("noise-1-sigma", noisier(1.0)))

    def undefined(self, real: PatchSet) -> str:
        return f"needs at least 16 pixels a side, got {real.images.shape[2:]}" if min(real.images.shape[2:]) < 16 else ""

    def basis(self, real: PatchSet) -> Any:
        return _SPECTRUM.frame(real)

    def values(self, patches: PatchSet, basis: Any) -> dict[str, Array]:
        log_power = _SPECTRUM.measure(patches, basis)[..., 1:-1] / 10  # decibel to log10; the first ring lies within the window's width
        log_frequency = np.log10(basis.frequency[1:])
        half = len(log_frequency) // 2
        out: dict[str, Array] = {}
        for j, channel in enumerate(patches.channels):
            low, high = (exponents(log_power[:, j, part], log_frequency[part]) for part in (slice(0, half), slice(half, None)))
            out |= {f"{channel}:slope": exponents(log_power[:, j], log_frequency), f"{channel}:bend": high - low}
        return out

    def smallest(self, name: str) -> float:
        return 0.05


def exponents(log_power: Array, log_frequency: Array) -> Array:
    """Return the least-squares slope of each row of log power, shape (N, rings), over log frequency, shape (rings,)."""
    away = log_frequency - log_frequency.mean()
    slope: Array = np.sum((log_power - log_power.mean(axis=-1, keepdims=True)) * away, axis=-1) / np.sum(away**2)
    return slope
