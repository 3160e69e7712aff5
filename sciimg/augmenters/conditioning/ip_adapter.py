"""IP-Adapter: a base that learned without reference images, and attention by which it follows one."""

from dataclasses import replace
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, conv, memory_format
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.draws import uniform
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes, Stage

_TOKENS, _WIDTH, _HEADS = 8, 64, 4


class IPAdapter(FieldNetwork):
    """Let the features of a frozen UNet attend, at every level on both ways, to tokens of a reference image.

    Parameters
    ----------
    sizes : FieldSizes
    settings : UNetBackbone
        Of the base.

    Notes
    -----
    Ye and others take tokens from a pretrained image encoder and references from the training image itself. Without such an encoder,
    tokens come from statistics of features, mean and spread over all places, that are learned together with the attention; an image can
    then be its own reference in training and yet cannot be copied, because its tokens say what it looks like and not where. That the
    borders do not say it either, the reference is moved: mirrored and shifted round. Without reference the network is the base.

    References
    ----------
    Ye et al. 2023, arXiv:2308.06721, eq. 5; statistics as style: Huang & Belongie 2017, arXiv:1703.06868.
    """

    def __init__(self, sizes: FieldSizes, settings: UNetBackbone) -> None:
        super().__init__()
        dims, widths = sizes.dims, settings.widths
        self.base = UNet(replace(sizes, maps=sizes.masks, image=0), settings)
        self.reference = _ReferenceTokens(sizes, settings)
        self.on_the_way_down = nn.ModuleList(_Attention(dims, width) for width in widths)
        self.on_the_way_up = nn.ModuleList(_Attention(dims, width) for width in widths[:-1])
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def stages(self) -> tuple[Stage, ...]:
        base = Stage("process", (self.base,), told=lambda condition, _: condition.without("image"))
        return base, Stage("adapter", (self.reference, self.on_the_way_down, self.on_the_way_up), told=moved_reference)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        rest = condition.without("image")
        told = self.base.tell(time, rest)
        if condition.image is None:
            return self.base.ascend(self.base.descend(x, rest, told), told)
        tokens = self.reference(condition.image)

        def down(level: int, h: Tensor) -> Tensor:
            return cast(Tensor, self.on_the_way_down[level](h, tokens))

        def up(level: int, h: Tensor) -> Tensor:
            return cast(Tensor, self.on_the_way_up[level](h, tokens))

        return self.base.ascend(self.base.descend(x, rest, told, down), told, up)


def moved_reference(condition: Condition, generator: torch.Generator) -> Condition:
    """Return the condition with every reference image mirrored and shifted round, each by a draw of its own."""
    assert condition.image is not None
    axes = tuple(range(1, condition.image.ndim - 1))
    flips = uniform((len(condition), len(axes)), generator) < 0.5
    shares = uniform((len(condition), len(axes)), generator)
    images = []
    for image, flip, share in zip(condition.image, flips, shares, strict=True):
        shifts = tuple(int(part * size) for part, size in zip(share, image.shape[1:], strict=True))
        images.append(image.roll(shifts, axes).flip([axis for axis, turned in zip(axes, flip, strict=True) if turned]))
    return replace(condition, image=torch.stack(images))


class _ReferenceTokens(nn.Module):
    """Mean and spread of features of every level → tokens (N, T, W)."""

    def __init__(self, sizes: FieldSizes, settings: UNetBackbone) -> None:
        super().__init__()
        dims, widths = sizes.dims, settings.widths
        self.dims = dims
        self.enter = conv(dims, sizes.image, widths[0])
        self.blocks = nn.ModuleList(Block(dims, width, width) for width in widths)
        self.down = nn.ModuleList(Down(dims, a, b, step) for (a, b), step in zip(pairwise(widths), sizes.steps, strict=True))
        self.leave = nn.Sequential(
            nn.Linear(2 * (sizes.image + sum(widths)), _TOKENS * _WIDTH), nn.Unflatten(1, (_TOKENS, _WIDTH)), nn.LayerNorm(_WIDTH)
        )

    def forward(self, image: Tensor) -> Tensor:
        h = self.enter(image.contiguous(memory_format=memory_format(self.dims)))
        found = [_statistics(image)]
        for level, block in enumerate(self.blocks):
            h = block(self.down[level - 1](h) if level else h)
            found.append(_statistics(h))
        tokens: Tensor = self.leave(torch.cat(found, dim=1))
        return tokens


def _statistics(features: Tensor) -> Tensor:
    flat = features.float().flatten(2)
    return torch.cat([flat.mean(2), (flat.var(2, correction=0) + 1e-6).sqrt()], dim=1)


class _Attention(nn.Module):
    """Residual attention of every place to the tokens; starts as the identity."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        # no weights of its own: torch 2.13 crashes on the gradient of those weights where, as in a frozen base, the input needs none
        self.norm = nn.GroupNorm(1, width, affine=False)
        self.query = conv(dims, width, _WIDTH, 1)
        self.key, self.value = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.leave = conv(dims, _WIDTH, width, 1, zero=True)

    def forward(self, h: Tensor, tokens: Tensor) -> Tensor:
        query = self.query(self.norm(h))
        asked, key, value = (_heads(part) for part in (query.flatten(2).mT, self.key(tokens), self.value(tokens)))
        found = F.scaled_dot_product_attention(asked, key, value).transpose(1, 2).flatten(2).mT
        out: Tensor = h + self.leave(found.reshape(query.shape).contiguous(memory_format=memory_format(h.ndim - 2)))
        return out


def _heads(x: Tensor) -> Tensor:
    """(N, L, W) → (N, heads, L, W / heads)."""
    heads: Tensor = x.unflatten(2, (_HEADS, -1)).transpose(1, 2)
    return heads
