"""DCGAN: a noise vector through doubling convolutions against halving convolutions (Radford et al. 2016, arXiv:1511.06434).

Three things differ from the paper, each for a reason. Normalisation is within a sample (one group), not over the batch, so that no sample
depends on its company (as Gulrajani et al. 2017, section 4, do in critics). The generator convolves once more on every finer grid, because
some hundred steps do not unlearn the lattice of a transposed convolution (Odena et al. 2016, doi:10.23915/distill.00003).
Intensities are standardised and unbounded, so the last layer is linear, without tanh.

With ``skip_noise`` the generator is that of BigGAN (Brock et al. 2019, arXiv:1809.11096, section 3): residual blocks, each modulated by the
condition together with a part of the noise vector of its own. Its self-attention is left out: fields here are small.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Up, conv, memory_format, norm, space_to_depth
from sciimg.augmenters.backbones.opponents import Judge, PointGenerator, Told, truncated
from sciimg.augmenters.backbones.pyramid import block_means
from sciimg.augmenters.backbones.settings import DCGANBackbone
from sciimg.augmenters.grid import Step, coarser, product
from sciimg.augmenters.system import Condition, FieldSizes


class DCGenerator(PointGenerator):
    """Noise vector and condition → points.

    Parameters
    ----------
    sizes : FieldSizes
        Its steps are one a width, finest first.
    settings : DCGANBackbone
    """

    def __init__(self, sizes: FieldSizes, settings: DCGANBackbone) -> None:
        super().__init__()
        dims, widths, self.steps, self.settings = sizes.dims, settings.generator, sizes.steps, settings
        self.dims, self.width, self.coarsest = dims, widths[0], coarser(sizes.grid, product(sizes.steps, sizes.dims))
        fold, levels = math.prod(sizes.steps[0]), len(widths)
        parts = levels + 1 if settings.skip_noise else 1
        self.split = [len(part) for part in torch.arange(settings.noise_vector).tensor_split(parts)]
        self.told = Told(sizes, settings.features) if sizes.vector or sizes.words else None
        known = settings.features if self.told is not None else 0
        self.start = nn.Linear(self.split[0] + known, widths[0] * math.prod(self.coarsest))
        self.enter = nn.ModuleList(conv(dims, sizes.maps * fold, width) for width in widths) if sizes.maps else None
        self.norms = nn.ModuleList(norm(width) for width in widths)
        self.film = nn.ModuleList(nn.Linear(known, 2 * width) for width in widths) if known else None
        self.grow = nn.ModuleList(_grow(dims, a, b, step) for (a, b), step in zip(pairwise(widths), self.steps[:0:-1], strict=True))
        self.blocks = nn.ModuleList(
            Block(dims, width, width, embedding=known + part) for width, part in zip(widths, self.split[1:], strict=False)
        )
        self.leave = _grow(dims, widths[-1], max(8, widths[-1] // 4), self.steps[0])
        self.last = conv(dims, max(8, widths[-1] // 4), sizes.channels)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def noise_shapes(self, grid: Sequence[int]) -> list[tuple[int, ...]]:
        return [(self.settings.noise_vector,)]

    def forward(self, noise: Sequence[Tensor], condition: Condition, *, progress: float = 1.0, truncation: float = 1.0) -> Tensor:
        layout, levels = memory_format(self.dims), len(self.norms)
        first, *parts = truncated(noise[0], truncation).split(self.split, dim=1)
        told = [] if self.told is None else [self.told(condition)]
        x = self.start(torch.cat([first, *told], dim=1)).view(len(first), self.width, *self.coarsest)
        x = x.contiguous(memory_format=layout)
        maps = space_to_depth(condition.spatial.contiguous(memory_format=layout), self.steps[0])
        for i in range(levels):
            if i:
                x = self.grow[i - 1](x)
            if self.enter is not None:
                x = x + self.enter[i](block_means(maps, product(self.steps[1 : levels - i], self.dims)))
            if parts:
                x = self.blocks[i](x, torch.cat([*told, parts[i]], dim=1))
            x = self.norms[i](x)
            if self.film is not None:
                scale, shift = self.film[i](told[0]).view(len(x), -1, *([1] * self.dims)).chunk(2, dim=1)
                x = x * (1 + scale) + shift
            x = nn.functional.relu(x)
        made: Tensor = self.last(nn.functional.relu(self.leave(x)))
        return made.float()


def _grow(dims: int, inputs: int, outputs: int, step: Step) -> nn.Sequential:
    """Return layers to a finer grid; all places of a block start alike (Aitken et al. 2017, arXiv:1707.02937).

    Interpolation in their place, which has no lattice at all, was tried: without edges to begin from, texture stayed as smooth as an oil
    painting.
    """
    up = Up(dims, inputs, outputs, step)
    with torch.no_grad():
        up.conv.weight.copy_(up.conv.weight[:outputs].repeat(math.prod(up.factor), *([1] * (dims + 1))))
    return nn.Sequential(up, conv(dims, outputs, outputs, gain=math.sqrt(2)))


class DCJudge(Judge):
    """Points and condition → one logit a sample, with projection of what is told (Miyato & Koyama 2018, arXiv:1802.05637).

    Parameters
    ----------
    sizes : FieldSizes
    settings : DCGANBackbone
    """

    def __init__(self, sizes: FieldSizes, settings: DCGANBackbone) -> None:
        super().__init__()
        dims, widths, self.steps, self.dims = sizes.dims, settings.discriminator, sizes.steps, sizes.dims
        self.enter = conv(dims, (sizes.channels + sizes.maps) * math.prod(self.steps[0]), widths[0], gain=math.sqrt(2))
        self.down = nn.ModuleList(
            conv(dims, a * math.prod(step), b, gain=math.sqrt(2)) for (a, b), step in zip(pairwise(widths), self.steps[1:], strict=True)
        )
        self.norms = nn.ModuleList(norm(width) for width in widths[1:])
        places = math.prod(coarser(sizes.grid, product(self.steps, dims)))
        self.leave = nn.Linear(widths[-1] * places, 1)
        self.told = Told(sizes, settings.features) if sizes.vector or sizes.words else None
        self.project = nn.Linear(settings.features, widths[-1]) if self.told is not None else None
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def coefficients(self, points: Tensor, progress: float = 1.0) -> list[Tensor]:
        return [points.float()]

    def forward(self, coefficients: list[Tensor], condition: Condition, progress: float = 1.0) -> list[Tensor]:
        seen = torch.cat([coefficients[0], condition.spatial], dim=1).contiguous(memory_format=memory_format(self.dims))
        x = nn.functional.leaky_relu(self.enter(space_to_depth(seen, self.steps[0])), 0.2)
        for down, normed, step in zip(self.down, self.norms, self.steps[1:], strict=True):
            x = nn.functional.leaky_relu(normed(down(space_to_depth(x, step))), 0.2)
        logit = self.leave(x.flatten(1))
        if self.told is not None and self.project is not None:
            direction = self.project(self.told(condition))
            logit = logit + (x.flatten(2).mean(2) * direction).sum(1, keepdim=True)
        return [logit.float()]
