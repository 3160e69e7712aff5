"""Intensity law: the distribution of grey values of every channel, its dark end, its saturated end, and how much patches differ."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import gamma_changed, inverted
from sciimg.validation.physics.histograms import counts, edges_of, quantile, wasserstein

Array = NDArray[np.float64]

_BINS = 128
_DARK = 0.05


@dataclass(frozen=True)
class _Channel:
    name: str
    edges: Array
    scale: float  # standard deviation of real intensities
    top: float  # from here on a pixel counts as saturated
    mean_edges: Array


class IntensityLaw(Check):
    """Distance between distributions of intensity, in standard deviations of the real one."""

    name = "intensity-law"
    estimator = (
        "per channel: 1-Wasserstein distance of pooled intensities and of patch means, shift of the 5 % quantile (background), "
        "difference of the saturated fraction (at or above the largest real value)"
    )
    unit = "standard deviations of real intensities; saturation: fraction of pixels"
    source = "Kantorovich-Rubinstein distance: Vallender 1974, doi:10.1137/1118101"
    controls = (Control("gamma-2", gamma_changed(2.0)), Control("inverted", inverted))

    def frame(self, real: PatchSet) -> tuple[_Channel, ...]:
        channels = []
        for index, name in enumerate(real.channels):
            values = real.images[:, index].astype(np.float64)
            means = values.reshape(len(values), -1).mean(axis=1)
            scale = float(values.std()) or 1.0
            channels.append(_Channel(name, edges_of(values.ravel(), _BINS), scale, float(values.max()), edges_of(means, 16)))
        return tuple(channels)

    def measure(self, patches: PatchSet, frame: tuple[_Channel, ...]) -> Array:
        width = max(len(c.edges) + len(c.mean_edges) for c in frame)
        out = np.zeros((len(patches), len(frame), width))
        for i, image in enumerate(patches.images):
            for j, (channel, law) in enumerate(zip(image, frame, strict=True)):
                values = channel.astype(np.float64).ravel()
                parts = (counts(values, law.edges), counts(values.mean()[None], law.mean_edges), [np.sum(values >= law.top)])
                row = np.concatenate(parts)
                out[i, j, : len(row)] = row
        return out

    def distance(self, first: Array, second: Array, frame: tuple[_Channel, ...]) -> dict[str, Array]:
        out = {}
        for j, law in enumerate(frame):
            a, b = _Pooled(first[:, j], law), _Pooled(second[:, j], law)
            out[f"{law.name}:distribution"] = wasserstein(a.histogram, b.histogram, law.edges) / law.scale
            out[f"{law.name}:background"] = np.abs(a.dark - b.dark) / law.scale
            out[f"{law.name}:saturation"] = np.abs(a.saturated - b.saturated)
            out[f"{law.name}:patch-means"] = wasserstein(a.means, b.means, law.mean_edges) / law.scale
        return out

    def floors(self, frame: tuple[_Channel, ...]) -> dict[str, float]:
        smallest = {"distribution": 0.05, "background": 0.05, "saturation": 0.001, "patch-means": 0.05}
        return {f"{law.name}:{part}": floor for law in frame for part, floor in smallest.items()}

    def curves(self, total: Array, frame: tuple[_Channel, ...]) -> dict[str, Array]:
        out = {}
        for j, law in enumerate(frame):
            histogram = total[j, : len(law.edges) - 1]
            out[f"{law.name}-edges"] = law.edges
            out[f"{law.name}-density"] = histogram / max(histogram.sum(), 1.0) / np.diff(law.edges)
        return out


class _Pooled:
    """The statistics of one channel, taken apart."""

    def __init__(self, rows: Array, law: _Channel) -> None:
        bins, means = len(law.edges) - 1, len(law.mean_edges) - 1
        self.histogram = rows[:, :bins]
        self.means = rows[:, bins : bins + means]
        self.saturated = rows[:, bins + means] / np.maximum(self.histogram.sum(axis=-1), 1.0)
        self.dark = quantile(self.histogram, law.edges, _DARK)
