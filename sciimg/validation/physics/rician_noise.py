"""Rician noise: sigma from the air, the law that air follows (its effective number of coils), and sigma in the subject against it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.physics.air import air_and_signal, brightness_cut, no_air
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import gaussian_air, noisier
from sciimg.validation.physics.noncentral_chi import air_sigma, effective_coils, signal_and_sigma
from sciimg.validation.physics.per_sample import PerSample
from sciimg.validation.physics.residuals import residual

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEAST = 200  # voxels of air, and of the subject, in a sample
_MAD = 0.6744897501960817  # of the standard normal distribution


@dataclass(frozen=True)
class _Channel:
    cut: float  # between air and subject
    coils: float


class RicianNoise(PerSample):
    """Distance between distributions over samples of sigma, of the law of air, and of the agreement of air and subject on sigma."""

    name = "rician-noise"
    estimator = (
        "per channel and sample with 200 or more voxels of air and of the subject: ln sigma from the median of air, by a chi law with 2n "
        "degrees of freedom (n: attribute `coils` of the real images, or what their pooled air says); law: ln of the effective n from the "
        "quartile distance of air over its median (Rayleigh: 1); agreement: ln of sigma in the subject (MAD of second differences, "
        "corrected by Koay & Basser) over sigma of air"
    )
    unit = "natural logarithm of a ratio of standard deviations; law: of a ratio of numbers of coils"
    source = (
        "Dietrich et al. 2008, doi:10.1016/j.mri.2008.02.001; Koay & Basser 2006, doi:10.1016/j.jmr.2006.01.016; "
        "effective coils: Aja-Fernandez & Tristan-Vega 2012, doi:10.1002/mrm.23020"
    )
    controls = (Control("noise-1-sigma", noisier(1.0)), Control("gaussian-air", gaussian_air))

    def undefined(self, real: PatchSet) -> str:
        return no_air(real) or _no_law(real)

    def obstacle_in(self, synthetic: PatchSet) -> str:
        return no_air(synthetic)

    def basis(self, real: PatchSet) -> tuple[_Channel, ...]:
        out = []
        for j in range(len(real.channels)):
            images = real.images[:, j].astype(np.float64)
            cut = brightness_cut(images)
            coils = real.attributes.get("coils")
            if not (isinstance(coils, int | float) and coils >= 1):
                coils = _coils(images[air_and_signal(images, real.labels, cut)[0]])
            out.append(_Channel(cut, float(coils)))
        return tuple(out)

    def values(self, patches: PatchSet, basis: tuple[_Channel, ...]) -> dict[str, Array]:
        out: dict[str, Array] = {}
        inner = (slice(None), *(slice(1, -1),) * patches.dims)  # where there is a residual
        for j, channel in enumerate(patches.channels):
            images = patches.images[:, j].astype(np.float64)
            air, signal = air_and_signal(images, patches.labels, basis[j].cut)
            noise = residual(images)
            parts = zip(images, air, images[inner], noise, signal[inner] & (images[inner] > basis[j].cut), strict=True)
            rows = np.array([_measures(*part, basis[j].coils) for part in parts]).reshape(-1, 3)
            out |= {f"{channel}:{name}": rows[:, k] for k, name in enumerate(("sigma", "law", "agreement"))}
        return out

    def smallest(self, name: str) -> float:
        return 0.05


def _measures(image: Array, air: Mask, inner: Array, noise: Array, signal: Mask, coils: float) -> tuple[float, float, float]:
    try:
        if air.sum() < _LEAST:
            raise UndefinedError("too little air")
        law = effective_coils(image[air])
        sigma = air_sigma(image[air], coils)
    except UndefinedError:
        return np.nan, np.nan, np.nan
    try:
        if signal.sum() < _LEAST:
            raise UndefinedError("too little of the subject")
        deviation = float(np.median(np.abs(noise[signal]))) / _MAD
        inside = signal_and_sigma(float(np.median(inner[signal])), deviation, coils)[1]
    except UndefinedError:
        return np.log(sigma), np.log(law), np.nan
    return np.log(sigma), np.log(law), np.log(inside / sigma)


def _coils(air: Array) -> float:
    try:
        return effective_coils(air)
    except UndefinedError:  # the calibration part alone can bring this about
        return 1.0


def _no_law(real: PatchSet) -> str:
    for j, name in enumerate(real.channels):
        images = real.images[:, j].astype(np.float64)
        try:
            effective_coils(images[air_and_signal(images, real.labels, brightness_cut(images))[0]])
        except UndefinedError as error:
            return f"{error} (channel {name!r})"
    return ""
