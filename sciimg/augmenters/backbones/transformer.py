"""A causal transformer over the tokens of an image: one token at a time, or one scale at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciimg.augmenters.backbones.layers import Embedding, conv, space_to_depth
from sciimg.augmenters.backbones.settings import TransformerBackbone
from sciimg.augmenters.backbones.token_network import TokenNetwork, TokenSizes
from sciimg.augmenters.draws import Dropout
from sciimg.augmenters.spaces.tokens import lengths, split_levels
from sciimg.augmenters.system import Condition


@dataclass(slots=True)
class Memory:
    """Keys and values of all positions so far, a pair a layer, (N, heads, positions, width / heads) each; what is told at each token."""

    told: Tensor
    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    filled: int = 0


class TokenTransformer(TokenNetwork):
    """Transformer with a prefix that tells the condition (Vaswani 2017, arXiv:1706.03762; pre-norm).

    Parameters
    ----------
    sizes : TokenSizes
    settings : TransformerBackbone
    at_once : bool
        All tokens of a level together, given coarser levels alone (VAR; Tian 2024, arXiv:2404.02905, section 3.2); else one by one.
    scene : bool
        The mask is a prefix of tokens, the class that holds most of each cell (Gafni 2022, arXiv:2203.13131, with the mask itself for
        its code); else it is added to the inputs at its own places.

    Notes
    -----
    The prefix is one token for scalars and classes, then the caption (Ramesh 2021, arXiv:2102.12092), then the scene. The input of a
    token is its place, what is told there (the scene's cell as well, which a short training would not find by attention alone), the
    previous level interpolated to there and, one by one, the code before it and the codes one step back along the other axes.
    """

    after: Tensor

    def __init__(self, sizes: TokenSizes, settings: TransformerBackbone, *, at_once: bool, scene: bool) -> None:
        super().__init__()
        dims, width, levels = sizes.dims, settings.width, len(sizes.grids)
        self.sizes, self.at_once, self.scene = sizes, at_once, scene and sizes.maps > 0
        counts = lengths(sizes.grids)
        self.parts = tuple(counts) if at_once else (1,) * sum(counts)
        self.codes = nn.Embedding(levels * sizes.vocabulary, width)
        self.places = nn.Parameter(0.1 * torch.randn(sum(counts), width))
        self.start = nn.Parameter(torch.zeros(width))
        # one for each axis but the last, along which the neighbour is the code before
        self.near = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(0 if at_once else dims - 1))
        self.vector = nn.Sequential(Embedding(sizes.vector, width, timed=False), nn.Linear(width, width))
        self.maps = conv(dims, sizes.maps * 2**dims, width) if sizes.maps and not scene else None
        self.words = nn.Embedding(sizes.words + 1, width) if sizes.words else None
        self.word_places = nn.Parameter(0.1 * torch.randn(sizes.caption, width))
        self.word_head = nn.Linear(width, sizes.words + 1) if sizes.words else None
        self.scenes = nn.Embedding(sizes.maps + 1, width) if self.scene else None
        self.layers = nn.ModuleList(_Layer(width, settings.heads, settings.dropout) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, sizes.vocabulary) for _ in range(levels))
        for embedding in (self.codes, self.words, self.scenes):
            if embedding is not None:
                nn.init.normal_(embedding.weight, 0.0, 0.3)
        for head in self.heads:
            nn.init.zeros_(cast(nn.Linear, head).weight)
        scene_length = counts[-1] if self.scene else 0
        number = [0, *range(1, 1 + sizes.caption), *[1 + sizes.caption] * scene_length]
        self.prefix_length = len(number)
        for part in self.parts:
            number += [number[-1] + 1] * part
        order = torch.tensor(number, device="cpu")
        self.register_buffer("after", order[:, None] >= order[None, :], persistent=False)  # may row see column?

    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        inputs = self._told(condition) + self._carried(codes)
        x = torch.cat([self._prefix(condition), inputs], dim=1)
        for layer in self.layers:
            x = cast(_Layer, layer)(x, self.after)
        return self._logits(x[:, self.prefix_length :], 0)

    def caption_loss(self, condition: Condition) -> Tensor | None:
        if self.words is None or self.word_head is None or condition.tokens is None:
            return None
        x, length = self._prefix(condition), self.sizes.caption
        x = x[:, :length]  # from the token before each word
        for layer in self.layers:
            x = cast(_Layer, layer)(x, self.after[:length, :length])
        logits = self.word_head(self.norm(x)).float()
        return functional.cross_entropy(logits.flatten(0, 1), condition.tokens.flatten())

    def begin(self, condition: Condition) -> Memory:
        x, memory = self._prefix(condition), Memory(self._told(condition))
        mask = self.after[: self.prefix_length, : self.prefix_length]
        for layer in self.layers:
            x, pair = cast(_Layer, layer).opened(x, mask, len(self.after))
            memory.layers.append(pair)
        memory.filled = self.prefix_length
        return memory

    def following(self, state: Memory, drawn: Tensor) -> Tensor:
        start = drawn.shape[1]
        count = self._count(start)
        x = state.told[:, start : start + count] + self._carried_to(drawn, start, count)
        for layer, pair in zip(self.layers, state.layers, strict=True):
            x = cast(_Layer, layer).continued(x, pair, state.filled)
        state.filled += count
        return self._logits(x, start)

    # ------------------------------------------------------------ inputs

    def _prefix(self, condition: Condition) -> Tensor:
        embed, project = self.vector
        parts = [project(embed(condition.vector, condition.keep))[:, None]]
        if self.words is not None:
            assert condition.tokens is not None
            parts.append(self.words(condition.tokens) + self.word_places)
        if self.scenes is not None:
            told = self._scene(condition)
            parts.append(told + self.places[-told.shape[1] :])
        return torch.cat(parts, dim=1)

    def _scene(self, condition: Condition) -> Tensor:
        """Return the class that holds most of each cell of the finest grid, embedded: (N, tokens, width)."""
        assert self.scenes is not None
        cells = _pooled(condition.spatial, self.sizes.grids[-1]).flatten(2)
        out: Tensor = self.scenes(torch.where(cells.amax(1) > 0, cells.argmax(1), self.sizes.maps))  # the last number: nothing is told
        return out

    def _told(self, condition: Condition) -> Tensor:
        """Return place and maps, or the scene, at every token, (N, L, width)."""
        places = self.places.expand(len(condition), -1, -1)
        if self.scenes is not None:
            own = self._scene(condition)
            return places + functional.pad(own, (0, 0, places.shape[1] - own.shape[1], 0))
        if self.maps is None:
            return places
        fields = []
        for grid in self.sizes.grids:
            fine = _pooled(condition.spatial, [2 * size for size in grid])
            fields.append(self.maps(space_to_depth(fine, 2)).flatten(2).transpose(1, 2))
        return places + torch.cat(fields, dim=1)

    def _carried(self, codes: Tensor) -> Tensor:
        """Return what earlier tokens put into the input of each token, (N, L, width)."""
        levels = split_levels(codes, self.sizes.grids)
        coarse = torch.cat([self._coarse(levels[level - 1] if level else None, level, len(codes)) for level in range(len(levels))], dim=1)
        if self.at_once:
            return coarse
        fields = [self._embedded(own, level) for level, own in enumerate(levels)]
        before = functional.pad(torch.cat([own.flatten(1, -2) for own in fields], dim=1), (0, 0, 1, -1))
        return coarse + before + torch.cat([self._neighbours(own).flatten(1, -2) for own in fields], dim=1)

    def _carried_to(self, drawn: Tensor, start: int, count: int) -> Tensor:
        """Return the same for the tokens from ``start`` on, from those before it alone."""
        level, first = self._level(start)
        grids = self.sizes.grids
        before = None
        if level:
            length = lengths(grids)[level - 1]
            before = drawn[:, first - length : first].reshape(len(drawn), *grids[level - 1])
        carried = self._coarse(before, level, len(drawn))[:, start - first : start - first + count]
        if self.at_once or not start:
            return carried
        carried = carried + self._embedded(drawn[:, -1:], self._level(start - 1)[0])
        for axis, project in enumerate(self.near):
            stride = lengths([grids[level][axis + 1 :]])[0]
            if (start - first) // stride % grids[level][axis]:
                carried = carried + project(self._embedded(drawn[:, start - stride : start - stride + 1], level))
        return carried

    def _neighbours(self, embedded: Tensor) -> Tensor:
        """Return what the codes one step back along each axis but the last say, on the grid; nothing at its border."""
        out = torch.zeros_like(embedded)
        for axis, project in enumerate(self.near, start=1):
            length = embedded.shape[axis] - 1
            border = torch.zeros_like(embedded.narrow(axis, 0, 1))
            out = out + project(torch.cat([border, embedded.narrow(axis, 0, length)], dim=axis))
        return out

    def _coarse(self, numbers: Tensor | None, level: int, n: int) -> Tensor:
        """Return the level before, interpolated to this one: (N, tokens, width)."""
        grid = self.sizes.grids[level]
        if numbers is None:
            return self.start.expand(n, lengths([grid])[0], -1)
        field = self._embedded(numbers, level - 1).movedim(-1, 1)
        fine = functional.interpolate(field, grid, mode="bilinear" if len(grid) == 2 else "trilinear")
        return fine.flatten(2).transpose(1, 2)

    def _embedded(self, numbers: Tensor, level: int) -> Tensor:
        out: Tensor = self.codes(numbers + level * self.sizes.vocabulary)
        return out

    # ------------------------------------------------------------ outputs

    def _logits(self, x: Tensor, start: int) -> Tensor:
        out, at = [], start
        while at < start + x.shape[1]:
            level, first = self._level(at)
            end = min(first + lengths(self.sizes.grids)[level], start + x.shape[1])
            out.append(self.heads[level](self.norm(x[:, at - start : end - start])))
            at = end
        return torch.cat(out, dim=1).float()

    def _level(self, token: int) -> tuple[int, int]:
        """Return the level of a token and the first token of that level."""
        first = 0
        for level, length in enumerate(lengths(self.sizes.grids)):
            if token < first + length:
                return level, first
            first += length
        raise IndexError(token)

    def _count(self, start: int) -> int:
        return lengths(self.sizes.grids)[self._level(start)[0]] if self.at_once else 1


class _Layer(nn.Module):
    """Attention, then a perceptron, each added to its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), Dropout(dropout))
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(cast(nn.Linear, self.mlp[2]).weight)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self._split(x)
        return self._added(x, functional.scaled_dot_product_attention(query, key, value, attn_mask=mask))

    def opened(self, x: Tensor, mask: Tensor, positions: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Do the same and keep keys and values, with room for all positions."""
        query, key, value = self._split(x)
        kept = tuple(functional.pad(part, (0, 0, 0, positions - x.shape[1])) for part in (key, value))
        return self._added(x, functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)), (kept[0], kept[1])

    def continued(self, x: Tensor, pair: tuple[Tensor, Tensor], filled: int) -> Tensor:
        """Let new positions see all earlier ones and each other."""
        query, key, value = self._split(x)
        end = filled + x.shape[1]
        for kept, new in zip(pair, (key, value), strict=True):
            kept[:, :, filled:end] = new
        return self._added(x, functional.scaled_dot_product_attention(query, pair[0][:, :, :end], pair[1][:, :, :end]))

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.enter(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value

    def _added(self, x: Tensor, seen: Tensor) -> Tensor:
        x = x + self.leave(seen.transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def _pooled(maps: Tensor, grid: Sequence[int]) -> Tensor:
    pool = functional.adaptive_avg_pool2d if len(grid) == 2 else functional.adaptive_avg_pool3d
    return pool(maps, tuple(grid))  # type: ignore[arg-type]
