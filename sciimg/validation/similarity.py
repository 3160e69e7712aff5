"""Structural similarity of two images, 2D or 3D: SSIM, its map, and MS-SSIM.

Moments are taken in float64 about the mean of each tile, so a large camera offset costs no precision. Values equal scikit-image's
``structural_similarity``: ``window="gaussian"`` is its ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False`` (the original of
Wang et al.), ``window="uniform"`` is its default.

An image is worked through in tiles that fit a processor's cache. The window is applied to an axis of a tile as one product with a banded
matrix: more multiplications than a filter needs, done several times faster (tests/benchmarks/bench_judges.py); beyond the images
themselves, memory is that of one tile.

References
----------
Wang Z, Bovik AC, Sheikh HR, Simoncelli EP (2004) Image quality assessment: from error visibility to structural similarity.
doi:10.1109/TIP.2003.819861
Wang Z, Simoncelli EP, Bovik AC (2003) Multiscale structural similarity for image quality assessment. doi:10.1109/ACSSC.2003.1292216
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciimg.validation.outcome import UndefinedError

Array = NDArray[np.float64]
Window = Literal["gaussian", "uniform"]

K1, K2 = 0.01, 0.03  # Wang 2004, section III-C
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, section 3.2
_RADIUS = {"gaussian": 5, "uniform": 3}  # 11 taps (sigma 1.5 truncated at 3.5 sigma); 7 taps
_SIGMA = 1.5
_TILE = {2: 64, 3: 32}  # side of a tile by number of dimensions


@dataclass(frozen=True, slots=True)
class _Terms:
    """What luminance and contrast-structure (Wang 2004, eqs. 6 and 9 with C3 = C2/2) lack to 1, each halved, at the pixels ``place``."""

    place: tuple[slice, ...]
    luminance: Array
    structure: Array


def ssim(reference: NDArray[Any], test: NDArray[Any], *, data_range: float, window: Window = "gaussian") -> float:
    """Return the mean SSIM over the pixels whose window lies inside the image.

    Parameters
    ----------
    reference, test : array, shape ([Z,] Y, X)
    data_range : float
        Width of the intensity scale, in the images' unit.
    window : {"gaussian", "uniform"}
        Gaussian of sigma 1.5 px with population moments, or 7 px wide with sample moments.

    Raises
    ------
    UndefinedError
        If a side is shorter than the window.
    """
    return _means(reference, test, data_range, window)[1]


def ssim_map(reference: NDArray[Any], test: NDArray[Any], *, data_range: float, window: Window = "gaussian") -> Array:
    """Return the SSIM at every pixel, shape of the image; windows at the border see the mirrored image."""
    _refuse_small(reference.shape, window)
    radius = _RADIUS[window]
    out = np.empty(reference.shape)
    for terms in _terms(np.pad(reference, radius, "symmetric"), np.pad(test, radius, "symmetric"), data_range, window):
        out[terms.place] = (1 - 2 * terms.luminance) * (1 - 2 * terms.structure)
    return out


def ms_ssim(reference: NDArray[Any], test: NDArray[Any], *, data_range: float) -> float:
    """Return the multi-scale SSIM (Gaussian window).

    Images too small for five scales are compared at as many as fit, with the weights of those scales brought to a sum of one; a negative
    contrast-structure mean counts as zero, as powers of it do not exist.
    """
    scales = ms_ssim_scales(reference.shape)
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    x, y, factors = reference, test, []
    for scale in range(scales):
        structure, both = _means(x, y, data_range, "gaussian")
        factors.append(both if scale == scales - 1 else structure)
        x, y = _halved(x), _halved(y)
    return float(np.prod(np.maximum(factors, 0.0) ** weights))


def ms_ssim_scales(shape: tuple[int, ...]) -> int:
    """Return at how many scales an image can be compared: at most five, each side at least the window's 11 pixels."""
    _refuse_small(shape, "gaussian")
    return min(len(SCALE_WEIGHTS), int(np.log2(min(shape) / (2 * _RADIUS["gaussian"] + 1))) + 1)


def _refuse_small(shape: tuple[int, ...], window: Window) -> None:
    if min(shape) < (needed := 2 * _RADIUS[window] + 1):
        raise UndefinedError(f"the shortest side is {min(shape)} px; the {window} window needs {needed}")


def _means(reference: NDArray[Any], test: NDArray[Any], data_range: float, window: Window) -> tuple[float, float]:
    """Return the means of contrast-structure and of its product with luminance (SSIM) over the pixels whose window lies inside."""
    _refuse_small(reference.shape, window)
    luminance = structure = both = 0.0
    pixels = 0
    for terms in _terms(reference, test, data_range, window):
        luminance += float(terms.luminance.sum())
        structure += float(terms.structure.sum())
        both += float(np.vdot(terms.structure, terms.luminance))
        pixels += terms.structure.size
    return 1 - 2 * structure / pixels, 1 - 2 * (structure + luminance - 2 * both) / pixels


def _terms(reference: NDArray[Any], test: NDArray[Any], data_range: float, window: Window) -> Iterator[_Terms]:
    """Yield the two factors of SSIM tile by tile; ``place`` counts from the first pixel whose window lies inside the image.

    Arrays of one tile are overwritten by the next: pages that the system has to hand out anew cost more than the arithmetic.
    """
    margin = 2 * _RADIUS[window]
    side = _TILE[reference.ndim]
    rooms = np.empty((2, 4 * int(np.prod([min(n, side + margin) for n in reference.shape]))))
    for corner in product(*(range(0, n - margin, side) for n in reference.shape)):
        place = tuple(slice(a, min(a + side, n - margin)) for a, n in zip(corner, reference.shape, strict=True))
        seen = tuple(slice(s.start, s.stop + margin) for s in place)
        yield _Terms(place, *_tile_terms(reference[seen], test[seen], data_range, window, rooms))


def _tile_terms(reference: NDArray[Any], test: NDArray[Any], data_range: float, window: Window, rooms: Array) -> tuple[Array, Array]:
    """Return the terms of a tile, from the first two moments of p = x + y and m = x - y.

    With means P, M and variances p', m': luminance is 1 - 2 M² / (P² + M² + 2 C1), contrast-structure 1 - 2 m' / (p' + m' + 2 C2).
    """
    moments = _shaped(rooms[0], (4, *reference.shape))
    np.add(reference, test, out=moments[0], dtype=np.float64)
    np.subtract(reference, test, out=moments[1], dtype=np.float64)
    offsets = float(moments[0].mean()), float(moments[1].mean())
    for mean, square, offset in zip(moments[:2], moments[2:], offsets, strict=True):
        mean -= offset
        np.multiply(mean, mean, out=square)
    (p, m, var_p, var_m), free = _smooth(moments, rooms[1], rooms[0], window)
    square = _shaped(free, p.shape)
    for mean, variance in ((p, var_p), (m, var_m)):
        np.multiply(mean, mean, out=square)
        variance -= square
    taps = (2 * _RADIUS[window] + 1) ** reference.ndim
    norm = taps / (taps - 1) if window == "uniform" else 1.0
    var_p += var_m
    var_p += 2 * (K2 * data_range) ** 2 / norm
    var_m /= var_p
    for mean, offset in zip((p, m), offsets, strict=True):
        mean += offset
        mean *= mean
    p += m
    p += 2 * (K1 * data_range) ** 2
    m /= p
    return m, var_m


def _smooth(stack: Array, room: Array, other: Array, window: Window) -> tuple[Array, Array]:
    """Apply the window along every axis but the first, where it lies inside: each axis loses twice the radius.

    The stack moves back and forth between ``other``, where it lies, and ``room``; it is returned with the one that is free.
    """
    for axis in range(1, stack.ndim):
        shape = [*stack.shape]
        shape[axis] -= 2 * _RADIUS[window]
        weights = _banded(window, shape[axis])
        if axis == stack.ndim - 1:
            np.matmul(stack.reshape(-1, stack.shape[axis]), weights.T, out=_shaped(room, (-1, shape[axis]), shape))
        else:
            flat = (int(np.prod(shape[:axis])), -1, int(np.prod(shape[axis + 1 :])))
            np.matmul(weights, stack.reshape(flat), out=_shaped(room, flat, shape))
        stack, room, other = _shaped(room, shape), other, room
    return stack, room


def _shaped(room: Array, view: Sequence[int], shape: Sequence[int] | None = None) -> Array:
    """Return the beginning of a flat array as an array of a shape, which may be given with another view of it."""
    return room[: int(np.prod(shape or view))].reshape(view)


@cache
def _banded(window: Window, size: int) -> Array:
    """Return the matrix that takes ``size`` weighted means from ``size`` + twice the radius values."""
    radius = _RADIUS[window]
    steps = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (steps / _SIGMA) ** 2) if window == "gaussian" else np.ones(len(steps))
    matrix = np.zeros((size, size + 2 * radius))
    for row in range(size):
        matrix[row, row : row + len(steps)] = weights / weights.sum()
    return matrix


def _halved(image: NDArray[Any]) -> Array:
    """Mean of 2 x 2 (x 2) blocks; an odd last row is dropped."""
    even = image[tuple(slice(0, n - n % 2) for n in image.shape)]
    shape = [m for n in even.shape for m in (n // 2, 2)]
    return np.asarray(even.reshape(shape).mean(axis=tuple(range(1, 2 * image.ndim, 2)), dtype=np.float64))
