"""What a network is given and what it is asked for, on any path.

Every target in use is linear in data and noise: F = p x_0 + q epsilon. With x_t = alpha x_0 + sigma epsilon that is two equations for
two unknowns, so (x_0, epsilon) follows from x_t and F. Noise prediction, v, velocity and the preconditioned denoiser of EDM differ in
(p, q), in how x_t is scaled before it enters the network, and in the number that stands for the time; each is trained with the plain mean
squared error of F, which gives x_0 the weight that the literature derives for it.
"""

import math
from abc import ABC, abstractmethod

from torch import Tensor

from sciimg.augmenters.processes.paths import Path


class Parameterisation(ABC):
    """A target, the scale of the network's input, and its time."""

    @abstractmethod
    def target(self, path: Path, t: float) -> tuple[float, float]:
        """Return the shares (p, q) of data and noise in what the network predicts."""

    def scale(self, path: Path, t: float) -> float:
        """Return what x_t is multiplied by before it enters the network."""
        return 1.0

    def time(self, path: Path, t: float) -> float:
        """Return the number that tells the network where on the path it is."""
        return t

    def split(self, path: Path, t: float, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return (x_0, epsilon) from x_t and what the network predicted."""
        (p, q), a, s = self.target(path, t), path.alpha(t), path.sigma(t)
        determinant = a * q - s * p
        return (q * x - s * output) / determinant, (a * output - p * x) / determinant


class Epsilon(Parameterisation):
    """The noise (Ho et al. 2020, arXiv:2006.11239, eq. 14): the score times -sigma (Song et al. 2021, arXiv:2011.13456, eq. 7)."""

    def target(self, path: Path, t: float) -> tuple[float, float]:
        return 0.0, 1.0

    def scale(self, path: Path, t: float) -> float:
        return 1.0 / path.spread(t)  # 1 where variance is preserved; where it explodes, networks need it (Karras 2022, section 5)


class V(Parameterisation):
    """v = alpha epsilon - sigma x_0 (Salimans & Ho 2022, arXiv:2202.00512, app. D), for paths with alpha² + sigma² = 1."""

    def target(self, path: Path, t: float) -> tuple[float, float]:
        return -path.sigma(t), path.alpha(t)


class Velocity(Parameterisation):
    """dx/dt (Lipman et al. 2022, arXiv:2210.02747, eq. 8)."""

    def target(self, path: Path, t: float) -> tuple[float, float]:
        return path.slopes(t)


class Preconditioned(Parameterisation):
    """EDM's denoiser D = c_skip x + c_out F(c_in x, c_noise), solved for the F that makes D = x_0.

    Parameters
    ----------
    sigma_data : float
        Standard deviation of the data.

    Notes
    -----
    With lambda = 1 / c_out² the weighted error of D is the plain error of F, and F has unit variance at every noise level.

    References
    ----------
    Karras et al. 2022, arXiv:2206.00364, eqs. 7 and 8, table 1.
    """

    def __init__(self, sigma_data: float = 1.0) -> None:
        self.sigma_data = sigma_data

    def target(self, path: Path, t: float) -> tuple[float, float]:
        a, s = self.sigma_data * path.alpha(t), path.sigma(t)
        return s / (self.sigma_data * math.hypot(a, s)), -a / math.hypot(a, s)

    def scale(self, path: Path, t: float) -> float:
        return 1.0 / math.hypot(self.sigma_data * path.alpha(t), path.sigma(t))

    def time(self, path: Path, t: float) -> float:
        return 0.25 * math.log(path.level(t))
