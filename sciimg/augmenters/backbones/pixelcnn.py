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
    """The condition; what is told in the plane that is drawn; of every layer, the vertical stack's row and the column drawn last."""

    condition: Condition
    context: Tensor
    told: list[Tensor] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    columns: list[Tensor] = field(default_factory=list)


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
        if not place:
            seen = functional.pad(drawn, (0, (len(self.sizes.grids) - level) * rows * columns))
            state.context = self._context(split_levels(seen, self.sizes.grids), level, state.condition)
            state.told, state.rows = self._told(state.condition, level), []
        own = functional.pad(drawn[:, drawn.shape[1] - place :], (0, (y + 1) * columns - place)).view(len(drawn), y + 1, columns)
        values = functional.pad(self._values(own[:, -3:]), (0, 0, max(0, 2 - y), 0))[:, :, -3:]  # this row and two above
        context = state.context[:, :, y : y + 1]
        if not x:
            first = self.above(functional.pad(values[:, :, :2], (1, 1, 0, 0))) + context
            state.rows = self._vertical(first, state.told, state.rows)
            state.columns = []
        two = functional.pad(values[:, :, 2:, max(0, x - 2) : x], (max(0, 2 - x), 0))
        rows_here = [row[..., x : x + 1] for row in state.rows]
        state.columns = self._horizontal(self.left(two) + context[..., x : x + 1], rows_here[1:], state.told, state.columns)
        return self._logits(state.columns[-1])

    def _plane(self, planes: list[Tensor], level: int, condition: Condition) -> Tensor:
        own, told = self._values(planes[level]), self._told(condition, level)
        context = self._context(planes, level, condition)
        rows = self._vertical(self.above(functional.pad(own, (1, 1, 2, -1))) + context, told)
        h = self._horizontal(self.left(functional.pad(own, (2, -1, 0, 0))) + context, rows[1:], told)[-1]
        return self._logits(h)

    def _logits(self, h: Tensor) -> Tensor:
        out: Tensor = self.leave(h)
        return out.flatten(2).transpose(1, 2).float()

    def _values(self, numbers: Tensor) -> Tensor:
        """Return intensities in [-1, 1], and ones, by which the border is known: (N, 2, Y, X)."""
        value = (numbers[:, None].float() + 0.5) * (2 / self.sizes.vocabulary) - 1
        return torch.cat([value, torch.ones_like(value)], dim=1)

    def _context(self, planes: list[Tensor], level: int, condition: Condition) -> Tensor:
        """Return what is seen whole: earlier planes, the rest withheld, and maps."""
        parts = [self._values(plane) * (1.0 if number < level else 0.0) for number, plane in enumerate(planes)]
        if self.sizes.maps:
            rows, columns = self.sizes.grids[0]
            parts.append(functional.adaptive_avg_pool2d(condition.spatial, (rows, columns)))
        out: Tensor = self.context(torch.cat(parts, dim=1))
        return out

    def _told(self, condition: Condition, level: int) -> list[Tensor]:
        """Return what every layer adds to its gates, (N, 4 width, 1, 1) each."""
        which = torch.zeros(len(condition), len(self.sizes.grids), device=condition.vector.device)
        which[:, level] = 1.0
        vector = self.embed(torch.cat([condition.vector, which], dim=1), condition.keep)
        return [cast(_Gated, layer).told(vector)[:, :, None, None] for layer in self.layers]

    def _vertical(self, first: Tensor, told: list[Tensor], before: list[Tensor] | None = None) -> list[Tensor]:
        """Return the vertical stack before and after every layer; row y has seen rows above y alone.

        ``before``: the same of the row above ``first``; nothing is above when left out or empty.
        """
        out = [first]
        for number, layer in enumerate(self.layers):
            out.append(cast(_Gated, layer).down(out[-1], told[number], before[number] if before else None))
        return out

    def _horizontal(self, first: Tensor, rows: list[Tensor], told: list[Tensor], before: list[Tensor] | None = None) -> list[Tensor]:
        """Return the horizontal stack before and after every layer; column x has also seen what is left of x in its row.

        ``before``: the same of the column left of ``first``.
        """
        out = [first]
        for number, (layer, row) in enumerate(zip(self.layers, rows, strict=True)):
            out.append(cast(_Gated, layer).along(out[-1], row, told[number], before[number] if before else None))
        return out


class _Gated(nn.Module):
    """One layer of both stacks: tanh(a) * sigmoid(b), where a and b are told the vector (eq. 4)."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.vertical, self.horizontal = nn.Conv2d(width, 2 * width, (2, 3)), nn.Conv2d(width, 2 * width, (1, 2))
        self.across, self.leave = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.told = nn.Linear(features, 4 * width)

    def down(self, v: Tensor, told: Tensor, above: Tensor | None) -> Tensor:
        seen = functional.pad(v, (1, 1, 1, 0)) if above is None else functional.pad(torch.cat([above, v], dim=2), (1, 1))
        return v + _gate(self.vertical(seen) + told.chunk(2, dim=1)[0])

    def along(self, h: Tensor, v: Tensor, told: Tensor, left: Tensor | None) -> Tensor:
        seen = functional.pad(h, (1, 0)) if left is None else torch.cat([left, h], dim=3)
        out: Tensor = h + self.leave(_gate(self.horizontal(seen) + self.across(v) + told.chunk(2, dim=1)[1]))
        return out


def _gate(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return a.tanh() * b.sigmoid()
