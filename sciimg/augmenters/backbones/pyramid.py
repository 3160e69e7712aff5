"""Images as sums of scales: an exact orthonormal Haar pyramid, the spread of Laplacian bands, and means over ever larger blocks.

Natural images have far less power in fine detail than in large structure. Networks that see or make every scale at unit variance learn all
of them at once; in plain pixels the fine ones come last. The same code serves 2D and 3D.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth
from sciimg.augmenters.grid import Factor, Step, coarser, per_axis


def haar_pyramid(x: Tensor, steps: Sequence[Step]) -> list[Tensor]:
    """Return the details of every level, finest first; the last also holds the remaining means (Haar 1910; orthonormal, so energy is kept).

    Parameters
    ----------
    x : Tensor, shape (N, C, [Z,] Y, X)
        Sizes are multiples of the product of the steps.
    steps : sequence of Step
        How each level halves the grid, finest first.

    Returns
    -------
    list of Tensor
        Level ``l`` has shape (N, (prod(step) - 1) C, size / product of steps so far), the last one C more channels, in front.
    """
    channels, out = x.shape[1], []
    for step in steps:
        coefficients = _rotated(space_to_depth(x.float(), step), channels)
        x = coefficients[:, :channels]
        out.append(coefficients[:, channels:])
    out[-1] = torch.cat([x, out[-1]], dim=1)
    return out


def from_haar_pyramid(pyramid: list[Tensor], channels: int, steps: Sequence[Step]) -> Tensor:
    """Undo :func:`haar_pyramid`."""
    x = pyramid[-1][:, :0]
    for level, step in zip(reversed(pyramid), reversed(steps), strict=True):
        x = depth_to_space(_rotated(torch.cat([x, level], dim=1), channels), step)
    return x


def _rotated(folded: Tensor, channels: int) -> Tensor:
    """Apply the orthonormal Hadamard matrix, its own inverse, to the members of each block: 2 an axis that was halved."""
    count = folded.shape[1] // channels
    matrix = torch.ones(1, 1, device=folded.device)
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], device=folded.device) / math.sqrt(2)
    for _ in range(count.bit_length() - 1):
        matrix = torch.kron(matrix, pair)
    members = folded.unflatten(1, (count, channels))
    with torch.autocast(folded.device.type, enabled=False):
        return torch.einsum("ab,nb...->na...", matrix, members).flatten(1, 2)


def block_means(x: Tensor, factor: Factor = 2) -> Tensor:
    """Return means over disjoint blocks of ``factor`` samples an axis."""
    factors = per_axis(factor, x.ndim - 2)
    if math.prod(factors) == 1:
        return x
    if x.shape[1] == 0:  # no channels, where nothing is told at places; pooling refuses it
        return x.new_zeros((*x.shape[:2], *coarser(x.shape[2:], factors)))
    return (F.avg_pool3d if x.ndim == 5 else F.avg_pool2d)(x, factors)


def repeated(x: Tensor, factor: Factor = 2) -> Tensor:
    """Return ``x`` on a finer grid, constant over blocks: the pseudo-inverse of :func:`block_means`."""
    for axis, f in enumerate(per_axis(factor, x.ndim - 2), start=2):
        x = x.repeat_interleave(f, axis)
    return x


def doubled(x: Tensor, factor: Factor = 2) -> Tensor:
    """Return ``x`` on a finer grid, linearly interpolated."""
    scale = [float(f) for f in per_axis(factor, x.ndim - 2)]
    return F.interpolate(x, scale_factor=scale, mode="trilinear" if x.ndim == 5 else "bilinear", align_corners=False)


def coarser_means(x: Tensor) -> list[Tensor]:
    """Return block means over 2, 4, 8 … samples an axis, as far as every axis has two left."""
    out = []
    while min(x.shape[2:]) > 1:
        x = block_means(x)
        out.append(x)
    return out


def band_spreads(x: Tensor, steps: Sequence[Step]) -> Tensor:
    """Return the spread of each Laplacian band (Burt & Adelson 1983), finest first, then of what remains; shape (steps + 1, C)."""
    axes, out = (0, *range(2, x.ndim)), []
    for step in steps:
        coarse = block_means(x, step)
        out.append((x - doubled(coarse, step)).std(axes))
        x = coarse
    return torch.stack([*out, x.std(axes)])


def spreads(parts: list[Tensor]) -> list[Tensor]:
    """Return the standard deviation of each channel of each part, shape (C,), never zero."""
    return [part.std((0, *range(2, part.ndim))).clamp_min(1e-6) for part in parts]


def divided(parts: list[Tensor], by: list[Tensor]) -> list[Tensor]:
    """Return the parts in units of their spreads."""
    return [part / spread.view(1, -1, *([1] * (part.ndim - 2))) for part, spread in zip(parts, by, strict=True)]
