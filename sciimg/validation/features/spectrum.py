"""Radial power spectrum of every channel: blur, noise, periodic artefacts and the slope of the spectrum, but not where anything lies.

With it the distances of two sets are distances of their spectra, sample by sample; the physics check ``power-spectrum`` compares means, in
decibel.

References
----------
van der Schaaf A, van Hateren JH (1996) Modelling the power spectra of natural images. doi:10.1016/0042-6989(96)00002-8
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]
Single = NDArray[np.float32]

MOST_RINGS = 16
FLOOR = 1e-4  # of the power of white noise that is as strong as the channel varies


def spectrum(images: Single) -> Array:
    """Return statistics of images (N, C, [Z,] Y, X), whose channels have unit scale: shape (N, C · (rings + 1)).

    Per channel: mean; natural logarithm of the mean power in rings of frequency up to half a cycle per pixel, of the image without its mean
    under a Hann window. White noise of unit variance has power 1 in every ring.
    """
    shape = images.shape[2:]
    axes = tuple(range(2, images.ndim))
    window, index, size = _rings(shape)
    means = images.mean(axis=axes, keepdims=True, dtype=np.float64)
    power = np.abs(fft.fftn((images - means.astype(np.float32)) * window, axes=axes)) ** 2 / float(np.sum(window**2, dtype=np.float64))
    flat = power.reshape(-1, index.size)
    sums = np.stack([np.bincount(index, weights=row, minlength=len(size))[: len(size) - 1] for row in flat])
    radial = np.log(sums / size[:-1] + FLOOR).reshape(*images.shape[:2], -1)
    return np.concatenate([means.reshape(*images.shape[:2], 1), radial], axis=2).reshape(len(images), -1)


@lru_cache(maxsize=4)
def _rings(shape: tuple[int, ...]) -> tuple[Single, NDArray[np.intp], Array]:
    """Return the window, the ring of every frequency (the last for what is outside: 0 and the corners), and how many each holds."""
    window = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        window = window * np.hanning(n + 2)[1:-1].astype(np.float32).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")))
    edges = np.linspace(0, 0.5, min(MOST_RINGS, max(2, math.ceil(max(shape) / 4))) + 1)
    ring = np.digitize(radius.ravel(), edges, right=True) - 1
    held = np.unique(ring[(ring >= 0) & (ring < len(edges) - 1)])  # a small image has rings without any frequency
    index = np.full(ring.shape, len(held), np.intp)
    for new, old in enumerate(held):
        index[ring == old] = new
    return window, index, np.bincount(index, minlength=len(held) + 1).astype(np.float64)
