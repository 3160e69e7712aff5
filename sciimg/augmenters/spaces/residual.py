"""What an autoencoder leaves out, as a noise law: a decoder gives the mean of p(image | latent) and its spread; this draws from it.

Leaving the spread out is what makes decoded images look smooth. The residual is modelled as a Gaussian texture with the measured
cross-spectrum (so that neighbouring pixels and channels stay correlated), times the predicted spread, times a slow log-normal field: real
residuals come in bursts, and a Gaussian of the same power would be too loud in calm places. Its strength is set so that the finest detail
of decoded images with it is as strong as that of real ones.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sciimg.augmenters.system import Noise, White

_BURST_PX = 2.0  # length over which the strength of the residual varies
_GAUSSIAN = 3.0  # fourth moment over squared second moment of a Gaussian
_WILDEST = 15.0  # a larger ratio comes from single pixels


class ResidualNoise(nn.Module):
    """Texture with the spectrum and the burstiness of measured residuals.

    Parameters
    ----------
    shape : tuple of int
        (C, [Z,] Y, X) of the images, padded as the networks see them.
    """

    colour: Tensor
    burst: Tensor
    strength: Tensor
    slow: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *grid = shape
        self._last = grid[-1]
        # matrix square root of the cross-spectrum at every frequency; last axis: real, imaginary
        self.register_buffer("colour", torch.zeros(channels, channels, *grid[:-1], grid[-1] // 2 + 1, 2))
        self.register_buffer("burst", torch.zeros(channels))  # standard deviation of the logarithm of the strength
        self.register_buffer("strength", torch.ones(channels))
        self.register_buffer("slow", _low_pass(grid), persistent=False)

    def calibrate(self, images: Tensor, decoded: Tensor, log_spread: Tensor, generator: torch.Generator) -> None:
        """Measure the law from images, what was decoded and the decoder's log spread, all (N, C, [Z,] Y, X)."""
        residual = images - decoded
        axes = tuple(range(2, residual.ndim))
        white = residual.double() * (-log_spread.double()).exp()
        limit = white.abs().flatten().sort().values[int(0.995 * white.numel())]  # a few outliers are structure, not noise
        waves = torch.fft.rfftn(white.clamp(-limit, limit), dim=axes)
        matrix = torch.einsum("ni...,nj...->...ij", waves, waves.conj()) / (len(residual) * residual[0, 0].numel())
        values, vectors = torch.linalg.eigh(matrix)
        root = torch.einsum("...ik,...k,...jk->ij...", vectors, values.clamp_min(0).sqrt().to(vectors.dtype), vectors.conj())
        self.colour.copy_(torch.view_as_real(root))
        for channel in range(residual.shape[1]):
            fine = _finest(white[:, channel])
            ratio = float(fine.pow(4).mean() / fine.square().mean().square().clamp_min(1e-30))
            # a Gaussian times exp(b u) with u ~ N(0, 1) has the ratio 3 exp(4 b^2)
            self.burst[channel] = 0.5 * math.sqrt(math.log(min(max(ratio, _GAUSSIAN), _WILDEST) / _GAUSSIAN))

        white, other = (torch.randn(own.shape, generator=generator, device=generator.device) for own in (decoded, decoded[:, :1]))
        texture = self._texture(log_spread, white, other)
        for channel in range(residual.shape[1]):
            self.strength[channel] = _strength(images[:, channel], decoded[:, channel], texture[:, channel].to(decoded.dtype))

    def forward(self, decoded: Tensor, log_spread: Tensor, noise: Noise) -> Tensor:
        """Return ``decoded`` with a drawn residual added."""
        texture = self._texture(log_spread, noise.normal(decoded.shape[1:]), noise.normal((1, *decoded.shape[2:])))
        return decoded + self._per_channel(self.strength, decoded) * texture.to(decoded.dtype)

    def spread_out(self, decoded: Tensor, log_spread: Tensor, white: White) -> Tensor:
        """Do the same on a box of any size, cut from a larger field: the law as filters of bounded reach over white noise by coordinates.

        The root of the spectrum is a circular filter on the patch; laid out around its centre, it is a filter of half a patch's reach on
        any grid, with the same power (Parseval). Boxes that meet therefore draw one stationary texture, without a seam.
        """
        grid = (*self.slow.shape[:-1], self._last)
        halo = tuple(n // 2 for n in grid)
        axes = tuple(range(2, decoded.ndim))
        noise, other = white(decoded.shape[1], halo).double(), white(1, halo).double()
        wide = tuple(noise.shape[2:])
        kernel = torch.fft.irfftn(torch.view_as_complex(self.colour.double()), s=grid, dim=axes)
        transfer = torch.fft.rfftn(_laid_out(kernel, wide), dim=axes)
        texture = torch.fft.irfftn(torch.einsum("ij...,nj...->ni...", transfer, torch.fft.rfftn(noise, dim=axes)), s=wide, dim=axes)
        slow = torch.fft.irfftn(torch.fft.rfftn(other, dim=axes) * _low_pass(list(wide)), s=wide, dim=axes)
        inside = (..., *(slice(h, h + n) for h, n in zip(halo, decoded.shape[2:], strict=True)))
        drawn = self._scale(log_spread, slow[inside]) * texture[inside]
        out: Tensor = decoded + (self._per_channel(self.strength, decoded) * drawn).to(decoded.dtype)
        return out

    def _texture(self, log_spread: Tensor, white: Tensor, other: Tensor) -> Tensor:
        """Return the residual of unit strength that white noise (N, C, [Z,] Y, X) and (N, 1, [Z,] Y, X) make."""
        shape, axes = white.shape[2:], tuple(range(2, white.ndim))
        coloured = torch.einsum(
            "ij...,nj...->ni...", torch.view_as_complex(self.colour.double()), torch.fft.rfftn(white.double(), dim=axes)
        )
        out: Tensor = self._scale(log_spread, self._slow(other)) * torch.fft.irfftn(coloured, s=shape, dim=axes)
        return out

    def _slow(self, white: Tensor) -> Tensor:
        """Return the slow field of unit variance that white noise (N, 1, [Z,] Y, X) makes."""
        axes = tuple(range(2, white.ndim))
        out: Tensor = torch.fft.irfftn(torch.fft.rfftn(white.double(), dim=axes) * self.slow, s=white.shape[2:], dim=axes)
        return out

    def _scale(self, log_spread: Tensor, slow: Tensor) -> Tensor:
        burst = self._per_channel(self.burst.double(), slow)
        return (log_spread.double() + burst * slow - burst.square()).exp()  # E[exp(2 b u)] = exp(2 b^2): the power stays

    @staticmethod
    def _per_channel(values: Tensor, like: Tensor) -> Tensor:
        return values.view(-1, *([1] * (like.ndim - 2)))


def _laid_out(kernel: Tensor, wide: Sequence[int]) -> Tensor:
    """Return a circular filter (C, C, *grid) on a larger grid: the half after its origin, zeros, the half before it."""
    dims = len(wide)
    grid = kernel.shape[-dims:]
    kernel = torch.fft.fftshift(kernel, dim=tuple(range(-dims, 0)))
    out = kernel.new_zeros((*kernel.shape[:-dims], *wide))
    corner: tuple[Any, ...] = (..., *(slice(0, n) for n in grid))
    out[corner] = kernel
    return torch.roll(out, [-(n // 2) for n in grid], tuple(range(-dims, 0)))


def _finest(images: Tensor) -> Tensor:
    """Second differences along every axis of (N, [Z,] Y, X)."""
    for axis in range(1, images.ndim):
        images = images.diff(n=2, dim=axis)
    return images


def _strength(images: Tensor, decoded: Tensor, texture: Tensor) -> float:
    """Return the factor on the texture at which the median finest detail is that of the images, by bisection; all (N, [Z,] Y, X)."""
    wanted, base, added = _finest(images).abs().median(), _finest(decoded), _finest(texture)
    low, high = 0.0, 2.0
    for _ in range(16):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if (base + middle * added).abs().median() < wanted else (low, middle)
    return 0.5 * (low + high)


def _low_pass(grid: list[int]) -> Tensor:
    """Return a Gaussian filter in the frequencies of ``rfftn`` that leaves white noise with unit variance."""
    steps = [torch.fft.fftfreq(n, dtype=torch.float64) for n in grid[:-1]] + [torch.fft.rfftfreq(grid[-1], dtype=torch.float64)]
    radius = sum((axis.square() for axis in torch.meshgrid(*steps, indexing="ij")), start=torch.zeros((), dtype=torch.float64))
    response = (-2 * (math.pi * _BURST_PX) ** 2 * radius).exp()
    spread = torch.fft.irfftn(response.to(torch.complex128), s=grid).square().sum().sqrt()
    out: Tensor = response / spread
    return out
