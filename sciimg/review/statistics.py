"""What readers' answers say: exact accuracy, d′, equivalence around chance, and how many more readings would settle it.

Everything is computed from counts, in closed form or exactly; an undefined coefficient is ``None``, with the reason beside it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A coefficient with its interval and the number of units that it rests on, or the reason why there is none."""

    value: float | None
    reason: str = ""
    ci95: tuple[float, float] | None = None
    n: int | None = None


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
    hit, false_alarm = _rates(hits, signals, false_alarms, noises)
    return hit - false_alarm


def d_prime_2afc(hits: int, signals: int, false_alarms: int, noises: int) -> float:
    """Return d′ of a two-alternative forced choice, free of a preference for one side.

    Parameters
    ----------
    hits, signals : int
        Pairs answered "a" whose synthetic image is a, and all such pairs.
    false_alarms, noises : int
        Pairs answered "a" whose synthetic image is b, and all such pairs.

    References
    ----------
    Macmillan & Creelman 2005, Detection Theory, ch. 7: two looks instead of one, so the yes/no value over √2; log-linear as above.
    """
    return d_prime(hits, signals, false_alarms, noises) / math.sqrt(2)


def bias(hits: int, signals: int, false_alarms: int, noises: int) -> float:
    """Return the criterion c: below 0 for a reader who tends to say "synthetic" (or "a"), above for one who tends not to.

    References
    ----------
    Stanislaw & Todorov 1999, https://doi.org/10.3758/BF03207704; counts corrected as in :func:`d_prime`.
    """
    return -sum(_rates(hits, signals, false_alarms, noises)) / 2


def _rates(hits: int, signals: int, false_alarms: int, noises: int) -> tuple[float, float]:
    """Return z of the two rates."""
    _check_counts(hits, signals)
    _check_counts(false_alarms, noises)
    return float(stats.norm.ppf((hits + 0.5) / (signals + 1))), float(stats.norm.ppf((false_alarms + 0.5) / (noises + 1)))


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
    return float(_power(np.array([trials]), margin, alpha)[0])


def trials_needed(margin: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the fewest trials with which guessing readers are found equivalent with at least this power."""
    # The normal approximation lands near; exact power is a saw-tooth, so the search begins well below it.
    z = stats.norm.ppf(1 - alpha) + stats.norm.ppf((1 + power) / 2)
    start = max(1, int(0.8 * (z / (2 * margin)) ** 2))
    blocks = (np.arange(first, first + start + 64) for first in range(start, 4 * start + 64, start + 64))
    enough = (int(n) for block in blocks for n in block[_power(block, margin, alpha) >= power])
    return next(enough)


def _power(trials: NDArray[np.int64], margin: float, alpha: float) -> NDArray[np.float64]:
    inside, _ = _ends(trials, margin, alpha)
    passing: NDArray[np.float64] = stats.binom.cdf(inside, trials, CHANCE) - stats.binom.cdf(trials - inside - 1, trials, CHANCE)
    return np.maximum(passing, 0)


@dataclass(frozen=True, slots=True)
class ToDecide:
    """How many more readings would settle whether readers guess, if they go on as they did; 0 when it is settled, None beyond ``MOST``.

    Settled means found equivalent to guessing, or found to lie beyond the margin.
    """

    readings: int | None
    power: float
    assumed_accuracy: float
    settled: str
    reason: str = ""


MOST = 4096  # more readings than anyone will ask for


def to_decide(successes: int, trials: int, margin: float, alpha: float = 0.05, power: float = 0.8) -> ToDecide:
    """Return the fewest further readings after which the question is settled with probability ``power``.

    The readings there are stay in the count, and further ones are right at the rate seen so far, corrected as in :func:`d_prime`: the exact
    conditional power of the two one-sided tests of :func:`equivalence`, and of the test that accuracy lies beyond the margin.
    """
    _check_counts(successes, trials)
    rate = (successes + 0.5) / (trials + 1)
    inside, outside = (int(end[0]) for end in _ends(np.array([trials]), margin, alpha))
    if trials - inside <= successes <= inside:
        return ToDecide(0, power, rate, "equivalent to guessing")
    if not trials - outside < successes < outside:
        return ToDecide(0, power, rate, "beyond the margin")
    for upto in (64, 512, MOST):
        more = np.arange(upto + 1)
        enough = np.flatnonzero(_settles(successes, trials, more, rate, margin, alpha) >= power)
        if enough.size:
            return ToDecide(int(enough[0]), power, rate, "open")
    reason = f"an accuracy of {rate:.2f} is so near to {CHANCE} ± {margin:g} that {MOST} more readings would not settle it"
    return ToDecide(None, power, rate, "open", reason)


def _settles(successes: int, trials: int, more: NDArray[np.int64], rate: float, margin: float, alpha: float) -> NDArray[np.float64]:
    """Return the probability that the count is settled after each number of further readings."""
    total = trials + more
    inside, outside = _ends(total, margin, alpha)
    between = stats.binom.cdf(inside - successes, more, rate) - stats.binom.cdf(total - inside - successes - 1, more, rate)
    beyond = stats.binom.sf(outside - successes - 1, more, rate) + stats.binom.cdf(total - outside - successes, more, rate)
    settled: NDArray[np.float64] = np.maximum(between, 0) + beyond
    return settled


def _ends(total: NDArray[np.int64], margin: float, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the most right answers that pass for guessing, and the fewest that lie beyond the margin; the other side mirrors both."""
    inside = stats.binom.ppf(alpha, total, CHANCE + margin) - 1
    inside += stats.binom.cdf(inside + 1, total, CHANCE + margin) <= alpha  # ppf stops one short where alpha is reached exactly
    return inside, stats.binom.isf(alpha, total, CHANCE + margin) + 1


def _check_counts(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"Counts must satisfy 0 <= successes <= trials, trials >= 1; got {successes} of {trials}.")
