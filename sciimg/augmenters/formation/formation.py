"""A calibrated image formation: takes the structure out of real images for training, and forms images of made structure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.augmenters.formation.camera import CameraLaw, learn_camera
from sciimg.augmenters.formation.optics import blurred, kernel, sharpened
from sciimg.augmenters.formation.scanner import ScannerLaw, learn_scanner
from sciimg.augmenters.formation.settings import Camera, FormationSettings, GaussianSpot
from sciimg.augmenters.formation.spot import learn_spot
from sciimg.augmenters.settings import Settings
from sciimg.types import Unit

_FEWEST, _MOST = 0.01, 1e12  # photons a pixel


class Formation(Settings):
    """Settings with the law of every channel, the grid they were measured on and the number type of the images."""

    settings: FormationSettings
    laws: tuple[CameraLaw | ScannerLaw, ...]
    spacing: tuple[float, ...]
    unit: Unit
    dtype: str

    @property
    def condition(self) -> tuple[str, float]:
        """Return the name of what may be asked for, and its value in the training images: ``dose`` (1), or ``snr``."""
        if isinstance(self.settings, Camera):
            return "dose", self.settings.dose
        return "snr", self.settings.snr or float(np.mean([law.snr for law in self.laws if isinstance(law, ScannerLaw)]))

    @property
    def usable(self) -> tuple[float, float]:
        """Return the lowest and the highest of what may be asked for.

        A dose leaves a photon in a hundred pixels of the brightest channel, keeps the mean of every channel within the number type, and
        no more photons than can be drawn one by one (10^12 a pixel). An SNR is above 0.1, and its noise is neither all that the number
        type holds nor below a tenth of a whole number, which rounding would hide (a millionth where numbers are not whole).
        """
        dtype = np.dtype(self.dtype)
        whole, top = dtype.kind in "iu", float(np.iinfo(dtype).max if dtype.kind in "iu" else np.finfo(dtype).max)
        cameras = [law for law in self.laws if isinstance(law, CameraLaw) and law.photons]
        if cameras:
            photons = {law.name: law.photons or 0.0 for law in cameras}
            ends = [min((top - law.offset) / law.gain, _MOST) / photons[law.name] for law in cameras]
            return _FEWEST / max(photons.values()), min(ends)
        scanners = [law for law in self.laws if isinstance(law, ScannerLaw)]
        if scanners and not isinstance(self.settings, Camera):
            highest = max(law.level for law in scanners)
            return max(0.1, highest / top), 10 * highest if whole else 1e6
        return 0.0, float("inf")

    def structure(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return what lies behind images (N, C, [Z,] Y, X), in grey levels."""
        dims, out = images.ndim - 2, np.empty(images.shape, np.float32)
        for channel, (law, psf) in enumerate(zip(self.laws, self._psfs(images.shape[2:]), strict=True)):
            calm = law.structure(images[:, channel].astype(np.float64), dims)
            if psf is not None and isinstance(law, CameraLaw):
                calm = sharpened(calm - law.offset, psf) + law.offset
            out[:, channel] = calm
        return out

    def form(self, structure: NDArray[np.floating[Any]], asked: Mapping[str, float], rng: np.random.Generator) -> NDArray[Any]:
        """Return one image (C, [Z,] Y, X) of a structure of that shape.

        Parameters
        ----------
        asked : mapping
            ``dose`` or ``snr``; the calibrated value where it is not named.
        rng : Generator
            Of this sample alone.
        """
        dtype, name = np.dtype(self.dtype), self.condition[0]
        out = np.empty(structure.shape, np.float64)
        for channel, (law, psf) in enumerate(zip(self.laws, self._psfs(structure.shape[1:]), strict=True)):
            own = structure[channel].astype(np.float64)
            if isinstance(law, CameraLaw):
                if psf is not None:
                    own = blurred(own - law.offset, psf) + law.offset
                out[channel] = law.form(own, asked.get(name, self.condition[1]), rng)
            elif not isinstance(self.settings, Camera):
                out[channel] = law.form(own, asked.get(name, self.settings.snr), self.settings, rng)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            return np.clip(np.rint(out), limits.min, limits.max).astype(dtype)
        return out.astype(dtype)

    def _psfs(self, shape: tuple[int, ...]) -> list[NDArray[np.float64] | None]:
        """Return the point-spread function of every channel, None where there is none."""
        if not isinstance(self.settings, Camera) or self.settings.psf is None:
            return [None] * len(self.laws)
        if not self.settings.measures_spot:
            return [kernel(self.settings.psf, self.spacing, self.unit, shape)] * len(self.laws)
        spots = [GaussianSpot(sigma_px=law.sigma_px) for law in self.laws if isinstance(law, CameraLaw)]
        return [kernel(spot, self.spacing, self.unit, shape) for spot in spots]


def learn_formation(
    settings: FormationSettings, images: NDArray[Any], names: tuple[str, ...], spacing: tuple[float, ...], unit: Unit
) -> Formation:
    """Calibrate on real images (N, C, [Z,] Y, X): one law a channel.

    Raises
    ------
    InputError
        The images do not show the noise that the formation speaks of, or the optics need what is not known.
    """
    channels = [(images[:, i].astype(np.float64), name) for i, name in enumerate(names)]
    laws: Any
    if isinstance(settings, Camera):
        laws = tuple(learn_camera(settings, own, name) for own, name in channels)
        light = ((float(own.mean()) - law.offset) / law.gain for law, (own, _) in zip(laws, channels, strict=True))
        laws = tuple(law.model_copy(update={"photons": max(mean, 0.0)}) for law, mean in zip(laws, light, strict=True))
        if settings.measures_spot:
            spots = (learn_spot(own, spacing, name) for own, name in channels)
            laws = tuple(law.model_copy(update={"sigma_px": spot}) for law, spot in zip(laws, spots, strict=True))
    else:
        laws = tuple(learn_scanner(settings, own, name) for own, name in channels)
    found = Formation(settings=settings, laws=laws, spacing=spacing, unit=unit, dtype=str(images.dtype))
    found._psfs(images.shape[2:])  # refuses here what would be refused after training
    return found
