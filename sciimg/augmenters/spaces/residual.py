"""What an autoencoder leaves out, as a calibrated noise law: a decoder gives the mean of p(image | latent), this gives its spread.

Leaving the spread out is what makes decoded images look smooth. The residual is modelled as a stationary Gaussian texture (its
cross-spectral matrix, so that channels stay correlated) whose standard deviation follows the decoded intensity.
"""

import torch
from torch import Tensor, nn

from sciimg.augmenters.system import Noise

_LEVELS = 16


class ResidualNoise(nn.Module):
    """Texture with the spectrum and the intensity dependence of measured residuals.

    Parameters
    ----------
    shape : tuple of int
        (C, [Z,] Y, X) of the images, padded as the networks see them.
    """

    levels: Tensor
    spread: Tensor
    colour: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *grid = shape
        self.register_buffer("levels", torch.linspace(-1, 1, _LEVELS).repeat(channels, 1))  # decoded intensity
        self.register_buffer("spread", torch.zeros(channels, _LEVELS))  # standard deviation there
        # matrix square root of the normalised cross-spectrum; last axis: real, imaginary
        self.register_buffer("colour", torch.zeros(channels, channels, *grid[:-1], grid[-1] // 2 + 1, 2))

    def calibrate(self, images: Tensor, decoded: Tensor) -> None:
        """Measure the law from images and what the decoder made of their latents, both (N, C, [Z,] Y, X)."""
        residual = (images - decoded).double()
        flat, place = residual.transpose(0, 1).flatten(1), decoded.transpose(0, 1).flatten(1).double()
        for channel, (error, level) in enumerate(zip(flat, place, strict=True)):
            edges = level[torch.linspace(0, len(level) - 1, min(len(level), 2**16)).long()].quantile(torch.linspace(0, 1, _LEVELS + 1).double())
            cell = torch.bucketize(level, edges[1:-1])
            count = torch.bincount(cell, minlength=_LEVELS).clamp_min(1)
            self.levels[channel] = torch.bincount(cell, level, minlength=_LEVELS) / count
            self.spread[channel] = (torch.bincount(cell, error.square(), minlength=_LEVELS) / count).sqrt()
        axes = tuple(range(2, images.ndim))
        white = residual / self._spread_at(decoded).clamp_min(1e-6)
        waves = torch.fft.rfftn(white, dim=axes)
        matrix = torch.einsum("ni...,nj...->...ij", waves, waves.conj()) / (len(images) * residual[0, 0].numel())
        values, vectors = torch.linalg.eigh(matrix)
        root = torch.einsum("...ik,...k,...jk->ij...", vectors, values.clamp_min(0).sqrt().to(vectors.dtype), vectors.conj())
        self.colour.copy_(torch.view_as_real(root))

    def forward(self, decoded: Tensor, noise: Noise) -> Tensor:
        """Return ``decoded`` with a drawn residual added."""
        axes = tuple(range(2, decoded.ndim))
        waves = torch.fft.rfftn(noise.normal(decoded.shape[1:]).double(), dim=axes)
        texture = torch.fft.irfftn(
            torch.einsum("ij...,nj...->ni...", torch.view_as_complex(self.colour).to(waves.dtype), waves), s=decoded.shape[2:], dim=axes
        )
        return decoded + (self._spread_at(decoded) * texture).to(decoded.dtype)

    def _spread_at(self, decoded: Tensor) -> Tensor:
        """Interpolate the standard deviation linearly in the decoded intensity; constant beyond the ends."""
        out = torch.empty(decoded.shape, dtype=torch.float64)
        for channel in range(decoded.shape[1]):
            levels, spread = self.levels[channel].double(), self.spread[channel].double()
            value = decoded[:, channel].double().clamp(levels[0], levels[-1]).contiguous()
            upper = torch.bucketize(value, levels).clamp(1, _LEVELS - 1)
            width = (levels[upper] - levels[upper - 1]).clamp_min(1e-9)
            share = ((value - levels[upper - 1]) / width).clamp(0, 1)
            out[:, channel] = spread[upper - 1] + share * (spread[upper] - spread[upper - 1])
        return out
