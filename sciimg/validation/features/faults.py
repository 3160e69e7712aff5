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
    """Images that stand for a faulty synthetic set, row by row beside the real ones, and which rows a draw is made of.

    Parameters
    ----------
    rows : callable
        From the rows of a real draw to as many rows of the faulty draw.
    repeats : bool
        Whether a draw may hold a row more than once, as samples in their own right.
    """

    name: str
    patches: PatchSet
    rows: Choose
    repeats: bool = False


def faulty_sets(real: PatchSet, key: tuple[str | int, ...]) -> Iterator[FaultySet]:
    """Yield the four faults of a real set: blurred by 1 px, noisier, all but the darkest quarter missing, an eighth of it repeated."""
    yield FaultySet("blurred", blurred(BLUR_PX)(real, generator(*key, "blurred")), _same)
    yield FaultySet("noisier", noisier(NOISE)(real, generator(*key, "noisier")), _same)
    yield FaultySet("mode-dropped", real, _darkest, repeats=True)
    yield FaultySet("duplicated", real, _few_repeated, repeats=True)


def _same(rows: Index, real: PatchSet, rng: np.random.Generator) -> Index:
    return rows


def _few_repeated(rows: Index, real: PatchSet, rng: np.random.Generator) -> Index:
    return np.resize(rng.permutation(rows)[: max(2, len(rows) // REPEATS)], len(rows))


def _darkest(rows: Index, real: PatchSet, rng: np.random.Generator) -> Index:
    """Only the darkest quarter of the whole real set, by the channel whose mean varies most between images, as often as needed.

    They may be of the groups that they are compared with: related pairs are left out of every comparison.
    """
    means = real.images.mean(axis=tuple(range(2, real.images.ndim)), dtype=np.float64)
    channel = int(np.argmax(means.std(axis=0) / (np.abs(means).mean(axis=0) + 1e-12)))
    darkest = np.argsort(means[:, channel], kind="stable")[: max(2, len(real) // 4)]
    return np.resize(rng.permutation(darkest), len(rows))
