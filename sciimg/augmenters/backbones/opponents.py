"""What an adversarial process asks of its two networks, and what all of them share: the told vector and the truncated noise."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Embedding
from sciimg.augmenters.conditioning.words import Words
from sciimg.augmenters.system import Condition, FieldSizes

_TAIL = 2.0  # standard deviations at which truncated noise ends (Brock 2019, arXiv:1809.11096, section 3.1)


class PointGenerator(nn.Module, ABC):
    """Condition and noise → points, in one step."""

    @abstractmethod
    def noise_shapes(self, grid: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the shapes of the noise of one sample for points on ``grid``; the vector comes first."""

    @abstractmethod
    def forward(self, noise: Sequence[Tensor], condition: Condition, *, progress: float = 1.0, truncation: float = 1.0) -> Tensor:
        """Return points (N, C, [Z,] Y, X).

        Parameters
        ----------
        noise : sequence of Tensor
            Of the shapes of :meth:`noise_shapes`, each with N in front.
        condition : Condition
        progress : float
            Share of the training that is over, for networks that grow.
        truncation : float
            Below 1, samples nearer to the centre.
        """

    def measure(self, points: Tensor) -> None:
        """Learn once from real points (N, C, [Z,] Y, X), before training."""

    def settle(self, condition: Condition, generator: torch.Generator) -> None:
        """Learn once from conditions, after training."""


class Judge(nn.Module, ABC):
    """Say how real points look under a condition."""

    @abstractmethod
    def coefficients(self, points: Tensor, progress: float = 1.0) -> list[Tensor]:
        """Return points (N, C, [Z,] Y, X) as the judge looks at them: its penalties are taken with respect to these."""

    @abstractmethod
    def forward(self, coefficients: list[Tensor], condition: Condition, progress: float = 1.0) -> list[Tensor]:
        """Return logits (N, places), one tensor a scale, for what :meth:`coefficients` gave."""

    def measure(self, points: Tensor) -> None:
        """Learn once from real points, before training."""


class Told(nn.Module):
    """Everything told of a whole sample, and whatever else, as one vector.

    Parameters
    ----------
    sizes : FieldSizes
    features : int
    extra : int
        Length of what else goes in, e.g. of a noise vector.
    """

    def __init__(self, sizes: FieldSizes, features: int, extra: int = 0) -> None:
        super().__init__()
        self.words = Words(sizes.words, features) if sizes.words else None
        self.embed = Embedding(sizes.vector + extra + (features if sizes.words else 0), features, timed=False)

    def forward(self, condition: Condition, *extra: Tensor) -> Tensor:
        """Return (N, features)."""
        parts = [condition.vector, *extra]
        if self.words is not None and condition.tokens is not None:
            parts.append(self.words.sentence(condition.tokens))
        out: Tensor = self.embed(torch.cat(parts, dim=1), condition.keep)
        return out


def truncated(noise: Tensor, truncation: float) -> Tensor:
    """Return standard normal values cut off at two standard deviations and scaled down; as they are for a truncation of 1.

    Values are moved along quantiles, not drawn again, so that each stays a function of its own noise and keeps its order.
    """
    if truncation >= 1:
        return noise
    normal = torch.distributions.Normal(0.0, 1.0)
    low = float(normal.cdf(torch.tensor(-_TAIL, dtype=torch.float64)))
    share = low + normal.cdf(noise.double()) * (1 - 2 * low)
    out: Tensor = (truncation * normal.icdf(share)).to(noise.dtype)
    return out
