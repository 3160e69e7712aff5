"""Checks of numbers that each sample has by itself: they compare how those numbers are distributed over samples."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check
from sciimg.validation.physics.histograms import counts, edges_of, wasserstein

Array = NDArray[np.float64]

_BINS = 16
_SHARE = 0.5  # of real samples that must have a number, or it is not compared
_MISSING = 0.05  # the smallest difference that matters between shares of samples without a number


@dataclass(frozen=True)
class Frame:
    """What :meth:`PerSample.basis` fixed, and the bin edges of every number that enough real samples have."""

    basis: Any
    edges: dict[str, Array]


class PerSample(Check):
    """Distance between distributions over samples: 1-Wasserstein, in each number's own unit, and the share of samples that have none.

    A subclass says what to compute (:meth:`values`), what of it is fixed from real images first (:meth:`basis`), and what difference is
    too small to matter (:meth:`smallest`).
    """

    @abstractmethod
    def values(self, patches: PatchSet, basis: Any) -> dict[str, Array]:
        """Return named numbers, each of shape (N,), NaN where a sample has none; a sample's do not depend on the other samples."""

    @abstractmethod
    def smallest(self, name: str) -> float:
        """Return the smallest difference of the named number that matters."""

    def basis(self, real: PatchSet) -> Any:
        """Return what ``values`` needs of the real images."""
        return None

    def undefined(self, real: PatchSet) -> str:
        """Return why these images cannot tell, before anything is computed, or ``""``."""
        return ""

    def obstacle(self, real: PatchSet) -> str:
        if reason := self.undefined(real):
            return reason
        shares = [np.mean(np.isfinite(numbers)) for numbers in self.values(real, self.basis(real)).values()]
        return "" if max(shares, default=0.0) >= _SHARE else f"fewer than half of the real samples have what {self.name} measures"

    def frame(self, real: PatchSet) -> Frame:
        basis = self.basis(real)
        found = {name: numbers[np.isfinite(numbers)] for name, numbers in self.values(real, basis).items()}
        most = max((len(numbers) for numbers in found.values()), default=0)
        least = max(min(_SHARE * len(real), most), 1)  # with the calibration part, what half of the holdout has may be rarer
        return Frame(basis, {name: edges_of(numbers, _BINS) for name, numbers in found.items() if len(numbers) >= least})

    def measure(self, patches: PatchSet, frame: Frame) -> Array:
        """Return, per sample and number: the bin in which it lies, and last a 1 for the sample."""
        width = max(len(edges) for edges in frame.edges.values()) - 1
        out = np.zeros((len(patches), len(frame.edges), width + 1))
        found = self.values(patches, frame.basis)
        for k, (name, edges) in enumerate(frame.edges.items()):
            for i, number in enumerate(found.get(name, np.full(len(patches), np.nan))):
                if np.isfinite(number):
                    out[i, k, : len(edges) - 1] = counts(number[None], edges)
        out[..., -1] = 1
        return out

    def distance(self, first: Array, second: Array, frame: Frame) -> dict[str, Array]:
        out = {}
        for k, (name, edges) in enumerate(frame.edges.items()):
            a, b = first[:, k, : len(edges) - 1], second[:, k, : len(edges) - 1]
            known = (a.sum(axis=-1) > 0) & (b.sum(axis=-1) > 0)
            out[name] = np.where(known, wasserstein(a, b, edges), np.nan)  # a set without the number is infinitely far
            out[f"{name}:missing"] = np.abs(a.sum(axis=-1) / _samples(first) - b.sum(axis=-1) / _samples(second))
        return out

    def floors(self, frame: Frame) -> dict[str, float]:
        return {name: self.smallest(name) for name in frame.edges} | {f"{name}:missing": _MISSING for name in frame.edges}

    def curves(self, total: Array, frame: Frame) -> dict[str, Array]:
        out = {}
        for k, (name, edges) in enumerate(frame.edges.items()):
            label = name.replace(":", "-")
            out[f"{label}-edges"] = edges
            out[label] = total[k, : len(edges) - 1]
        return out


def _samples(rows: Array) -> Array:
    number: Array = np.maximum(rows[:, 0, -1], 1.0)
    return number
