"""How wide the point spread is, read from the spectra of the images themselves.

Unknown structure has a power spectrum that falls as a power of the frequency (Ruderman 1997, doi:10.1016/S0042-6989(97)00008-4), with sharp
borders by d + 1 in d dimensions and no faster (Porod 1951, doi:10.1007/BF01512792). A Gaussian spot takes exp(-4 pi^2 sigma^2 f^2) of it,
noise of photons and of reading adds the same at every frequency, and only the spot bends the fall. All are fitted together by maximum
likelihood (Whittle 1953, doi:10.1007/BF02590998).

What one image cannot tell: structure whose borders are soft by themselves, and motion, look like a wider spot, so what is found is the blur
of the images, and bounds the spot of the optics from above. Sizes that repeat leave dips in a spectrum that this model does not have.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from sciimg.errors import InputError, Problem

Array = NDArray[np.float64]
_FEWEST_PX = 12  # along an axis, below which there are too few frequencies
_SKIPPED = 2  # frequencies around zero, which the window smears
_CLEAR = 10.0  # by how much the structure must stand above the noise at low frequencies
_NARROWEST = 0.5  # pixels; a narrower spot ends beyond the frequencies that the grid has
_WIDEST = 0.1  # of an axis: a wider one ends below the first frequencies
_UNSURE = 0.15  # standard error of a sigma, of its size
_STARTS = (0.7, 2.0)  # pixels


def learn_spot(images: Array, spacing: tuple[float, ...], name: str) -> tuple[float, ...]:
    """Return the standard deviation of the blur of images (N, [Z,] Y, X) along each axis, in pixels.

    Parameters
    ----------
    images : array, shape (N, [Z,] Y, X)
        One channel, with its noise: white, of any level.
    spacing : tuple of float
        ([z,] y, x): structure is taken to fall alike in all directions of space, not of the grid.
    name : str
        Of the channel.

    Raises
    ------
    InputError
        Kind ``no-spot``: the spectrum does not tell it.
    """
    if min(images.shape[1:]) < _FEWEST_PX:
        raise _refusal(name, f"an axis has fewer than {_FEWEST_PX} pixels")
    power, count, frequency = _spectrum(images)
    steps = np.array(spacing)[:, None] / min(spacing)
    found, contrast, error = _fitted(power, count, np.square(frequency), np.square(frequency / steps).sum(0))
    sigma = np.sqrt(found)
    if contrast < _CLEAR:
        raise _refusal(name, f"the structure is {contrast:.2g} times the noise at low frequencies, and must be {_CLEAR:g}")
    if sigma.min() < _NARROWEST:
        raise _refusal(name, f"they show no blur of {_NARROWEST} pixels or more along some axis")
    widest = _WIDEST * np.array(images.shape[1:])
    unsure = error > 2 * _UNSURE * found  # of a square, so twice
    if (sigma > widest).any() or unsure.any():
        words = ", ".join(f"{s:.2g} +- {e / (2 * s):.1g}" for s, e in zip(sigma, error, strict=True))
        raise _refusal(name, f"sigma came out as {words} pixels, and must be below {_WIDEST:g} of the size and sure to {_UNSURE:.0%}")
    return tuple(round(float(s), 4) for s in sigma)


def _refusal(name: str, why: str) -> InputError:
    message = (
        f"The spectra of channel {name!r} do not tell how wide the point spread is: {why}. Give formation.psf.sigma_px, e.g. from "
        "beads, or leave formation.psf out."
    )
    return InputError(Problem("formation.psf", "no-spot", message))


def _spectrum(images: Array) -> tuple[Array, Array, Array]:
    """Return mean power, degrees of freedom and frequency (dims, K; cycles a pixel) of K frequencies; mirrored ones are one."""
    shape = images.shape[1:]
    axes = tuple(range(len(shape)))
    window = np.ones(shape)
    for axis, size in enumerate(shape):
        window *= np.expand_dims(np.hanning(size + 2)[1:-1], tuple(a for a in axes if a != axis))
    power = np.zeros(shape)
    for own in images:
        power += np.abs(np.fft.fftn((own - np.average(own, weights=window)) * window)) ** 2
    power /= len(images) * np.square(window).sum()
    numbers = np.indices(tuple(size // 2 + 1 for size in shape))
    for axis, size in enumerate(shape):
        half = np.arange(size // 2 + 1)
        power = (np.take(power, half, axis) + np.take(power, -half % size, axis)) / 2
    used = np.sqrt(np.square(numbers).sum(0)) > _SKIPPED
    frequency = numbers[:, used] / np.array(shape)[:, None]
    count = len(images) * np.where(numbers[:, used] > 0, 2, 1).prod(0) / 2
    return power[used], count, frequency


def _fitted(power: Array, count: Array, squares: Array, distance: Array) -> tuple[Array, float, Array]:
    """Return sigma^2 along each axis, the highest structure over noise, and the standard error of sigma^2.

    The model is exp(a) (q^2 + corner^2)^(-b/2) exp(-4 pi^2 sum sigma_i^2 f_i^2) + noise; below the corner structure no longer grows,
    because objects have a size.

    Parameters
    ----------
    power, count : array, shape (K,)
    squares : array, shape (dims, K)
        Squared frequency along each axis, in cycles a pixel.
    distance : array, shape (K,)
        Squared frequency in space.
    """
    first, noise = float(distance.min()), float(np.quantile(power, 0.1))
    low = float(np.median(power[distance <= 4 * first]))
    free, falls = (None, None), [(0.0, None)] * len(squares)
    bounds = [free, (0.5 * np.log(first) - 3, np.log(0.5)), (0.0, len(squares) + 1.0), (np.log(noise) - 5, None), *falls]
    whittle = partial(_whittle, power=power, weight=count / count.sum(), squares=squares, distance=distance)
    fits = []
    for sigma in _STARTS:
        start = [np.log(low) + np.log(2 * first), 0.5 * np.log(first), 2.0, np.log(noise), *[sigma**2] * len(squares)]
        fits.append(minimize(whittle, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000, "ftol": 1e-12}))
    best = min(fits, key=lambda fit: float(fit.fun)).x
    level, change = _model(best, squares, distance)
    relative = change / level
    spread = np.linalg.pinv((relative * count) @ relative.T).diagonal()[4:]
    return best[4:], float(level.max() / np.exp(best[3])) - 1, np.sqrt(np.maximum(spread, 0.0))


def _whittle(at: Array, power: Array, weight: Array, squares: Array, distance: Array) -> tuple[float, Array]:
    level, change = _model(at, squares, distance)
    return float((weight * (power / level + np.log(level))).sum()), change @ (weight * (1 - power / level) / level)


def _model(at: Array, squares: Array, distance: Array) -> tuple[Array, Array]:
    """Return the spectrum and its derivatives by the parameters: a, log corner, b, log noise, sigma^2 along each axis."""
    a, corner, b, noise = at[:4]
    rounded = distance + np.exp(2 * corner)
    structure = np.exp(a - b / 2 * np.log(rounded) - 4 * np.pi**2 * at[4:] @ squares)
    slopes = [np.ones_like(rounded), -b * np.exp(2 * corner) / rounded, -np.log(rounded) / 2]
    changes = [*(structure * slope for slope in slopes), np.full_like(rounded, np.exp(noise)), *(-4 * np.pi**2 * structure * squares)]
    return structure + np.exp(noise), np.stack(changes)
