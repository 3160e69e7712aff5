"""Augmentation that does not leak: what the discriminator sees is shifted, recoloured and cut, real and made alike and with the condition.

The generator is never asked to make shifted, recoloured or cut points, because the same transformation is applied to both sides of the
comparison (Zhao et al. 2020, DiffAugment, arXiv:2006.10738). Turns and mirror images are applied to the images themselves, before they are
encoded.
"""

from dataclasses import replace

import torch
from torch import Tensor

from sciimg.augmenters.draws import normal, uniform
from sciimg.augmenters.system import Condition

_OFFSET, _GAIN = 1.5, 1.0  # standard deviations of brightness, and of the logarithm of contrast, at colour = 1


def augment(
    points: tuple[Tensor, ...], condition: Condition, generator: torch.Generator, shift: float, *, colour: float = 0.0, cut: float = 0.5
) -> tuple[tuple[Tensor, ...], Condition]:
    """Shift every sample by its own vector (wrapping round), change brightness and contrast of its channels, and blank one box of it.

    Parameters
    ----------
    points : tuple of Tensor, each of shape (N, C, [Z,] Y, X)
        Sample ``i`` of every tensor gets the same transformation; gradients pass through.
    condition : Condition
        Maps are on the same grid, and are shifted and cut alike.
    generator : torch.Generator
    shift : float
        Largest shift, as a share of each axis.
    colour : float
        Strength of the changes of brightness and contrast; normal and log-normal, so that they can be undone in distribution.
    cut : float
        Share of samples that lose a box of half the size of each axis.
    """
    n, grid = len(condition), points[0].shape[2:]
    device = generator.device
    most = torch.tensor([max(0, int(shift * size)) for size in grid], device=device)
    shifts = (uniform((n, len(grid)), generator) * (2 * most + 1)).long() - most
    recolour = normal((2, n, points[0].shape[1], *([1] * len(grid))), generator, along=1) * colour
    gain, offset = (_GAIN * recolour[0]).exp(), _OFFSET * recolour[1]
    keep = _boxes(n, grid, cut, generator)
    moved = tuple((_rolled(x, shifts) * gain + offset) * keep for x in points)
    maps = _rolled(condition.maps, shifts) * keep if condition.maps.shape[1] else condition.maps
    return moved, replace(condition, maps=maps)


def _rolled(x: Tensor, shifts: Tensor) -> Tensor:
    axes = tuple(range(1, x.ndim - 1))
    return torch.stack([torch.roll(sample, tuple(by.tolist()), axes) for sample, by in zip(x, shifts, strict=True)])


def _boxes(n: int, grid: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    """Return 0 inside a box of half the size of each axis, 1 elsewhere; ``share`` of the samples have a box."""
    device = generator.device
    keep = torch.ones(n, 1, *grid, device=device)
    first = (uniform((n, len(grid)), generator) * torch.tensor(grid, device=device)).long()
    present = uniform((n,), generator) < share
    for i in range(n):
        if present[i]:
            box = tuple(slice(int(a), int(a) + size // 2) for a, size in zip(first[i], grid, strict=True))
            keep[i, 0][box] = 0.0
    return keep
