"""Paths from data (t = 0) to noise (t = 1): x_t = alpha(t) x_0 + sigma(t) epsilon, in continuous time and float64.

One description serves rectified flow and variance-preserving diffusion; the network's output is turned into (x_0, epsilon) and every
sampler works with that pair.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor

Target = Literal["velocity", "epsilon"]


class Path(ABC):
    """A pair of smooth functions with alpha(0) = 1, sigma(0) = 0, alpha(1) = 0, sigma(1) = 1."""

    start: float = 1.0  # where sampling begins

    @abstractmethod
    def alpha(self, t: float) -> float: ...

    @abstractmethod
    def sigma(self, t: float) -> float: ...

    @abstractmethod
    def slopes(self, t: float) -> tuple[float, float]:
        """Return d alpha / dt and d sigma / dt."""

    def velocity(self, t: float, data: Tensor, noise: Tensor) -> Tensor:
        """Return dx/dt of the probability-flow ODE for the predicted pair."""
        da, ds = self.slopes(t)
        return da * data + ds * noise

    def split(self, t: float, x: Tensor, output: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Return (x_0, epsilon) from x_t and what the network predicted."""
        a, s = self.alpha(t), self.sigma(t)
        if target == "epsilon":
            return (x - s * output) / a, output
        da, ds = self.slopes(t)
        determinant = a * ds - da * s
        return (ds * x - s * output) / determinant, (a * output - da * x) / determinant


class LinearPath(Path):
    """Rectified flow: alpha = 1 - t, sigma = t (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747)."""

    def alpha(self, t: float) -> float:
        return 1.0 - t

    def sigma(self, t: float) -> float:
        return t

    def slopes(self, t: float) -> tuple[float, float]:
        return -1.0, 1.0


class CosinePath(Path):
    """Variance-preserving cosine schedule: alpha = cos(pi t / 2) (Nichol & Dhariwal 2021, arXiv:2102.09672).

    Its velocity is pi / 2 times the v of Salimans & Ho 2022, arXiv:2202.00512.
    """

    def alpha(self, t: float) -> float:
        return math.cos(0.5 * math.pi * t)

    def sigma(self, t: float) -> float:
        return math.sin(0.5 * math.pi * t)

    def slopes(self, t: float) -> tuple[float, float]:
        return -0.5 * math.pi * self.sigma(t), 0.5 * math.pi * self.alpha(t)
