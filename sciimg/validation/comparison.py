"""Feature vectors of real images, split in halves over and over, against those of any candidate; and the controls of a feature space.

Only vectors are held: kernels and distances are computed split by split, and a split has at most 512 samples a side.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.types import PatchSet
from sciimg.validation.distance import (
    NEAREST,
    directions,
    distances,
    frechet,
    frechet_infinity,
    gaussian_kernel,
    manifold,
    median_distance,
    polynomial_kernel,
    radii,
    sliced_wasserstein,
    unrelated_mean,
    vendi,
)
from sciimg.validation.features.faults import FaultySet
from sciimg.validation.features.space import FeatureSpace
from sciimg.validation.nearest import Nearest, TrainingVectors, data_copying
from sciimg.validation.resampling import HalfSplit

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]
Pairs = Callable[[Index, Index], Mask]

FRECHET_AXES = 16  # the Fréchet distance needs far fewer axes than samples: those along which real images vary most
FEWEST_TO_EXTRAPOLATE = 4 * FRECHET_AXES  # samples a side; the smaller parts have half of them
DIRECTIONS = 128  # of the sliced Wasserstein distance
_BANDWIDTH_FROM = 1024  # samples
RANKED = 0.95  # of the splits
NEGLIGIBLE = 0.1  # of the distance from the null's mean to its 95 % quantile
_TINY = 1e-9
JUDGES = ("kid", "fd", "precision", "recall", "coverage")  # metrics that may flag a planted fault


@dataclass(frozen=True, slots=True)
class Candidate:
    """Feature vectors that are compared with the real ones.

    Parameters
    ----------
    within : callable or None
        Tells which pairs of the candidate are not independent; None: each place in a draw is a sample of its own, even a repeated one.
    across : callable or None
        Tells which pairs of a real and a candidate sample must not be compared.
    """

    vectors: Array
    within: Pairs | None = None
    across: Pairs | None = None


@dataclass(frozen=True, slots=True)
class _Side:
    """What is needed of one set of a split alone: mean kernels of its unrelated pairs, and the radii of its neighbourhoods."""

    polynomial: float
    gaussian: float
    radii: Array


class Comparison:
    """The real side in one feature space, ready to meet any number of candidates over the same splits.

    Splits whose halves are mostly one group, or share most pixels, have no independent neighbours and are left out.

    Parameters
    ----------
    relation : callable
        Tells which pairs of the real samples must not be compared.
    training : TrainingVectors or None
        Without it there is neither authenticity nor C_T.
    """

    def __init__(
        self,
        vectors: Array,
        relation: Pairs,
        splits: Sequence[HalfSplit],
        training: TrainingVectors | None = None,
        key: tuple[str | int, ...] = ("comparison",),
    ) -> None:
        self.vectors, self.relation, self.training = vectors, relation, training
        self.splits = [s for s in splits if self._holds_neighbours(s.reference) and self._holds_neighbours(s.real)]
        some = np.linspace(0, len(vectors) - 1, min(len(vectors), _BANDWIDTH_FROM)).round().astype(np.intp)
        self.bandwidth = median_distance(vectors[some], relation(some, some))
        self._along = directions(generator(*key, "directions"), vectors.shape[1], DIRECTIONS)
        size = len(self.splits[0].reference) if self.splits else 0
        self._orders = [generator(*key, "order", i).permutation(size) for i in range(len(self.splits))]
        self._references = [self._side(vectors[s.reference], relation(s.reference, s.reference)) for s in self.splits]

    def _holds_neighbours(self, rows: Index) -> bool:
        """Whether at least half of the samples of a draw have enough unrelated samples in it."""
        unrelated = np.count_nonzero(~self.relation(rows, rows), axis=1)
        return bool(np.mean(unrelated >= min(NEAREST, len(rows) - 1)) >= 0.5)

    def scores(self, candidate: Candidate, rows: Sequence[Index]) -> dict[str, Array]:
        """Return every metric over the splits, shape (R,) each; ``rows`` are the candidate's rows in each split."""
        near = None if self.training is None else self.training.nearest(candidate.vectors)
        results = [self._one(number, row, candidate, near) for number, row in enumerate(rows)]
        return {name: np.array([r[name] for r in results]) for name in results[0]} if results else {}

    @cached_property
    def null(self) -> dict[str, Array]:
        """Every metric between the two real halves."""
        return self.scores(Candidate(self.vectors, self.relation, self.relation), [s.real for s in self.splits])

    @cached_property
    def _near(self) -> Nearest | None:
        return None if self.training is None else self.training.nearest(self.vectors)

    def _side(self, x: Array, related: Mask) -> _Side:
        gaps = distances(x, x)
        return _Side(unrelated_mean(polynomial_kernel(x, x), related), self._gaussian(gaps, related), radii(gaps, related))

    def _gaussian(self, gaps: Array, related: Mask) -> float:
        return unrelated_mean(gaussian_kernel(gaps, self.bandwidth), related) if self.bandwidth > 0 else math.nan

    def _one(self, number: int, b: Index, candidate: Candidate, near: Nearest | None) -> dict[str, float]:
        a, first = self.splits[number].reference, self._references[number]
        x, y = self.vectors[a], candidate.vectors[b]
        second = self._side(y, np.eye(len(b), dtype=bool) if candidate.within is None else candidate.within(b, b))
        apart = np.zeros((len(a), len(b)), bool) if candidate.across is None else candidate.across(a, b)
        gaps, polynomial = distances(x, y), unrelated_mean(polynomial_kernel(x, y), apart)
        neighbours = manifold(first.radii, second.radii, np.where(apart, np.inf, gaps))
        few_axes = x[:, :FRECHET_AXES], y[:, :FRECHET_AXES]
        return {
            "kid": first.polynomial + second.polynomial - 2 * polynomial,
            "mmd": first.gaussian + second.gaussian - 2 * self._gaussian(gaps, apart),
            "fd": frechet(*few_axes),
            "fd_infinity": frechet_infinity(*few_axes, self._orders[number]) if len(a) >= FEWEST_TO_EXTRAPOLATE else math.nan,
            "swd": sliced_wasserstein(x, y, self._along),
            "precision": neighbours.precision,
            "recall": neighbours.recall,
            "density": neighbours.density,
            "coverage": neighbours.coverage,
            "vendi": vendi(y),
        } | self._beside_training(a, b, near)

    def _beside_training(self, a: Index, b: Index, near: Nearest | None) -> dict[str, float]:
        if self.training is None or self._near is None or near is None:
            return {"authenticity": math.nan, "ct": math.nan}
        made = near.take(b)
        return {"authenticity": float(self.training.authentic(made).mean()), "ct": data_copying(self._near.take(a), made)}


# ---------------------------------------------------------------- controls


@dataclass(frozen=True, slots=True)
class Control:
    """A planted fault in one feature space.

    Parameters
    ----------
    effect : float
        The KID of the faulty set in units of the null's 95 % quantile.
    scores : dict
        Every metric of the faulty set that exists for so few samples.
    flagged_by : tuple of str
        Metrics that rank the faulty set below the real one in at least 95 of 100 splits, by a difference that is not negligible beside
        what real sets differ by.
    """

    fault: str
    effect: float
    scores: dict[str, float]
    flagged_by: tuple[str, ...]


def feature_controls(
    space: FeatureSpace, comparison: Comparison, faults: Sequence[FaultySet], real: PatchSet, key: tuple[str | int, ...]
) -> list[Control]:
    """Return how the planted faults fare in a feature space; a space in which one is flagged by no metric may not judge."""
    controls = []
    for fault in faults:
        rng = generator(*key, space.name, fault.name)
        vectors = comparison.vectors if fault.patches is real else space.transform(fault.patches)
        rows = [fault.rows(split.real, real, rng) for split in comparison.splits]
        within = None if fault.repeats else comparison.relation
        scores = comparison.scores(Candidate(vectors, within, comparison.relation), rows)
        flagged = tuple(n for n in JUDGES if _ranked_below(scores[n], comparison.null[n], higher_is_better=n not in ("kid", "fd")))
        means = {name: float(values.mean()) for name, values in scores.items() if np.isfinite(values).all()}
        controls.append(Control(fault.name, means["kid"] / max(upper_null(comparison.null["kid"]), _TINY), means, flagged))
    return controls


def _ranked_below(scores: Array, null: Array, *, higher_is_better: bool) -> bool:
    if not np.isfinite([scores, null]).all():
        return False
    sign = -1 if higher_is_better else 1
    worse, spread = sign * (scores - null), np.quantile(sign * null, 0.95) - np.mean(sign * null)
    return bool(np.mean(worse > 0) >= RANKED and worse.mean() > NEGLIGIBLE * spread)


def upper_null(null: Array) -> float:
    """Return the value that 95 of 100 real-versus-real comparisons stay below."""
    return float(np.quantile(null, 0.95))
