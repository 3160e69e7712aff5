"""Known faults of a synthetic set, planted in real images: what a feature space must tell from real before it may judge.

Two are faults of the images (blurred, noisier), two of the set (a mode dropped, few images repeated).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.types import PatchSet
from sciimg.validation.physics.controls import blurred, noisier

Index = NDArray[np.intp]
Choose = Callable[[Index, PatchSet, np.random.Generator], Index]

BLUR_PX = 1.0
NOISE = 1.0  # times the pixel-scale standard deviation of the channel
REPEATS = 8


@dataclass(frozen=True, slots=True)
class FaultySet:
    """Images that stand for a faulty synthetic set, row by row beside the real ones, and which rows of a draw it is made of.

    Parameters
    ----------
    rows : callable
        From the rows of a real draw to the rows of the faulty draw; the same number for every draw of one size.
    """

    name: str
    patches: PatchSet
    rows: Choose


def faulty_sets(real: PatchSet, key: tuple[str | int, ...]) -> Iterator[FaultySet]:
    """Yield the four faults of a real set."""
    yield FaultySet("blurred", blurred(BLUR_PX)(real, generator(*key, "blurred")), _all)
    yield FaultySet("noisier", noisier(NOISE)(real, generator(*key, "noisier")), _all)
    yield FaultySet("mode-dropped", real, _lower_half)
    yield FaultySet("duplicated", real, _repeated)


def _all(rows: Index, real: PatchSet, rng: np.random.Generator) -> Index:
    return rows


def _repeated(rows: Index, real: PatchSet, rng: np.random.Generator) -> Index:
    return np.resize(rng.permutation(rows)[: max(2, len(rows) // REPEATS)], len(rows))


def _lower_half(rows: Index, real: PatchSet, rng: np.random.Generator) -> Index:
    """The darker half, by the channel whose mean varies most between images."""
    means = real.images[rows].mean(axis=tuple(range(2, real.images.ndim)), dtype=np.float64)
    channel = int(np.argmax(means.std(axis=0) / (np.abs(means).mean(axis=0) + 1e-12)))
    order = np.argsort(means[:, channel], kind="stable")
    return np.sort(rows[order[: max(2, len(rows) // 2)]])
