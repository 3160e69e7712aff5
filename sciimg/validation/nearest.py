"""How near samples come to the training set in a feature space: authenticity, and the data-copying statistic C_T.

A copy of a training image is nearer to it than other real images are. Both take distances to the nearest training sample; pixels are
searched by :mod:`sciimg.validation.memorisation`, which sees copies that features forgive.

References
----------
Alaa AM, van Breugel B, Saveliev E, van der Schaar M (2022) How faithful is your synthetic data? ICML, arXiv:2102.08921
Meehan C, Chaudhuri K, Dasgupta S (2020) A non-parametric test to detect data-copying in generative models. AISTATS, arXiv:2004.05675
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from sciimg.validation.distance import distances
from sciimg.validation.relations import Relation

Array = NDArray[np.float64]
Index = NDArray[np.intp]

MOST_TRAINING = 2**14  # so that the cost of a search grows with the number of images alone
CELLS = 5
IN_CELL = 8  # samples of either kind; a rank test of fewer says little
_ITERATIONS = 10
_BLOCK = 2**22  # distances that are held at once


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest training sample of each of N samples: how far it is, its row, and the cell of the feature space, shapes (N,)."""

    distance: Array
    row: Index
    cell: Index

    def take(self, rows: Index) -> "Nearest":
        """Return these rows alone."""
        return Nearest(self.distance[rows], self.row[rows], self.cell[rows])


class TrainingVectors:
    """The training set in one feature space.

    Parameters
    ----------
    vectors : array, shape (T, d)
        Of more than 16,384 as many, evenly spaced, are searched.
    relation : Relation
        Training samples that share pixels: one is not the neighbour of the other.
    rng : Generator
        Places the cells.
    samples : int
        How many a side will be compared: there are at most five cells, and at least 32 samples of each kind for every one.
    """

    def __init__(self, vectors: Array, relation: Relation, rng: np.random.Generator, samples: int = 1) -> None:
        rows = np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_TRAINING)).round().astype(np.intp)
        self.vectors = vectors[rows]
        self.own = nearest_of(self.vectors, self.vectors, relation.take(rows))[0]
        self._centres = cell_centres(self.vectors, min(CELLS, max(1, min(len(rows), samples) // (4 * IN_CELL))), rng)

    def nearest(self, vectors: Array) -> Nearest:
        """Find the nearest training sample of each vector."""
        distance, row = nearest_of(vectors, self.vectors)
        return Nearest(distance, row, nearest_of(vectors, self._centres)[1])

    def authentic(self, found: Nearest) -> Array:
        """Return 1 for a sample farther from its nearest training sample than that is from its own nearest (Alaa 2022)."""
        return np.asarray(found.distance > self.own[found.row], np.float64)


def cell_centres(vectors: Array, count: int, rng: np.random.Generator) -> Array:
    """Return the centres of k-means cells (Lloyd's iteration from random samples), shape (count, d)."""
    centres = vectors[rng.choice(len(vectors), count, replace=False)]
    for _ in range(_ITERATIONS):
        cell = nearest_of(vectors, centres)[1]
        held = np.unique(cell)
        centres[held] = [vectors[cell == c].mean(axis=0) for c in held]
    return np.asarray(centres)


def nearest_of(x: Array, y: Array, related: Relation | None = None) -> tuple[Array, Index]:
    """Return distance and row of the nearest of y (m, d) to each of x (n, d), in blocks; ``related`` pairs (x is y) are left out."""
    distance, row = np.empty(len(x)), np.empty(len(x), np.intp)
    step = max(1, _BLOCK // len(y))
    for start in range(0, len(x), step):
        part = np.arange(start, min(start + step, len(x)))
        gaps = distances(x[part], y)
        if related is not None:
            gaps[related(part, np.arange(len(y)))] = np.inf
        row[part] = gaps.argmin(axis=1)
        distance[part] = gaps[np.arange(len(part)), row[part]]
    return distance, row


def data_copying(test: Nearest, made: Nearest) -> float:
    """Return C_T (Meehan 2020): below 0 where made samples are nearer to the training set than test samples are.

    In every cell the Mann-Whitney statistic of "a made sample is farther than a test sample", standardised; the mean over cells that hold
    at least eight of both, weighted by the test samples in them. Without copying and bias it has mean 0 and, in one cell, variance 1.
    """
    total, weight = 0.0, 0
    for cell in np.unique(test.cell):
        theirs, ours = test.distance[test.cell == cell], made.distance[made.cell == cell]
        if min(len(theirs), len(ours)) >= IN_CELL:
            total += len(theirs) * _rank_score(ours, theirs)
            weight += len(theirs)
    return total / weight if weight else math.nan


def _rank_score(first: Array, second: Array) -> float:
    n, m = len(first), len(second)
    larger = rankdata(np.concatenate([first, second]))[:n].sum() - n * (n + 1) / 2
    return float((larger - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12))
