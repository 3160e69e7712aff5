"""Grey-level comb: whether grey levels are used evenly, or only every second, fourth, 257th, as where coarser data were rescaled.

A histogram that skips levels with a period p is a comb, and the Fourier transform of a comb has a peak at frequency 1/p. A smooth
histogram has none: its transform (the characteristic function of the intensities) dies away at periods below the width of the noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import coarser

Array = NDArray[np.float64]

_LEVELS = 65536  # steps that a range of real numbers, or of wider integers, is cut into
_LEAST_LEVELS = 16
_PERIODS = 8  # the range holds at least so many periods


@dataclass(frozen=True)
class _Channel:
    name: str
    start: float
    step: float  # one grey level
    octaves: int  # periods of 2 to 4 levels, 4 to 8, ...


class GreyLevelComb(Check):
    """Distance between mean heights of the highest peak of the histogram's Fourier transform, octave by octave of the period."""

    name = "grey-level-comb"
    estimator = (
        "per channel and sample: histogram over single grey levels without the lowest and the highest one; largest modulus of its Fourier "
        "transform, as a fraction of the pixels, among periods of 2 to 4 levels, 4 to 8, and so on to an eighth of the range; mean over "
        "samples, and of its differences the largest"
    )
    unit = "fraction of the pixels that take part in the comb"
    source = (
        "characteristic function of quantised values: Widrow & Kollar 2008, doi:10.1017/CBO9780511754661, chapter 4; comb histograms: "
        "Stamm & Liu 2010, doi:10.1109/TIFS.2010.2053202"
    )
    controls = (Control("256-levels", coarser(256)),)

    def obstacle(self, real: PatchSet) -> str:
        few = [law for law in self.frame(real) if law.octaves < 1]
        return f"channel {few[0].name!r} spans fewer than {_LEAST_LEVELS} grey levels in the typical image" if few else ""

    def frame(self, real: PatchSet) -> tuple[_Channel, ...]:
        channels = []
        for index, name in enumerate(real.channels):
            images = real.images[:, index].reshape(len(real), -1).astype(np.float64)
            low, high = float(images.min()), float(images.max())
            step = (high - low) / (_LEVELS - 1) or 1.0
            if real.images.dtype.kind in "iu":
                step = max(1.0, step)
            span = float(np.median(np.ptp(images, axis=1))) / step
            octaves = int(np.log2(span / _PERIODS)) if span >= _LEAST_LEVELS else 0
            channels.append(_Channel(name, low, step, octaves))
        return tuple(channels)

    def measure(self, patches: PatchSet, frame: tuple[_Channel, ...]) -> Array:
        """Return, per sample and channel: the highest peak in each octave, and 1 to count samples."""
        out = np.zeros((len(patches), len(frame), max(law.octaves for law in frame) + 1))
        out[..., -1] = 1
        for j, law in enumerate(frame):
            for i, values in enumerate(patches.images[:, j].reshape(len(patches), -1).astype(np.float64)):
                out[i, j, : law.octaves] = peaks(np.rint((values - law.start) / law.step), law.octaves)
        return out

    def distance(self, first: Array, second: Array, frame: tuple[_Channel, ...]) -> dict[str, Array]:
        gap = np.abs(_mean(first) - _mean(second))
        return {law.name: gap[:, j].max(axis=-1) for j, law in enumerate(frame)}

    def floors(self, frame: tuple[_Channel, ...]) -> dict[str, float]:
        return {law.name: 0.05 for law in frame}

    def curves(self, total: Array, frame: tuple[_Channel, ...]) -> dict[str, Array]:
        mean = _mean(total[None])[0]
        out = {}
        for j, law in enumerate(frame):
            out[f"{law.name}-octave"] = np.arange(1.0, law.octaves + 1)
            out[f"{law.name}-comb"] = mean[j, : law.octaves]
        return out


def peaks(levels: Array, octaves: int) -> Array:
    """Return the highest modulus of the characteristic function of whole numbers (n,) in each octave of period: (octaves,).

    Octave k holds frequencies from 2^-(k+2) to 2^-(k+1) cycles per level; 1 means that all numbers are multiples of one period. The lowest
    and the highest number are left out, where clipping gathers values.
    """
    near = np.abs(levels - np.median(levels)) < _LEVELS  # farther out lie a few pixels at most, which no comb is made of
    inner = levels[near & (levels > levels.min()) & (levels < levels.max())]
    if inner.size == 0:
        return np.zeros(octaves)
    histogram = np.bincount((inner - inner.min()).astype(np.int64))
    size = 1 << int(np.ceil(np.log2(max(4 * 2**octaves, 2 * len(histogram)))))  # padded: a peak between two frequencies is found as well
    power = np.abs(np.fft.rfft(histogram, size)) / inner.size
    return np.array([power[size >> (k + 2) : (size >> (k + 1)) + 1].max() for k in range(octaves)])


def _mean(rows: Array) -> Array:
    mean: Array = rows[..., :-1] / np.maximum(rows[..., -1:], 1.0)
    return mean
