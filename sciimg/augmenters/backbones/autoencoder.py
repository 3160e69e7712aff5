"""Encoder and decoder of the KL space: no convolution runs on a grid finer than half the image's."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, Up, conv, depth_to_space, memory_format, norm, space_to_depth
from sciimg.augmenters.grid import Step, product


class Encoder(nn.Module):
    """Images → mean and log variance on a grid coarser by the product of ``steps`` (finest first, one a width).

    The mean is a linear projection of each block of pixels (set to the principal components before training) plus what the network adds.
    """

    def __init__(self, steps: Sequence[Step], channels: int, latent: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        dims = len(steps[0])
        self.dims, self.finest, self.factor, self.latent = dims, steps[0], product(steps, dims), latent
        layers: list[nn.Module] = [conv(dims, channels * math.prod(steps[0]), widths[0])]
        for level, width in enumerate(widths):
            if level:
                layers.append(Down(dims, widths[level - 1], width, steps[level]))
            layers += [Block(dims, width, width) for _ in range(blocks)]
        self.body = nn.Sequential(*layers, norm(widths[-1]), nn.SiLU(), conv(dims, widths[-1], 2 * latent, zero=True))
        self.linear = conv(dims, channels * math.prod(self.factor), latent, 1)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.contiguous(memory_format=memory_format(self.dims))
        mean, log_variance = self.body(space_to_depth(x, self.finest)).float().chunk(2, dim=1)
        return mean + self.linear(space_to_depth(x, self.factor)).float(), log_variance


class Decoder(nn.Module):
    """Points on the coarse grid → mean and logarithmic spread of the images; the mean is linear in the point plus what the network adds."""

    def __init__(self, steps: Sequence[Step], latent: int, channels: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        dims = len(steps[0])
        self.dims, self.finest, self.factor = dims, steps[0], product(steps, dims)
        widths, ascending = widths[::-1], steps[::-1]
        layers: list[nn.Module] = [conv(dims, latent, widths[0])]
        for level, width in enumerate(widths):
            if level:
                layers.append(Up(dims, widths[level - 1], width, ascending[level - 1]))
            layers += [Block(dims, width, width) for _ in range(blocks)]
        self.body = nn.Sequential(
            *layers, norm(widths[-1]), nn.SiLU(), conv(dims, widths[-1], 2 * channels * math.prod(steps[0]), zero=True)
        )
        self.linear = conv(dims, latent, channels * math.prod(self.factor), 1)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        x = points.contiguous(memory_format=memory_format(self.dims))
        mean, log_spread = depth_to_space(self.body(x), self.finest).float().chunk(2, dim=1)
        return mean + depth_to_space(self.linear(x), self.factor).float(), log_spread


@torch.no_grad()
def start_linear(encoder: Encoder, decoder: Decoder, images: Tensor) -> None:
    """Set the linear parts to the whitened principal components of blocks of pixels: the best linear autoencoder, before any step."""
    blocks = space_to_depth(images, encoder.factor).transpose(0, 1).flatten(1).double()
    centre = blocks.mean(1)
    covariance = torch.cov(blocks)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0)[: encoder.latent].clamp_min(1e-8).sqrt(), vectors.flip(1)[:, : encoder.latent]
    down, up = (vectors / values).T, vectors * values
    ones = (1,) * encoder.dims
    encoder.linear.weight.copy_(down.view(*down.shape, *ones))
    assert encoder.linear.bias is not None and decoder.linear.bias is not None
    encoder.linear.bias.copy_(-down @ centre)
    decoder.linear.weight.copy_(up.view(*up.shape, *ones))
    decoder.linear.bias.copy_(centre)
