"""Images as sums of scales: an exact orthonormal Haar pyramid, the spread of Laplacian bands, and means over ever larger blocks.

Natural images have far less power in fine detail than in large structure. Networks that see or make every scale at unit variance learn all
of them at once; in plain pixels the fine ones come last. The same code serves 2D and 3D.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth


def haar_pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """Return the details of every level, finest first; the last also holds the remaining means (Haar 1910; orthonormal, so energy is kept).

    Parameters
    ----------
    x : Tensor, shape (N, C, [Z,] Y, X)
        Sizes are multiples of ``2 ** levels``.

    Returns
    -------
    list of Tensor
        Level ``l`` has shape (N, (2^dims - 1) C, size / 2^(l+1)), the last one C more channels, in front.
    """
    channels, out = x.shape[1], []
    for _ in range(levels):
        coefficients = _rotated(space_to_depth(x.float(), 2), channels)
        x = coefficients[:, :channels]
        out.append(coefficients[:, channels:])
    out[-1] = torch.cat([x, out[-1]], dim=1)
    return out


def from_haar_pyramid(pyramid: list[Tensor], channels: int) -> Tensor:
    """Undo :func:`haar_pyramid`."""
    x = pyramid[-1][:, :0]
    for level in reversed(pyramid):
        x = depth_to_space(_rotated(torch.cat([x, level], dim=1), channels), 2)
    return x


def _rotated(folded: Tensor, channels: int) -> Tensor:
    """Apply the orthonormal Hadamard matrix, its own inverse, to the ``2^dims`` members of each block."""
    dims = folded.ndim - 2
    matrix = torch.ones(1, 1)
    for _ in range(dims):
        matrix = torch.kron(matrix, torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2))
    members = folded.unflatten(1, (2**dims, channels))
    with torch.autocast("cpu", enabled=False):
        return torch.einsum("ab,nb...->na...", matrix, members).flatten(1, 2)


def block_means(x: Tensor, factor: int = 2) -> Tensor:
    """Return means over disjoint blocks of ``factor`` samples an axis."""
    if factor == 1:
        return x
    return (F.avg_pool3d if x.ndim == 5 else F.avg_pool2d)(x, factor)


def doubled(x: Tensor) -> Tensor:
    """Return ``x`` on a grid twice as fine, linearly interpolated."""
    return F.interpolate(x, scale_factor=2.0, mode="trilinear" if x.ndim == 5 else "bilinear", align_corners=False)


def coarser_means(x: Tensor) -> list[Tensor]:
    """Return block means over 2, 4, 8 … samples an axis, as far as every axis has two left."""
    out = []
    while min(x.shape[2:]) > 1:
        x = block_means(x)
        out.append(x)
    return out


def band_spreads(x: Tensor, levels: int) -> Tensor:
    """Return the spread of each Laplacian band (Burt & Adelson 1983), finest first, then of what remains; shape (levels + 1, C)."""
    axes, out = (0, *range(2, x.ndim)), []
    for _ in range(levels):
        coarse = block_means(x)
        out.append((x - doubled(coarse)).std(axes))
        x = coarse
    return torch.stack([*out, x.std(axes)])


def spreads(parts: list[Tensor]) -> list[Tensor]:
    """Return the standard deviation of each channel of each part, shape (C,), never zero."""
    return [part.std((0, *range(2, part.ndim))).clamp_min(1e-6) for part in parts]


def divided(parts: list[Tensor], by: list[Tensor]) -> list[Tensor]:
    """Return the parts in units of their spreads."""
    return [part / spread.view(1, -1, *([1] * (part.ndim - 2))) for part, spread in zip(parts, by, strict=True)]
