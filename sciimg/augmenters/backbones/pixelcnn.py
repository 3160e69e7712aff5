"""Gated masked convolutions: the law of a pixel given the rows above it and what lies left of it."""

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciimg.augmenters.backbones.layers import Embedding, conv
from sciimg.augmenters.backbones.settings import PixelCNNBackbone
from sciimg.augmenters.backbones.token_network import TokenNetwork, TokenSizes
from sciimg.augmenters.spaces.tokens import lengths, split_levels
from sciimg.augmenters.system import Condition


@dataclass(slots=True)
class Progress:
    """The condition, and what is computed once a plane (context) and once a row (the vertical stack)."""

    condition: Condition
    context: Tensor
    rows: list[Tensor] = field(default_factory=list)


class PixelCNN(TokenNetwork):
    """A vertical stack sees all rows above, a horizontal stack what is left of x: no blind spot (van den Oord 2016, arXiv:1606.05328).

    Every level is a plane, drawn in raster order; planes that were drawn before, and the maps of the condition, are seen whole.

    Parameters
    ----------
    sizes : TokenSizes
        In two dimensions, all levels on the same grid.
    settings : PixelCNNBackbone
    """

    def __init__(self, sizes: TokenSizes, settings: PixelCNNBackbone) -> None:
        super().__init__()
        width, planes = settings.width, len(sizes.grids)
        self.sizes, self.parts = sizes, (1,) * sum(lengths(sizes.grids))
        self.context = nn.Sequential(conv(2, 2 * planes + sizes.maps, width), nn.SiLU(), conv(2, width, width))
        self.embed = Embedding(sizes.vector + planes, settings.features, timed=False)
        self.above = nn.Conv2d(2, width, (2, 3))
        self.left = nn.Conv2d(2, width, (1, 2))
        self.layers = nn.ModuleList(_Gated(width, settings.features) for _ in range(settings.depth))
        self.leave = nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 1), nn.SiLU(), nn.Conv2d(width, sizes.vocabulary, 1))
        nn.init.zeros_(cast(nn.Conv2d, self.leave[-1]).weight)

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        planes = split_levels(codes, self.sizes.grids)
        return torch.cat([self._plane(planes, level, condition) for level in range(len(planes))], dim=1)

    def begin(self, condition: Condition) -> Progress:
        return Progress(condition, condition.vector)

    def following(self, state: Progress, drawn: Tensor) -> Tensor:
        rows, columns = self.sizes.grids[0]
        level, place = divmod(drawn.shape[1], rows * columns)
        y, x = divmod(place, columns)
        seen = functional.pad(drawn, (0, sum(lengths(self.sizes.grids)) - drawn.shape[1]))
        planes = split_levels(seen, self.sizes.grids)
        own = self._values(planes[level])
        told = self._told(state.condition, level)
        if not place:
            state.context = self._context(planes, level, state.condition)
        if not x:  # outputs of the lowest row do not depend on rows farther up than the stack reaches
            top = max(0, y - len(self.layers) - 2)
            state.rows = [v[:, :, -1:] for v in self._vertical(own[:, :, top : y + 1], state.context[:, :, top : y + 1], told)]
        row = self._horizontal(own[:, :, y : y + 1], state.rows, state.context[:, :, y : y + 1], told)
        return self.leave(row[..., x : x + 1]).flatten(2).transpose(1, 2).float()

    def _plane(self, planes: list[Tensor], level: int, condition: Condition) -> Tensor:
        own, told = self._values(planes[level]), self._told(condition, level)
        context = self._context(planes, level, condition)
        h = self._horizontal(own, self._vertical(own, context, told), context, told)
        return self.leave(h).flatten(2).transpose(1, 2).float()

    def _values(self, numbers: Tensor) -> Tensor:
        """Return intensities in [-1, 1], and ones, by which the border is known: (N, 2, Y, X)."""
        value = (numbers[:, None].float() + 0.5) * (2 / self.sizes.vocabulary) - 1
        return torch.cat([value, torch.ones_like(value)], dim=1)

    def _context(self, planes: list[Tensor], level: int, condition: Condition) -> Tensor:
        """Return what is seen whole: earlier planes, the rest withheld, and maps."""
        parts = [self._values(plane) * (1.0 if number < level else 0.0) for number, plane in enumerate(planes)]
        if self.sizes.maps:
            parts.append(functional.adaptive_avg_pool2d(condition.spatial, list(self.sizes.grids[0])))
        out: Tensor = self.context(torch.cat(parts, dim=1))
        return out

    def _told(self, condition: Condition, level: int) -> Tensor:
        which = torch.zeros(len(condition), len(self.sizes.grids), device=condition.vector.device)
        which[:, level] = 1.0
        out: Tensor = self.embed(torch.cat([condition.vector, which], dim=1), condition.keep)
        return out

    def _vertical(self, own: Tensor, context: Tensor, told: Tensor) -> list[Tensor]:
        """Return the vertical stack after every layer; row y has seen rows above y alone."""
        v = self.above(functional.pad(own, (1, 1, 2, -1))) + context
        out = []
        for layer in self.layers:
            v = cast(_Gated, layer).down(v, told)
            out.append(v)
        return out

    def _horizontal(self, own: Tensor, rows: list[Tensor], context: Tensor, told: Tensor) -> Tensor:
        """Return the last features; column x has seen what the vertical stack saw, and columns left of x in its row."""
        h = self.left(functional.pad(own, (2, -1, 0, 0))) + context
        for layer, v in zip(self.layers, rows, strict=True):
            h = cast(_Gated, layer).along(h, v, told)
        return h


class _Gated(nn.Module):
    """One layer of both stacks: tanh(a) * sigmoid(b), where a and b are told the vector (eq. 4)."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.vertical, self.horizontal = nn.Conv2d(width, 2 * width, (2, 3)), nn.Conv2d(width, 2 * width, (1, 2))
        self.across, self.leave = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.told = nn.Linear(features, 4 * width)

    def down(self, v: Tensor, told: Tensor) -> Tensor:
        first = self.told(told)[:, :, None, None].chunk(2, dim=1)[0]
        return v + _gate(self.vertical(functional.pad(v, (1, 1, 1, 0))) + first)

    def along(self, h: Tensor, v: Tensor, told: Tensor) -> Tensor:
        second = self.told(told)[:, :, None, None].chunk(2, dim=1)[1]
        out: Tensor = h + self.leave(_gate(self.horizontal(functional.pad(h, (1, 0, 0, 0))) + self.across(v) + second))
        return out


def _gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
