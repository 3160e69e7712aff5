"""Building blocks that are the same code in 2D and 3D.

Chosen by measurement on CPU under bf16 autocast: tensors travel channels-last (matrix units want it), normalisation is over one group
(``GroupNorm(1)``: its backward pass is several times faster channels-last than that of many groups), skips are added, not
concatenated, and resolution changes are folded into channels (space to depth), so that no convolution runs on a finer grid than needed.
"""

import math

import torch
from torch import Tensor, nn

from sciimg.augmenters.draws import Dropout
from sciimg.augmenters.grid import Factor, coarser, per_axis

Conv = nn.Conv2d | nn.Conv3d


def memory_format(dims: int) -> torch.memory_format:
    return torch.channels_last if dims == 2 else torch.channels_last_3d


def conv(dims: int, inputs: int, outputs: int, kernel: int = 3, *, zero: bool = False, gain: float = 1.0) -> Conv:
    """Return a same-size convolution; ``zero`` starts it at zero so that a residual branch begins as the identity."""
    layer: Conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(inputs, outputs, kernel, padding=kernel // 2)
    with torch.no_grad():
        if zero:
            layer.weight.zero_()
        else:
            fan_in = inputs * kernel**dims
            layer.weight.normal_(0.0, gain / math.sqrt(fan_in))
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(1, channels, eps=1e-5)


def space_to_depth(x: Tensor, factor: Factor) -> Tensor:
    """Fold each block of ``factor`` samples an axis into channels; exact, and undone by :func:`depth_to_space`.

    (N, C, [Z,] Y, X) → (N, prod(f) · C, [Z/f,] Y/f, X/f); one copy when ``x`` is channels-last.
    """
    dims = x.ndim - 2
    factors = per_axis(factor, dims)
    if math.prod(factors) == 1:
        return x
    n, *shape, c = x.movedim(1, -1).shape
    parts = [part for size, f in zip(shape, factors, strict=True) for part in (size // f, f)]
    order = [0] + [1 + 2 * axis for axis in range(dims)] + [2 + 2 * axis for axis in range(dims)] + [1 + 2 * dims]
    blocks = x.movedim(1, -1).reshape([n, *parts, c]).permute(order)
    return blocks.reshape(n, *coarser(shape, factors), c * math.prod(factors)).movedim(-1, 1)


def depth_to_space(x: Tensor, factor: Factor) -> Tensor:
    """Undo :func:`space_to_depth`."""
    dims = x.ndim - 2
    factors = per_axis(factor, dims)
    if math.prod(factors) == 1:
        return x
    n, *shape, c = x.movedim(1, -1).shape
    channels = c // math.prod(factors)
    blocks = x.movedim(1, -1).reshape([n, *shape, *factors, channels])
    order = [0] + [part for axis in range(dims) for part in (1 + axis, 1 + dims + axis)] + [1 + 2 * dims]
    return blocks.permute(order).reshape(n, *(size * f for size, f in zip(shape, factors, strict=True)), channels).movedim(-1, 1)


class FourierTime(nn.Module):
    """Features of a time near [0, 1]: cosines and sines at geometrically spaced frequencies."""

    frequencies: Tensor

    def __init__(self, features: int = 64, top: float = 64.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * torch.logspace(-1, math.log2(top), features // 2, base=2.0), persistent=False)

    def forward(self, time: Tensor) -> Tensor:
        angle = time[:, None] * self.frequencies  # in the precision of the time; what follows may be coarser
        return torch.cat([angle.cos(), angle.sin()], dim=1).float()


class Embedding(nn.Module):
    """One vector from the time and from what is told about the sample: (N,), (N, V), (N, 1) → (N, features)."""

    def __init__(self, vector: int, features: int, *, timed: bool = True) -> None:
        super().__init__()
        self.time = FourierTime() if timed else None
        inputs = vector + 1 + (64 if timed else 0)
        self.mlp = nn.Sequential(nn.Linear(inputs, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU())

    def forward(self, vector: Tensor, keep: Tensor, time: Tensor | None = None) -> Tensor:
        parts = [vector, keep] if self.time is None or time is None else [self.time(time), vector, keep]
        out: Tensor = self.mlp(torch.cat(parts, dim=1))
        return out


class SpatialModulation(nn.Module):
    """Scale and shift for every place, made of maps: (N, M, [Z,] Y, X) → two of (N, C, [Z,] Y, X) (SPADE; Park et al. 2019, eq. 1)."""

    def __init__(self, dims: int, maps: int, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 2)
        self.layers = nn.Sequential(conv(dims, maps, hidden), nn.SiLU(), conv(dims, hidden, 2 * channels, gain=0.5))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.layers(maps).chunk(2, dim=1)
        return scale, shift


class Block(nn.Module):
    """Residual block, scaled and shifted between its convolutions.

    When ``embedding`` > 0 by a vector, everywhere alike (FiLM, Perez et al. 2018); when ``maps`` > 0 by maps, place by place (SPADE).
    """

    def __init__(self, dims: int, inputs: int, outputs: int, *, embedding: int = 0, maps: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), conv(dims, inputs, outputs)
        self.norm2, self.conv2 = norm(outputs), conv(dims, outputs, outputs, zero=True)
        self.skip = nn.Identity() if inputs == outputs else conv(dims, inputs, outputs, 1)
        self.film = nn.Linear(embedding, 2 * outputs) if embedding else None
        self.spade = SpatialModulation(dims, maps, outputs) if maps else None
        self.act, self.dropout = nn.SiLU(), Dropout(dropout)
        if self.film is not None:
            nn.init.normal_(self.film.weight, 0.0, 0.3 / math.sqrt(embedding))
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, embedding: Tensor | None = None, maps: Tensor | None = None) -> Tensor:
        h = self.norm2(self.conv1(self.act(self.norm1(x))))
        if self.film is not None and embedding is not None:
            scale, shift = self.film(embedding).view(len(x), -1, *([1] * (x.ndim - 2))).chunk(2, dim=1)
            h = h * (1 + scale) + shift
        if self.spade is not None and maps is not None:
            scale, shift = self.spade(maps)
            h = h * (1 + scale) + shift
        out: Tensor = self.skip(x) + self.conv2(self.dropout(self.act(h)))
        return out


class Down(nn.Module):
    """Make the grid coarser: a convolution over disjoint blocks of ``factor`` samples an axis."""

    def __init__(self, dims: int, inputs: int, outputs: int, factor: Factor = 2) -> None:
        super().__init__()
        factors = per_axis(factor, dims)
        self.conv = (nn.Conv2d if dims == 2 else nn.Conv3d)(inputs, outputs, factors, stride=factors)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Up(nn.Module):
    """Make the grid finer: 1x1 convolution, then depth to space."""

    def __init__(self, dims: int, inputs: int, outputs: int, factor: Factor = 2) -> None:
        super().__init__()
        self.factor = per_axis(factor, dims)
        self.conv = conv(dims, inputs, outputs * math.prod(self.factor), 1)

    def forward(self, x: Tensor) -> Tensor:
        return depth_to_space(self.conv(x), self.factor)
