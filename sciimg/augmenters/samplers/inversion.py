"""The way back along a path, from data to noise, and the spheres on which noises lie; the same ``predict`` as the solvers."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import Path
from sciimg.augmenters.samplers.solvers import Predict


def invert(predict: Predict, path: Path, x: Tensor, times: Sequence[float]) -> Tensor:
    """Carry data to the noise from which the probability-flow ODE makes them (Song et al. 2021, arXiv:2010.02502, section 4.3).

    Heun's method with rising time, second order. ``times`` falls, as for the solvers.
    """
    for now, then in pairwise(reversed(times)):
        slope = path.velocity(now, *predict(x, now))
        ahead = x + (then - now) * slope
        x = x + 0.5 * (then - now) * (slope + path.velocity(then, *predict(ahead, then)))
    return x


def slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Interpolate on a great circle (Shoemake 1985, doi:10.1145/325165.325242): between two noises, every point is as long as a noise.

    Parameters
    ----------
    first, second : Tensor, shape (N, ...)
    share : Tensor, shape (N,)
        0 gives the first, 1 the second.
    """
    column = share.to(first.dtype).view(-1, *([1] * (first.ndim - 1)))
    axes = tuple(range(1, first.ndim))
    lengths = (first.square().sum(axes, keepdim=True) * second.square().sum(axes, keepdim=True)).sqrt().clamp_min(1e-12)
    angle = ((first * second).sum(axes, keepdim=True) / lengths).clamp(-1, 1).acos()
    flat = angle.sin() < 1e-6  # one direction: a straight line
    safe = torch.where(flat, torch.ones_like(angle), angle)
    a, b = ((1 - column) * safe).sin() / safe.sin(), (column * safe).sin() / safe.sin()
    return torch.where(flat, (1 - column) * first + column * second, a * first + b * second)


def remixed(noise: Tensor, fresh: Tensor, share: float) -> Tensor:
    """Redraw a share of a noise's variance."""
    return float((1 - share) ** 0.5) * noise + float(share**0.5) * fresh
