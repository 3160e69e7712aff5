"""A fixed bank of oriented Morlet wavelets in 2D or 3D: the first two orders of a scattering transform, without weights.

First order: mean modulus of the image at every scale and orientation. Second order: how much that modulus itself varies at the coarser
scales (clumped or even texture). Between channels: coherence at every scale (stains that go together). All from FFTs, in float32.

References
----------
Bruna J, Mallat S (2013) Invariant scattering convolution networks. IEEE TPAMI 35, doi:10.1109/TPAMI.2012.230
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]
Single = NDArray[np.float32]

FLOOR = 0.01  # of a channel's scale: white noise of this size is where texture begins to count
_BATCH_PIXELS = 2**20
_XI = 3 * math.pi / 4  # centre frequency at the finest scale (Bruna & Mallat 2013, section 2.1)
_SIGMA = 1.2  # width at the finest scale: with their 0.8 the finest wavelet also answers to smooth gradients


@dataclass(frozen=True)
class Octave:
    """The filters of one scale, in the Fourier domain, on the grid that suffices for it.

    Parameters
    ----------
    step : int
        The grid takes every ``step``-th pixel: coarse wavelets have no fine detail.
    oriented : array, shape (L, *grid)
        Morlet wavelets: real in the Fourier domain, without response to a constant.
    coarser : array, shape (J - j - 1, *grid)
        Mean over orientations of the wavelets of every coarser scale, for the second order.
    gains : array, shape (L,)
        Mean modulus of the response to white noise of unit variance.
    """

    step: int
    oriented: Single
    coarser: Single
    gains: Array


@dataclass(frozen=True)
class Bank:
    """All scales, for images that are mirrored at their borders: ``pad`` pixels before, up to ``padded`` in all."""

    pad: int
    padded: tuple[int, ...]
    octaves: tuple[Octave, ...]


def directions(dims: int) -> Array:
    """Return unit vectors, shape (L, dims): four in the plane, seven in space (axes and body diagonals); no two are opposite."""
    if dims == 2:
        angles = np.arange(4) * math.pi / 4
        return np.stack([np.sin(angles), np.cos(angles)], axis=1)
    diagonals = [(1.0, *signs) for signs in itertools.product((-1.0, 1.0), repeat=dims - 1)]
    return np.concatenate([np.eye(dims), np.array(diagonals) / math.sqrt(dims)])


def scale_count(shape: tuple[int, ...]) -> int:
    """Return the number of octaves: at most four, the coarsest wavelength (2.7 px at the finest, doubling) below half the shortest side."""
    return max(1, min(4, int(math.log2(min(shape))) - 2))


@lru_cache(maxsize=4)
def bank(shape: tuple[int, ...]) -> Bank:
    """Return the filters for images of spatial ``shape``."""
    scales = scale_count(shape)
    pad = min(2**scales, 4 * (min(shape) // 4))
    padded = tuple(4 * fft.next_fast_len(-(-(n + 2 * pad) // 4)) for n in shape)
    oriented = [np.stack([_morlet(padded, v, 2**j) for v in directions(len(shape))]) for j in range(scales)]
    rings = [octave.mean(axis=0) for octave in oriented]
    octaves = []
    for j, filters in enumerate(oriented):
        step = 2 ** max(0, j - 1)
        energy = np.mean(filters.reshape(len(filters), -1).astype(np.float64) ** 2, axis=1)
        coarser = np.stack([_low(ring, step, len(shape)) for ring in rings[j + 1 :]]) if rings[j + 1 :] else np.empty((0,), np.float32)
        # the modulus of complex Gaussian noise of total variance s² has mean s·sqrt(pi)/2
        octaves.append(Octave(step, _low(filters, step, len(shape)), coarser, np.sqrt(energy * math.pi) / 2))
    return Bank(pad, padded, tuple(octaves))


def _morlet(shape: tuple[int, ...], direction: Array, scale: int) -> Single:
    centre, width = direction * _XI / scale, _SIGMA * scale
    bump, low = np.zeros(shape), np.zeros(shape)
    # sampled filters are periodic in frequency: add the neighbouring periods
    for period in itertools.product((-1, 0, 1), repeat=len(shape)):
        grid = np.meshgrid(*(2 * math.pi * (np.fft.fftfreq(n) + p) for n, p in zip(shape, period, strict=True)), indexing="ij", sparse=True)
        bump += np.exp(-(width**2) / 2 * sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        low += np.exp(-(width**2) / 2 * sum(g**2 for g in grid))
    origin = (0,) * len(shape)
    return np.asarray(bump - low * bump[origin] / low[origin], dtype=np.float32)


def _low(spectrum: NDArray[Any], step: int, dims: int) -> NDArray[Any]:
    """Keep the frequencies of a grid of every ``step``-th pixel; the last ``dims`` axes are spectra."""
    for axis in range(-dims, 0) if step > 1 else ():
        half = spectrum.shape[axis] // step // 2
        parts = np.split(spectrum, [half + spectrum.shape[axis] // step % 2, spectrum.shape[axis] - half], axis=axis)
        spectrum = np.concatenate([parts[0], parts[2]], axis=axis)
    return spectrum


def scattering(images: Single) -> Array:
    """Return the coefficients of images (N, C, [Z,] Y, X), whose channels have unit scale: shape (N, D).

    Per channel: mean, log standard deviation of the image, log first order (J · L), log relative second order (J (J - 1) / 2);
    per pair of channels: coherence (J).
    """
    filters = bank(images.shape[2:])
    size = max(1, _BATCH_PIXELS // (math.prod(filters.padded) * images.shape[1]))
    return np.concatenate([_batch(images[i : i + size], filters) for i in range(0, len(images), size)])


def _batch(images: Single, filters: Bank) -> Array:
    axes = tuple(range(2, images.ndim))
    extra = [(filters.pad, p - n - filters.pad) for n, p in zip(images.shape[2:], filters.padded, strict=True)]
    spectrum = fft.fftn(np.pad(images, [(0, 0), (0, 0), *extra], mode="symmetric"), axes=axes)
    columns = [images.mean(axis=axes, dtype=np.float64), np.log(images.std(axis=axes, dtype=np.float64) + FLOOR)]
    coherence = []
    for octave in filters.octaves:
        inside = _inside(filters, octave.step, images.shape[2:])
        responses = _responses(_low(spectrum, octave.step, len(axes)), octave)
        modulus = np.abs(responses)
        firsts = modulus[inside].mean(axis=tuple(range(3, modulus.ndim)), dtype=np.float64)
        columns += list(np.log(firsts + FLOOR * octave.gains[:, None, None]))
        columns += _second_order(modulus.mean(axis=0), octave, inside[1:])
        coherence.append(_coherence(responses[inside], octave))
    return np.concatenate([*columns, *coherence], axis=1)


def _inside(filters: Bank, step: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The image without its mirrored border, in arrays (L, N, C, [Z,] Y, X) on the grid of an octave."""
    first = -(-filters.pad // step)
    return (slice(None), slice(None), slice(None), *(slice(first, first + max(1, n // step)) for n in shape))


def _responses(spectrum: NDArray[np.complex64], octave: Octave) -> NDArray[np.complex64]:
    """Return the image seen by every wavelet of an octave, shape (L, N, C, *grid)."""
    axes = tuple(range(2, spectrum.ndim))
    scale = octave.step ** -len(axes)  # an inverse transform on the small grid divides by fewer pixels
    return np.stack([fft.ifftn(spectrum * (wavelet * scale), axes=axes) for wavelet in octave.oriented])


def _second_order(modulus: Single, octave: Octave, inside: tuple[slice, ...]) -> list[Array]:
    """Return, for every coarser scale, the log of how much the modulus varies there, relative to its mean."""
    if not octave.coarser.size:
        return []
    axes = tuple(range(2, modulus.ndim))
    spectrum = fft.fftn(modulus, axes=axes)
    base = modulus[inside].mean(axis=axes, dtype=np.float64) + FLOOR * float(octave.gains.mean())
    varied = (np.abs(fft.ifftn(spectrum * ring, axes=axes))[inside].mean(axis=axes, dtype=np.float64) for ring in octave.coarser)
    return [np.log(v / base + FLOOR) for v in varied]


def _coherence(responses: NDArray[np.complex64], octave: Octave) -> Array:
    """Return the normalised correlation of every pair of channels at one scale, shape (N, pairs)."""
    flat = np.moveaxis(responses, 0, 2).reshape(*responses.shape[1:3], -1)
    power = np.asarray(np.mean(np.abs(flat) ** 2, axis=2, dtype=np.float64)) + np.mean((FLOOR * octave.gains) ** 2)
    pairs = list(itertools.combinations(range(flat.shape[1]), 2))
    columns = [np.mean((flat[:, a] * flat[:, b].conj()).real, axis=1) / np.sqrt(power[:, a] * power[:, b]) for a, b in pairs]
    return np.stack(columns, axis=1) if columns else np.empty((len(flat), 0))
