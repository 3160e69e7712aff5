"""Times at which a solver looks, from noise to data."""

from typing import assert_never

from sciimg.augmenters.processes.paths import Path
from sciimg.augmenters.samplers.settings import Grid

LOWEST, HIGHEST = 0.002, 80.0  # noise levels (Karras 2022, table 1)
_RHO = 7.0  # the same


def times_of(grid: Grid, path: Path, steps: int, start: float) -> list[float]:
    """Return steps + 1 falling times, the last of which is 0.

    Parameters
    ----------
    grid : {"uniform", "karras", "logsnr"}
        Alike in time; in the seventh root of the noise level sigma / alpha (Karras 2022, arXiv:2206.00364, eq. 5); or in its logarithm
        (Lu 2022, arXiv:2211.01095). The last two begin at level 80, or where the path begins, and look a last time at 0.002.
    path : Path
    steps : int
    start : float
        The largest time.
    """
    match grid:
        case "uniform":
            return time_grid(steps, start)
        case "karras":
            levels = _between(path, start, steps, 1 / _RHO)
        case "logsnr":
            levels = _between(path, start, steps, 0.0)
        case _:
            assert_never(grid)
    return [*(path.time_of(level) for level in levels), 0.0]


def time_grid(steps: int, start: float = 1.0) -> list[float]:
    """Return steps + 1 times from ``start`` to 0, equally spaced."""
    return [start * (1 - i / steps) for i in range(steps + 1)]


def _between(path: Path, start: float, steps: int, power: float) -> list[float]:
    """Return noise levels equally spaced in ``level ** power`` (0: in the logarithm)."""
    high, low = min(HIGHEST, path.level(start)), LOWEST
    shares = [i / max(1, steps - 1) for i in range(steps)]
    if power == 0:
        return [float(high * (low / high) ** share) for share in shares]
    return [float((high**power + share * (low**power - high**power)) ** (1 / power)) for share in shares]
