"""Photon transfer: how the variance of noise grows with the mean, as a camera's gain, and the noise at a usual intensity.

Where the camera's offset is known, the line's variance there is that of reading: no photon adds to it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import gamma_changed, noisier
from sciimg.validation.physics.noise_law import Channel, NoiseLaw, sigma
from sciimg.validation.physics.residuals import local_mean
from sciimg.validation.pooling import by_group

Array = NDArray[np.float64]

_LEVELS = 24  # narrow ones: a class that mixes variances looks quieter than it is
_LEAST_LEVELS = 6
_LEAST = 200  # pixels below which a level says nothing
_STRAIGHT = 0.8  # share of the variance of variances that a straight line explains
_SURE = 1 / 4  # of the variance at the offset that its standard error may be: read noise is then known to about an eighth


@dataclass(frozen=True)
class _Dark:
    offset: float  # grey level without light
    variance: float  # of reading, in the real images
    error: float  # standard error of the variance


@dataclass(frozen=True)
class _Frame:
    noise: tuple[Channel, ...]
    middle: tuple[float, ...]  # median real intensity, per channel, where the noise is read
    gains: tuple[float, ...]  # smallest gain that is told from none
    dark: dict[int, _Dark] = field(default_factory=dict)  # by number of the channel, where its read noise is told
    left_out: dict[str, str] = field(default_factory=dict)  # channel whose read noise is not told though offsets are given, and why


class PhotonTransfer(Check):
    """Distance between logarithms of gain, and of noise at the real median intensity, from the straight line of variance over mean.

    Where a source's ``detector`` gives the offset of a channel, of read noise as well: the root of the line's variance at the offset.
    Images without dark pixels do not tell it: where the standard error of the variance at the offset (jackknife over groups) is more than
    a quarter of the variance, the component is left out, and the record says so.
    """

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
            noise = float(np.sqrt(gain_and_variance(total[None, index], frame, index)[1][0]))
            offset = _given(real).get(name, -np.inf)
            if offset > frame.middle[index] + noise:  # half of the pixels are darker than no light
                return (
                    f"channel {name!r}: the offset {offset:g} lies above its intensities, whose median is {frame.middle[index]:.4g}; "
                    "`detector` of the study's source takes the grey level of the prepared images where no light falls"
                )
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
        rows = self.measure(real, first)
        total = rows.sum(axis=0)
        made = replace(first, gains=tuple(float(gain_and_variance(total[None, j], first, j)[0][0]) / 100 for j in range(len(noise))))
        return _with_dark(made, by_group(rows, real.groups)[1], _given(real)) if "offsets" in real.attributes else made

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
            if j in frame.dark:
                read, other_read = (_read_variance(rows[:, j], frame, j) for rows in (first, second))
                out[f"{law.name}:read-noise"] = np.abs(np.log(read / other_read)) / 2
        return out

    def floors(self, frame: _Frame) -> dict[str, float]:
        parts = [("gain", "noise", "read-noise") if j in frame.dark else ("gain", "noise") for j in range(len(frame.noise))]
        return {f"{law.name}:{part}": 0.05 for law, own in zip(frame.noise, parts, strict=True) for part in own}

    def record(self, frame: _Frame) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if frame.dark:
            told["estimator"] = f"{self.estimator}; read noise: root of that line's variance at the offset that the study gives"
            told["component_unit"] = f"{self.unit}; of read noises"
            told["real_read_noise"] = {
                frame.noise[j].name: {
                    "offset": dark.offset,
                    "value": float(np.sqrt(dark.variance)),
                    "standard_error": float(dark.error / np.sqrt(dark.variance) / 2),
                    "unit": "grey levels",
                }
                for j, dark in frame.dark.items()
            }
        if frame.left_out:
            told["left_out"] = {f"{name}:read-noise": reason for name, reason in frame.left_out.items()}
        return told

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for j, law in enumerate(frame.noise):
            mean, variance, _ = _points(total[None, j], frame, j)
            out |= {f"{law.name}-mean": np.nan_to_num(mean[0]), f"{law.name}-variance": np.nan_to_num(variance[0])}
            out[f"{law.name}-gain-and-variance"] = np.concatenate(gain_and_variance(total[None, j], frame, j))
            if j in frame.dark:
                out[f"{law.name}-read-noise"] = np.sqrt(_read_variance(total[None, j], frame, j))
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


def _at(rows: Array, frame: _Frame, channel: int, offset: float) -> Array:
    """Return the line's variance at the offset, (B,), below 0 where the line is; NaN where one class holds every pixel."""
    slope, x, y = _line(*_points(rows, frame, channel))
    variance: Array = y + slope * (offset - x)
    return variance


def _read_variance(rows: Array, frame: _Frame, channel: int) -> Array:
    """Return the variance of reading, (B,), of a channel whose real images tell it."""
    variance: Array = np.maximum(_at(rows, frame, channel, frame.dark[channel].offset), frame.noise[channel].floor ** 2)
    return variance


def dark(sums: Array, frame: _Frame, channel: int, offset: float) -> _Dark:
    """Return the variance of reading of pooled groups, statistics (G, ...), and its standard error: the jackknife's, over groups.

    Errors of neighbouring classes go together, as noise moves pixels from one to the other: their scatter about the line says too little.
    """
    total = sums[:, channel].sum(axis=0)
    variance = float(_at(total[None], frame, channel, offset)[0])
    without = _at(total - sums[:, channel], frame, channel, offset)
    error = float(np.sqrt((len(sums) - 1) * without.var())) if len(sums) > 1 else np.inf
    return _Dark(offset, variance, error)


def _given(real: PatchSet) -> dict[str, float]:
    return dict(real.attributes.get("offsets") or {})


def _with_dark(frame: _Frame, sums: Array, given: dict[str, float]) -> _Frame:
    """Return the frame with the read noise of real groups, statistics (G, ...), and why that of other channels is not told."""
    found, left_out = {}, {}
    for j, law in enumerate(frame.noise):
        if law.name not in given:
            left_out[law.name] = "the study's sources give no offset of this channel in `detector`, or not the same"
            continue
        read = dark(sums, frame, j, given[law.name])
        if read.error <= _SURE * read.variance:
            found[j] = read
            continue
        mean, _, weight = _points(sums[:, j].sum(axis=0)[None], frame, j)
        darkest = f"the darkest class of intensity lies at {mean[weight > 0].min():.4g}" if weight.any() else "no class has enough pixels"
        left_out[law.name] = (
            f"at the offset, {read.offset:g}, the variance is {read.variance:.3g} with a standard error of {read.error:.3g}; at most a "
            f"quarter of the variance tells a read noise. {darkest[0].upper()}{darkest[1:]}; images with darker pixels would tell"
        )
    return replace(frame, dark=found, left_out=left_out)


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
