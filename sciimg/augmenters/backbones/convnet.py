"""The discriminator: a small residual convolutional network without normalisation, 2D and 3D."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Down, Embedding, conv, memory_format
from sciimg.augmenters.settings import ConvNetBackbone
from sciimg.augmenters.system import Condition


class Discriminator(nn.Module):
    """Say how real points look under a condition, at every place of a coarse grid.

    Parameters
    ----------
    dims : int
        2 or 3.
    channels, maps, vector : int
        Channels of a point, of the condition's maps (on the same grid) and length of the condition's vector.
    settings : ConvNetBackbone

    References
    ----------
    Patches: Isola et al. 2017, arXiv:1611.07004. Projection of the vector: Miyato & Koyama 2018, arXiv:1802.05637.
    """

    def __init__(self, dims: int, channels: int, maps: int, vector: int, settings: ConvNetBackbone) -> None:
        super().__init__()
        widths = settings.widths
        self.dims = dims
        self.enter = conv(dims, channels + maps, widths[0])
        self.levels = nn.ModuleList(
            nn.Sequential(*(_Residual(dims, width) for _ in range(depth))) for width, depth in zip(widths, settings.blocks, strict=True)
        )
        self.down = nn.ModuleList(Down(dims, a, b) for a, b in pairwise(widths))
        self.leave = conv(dims, widths[-1], 1, 1)
        self.project = Embedding(vector, widths[-1], timed=False)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, points: Tensor, condition: Condition) -> Tensor:
        """Return logits (N, 1, [z,] y, x) for points (N, C, [Z,] Y, X)."""
        h = self.enter(torch.cat([points, condition.maps], dim=1).contiguous(memory_format=memory_format(self.dims)))
        for number, level in enumerate(self.levels):
            if number:
                h = self.down[number - 1](h)
            h = level(h)
        told = self.project(condition.vector, condition.keep).view(len(h), -1, *([1] * self.dims))
        logits: Tensor = self.leave(h) + (h * told).mean(1, keepdim=True)
        return logits.float()


class _Residual(nn.Module):
    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LeakyReLU(0.2), conv(dims, width, width), nn.LeakyReLU(0.2), conv(dims, width, width, gain=0.3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out
