"""What readers' answers say: exact accuracy, d′, equivalence around chance, and agreement between readers.

Everything is computed from counts, in closed form or exactly; an undefined coefficient is ``None``, with the reason beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A coefficient, or the reason why there is none."""

    value: float | None
    reason: str = ""


def binomial_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a proportion.

    References
    ----------
    Clopper & Pearson 1934, https://doi.org/10.1093/biomet/26.4.404
    """
    _check_counts(successes, trials)
    tail = (1 - level) / 2
    lower = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1))
    upper = 1.0 if successes == trials else float(stats.beta.ppf(1 - tail, successes + 1, trials - successes))
    return lower, upper


def binomial_p(successes: int, trials: int) -> float:
    """Return the exact two-sided probability, under guessing, of an accuracy at least as unlikely as the one seen."""
    _check_counts(successes, trials)
    return float(stats.binomtest(successes, trials, CHANCE).pvalue)


def d_prime(hits: int, signals: int, false_alarms: int, noises: int) -> float:
    """Return the sensitivity d′ of a yes/no task with the log-linear correction, finite for perfect scores.

    Parameters
    ----------
    hits, signals : int
        Synthetic images called synthetic, and all synthetic images shown.
    false_alarms, noises : int
        Real images called synthetic, and all real images shown.

    References
    ----------
    Hautus 1995, https://doi.org/10.3758/BF03203619: add 0.5 to both counts and 1 to both totals.
    """
    _check_counts(hits, signals)
    _check_counts(false_alarms, noises)
    return float(stats.norm.ppf((hits + 0.5) / (signals + 1)) - stats.norm.ppf((false_alarms + 0.5) / (noises + 1)))


# ---------------------------------------------------------------- equivalence around chance


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether accuracy lies within ``margin`` of chance, by two exact one-sided tests.

    ``power`` is the chance that pure guessing passes with this many trials; ``trials_needed`` the fewest for 80 % power.
    ``smallest_margin`` is the tightest margin that these answers would support.
    """

    margin: float
    alpha: float
    trials: int
    p_value: float
    equivalent: bool
    power: float
    trials_needed: int
    smallest_margin: float


def equivalence(successes: int, trials: int, margin: float = 0.15, alpha: float = 0.05) -> Equivalence:
    """Test that accuracy is within ``margin`` of chance (exact TOST: both one-sided binomial tests must reject at ``alpha``).

    References
    ----------
    Schuirmann 1987, https://doi.org/10.1007/BF01068419
    """
    _check_counts(successes, trials)
    if not 0 < margin < CHANCE:
        raise ValueError(f"The margin lies between 0 and {CHANCE}; got {margin}.")
    above = float(stats.binom.sf(successes - 1, trials, CHANCE - margin))
    below = float(stats.binom.cdf(successes, trials, CHANCE + margin))
    p_value = max(above, below)
    low, high = binomial_interval(successes, trials, 1 - 2 * alpha)
    return Equivalence(
        margin=margin,
        alpha=alpha,
        trials=trials,
        p_value=p_value,
        equivalent=p_value <= alpha,
        power=equivalence_power(trials, margin, alpha),
        trials_needed=trials_needed(margin, alpha),
        smallest_margin=max(CHANCE - low, high - CHANCE),
    )


def equivalence_power(trials: int, margin: float, alpha: float = 0.05) -> float:
    """Return the exact probability that guessing readers are found equivalent to chance."""
    counts = np.arange(trials + 1)
    passing = (stats.binom.sf(counts - 1, trials, CHANCE - margin) <= alpha) & (stats.binom.cdf(counts, trials, CHANCE + margin) <= alpha)
    return float(stats.binom.pmf(counts[passing], trials, CHANCE).sum())


def trials_needed(margin: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the fewest trials with which guessing readers are found equivalent with at least this power."""
    # The normal approximation lands near; exact power is a saw-tooth, so the search begins well below it.
    z = stats.norm.ppf(1 - alpha) + stats.norm.ppf((1 + power) / 2)
    start = max(1, int(0.8 * (z / (2 * margin)) ** 2))
    trials = next(n for n in range(start, 4 * start + 64) if equivalence_power(n, margin, alpha) >= power)
    return int(trials)


# ---------------------------------------------------------------- agreement


def fleiss_kappa(counts: NDArray[np.int64]) -> Estimate:
    """Return Fleiss' κ.

    Parameters
    ----------
    counts : array, shape (items, categories)
        How many readers chose each category; every item has the same number of readers, at least two.

    References
    ----------
    Fleiss 1971, https://doi.org/10.1037/h0031619
    """
    readers = _readers_per_item(counts)
    if isinstance(readers, Estimate):
        return readers
    if len(set(readers.tolist())) != 1:
        return Estimate(None, "Fleiss' kappa needs the same number of answers for every item")
    n = float(readers[0])
    share = counts.sum(0) / counts.sum()
    agreement = float(((counts**2).sum(1) - n).mean() / (n * (n - 1)))
    expected = float((share**2).sum())
    if math.isclose(expected, 1.0):
        return Estimate(None, "every answer was the same, so chance agreement is complete and kappa is 0/0")
    return Estimate((agreement - expected) / (1 - expected))


def gwet_ac1(counts: NDArray[np.int64]) -> Estimate:
    """Return Gwet's AC1, which does not collapse when almost all answers agree (the κ paradox).

    Parameters
    ----------
    counts : array, shape (items, categories)
        How many readers chose each category; items with a single reader inform prevalence only.

    References
    ----------
    Gwet 2008, https://doi.org/10.1348/000711006X126600, eq. 5-7; with missing answers: Gwet 2014, ch. 5
    """
    if counts.shape[1] < 2:
        raise ValueError("Agreement needs at least two categories.")
    answered = counts[counts.sum(1) > 0]
    readers = answered.sum(1).astype(float)
    rated = readers >= 2
    if not rated.any():
        return Estimate(None, "no item was answered by two readers")
    pairs = readers[rated] * (readers[rated] - 1)
    agreement = float(((answered[rated] * (answered[rated] - 1)).sum(1) / pairs).mean())
    prevalence = (answered / readers[:, None]).mean(0)
    expected = float((prevalence * (1 - prevalence)).sum() / (counts.shape[1] - 1))
    return Estimate((agreement - expected) / (1 - expected))


def krippendorff_alpha(ratings: NDArray[np.float64]) -> Estimate:
    """Return Krippendorff's α for nominal answers.

    Parameters
    ----------
    ratings : array, shape (readers, items)
        Category numbers; NaN where a reader did not answer.

    References
    ----------
    Krippendorff 2011, https://repository.upenn.edu/asc_papers/43
    """
    import krippendorff

    pairable = ratings[:, (~np.isnan(ratings)).sum(0) >= 2]
    values = np.unique(pairable[~np.isnan(pairable)])
    if values.size == 0:
        return Estimate(None, "no item was answered by two readers")
    if values.size == 1:
        return Estimate(None, "every answer was the same, so expected disagreement is zero and alpha is 0/0")
    return Estimate(float(krippendorff.alpha(reliability_data=ratings, level_of_measurement="nominal")))


def count_answers(ratings: NDArray[np.float64], categories: Sequence[float]) -> NDArray[np.int64]:
    """Return how many readers gave each category to each item, shape (items, categories), from ratings (readers, items)."""
    return np.stack([(ratings == c).sum(0) for c in categories], axis=1).astype(np.int64)


def _readers_per_item(counts: NDArray[np.int64]) -> NDArray[np.int64] | Estimate:
    readers: NDArray[np.int64] = counts.sum(1)
    if len(counts) == 0 or readers.max(initial=0) < 2:
        return Estimate(None, "no item was answered by two readers")
    return readers


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"Counts must satisfy 0 <= successes <= trials, trials >= 1; got {successes} of {trials}.")
