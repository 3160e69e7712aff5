"""Feature vectors of real images, split in halves over and over, against those of any candidate; and the controls of a feature space."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.types import PatchSet
from sciimg.validation.distance import NEAREST, Related, distances, frechet, kid_of_kernels, polynomial_kernel, prdc_of_distances
from sciimg.validation.features.faults import FaultySet
from sciimg.validation.features.space import FeatureSpace
from sciimg.validation.resampling import HalfSplit

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

FRECHET_AXES = 16  # the Fréchet distance needs far fewer axes than samples: those along which real images vary most
SCORES = ("kid", "fd", "precision", "recall", "density", "coverage")
RANKED = 0.95  # of the splits
NEGLIGIBLE = 0.1  # of the distance from the null's mean to its 95 % quantile
_TINY = 1e-9
JUDGES = ("kid", "fd", "precision", "recall", "coverage")  # metrics that may flag a planted fault


@dataclass(frozen=True, slots=True)
class Candidate:
    """Feature vectors that are compared with the real ones.

    Parameters
    ----------
    within : array of bool, shape (M, M), or None
        Pairs of the candidate that are not independent; None: each place in a draw is a sample of its own, even a repeated one.
    across : array of bool, shape (N, M), or None
        Pairs of a real and a candidate sample that must not be compared.
    """

    vectors: Array
    within: Mask | None = None
    across: Mask | None = None


class Comparison:
    """The real side in one feature space, ready to meet any number of candidates over the same splits.

    Splits whose halves are mostly one group, or share most pixels, have no independent neighbours and are left out.
    """

    def __init__(self, vectors: Array, relation: Mask, splits: Sequence[HalfSplit]) -> None:
        self.vectors, self.relation = vectors, relation
        self.splits = [s for s in splits if self._holds_neighbours(s.reference) and self._holds_neighbours(s.real)]
        self._kernel = polynomial_kernel(vectors, vectors)
        self._distance = distances(vectors, vectors)

    def _holds_neighbours(self, rows: Index) -> bool:
        """Whether at least half of the samples of a draw have enough unrelated samples in it."""
        unrelated = np.count_nonzero(~self.relation[np.ix_(rows, rows)], axis=1)
        return bool(np.mean(unrelated >= min(NEAREST, len(rows) - 1)) >= 0.5)

    def scores(self, candidate: Candidate, rows: Sequence[Index]) -> dict[str, Array]:
        """Return every metric over the splits, shape (R,) each; ``rows`` are the candidate's rows in each split."""
        y = candidate.vectors
        kernels = polynomial_kernel(y, y), polynomial_kernel(self.vectors, y)
        gaps = distances(y, y), distances(self.vectors, y)
        results = [self._one(split.reference, row, candidate, kernels, gaps) for split, row in zip(self.splits, rows, strict=True)]
        return {name: np.array([r[name] for r in results]) for name in SCORES}

    @cached_property
    def null(self) -> dict[str, Array]:
        """Every metric between the two real halves."""
        return self.scores(Candidate(self.vectors, self.relation, self.relation), [s.real for s in self.splits])

    def _one(self, a: Index, b: Index, candidate: Candidate, kernels: tuple[Array, Array], gaps: tuple[Array, Array]) -> dict[str, float]:
        aa, bb, ab = np.ix_(a, a), np.ix_(b, b), np.ix_(a, b)
        pairs = Related(
            self.relation[aa],
            np.eye(len(b), dtype=bool) if candidate.within is None else candidate.within[bb],
            np.zeros((len(a), len(b)), bool) if candidate.across is None else candidate.across[ab],
        )
        manifold = prdc_of_distances(self._distance[aa], gaps[0][bb], gaps[1][ab], pairs)
        return {
            "kid": kid_of_kernels(self._kernel[aa], kernels[0][bb], kernels[1][ab], pairs),
            "fd": frechet(self.vectors[a, :FRECHET_AXES], candidate.vectors[b, :FRECHET_AXES]),
            "precision": manifold.precision,
            "recall": manifold.recall,
            "density": manifold.density,
            "coverage": manifold.coverage,
        }


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
