"""A small residual UNet for 2D and 3D, shaped for speed on CPU matrix units and just as usable on a GPU."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, Embedding, Up, conv, memory_format, norm
from sciimg.augmenters.backbones.pyramid import block_means
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.conditioning.text import CrossAttention
from sciimg.augmenters.grid import Step
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes

Change = Callable[[int, Tensor], Tensor]
"""What a side network makes of the features of a level, finest 0."""


@dataclass(frozen=True, slots=True)
class Told:
    """The condition as the blocks hear it: one vector a sample, the maps of every level (None where they are not modulated), and words."""

    vector: Tensor
    maps: tuple[Tensor | None, ...]
    words: tuple[Tensor, Tensor] | None = None


class Descent(nn.Module):
    """The way down of a UNet; a side network is a second one.

    Parameters
    ----------
    sizes : FieldSizes
    settings : UNetBackbone
    inputs : int
        Channels told at places, beside the channels of the input.
    maps : int
        Channels that modulate the blocks.
    """

    def __init__(self, sizes: FieldSizes, settings: UNetBackbone, inputs: int, maps: int = 0) -> None:
        super().__init__()
        dims, widths = sizes.dims, settings.widths
        self.enter = conv(dims, sizes.channels + inputs, widths[0])
        self.blocks = nn.ModuleList(
            _blocks(dims, width, depth, settings, maps) for width, depth in zip(widths, settings.blocks, strict=True)
        )
        self.down = nn.ModuleList(Down(dims, a, b, step) for (a, b), step in zip(pairwise(widths), sizes.steps, strict=True))

    def forward(self, x: Tensor, told: Told, change: Change | None = None, hint: Tensor | None = None) -> list[Tensor]:
        """Return the features of every level, finest first; ``x`` holds what is told at places, a hint is added to the first features."""
        h, features = self.enter(x) if hint is None else self.enter(x) + hint, []
        for level, group in enumerate(self.blocks):
            if level:
                h = self.down[level - 1](h)
            for block in cast(nn.ModuleList, group):
                h = block(h, told.vector, told.maps[level])
            h = h if change is None else change(level, h)
            features.append(h)
        return features


class UNet(FieldNetwork):
    """Predict a field on the grid of its input.

    Parameters
    ----------
    sizes : FieldSizes
        Its steps are those between the levels.
    settings : UNetBackbone
    mask : {"concat", "spade"}
        Whether the label maps stand beside the input, or modulate every block at every level.
    text : Module, optional
        Encoder of captions, with ``settings.features`` features: (N, T) → features (N, 1 + T, F) and which are told.

    Notes
    -----
    ``tell``, ``descend`` and ``ascend`` are the parts of ``forward``, between which side networks come in.

    References
    ----------
    Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28; FiLM: Perez et al. 2018, doi:10.1609/aaai.v32i1.11671; SPADE: Park et al.
    2019, doi:10.1109/CVPR.2019.00244.
    """

    def __init__(
        self, sizes: FieldSizes, settings: UNetBackbone, mask: Literal["concat", "spade"] = "concat", text: nn.Module | None = None
    ) -> None:
        super().__init__()
        dims, widths = sizes.dims, settings.widths
        modulating = sizes.masks if mask == "spade" else 0
        self.dims, self.steps, self.modulated = dims, sizes.steps, bool(modulating)
        self.embed = Embedding(sizes.vector, settings.features)
        self.text = text
        attentive = widths if self.text is not None and sizes.attend else ()
        self.attend = nn.ModuleList(CrossAttention(dims, width, settings.features) for width in attentive)
        self.descent = Descent(sizes, settings, sizes.maps - modulating, modulating)
        self.ascent = nn.ModuleList(
            _blocks(dims, width, depth, settings, modulating) for width, depth in zip(widths[:-1], settings.blocks[:-1], strict=True)
        )
        self.up = nn.ModuleList(Up(dims, b, a, step) for (a, b), step in zip(pairwise(widths), sizes.steps, strict=True))
        self.leave = nn.Sequential(norm(widths[0]), nn.SiLU(), conv(dims, widths[0], sizes.channels, zero=True))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return the field; ``x`` has shape (N, C, [Z,] Y, X), ``time`` (N,)."""
        told = self.tell(time, condition)
        return self.ascend(self.descend(x, condition, told), told)

    def tell(self, time: Tensor, condition: Condition) -> Told:
        vector, words = self.embed(condition.vector, condition.keep, time), None
        if self.text is not None and condition.tokens is not None:
            words = self.text(condition.tokens)
            vector = vector + words[0][:, 0]
        return Told(vector, _pyramid(condition.maps, self.steps) if self.modulated else (None,) * (len(self.steps) + 1), words)

    def beside(self, x: Tensor, condition: Condition) -> Tensor:
        """Return the input of the way down: ``x`` and what is told beside it."""
        told = condition.without("maps").spatial if self.modulated else condition.spatial
        return torch.cat([x, told], dim=1).contiguous(memory_format=memory_format(self.dims))

    def descend(self, x: Tensor, condition: Condition, told: Told, change: Change | None = None) -> list[Tensor]:
        features: list[Tensor] = self.descent(self.beside(x, condition), told, self._heard(told, change))
        return features

    def _heard(self, told: Told, change: Change | None) -> Change | None:
        """Let every level of the way down look at the words of a caption, before a side network changes it."""
        words = told.words
        if words is None or not len(self.attend):
            return change

        def heard(level: int, h: Tensor) -> Tensor:
            h = self.attend[level](h, words)
            return h if change is None else change(level, h)

        return heard

    def ascend(self, features: list[Tensor], told: Told, change: Change | None = None) -> Tensor:
        """Return the field for the features of the way down."""
        h = features[-1]
        for level in reversed(range(len(self.ascent))):
            h = self.up[level](h) + features[level]
            for block in cast(nn.ModuleList, self.ascent[level]):
                h = block(h, told.vector, told.maps[level])
            h = h if change is None else change(level, h)
        out: Tensor = self.leave(h)
        return out.float()


def _blocks(dims: int, width: int, depth: int, settings: UNetBackbone, maps: int) -> nn.ModuleList:
    return nn.ModuleList(Block(dims, width, width, embedding=settings.features, maps=maps, dropout=settings.dropout) for _ in range(depth))


def _pyramid(maps: Tensor, steps: tuple[Step, ...]) -> tuple[Tensor, ...]:
    """Return the maps on the grid of every level, finest first: on coarser grids, shares of each class."""
    levels = [maps.contiguous(memory_format=memory_format(maps.ndim - 2))]
    for step in steps:
        levels.append(block_means(levels[-1], step))
    return tuple(levels)
