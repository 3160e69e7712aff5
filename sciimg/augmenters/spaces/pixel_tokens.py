"""Quantised intensities as tokens: nothing to train, and a likelihood in bits a pixel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth
from sciimg.augmenters.grid import Step, coarser, product
from sciimg.augmenters.spaces.settings import PixelTokenSpace
from sciimg.augmenters.spaces.tokens import Grids, TokenSpace, join_levels, split_levels
from sciimg.augmenters.system import Condition, Noise

_REACH = 3.5  # standard deviations; beyond three the intensity scale is logarithmic, and next to nothing is left there


class PixelTokens(TokenSpace):
    """Every channel is a level: its block means in equal steps of intensity.

    Parameters
    ----------
    settings : PixelTokenSpace
    shape : tuple of int
        (C, [Z,] Y, X) of the images.
    steps : sequence of Step
        How the grid of the tokens is coarser than the image's; none: it is not.
    """

    def __init__(self, settings: PixelTokenSpace, shape: tuple[int, ...], steps: Sequence[Step]) -> None:
        super().__init__()
        self.vocabulary, self.image_shape = settings.intensities, shape
        self.factor = product(steps, len(shape) - 1)

    def grids(self, image_shape: tuple[int, ...]) -> Grids:
        return (coarser(image_shape[1:], self.factor),) * image_shape[0]

    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        blocks = space_to_depth(images, self.factor).unflatten(1, (math.prod(self.factor), -1)).mean(1)
        steps = ((blocks.clamp(-_REACH, _REACH) + _REACH) / (2 * _REACH) * self.vocabulary).long()
        return join_levels(steps.clamp(max=self.vocabulary - 1).unbind(1))

    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        """Return the middle of each step, or, with ``noise``, a value even in it; the same over a block."""
        steps = torch.stack(split_levels(points, self.grids(self.image_shape)), dim=1)
        within = 0.5 if noise is None else noise.uniform(steps.shape[1:]).to(steps.device)
        values = ((steps + within) / self.vocabulary * 2 - 1).float() * _REACH
        return depth_to_space(values.repeat(1, math.prod(self.factor), *([1] * (values.ndim - 2))), self.factor)
