"""Intervals and tests that resample independent units: subjects, fields, blocks, never patches.

Two schemes, because they answer different questions:

- **Group bootstrap** for means and other statistics of single samples (or of pairs): groups are drawn with replacement, percentile or BCa
  limits.
- **Half-sampling** for distances between sets. Drawing with replacement would put copies of an image on both sides of a distance and
  bias it, so every replicate takes a random half of the groups without replacement (delete-half jackknife): with b = n/2 the deviation
  of a replicate from the mean of all replicates has the variance of the statistic on all n groups.

References
----------
Efron B (1987) Better bootstrap confidence intervals. JASA 82, doi:10.1080/01621459.1987.10478410
Shao J, Wu CFJ (1989) A general theory for jackknife variance estimation. Ann Stat 17, doi:10.1214/aos/1176347263
Phipson B, Smyth GK (2010) Permutation p-values should never be zero. doi:10.2202/1544-6115.1585
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Interval = tuple[float, float]

UNBOUNDED: Interval = (-math.inf, math.inf)
NO_SPREAD = "all groups have the same value, and nothing bounds that of others: there is no interval"
_ROUNDING = 1e-12  # of the scale: sums of equal values differ by this much in another order

MOST = 512  # samples on a side of a split: what 200 splits show of 100,000 samples is all of them, and one split takes milliseconds


def group_index(groups: NDArray[Any]) -> tuple[list[str], Index]:
    """Return the sorted group names and the group number of each sample, shape (N,)."""
    names, index = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    return names.tolist(), index.astype(np.intp)


# ---------------------------------------------------------------- group bootstrap


def percentile_interval(replicates: Array, level: float = 0.95) -> Interval:
    """Return the central percentile interval of bootstrap replicates, shape (B,)."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca_interval(estimate: float, replicates: Array, jackknife: Array, level: float = 0.95) -> Interval:
    """Return the bias-corrected and accelerated bootstrap interval (Efron 1987).

    Parameters
    ----------
    estimate : float
        The statistic on all groups.
    replicates : array, shape (B,)
        The statistic on bootstrap samples of groups.
    jackknife : array, shape (G,)
        The statistic with each group left out.

    Notes
    -----
    Falls back to percentiles where the correction does not exist: all replicates on one side of the estimate, or a jackknife without
    spread.
    """
    below = float(np.mean(replicates < estimate) + 0.5 * np.mean(replicates == estimate))
    spread = jackknife.mean() - jackknife
    scale = float(np.sum(spread**2))
    if not 0 < below < 1 or scale == 0:
        return percentile_interval(replicates, level)
    shift = stats.norm.ppf(below)
    acceleration = float(np.sum(spread**3)) / (6 * scale**1.5)
    ends = shift + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    levels = stats.norm.cdf(shift + ends / (1 - acceleration * ends))
    low, high = np.quantile(replicates, levels)
    return float(low), float(high)


def mean_interval(
    values: Array,
    groups: NDArray[Any],
    rng: np.random.Generator,
    *,
    rounds: int = 1000,
    level: float = 0.95,
    within: Interval = UNBOUNDED,
) -> Interval | None:
    """Return the BCa interval of the mean of per-sample values, shape (N,), resampling groups; None with fewer than two groups.

    Where all groups have one value, :func:`unless_degenerate` says what they can say ``within`` the bounds of a value.
    """
    names, index = group_index(groups)
    if len(names) < 2:
        return None
    sums = np.bincount(index, weights=values)
    counts = np.bincount(index).astype(np.float64)
    weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=rounds)
    replicates = (weights @ sums) / (weights @ counts)
    jackknife = (sums.sum() - sums) / (counts.sum() - counts)
    return unless_degenerate(bca_interval(float(sums.sum() / counts.sum()), replicates, jackknife, level), len(names), within)


def proportion_interval(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Return the exact (Clopper-Pearson) interval of a proportion; counts of effective trials need not be whole."""
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(stats.beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def unless_degenerate(interval: Interval, groups: int, within: Interval = UNBOUNDED) -> Interval | None:
    """Return a bootstrap interval as it is; or, where it has no width, what so many groups of one value can say of the mean of all.

    Groups that do not differ, or a single one, give replicates that do not differ, which is no certainty. Of n groups that all have
    the value v, the share of such groups is at least q = 0.025^(1/n) at 97.5 % (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404;
    Hanley & Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031). The others may have any value that the quantity can have, so the
    mean lies between q v + (1 - q) low and q v + (1 - q) high. At a bound the interval widens inwards alone: [q, 1] for a Dice of 1.

    Parameters
    ----------
    interval : (float, float)
        Of the bootstrap.
    groups : int
        Independent units behind it; the smaller side of two.
    within : (float, float)
        What a group can have at least and at most.

    Returns
    -------
    (float, float), or None
        None where an interval without width would need a bound that the quantity does not have.
    """
    low, high = interval
    least, most = within
    bounded = math.isfinite(least) and math.isfinite(most)
    if high - low > _ROUNDING * max(abs(low), abs(high), most - least if bounded else 0.0):
        return interval
    if not bounded:
        return None
    share = 0.025 ** (1 / groups)
    return min(low, share * low + (1 - share) * least), max(high, share * high + (1 - share) * most)


def quotient_interval(above: Interval | None, below: Interval | None) -> Interval | None:
    """Return the interval of a ratio from those of its two sides, for sides that show no spread; None where one has none.

    Each of the two may miss its truth once in 40 times, so one of them does so at most once in 20 (Bonferroni).
    """
    if above is None or below is None or below[0] <= 0:
        return None
    return above[0] / below[1], above[1] / below[0]


# ---------------------------------------------------------------- permutation


def permutation_p(observed: float, permuted: Array) -> float:
    """Return the one-sided p-value (b + 1) / (B + 1), b the number of permuted values at least as large as the observed one."""
    return (int(np.sum(permuted >= observed)) + 1) / (len(permuted) + 1)


def permutation_test(
    first: Array,
    second: Array,
    first_groups: NDArray[Any],
    second_groups: NDArray[Any],
    rng: np.random.Generator,
    *,
    statistic: Callable[[Array, Array], float] = lambda a, b: abs(float(a.mean() - b.mean())),
    rounds: int = 999,
) -> float:
    """Return the p-value for 'both sets come from one population', exchanging whole groups between the sets."""
    values = np.concatenate([first, second])
    _, index = group_index(np.concatenate([np.char.add("a:", first_groups.astype(str)), np.char.add("b:", second_groups.astype(str))]))
    own = np.zeros(index.max() + 1, bool)
    own[index[: len(first)]] = True
    permuted = np.empty(rounds)
    for i in range(rounds):
        chosen = rng.permutation(own)[index]
        permuted[i] = statistic(values[chosen], values[~chosen])
    return permutation_p(statistic(first, second), permuted)


# ---------------------------------------------------------------- half-sampling


@dataclass(frozen=True, slots=True)
class HalfSplit:
    """Row numbers of one replicate, all of the same length: two halves of the real set that share no group, and a synthetic draw."""

    reference: Index
    real: Index
    synthetic: Index


def half_splits(
    real_groups: NDArray[Any], synthetic_groups: NDArray[Any], rng: np.random.Generator, *, rounds: int, most: int = MOST
) -> list[HalfSplit]:
    """Return ``rounds`` random splits in which every side has the same number n of samples.

    The real set falls into two random halves by group; n is half of the smaller set (less where groups are too uneven), and at most
    ``most``: cost then grows with the number of splits alone, while a large set still takes part whole, another piece in every split.
    Comparing ``reference`` with ``synthetic`` and with ``real`` gives a metric and its real-versus-real null at the same n.
    """
    target = min(len(real_groups), len(synthetic_groups)) // 2
    real, synthetic = group_index(real_groups)[1], group_index(synthetic_groups)[1]
    halves = [tuple(side[:most].copy() for side in _two_halves(real, rng)) for _ in range(rounds)]
    size = max(min(target, *(len(side) for pair in halves for side in pair)), 0)
    return [HalfSplit(np.sort(a[:size]), np.sort(b[:size]), np.sort(_shuffled_groups(synthetic, rng)[:size])) for a, b in halves]


def _shuffled_groups(index: Index, rng: np.random.Generator) -> Index:
    """Return all rows with groups in random order and rows in random order inside their group."""
    order = rng.permutation(int(index.max()) + 1)[index]
    return np.lexsort((rng.random(len(index)), order)).astype(np.intp)


def _two_halves(index: Index, rng: np.random.Generator) -> tuple[Index, Index]:
    rows = _shuffled_groups(index, rng)
    edges = np.flatnonzero(np.diff(index[rows])) + 1  # where a new group begins
    cut = int(edges[np.argmin(np.abs(edges - len(rows) / 2))]) if len(edges) else len(rows)
    # a side that must lose rows loses some of every group rather than its last group whole
    return tuple(rng.permutation(side).astype(np.intp) for side in (rows[:cut], rows[cut:]))  # type: ignore[return-value]


def spread_of_mean(drawn: int, groups: int, rounds: int) -> float:
    """Return the standard error of the mean of all replicates in units of their spread, where each has ``drawn`` of ``groups`` units.

    1 for half of the units (the delete-half jackknife). A smaller subsample varies by 1/drawn - 1/groups of the variance of one unit, the
    statistic on all by 1/groups (Politis, Romano & Wolf 1999, Subsampling, doi:10.1007/978-1-4612-1554-7), and chance in the choice of R
    replicates adds 1/R. Holds for a statistic that behaves as a mean; one that varies as 1/n (a kernel distance near 0) varies less.
    """
    if 2 * drawn >= groups:
        return 1.0
    return min(1.0, math.sqrt(drawn / (groups - drawn) + 1 / rounds))


def half_interval(
    replicates: Array,
    groups: int,
    *,
    lowest: float = -math.inf,
    highest: float = math.inf,
    spread: float = 1.0,
    samples: int | None = None,
) -> Interval:
    """Return the 95 % interval around the mean of half-sample replicates, shape (R,).

    Parameters
    ----------
    groups : int
        Independent units behind the smaller side; quantiles are stretched by t/z with ``groups - 1`` degrees of freedom.
    lowest, highest : float
        What the statistic can be; 0 and 1 say that it is a share.
    spread : float
        See :func:`spread_of_mean`.
    samples : int, optional
        Samples in these groups; by default one each.

    Notes
    -----
    Near 0 and 1 a few units show no spread, which does not say that there is none: 12 right ones out of 12 are what a share of 0.8 gives
    once in 15 times. So the interval of a share is never narrower than the exact binomial one (Clopper & Pearson 1934,
    doi:10.1093/biomet/26.4.404) of as many trials as the samples are worth: p (1 - p) over the variance of p, at most ``samples`` (Korn &
    Graubard 1998, Survey Methodology 24, 193-201), and at least ``groups``, which is also what counts without any spread. One sample a
    group and ordinary spread give the interval of Student's t, which is hardly ever narrower.
    """
    centre, deviation = float(np.mean(replicates)), spread * float(np.std(replicates))
    stretch = spread * float(stats.t.ppf(0.975, groups - 1) / stats.norm.ppf(0.975))
    low, high = (centre + stretch * (float(q) - centre) for q in np.quantile(replicates, [0.025, 0.975]))
    if (lowest, highest) == (0.0, 1.0):
        worth = centre * (1 - centre) / deviation**2 if deviation > 0 else 0.0
        trials = max(min(worth, groups if samples is None else samples), groups)
        exact = proportion_interval(centre * trials, trials)
        low, high = min(low, exact[0]), max(high, exact[1])
    return max(min(low, centre), lowest), min(max(high, centre), highest)
