"""Bleed-through: how much of one channel shows in another, as a floor that rises with it and as noise that both share."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import mixed
from sciimg.validation.physics.histograms import counts, edges_of, quantile
from sciimg.validation.physics.residuals import residual

Array = NDArray[np.float64]

_LEVELS = 8
_BINS = 64
_FLOOR = 0.1  # quantile of one channel at a level of the other: pixels that show little of their own
_LEAST_SIDE = 5
_LEAST_LEVELS = 3


@dataclass(frozen=True)
class _Channel:
    name: str
    levels: Array  # edges of the classes in which it is the giving channel
    edges: Array  # of its intensities as the receiving one
    scale: float  # standard deviation of real intensities


@dataclass(frozen=True)
class _Frame:
    channels: tuple[_Channel, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.channels)), 2))

    @property
    def ways(self) -> list[tuple[int, int]]:
        return [way for pair in self.pairs for way in (pair, pair[::-1])]


class BleedThrough(Check):
    """Distance between slopes of the floor of one channel over the other, and between correlations of their noise."""

    name = "bleed-through"
    estimator = (
        "per ordered pair of channels: 10 % quantile of the receiving one in 8 classes of the giving one, slope of its weighted straight "
        "line over the classes' means; per pair: sin(pi/2 x mean product of the signs of their residuals)"
    )
    unit = "slope: standard deviations of the receiving channel per one of the giving channel; noise: correlation"
    source = (
        "bleed-through in the scatter plot of two channels: Bolte & Cordelieres 2006, doi:10.1111/j.1365-2818.2006.01706.x; "
        "regression of quantiles: Koenker & Bassett 1978, doi:10.2307/1913643; quadrant correlation: Blomqvist 1950, "
        "doi:10.1214/aoms/1177729754"
    )
    controls = (Control("channels-mixed-0.5", mixed(0.5)),)

    def obstacle(self, real: PatchSet) -> str:
        if len(real.channels) < 2:
            return "needs two channels or more, the images have one"
        if min(real.images.shape[2:]) < _LEAST_SIDE:
            return f"needs at least {_LEAST_SIDE} pixels a side, got {real.images.shape[2:]}"
        flat = [c.name for c in self.frame(real).channels if len(c.levels) <= _LEAST_LEVELS]
        return f"channel {flat[0]!r} has fewer than {_LEAST_LEVELS} levels to compare" if flat else ""

    def frame(self, real: PatchSet) -> _Frame:
        channels = []
        for index, name in enumerate(real.channels):
            values = real.images[:, index].astype(np.float64).ravel()
            low, high = np.quantile(values, [0.01, 0.99])
            # classes of equal width, not of equal size: bleed-through shows where the giving channel is bright
            inner = np.unique(np.linspace(low, high, _LEVELS + 1)[1:-1])
            levels = np.concatenate([[-np.inf], inner, [np.inf]])
            even = np.linspace(low, high, _BINS + 1)
            edges = np.unique(np.concatenate([edges_of(values, _BINS), even]))
            channels.append(_Channel(name, levels, edges, float(values.std()) or 1.0))
        return _Frame(tuple(channels))

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        """Return, per sample, the histograms and sums of the giving channel of every ordered pair, then sign products of every pair."""
        width = max(len(c.edges) for c in frame.channels) - 1
        out = np.zeros((len(patches), len(frame.ways), _LEVELS + 1, width + 2))
        for i, image in enumerate(patches.images.astype(np.float64)):
            for w, (giving, receiving) in enumerate(frame.ways):
                out[i, w, :_LEVELS] = _by_level(image[giving].ravel(), image[receiving].ravel(), frame, giving, receiving, width)
            signs = np.sign(residual(image))
            for first, second in frame.pairs:
                product = signs[first] * signs[second]
                place = frame.ways.index((first, second))
                out[i, place, _LEVELS, :2] = product.sum(), np.abs(product).sum()
        return out

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        out = {}
        for w, (giving, receiving) in enumerate(frame.ways):
            one, other = (_slope(rows[:, w], frame, giving, receiving) for rows in (first, second))
            out[f"{frame.channels[giving].name}>{frame.channels[receiving].name}:slope"] = np.abs(one - other)
        for a, b in frame.pairs:
            w = frame.ways.index((a, b))
            one, other = (_shared(rows[:, w]) for rows in (first, second))
            out[f"{frame.channels[a].name}/{frame.channels[b].name}:noise"] = np.abs(one - other)
        return out

    def floors(self, frame: _Frame) -> dict[str, float]:
        names = [c.name for c in frame.channels]
        slopes = {f"{names[a]}>{names[b]}:slope": 0.02 for a, b in frame.ways}
        return slopes | {f"{names[a]}/{names[b]}:noise": 0.02 for a, b in frame.pairs}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        out = {}
        for w, (giving, receiving) in enumerate(frame.ways):
            level, floor, _ = _line(total[None, w], frame, giving, receiving)
            name = f"{frame.channels[giving].name}-into-{frame.channels[receiving].name}"
            out[f"{name}-level"] = np.nan_to_num(level[0])
            out[f"{name}-floor"] = np.nan_to_num(floor[0])
        return out


def _by_level(give: Array, take: Array, frame: _Frame, giving: int, receiving: int, width: int) -> Array:
    """Return, per class of the giving channel: the histogram of the receiving one, the sum of the giving one, and the number of pixels."""
    levels, edges = frame.channels[giving].levels, frame.channels[receiving].edges
    out = np.zeros((_LEVELS, width + 2))
    place = np.clip(np.searchsorted(levels, give, side="right") - 1, 0, len(levels) - 2)
    bins = len(edges) - 1
    for k in np.unique(place):
        chosen = place == k
        out[k, :bins] = counts(take[chosen], edges)
        out[k, -2:] = give[chosen].sum(), chosen.sum()
    return out


def _line(rows: Array, frame: _Frame, giving: int, receiving: int) -> tuple[Array, Array, Array]:
    """Return mean level of the giving channel, floor of the receiving one, and weight, each (B, classes), in standard deviations."""
    give, take = frame.channels[giving], frame.channels[receiving]
    sums, number = rows[:, :_LEVELS, -2], rows[:, :_LEVELS, -1]
    weight = np.sqrt(number)  # a class counts by the precision of its quantile
    floor = quantile(rows[:, :_LEVELS, : len(take.edges) - 1], take.edges, _FLOOR)
    level = np.where(number > 0, sums / np.maximum(number, 1.0), np.nan)
    return level / give.scale, floor / take.scale, weight


def _slope(rows: Array, frame: _Frame, giving: int, receiving: int) -> Array:
    """Return the slope of the weighted least squares line; NaN (an infinite distance) where one class holds every pixel."""
    level, floor, weight = (np.nan_to_num(part) for part in _line(rows, frame, giving, receiving))
    total = np.maximum(weight.sum(axis=-1, keepdims=True), 1.0)
    x = level - (weight * level).sum(axis=-1, keepdims=True) / total
    y = floor - (weight * floor).sum(axis=-1, keepdims=True) / total
    spread = (weight * x * x).sum(axis=-1)
    slope: Array = np.where(spread > 0, (weight * x * y).sum(axis=-1) / np.where(spread > 0, spread, 1.0), np.nan)
    return slope


def _shared(rows: Array) -> Array:
    """Return the correlation of noise, from the mean product of signs; 0 where all residuals are 0."""
    products, number = rows[:, _LEVELS, 0], rows[:, _LEVELS, 1]
    correlation: Array = np.sin(np.pi / 2 * products / np.maximum(number, 1.0))
    return correlation
