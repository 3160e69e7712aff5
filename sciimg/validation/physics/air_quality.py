"""Air quality: MRIQC's measures of every sample that rest on the air around the subject."""

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.physics.air import air_and_signal, brightness_cut, no_air
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import noisier, spotted
from sciimg.validation.physics.per_sample import PerSample
from sciimg.validation.physics.quality import fber, qi1, snr_dietrich, summary

Array = NDArray[np.float64]

_LEAST = 200  # voxels of air, and of the subject, in a sample


class AirQuality(PerSample):
    """Distance between distributions over samples of MRIQC's measures of air."""

    name = "air-quality"
    estimator = (
        "per channel and sample with 200 or more voxels of air and of the subject, by MRIQC's definitions: snrd (0.655 x median of the "
        "subject over the MAD of air), fber (median energy of the subject over that of air), qi1 (share of air that holds an artefact)"
    )
    unit = "natural logarithm of snrd and fber; qi1: share of air"
    source = "MRIQC: Esteban et al. 2017, doi:10.1371/journal.pone.0184661; artefacts: Mortamet et al. 2009, doi:10.1002/mrm.21992"
    controls = (Control("noise-1-sigma", noisier(1.0)), Control("spots", spotted))

    def undefined(self, real: PatchSet) -> str:
        return no_air(real)

    def obstacle_in(self, synthetic: PatchSet) -> str:
        return no_air(synthetic)

    def basis(self, real: PatchSet) -> tuple[float, ...]:
        return tuple(brightness_cut(real.images[:, j].astype(np.float64)) for j in range(len(real.channels)))

    def values(self, patches: PatchSet, basis: tuple[float, ...]) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for j, channel in enumerate(patches.channels):
            images = np.maximum(patches.images[:, j].astype(np.float64), 0)  # as MRIQC does
            air, signal = air_and_signal(images, patches.labels, basis[j])
            rows = np.array([_measures(*one) for one in zip(images, air, signal, strict=True)]).reshape(-1, 3)
            out |= {f"{channel}:{name}": rows[:, k] for k, name in enumerate(("snrd", "fber", "qi1"))}
        return out

    def smallest(self, name: str) -> float:
        return 0.002 if name.endswith(":qi1") else 0.05


def _measures(image: Array, air: NDArray[np.bool_], signal: NDArray[np.bool_]) -> tuple[float, float, float]:
    if min(air.sum(), signal.sum()) < _LEAST:
        return np.nan, np.nan, np.nan
    try:
        snrd = snr_dietrich(summary(image[signal]), summary(image[air]))
        energy = fber(image, signal, air)
        if snrd <= 0 or energy <= 0:
            raise UndefinedError("the subject is dark")
        return float(np.log(snrd)), float(np.log(energy)), qi1(image, air)
    except UndefinedError:
        return np.nan, np.nan, np.nan
