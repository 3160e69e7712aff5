"""Text to image in two stages: a small image of the caption, then its refinement, which reads the caption again.

StackGAN: Zhang et al. 2017, arXiv:1612.03242. AttnGAN lets the refinement look at words one by one: Xu et al. 2018, arXiv:1711.10485.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.dcgan import DCGenerator
from sciimg.augmenters.backbones.layers import Block, conv, depth_to_space, memory_format, norm, space_to_depth
from sciimg.augmenters.backbones.opponents import PointGenerator, Told, truncated
from sciimg.augmenters.backbones.pyramid import band_spreads, doubled
from sciimg.augmenters.backbones.settings import StackedBackbone
from sciimg.augmenters.conditioning.words import WordAttention
from sciimg.augmenters.grid import coarser
from sciimg.augmenters.system import Condition, FieldSizes

_NOISE_MAPS = 4


class Refiner(PointGenerator):
    """A small image from another generator, the condition and noise images → points twice as fine.

    Parameters
    ----------
    sizes : FieldSizes
        Of the fine points; the small image is coarser by the first step.
    settings : StackedBackbone
    coarse : DCGenerator
        Trained before, not by this one.
    """

    spread: Tensor

    def __init__(self, sizes: FieldSizes, settings: StackedBackbone, coarse: DCGenerator) -> None:
        super().__init__()
        dims, width, features = sizes.dims, settings.refine, settings.coarse.features
        self.dims, self.step, fold = dims, sizes.steps[0], math.prod(sizes.steps[0])
        self._coarse = (coarse,)  # in a tuple: its weights are not this module's
        self.register_buffer("spread", torch.ones(sizes.channels))  # of what is finer than the small image
        self.told = Told(sizes, features)
        self.enter = conv(dims, sizes.channels + sizes.maps * fold + _NOISE_MAPS, width)
        self.blocks = nn.ModuleList(Block(dims, width, width, embedding=features) for _ in range(settings.refine_blocks))
        self.attention = WordAttention(width, sizes.words, features) if settings.attention and sizes.words else None
        self.leave = nn.Sequential(norm(width), nn.SiLU(), conv(dims, width, sizes.channels * fold, gain=0.5))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def noise_shapes(self, grid: Sequence[int]) -> list[tuple[int, ...]]:
        """Return those of the small image's generator, then that of the noise images on its grid."""
        small = coarser(grid, self.step)
        return [*self._coarse[0].noise_shapes(small), (_NOISE_MAPS, *small)]

    def measure(self, points: Tensor) -> None:
        self.spread.copy_(band_spreads(points, (self.step,))[0])

    def forward(self, noise: Sequence[Tensor], condition: Condition, *, progress: float = 1.0, truncation: float = 1.0) -> Tensor:
        layout = memory_format(self.dims)
        told_small = condition.resized(noise[-1].shape[2:])
        with torch.no_grad():
            small = self._coarse[0](noise[:-1], told_small, truncation=truncation)
        told, maps = self.told(condition), space_to_depth(condition.spatial, self.step)
        x = self.enter(torch.cat([small, maps, truncated(noise[-1], truncation)], dim=1).contiguous(memory_format=layout))
        for number, block in enumerate(self.blocks):
            x = block(x, told)
            if number == 0 and self.attention is not None and condition.tokens is not None:
                x = self.attention(x, condition.tokens)
        detail = depth_to_space(self.leave(x), self.step).float()
        return doubled(small, self.step) + detail * self.spread.view(1, -1, *([1] * self.dims))
