"""Encoder and decoder of the KL space: no convolution runs on a grid finer than half the image's."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, Embedding, Up, conv, depth_to_space, memory_format, norm, space_to_depth
from sciimg.augmenters.backbones.pyramid import block_means
from sciimg.augmenters.grid import Step, product
from sciimg.augmenters.system import Condition

_FEATURES = 64  # length of the vector that modulates the blocks of a conditional autoencoder


class Encoder(nn.Module):
    """Images → mean and log variance on a grid coarser by the product of ``steps`` (finest first, one a width).

    The mean is a linear projection of each block of pixels (set to the principal components before training) plus what the network adds.
    With ``told`` = (maps, vector), the channels of ``condition.spatial`` and the length of ``condition.vector``, it listens to those.
    """

    def __init__(
        self, steps: Sequence[Step], channels: int, latent: int, widths: tuple[int, ...], blocks: int, told: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        dims = len(steps[0])
        self.dims, self.finest, self.factor, self.latent = dims, steps[0], product(steps, dims), latent
        features = 0 if told is None else _FEATURES
        changes: list[nn.Module] = [conv(dims, channels * math.prod(steps[0]), widths[0])]
        changes += [Down(dims, widths[level - 1], widths[level], steps[level]) for level in range(1, len(widths))]
        self.stages = nn.ModuleList(_Stage(dims, change, width, blocks, features) for change, width in zip(changes, widths, strict=True))
        self.leave = nn.Sequential(norm(widths[-1]), nn.SiLU(), conv(dims, widths[-1], 2 * latent, zero=True))
        self.linear = conv(dims, channels * math.prod(self.factor), latent, 1)
        self.told = None if told is None else _Told(steps, widths, *told)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, images: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        vector, fields = _listen(self.told, condition)
        x = images.contiguous(memory_format=memory_format(self.dims))
        h = space_to_depth(x, self.finest)
        for level, stage in enumerate(self.stages):
            h = stage(h, vector, fields[level] if fields else None)
        mean, log_variance = self.leave(h).float().chunk(2, dim=1)
        return mean + self.linear(space_to_depth(x, self.factor)).float(), log_variance


class Decoder(nn.Module):
    """Points on the coarse grid → mean and logarithmic spread of the images; the mean is linear in the point plus what the network adds."""

    def __init__(
        self, steps: Sequence[Step], latent: int, channels: int, widths: tuple[int, ...], blocks: int, told: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        dims = len(steps[0])
        self.dims, self.finest, self.factor = dims, steps[0], product(steps, dims)
        features = 0 if told is None else _FEATURES
        ascending, climbs = widths[::-1], steps[::-1]
        changes: list[nn.Module] = [conv(dims, latent, ascending[0])]
        changes += [Up(dims, ascending[level - 1], ascending[level], climbs[level - 1]) for level in range(1, len(widths))]
        self.stages = nn.ModuleList(_Stage(dims, change, width, blocks, features) for change, width in zip(changes, ascending, strict=True))
        self.leave = nn.Sequential(norm(ascending[-1]), nn.SiLU(), conv(dims, ascending[-1], 2 * channels * math.prod(steps[0]), zero=True))
        self.linear = conv(dims, latent, channels * math.prod(self.factor), 1)
        self.told = None if told is None else _Told(steps, widths, *told)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, points: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        vector, fields = _listen(self.told, condition)
        x = h = points.contiguous(memory_format=memory_format(self.dims))
        for level, stage in enumerate(self.stages):
            h = stage(h, vector, fields[-1 - level] if fields else None)
        mean, log_spread = depth_to_space(self.leave(h), self.finest).float().chunk(2, dim=1)
        return mean + depth_to_space(self.linear(x), self.factor).float(), log_spread


class _Stage(nn.Module):
    """One level: a change of grid or channels, what is told there, residual blocks."""

    def __init__(self, dims: int, change: nn.Module, width: int, blocks: int, features: int) -> None:
        super().__init__()
        self.change = change
        self.blocks = nn.ModuleList(Block(dims, width, width, embedding=features) for _ in range(blocks))

    def forward(self, x: Tensor, vector: Tensor | None, field: Tensor | None) -> Tensor:
        x = self.change(x)
        if field is not None:
            x = x + field
        for block in self.blocks:
            x = block(x, vector)
        return x


class _Told(nn.Module):
    """The condition for every level: a vector that modulates its blocks, and a field from the block means of the maps."""

    def __init__(self, steps: Sequence[Step], widths: tuple[int, ...], maps: int, vector: int) -> None:
        super().__init__()
        dims, fold = len(steps[0]), math.prod(steps[0])
        self.finest, self.coarser = steps[0], [product(steps[1 : level + 1], dims) for level in range(len(widths))]
        self.embed = Embedding(vector, _FEATURES, timed=False)
        self.fields = nn.ModuleList(conv(dims, maps * fold, width, 1) for width in widths if maps)

    def forward(self, condition: Condition) -> tuple[Tensor, list[Tensor]]:
        maps = space_to_depth(condition.spatial, self.finest)
        layout = memory_format(maps.ndim - 2)
        levels = zip(self.fields, self.coarser, strict=False)  # no maps, no fields
        fields = [own(block_means(maps, factor).contiguous(memory_format=layout)) for own, factor in levels]
        return self.embed(condition.vector, condition.keep), fields


def _listen(told: _Told | None, condition: Condition | None) -> tuple[Tensor | None, list[Tensor]]:
    if told is None:
        return None, []
    assert condition is not None, "a conditional autoencoder needs the condition"
    vector, fields = told(condition)
    return vector, fields


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
