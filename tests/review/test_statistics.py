"""Published tables, independent libraries and closed forms for accuracy, sensitivity and equivalence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from sciimg.review import statistics


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (7, 20), (60, 120), (1, 1)])
def test_binomial_interval_and_p_agree_with_other_libraries(successes, trials):
    assert statistics.binomial_interval(successes, trials) == pytest.approx(proportion_confint(successes, trials, method="beta"), abs=1e-12)
    likelihoods = stats.binom.pmf(np.arange(trials + 1), trials, 0.5)
    assert statistics.binomial_p(successes, trials) == pytest.approx(likelihoods[likelihoods <= likelihoods[successes] * (1 + 1e-7)].sum())


def test_binomial_interval_covers_at_least_its_level():
    trials = 25
    intervals = [statistics.binomial_interval(k, trials) for k in range(trials + 1)]
    for p in np.linspace(0.02, 0.98, 25):
        covered = sum(stats.binom.pmf(k, trials, p) for k, (low, high) in enumerate(intervals) if low <= p <= high)
        assert covered >= 0.95


@pytest.mark.parametrize(("margin", "needed"), [(0.15, 96), (0.10, 214), (0.05, 861)])
def test_trials_needed_for_equivalence(margin, needed):
    assert statistics.trials_needed(margin) == needed
    assert statistics.equivalence_power(needed, margin) >= 0.8 > statistics.equivalence_power(needed - 1, margin)


def test_equivalence_holds_its_level_at_the_margin():
    """At an accuracy of exactly chance ± margin, the test says 'equivalent' with probability at most alpha."""
    trials, margin = 150, 0.15
    passing = [k for k in range(trials + 1) if statistics.equivalence(k, trials, margin).equivalent]
    for truth in (0.5 - margin, 0.5 + margin):
        assert 0 < stats.binom.pmf(passing, trials, truth).sum() <= 0.05
    assert statistics.equivalence_power(trials, margin) == pytest.approx(stats.binom.pmf(passing, trials, 0.5).sum())


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_smallest_margin_is_where_equivalence_begins(counts):
    successes, trials = counts
    smallest = statistics.equivalence(successes, trials).smallest_margin
    if smallest < 0.499:
        assert statistics.equivalence(successes, trials, smallest + 1e-6).equivalent
        assert not statistics.equivalence(successes, trials, smallest - 1e-6).equivalent


def test_d_prime_closed_forms():
    assert statistics.d_prime(10, 20, 10, 20) == 0
    assert statistics.d_prime(20, 20, 0, 20) == pytest.approx(2 * stats.norm.ppf(20.5 / 21))  # finite for a perfect reader
    big = 10**7  # the correction vanishes: Macmillan & Creelman, H = 0.8, F = 0.4 gives 1.095
    assert statistics.d_prime(8 * big, 10 * big, 4 * big, 10 * big) == pytest.approx(1.095, abs=1e-3)


@given(st.integers(0, 30), st.integers(0, 30))
def test_d_prime_changes_sign_when_answers_are_swapped(hits, false_alarms):
    assert statistics.d_prime(hits, 30, false_alarms, 30) == pytest.approx(-statistics.d_prime(false_alarms, 30, hits, 30))


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        statistics.binomial_p(5, 4)
    with pytest.raises(ValueError, match="margin"):
        statistics.equivalence(5, 10, 0.5)


def test_bias_of_a_published_example():
    """Stanislaw & Todorov 1999: H = 0.8 and F = 0.4 give d' = 1.095 and c = -0.294."""
    big = 10**7
    assert statistics.bias(8 * big, 10 * big, 4 * big, 10 * big) == pytest.approx(-0.294, abs=1e-3)


@pytest.mark.parametrize(("right", "d"), [(0.76, 1.0), (0.92, 1.99), (0.50, 0.0)])
def test_d_prime_of_pairs_as_tabled(right, d):
    """Hacker & Ratcliff 1979, table 1, two alternatives."""
    n = 10**8
    assert statistics.d_prime_2afc(int(right * n), n, n - int(right * n), n) == pytest.approx(d, abs=0.011)


def test_d_prime_of_pairs_does_not_reward_a_preference_for_one_side():
    assert statistics.d_prime_2afc(50, 50, 50, 50) == 0
    fair, leaning = statistics.d_prime_2afc(38, 50, 12, 50), statistics.d_prime_2afc(45, 50, 22, 50)
    assert leaning > 0 and fair == pytest.approx(2 * stats.norm.ppf(38.5 / 51) / np.sqrt(2))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30))
def test_log_linear_rates_lie_inside_of_what_was_counted(hits, false_alarms, extra):
    """Hautus 1995: 0.5 is added to each count and 1 to each total, so 2 d' and c come back from the two rates by hand."""
    signals, noises = hits + extra, false_alarms + extra
    h, f = (hits + 0.5) / (signals + 1), (false_alarms + 0.5) / (noises + 1)
    d, c = statistics.d_prime(hits, signals, false_alarms, noises), statistics.bias(hits, signals, false_alarms, noises)
    assert stats.norm.cdf(d / 2 - c) == pytest.approx(h)
    assert stats.norm.cdf(-d / 2 - c) == pytest.approx(f)


# ---------------------------------------------------------------- how many more readings


def test_no_more_readings_once_settled():
    assert (statistics.to_decide(75, 150, 0.15).readings, statistics.to_decide(75, 150, 0.15).settled) == (0, "equivalent to guessing")
    assert (statistics.to_decide(95, 100, 0.15).readings, statistics.to_decide(95, 100, 0.15).settled) == (0, "beyond the margin")
    assert statistics.to_decide(5, 100, 0.15).settled == "beyond the margin"  # reliably wrong is no guessing either


@pytest.mark.parametrize(("correct", "trials"), [(21, 40), (0, 4), (30, 40), (60, 100), (2, 3)])
def test_further_readings_settle_it_as_often_as_said(correct, trials):
    """The exact chance, by adding up every outcome of the further readings with the tests themselves, is reached there and not before."""
    margin = 0.15
    need = statistics.to_decide(correct, trials, margin)

    def chance(more):
        k, total = correct + np.arange(more + 1), trials + more
        inside = (stats.binom.cdf(k, total, 0.5 + margin) <= 0.05) & (stats.binom.sf(k - 1, total, 0.5 - margin) <= 0.05)
        beyond = (stats.binom.sf(k - 1, total, 0.5 + margin) <= 0.05) | (stats.binom.cdf(k, total, 0.5 - margin) <= 0.05)
        return stats.binom.pmf(np.flatnonzero(inside | beyond), more, (correct + 0.5) / (trials + 1)).sum()

    assert need.readings is not None and need.readings > 0
    assert chance(need.readings) >= 0.8 > chance(need.readings - 1)


def test_at_the_margin_no_number_of_readings_helps():
    need = statistics.to_decide(6500, 10000, 0.15)
    assert need.readings is None
    assert "0.65" in need.reason
