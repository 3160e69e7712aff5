"""Photon transfer: how the variance of noise grows with the mean, as a camera's gain, and the noise at a usual intensity."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import gamma_changed, noisier
from sciimg.validation.physics.noise_law import Channel, NoiseLaw, sigma
from sciimg.validation.physics.residuals import local_mean

Array = NDArray[np.float64]

_LEVELS = 24  # narrow ones: a class that mixes variances looks quieter than it is
_LEAST_LEVELS = 6
_LEAST = 200  # pixels below which a level says nothing
_STRAIGHT = 0.8  # share of the variance of variances that a straight line explains


@dataclass(frozen=True)
class _Frame:
    noise: tuple[Channel, ...]
    middle: tuple[float, ...]  # median real intensity, per channel, where the noise is read
    gains: tuple[float, ...]  # smallest gain that is told from none


class PhotonTransfer(Check):
    """Distance between logarithms of gain, and of noise at the real median intensity, from the straight line of variance over mean."""

    name = "photon-transfer"
    estimator = (
        "per channel: robust variance of pixel-scale residuals and mean intensity in 24 classes of equal width, the outermost two left "
        "out; straight line variance = gain x (mean - real median intensity) + variance there, weighted by pixels over squared variance; "
        "images alone do not tell the camera's offset from its read noise: the variance holds both"
    )
    unit = "natural logarithm of a ratio of gains; of standard deviations at the real median intensity"
    source = "photon transfer: Janesick 2007, doi:10.1117/3.725073; from single images: Foi et al. 2008, doi:10.1109/TIP.2008.2001399"
    controls = (Control("noise-2-sigma", noisier(2.0)), Control("gamma-2", gamma_changed(2.0)))

    def obstacle(self, real: PatchSet) -> str:
        if reason := NoiseLaw().obstacle(real):
            return reason
        frame = self.frame(real)
        total = self.measure(real, frame).sum(axis=0)
        for index, name in enumerate(real.channels):
            mean, variance, weight = _points(total[None, index], frame, index)
            if reason := _bent(mean[0], variance[0], weight[0]):
                return f"channel {name!r}: {reason}"
        return ""

    def frame(self, real: PatchSet) -> _Frame:
        noise, middle = [], []
        for index, law in enumerate(NoiseLaw().frame(real)):
            level = local_mean(real.images[:, index].astype(np.float64))
            # classes of equal width: within one of them the variance hardly changes, and the line has its whole length
            low, high = np.quantile(level, [0.01, 0.99])
            levels = np.linspace(low, high, _LEVELS + 1)
            law = replace(law, levels=np.concatenate([[-np.inf], levels[1:-1], [np.inf]]))
            noise.append(law)
            middle.append(float(np.median(level)))
        first = _Frame(tuple(noise), tuple(middle), (np.finfo(np.float64).tiny,) * len(noise))
        total = self.measure(real, first).sum(axis=0)
        return replace(first, gains=tuple(float(gain_and_variance(total[None, j], first, j)[0][0]) / 100 for j in range(len(noise))))

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        """Return, per sample, channel and class: the noise law's histogram of |residual|, then the sum of local means."""
        histograms = NoiseLaw().measure(patches, frame.noise)
        sums = np.zeros((*histograms.shape[:3], 1))
        for j, law in enumerate(frame.noise):
            level = local_mean(patches.images[:, j].astype(np.float64)).reshape(len(patches), -1)
            for i, row in enumerate(level):
                place = np.clip(np.searchsorted(law.levels, row, side="right") - 1, 0, histograms.shape[2] - 1)
                sums[i, j, :, 0] = np.bincount(place, weights=row, minlength=histograms.shape[2])
        return np.concatenate([histograms, sums], axis=-1)

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        out = {}
        for j, law in enumerate(frame.noise):
            (gain, variance), (other_gain, other_variance) = (gain_and_variance(rows[:, j], frame, j) for rows in (first, second))
            out[f"{law.name}:gain"] = np.abs(np.log(gain / other_gain))
            out[f"{law.name}:noise"] = np.abs(np.log(variance / other_variance)) / 2
        return out

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {f"{law.name}:{part}": 0.05 for law in frame.noise for part in ("gain", "noise")}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for j, law in enumerate(frame.noise):
            mean, variance, _ = _points(total[None, j], frame, j)
            out |= {f"{law.name}-mean": np.nan_to_num(mean[0]), f"{law.name}-variance": np.nan_to_num(variance[0])}
            out[f"{law.name}-gain-and-variance"] = np.concatenate(gain_and_variance(total[None, j], frame, j))
        return out


def _points(rows: Array, frame: _Frame, channel: int) -> tuple[Array, Array, Array]:
    """Return mean, variance and weight of each class, each (B, classes); the weight is 0 where the class has too few pixels."""
    law = frame.noise[channel]
    histogram = rows[..., : len(law.edges) - 1]
    number = histogram.sum(axis=-1)
    mean = rows[..., -1] / np.maximum(number, 1.0)
    variance = np.maximum(np.nan_to_num(sigma(histogram, law.edges)), law.floor) ** 2
    weight = np.where(number >= _LEAST, number / variance**2, 0.0)  # a variance is known to a share of itself
    weight[..., [0, -1]] = 0.0  # open at one side, so of unknown width
    return mean, variance, weight


def _line(mean: Array, variance: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return slope, weighted mean of the abscissa and of the ordinate of the least squares line, each (B,)."""
    total = weight.sum(axis=-1)
    safe = np.where(total > 0, total, 1.0)[:, None]
    x, y = ((weight * part).sum(axis=-1, keepdims=True) / safe for part in (mean, variance))
    spread = (weight * (mean - x) ** 2).sum(axis=-1)
    slope = (weight * (mean - x) * (variance - y)).sum(axis=-1) / np.where(spread > 0, spread, 1.0)
    return np.where(spread > 0, slope, np.nan), x[:, 0], y[:, 0]


def gain_and_variance(rows: Array, frame: _Frame, channel: int) -> tuple[Array, Array]:
    """Return gain (grey levels a photon) and variance at the real median intensity, each (B,); NaN where one class holds every pixel."""
    slope, x, y = _line(*_points(rows, frame, channel))
    floor = frame.noise[channel].floor ** 2
    return np.maximum(slope, frame.gains[channel]), np.maximum(y + slope * (frame.middle[channel] - x), floor)


def _bent(mean: Array, variance: Array, weight: Array) -> str:
    """Return why variance is no straight, rising line over the mean, or ``""``."""
    known = weight > 0
    if known.sum() < _LEAST_LEVELS:
        return f"{known.sum()} levels of intensity have {_LEAST} pixels; {_LEAST_LEVELS} are needed for a line"
    slope, x, y = (part[0] for part in _line(mean[None], variance[None], weight[None]))
    left = (weight * (variance - y - slope * (mean - x)) ** 2).sum()
    explained = 1 - left / max(float((weight * (variance - y) ** 2).sum()), np.finfo(np.float64).tiny)
    if slope <= 0 or explained < _STRAIGHT:
        return (
            f"the variance of noise is no straight line over the mean that rises (it explains {max(explained, 0):.0%}, {_STRAIGHT:.0%} are "
            "needed): intensities were processed, or structure as fine as a pixel hides the noise"
        )
    return ""
