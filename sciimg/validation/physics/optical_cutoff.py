"""Optical cut-off: an objective passes nothing finer than 2 NA / wavelength, so beyond it there is noise, flat and without structure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.io.spacing import convert
from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import checkered, noisier

Array = NDArray[np.float64]

_BEYOND = 1.05  # times the cut-off: the window spreads the last passed frequencies over their neighbours
_PARTS = ("beyond", "flatness")
_LEAST = 12  # frequencies on either side
_FLOOR = 1e-12  # of the mean power of the real images: a constant image is 120 dB down, not minus infinity


@dataclass(frozen=True)
class _Frame:
    channels: tuple[str, ...]
    beyond: tuple[NDArray[np.bool_], ...]  # (Y, X), per channel
    passed: tuple[NDArray[np.bool_], ...]
    floors: tuple[float, ...]


class OpticalCutoff(Check):
    """Distance between what lies beyond the cut-off of the optics: its power beside what is passed, and how flat it is."""

    name = "optical-cutoff"
    estimator = (
        "per channel, planes y, x: mean removed, Hann window along both axes, |FFT|^2; mean over samples of 10 log10 of mean power "
        "beyond 1.05 x 2NA/wavelength over mean power within (beyond), and of 10 log10 of arithmetic over geometric mean of the power "
        "beyond (flatness: 2.51 dB for white noise, more where structure repeats)"
    )
    unit = "decibel"
    source = (
        "cut-off of an incoherent microscope: Abbe 1873, doi:10.1007/BF02956173; Goodman, Introduction to Fourier Optics, ch. 6; "
        "flatness: Gray & Markel 1974, IEEE Trans. ASSP 22(3); "
        "NA and wavelength: the acquisition metadata, or `optics` of the study's source"
    )
    controls = (Control("checks-1-sigma", checkered(1.0)), Control("noise-2-sigma", noisier(2.0)))

    def obstacle(self, real: PatchSet) -> str:
        aperture, waves = real.attributes.get("numerical_aperture"), _wavelengths(real)
        unknown = [name for name in real.channels if name not in waves]
        if not aperture or unknown:
            missing = [*(["the numerical aperture"] if not aperture else []), *(f"the wavelength of channel {name!r}" for name in unknown)]
            return f"the images do not say {' and '.join(missing)}; give `optics` in the study's source"
        if real.spacing.unit == "pixel":
            return "the distance of pixels is not known, so no frequency has a physical unit"
        for name, cut in zip(real.channels, cutoffs(real), strict=True):
            radius = _radius(real)
            if min(np.count_nonzero(radius > _BEYOND * cut), np.count_nonzero((radius <= cut) & (radius > 0))) < _LEAST:
                finest = 1 / (2 * max(_micrometres(real)))
                return (
                    f"channel {name!r}: the optics pass up to {cut:.3g} cycles a micrometre and the pixels show up to {finest:.3g}; "
                    f"{_LEAST} frequencies are needed on either side of the cut-off"
                )
        return ""

    def frame(self, real: PatchSet) -> _Frame:
        radius = _radius(real)
        beyond = tuple(radius > _BEYOND * cut for cut in cutoffs(real))
        passed = tuple((radius <= cut) & (radius > 0) for cut in cutoffs(real))
        floors = (max(float(_power(real.images[:, j]).mean()) * _FLOOR, np.finfo(float).tiny) for j in range(len(real.channels)))
        return _Frame(real.channels, beyond, passed, tuple(floors))

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        out = np.ones((len(patches), len(frame.channels), 3))
        for j, (beyond, passed, floor) in enumerate(zip(frame.beyond, frame.passed, frame.floors, strict=True)):
            power = np.maximum(_power(patches.images[:, j]), floor)
            outside, inside = (np.ascontiguousarray(power[..., part]) for part in (beyond, passed))
            outside_mean, inside_mean = (p.reshape(len(p), -1).mean(axis=1) for p in (outside, inside))
            flat = 10 * np.log10(outside.mean(axis=2)) - 10 * np.log10(outside).mean(axis=2)
            out[:, j, 0], out[:, j, 1] = 10 * np.log10(outside_mean / inside_mean), flat.mean(axis=1)
        return out

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        gap = np.abs(_mean(first) - _mean(second))
        return {f"{name}:{part}": gap[:, j, k] for j, name in enumerate(frame.channels) for k, part in enumerate(_PARTS)}

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {f"{name}:{part}": 0.1 for name in frame.channels for part in _PARTS}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        mean = _mean(total)
        return {f"{name}-{part}-db": mean[j, k : k + 1] for j, name in enumerate(frame.channels) for k, part in enumerate(_PARTS)}


def cutoffs(real: PatchSet) -> tuple[float, ...]:
    """Return 2 NA / wavelength of each channel, in cycles a micrometre."""
    waves = _wavelengths(real)
    return tuple(2 * float(real.attributes["numerical_aperture"]) / (waves[name] * 1e-3) for name in real.channels)


def _wavelengths(real: PatchSet) -> dict[str, float]:
    """Return the wavelengths that are known, in nanometres."""
    return {name: float(nm) for name, nm in (real.attributes.get("wavelengths_nm") or {}).items() if nm}


def _micrometres(real: PatchSet) -> list[float]:
    return [convert(value, real.spacing.unit, "micrometer") for value in real.spacing.values[-2:]]


def _radius(real: PatchSet) -> Array:
    """Return the frequency of every coefficient of a plane, in cycles a micrometre."""
    axes = [np.fft.fftfreq(n, d) for n, d in zip(real.images.shape[-2:], _micrometres(real), strict=True)]
    return np.asarray(np.hypot(*np.meshgrid(*axes, indexing="ij")))


def _power(images: NDArray[np.generic]) -> Array:
    """Return the power of windowed planes, shape (N, planes, Y, X), from one channel (N, [Z,] Y, X)."""
    planes = images.reshape(len(images), -1, *images.shape[-2:]).astype(np.float64)
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in images.shape[-2:]))
    planes = (planes - planes.mean(axis=(2, 3), keepdims=True)) * window
    return np.asarray(np.abs(np.fft.fft2(planes)) ** 2 / np.sum(window**2))


def _mean(pooled: Array) -> Array:
    return np.asarray(pooled[..., :-1] / np.maximum(pooled[..., -1:], 1.0))
