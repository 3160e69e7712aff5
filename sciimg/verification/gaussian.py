"""Data whose every diffusion is known exactly: x_0 ~ N(mean, std²), so that paths, samplers and losses can be held against closed forms."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import Path
from sciimg.augmenters.samplers.solvers import Predict


@dataclass(frozen=True)
class GaussianData:
    """One-dimensional Gaussian data."""

    mean: float = 0.7
    std: float = 0.4

    def spread(self, path: Path, t: float) -> float:
        """Standard deviation of x_t."""
        return math.hypot(path.alpha(t) * self.std, path.sigma(t))

    def predict(self, path: Path) -> Predict:
        """Return the ideal denoiser: E[x_0 | x_t] and the noise that goes with it (Tweedie's formula for a Gaussian)."""

        def ideal(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
            a, s = path.alpha(t), path.sigma(t)
            data = self.mean + a * self.std**2 / self.spread(path, t) ** 2 * (x - a * self.mean)
            return data, s / self.spread(path, t) ** 2 * (x - a * self.mean)

        return ideal

    def flow(self, path: Path, x: Tensor, t: float, s: float) -> Tensor:
        """Return where the probability-flow ODE takes x from time t to time s: the standardised value does not change."""
        z = (x - path.alpha(t) * self.mean) / self.spread(path, t)
        return path.alpha(s) * self.mean + self.spread(path, s) * z

    def log_density(self, x: Tensor) -> Tensor:
        """Return the logarithm of the density at each value."""
        return -0.5 * ((x - self.mean) / self.std) ** 2 - math.log(self.std * math.sqrt(2 * math.pi))


def grid() -> Tensor:
    """Starting points, in float64."""
    return torch.linspace(-2.0, 2.0, 9, dtype=torch.float64).view(-1, 1)
