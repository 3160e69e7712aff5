"""Point-spread functions as transfer functions on a grid: blur, and the structure that would look so when blurred."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from sciimg.augmenters.formation.settings import GaussianSpot, Microscope, Spot
from sciimg.errors import InputError, Problem
from sciimg.types import Unit

Array = NDArray[np.float64]
_MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3}
_RAYS = 400  # points of the integral over the pupil
_ITERATIONS = 10  # of Richardson-Lucy; more brings noise back


def kernel(spot: Spot, spacing: tuple[float, ...], unit: Unit, shape: tuple[int, ...]) -> Array:
    """Return the point-spread function on a grid of odd size, its centre in the middle, its sum 1.

    Parameters
    ----------
    spot : GaussianSpot or Microscope
    spacing, unit
        Of the grid, ([z,] y, x). A microscope needs a physical unit.
    shape : tuple of int
        Of the images; the kernel is no larger.

    Raises
    ------
    InputError
        Kinds ``no-physical-size``, ``dimensions``.
    """
    half = tuple(min((size - 1) // 2, 16) for size in shape)
    grid = np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij")
    if isinstance(spot, GaussianSpot):
        if spot.sigma_px is None:
            raise ValueError("The spot is not measured yet.")
        if len(spot.sigma_px) != len(shape):
            message = f"The spot has a sigma for {len(spot.sigma_px)} axes, the images have {len(shape)}. Give one an axis."
            raise InputError(Problem("formation.psf.sigma_px", "dimensions", message))
        exponent = sum((axis / max(sigma, 1e-3)) ** 2 for axis, sigma in zip(grid, spot.sigma_px, strict=True))
        out = np.exp(-0.5 * np.asarray(exponent, np.float64))
    else:
        if unit not in _MICROMETRES:
            message = (
                "A microscope's optics need the physical size of a pixel, and the images say only pixels. Ingest with --spacing and --unit."
            )
            raise InputError(Problem("formation.psf", "no-physical-size", message))
        metric = [s * _MICROMETRES[unit] for s in spacing]
        lateral: Array = np.hypot(grid[-2] * metric[-2], grid[-1] * metric[-1])
        axial: Array = np.asarray(grid[0] * metric[0]) if len(shape) == 3 else np.zeros_like(lateral)
        out = gibson_lanni(spot, lateral, axial)
    return np.asarray(out / out.sum())


def gibson_lanni(scope: Microscope, lateral_um: Array, axial_um: Array) -> Array:
    """Return the intensity of a point's image at distances from the axis and from the nominal focus, 1 at its unaberrated peak.

    Gibson & Lanni 1991, doi:10.1364/JOSAA.8.001601, with cover glass and immersion as designed: the integral over the pupil of
    ``J0(k NA r p) exp(i k W(p)) p`` with ``W = (z - d) sqrt(n_i^2 - NA^2 p^2) + d sqrt(n_s^2 - NA^2 p^2)``. In focus and with equal indices
    it is the Airy pattern. Rays beyond the sample's index are evanescent: there the second root is imaginary, and what is deeper sends less
    light on them (Born & Wolf 1999, *Principles of Optics*, section 1.5.4).
    """
    k = 2 * math.pi / (scope.wavelength_nm * 1e-3)
    radius = (np.arange(_RAYS) + 0.5) / _RAYS
    aperture = (scope.numerical_aperture * radius) ** 2
    immersion = np.sqrt(scope.refractive_index**2 - aperture)
    sample = np.sqrt(scope.sample_index**2 - aperture + 0j)  # the root above the real axis: waves fade with depth
    places, back = np.unique(np.round(np.stack([lateral_um.ravel(), axial_um.ravel()]), 9), axis=1, return_inverse=True)
    amplitude = np.empty(places.shape[1], np.complex128)
    for i, (r, z) in enumerate(places.T):
        path = (z - scope.depth_um) * immersion + scope.depth_um * sample
        amplitude[i] = 2 / _RAYS * np.sum(j0(k * scope.numerical_aperture * r * radius) * np.exp(1j * k * (path - path[0])) * radius)
    return np.asarray(np.abs(amplitude[back.ravel()]) ** 2).reshape(lateral_um.shape)


def blurred(images: Array, psf: Array) -> Array:
    """Return images (..., [Z,] Y, X) as the optics show them; borders are mirrored."""
    padded, inside, transfer = _prepared(images, psf)
    return _filtered(padded, transfer)[inside]


def sharpened(images: Array, psf: Array) -> Array:
    """Return the structure that blurs into images, none of it negative (Richardson 1972, doi:10.1364/JOSA.62.000055; Lucy 1974)."""
    floor = 1e-6 * max(float(np.abs(images).max()), 1e-12)
    padded, inside, transfer = _prepared(np.maximum(images, floor), psf)
    out = padded.copy()
    for _ in range(_ITERATIONS):
        seen = np.maximum(_filtered(out, transfer), floor)
        out *= np.maximum(_filtered(padded / seen, transfer.conj()), 0.0)
    return out[inside]


def _prepared(images: Array, psf: Array) -> tuple[Array, tuple[slice, ...], NDArray[np.complex128]]:
    dims = psf.ndim
    half = [size // 2 for size in psf.shape]
    lead = images.ndim - dims
    padded = np.pad(images, [(0, 0)] * lead + [(h, h) for h in half], mode="symmetric")
    at_corner = np.zeros(padded.shape[lead:])
    at_corner[tuple(slice(0, size) for size in psf.shape)] = psf
    at_corner = np.roll(at_corner, [-h for h in half], range(dims))
    inside = (*[slice(None)] * lead, *(slice(h, h + size) for h, size in zip(half, images.shape[lead:], strict=True)))
    return padded, inside, np.fft.rfftn(at_corner)


def _filtered(images: Array, transfer: NDArray[np.complex128]) -> Array:
    axes = tuple(range(images.ndim - transfer.ndim, images.ndim))
    shape = [images.shape[axis] for axis in axes]
    return np.asarray(np.fft.irfftn(np.fft.rfftn(images, axes=axes) * transfer, s=shape, axes=axes))
