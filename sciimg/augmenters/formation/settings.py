"""How an image is formed from the structure that a recipe makes: optics and noise as explicit operators, as data.

Quantities that are left out are measured on the training images; quantities that are given (from a data sheet, a calibration slide) are
taken as they are.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sciimg.augmenters.settings import Settings


class GaussianSpot(Settings):
    """A Gaussian point-spread function; its standard deviation a axis in pixels ([z,] y, x).

    Left out, it is measured in each channel on the spectra of the training images, which show the blur of the images: soft borders of the
    structure itself and motion are in it (:mod:`sciimg.augmenters.formation.spot`).
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_px: Annotated[tuple[float, ...], Field(min_length=2, max_length=3)] | None = None


class Microscope(Settings):
    """A widefield fluorescence microscope by its objective: scalar Gibson-Lanni model."""

    kind: Literal["gibson-lanni"] = "gibson-lanni"
    numerical_aperture: float = Field(gt=0, lt=2)
    wavelength_nm: float = Field(gt=100, lt=5000, description="Of the emission.")
    refractive_index: float = Field(default=1.515, gt=1, lt=2, description="Of the immersion medium.")
    sample_index: float = Field(default=1.33, gt=1, lt=2)
    depth_um: float = Field(default=0.0, ge=0, description="How deep in the sample the focus is.")

    @model_validator(mode="after")
    def _aperture_fits(self) -> Self:
        if self.numerical_aperture >= self.refractive_index:
            message = f"numerical_aperture must be below refractive_index; got {self.numerical_aperture:g} and {self.refractive_index:g}"
            raise ValueError(message)
        return self


Spot = Annotated[GaussianSpot | Microscope, Field(discriminator="kind")]


class Camera(Settings):
    """Photons on a camera: x = gain * Poisson(dose * structure / gain) + offset + normal read noise, after the optics.

    ``dose`` is relative to that of the training images, and a condition of generation: ``--condition dose=0.5``.
    """

    kind: Literal["camera"] = "camera"
    psf: Spot | None = Field(default=None, description="Optics to take out of the training images and to put in again; none: left alone.")
    gain: float | None = Field(default=None, gt=0, description="Grey levels a photoelectron.")
    offset: float | None = Field(default=None, description="Grey level of the dark.")
    read_noise: float | None = Field(default=None, ge=0, description="Standard deviation in grey levels.")
    dose: float = Field(default=1.0, gt=0)

    @property
    def measures_spot(self) -> bool:
        return isinstance(self.psf, GaussianSpot) and self.psf.sigma_px is None


class Scanner(Settings):
    """Magnitude MRI: |F^-1 K (F (bias * structure) + complex normal noise)|, so that noise is Rician.

    The coil's field acts on the object before it is acquired. Noise is of the samples in k-space, white and alike in all (Macovski 1996,
    doi:10.1002/mrm.1910360327), so lines that are left out bring none, and noise falls by the root of the share that is kept. ``sigma`` and
    ``snr`` are those of all lines.

    ``snr`` is the mean of the training images where there is signal (above 0.3 of their 99th percentile) over the standard deviation of one
    noise channel, and a condition of generation: ``--condition snr=20``. Left out, it is that of the training images.
    """

    kind: Literal["scanner"] = "scanner"
    sigma: float | None = Field(default=None, gt=0, description="Standard deviation of one channel of the noise, in grey levels.")
    snr: float | None = Field(default=None, gt=0)
    bias: float = Field(default=0.0, ge=0, le=1, description="Standard deviation of the logarithm of a smooth multiplicative field.")
    acceleration: float = Field(default=1.0, ge=1, description="One in so many phase-encoding lines of k-space is kept.")
    motion_px: float = Field(default=0.0, ge=0, description="Standard deviation of the position between stretches of the acquisition.")


FormationSettings = Annotated[Camera | Scanner, Field(discriminator="kind")]
