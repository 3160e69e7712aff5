"""Paths from data (t = 0) to noise (t = ``end``): x_t = alpha(t) x_0 + sigma(t) epsilon, in continuous time and float64.

One description serves rectified flow, diffusion and score-based models; :mod:`~sciimg.augmenters.processes.parameterisations` turns a
network's output into (x_0, epsilon) and every sampler works with that pair. A path is known by its noise level sigma / alpha: two paths
with the same one differ by a scale and by the speed at which they are gone along (Karras 2022, arXiv:2206.00364, section 2).
"""

import math
from abc import ABC, abstractmethod

from torch import Tensor


class Path(ABC):
    """A pair of smooth functions with alpha(0) = 1 and sigma(0) = 0, whose noise level rises with t."""

    end: float = 1.0  # the largest time

    @abstractmethod
    def alpha(self, t: float) -> float: ...

    @abstractmethod
    def sigma(self, t: float) -> float: ...

    @abstractmethod
    def slopes(self, t: float) -> tuple[float, float]:
        """Return d alpha / dt and d sigma / dt."""

    @abstractmethod
    def time_of(self, level: float) -> float:
        """Return the time at which sigma / alpha is ``level``."""

    def level(self, t: float) -> float:
        """Return sigma / alpha; infinite where there is no data left."""
        alpha = self.alpha(t)
        return self.sigma(t) / alpha if alpha > 0 else math.inf

    def spread(self, t: float) -> float:
        """Return the standard deviation of x_t for data of unit variance: sampling begins with noise of this spread."""
        return math.hypot(self.alpha(t), self.sigma(t))

    def velocity(self, t: float, data: Tensor, noise: Tensor) -> Tensor:
        """Return dx/dt of the probability-flow ODE for the predicted pair."""
        da, ds = self.slopes(t)
        return da * data + ds * noise


class LinearPath(Path):
    """Rectified flow: alpha = 1 - t, sigma = t (Liu et al. 2022, arXiv:2209.03003; Lipman et al. 2022, arXiv:2210.02747)."""

    def alpha(self, t: float) -> float:
        return 1.0 - t

    def sigma(self, t: float) -> float:
        return t

    def slopes(self, t: float) -> tuple[float, float]:
        return -1.0, 1.0

    def time_of(self, level: float) -> float:
        return level / (1.0 + level)


class CosinePath(Path):
    """Variance-preserving cosine schedule: alpha = cos(pi t / 2) (Nichol & Dhariwal 2021, arXiv:2102.09672)."""

    def alpha(self, t: float) -> float:
        return math.cos(0.5 * math.pi * t)

    def sigma(self, t: float) -> float:
        return math.sin(0.5 * math.pi * t)

    def slopes(self, t: float) -> tuple[float, float]:
        return -0.5 * math.pi * self.sigma(t), 0.5 * math.pi * self.alpha(t)

    def time_of(self, level: float) -> float:
        return math.atan(level) / (0.5 * math.pi)


class VariancePreservingPath(Path):
    """VP SDE: dx = -beta(t)/2 x dt + sqrt(beta(t)) dw with beta linear in t (Song et al. 2021, arXiv:2011.13456, eqs. 11 and 33)."""

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        self.beta_min, self.beta_max = beta_min, beta_max

    def alpha(self, t: float) -> float:
        return math.exp(-0.5 * self._integral(t))

    def sigma(self, t: float) -> float:
        return math.sqrt(-math.expm1(-self._integral(t)))

    def slopes(self, t: float) -> tuple[float, float]:
        beta, alpha = self.beta_min + t * (self.beta_max - self.beta_min), self.alpha(t)
        return -0.5 * beta * alpha, 0.5 * beta * alpha**2 / self.sigma(t)

    def time_of(self, level: float) -> float:
        rise, integral = self.beta_max - self.beta_min, math.log1p(level**2)
        return 2 * integral / (self.beta_min + math.sqrt(self.beta_min**2 + 2 * rise * integral))  # the root without cancellation

    def _integral(self, t: float) -> float:
        """Return the integral of beta from 0 to t."""
        return self.beta_min * t + 0.5 * t**2 * (self.beta_max - self.beta_min)


class VarianceExplodingPath(Path):
    """VE SDE: noise grows geometrically; sigma(t)² is what has been added since t = 0 (Song et al. 2021, eqs. 9 and 31)."""

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        self.sigma_min, self.rate = sigma_min, math.log(sigma_max / sigma_min)

    def alpha(self, t: float) -> float:
        return 1.0

    def sigma(self, t: float) -> float:
        return self.sigma_min * math.sqrt(math.expm1(2 * self.rate * t))

    def slopes(self, t: float) -> tuple[float, float]:
        return 0.0, self.sigma_min**2 * self.rate * math.exp(2 * self.rate * t) / self.sigma(t)

    def time_of(self, level: float) -> float:
        return math.log1p((level / self.sigma_min) ** 2) / (2 * self.rate)


class NoiseLevelPath(Path):
    """The noise level is the time: alpha = 1, sigma = t (Karras et al. 2022, arXiv:2206.00364, table 1)."""

    def __init__(self, sigma_max: float = 80.0) -> None:
        self.end = sigma_max

    def alpha(self, t: float) -> float:
        return 1.0

    def sigma(self, t: float) -> float:
        return t

    def slopes(self, t: float) -> tuple[float, float]:
        return 0.0, 1.0

    def time_of(self, level: float) -> float:
        return level
