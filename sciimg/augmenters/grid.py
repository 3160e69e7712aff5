"""How grids get coarser: the steps by which each axis is halved, so that voxels come near to cubes.

A volume of 3 x 0.7 x 0.7 mm is first halved in its planes, twice, and only then along z: a network that halves all axes at once would look
ten times farther along z than across, and would throw the few slices away first (as nnU-Net chooses its pooling; Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z).
"""

import math
from collections.abc import Sequence

Step = tuple[int, ...]  # a factor for each spatial axis: 2 where it is halved, 1 where it stays
Factor = int | Step  # an int holds for all axes


def halvings(shape: Sequence[int], spacing: Sequence[float], count: int) -> tuple[Step, ...]:
    """Return ``count`` steps from the finest grid on.

    Parameters
    ----------
    shape : sequence of int
        Spatial sizes, ([Z,] Y, X).
    spacing : sequence of float
        Of the same axes, in any unit.
    count : int

    Notes
    -----
    An axis is halved where that brings its spacing nearer to the finest one on a logarithmic scale (its spacing is below sqrt(2) times the
    finest), and while more than one sample is left. The finest axis that has samples left always is.
    """
    sizes, distances, steps = list(shape), [float(s) for s in spacing], []
    for _ in range(count):
        left = [size > 1 for size in sizes]
        finest = min((d for d, more in zip(distances, left, strict=True) if more), default=min(distances))
        step = tuple(2 if more and d < math.sqrt(2) * finest * (1 + 1e-9) else 1 for d, more in zip(distances, left, strict=True))
        step = step if any(left) else (2,) * len(sizes)
        sizes = [-(-size // factor) for size, factor in zip(sizes, step, strict=True)]
        distances = [d * factor for d, factor in zip(distances, step, strict=True)]
        steps.append(step)
    return tuple(steps)


def product(steps: Sequence[Step], dims: int) -> Step:
    """Return the factor of all steps together."""
    return tuple(math.prod(step[axis] for step in steps) for axis in range(dims))


def per_axis(factor: Factor, dims: int) -> Step:
    """Return a factor for each axis."""
    return (factor,) * dims if isinstance(factor, int) else factor


def coarser(shape: Sequence[int], factor: Factor) -> tuple[int, ...]:
    """Return the sizes of the coarser grid; they must divide."""
    return tuple(size // f for size, f in zip(shape, per_axis(factor, len(shape)), strict=True))


def multiplied(a: Step, b: Step) -> Step:
    """Return the factor of one reduction after another."""
    return tuple(x * y for x, y in zip(a, b, strict=True))
