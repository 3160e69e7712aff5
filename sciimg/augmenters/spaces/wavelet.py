"""Haar coefficients as the space: exact, without training, every band at unit variance."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth
from sciimg.augmenters.backbones.pyramid import from_haar_pyramid, haar_pyramid
from sciimg.augmenters.grid import Step, coarser, product
from sciimg.augmenters.system import Batch, Condition, Measurement, Noise, Phase, Space


class Wavelets(Space):
    """The Haar pyramid folded onto its coarsest grid, band by band standardised by what was measured on training images.

    Parameters
    ----------
    channels, dims : int
        Of the images.
    steps : sequence of Step
        How each level halves the grid, finest first.

    References
    ----------
    Friedrich et al. 2024, arXiv:2402.19043 (WDM): diffusion on the Haar coefficients of volumes, without an autoencoder.
    """

    exact = True

    def __init__(self, channels: int, dims: int, steps: Sequence[Step]) -> None:
        super().__init__()
        self.channels, self.dims, self.steps = channels, dims, tuple(steps)
        bands = haar_pyramid(torch.zeros(1, channels, *product(steps, dims)), steps)
        for level, band in enumerate(bands):
            self.register_buffer(f"mean_{level}", torch.zeros(1, band.shape[1], *([1] * dims)))
            self.register_buffer(f"std_{level}", torch.ones(1, band.shape[1], *([1] * dims)))
        self._folds = [product(steps[level + 1 :], dims) for level in range(len(steps))]  # from a band's grid to the coarsest
        self._counts = [space_to_depth(band, fold).shape[1] for band, fold in zip(bands, self._folds, strict=True)]

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (sum(self._counts), *coarser(image_shape[1:], product(self.steps, self.dims)))

    def bands(self, images: Tensor) -> list[Tensor]:
        """Return the pyramid of images (N, C, [Z,] Y, X), finest first, each band standardised."""
        return [(band - mean) / std for band, (mean, std) in zip(haar_pyramid(images, self.steps), self._statistics(), strict=True)]

    @torch.no_grad()
    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.cat([space_to_depth(band, fold) for band, fold in zip(self.bands(images), self._folds, strict=True)], dim=1)

    @torch.no_grad()
    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        folded = points.float().split(self._counts, dim=1)
        bands = [depth_to_space(band, fold) for band, fold in zip(folded, self._folds, strict=True)]
        restored = [band * std + mean for band, (mean, std) in zip(bands, self._statistics(), strict=True)]
        return from_haar_pyramid(restored, self.channels, self.steps)

    def phases(self) -> tuple[Phase, ...]:
        return (_Bands(self),)

    def measure(self, images: Tensor) -> None:
        """Learn mean and standard deviation of every band from images (N, C, [Z,] Y, X)."""
        axes = (0, *range(2, images.ndim))
        for band, (mean, std) in zip(haar_pyramid(images, self.steps), self._statistics(), strict=True):
            mean.copy_(band.mean(axes, keepdim=True))
            std.copy_(band.std(axes, keepdim=True).clamp_min(1e-6))

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        return [(self.get_buffer(f"mean_{level}"), self.get_buffer(f"std_{level}")) for level in range(len(self.steps))]


class _Bands(Measurement):
    """The statistics of the bands."""

    name = "bands"

    def __init__(self, space: Wavelets) -> None:
        self.space = space

    def prepare(self, batch: Batch) -> None:
        self.space.measure(batch.images)
