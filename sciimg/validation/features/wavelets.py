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
class Bank:
    """Filters in the Fourier domain for one padded shape.

    Parameters
    ----------
    pad : int
        Pixels of mirrored border on each side.
    oriented : array, shape (J, L, *padded)
        Morlet wavelets: real in the Fourier domain, without response to a constant.
    rings : array, shape (J, *padded)
        Mean over orientations, for the second order.
    gains : array, shape (J, L)
        Mean modulus of the response to white noise of unit variance.
    """

    pad: int
    oriented: Single
    rings: Single
    gains: Array


def directions(dims: int) -> Array:
    """Return unit vectors, shape (L, dims): four in the plane, nine in space (axes and face diagonals); no two are opposite."""
    if dims == 2:
        angles = np.arange(4) * math.pi / 4
        return np.stack([np.sin(angles), np.cos(angles)], axis=1)
    steps = [v for v in itertools.product((-1, 0, 1), repeat=dims) if 0 < np.abs(v).sum() <= 2]
    half = [v for v in steps if next(x for x in v if x) > 0]
    vectors = np.array(half, dtype=np.float64)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def scale_count(shape: tuple[int, ...]) -> int:
    """Return the number of octaves that fit: the coarsest wavelength, about 5 px at octave 2, stays below half the shortest side."""
    return max(1, min(4, int(math.log2(min(shape))) - 2))


@lru_cache(maxsize=4)
def bank(shape: tuple[int, ...]) -> Bank:
    """Return the filters for images of spatial ``shape``."""
    scales = scale_count(shape)
    pad = min(2**scales, min(shape) - 1)
    padded = tuple(fft.next_fast_len(n + 2 * pad) for n in shape)
    vectors = directions(len(shape))
    oriented = np.stack([np.stack([_morlet(padded, v, 2**j) for v in vectors]) for j in range(scales)])
    energy = (oriented.astype(np.float64) ** 2).reshape(*oriented.shape[:2], -1).mean(axis=-1)
    # the modulus of complex Gaussian noise of total variance s² has mean s·sqrt(pi)/2
    return Bank(pad, oriented, oriented.mean(axis=1), np.sqrt(energy * math.pi) / 2)


def _morlet(shape: tuple[int, ...], direction: Array, scale: int) -> Single:
    centre, width = direction * _XI / scale, _SIGMA * scale
    bump, low = np.zeros(shape), np.zeros(shape)
    # sampled filters are periodic in frequency: add the neighbouring periods
    for period in itertools.product((-1, 0, 1), repeat=len(shape)):
        grid = np.meshgrid(*(2 * math.pi * (np.fft.fftfreq(n) + p) for n, p in zip(shape, period, strict=True)), indexing="ij")
        bump += np.exp(-(width**2) / 2 * sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        low += np.exp(-(width**2) / 2 * sum(g**2 for g in grid))
    origin = (0,) * len(shape)
    return np.asarray(bump - low * bump[origin] / low[origin], dtype=np.float32)


def scattering(images: Single) -> Array:
    """Return the coefficients of images (N, C, [Z,] Y, X), whose channels have unit scale: shape (N, D).

    Per channel: mean, log standard deviation of the image, log first order (J · L), log relative second order (J (J - 1) / 2);
    per pair of channels: coherence (J).
    """
    filters = bank(images.shape[2:])
    size = max(1, _BATCH_PIXELS // max(1, math.prod(filters.rings.shape[1:]) * images.shape[1]))
    return np.concatenate([_batch(images[i : i + size], filters) for i in range(0, len(images), size)])


def _batch(images: Single, filters: Bank) -> Array:
    axes = tuple(range(2, images.ndim))
    shape = images.shape[2:]
    extra = [(filters.pad, p - n - filters.pad) for n, p in zip(shape, filters.rings.shape[1:], strict=True)]
    spectrum = fft.fftn(np.pad(images, [(0, 0), (0, 0), *extra], mode="symmetric"), axes=axes)
    inside = (slice(None), slice(None), *(slice(filters.pad, filters.pad + n) for n in shape))
    columns = [images.mean(axis=axes, dtype=np.float64), np.log(images.std(axis=axes, dtype=np.float64) + FLOOR)]
    coherence: list[Array] = []
    pairs = list(itertools.combinations(range(images.shape[1]), 2))
    for j, (oriented, gains) in enumerate(zip(filters.oriented, filters.gains, strict=True)):
        total = np.zeros(spectrum.shape, np.float32)
        cross = np.zeros((len(images), len(pairs)))
        power = np.zeros(images.shape[:2])
        for wavelet, gain in zip(oriented, gains, strict=True):
            response = fft.ifftn(spectrum * wavelet, axes=axes)
            modulus = np.abs(response)
            total += modulus / len(oriented)
            columns.append(np.log(modulus[inside].mean(axis=axes, dtype=np.float64) + FLOOR * gain))
            if pairs:
                power += np.square(modulus[inside]).sum(axis=axes, dtype=np.float64)
                inner = response[inside]
                for p, (a, b) in enumerate(pairs):
                    cross[:, p] += np.sum((inner[:, a] * inner[:, b].conj()).real, axis=tuple(x - 1 for x in axes), dtype=np.float64)
        columns += _second_order(total, j, filters, inside, axes)
        weak = FLOOR**2 * math.prod(shape) * float(np.sum(gains**2))
        coherence += [cross[:, p] / np.sqrt((power[:, a] + weak) * (power[:, b] + weak)) for p, (a, b) in enumerate(pairs)]
    table = np.concatenate(columns, axis=1)
    return np.concatenate([table, np.stack(coherence, axis=1)], axis=1) if coherence else table


def _second_order(modulus: Single, j: int, filters: Bank, inside: tuple[slice, ...], axes: tuple[int, ...]) -> list[Array]:
    """Return, for every coarser scale, the log of how much the modulus at scale j varies there, relative to its mean."""
    if j + 1 == len(filters.rings):
        return []
    spectrum = fft.fftn(modulus, axes=axes)
    base = modulus[inside].mean(axis=axes, dtype=np.float64) + FLOOR * float(filters.gains[j].mean())
    varied = (np.abs(fft.ifftn(spectrum * ring, axes=axes))[inside].mean(axis=axes, dtype=np.float64) for ring in filters.rings[j + 1 :])
    return [np.log(v / base + FLOOR) for v in varied]
