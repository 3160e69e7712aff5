"""Power spectrum: mean logarithm of the radial power of every channel; blur and added noise show at its upper end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import blurred, noisier

Array = NDArray[np.float64]

_FLOOR = 1e-8  # of the mean real power: a constant image has a spectrum 80 dB down, not minus infinity


@dataclass(frozen=True)
class _Frame:
    channels: tuple[str, ...]
    index: NDArray[np.int64]  # radial bin of every frequency; -1 outside
    frequency: Array  # centre of each bin, cycles per pixel of the finest axis
    floors: Array  # (C,)


class PowerSpectrum(Check):
    """Distance between mean radial log-power spectra, in decibel."""

    name = "power-spectrum"
    estimator = (
        "per channel: mean removed, Hann window along every axis, |FFT|^2 averaged in rings of physical frequency, mean of 10 log10 over "
        "samples; root mean square difference over rings, and difference of the ratio of upper to lower half (high frequencies)"
    )
    unit = "decibel"
    source = (
        "Hann window: Harris 1978, doi:10.1109/PROC.1978.10837; "
        "radial average: van der Schaaf & van Hateren 1996, doi:10.1016/0042-6989(96)00002-8"
    )
    controls = (Control("blur-1px", blurred(1.0)), Control("noise-1-sigma", noisier(1.0)))

    def obstacle(self, real: PatchSet) -> str:
        return f"needs at least 8 pixels a side, got {real.images.shape[2:]}" if min(real.images.shape[2:]) < 8 else ""

    def frame(self, real: PatchSet) -> _Frame:
        shape = real.images.shape[2:]
        spacing = real.spacing.values[-len(shape) :]
        steps = [np.fft.fftfreq(n) * min(spacing) / s for n, s in zip(shape, spacing, strict=True)]
        radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*steps, indexing="ij")))
        rings = max(4, min(shape) // 4)
        edges = np.linspace(0, 0.5, rings + 1)
        index = np.digitize(radius, edges, right=True) - 1  # frequency 0 falls outside
        index[index >= rings] = -1
        used = np.array([k for k in range(rings) if np.any(index == k)])
        relabelled = np.full(index.shape, -1, dtype=np.int64)
        for new, old in enumerate(used):
            relabelled[index == old] = new
        centres = (edges[used] + edges[used + 1]) / 2
        unfloored = _Frame(real.channels, relabelled, centres, np.zeros(len(real.channels)))
        floors = np.maximum(_radial(real.images, unfloored).mean(axis=(0, 2)) * _FLOOR, np.finfo(np.float64).tiny)
        return _Frame(real.channels, relabelled, centres, floors)

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        power = _radial(patches.images, frame)
        log = 10 * np.log10(np.maximum(power, frame.floors[:, None]))
        return np.concatenate([log, np.ones((*log.shape[:2], 1))], axis=-1)

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        gap = _mean(first) - _mean(second)
        half = gap.shape[-1] // 2
        high = gap[..., half:].mean(axis=-1) - gap[..., :half].mean(axis=-1)
        out = {f"{name}:spectrum": np.sqrt((gap[:, j] ** 2).mean(axis=-1)) for j, name in enumerate(frame.channels)}
        return out | {f"{name}:high-frequency": np.abs(high[:, j]) for j, name in enumerate(frame.channels)}

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {f"{name}:{part}": 0.1 for name in frame.channels for part in ("spectrum", "high-frequency")}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        mean = _mean(total[None])[0]
        return {"frequency": frame.frequency} | {f"{name}-power-db": mean[j] for j, name in enumerate(frame.channels)}


def _mean(pooled: Array) -> Array:
    mean: Array = pooled[..., :-1] / np.maximum(pooled[..., -1:], 1.0)
    return mean


def _radial(images: NDArray[np.generic], frame: _Frame) -> Array:
    """Return mean power per ring, shape (N, C, rings)."""
    shape = images.shape[2:]
    window = np.ones(shape)
    for axis, n in enumerate(shape):
        window = window * np.hanning(n + 2)[1:-1].reshape([-1 if k == axis else 1 for k in range(len(shape))])
    spatial = tuple(range(2, images.ndim))
    rings = len(frame.frequency)
    inside = frame.index.ravel() >= 0
    index = frame.index.ravel()[inside]
    size = np.bincount(index, minlength=rings)
    out = np.empty((len(images), images.shape[1], rings))
    for i, image in enumerate(images):
        values = image.astype(np.float64)
        values = (values - values.mean(axis=tuple(a - 1 for a in spatial), keepdims=True)) * window
        power = np.abs(np.fft.fftn(values, axes=tuple(a - 1 for a in spatial))) ** 2 / np.sum(window**2)
        for j, channel in enumerate(power):
            out[i, j] = np.bincount(index, weights=channel.ravel()[inside], minlength=rings) / size
    return out
