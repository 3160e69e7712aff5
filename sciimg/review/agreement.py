"""How far readers agree beyond chance, on nominal, ordinal and interval scales, with intervals over the items.

Everything is computed from how many readers gave each answer to each item; an undefined coefficient is ``None``, with the reason beside it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.review.statistics import Estimate

Level = Literal["nominal", "ordinal", "interval"]
Counts = NDArray[np.int64]  # (items, categories): how many readers chose each
ROUNDS = 500


def fleiss_kappa(counts: Counts) -> Estimate:
    """Return Fleiss' κ.

    Parameters
    ----------
    counts : array, shape (items, categories)
        How many readers chose each category; every item has the same number of readers, at least two.

    References
    ----------
    Fleiss 1971, https://doi.org/10.1037/h0031619
    """
    readers: NDArray[np.int64] = counts.sum(1)
    if len(counts) == 0 or readers.max(initial=0) < 2:
        return Estimate(None, "no item was answered by two readers")
    if len(set(readers.tolist())) != 1:
        return Estimate(None, "Fleiss' kappa needs the same number of answers for every item")
    n = float(readers[0])
    share = counts.sum(0) / counts.sum()
    agreement = float(((counts**2).sum(1) - n).mean() / (n * (n - 1)))
    expected = float((share**2).sum())
    if math.isclose(expected, 1.0):
        return Estimate(None, "every answer was the same, so chance agreement is complete and kappa is 0/0")
    return Estimate((agreement - expected) / (1 - expected), n=len(counts))


def gwet_ac(counts: Counts, level: Level = "nominal") -> Estimate:
    """Return Gwet's AC1 (nominal) or AC2 (weighted), which do not collapse when almost all answers agree (the κ paradox).

    Parameters
    ----------
    counts : array, shape (items, categories)
        How many readers chose each category, steps in order; items with a single reader inform prevalence only.
    level : Level
        Chooses the weights of :func:`weights`.

    References
    ----------
    Gwet 2008, https://doi.org/10.1348/000711006X126600, eq. 5-7; weights and missing answers: Gwet 2014, Handbook of Inter-Rater
    Reliability, ch. 4 and 5
    """
    q = counts.shape[1]
    if q < 2:
        raise ValueError("Agreement needs at least two categories.")
    answered = counts[counts.sum(1) > 0]
    readers = answered.sum(1).astype(float)
    rated = readers >= 2
    if not rated.any():
        return Estimate(None, "no item was answered by two readers")
    weight = weights(q, level)
    pairs = readers[rated] * (readers[rated] - 1)
    agreement = float(((answered[rated] * (answered[rated] @ weight - 1)).sum(1) / pairs).mean())
    prevalence = (answered / readers[:, None]).mean(0)
    expected = float(weight.sum() * (prevalence * (1 - prevalence)).sum() / (q * (q - 1)))
    return Estimate((agreement - expected) / (1 - expected), n=int(rated.sum()))


def weights(categories: int, level: Level) -> NDArray[np.float64]:
    """Return how much two answers count as agreeing, shape (categories, categories), 1 for equal ones.

    Identity for nominal answers, Gwet's ordinal weights (1 less the share of pairs of steps that lie between), quadratic for intervals.
    """
    steps = np.arange(categories)
    apart = np.abs(steps[:, None] - steps)
    by_level: dict[Level, NDArray[np.float64]] = {
        "nominal": np.eye(categories),
        "ordinal": 1 - (apart + 1) * apart / (categories * (categories - 1)),
        "interval": 1 - (apart / (categories - 1)) ** 2,
    }
    return by_level[level]


def krippendorff_alpha(counts: Counts, level: Level = "nominal") -> Estimate:
    """Return Krippendorff's α.

    Parameters
    ----------
    counts : array, shape (items, categories)
        How many readers chose each category, steps in order.
    level : Level
        Of the scale.

    References
    ----------
    Krippendorff 2011, https://repository.upenn.edu/asc_papers/43
    """
    import krippendorff

    pairable = counts[counts.sum(1) >= 2]
    if not len(pairable):
        return Estimate(None, "no item was answered by two readers")
    if np.count_nonzero(pairable.sum(0)) == 1:
        return Estimate(None, "every answer was the same, so expected disagreement is zero and alpha is 0/0")
    domain = np.arange(counts.shape[1])
    value = float(krippendorff.alpha(value_counts=pairable, value_domain=domain, level_of_measurement=level))
    return Estimate(value, n=len(pairable))


def over_items(coefficient: Callable[[Counts], Estimate], counts: Counts) -> Estimate:
    """Return a coefficient with a percentile interval over resampled items; the readers are taken as they are.

    There is no interval where fewer than 95 % of the resampled sets have a coefficient, or where all have the same.
    """
    estimate = coefficient(counts)
    if estimate.value is None:
        return estimate
    rng = generator("review", "agreement", len(counts))
    drawn = [coefficient(counts[rng.integers(0, len(counts), len(counts))]).value for _ in range(ROUNDS)]
    values = [value for value in drawn if value is not None]
    if len(values) < 0.95 * ROUNDS:
        return Estimate(estimate.value, "too few items differ for an interval", n=estimate.n)
    low, high = (float(end) for end in np.percentile(values, (2.5, 97.5)))
    if low == high:
        return Estimate(estimate.value, "every item agrees alike: resampling them shows no spread", n=estimate.n)
    return Estimate(estimate.value, ci95=(low, high), n=estimate.n)


def count_answers(ratings: NDArray[np.float64], categories: Sequence[float]) -> Counts:
    """Return how many readers gave each category to each item, shape (items, categories), from ratings (readers, items)."""
    return np.stack([(ratings == c).sum(0) for c in categories], axis=1).astype(np.int64)
