"""Statistics that add up, so that resampling groups is a matrix product.

A check measures each sample once, as counts and sums. Pooling over any set of groups is then a weighted sum, and a bootstrap of a
thousand rounds costs less than measuring one image. The independent unit is always the group (subject, field, block), never the patch.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sciimg.validation.resampling import UNBOUNDED, Interval, unless_degenerate

Array = NDArray[np.float64]


def by_group(statistics: Array, groups: NDArray[np.str_] | NDArray[np.object_]) -> tuple[list[str], Array]:
    """Sum per-sample statistics, shape (N, ...), within groups; return the sorted group names and the sums, shape (G, ...)."""
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *statistics.shape[1:]))
    np.add.at(sums, index, statistics)
    return names.tolist(), sums


def pooled(sums: Array, weights: Array) -> Array:
    """Pool group sums, shape (G, ...), with the weights of each round, shape (B, G): shape (B, ...)."""
    return np.tensordot(weights, sums, axes=(1, 0))


def resampling_weights(rng: np.random.Generator, groups: int, rounds: int) -> Array:
    """Return how often each group is drawn in each bootstrap round, shape (rounds, groups)."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=rounds).astype(np.float64)


def disjoint_sets(rng: np.random.Generator, groups: int, size: int, rounds: int) -> tuple[Array, Array]:
    """Return the indicator weights, each (rounds, groups), of two random disjoint sets of ``size`` groups."""
    if 2 * size > groups:
        raise ValueError(f"Two disjoint sets of {size} need {2 * size} groups; got {groups}.")
    order = np.argsort(rng.random((rounds, groups)), axis=1)
    rows = np.arange(rounds)[:, None]
    first, second = np.zeros((rounds, groups)), np.zeros((rounds, groups))
    first[rows, order[:, :size]] = 1
    second[rows, order[:, size : 2 * size]] = 1
    return first, second


def centred_interval(
    estimate: float, replicates: Array, groups: int, *, lowest: float | None = None, within: Interval = UNBOUNDED
) -> Interval | None:
    """Return the 95 % percentile interval of bootstrap replicates, shifted so that their mean is the estimate.

    Where the replicates of so many groups do not differ, :func:`sciimg.validation.resampling.unless_degenerate` says what the groups can
    say ``within`` the bounds of a value.
    """
    shift = estimate - float(np.mean(replicates))
    low, high = (float(v) + shift for v in np.quantile(replicates, [0.025, 0.975]))
    return unless_degenerate(_around(estimate, low, high, lowest), groups, within)


def basic_interval(estimate: float, replicates: Array, groups: int, *, lowest: float | None = None) -> tuple[float, float]:
    """Return the 95 % basic bootstrap interval: the replicates' deviations, reflected at the estimate (Davison & Hinkley 1997, eq. 5.6).

    Few groups give too narrow a bootstrap: the deviations are stretched by the ratio of Student's to the normal quantile with
    ``groups - 1`` degrees of freedom.

    For a distance, which cannot be negative, resampling adds as much upward bias as sampling did; the reflection takes it out again, where
    percentiles would count it twice.
    """
    stretch = float(stats.t.ppf(0.975, groups - 1) / stats.norm.ppf(0.975))
    low, high = (estimate + stretch * (estimate - float(v)) for v in np.quantile(replicates, [0.975, 0.025]))
    return _around(estimate, low, high, lowest)


def _around(estimate: float, low: float, high: float, lowest: float | None) -> tuple[float, float]:
    low = min(low, estimate)
    return (low if lowest is None else max(low, lowest), max(high, estimate))
