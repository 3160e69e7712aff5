"""What a network is told of a field that is known in part, and the parts that it learns from."""

import torch
from torch import Tensor
from torch.nn import functional

from sciimg.augmenters.draws import uniform

_FREE = 1 / 3  # share of samples of which nothing is known: the network also draws whole fields


def known(points: Tensor, keep: Tensor) -> Tensor:
    """Return what is known of points (N, C, [Z,] Y, X) where ``keep`` (N, 1, [Z,] Y, X) is true, and where: (N, C + 1, [Z,] Y, X).

    Elsewhere stands what the known points nearby are like on the whole, so that a network has only to add what differs from it; zero where
    nothing of a field is known.
    """
    where = keep.to(points.dtype)
    return torch.cat([_continued(points * where, where), where], dim=1)


def _continued(points: Tensor, where: Tensor) -> Tensor:
    """Fill in from means over ever larger blocks (pull-push; Gortler et al. 1996, doi:10.1145/237170.237200, section 3.4)."""
    shape = points.shape[2:]
    if bool(where.all()) or max(shape) == 1:
        return points
    pool = functional.avg_pool3d if len(shape) == 3 else functional.avg_pool2d
    block = tuple(min(2, size) for size in shape)
    share = pool(where, block, ceil_mode=True, count_include_pad=False)
    means = pool(points, block, ceil_mode=True, count_include_pad=False) / torch.where(share > 0, share, 1.0)
    coarse = _continued(means, (share > 0).to(points.dtype))
    fine = functional.interpolate(coarse, size=shape, mode="trilinear" if len(shape) == 3 else "bilinear")
    return torch.where(where > 0, points, fine)


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
