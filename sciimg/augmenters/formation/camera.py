"""Photons on a camera: Poisson-Gaussian noise, calibrated on real images, taken out and put in again at any dose."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from sciimg.augmenters.formation.noise_level import variance_by_level
from sciimg.augmenters.formation.settings import Camera
from sciimg.augmenters.formation.starlet import denoised
from sciimg.augmenters.settings import Settings
from sciimg.errors import InputError, Problem

Array = NDArray[np.float64]
_DARK = 0.005  # share of places that counts as the dark
_AROUND_PX = 7  # side of what says how dark a place is
_CLEAR = 3.0  # standard errors by which noise must grow with the signal


class CameraLaw(Settings):
    """One channel of a camera: grey levels a photoelectron, dark level, read noise (grey levels); its spot where that was measured;
    mean photoelectrons a pixel of the training images (models from before this was noted have none).
    """

    name: str
    gain: float
    offset: float
    read_noise: float
    sigma_px: tuple[float, ...] | None = None
    photons: float | None = None

    def structure(self, images: Array, dims: int) -> Array:
        """Return images (N, [Z,] Y, X) without their noise.

        The generalised Anscombe transform makes the noise normal with unit variance; after denoising, the closed form of its exact
        unbiased inverse goes back (Mäkitalo & Foi 2013, doi:10.1109/TIP.2012.2202675, eq. 10).
        """
        variance = (self.read_noise / self.gain) ** 2
        photons = (images - self.offset) / self.gain
        stable = denoised(2 * np.sqrt(np.maximum(photons + 0.375 + variance, 0.0)), dims)
        d = np.maximum(stable, 2 * np.sqrt(0.375 + variance))  # below it lies less than no light
        root = np.sqrt(1.5)
        back = 0.25 * d**2 + 0.25 * root / d - 1.375 / d**2 + 0.625 * root / d**3 - 0.125 - variance
        return np.asarray(self.gain * np.maximum(back, 0.0) + self.offset)

    def form(self, structure: Array, dose: float, rng: np.random.Generator) -> Array:
        """Return one exposure of structure in grey levels, any shape."""
        light = np.maximum(structure - self.offset, 0.0) / self.gain * dose
        electrons = rng.poisson(light).astype(np.float64)
        return self.gain * electrons + self.offset + self.read_noise * rng.standard_normal(structure.shape)


def learn_camera(settings: Camera, images: Array, name: str) -> CameraLaw:
    """Measure what is not given on images (N, [Z,] Y, X) of one channel.

    Images alone do not tell offset from light: the darkest places count as places without any. Give the offset where none are.

    Raises
    ------
    InputError
        Kind ``no-photon-noise``: the noise does not grow with the signal, so no gain can be read from it.
    """
    dims = images.ndim - 1
    offset = _dark(images) if settings.offset is None else settings.offset
    if settings.gain is not None and settings.read_noise is not None:
        return CameraLaw(name=name, gain=settings.gain, offset=offset, read_noise=settings.read_noise)
    level, variance, n = variance_by_level(images, dims)
    slope, intercept, error = _line(level, variance, n)
    gain = settings.gain
    if gain is None:
        if not slope > _CLEAR * error:
            message = (
                f"The noise of channel {name!r} does not grow with the signal (slope {slope:.3g} +- {error:.2g}), as the noise of "
                "photons does: the images may have been filtered or compressed. Give formation.gain, or use a recipe without a camera."
            )
            raise InputError(Problem("formation", "no-photon-noise", message))
        gain = slope
    read = settings.read_noise
    if read is None:
        read = float(np.sqrt(max(intercept + gain * offset, 0.0)))
    return CameraLaw(name=name, gain=gain, offset=offset, read_noise=read)


def _dark(images: Array) -> float:
    """Return the mean grey level of the darkest places of images (N, [Z,] Y, X).

    Every other pixel, as on a chessboard, says which places these are, and the rest how dark they are: the noise that makes a place look
    darkest is not in what is read there.
    """
    chosen = (np.indices(images.shape[1:]).sum(0) % 2 == 0).astype(np.float64)
    share = uniform_filter(chosen, _AROUND_PX)
    around = np.stack([uniform_filter(own * chosen, _AROUND_PX) for own in images]) / share
    around[:, chosen > 0] = np.inf
    rest = around.size - len(images) * int(chosen.sum())
    darkest = np.argpartition(around, max(1, round(_DARK * rest)) - 1, axis=None)[: max(1, round(_DARK * rest))]
    return float(images.reshape(-1)[darkest].mean())


def _line(x: Array, y: Array, n: Array) -> tuple[float, float, float]:
    """Return slope, intercept and the slope's standard error of a line fitted by weights n / y.

    Those of sample variances, n / y^2, would let the dark rule.
    """
    if len(x) < 3:
        return 0.0, float(y.mean()) if len(y) else 0.0, np.inf
    fitted = y
    for _ in range(5):
        w = n / np.maximum(fitted, 1e-12 * max(float(y.max()), 1e-300))
        centre = (w * x).sum() / w.sum()
        spread = (w * (x - centre) ** 2).sum()
        slope = float((w * (x - centre) * y).sum() / spread)
        intercept = float((w * y).sum() / w.sum() - slope * centre)
        fitted = np.maximum(slope * x + intercept, float(y.min()))
    misfit = float((w * (y - slope * x - intercept) ** 2).sum() / (len(x) - 2))
    return slope, intercept, float(np.sqrt(misfit / spread))
