"""Noise law: standard deviation of pixel-scale residuals as a function of the local mean, per channel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import blurred, noisier
from sciimg.validation.physics.histograms import quantile
from sciimg.validation.physics.residuals import local_mean, residual

Array = NDArray[np.float64]

_LEVELS = 8
_BINS = 40
_DECILES = (0.3, 0.4, 0.5, 0.6, 0.7)
_NORMAL = 0.6924530704756788  # mean of these quantiles of |N(0, 1)|
_LEAST = 50  # pixels below which a level says nothing


@dataclass(frozen=True)
class Channel:
    """Classes of intensity and of |residual| for one channel, taken from real images."""

    name: str
    levels: Array  # (_LEVELS + 1,) edges of the local mean
    edges: Array  # edges of |residual|
    floor: float  # smallest standard deviation that is told from zero


class NoiseLaw(Check):
    """Distance between noise curves: root mean square of the log ratio of standard deviations over intensity levels."""

    name = "noise-law"
    estimator = (
        "per channel: product of second differences along every axis; standard deviation from the mean of the middle deciles of its "
        "absolute value, which edges do not move, in 8 classes of the 3-pixel local mean; mean and spread of ln(sigma ratio) over "
        "the classes that both sets reach"
    )
    unit = "natural logarithm of a ratio of standard deviations"
    source = "Immerkaer 1996, doi:10.1006/cviu.1996.0060; noise as a function of the mean: Foi et al. 2008, doi:10.1109/TIP.2008.2001399"
    controls = (Control("noise-1-sigma", noisier(1.0)), Control("blur-1px", blurred(1.0)))

    def obstacle(self, real: PatchSet) -> str:
        return f"needs at least 5 pixels a side, got {real.images.shape[2:]}" if min(real.images.shape[2:]) < 5 else ""

    def frame(self, real: PatchSet) -> tuple[Channel, ...]:
        channels = []
        for index, name in enumerate(real.channels):
            images = real.images[:, index].astype(np.float64)
            means, size = local_mean(images), np.abs(residual(images))
            levels = np.quantile(means, np.linspace(0, 1, _LEVELS + 1))
            levels[0], levels[-1] = -np.inf, np.inf
            positive = size[size > 0]
            typical = float(np.median(positive)) if positive.size else 1.0
            quantiles = np.quantile(positive, np.linspace(0, 1, _BINS + 1))[1:] if positive.size else np.array([typical])
            outer = quantiles[-1] * np.array([2.0, 4.0, 16.0])
            edges = np.unique(np.concatenate([[0.0, typical * 1e-3, typical * 1e-2], quantiles, outer]))
            channels.append(Channel(name, levels, edges, typical * 1e-2))
        return tuple(channels)

    def measure(self, patches: PatchSet, frame: tuple[Channel, ...]) -> Array:
        levels = len(frame[0].levels) - 1
        out = np.zeros((len(patches), len(frame), levels, max(len(c.edges) for c in frame) - 1))
        for j, law in enumerate(frame):
            images = patches.images[:, j].astype(np.float64)
            bins = len(law.edges) - 1
            level = np.clip(np.searchsorted(law.levels, local_mean(images), side="right") - 1, 0, levels - 1)
            place = np.clip(np.searchsorted(law.edges, np.abs(residual(images)), side="right") - 1, 0, bins - 1)
            cell = (level * bins + place).reshape(len(images), -1)
            for i, row in enumerate(cell):
                out[i, j, :, :bins] = np.bincount(row, minlength=levels * bins).reshape(levels, bins)
        return out

    def distance(self, first: Array, second: Array, frame: tuple[Channel, ...]) -> dict[str, Array]:
        out = {}
        for j, law in enumerate(frame):
            ratio, weight = _log_ratio(first[:, j], second[:, j], law)
            total = weight.sum(axis=-1)
            safe = np.where(total > 0, total, 1.0)
            mean = (weight * ratio).sum(axis=-1) / safe
            spread = np.sqrt((weight * (ratio - mean[:, None]) ** 2).sum(axis=-1) / safe)
            out[f"{law.name}:level"] = np.where(total > 0, np.abs(mean), np.inf)
            out[f"{law.name}:shape"] = np.where(total > 0, spread, np.inf)
        return out

    def floors(self, frame: tuple[Channel, ...]) -> dict[str, float]:
        return {f"{law.name}:{part}": 0.02 for law in frame for part in ("level", "shape")}

    def curves(self, total: Array, frame: tuple[Channel, ...]) -> dict[str, Array]:
        out = {}
        for j, law in enumerate(frame):
            out[f"{law.name}-level-edges"] = law.levels[1:-1]
            out[f"{law.name}-sigma"] = np.nan_to_num(sigma(total[j], law.edges))
        return out


def sigma(histogram: Array, edges: Array) -> Array:
    """Return the robust standard deviation from histograms (..., K) of absolute residuals.

    The mean of deciles 3 to 7: as deaf to edges as the median (MAD), but it does not jump where half of the residuals are exactly zero.
    """
    inner = histogram[..., : len(edges) - 1]
    deciles: Array = np.mean([quantile(inner, edges, level) for level in _DECILES], axis=0)
    return deciles / _NORMAL


def _log_ratio(first: Array, second: Array, law: Channel) -> tuple[Array, Array]:
    n_first, n_second = first.sum(axis=-1), second.sum(axis=-1)
    known = (n_first >= _LEAST) & (n_second >= _LEAST)
    # a level counts as much as the rarer of the two sets supports
    share_first = n_first / np.maximum(n_first.sum(axis=-1, keepdims=True), 1.0)
    share_second = n_second / np.maximum(n_second.sum(axis=-1, keepdims=True), 1.0)
    weight = np.where(known, np.minimum(share_first, share_second), 0.0)
    a = np.maximum(np.nan_to_num(sigma(first, law.edges)), law.floor)
    b = np.maximum(np.nan_to_num(sigma(second, law.edges)), law.floor)
    return np.log(b / a), weight
