"""Solvers that carry noise to data along a path; one interface, continuous time, float64 state.

``SAMPLERS[name](predict, path, x, times, normal)`` where ``predict(x, t)`` returns the expected (x_0, epsilon) given x_t, ``times`` falls
from about 1 to 0, and ``normal(shape)`` gives fresh noise (used by ``ancestral`` alone). A predictor with a closed form (Gaussian data)
serves as well as a network, which is how their order of convergence is verified.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import Path

Predict = Callable[[Tensor, float], tuple[Tensor, Tensor]]
Normal = Callable[[Sequence[int]], Tensor]
Solver = Callable[[Predict, Path, Tensor, Sequence[float], Normal], Tensor]


def time_grid(steps: int, start: float = 1.0) -> list[float]:
    """Return steps + 1 times from ``start`` to 0, equally spaced."""
    return [start * (1 - i / steps) for i in range(steps + 1)]


def euler(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
    """First order on the probability-flow ODE."""
    for now, then in pairwise(times):
        x = x + (then - now) * path.velocity(now, *predict(x, now))
    return x


def heun(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
    """Second order: trapezoidal rule with an Euler predictor; the last step (to t = 0) is Euler's (Karras 2022, algorithm 1).

    Two predictions a step, except the last.
    """
    for now, then in pairwise(times):
        slope = path.velocity(now, *predict(x, now))
        ahead = x + (then - now) * slope
        if then > 0:
            slope = 0.5 * (slope + path.velocity(then, *predict(ahead, then)))
            ahead = x + (then - now) * slope
        x = ahead
    return x


def ddim(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
    """Song et al. 2021, arXiv:2010.02502, eq. 12 with eta = 0: keep the predicted noise, move the predicted data."""
    for now, then in pairwise(times):
        data, noise = predict(x, now)
        x = path.alpha(then) * data + path.sigma(then) * noise
    return x


def ancestral(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
    """Ho et al. 2020, arXiv:2006.11239, eq. 7, in continuous time: draw from q(x_s | x_t, x_0) at the predicted x_0."""
    for now, then in pairwise(times):
        data, _ = predict(x, now)
        if then <= 0:
            x = data
            continue
        ratio = path.alpha(now) / path.alpha(then)
        fresh = path.sigma(now) ** 2 - (ratio * path.sigma(then)) ** 2  # variance that the step from s to t adds
        share = fresh / path.sigma(now) ** 2
        mean = (1 - share) / ratio * x if ratio > 0 else torch.zeros_like(x)
        mean = mean + path.alpha(then) * share * data
        x = mean + math.sqrt(share) * path.sigma(then) * normal(x.shape[1:]).to(x.dtype)
    return x


SAMPLERS: MappingProxyType[str, Solver] = MappingProxyType({"euler": euler, "heun": heun, "ddim": ddim, "ancestral": ancestral})
