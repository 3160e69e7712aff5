"""What a network is told of a field that is known in part, and the parts that it learns from."""

import math

import torch
from torch import Tensor

from sciimg.augmenters.draws import uniform

_NOTHING = 1e-12  # weights below are rounding
_FREE = 1 / 3  # share of samples of which nothing is known: the network also draws whole fields


def known(points: Tensor, keep: Tensor) -> Tensor:
    """Return what is known of points (N, C, [Z,] Y, X) where ``keep`` (N, 1, [Z,] Y, X), and how near that is: (N, C + 1, [Z,] Y, X).

    Elsewhere stands what the known points nearby say, so that a network has only to add what differs from it; zero where nothing of a field
    is known. Nearness is 1 where a point is known, 1/2 beside one, and falls with the distance.

    Notes
    -----
    Means of the known points, weighted by the distance in pixels to the power of -(dims + 2) (Shepard 1968, doi:10.1145/800186.810616):
    a point beside a known one hardly differs from it.
    """
    where, power = keep.double(), points.ndim  # N and C count as the two
    weighted = _spread(torch.cat([points * where, where], dim=1), power)
    weight = weighted[:, -1:]
    means = weighted[:, :-1] / torch.where(weight > _NOTHING, weight, math.inf)
    near = torch.where(keep, 1.0, 1 / (1 + weight.clamp_min(_NOTHING) ** (-1 / power)))
    near = torch.where(weight > _NOTHING, near, keep.double())
    return torch.cat([torch.where(keep, points.double(), means), near], dim=1).to(points.dtype)


def _spread(values: Tensor, power: int) -> Tensor:
    """Return sums of all other points, weighted by their distance to minus ``power``; nothing comes round the edge."""
    axes, shape = tuple(range(2, values.ndim)), values.shape[2:]
    wide = [2 * size for size in shape]
    lags = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n, dtype=values.dtype, device=values.device) for n in wide), indexing="ij")
    squared = torch.stack(lags).square().sum(0)
    kernel = torch.where(squared > 0, squared.clamp_min(1) ** (-power / 2), 0.0)
    spectrum = torch.fft.rfftn(values, s=wide, dim=axes) * torch.fft.rfftn(kernel)
    out: Tensor = torch.fft.irfftn(spectrum, s=wide, dim=axes)
    for axis, size in zip(axes, shape, strict=True):
        out = out.narrow(axis, 0, size)
    return out


def random_parts(points: Tensor, generator: torch.Generator) -> Tensor:
    """Return where each sample is known, bool of shape (N, 1, [Z,] Y, X): nowhere, outside of a random box, or inside of one.

    The sides of a box are uniform between an eighth of an axis and all of it, and so is its place (Saharia et al. 2022, arXiv:2111.05826,
    appendix B, for boxes; strokes are left out).
    """
    n, shape = len(points), points.shape[2:]
    drawn = uniform((n, 1 + 2 * len(shape)), generator).to(points.device)
    inside = torch.ones(n, 1, *shape, dtype=torch.bool, device=points.device)
    for axis, size in enumerate(shape):
        side = (1 + (size - 1) * (1 / 8 + 7 / 8 * drawn[:, 1 + 2 * axis])).floor()
        start = ((size - side + 1) * drawn[:, 2 + 2 * axis]).floor()
        place = torch.arange(size, device=points.device)
        within = (place >= start[:, None]) & (place < (start + side)[:, None])
        inside &= within.view(n, 1, *(size if a == axis else 1 for a in range(len(shape))))
    kind = drawn[:, 0].view(n, 1, *([1] * len(shape)))
    return torch.where(kind < (1 + _FREE) / 2, ~inside, inside) & (kind >= _FREE)
