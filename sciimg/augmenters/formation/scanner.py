"""Magnitude MRI: Rician noise, a bias field, and k-space that is missing or moved."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ive

from sciimg.augmenters.formation.noise_level import residuals, sigma_of
from sciimg.augmenters.formation.settings import Scanner
from sciimg.augmenters.formation.starlet import denoised
from sciimg.augmenters.settings import Settings
from sciimg.errors import InputError, Problem

Array = NDArray[np.float64]
_SIGNAL = 0.3  # share of the bright end (99 %) above which there is signal
_ZEROED = 0.01  # share of exact zeros from which the background counts as cut away
_CENTRE = 0.08  # share of k-space lines in the middle that are always kept
_FEWEST = 50  # voxels inside bright parts
_AIR = 2.0  # mean over standard deviation below which there is noise alone: that has sqrt(pi / (4 - pi)) = 1.91
_STRETCHES = 8  # of an acquisition, between which the subject may move


class ScannerLaw(Settings):
    """One channel: standard deviation of a noise channel and level of the signal (grey levels), and whether air was set to zero."""

    name: str
    sigma: float
    level: float
    zeroed: bool

    @property
    def snr(self) -> float:
        return self.level / self.sigma

    def structure(self, images: Array, dims: int) -> Array:
        """Return images (N, [Z,] Y, X) without noise and without the lift that Rician noise gives to dark places."""
        calm = denoised(images / self.sigma, dims)
        signal, mean = _rician_means()
        out = self.sigma * np.interp(calm, mean, signal, left=0.0)
        out = np.where(calm > mean[-1], self.sigma * calm, out)  # beyond the table the two agree to a thousandth
        return np.where(images == 0, 0.0, out) if self.zeroed else out

    def form(self, structure: Array, snr: float | None, settings: Scanner, rng: np.random.Generator) -> Array:
        """Return one magnitude image of structure ([Z,] Y, X)."""
        sigma = self.sigma if snr is None else self.level / snr
        image: NDArray[np.complex128] = np.asarray(structure * _bias(structure.shape, settings.bias, rng), np.complex128)
        parts = rng.standard_normal((2, *structure.shape)) * sigma
        noise = parts[0] + 1j * parts[1]
        partial = settings.acceleration > 1 or settings.motion_px > 0
        out = np.abs(_acquired(image, noise, settings, rng) if partial else image + noise)
        return np.where(structure > 0, out, 0.0) if self.zeroed else out


def learn_scanner(settings: Scanner, images: Array, name: str) -> ScannerLaw:
    """Measure noise and SNR on images (N, [Z,] Y, X) of one channel.

    Raises
    ------
    InputError
        Kind ``no-noise``: nothing changes from voxel to voxel.
    """
    dims = images.ndim - 1
    zeroed = bool(np.mean(images == 0) > _ZEROED)
    bright = images > (0.5 * np.quantile(images[images > 0], 0.75) if (images > 0).any() else 0.0)
    used = [axis for axis in range(1, images.ndim) if images.shape[axis] >= 3]
    inside = tuple(slice(1, -1) if axis in used else slice(None) for axis in range(images.ndim))
    within = ndimage.binary_erosion(bright, np.ones((1, *(3,) * dims)))[inside]
    spread = residuals(images, dims)
    sigma = settings.sigma or _noise(images, spread, within)
    if not sigma > 0:
        raise InputError(Problem("formation", "no-noise", f"Channel {name!r} has no noise to be measured. Give formation.sigma."))
    signal = images[images > _SIGNAL * np.quantile(images, 0.99)]
    return ScannerLaw(name=name, sigma=sigma, level=float(signal.mean()), zeroed=zeroed)


def _noise(images: Array, spread: Array, within: NDArray[np.bool_]) -> float:
    """Return sigma from residuals: those inside bright parts, where noise is normal; of magnitudes of noise alone where there are none.

    Magnitudes of noise alone have sqrt(2 - pi/2) of its standard deviation (Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618).
    """
    overall = sigma_of(spread)
    air = images.min() >= 0 and images.mean() < _AIR * overall
    return overall / float(np.sqrt(2 - np.pi / 2)) if air or within.sum() <= _FEWEST else sigma_of(spread[within])


@cache
def _rician_means() -> tuple[Array, Array]:
    """Return signals and the means of their Rician magnitudes, both in sigma: sqrt(pi/2) L_1/2(-s^2/2) (Rice 1944, eq. 3.10-12)."""
    signal = np.linspace(0.0, 30.0, 3001)
    half = signal**2 / 4
    mean = np.sqrt(np.pi / 2) * ((1 + 2 * half) * ive(0, half) + 2 * half * ive(1, half))
    return signal, mean


def _bias(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> Array:
    """Return a smooth positive field whose logarithm has zero mean and the given standard deviation."""
    if not strength:
        return np.ones(shape)
    coarse = rng.standard_normal((4,) * len(shape))
    field = ndimage.zoom(coarse, [size / 4 for size in shape], order=3, mode="nearest", grid_mode=True)
    return np.asarray(np.exp(strength * (field - field.mean()) / field.std()))


def _acquired(
    image: NDArray[np.complex128], noise: NDArray[np.complex128], settings: Scanner, rng: np.random.Generator
) -> NDArray[np.complex128]:
    """Return the image after k-space was sampled line by line along y: lines left out, the subject moving between stretches.

    ``noise`` is that of an image of all lines; the transform of white noise is white.
    """
    y = image.ndim - 2
    lines = image.shape[y]
    spectrum = np.fft.fftn(image)
    if settings.motion_px > 0:
        order = np.fft.fftshift(np.arange(lines))  # from the most negative frequency on
        shifts = settings.motion_px * rng.standard_normal((_STRETCHES, 2))
        shifts -= shifts[_STRETCHES // 2]  # the middle of k-space says where the subject is
        rows = [np.fft.fftfreq(image.shape[axis]) for axis in (y, y + 1)]
        for stretch, chosen in enumerate(np.array_split(order, _STRETCHES)):
            phase = np.exp(-2j * np.pi * (shifts[stretch, 0] * rows[0][chosen][:, None] + shifts[stretch, 1] * rows[1][None, :]))
            spectrum[..., chosen, :] *= phase
    spectrum += np.fft.fftn(noise)
    if settings.acceleration > 1:
        middle = np.abs(np.fft.fftfreq(lines)) <= _CENTRE / 2
        missing = np.flatnonzero(~middle)
        kept = max(0, round(lines / settings.acceleration) - int(middle.sum()))
        keep = middle.copy()
        keep[rng.permutation(missing)[:kept]] = True
        spectrum *= keep[:, None]
    return np.asarray(np.fft.ifftn(spectrum))
