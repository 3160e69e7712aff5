"""Structural similarity of two images, 2D or 3D: SSIM, its map, and MS-SSIM.

Moments are taken in float64 about a common offset (the mean of the reference), so a large camera offset costs no precision. Values equal
scikit-image's ``structural_similarity``: ``window="gaussian"`` is its ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``
(the original of Wang et al.), ``window="uniform"`` is its default.

References
----------
Wang Z, Bovik AC, Sheikh HR, Simoncelli EP (2004) Image quality assessment: from error visibility to structural similarity.
doi:10.1109/TIP.2003.819861
Wang Z, Simoncelli EP, Bovik AC (2003) Multiscale structural similarity for image quality assessment. doi:10.1109/ACSSC.2003.1292216
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sciimg.validation.outcome import UndefinedError

Array = NDArray[np.float64]
Window = Literal["gaussian", "uniform"]

K1, K2 = 0.01, 0.03  # Wang 2004, section III-C
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, section 3.2
_RADIUS = {"gaussian": 5, "uniform": 3}  # 11 taps (sigma 1.5 truncated at 3.5 sigma); 7 taps
_SIGMA = 1.5


@dataclass(frozen=True, slots=True)
class _Terms:
    """Luminance and contrast-structure at every pixel (Wang 2004, eqs. 6 and 9 with C3 = C2/2)."""

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
    terms = _terms(reference, test, data_range, window)
    return float(np.mean(_inside(terms.luminance * terms.structure, _RADIUS[window])))


def ssim_map(reference: NDArray[Any], test: NDArray[Any], *, data_range: float, window: Window = "gaussian") -> Array:
    """Return the SSIM at every pixel, shape of the image; windows at the border see the mirrored image."""
    terms = _terms(reference, test, data_range, window)
    return terms.luminance * terms.structure


def ms_ssim(reference: NDArray[Any], test: NDArray[Any], *, data_range: float) -> float:
    """Return the multi-scale SSIM (Gaussian window).

    Images too small for five scales are compared at as many as fit, with the weights of those scales brought to a sum of one; a negative
    contrast-structure mean counts as zero, as powers of it do not exist.
    """
    scales = ms_ssim_scales(reference.shape)
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    offset = float(np.mean(reference, dtype=np.float64))
    x, y = reference.astype(np.float64) - offset, test.astype(np.float64) - offset
    factors = []
    for scale in range(scales):
        terms = _terms(x, y, data_range, "gaussian", offset)
        last = scale == scales - 1
        factors.append(np.mean(_inside(terms.structure * terms.luminance if last else terms.structure, _RADIUS["gaussian"])))
        x, y = _halved(x), _halved(y)
    return float(np.prod(np.maximum(factors, 0.0) ** weights))


def ms_ssim_scales(shape: tuple[int, ...]) -> int:
    """Return at how many scales an image can be compared: at most five, each side at least the window's 11 pixels."""
    window = 2 * _RADIUS["gaussian"] + 1
    if min(shape) < window:
        raise UndefinedError(f"the shortest side is {min(shape)} px; the window needs {window}")
    return min(len(SCALE_WEIGHTS), int(np.log2(min(shape) / window)) + 1)


def _terms(reference: NDArray[Any], test: NDArray[Any], data_range: float, window: Window, offset: float | None = None) -> _Terms:
    """Return the two factors of SSIM; ``offset`` was taken off both images already where it is given."""
    radius = _RADIUS[window]
    if min(reference.shape) < 2 * radius + 1:
        raise UndefinedError(f"the shortest side is {min(reference.shape)} px; the {window} window needs {2 * radius + 1}")
    x, y = reference, test
    if offset is None:
        offset = float(np.mean(reference, dtype=np.float64))
        x, y = reference.astype(np.float64) - offset, test.astype(np.float64) - offset
    mean_x, mean_y = _smooth(x, window), _smooth(y, window)
    # SSIM needs the variances only as a sum: four filters instead of five
    taps = (2 * radius + 1) ** x.ndim
    norm = taps / (taps - 1) if window == "uniform" else 1.0
    variances = norm * (_smooth(x * x + y * y, window) - mean_x**2 - mean_y**2)
    covariance = norm * (_smooth(x * y, window) - mean_x * mean_y)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = mean_x + offset, mean_y + offset
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return _Terms(luminance, structure)


def _smooth(image: Array, window: Window) -> Array:
    if window == "uniform":
        return np.asarray(ndimage.uniform_filter(image, 2 * _RADIUS[window] + 1))
    return np.asarray(ndimage.gaussian_filter(image, _SIGMA, radius=_RADIUS[window]))


def _inside(image: Array, radius: int) -> Array:
    return image[(slice(radius, -radius),) * image.ndim]


def _halved(image: Array) -> Array:
    """Mean of 2 x 2 (x 2) blocks; an odd last row is dropped."""
    even = image[tuple(slice(0, n - n % 2) for n in image.shape)]
    shape = [m for n in even.shape for m in (n // 2, 2)]
    return np.asarray(even.reshape(shape).mean(axis=tuple(range(1, 2 * image.ndim, 2))))
