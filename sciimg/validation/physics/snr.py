"""Signal to noise of magnetic-resonance images, from the air around the subject and within each tissue.

MRIQC's definitions (medians, robust deviations; Esteban et al. 2017, doi:10.1371/journal.pone.0184661). A masked or zeroed background
holds no noise, so the air estimate is then undefined with that reason.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.air import air_and_signal, brightness_cut, no_air
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import noisier
from sciimg.validation.physics.histograms import counts, edges_of, quantile
from sciimg.validation.physics.tissues import class_numbers

Array = NDArray[np.float64]

DIETRICH = float(np.sqrt((4 - np.pi) / 2))  # 0.655: Rayleigh standard deviation of magnitude air in units of the true sigma
_LEAST_TISSUE = 50
_CAP = 1e4  # a signal-to-noise ratio above this is "no noise"
_BINS = 256


@dataclass(frozen=True)
class _Air:
    channels: tuple[str, ...]
    edges: tuple[Array, ...]  # intensities of each channel
    floors: tuple[float, ...]
    cuts: tuple[float, ...]  # between air and subject


class AirSnr(Check):
    """Distance between logarithms of Dietrich's signal-to-noise ratio: foreground median over the noise of air."""

    name = "snr"
    estimator = (
        "0.655 x median of the labelled foreground (or of voxels above Otsu's threshold) / (1.4826 x MAD of air); air: unlabelled voxels "
        "3 or more away from any voxel above the threshold, without blocks of one value"
    )
    unit = "natural logarithm of a ratio of signal-to-noise ratios"
    source = "Dietrich et al. 2007, doi:10.1002/jmri.20969; MRIQC: Esteban et al. 2017, doi:10.1371/journal.pone.0184661"
    controls = (Control("noise-1-sigma", noisier(1.0)),)

    def obstacle(self, real: PatchSet) -> str:
        return no_air(real)

    def obstacle_in(self, synthetic: PatchSet) -> str:
        return no_air(synthetic)

    def frame(self, real: PatchSet) -> _Air:
        edges, floors, cuts = [], [], []
        for index in range(len(real.channels)):
            images = real.images[:, index].astype(np.float64)
            cuts.append(brightness_cut(images))
            air = images[air_and_signal(images, real.labels, cuts[-1])[0]]
            fine = np.quantile(air, np.linspace(0, 1, _BINS))
            edges.append(np.unique(np.concatenate([fine, edges_of(images.ravel(), _BINS)])))
            floors.append(max(float(np.median(air)) * 1e-3, np.finfo(np.float64).tiny))
        return _Air(real.channels, tuple(edges), tuple(floors), tuple(cuts))

    def measure(self, patches: PatchSet, frame: _Air) -> Array:
        out = np.zeros((len(patches), len(frame.channels), 2, max(len(e) for e in frame.edges) - 1))
        for j, edges in enumerate(frame.edges):
            images = patches.images[:, j].astype(np.float64)
            for k, masks in enumerate(air_and_signal(images, patches.labels, frame.cuts[j])):
                for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
                    out[i, j, k, : len(edges) - 1] = counts(image[mask], edges)
        return out

    def distance(self, first: Array, second: Array, frame: _Air) -> dict[str, Array]:
        out = {}
        for j, name in enumerate(frame.channels):
            ratio = np.log(_dietrich(first[:, j], frame, j)) - np.log(_dietrich(second[:, j], frame, j))
            out[name] = np.abs(ratio)
        return out

    def floors(self, frame: _Air) -> dict[str, float]:
        return dict.fromkeys(frame.channels, 0.05)

    def curves(self, total: Array, frame: _Air) -> dict[str, Array]:
        return {f"{name}-snr": _dietrich(total[None, j], frame, j) for j, name in enumerate(frame.channels)}


def _dietrich(rows: Array, frame: _Air, channel: int) -> Array:
    """Return the signal-to-noise ratio from pooled histograms (B, 2, K); NaN where there is no air or no signal."""
    edges = frame.edges[channel]
    air, signal = rows[:, 0, : len(edges) - 1], rows[:, 1, : len(edges) - 1]
    middle = quantile(air, edges, 0.5)
    deviation = np.array([_mad(histogram, edges, m) for histogram, m in zip(air, middle, strict=True)])
    ratio: Array = DIETRICH * quantile(signal, edges, 0.5) / np.maximum(1.4826 * deviation, frame.floors[channel])
    return np.where(ratio > 0, ratio, np.nan)


def _mad(histogram: Array, edges: Array, middle: float) -> float:
    """Median absolute deviation from a histogram: weighted median of the bins' distances to the median."""
    if not np.isfinite(middle):
        return np.nan
    away = np.abs((edges[:-1] + edges[1:]) / 2 - middle)
    order = np.argsort(away, kind="stable")
    mass = np.cumsum(histogram[order])
    return float(np.interp(mass[-1] / 2, mass, away[order]))


@dataclass(frozen=True)
class _Tissue:
    classes: dict[str, int]
    channels: tuple[str, ...]


class TissueSnr(Check):
    """Distance between mean logarithms of the signal-to-noise ratio within each labelled class; needs no air."""

    name = "tissue-snr"
    estimator = "per class and channel: ln(median / (standard deviation x sqrt(n / (n - 1)))), mean over samples with 50 or more voxels"
    unit = "natural logarithm of a ratio of signal-to-noise ratios"
    source = "MRIQC's snr: Esteban et al. 2017, doi:10.1371/journal.pone.0184661"
    labels = "condition"
    controls = (Control("noise-2-sigma", noisier(2.0)),)

    def obstacle(self, real: PatchSet) -> str:
        return "" if class_numbers(real) else "tissues need class labels; the real images have none"

    def frame(self, real: PatchSet) -> _Tissue:
        return _Tissue(class_numbers(real), real.channels)

    def measure(self, patches: PatchSet, frame: _Tissue) -> Array:
        out = np.zeros((len(patches), len(frame.channels), len(frame.classes), 2))
        assert patches.labels is not None
        for i, (image, label) in enumerate(zip(patches.images, patches.labels, strict=True)):
            for k, number in enumerate(frame.classes.values()):
                where = label == number
                n = int(where.sum())
                if n < _LEAST_TISSUE:
                    continue
                for j, channel in enumerate(image):
                    values = channel[where].astype(np.float64)
                    noise = max(values.std() * np.sqrt(n / (n - 1)), np.abs(values).max() / _CAP, np.finfo(np.float64).tiny)
                    out[i, j, k] = np.log(max(np.median(values) / noise, 1 / _CAP)), 1
        return out

    def distance(self, first: Array, second: Array, frame: _Tissue) -> dict[str, Array]:
        a, b = _mean(first), _mean(second)
        return {
            f"{channel}:{tissue}": np.abs(a[:, j, k] - b[:, j, k])
            for j, channel in enumerate(frame.channels)
            for k, tissue in enumerate(frame.classes)
        }

    def floors(self, frame: _Tissue) -> dict[str, float]:
        return {f"{channel}:{tissue}": 0.02 for channel in frame.channels for tissue in frame.classes}

    def curves(self, total: Array, frame: _Tissue) -> dict[str, Array]:
        return {f"{channel}-snr": np.exp(_mean(total[None])[0, j]) for j, channel in enumerate(frame.channels)}


def _mean(rows: Array) -> Array:
    """Mean over samples; NaN (an infinite distance) for a class that no sample shows."""
    mean: Array = np.where(rows[..., 1] > 0, rows[..., 0] / np.maximum(rows[..., 1], 1.0), np.nan)
    return mean
