"""A small residual UNet for 2D and 3D, shaped for speed on CPU matrix units and just as usable on a GPU."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, Embedding, Up, conv, memory_format, norm
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.conditioning.text import CrossAttention
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes


class UNet(FieldNetwork):
    """Predict a field on the grid of its input.

    Parameters
    ----------
    sizes : FieldSizes
        Its steps are those between the levels.
    settings : UNetBackbone
    text : Module, optional
        Encoder of captions, with ``settings.features`` features: (N, T) → features (N, 1 + T, F) and which are told.

    References
    ----------
    Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28; FiLM: Perez et al. 2018, doi:10.1609/aaai.v32i1.11671.
    """

    def __init__(self, sizes: FieldSizes, settings: UNetBackbone, text: nn.Module | None = None) -> None:
        super().__init__()
        dims, channels, maps, vector = sizes.dims, sizes.channels, sizes.maps, sizes.vector
        widths, depths, features = settings.widths, settings.blocks, settings.features
        self.dims = dims
        self.embed = Embedding(vector, features)
        self.text = text
        attentive = widths if self.text is not None and sizes.attend else ()
        self.attend = nn.ModuleList(CrossAttention(dims, width, features) for width in attentive)
        self.enter = conv(dims, channels + maps, widths[0])

        def blocks(width: int, depth: int) -> nn.ModuleList:
            return nn.ModuleList(Block(dims, width, width, embedding=features, dropout=settings.dropout) for _ in range(depth))

        self.descent = nn.ModuleList(blocks(width, depth) for width, depth in zip(widths, depths, strict=True))
        self.down = nn.ModuleList(Down(dims, a, b, step) for (a, b), step in zip(pairwise(widths), sizes.steps, strict=True))
        self.ascent = nn.ModuleList(blocks(width, depth) for width, depth in zip(widths[:-1], depths[:-1], strict=True))
        self.up = nn.ModuleList(Up(dims, b, a, step) for (a, b), step in zip(pairwise(widths), sizes.steps, strict=True))
        self.leave = nn.Sequential(norm(widths[0]), nn.SiLU(), conv(dims, widths[0], channels, zero=True))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return the field; ``x`` has shape (N, C, [Z,] Y, X), ``time`` (N,)."""
        told = self.embed(condition.vector, condition.keep, time)
        words = None
        if self.text is not None and condition.tokens is not None:
            words = self.text(condition.tokens)
            told = told + words[0][:, 0]
        h = self.enter(torch.cat([x, condition.spatial], dim=1).contiguous(memory_format=memory_format(self.dims)))
        skips = []
        for level, group in enumerate(self.descent):
            if level:
                skips.append(h)
                h = self.down[level - 1](h)
            for block in cast(nn.ModuleList, group):
                h = block(h, told)
            if words is not None and len(self.attend):
                h = self.attend[level](h, words)
        for level in reversed(range(len(self.ascent))):
            h = self.up[level](h) + skips.pop()
            for block in cast(nn.ModuleList, self.ascent[level]):
                h = block(h, told)
        out: Tensor = self.leave(h)
        return out.float()
