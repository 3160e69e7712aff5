"""A vision transformer for 2D and 3D: patches as words (Dosovitskiy et al. 2021, arXiv:2010.11929)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth
from sciimg.augmenters.backbones.settings import ViTBackbone
from sciimg.augmenters.conditioning.text import TransformerBlock, heads_of, positions
from sciimg.augmenters.grid import coarser, product
from sciimg.augmenters.system import FieldSizes


class ViT(nn.Module):
    """Patches → features of each.

    Parameters
    ----------
    sizes : FieldSizes
        A patch is what its steps make one point of.
    settings : ViTBackbone
    """

    places: Tensor

    def __init__(self, sizes: FieldSizes, settings: ViTBackbone) -> None:
        super().__init__()
        self.patch = product(sizes.steps, sizes.dims)
        self.grid = coarser(sizes.grid, self.patch)
        self.inside, self.width = sizes.channels * math.prod(self.patch), settings.width
        self.enter = nn.Linear(self.inside, settings.width)
        self.blocks = nn.ModuleList(TransformerBlock(settings.width, heads_of(settings.width)) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(settings.width)
        self.register_buffer("places", positions_on(self.grid, settings.width), persistent=False)

    @property
    def count(self) -> int:
        return math.prod(self.grid)

    def patches(self, images: Tensor) -> Tensor:
        """Return the samples of each patch, (N, T, P), for images (N, C, [Z,] Y, X)."""
        return space_to_depth(images, self.patch).flatten(2).transpose(1, 2)

    def images(self, patches: Tensor) -> Tensor:
        """Undo :meth:`patches`."""
        return depth_to_space(patches.transpose(1, 2).unflatten(2, self.grid), self.patch)

    def forward(self, patches: Tensor, seen: Tensor | None = None) -> Tensor:
        """Return features (N, T, width); of the patches numbered ``seen`` (N, K) alone where that is given."""
        x = self.enter(patches) + self.places
        if seen is not None:
            x = x.gather(1, seen[:, :, None].expand(-1, -1, x.shape[2]))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out


def positions_on(grid: tuple[int, ...], features: int) -> Tensor:
    """Return sines and cosines of the places of a grid, an equal share of the features an axis; shape (prod(grid), features)."""
    share = features // len(grid)
    axes = torch.meshgrid(*(torch.arange(size, device="cpu") for size in grid), indexing="ij")
    parts = [positions(size, share)[axis.flatten()] for size, axis in zip(grid, axes, strict=True)]
    return F.pad(torch.cat(parts, dim=1), (0, features - share * len(grid)))
