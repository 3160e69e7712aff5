"""Statistics that add up, so that resampling groups is a matrix product.

A check measures each sample once, as counts and sums. Pooling over any set of groups is then a weighted sum, and a bootstrap of a
thousand rounds costs less than measuring one image. The independent unit is always the group (subject, field, block), never the patch.
"""

import numpy as np
from numpy.typing import NDArray

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


def centred_interval(estimate: float, replicates: Array, *, lowest: float | None = None) -> tuple[float, float]:
    """Return the 95 % interval that has the spread of the replicates and the centre of the estimate.

    A distance between resamples is biased upwards (resampling adds its own noise to a quantity that cannot be negative), so plain
    percentiles would shift the interval away from the estimate; the mean shift is taken out.
    """
    shift = estimate - float(np.mean(replicates))
    low, high = (float(v) + shift for v in np.quantile(replicates, [0.025, 0.975]))
    low, high = min(low, estimate), max(high, estimate)
    return (low if lowest is None else max(low, lowest), high)
