"""Resolution: up to which spatial frequency two halves of one image, alternate rows of pixels, still show the same thing.

Fourier ring correlation wants two images of one scene with independent noise. Alternate rows of one image are such a pair where noise is
independent from row to row and the image does not change within two rows (Koho et al. 2019 take alternate pixels along all axes at once;
taking them along one keeps the others at their full sampling, so that each axis is judged up to its own Nyquist frequency, and a volume
with coarse planes is judged along z and within its planes apart). Each half has half of the pixels: the correlation is that of two images
of half the dose, as between the half maps of electron cryo-microscopy.

Noise that neighbouring rows share (interpolated, compressed, smoothed, deconvolved images) looks like signal: the correlation then never
falls, and the check says so instead of giving a number.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import defocused, noisier
from sciimg.validation.ring_correlation import LEAST_SIDE, LOWEST, THRESHOLD, crossing, hann, ring_correlation

Array = NDArray[np.float64]

_CONE = 0.5  # frequencies across the axis, in units of those along it, both in cycles per pixel: 27 degrees
_UNALIASED = 0.125  # cycles per pixel along the halved axis; what folds onto these lies above 0.375
_FLAT = 2 / 3 * THRESHOLD  # correlation in the last eighth of the band, at most: there only noise is left


@dataclass(frozen=True)
class _Axis:
    """How to judge one axis of an image."""

    name: str
    axis: int  # of the spatial axes
    halved: int
    cell: NDArray[np.int64]  # bin of each frequency of a half, flat; -1 outside the cone
    turn: NDArray[np.complex128]  # phase that moves the odd half onto the even one, broadcastable
    frequency: Array  # centre of each bin, cycles per pixel along the axis
    step: float  # spacing


@dataclass(frozen=True)
class _Frame:
    axes: tuple[_Axis, ...]
    judged: tuple[tuple[str, int, int], ...]  # channel, its number, number of the axis: where the real images tell
    spatial: tuple[int, ...]


class Resolution(Check):
    """Distance between resolutions along each axis, where the correlation of the two halves falls below 1/7."""

    name = "resolution"
    estimator = (
        "per channel and axis: Hann window, alternate rows along another axis as two images, half-row shift undone by its phase; "
        "correlation of their Fourier coefficients within 27 degrees of the axis, mean over samples; frequency where it falls below 1/7, "
        "and what is left of it at the end of the band (noise that neighbouring pixels share)"
    )
    unit = "resolution: natural logarithm of a ratio; shared noise: correlation"
    source = (
        "one-image Fourier ring correlation: Koho et al. 2019, doi:10.1038/s41467-019-11024-z; threshold of 1/7: Nieuwenhuizen et al. "
        "2013, doi:10.1038/nmeth.2448"
    )
    controls = (Control("defocus-4px", defocused(4.0)), Control("noise-4-sigma", noisier(4.0)))

    def obstacle(self, real: PatchSet) -> str:
        axes = _axes(real)
        if not axes:
            return f"needs two axes of {LEAST_SIDE} pixels or more, got {real.images.shape[2:]}"
        found = _told(real, axes)
        if any(not reason for reason in found.values()):
            return ""
        return "; ".join(f"channel {real.channels[c]!r} along {axes[a].name}: {why}" for (c, a), why in found.items())

    def frame(self, real: PatchSet) -> _Frame:
        axes = _axes(real)
        found = _told(real, axes)
        able = [place for place, reason in found.items() if not reason] or list(found)
        return _Frame(axes, tuple((real.channels[c], c, a) for c, a in able), real.images.shape[2:])

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        """Return, per sample, judged channel and axis: the correlation in each bin, and 1 to count samples."""
        bins = max(len(frame.axes[a].frequency) for _, _, a in frame.judged)
        out = np.zeros((len(patches), len(frame.judged), bins + 1))
        out[..., -1] = 1
        for k, (_, channel, a) in enumerate(frame.judged):
            axis = frame.axes[a]
            out[:, k, : len(axis.frequency)] = correlations(patches.images[:, channel], axis)
        return out

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        out = {}
        for k, (channel, _, a) in enumerate(frame.judged):
            axis = frame.axes[a]
            one, other = (_mean(rows[:, k], axis) for rows in (first, second))
            name = f"{channel}:{axis.name}"
            out[f"{name}:resolution"] = np.abs(np.log(cutoff(one, axis.frequency) / cutoff(other, axis.frequency)))
            out[f"{name}:shared-noise"] = np.abs(_end(one) - _end(other))
        return out

    def floors(self, frame: _Frame) -> dict[str, float]:
        places = [f"{channel}:{frame.axes[a].name}" for channel, _, a in frame.judged]
        return {f"{place}:{part}": 0.05 for place in places for part in ("resolution", "shared-noise")}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        out = {}
        for k, (channel, _, a) in enumerate(frame.judged):
            axis = frame.axes[a]
            curve = _mean(total[None, k], axis)
            out[f"{channel}-{axis.name}-frequency"] = axis.frequency
            out[f"{channel}-{axis.name}-correlation"] = curve[0]
            out[f"{channel}-{axis.name}-resolution"] = axis.step / cutoff(curve, axis.frequency)
        return out


def _mean(rows: Array, axis: _Axis) -> Array:
    """Return the mean curve of each pooled set (B, K + 1), shape (B, bins of the axis)."""
    mean: Array = rows[:, : len(axis.frequency)] / np.maximum(rows[:, -1:], 1.0)
    return mean


def _end(curves: Array) -> Array:
    """Return the mean over the last eighth of the band, where signal is gone: what is left is noise that the halves share."""
    mean: Array = curves[..., -max(2, curves.shape[-1] // 8) :].mean(axis=-1)
    return mean


def cutoff(curves: Array, frequency: Array) -> Array:
    """Return the frequency at which each curve (B, K) first falls below 1/7 (:func:`sciimg.validation.ring_correlation.crossing`).

    A curve that never falls gives the Nyquist frequency, one that never rises above the lowest one.
    """
    found = crossing(curves, frequency)
    return np.where(np.isnan(found), 0.5, found)


def correlations(images: NDArray[np.generic], axis: _Axis) -> Array:
    """Return the Fourier ring correlation of the halves of each image (N, [Z,] Y, X) in bins along the axis, (N, K); 0 without power."""
    out = np.empty((len(images), len(axis.frequency)))
    for i, image in enumerate(images):
        values = image.astype(np.float64)
        values = (values - values.mean()) * hann(values.shape)
        n = values.shape[axis.halved] // 2
        even, odd = (np.take(values, np.arange(start, 2 * n, 2), axis=axis.halved) for start in (0, 1))
        out[i] = ring_correlation(np.fft.fftn(even), np.fft.fftn(odd) * axis.turn, axis.cell, len(axis.frequency))
    return out


def _axes(patches: PatchSet) -> tuple[_Axis, ...]:
    """Return the axes that can be judged; each is paired with the finest other axis that is long enough to be halved."""
    shape = patches.images.shape[2:]
    spacing = patches.spacing.values[-len(shape) :]
    found = []
    for axis, n in enumerate(shape):
        others = [k for k in range(len(shape)) if k != axis and shape[k] >= LEAST_SIDE]
        if n < LEAST_SIDE or not others:
            continue
        halved = min(others, key=lambda k: (spacing[k], -k))
        found.append(_axis("zyx"[axis - len(shape)], axis, halved, shape, spacing))
    return tuple(found)


def _axis(name: str, axis: int, halved: int, shape: tuple[int, ...], spacing: tuple[float, ...]) -> _Axis:
    sizes = [n // 2 if k == halved else n for k, n in enumerate(shape)]
    cycles = np.meshgrid(*(np.fft.fftfreq(n) for n in sizes), indexing="ij")  # per pixel of a half
    whole = [np.abs(f) / 2 if k == halved else np.abs(f) for k, f in enumerate(cycles)]
    along = whole[axis]
    inside = whole[halved] <= _UNALIASED
    for k in range(len(shape)):
        if k != axis:
            inside &= whole[k] <= _CONE * along
    n = shape[axis]
    width = max(1, n // 32)  # cycles per image in a bin
    order = np.rint(along * n).astype(np.int64) - LOWEST
    bins = (n // 2 - LOWEST) // width
    cell = np.where(inside & (order >= 0), np.maximum(order, 0) // width, -1)
    cell[cell >= bins] = -1
    frequency = (LOWEST + (np.arange(bins) + 0.5) * width - 0.5) / n
    turn = np.exp(-1j * np.pi * cycles[halved])
    return _Axis(name, axis, halved, cell.ravel(), turn, frequency, spacing[axis])


def _told(real: PatchSet, axes: tuple[_Axis, ...]) -> dict[tuple[int, int], str]:
    """Return, for each channel and axis, why these images do not tell their resolution, or ``""``."""
    out = {}
    for channel in range(len(real.channels)):
        for number, axis in enumerate(axes):
            curve = correlations(real.images[:, channel], axis).mean(axis=0)
            out[channel, number] = _reason(curve, axis)
    return out


def _reason(curve: Array, axis: _Axis) -> str:
    tail = float(_end(curve))
    if np.any(curve[:2] < THRESHOLD):
        return "the two halves show nothing in common"
    if cutoff(curve[None], axis.frequency)[0] > axis.frequency[-2] or abs(tail) > _FLAT:
        return (
            f"the correlation of the halves is {tail:.2f} at the end of the band and not 0, so either neighbouring pixels share noise "
            "(interpolated, compressed, smoothed) or the sampling is too coarse"
        )
    return ""
