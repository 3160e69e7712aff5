"""Fourier ring correlation (of shells in a volume): up to which spatial frequency two images still show the same thing.

The resolution is the inverse of the frequency at which the correlation first falls below 1/7. A fixed threshold is a convention: it does
not know how many coefficients a ring has, nor how much of the image is empty (van Heel & Schatz 2005); what counts is that it is the same
for all images that are compared.

References
----------
Rosenthal PB, Henderson R (2003) Optimal determination of particle orientation, absolute hand, and contrast loss in single-particle electron
cryomicroscopy. J Mol Biol 333:721-745, doi:10.1016/j.jmb.2003.07.013
van Heel M, Schatz M (2005) Fourier shell correlation threshold criteria. J Struct Biol 151:250-262, doi:10.1016/j.jsb.2005.05.009
Nieuwenhuizen RPJ et al. (2013) Measuring image resolution in optical nanoscopy. Nat Methods 10:557-562, doi:10.1038/nmeth.2448
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from sciimg.validation.outcome import UndefinedError

Array = NDArray[np.float64]

THRESHOLD = 1 / 7
LEAST_SIDE = 16  # pixels along an axis
LOWEST = 2  # cycles per image: what a Hann window spreads from the mean lies below
_SAME = 1 - 1e-6  # correlation in every ring: one image is the other, scaled or not


def two_image_resolution(first: NDArray[np.generic], second: NDArray[np.generic], spacing: tuple[float, ...]) -> float:
    """Return the resolution of two acquisitions of one field, shape ([Z,] Y, X), whose noise is independent, in the unit of the spacing.

    Parameters
    ----------
    first, second : array
        Aligned with each other. Neither scale nor offset of their intensities matters.
    spacing : tuple of float
        Distance of pixels along each axis. Rings are those of physical frequency, one cycle along the shortest side wide, up to the Nyquist
        frequency of the finest axis; beyond that of a coarser one they are what the finer axes have of them.

    Notes
    -----
    Hann window; the curve is smoothed by local parabolas over a fifth of the rings, or a tenth of the shells, which have more coefficients,
    and has to lie below 1/7 in two rings. Where each image has a ratio S/N of signal to noise power, the correlation is S/(S + N).

    Raises
    ------
    UndefinedError
        For constant, identical and too small images, images with nothing in common, and a correlation that never falls.
    """
    if min(first.shape) < LEAST_SIDE:
        raise UndefinedError(f"the shortest side is {min(first.shape)} px; rings of two images need {LEAST_SIDE}")
    ring, frequency = _rings(first.shape, spacing)
    curve = ring_correlation(_spectrum(first), _spectrum(second), ring, len(frequency))
    if curve.min() > _SAME:
        raise UndefinedError("the two images are identical: these are not two acquisitions with noise of their own")
    part = 5 if first.ndim == 2 else 10
    smooth = savgol_filter(curve, max(5, len(curve) // part | 1), 2)  # a mean would lie above the curve where that bends towards 0
    found = float(crossing(smooth[None], frequency)[0])
    if np.isnan(found):
        raise UndefinedError(
            f"the correlation of the two images never falls below 1/7: their resolution is beyond the Nyquist frequency (finer than "
            f"{1 / frequency[-1]:.3g}), or they share noise"
        )
    if found <= frequency[0]:
        raise UndefinedError("the two images have nothing in common, or are not aligned")
    return 1 / found


def ring_correlation(first: NDArray[np.complex128], second: NDArray[np.complex128], ring: NDArray[np.int64], rings: int) -> Array:
    """Return the correlation of two spectra in each ring, shape (rings,); 0 without power. ``ring`` is flat, -1 outside."""
    used = ring >= 0
    powers = ((first * second.conj()).real, np.abs(first) ** 2, np.abs(second) ** 2)
    cross, one, other = (np.bincount(ring[used], power.ravel()[used], rings) for power in powers)
    norm = np.sqrt(one * other)
    found: Array = np.where(norm > 0, cross / np.where(norm > 0, norm, 1.0), 0.0)
    return found


def crossing(curves: Array, frequency: Array) -> Array:
    """Return the frequency at which each curve (B, K) first falls below 1/7 and stays there for two bins, by linear interpolation.

    NaN for a curve that never falls, the lowest frequency for one that never rises above.
    """
    below = curves < THRESHOLD
    for_two = below & np.concatenate([below[:, 1:], below[:, -1:]], axis=1)
    first = np.argmax(for_two, axis=1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(curves))
    high, low = curves[rows, before], curves[rows, first]
    part = np.where(high > low, (high - THRESHOLD) / np.where(high > low, high - low, 1.0), 0.0)
    inside = frequency[before] + np.clip(part, 0, 1) * (frequency[first] - frequency[before])
    found: Array = np.where(for_two.any(axis=1), np.where(first > 0, inside, frequency[0]), np.nan)
    return found


def hann(shape: tuple[int, ...]) -> Array:
    """Return the product of Hann windows along all axes."""
    window = np.ones(shape)
    for axis, n in enumerate(shape):
        window = window * np.hanning(n + 2)[1:-1].reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return window


def _rings(shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[NDArray[np.int64], Array]:
    """Return the ring of each coefficient, flat, and the mean frequency of each ring in cycles per unit."""
    along = np.meshgrid(*(np.fft.fftfreq(n, step) for n, step in zip(shape, spacing, strict=True)), indexing="ij", sparse=True)
    radius = np.sqrt(sum(f**2 for f in along)).ravel()
    width = max(1 / (n * step) for n, step in zip(shape, spacing, strict=True))
    rings = int(0.5 / min(spacing) / width) - LOWEST + 1
    ring = np.rint(radius / width).astype(np.int64) - LOWEST
    ring[(ring < 0) | (ring >= rings)] = -1
    used = ring >= 0
    frequency: Array = np.bincount(ring[used], radius[used], rings) / np.bincount(ring[used], minlength=rings)
    return ring, frequency


def _spectrum(image: NDArray[np.generic]) -> NDArray[np.complex128]:
    values = image.astype(np.float64)
    values = values - values.mean()
    size = float(np.abs(values).max())
    if size == 0 or image.min() == image.max():
        raise UndefinedError("an image is constant")
    spectrum: NDArray[np.complex128] = np.fft.fftn(values / size * hann(values.shape))
    return spectrum
