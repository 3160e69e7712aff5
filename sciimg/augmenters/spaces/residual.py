"""What an autoencoder leaves out, as a noise law: a decoder gives the mean of p(image | latent) and its spread; this draws from it.

Leaving the spread out is what makes decoded images look smooth. The residual is modelled as a Gaussian texture, stationary after division
by the predicted spread, with the measured cross-spectrum (so that neighbouring pixels and channels stay correlated).
"""

import torch
from torch import Tensor, nn

from sciimg.augmenters.system import Noise


class ResidualNoise(nn.Module):
    """Texture with the spectrum of measured residuals.

    Parameters
    ----------
    shape : tuple of int
        (C, [Z,] Y, X) of the images, padded as the networks see them.
    """

    colour: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *grid = shape
        # matrix square root of the cross-spectrum at every frequency; last axis: real, imaginary
        self.register_buffer("colour", torch.zeros(channels, channels, *grid[:-1], grid[-1] // 2 + 1, 2))

    def calibrate(self, residual: Tensor, log_spread: Tensor) -> None:
        """Measure the spectrum from images minus what was decoded, and the decoder's log spread, both (N, C, [Z,] Y, X)."""
        axes = tuple(range(2, residual.ndim))
        white = residual.double() * (-log_spread.double()).exp()
        limit = white.abs().flatten().sort().values[int(0.995 * white.numel())]  # a few outliers are structure, not noise
        waves = torch.fft.rfftn(white.clamp(-limit, limit), dim=axes)
        matrix = torch.einsum("ni...,nj...->...ij", waves, waves.conj()) / (len(residual) * residual[0, 0].numel())
        values, vectors = torch.linalg.eigh(matrix)
        root = torch.einsum("...ik,...k,...jk->ij...", vectors, values.clamp_min(0).sqrt().to(vectors.dtype), vectors.conj())
        self.colour.copy_(torch.view_as_real(root))

    def forward(self, decoded: Tensor, log_spread: Tensor, noise: Noise) -> Tensor:
        """Return ``decoded`` with a drawn residual added."""
        axes = tuple(range(2, decoded.ndim))
        waves = torch.fft.rfftn(noise.normal(decoded.shape[1:]).double(), dim=axes)
        coloured = torch.einsum("ij...,nj...->ni...", torch.view_as_complex(self.colour).to(waves.dtype), waves)
        texture = torch.fft.irfftn(coloured, s=decoded.shape[2:], dim=axes)
        out: Tensor = decoded + (log_spread.double().exp() * texture).to(decoded.dtype)
        return out
