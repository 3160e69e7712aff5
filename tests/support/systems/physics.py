"""Physics last: the dose and the SNR that were asked for are read from the images, by estimators that do not know the request."""

import numpy as np
from numpy.typing import NDArray

from sciimg.validation.physics.residuals import local_mean, residual

from .common import mask_obedience
from .datasets import DARK
from .subject import Answerer, Measure, Subject

_OBEYS = 0.7  # share of the real images' mask obedience below which an exact dose of nothing is worthless


def dose_error(answerer: Answerer, subject: Subject) -> float | None:
    """Largest relative error of the light in samples of half, usual and double dose, over the dark level that was put into the data."""
    if (mask_obedience(answerer, subject) or 0.0) < _OBEYS:
        return None
    light = {dose: _asked(answerer, subject, "dose", dose).astype(np.float64) - DARK for dose in (0.5, 1.0, 2.0)}
    usual = light[1.0].mean()
    return max(abs(own.mean() / usual / dose - 1) for dose, own in light.items())


def snr_error(answerer: Answerer, subject: Subject) -> float | None:
    """Largest relative error of the SNR of samples for 10 and 20: mean where there is tissue over the robust residual there."""
    if (mask_obedience(answerer, subject) or 0.0) < _OBEYS:
        return None
    worst = 0.0
    for snr in (10.0, 20.0):
        images = _asked(answerer, subject, "snr", snr)[:, 0].astype(np.float64)
        level, spread = local_mean(images), residual(images)
        tissue = level > 0.3 * np.quantile(level, 0.99)
        sigma = np.median(np.abs(spread[tissue])) / 0.6744897501960817
        # the mean is over voxels with signal, as the request defines it
        worst = max(worst, abs(float(level[tissue].mean() / sigma) / snr - 1))
    return worst


def _asked(answerer: Answerer, subject: Subject, name: str, value: float) -> NDArray[np.generic]:
    return answerer.sample(subject.told.labels, subject.told.table.assign(**{name: value}))


MEASURES: dict[str, Measure] = {"dose-error": dose_error, "snr-error": snr_error}
