"""Detector range: the level of the background, and how many pixels lie at the dark and at the bright end of what the detector gives."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import black_clipped, lifted, overexposed
from sciimg.validation.physics.histograms import counts, edges_of, quantile
from sciimg.validation.physics.residuals import MEDIAN, local_mean, residual

Array = NDArray[np.float64]

_BINS = 128
_DARK = 0.05
_ENDS = (0.0001, 0.9999)  # quantiles; a lone hot pixel does not say where the detector saturates
_LEAST_SIDE = 5


@dataclass(frozen=True)
class _Channel:
    name: str
    edges: Array
    noise: float  # standard deviation of the noise where it is dark
    lowest: float
    highest: float


class DetectorRange(Check):
    """Distance between background levels, in units of their noise, and between shares of pixels at either end of the range."""

    name = "detector-range"
    estimator = (
        "per channel: 5 % quantile of pooled intensities (background) over the noise of the darkest tenth of real pixels, median of "
        "|residual| / 0.6745; fraction of pixels at or below the 0.01 % quantile of real intensities, and at or above the 99.99 % quantile"
    )
    unit = "background: standard deviations of the noise where it is dark; black, saturated: fraction of pixels"
    source = (
        "offset, background and saturation in quantitative microscopy: Waters 2009, doi:10.1083/jcb.200903097; "
        "noise: Immerkaer 1996, doi:10.1006/cviu.1996.0060"
    )
    controls = (
        Control("background-raised-30-percent", lifted(0.3)),
        Control("10-percent-black", black_clipped(0.1)),
        Control("10-percent-saturated", overexposed(0.1)),
    )

    def obstacle(self, real: PatchSet) -> str:
        if min(real.images.shape[2:]) < _LEAST_SIDE:
            return f"needs at least {_LEAST_SIDE} pixels a side, got {real.images.shape[2:]}"
        flat = [name for c, name in enumerate(real.channels) if real.images[:, c].min() == real.images[:, c].max()]
        return f"every pixel of channel {flat[0]!r} is the same" if flat else ""

    def frame(self, real: PatchSet) -> tuple[_Channel, ...]:
        channels = []
        for index, name in enumerate(real.channels):
            images = real.images[:, index].astype(np.float64)
            # even bins as well: between a masked background and the signal there are no quantiles
            edges = np.unique(np.concatenate([edges_of(images.ravel(), _BINS), np.linspace(images.min(), images.max(), 2 * _BINS + 1)]))
            low, high = (float(v) for v in np.quantile(images, _ENDS))
            channels.append(_Channel(name, edges, _dark_noise(images), low, high))
        return tuple(channels)

    def measure(self, patches: PatchSet, frame: tuple[_Channel, ...]) -> Array:
        """Return, per sample and channel: the histogram, then pixels at the dark and at the bright end."""
        out = np.zeros((len(patches), len(frame), max(len(c.edges) for c in frame) + 1))
        for j, law in enumerate(frame):
            for i, values in enumerate(patches.images[:, j].reshape(len(patches), -1).astype(np.float64)):
                out[i, j, : len(law.edges) - 1] = counts(values, law.edges)
                out[i, j, -2:] = np.sum(values <= law.lowest), np.sum(values >= law.highest)
        return out

    def distance(self, first: Array, second: Array, frame: tuple[_Channel, ...]) -> dict[str, Array]:
        out = {}
        for j, law in enumerate(frame):
            (dark, ends), (other_dark, other_ends) = _taken_apart(first[:, j], law), _taken_apart(second[:, j], law)
            out[f"{law.name}:background"] = np.abs(dark - other_dark) / law.noise
            for part, share, other in zip(("black", "saturated"), ends.T, other_ends.T, strict=True):
                out[f"{law.name}:{part}"] = np.abs(share - other)
        return out

    def floors(self, frame: tuple[_Channel, ...]) -> dict[str, float]:
        smallest = {"background": 0.25, "black": 0.005, "saturated": 0.005}
        return {f"{law.name}:{part}": floor for law in frame for part, floor in smallest.items()}

    def curves(self, total: Array, frame: tuple[_Channel, ...]) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for j, law in enumerate(frame):
            dark, ends = _taken_apart(total[None, j], law)
            out |= {f"{law.name}-background": dark, f"{law.name}-black-and-saturated": ends[0]}
        return out


def _taken_apart(rows: Array, law: _Channel) -> tuple[Array, Array]:
    """Return the background level, shape (B,), and the shares at both ends, shape (B, 2)."""
    histogram = rows[:, : len(law.edges) - 1]
    return quantile(histogram, law.edges, _DARK), rows[:, -2:] / np.maximum(histogram.sum(axis=-1, keepdims=True), 1.0)


def _dark_noise(images: Array) -> float:
    """Return the noise of the darkest tenth of pixels; where that is zero (masked background), that of all pixels, or of their range."""
    level, size = local_mean(images), np.abs(residual(images))
    for chosen in (size[level <= np.quantile(level, 0.1)], size):
        if noise := float(np.median(chosen)) / MEDIAN:
            return noise
    return float(np.ptp(images)) / 256
