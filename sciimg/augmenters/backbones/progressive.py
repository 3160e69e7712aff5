"""A pair that grows from coarse to fine while it learns, each new level faded in (ProGAN; Karras et al. 2018, arXiv:1710.10196).

Points always have their full grid: while the networks are small, the generator repeats its coarse samples and the judge takes block means,
so that conditions, augmentation and scores need not know of the growth. The batch's standard deviation as a feature is left out, because
samples of a batch must not mix; batches are small here anyway.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import memory_format, space_to_depth
from sciimg.augmenters.backbones.opponents import Judge, PointGenerator, Told, truncated
from sciimg.augmenters.backbones.pyramid import block_means, repeated
from sciimg.augmenters.backbones.settings import ProgressiveBackbone
from sciimg.augmenters.grid import coarser, product
from sciimg.augmenters.system import Condition, FieldSizes

_FINE = 16  # channels of what is finer than a level's grid


def grown(progress: float, levels: int, growing: float) -> tuple[int, float]:
    """Return the finest level there is (0 is the coarsest) and how far it has been faded in.

    Every level but the first is faded in over the second half of the time of the level before it; from ``growing`` on all are there.
    """
    place = min(progress / growing, 1.0) * (levels - 1)
    level = min(int(place), levels - 1)
    fade = 2 * (place - level) - 1
    return (level, 1.0) if fade <= 0 else (level + 1, fade)


class Equalised(nn.Module):
    """Convolution whose weights start at unit variance and are scaled as they are used, so that all learn at one rate (section 4.1)."""

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: int = 3, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *([kernel] * dims)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.padding = gain / math.sqrt(inputs * kernel**dims), kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return (F.conv3d if x.ndim == 5 else F.conv2d)(x, self.weight * self.scale, self.bias, padding=self.padding)


def pixel_norm(x: Tensor) -> Tensor:
    """Return ``x`` with unit mean square over the channels of each place (section 4.2)."""
    return x * (x.float().square().mean(1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


class ProgressiveGenerator(PointGenerator):
    """Noise vector and condition → points, on ever finer grids.

    Parameters
    ----------
    sizes : FieldSizes
        Its steps are one a level, finest first.
    settings : ProgressiveBackbone
    """

    def __init__(self, sizes: FieldSizes, settings: ProgressiveBackbone) -> None:
        super().__init__()
        dims, widths, self.dims, self.steps, self.settings = sizes.dims, settings.generator, sizes.dims, sizes.steps, settings
        self.coarsest, fold = coarser(sizes.grid, product(sizes.steps, dims)), math.prod(sizes.steps[0])
        self.told = Told(sizes, settings.features, settings.noise_vector)
        self.start = Equalised(0, settings.features, widths[0] * math.prod(self.coarsest), 1)
        self.enter = nn.ModuleList(Equalised(dims, sizes.maps * fold, width) for width in widths) if sizes.maps else None
        self.first = nn.ModuleList(Equalised(dims, a, b) for a, b in pairwise((widths[0], *widths)))
        self.second = nn.ModuleList(Equalised(dims, width, width) for width in widths)
        self.fine = nn.ModuleList(Equalised(dims, width, _FINE) for width in widths)
        self.leave = nn.ModuleList(Equalised(dims, _FINE, sizes.channels, 1, gain=1.0) for _ in widths)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def noise_shapes(self, grid: Sequence[int]) -> list[tuple[int, ...]]:
        return [(self.settings.noise_vector,)]

    def forward(self, noise: Sequence[Tensor], condition: Condition, *, progress: float = 1.0, truncation: float = 1.0) -> Tensor:
        layout, levels = memory_format(self.dims), len(self.first)
        top, fade = grown(progress, levels, self.settings.growing)
        told = pixel_norm(self.told(condition, pixel_norm(truncated(noise[0], truncation))))
        start = F.linear(told, self.start.weight * self.start.scale, self.start.bias)
        x = pixel_norm(start.view(len(told), -1, *self.coarsest)).contiguous(memory_format=layout)
        maps = space_to_depth(condition.spatial.contiguous(memory_format=layout), self.steps[0])
        made = torch.zeros((), device="cpu")  # a number, of any device
        for i in range(top + 1):
            x = x if i == 0 else repeated(x, self.steps[levels - i]).contiguous(memory_format=layout)
            x = self.first[i](x)
            if self.enter is not None:
                x = x + self.enter[i](block_means(maps, product(self.steps[1 : levels - i], self.dims)))
            x = pixel_norm(F.leaky_relu(x, 0.2))
            x = pixel_norm(F.leaky_relu(self.second[i](x), 0.2))
            if i >= top - 1:
                step = self.steps[levels - 1 - i]
                finer = self.leave[i](F.leaky_relu(self.fine[i](repeated(x, step).contiguous(memory_format=layout)), 0.2)).float()
                made = finer if i == 0 or (i == top - 1) else repeated(made, step).lerp(finer, fade)
        return repeated(made, product(self.steps[: levels - 1 - top], self.dims))


class ProgressiveJudge(Judge):
    """The mirror image: points as fine as there are levels → one logit a sample.

    Parameters
    ----------
    sizes : FieldSizes
    settings : ProgressiveBackbone
    """

    def __init__(self, sizes: FieldSizes, settings: ProgressiveBackbone) -> None:
        super().__init__()
        dims, widths, self.dims, self.steps, self.settings = sizes.dims, settings.discriminator, sizes.dims, sizes.steps, settings
        self.enter = nn.ModuleList(
            Equalised(dims, sizes.channels * math.prod(step), width, 1) for width, step in zip(widths, self.steps, strict=True)
        )
        inputs = sizes.maps * math.prod(self.steps[0])
        self.maps = nn.ModuleList(Equalised(dims, inputs, width, 1) for width in widths) if inputs else None
        self.first = nn.ModuleList(Equalised(dims, width, width) for width in widths)
        self.down = nn.ModuleList(
            Equalised(dims, a * math.prod(step), b, 1) for (a, b), step in zip(pairwise(widths), self.steps[1:], strict=True)
        )
        self.told = Told(sizes, settings.features) if sizes.vector or sizes.words else None
        self.project = nn.Linear(settings.features, widths[-1]) if self.told is not None else None
        self.leave = nn.Linear(widths[-1] * math.prod(coarser(sizes.grid, product(self.steps, dims))), 1)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def coefficients(self, points: Tensor, progress: float = 1.0) -> list[Tensor]:
        levels = len(self.steps)
        top, fade = grown(progress, levels, self.settings.growing)
        x = block_means(points.float(), product(self.steps[: levels - 1 - top], self.dims))
        if fade < 1:
            step = self.steps[levels - 1 - top]
            x = repeated(block_means(x, step), step).lerp(x, fade)
        return [x]

    def forward(self, coefficients: list[Tensor], condition: Condition, progress: float = 1.0) -> list[Tensor]:
        layout, levels, points = memory_format(self.dims), len(self.steps), coefficients[0]
        top, fade = grown(progress, levels, self.settings.growing)
        maps = space_to_depth(condition.spatial.contiguous(memory_format=layout), self.steps[0])
        finest = levels - 1 - top
        x = self._entered(points, finest)
        for i in range(finest, levels):
            if self.maps is not None:
                x = x + self.maps[i](block_means(maps, product(self.steps[1 : i + 1], self.dims)))
            x = F.leaky_relu(self.first[i](x), 0.2)
            if i + 1 < levels:
                x = F.leaky_relu(self.down[i](space_to_depth(x, self.steps[i + 1])), 0.2)
                if i == finest and fade < 1:
                    x = self._entered(block_means(points, self.steps[i]), i + 1).lerp(x, fade)
        logit = self.leave(x.flatten(1))
        if self.told is not None and self.project is not None:
            logit = logit + (x.flatten(2).mean(2) * self.project(self.told(condition))).sum(1, keepdim=True)
        return [logit.float()]

    def _entered(self, points: Tensor, level: int) -> Tensor:
        folded = space_to_depth(points.contiguous(memory_format=memory_format(self.dims)), self.steps[level])
        out: Tensor = F.leaky_relu(self.enter[level](folded), 0.2)
        return out
