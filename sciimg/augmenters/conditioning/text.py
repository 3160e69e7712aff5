"""Captions inside networks: a small transformer over words, and layers that attend to them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import conv, norm


class TransformerBlock(nn.Module):
    """Attention and a two-layer network, each after a normalisation and added back (Vaswani et al. 2017; pre-norm as in GPT-2)."""

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.mix, self.join = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.mlp = nn.Sequential(nn.Linear(features, 4 * features), nn.GELU(), nn.Linear(4 * features, features))

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """Return (N, T, F); ``told`` (N, T) says which places may be looked at."""
        query, key, value = self.mix(self.norm1(x)).chunk(3, dim=2)
        x = x + self.join(attention(query, key, value, self.heads, told))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class TextEncoder(nn.Module):
    """Numbered words → features of each, and of the whole caption.

    A mark that is always there goes first: its features are those of the caption, and an empty or withheld caption still has something to
    attend to.

    Parameters
    ----------
    words : int
        Number of words; 0 is no word.
    features : int
    layers : int
    """

    def __init__(self, words: int, features: int, layers: int = 2) -> None:
        super().__init__()
        self.features = features
        self.words = nn.Embedding(words + 1, features)
        self.mark = nn.Parameter(torch.randn(1, 1, features) * 0.5)
        self.blocks = nn.ModuleList(TransformerBlock(features, heads_of(features)) for _ in range(layers))
        self.norm = nn.LayerNorm(features)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 1 + T, F), the caption's own first, and which of them are told (N, 1 + T); ``tokens`` is (N, T)."""
        told = F.pad(tokens > 0, (1, 0), value=True)
        x = self.words(tokens) + positions(tokens.shape[1], self.features).to(tokens.device)
        x = torch.cat([self.mark.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x, told)
        return self.norm(x), told


class CrossAttention(nn.Module):
    """Every place of an image looks at the words of its caption (Rombach et al. 2022, arXiv:2112.10752, section 3.3); begins as nothing."""

    def __init__(self, dims: int, width: int, features: int) -> None:
        super().__init__()
        self.heads = heads_of(width)
        self.norm, self.query = norm(width), conv(dims, width, width, 1)
        self.told = nn.Linear(features, 2 * width)
        self.leave = conv(dims, width, width, 1, zero=True)

    def forward(self, x: Tensor, words: tuple[Tensor, Tensor]) -> Tensor:
        """Return ``x`` (N, C, [Z,] Y, X) with what the words add."""
        features, told = words
        places = self.query(self.norm(x)).flatten(2).transpose(1, 2)
        key, value = self.told(features).chunk(2, dim=2)
        found = attention(places, key, value, self.heads, told)
        out: Tensor = x + self.leave(found.transpose(1, 2).unflatten(2, x.shape[2:]))
        return out


def attention(query: Tensor, key: Tensor, value: Tensor, heads: int, told: Tensor | None = None) -> Tensor:
    """Return softmax(q k / sqrt(d)) v over several heads; q (N, S, F), k and v (N, T, F), ``told`` (N, T) or None for all."""
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    mask = None if told is None else told[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def heads_of(features: int) -> int:
    """Return how many heads of about 32 features divide ``features``."""
    return max(h for h in range(1, max(1, features // 32) + 1) if features % h == 0)


def positions(count: int, features: int) -> Tensor:
    """Return sines and cosines of places 0 … count - 1, shape (count, features) (Vaswani et al. 2017, arXiv:1706.03762, section 3.5)."""
    half = features // 2
    place, rate = (torch.arange(size, device="cpu") for size in (count, half))
    angle = place[:, None] * torch.exp(-math.log(1e4) * rate / max(1, half))
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=1), (0, features - 2 * half))
