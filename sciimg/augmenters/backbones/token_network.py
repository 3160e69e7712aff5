"""What a process over tokens needs of its network: likelihoods of whole sequences, and the same, part after part, for drawing."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sciimg.augmenters.system import Condition


@dataclass(frozen=True, slots=True)
class TokenSizes:
    """What a network over tokens needs to know to be built.

    Parameters
    ----------
    vocabulary : int
        Codes of every level.
    grids : tuple of tuple of int
        ([z,] y, x) of every level, in the order of generation.
    maps, vector : int
        Channels of ``condition.spatial`` on the grid of the images; length of ``condition.vector``.
    words, caption : int
        Number of words of captions and the length of the longest; 0: no captions.
    """

    vocabulary: int
    grids: tuple[tuple[int, ...], ...]
    maps: int = 0
    vector: int = 0
    words: int = 0
    caption: int = 0

    @property
    def dims(self) -> int:
        return len(self.grids[0])


class TokenNetwork(nn.Module, ABC):
    """Predicts codes from the codes before them. ``parts`` says how many tokens are drawn at once, in order."""

    parts: tuple[int, ...]

    @abstractmethod
    def forward(self, codes: Tensor, condition: Condition) -> Tensor:
        """Return logits (N, L, K) of every token of (N, L), each given all earlier parts."""

    @abstractmethod
    def begin(self, condition: Condition) -> Any:
        """Return what :meth:`following` carries from part to part."""

    @abstractmethod
    def following(self, state: Any, drawn: Tensor) -> Tensor:
        """Return logits (N, n, K) of the next part given all that was drawn, (N, l), the same as :meth:`forward` gives."""

    def caption_loss(self, condition: Condition) -> Tensor | None:
        """Return the cross entropy of the caption's words, each given those before it, where the network models them."""
        return None
