"""A diffusion transformer for 2D and 3D: patches as tokens, attention between all of them, time and vector as modulation."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Embedding, conv, depth_to_space, memory_format, norm, space_to_depth
from sciimg.augmenters.backbones.settings import DiTBackbone
from sciimg.augmenters.grid import product
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes


class DiT(FieldNetwork):
    """Predict a field on the grid of its input.

    A residual block before the patches are cut and one after they are joined let neighbours agree at the edges of patches and carry what
    is finer than a patch, which some hundred steps do not teach to attention alone.

    Parameters
    ----------
    sizes : FieldSizes
        The product of its steps is the patch, an entry an axis.
    settings : DiTBackbone

    References
    ----------
    Peebles & Xie 2023, arXiv:2212.09748 (adaLN-zero, section 3.2); SiT: Ma et al. 2024, arXiv:2401.08740. Long skips from the first half
    of the blocks to the last, and the convolution after them: Bao et al. 2023, arXiv:2209.12152 (sections 3.1 and 3.2). Convolutions
    before them: Xiao et al. 2021, arXiv:2106.14881.
    """

    def __init__(self, sizes: FieldSizes, settings: DiTBackbone) -> None:
        super().__init__()
        width, features, stem = settings.width, settings.features, settings.stem
        self.dims, self.width = sizes.dims, width
        self.patch = product(sizes.steps, sizes.dims)
        fold = math.prod(self.patch)
        self.embed = Embedding(sizes.vector, features)
        self.stem = conv(sizes.dims, sizes.channels + sizes.maps, stem)
        self.enter = nn.Linear(stem * fold, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, settings.heads, features) for _ in range(settings.depth))
        self.skips = nn.ModuleList(_zero(nn.Linear(width, width)) for _ in range(settings.depth // 2))
        self.modulate = _zero(nn.Linear(features, 2 * width))
        self.leave = nn.Linear(width, stem * fold)
        self.before, self.after = (Block(sizes.dims, stem, stem, embedding=features) for _ in range(2))
        self.join = nn.Sequential(norm(stem), nn.SiLU(), conv(sizes.dims, stem, sizes.channels, zero=True))
        self.to(memory_format=memory_format(sizes.dims))  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return the field; ``x`` has shape (N, C, [Z,] Y, X), ``time`` (N,)."""
        told = self.embed(condition.vector, condition.keep, time)
        fine = self.stem(torch.cat([x, condition.spatial], dim=1).contiguous(memory_format=memory_format(self.dims)))
        fine = self.before(fine, told)
        patches = space_to_depth(fine, self.patch).movedim(1, -1)
        grid = patches.shape[1:-1]
        h = self.enter(patches.flatten(1, -2)) + positions(grid, self.width, x.device)
        depth = len(self.blocks)
        kept: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            if number >= depth - len(self.skips):
                h = h + self.skips[number - depth](kept.pop())
            h = block(h, told)
            if number < len(self.skips):
                kept.append(h)
        shift, scale = self.modulate(told)[:, None].chunk(2, dim=-1)
        coarse = self.leave(_normal(h) * (1 + scale) + shift)
        joined = fine + depth_to_space(coarse.unflatten(1, grid).movedim(-1, 1), self.patch)
        out: Tensor = self.join(self.after(joined, told))
        return out.float()


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each scaled, shifted and gated by a vector; the gates start at zero, so that it starts as the identity.

    Peebles & Xie 2023, arXiv:2212.09748, figure 3 (adaLN-zero). Queries and keys are normalised (Dehghani et al. 2023, arXiv:2302.05442):
    bf16 logits stay small.
    """

    def __init__(self, width: int, heads: int, features: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulate = _zero(nn.Linear(features, 6 * width))
        self.attend = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Return tokens (N, T, width) for tokens of the same shape and a vector (N, features)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(told)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self._attention(_normal(x) * (1 + scale1) + shift1)
        out: Tensor = x + gate2 * self.perceptron(_normal(x) * (1 + scale2) + shift2)
        return out

    def _attention(self, x: Tensor) -> Tensor:
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.attend(x).chunk(3, dim=-1))
        # on the CPU the fused kernel's backward pass is twice as fast in float32 as in bf16, and its forward pass as fast
        kind = torch.float32 if x.device.type == "cpu" else value.dtype
        with torch.autocast(x.device.type, enabled=False):
            mixed = F.scaled_dot_product_attention(_normal(query).to(kind), _normal(key).to(kind), value.to(kind)).to(value.dtype)
        out: Tensor = self.join(mixed.transpose(1, 2).flatten(2))
        return out


def positions(grid: tuple[int, ...], width: int, device: torch.device) -> Tensor:
    """Return cosines and sines of the place of each token along every axis, shape (tokens, width) (Vaswani et al. 2017, section 3.5).

    The channels are shared out among the axes; where they do not divide, the last few stay zero.
    """
    count = width // (2 * len(grid))
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(count, device=device) / count)
    axes = []
    for axis, size in enumerate(grid):
        angle = torch.arange(size, device=device)[:, None] * frequencies
        table = torch.cat([angle.cos(), angle.sin()], dim=1)
        axes.append(table.view(*(size if a == axis else 1 for a in range(len(grid))), -1).expand(*grid, -1))
    out = torch.cat(axes, dim=-1).flatten(0, -2)
    return F.pad(out, (0, width - out.shape[1]))


def _normal(x: Tensor) -> Tensor:
    """Layer normalisation without gain or bias."""
    return F.layer_norm(x, x.shape[-1:])


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
