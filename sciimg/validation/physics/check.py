"""What a physics check is: additive statistics of each sample, a distance between pooled statistics, and controls it must flag.

Adding a check: subclass :class:`Check` in a file of its own, list it in ``sciimg.validation.physics.CHECKS`` and in
``tests/conformance/test_checks.py``, which holds for every check.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Control:
    """A known fault, planted in real images: the check must flag it, or it does not count.

    Parameters
    ----------
    name : str
        What is done, with its strength, e.g. ``"blur-1px"``.
    plant : callable
        ``plant(patches, rng)`` returns the faulty images; labels stay those of the real images.
    """

    name: str
    plant: Callable[[PatchSet, np.random.Generator], PatchSet]


class Check(ABC):
    """One physical property of images.

    ``measure`` must be additive: the statistics of a set of samples are the sum of the statistics of its samples.
    """

    name: ClassVar[str]
    estimator: ClassVar[str]
    unit: ClassVar[str]
    source: ClassVar[str]
    labels: ClassVar[Literal["none", "condition", "segmented"]] = "none"
    controls: ClassVar[tuple[Control, ...]]

    def obstacle(self, real: PatchSet) -> str:
        """Return why the check cannot be made on these real images, or ``""``."""
        return ""

    def obstacle_in(self, synthetic: PatchSet) -> str:
        """Return why these synthetic images give no number (rather than a large effect), or ``""``."""
        return ""

    @abstractmethod
    def frame(self, real: PatchSet) -> Any:
        """Return what is fixed from real images before any synthetic one is seen: bins, scales, floors."""

    @abstractmethod
    def measure(self, patches: PatchSet, frame: Any) -> Array:
        """Return the statistics of each sample, shape (N, ...)."""

    @abstractmethod
    def distance(self, first: Array, second: Array, frame: Any) -> dict[str, Array]:
        """Return the named components of the distance between pooled statistics, each shape (B,), for two arrays (B, ...)."""

    @abstractmethod
    def floors(self, frame: Any) -> dict[str, float]:
        """Return, for each component, the smallest difference that matters, in the component's own unit."""

    def record(self, frame: Any) -> dict[str, Any]:
        """Return what the record of the effect says besides, or in place of, estimator and unit, of components that not all images have."""
        return {}

    @abstractmethod
    def curves(self, total: Array, frame: Any) -> dict[str, Array]:
        """Return arrays to draw from the pooled statistics of one set, with the axis they are drawn over."""
