"""Generator and discriminator of a conditional adversarial network: small, residual, 2D and 3D, no convolution on the finest grid.

Both work at unit variance on every scale (:mod:`sciimg.augmenters.backbones.pyramid`): the generator adds smooth coarse fields and ever
finer, ever weaker ones; the discriminator reads Haar coefficients divided by their spread in the real data, so that a missing texture
weighs as much as a misplaced object, and the gradient penalty does not forbid it to look at fine detail.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, conv, depth_to_space, memory_format, norm, space_to_depth
from sciimg.augmenters.backbones.opponents import Judge, PointGenerator, Told, truncated
from sciimg.augmenters.backbones.pyramid import band_spreads, block_means, divided, doubled, haar_pyramid, spreads
from sciimg.augmenters.backbones.settings import ConvNetBackbone, PairBackbone
from sciimg.augmenters.grid import coarser, product
from sciimg.augmenters.system import Condition, FieldSizes


class Generator(PointGenerator):
    """Condition and noise → points, in one step.

    Parameters
    ----------
    sizes : FieldSizes
        Its steps are one a scale, finest first.
    settings : ConvNetBackbone

    Notes
    -----
    Every scale is given the maps of the condition and its own noise image (Karras 2019, arXiv:1812.04948); scalars, classes and a
    noise vector modulate each block (FiLM). Normalisation is within a sample, never across the batch.
    """

    bands: Tensor

    def __init__(self, sizes: FieldSizes, settings: ConvNetBackbone) -> None:
        super().__init__()
        dims, channels, maps = sizes.dims, sizes.channels, sizes.maps
        widths, fold = settings.generator, math.prod(sizes.steps[0])
        self.dims, self.channels, self.settings, self.steps = dims, channels, settings, sizes.steps
        self.register_buffer("bands", torch.ones(len(widths) + 1, channels))  # spread of each scale, finest first
        self.embed = Told(sizes, settings.features, settings.noise_vector)
        self.level = nn.Linear(settings.features, channels)  # a short way for what a scalar says of the whole sample
        self.enter = nn.ModuleList(conv(dims, maps * fold + settings.noise_maps, width) for width in widths)
        self.up = nn.ModuleList(conv(dims, a, b, 1) for a, b in pairwise(widths))
        self.stages = nn.ModuleList(
            _Modulated(Block(dims, width, width, embedding=settings.features) for _ in range(depth))
            for width, depth in zip(widths, settings.generator_blocks, strict=True)
        )
        outputs = [channels] * (len(widths) - 1) + [channels * (1 + fold)]  # the last also makes what is finer than its grid
        self.leave = nn.ModuleList(
            nn.Sequential(norm(width), nn.SiLU(), conv(dims, width, out, gain=0.5)) for width, out in zip(widths, outputs, strict=True)
        )
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def noise_shapes(self, grid: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the shapes of the noise vector and of the noise images, coarsest first, for points on ``grid``."""
        images = [(self.settings.noise_maps, *coarser(grid, product(self.steps[: i + 1], self.dims))) for i in range(len(self.steps))][::-1]
        return [(self.settings.noise_vector,), *images]

    def measure(self, points: Tensor) -> None:
        """Learn the spread of each scale from real points (N, C, [Z,] Y, X)."""
        self.bands.copy_(band_spreads(points, self.steps))

    def forward(self, noise: Sequence[Tensor], condition: Condition, *, progress: float = 1.0, truncation: float = 1.0) -> Tensor:
        """Return points (N, C, [Z,] Y, X) for noise of the shapes of :meth:`noise_shapes`, each with N in front."""
        layout, levels = memory_format(self.dims), len(self.enter)
        noise = [truncated(own, truncation) for own in noise]
        told = self.embed(condition, noise[0])
        maps = space_to_depth(condition.spatial.contiguous(memory_format=layout), self.steps[0])
        hidden = fine = maps[:, :0]
        made = self.level(told).float().view(len(told), -1, *([1] * self.dims)) * self._spread(levels)
        for i in range(levels):
            finer = self.steps[levels - i] if i else 1
            means = block_means(maps, product(self.steps[1 : levels - i], self.dims))
            seen = torch.cat([means, noise[1 + i]], dim=1).contiguous(memory_format=layout)
            hidden = self.enter[i](seen) + (doubled(self.up[i - 1](hidden), finer) if i else 0)
            hidden = self.stages[i](hidden, told)
            field, fine = self.leave[i](hidden).float().tensor_split([self.channels], dim=1)
            made = field * self._spread(levels - i) + (doubled(made, finer) if i else made)
        return doubled(made, self.steps[0]) + depth_to_space(fine, self.steps[0]) * self._spread(0)

    def _spread(self, band: int) -> Tensor:
        return self.bands[band].view(1, -1, *([1] * self.dims))


class Discriminator(Judge):
    """Say how real points look under a condition, at every place of every scale.

    Parameters
    ----------
    sizes : FieldSizes
        As for :class:`Generator`.
    settings : ConvNetBackbone or PairBackbone
        The latter has one block a scale.

    References
    ----------
    Judging places: Isola et al. 2017, arXiv:1611.07004. Wavelet input: Gal et al. 2021, arXiv:2102.06108. Projection of the vector:
    Miyato & Koyama 2018, arXiv:1802.05637. No normalisation: Huang et al. 2024, arXiv:2501.05441.
    """

    def __init__(self, sizes: FieldSizes, settings: ConvNetBackbone | PairBackbone) -> None:
        super().__init__()
        dims, channels, maps = sizes.dims, sizes.channels, sizes.maps
        widths, fold = settings.discriminator, math.prod(sizes.steps[0])
        depths = settings.discriminator_blocks if isinstance(settings, ConvNetBackbone) else (1,) * len(widths)
        self.dims, self.steps = dims, sizes.steps
        details = [channels * (math.prod(step) - 1) for step in sizes.steps]
        details[-1] += channels  # the last also holds what is coarser than its grid
        for level, count in enumerate(details):
            self.register_buffer(f"spread_{level}", torch.ones(count))
        self.embed = Told(sizes, settings.features)
        self.enter = nn.ModuleList(
            conv(dims, count + (0 if level else maps * fold), width)
            for level, (count, width) in enumerate(zip(details, widths, strict=True))
        )
        self.down = nn.ModuleList(Down(dims, a, b, step) for (a, b), step in zip(pairwise(widths), sizes.steps[1:], strict=True))
        self.blocks = nn.ModuleList(
            nn.Sequential(*(_Residual(dims, width) for _ in range(depth))) for width, depth in zip(widths, depths, strict=True)
        )
        self.judge = nn.ModuleList(nn.Sequential(_ACT, conv(dims, width, width), _ACT) for width in widths)
        self.leave = nn.ModuleList(conv(dims, width, 1, 1) for width in widths)
        self.project = nn.ModuleList(nn.Linear(settings.features, width) for width in widths)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def measure(self, points: Tensor) -> None:
        """Learn the spread of each wavelet band from real points (N, C, [Z,] Y, X)."""
        for own, spread in zip(self._spreads(), spreads(haar_pyramid(points, self.steps)), strict=True):
            own.copy_(spread)

    def coefficients(self, points: Tensor, progress: float = 1.0) -> list[Tensor]:
        """Return the wavelet pyramid of points (N, C, [Z,] Y, X) in units of its spread in real data, finest first."""
        return divided(haar_pyramid(points, self.steps), self._spreads())

    def forward(self, coefficients: list[Tensor], condition: Condition, progress: float = 1.0) -> list[Tensor]:
        """Return logits (N, places) of every scale for what :meth:`coefficients` gave."""
        layout = memory_format(self.dims)
        told = self.embed(condition)
        maps = space_to_depth(condition.spatial.contiguous(memory_format=layout), self.steps[0])
        hidden, logits = maps, []
        for level, own in enumerate(coefficients):
            seen = own if level else torch.cat([own, maps], dim=1)
            hidden = self.enter[level](seen.contiguous(memory_format=layout)) + (self.down[level - 1](hidden) if level else 0)
            hidden = self.blocks[level](hidden)
            features = self.judge[level](hidden)
            direction = self.project[level](told).view(len(features), -1, *([1] * self.dims))
            logits.append((self.leave[level](features) + (features * direction).mean(1, keepdim=True)).flatten(1).float())
        return logits

    def _spreads(self) -> list[Tensor]:
        return [self.get_buffer(f"spread_{level}") for level in range(len(self.enter))]


_ACT = nn.LeakyReLU(0.2)


class _Modulated(nn.Module):
    """Residual blocks in a row, all modulated by one vector."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, vector)
        return x


class _Residual(nn.Module):
    """Starts as the identity (fix-up initialisation; Zhang et al. 2019, arXiv:1901.09321)."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_ACT, conv(dims, width, width), _ACT, conv(dims, width, width, zero=True))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out
