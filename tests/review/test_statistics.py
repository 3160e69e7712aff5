"""Published worked examples, independent libraries and closed forms for every number of a reader study."""

import math
from itertools import product

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import inter_rater
from statsmodels.stats.proportion import proportion_confint

from sciimg.review import statistics

# Fleiss 1971, table 1: 30 patients, 6 psychiatrists, 5 diagnoses.
FLEISS_1971 = np.array(
    [
        [0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0], [2, 0, 4, 0, 0],
        [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6], [1, 0, 0, 5, 0], [1, 1, 0, 4, 0],
        [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1], [0, 0, 5, 0, 1], [3, 0, 0, 1, 2], [5, 1, 0, 0, 0],
        [0, 2, 0, 4, 0], [1, 0, 2, 0, 3], [0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0],
        [1, 0, 0, 4, 1], [0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6],
    ]
)  # fmt: skip

_ = math.nan
# Krippendorff 2011: 4 observers, 12 units, 5 values, with missing data.
KRIPPENDORFF_2011 = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)


def test_fleiss_kappa_of_fleiss_1971():
    estimate = statistics.fleiss_kappa(FLEISS_1971)
    assert estimate.value == pytest.approx(0.430, abs=5e-4)  # as printed
    assert estimate.value == pytest.approx(inter_rater.fleiss_kappa(FLEISS_1971), abs=1e-12)


def test_gwet_ac1_of_the_kappa_paradox():
    """Gwet 2008: 125 subjects, agreement 118 + 0, disagreement 5 + 2: κ is negative, AC1 is 0.94."""
    counts = np.array([[2, 0]] * 118 + [[1, 1]] * 7)
    ac1, kappa = statistics.gwet_ac1(counts).value, statistics.fleiss_kappa(counts).value
    assert ac1 == pytest.approx(0.9408, abs=5e-5)
    assert kappa is not None and kappa < 0


def test_gwet_ac1_with_missing_answers():
    """Gwet 2014, ch. 5 works the same 12 units: AC1 0.7754 (irrCAC prints 0.77544)."""
    counts = statistics.count_answers(KRIPPENDORFF_2011, (1, 2, 3, 4, 5))
    assert statistics.gwet_ac1(counts).value == pytest.approx(0.77544, abs=5e-6)


def test_krippendorff_alpha_of_krippendorff_2011():
    assert statistics.krippendorff_alpha(KRIPPENDORFF_2011).value == pytest.approx(0.743, abs=5e-4)  # as printed
    assert krippendorff.alpha(reliability_data=KRIPPENDORFF_2011, level_of_measurement="nominal") == pytest.approx(0.743, abs=5e-4)


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


def test_coefficients_are_one_for_perfect_agreement_and_zero_when_independent():
    perfect = np.array([[4, 0], [0, 4], [4, 0], [0, 4]])
    assert statistics.fleiss_kappa(perfect).value == 1
    assert statistics.gwet_ac1(perfect).value == 1
    every_pattern = np.array(list(product((0, 1), repeat=2))).T.astype(float)  # two readers, all four combinations once
    assert statistics.fleiss_kappa(statistics.count_answers(every_pattern, (0, 1))).value == pytest.approx(0)
    assert statistics.gwet_ac1(statistics.count_answers(every_pattern, (0, 1))).value == pytest.approx(0)


def test_what_is_undefined_says_why():
    same = np.array([[3, 0], [3, 0]])
    assert statistics.fleiss_kappa(same).value is None
    assert "0/0" in statistics.fleiss_kappa(same).reason
    assert statistics.gwet_ac1(same).value == 1  # AC1 is made for this
    assert statistics.krippendorff_alpha(np.zeros((3, 5))).value is None
    assert statistics.gwet_ac1(np.array([[1, 0], [0, 1]])).reason == "no item was answered by two readers"
    assert statistics.fleiss_kappa(np.array([[2, 0], [1, 0]])).value is None


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        statistics.binomial_p(5, 4)
    with pytest.raises(ValueError, match="margin"):
        statistics.equivalence(5, 10, 0.5)
