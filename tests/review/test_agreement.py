"""Published worked examples and independent libraries for agreement between readers."""

import math
from itertools import product

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from sciimg.review import agreement

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
    estimate = agreement.fleiss_kappa(FLEISS_1971)
    assert estimate.value == pytest.approx(0.430, abs=5e-4)  # as printed
    assert estimate.value == pytest.approx(inter_rater.fleiss_kappa(FLEISS_1971), abs=1e-12)


def test_gwet_ac1_of_the_kappa_paradox():
    """Gwet 2008: 125 subjects, agreement 118 + 0, disagreement 5 + 2: κ is negative, AC1 is 0.94."""
    counts = np.array([[2, 0]] * 118 + [[1, 1]] * 7)
    ac1, kappa = agreement.gwet_ac(counts).value, agreement.fleiss_kappa(counts).value
    assert ac1 == pytest.approx(0.9408, abs=5e-5)
    assert kappa is not None and kappa < 0


RATED = agreement.count_answers(KRIPPENDORFF_2011, (1, 2, 3, 4, 5))


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.77544), ("ordinal", 0.89894), ("interval", 0.914)])
def test_gwet_ac_with_missing_answers(level, value):
    """Gwet 2014, ch. 5 works the same 12 units; irrCAC 0.4.4 prints these for identity, ordinal and quadratic weights."""
    assert agreement.gwet_ac(RATED, level).value == pytest.approx(value, abs=5e-6)


@pytest.mark.parametrize(("level", "printed"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorff_alpha_of_krippendorff_2011(level, printed):
    value = agreement.krippendorff_alpha(RATED, level).value
    assert value == pytest.approx(printed, abs=5e-4)  # as printed
    assert value == pytest.approx(krippendorff.alpha(reliability_data=KRIPPENDORFF_2011, level_of_measurement=level), abs=1e-12)


def test_ordinal_weights_as_printed():
    """Gwet 2014, table of ordinal weights for five categories (irrCAC prints the same matrix)."""
    assert agreement.weights(5, "ordinal")[0] == pytest.approx([1, 0.9, 0.7, 0.4, 0])
    assert agreement.weights(5, "interval")[0] == pytest.approx([1, 15 / 16, 12 / 16, 7 / 16, 0])


@given(st.integers(2, 9), st.sampled_from(["nominal", "ordinal", "interval"]))
def test_weights_are_one_for_equal_answers_and_zero_for_opposite_ones(categories, level):
    matrix = agreement.weights(categories, level)
    assert np.all(np.diag(matrix) == 1) and matrix[0, -1] == 0
    assert np.array_equal(matrix, matrix.T) and np.all(np.diff(matrix[0]) <= 0)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_two_steps_have_one_level(level):
    """With two categories every weighting is the same."""
    counts = FLEISS_1971[:, [0, 3]]
    assert agreement.gwet_ac(counts, level).value == pytest.approx(agreement.gwet_ac(counts).value)
    assert agreement.krippendorff_alpha(counts, level).value == pytest.approx(agreement.krippendorff_alpha(counts).value)


def test_near_misses_count_less_on_a_scale():
    near, far = np.array([[2, 1, 0, 0, 0], [0, 0, 0, 1, 2]] * 6), np.array([[2, 0, 0, 0, 1], [1, 0, 0, 0, 2]] * 6)
    for coefficient in (agreement.gwet_ac, agreement.krippendorff_alpha):
        assert coefficient(near, "ordinal").value > coefficient(near).value
        assert coefficient(near, "interval").value > coefficient(far, "interval").value


# ---------------------------------------------------------------- intervals over items


def test_interval_of_gwet_ac1_is_about_the_published_one():
    """Fleiss 1971's patients: irrCAC 0.4.4 gives AC1 0.44788 with a standard error of 0.05566 and the interval (0.334, 0.562)."""
    estimate = agreement.over_items(agreement.gwet_ac, FLEISS_1971)
    low, high = estimate.ci95
    assert estimate.n == 30 and estimate.value == pytest.approx(0.44788, abs=5e-6)
    assert (low, high) == pytest.approx((0.334, 0.562), abs=0.03)


def test_items_that_agree_alike_have_no_interval():
    same = agreement.over_items(agreement.gwet_ac, np.array([[3, 0], [0, 3]] * 5))
    assert (same.value, same.ci95) == (1, None) and "no spread" in same.reason
    rare = agreement.over_items(agreement.fleiss_kappa, np.array([[3, 0]] * 19 + [[0, 3]]))
    assert rare.ci95 is None and "too few" in rare.reason


def test_coefficients_are_one_for_perfect_agreement_and_zero_when_independent():
    perfect = np.array([[4, 0], [0, 4], [4, 0], [0, 4]])
    assert agreement.fleiss_kappa(perfect).value == 1
    assert agreement.gwet_ac(perfect).value == 1
    every_pattern = np.array(list(product((0, 1), repeat=2))).T.astype(float)  # two readers, all four combinations once
    assert agreement.fleiss_kappa(agreement.count_answers(every_pattern, (0, 1))).value == pytest.approx(0)
    assert agreement.gwet_ac(agreement.count_answers(every_pattern, (0, 1))).value == pytest.approx(0)


def test_what_is_undefined_says_why():
    same = np.array([[3, 0], [3, 0]])
    assert agreement.fleiss_kappa(same).value is None
    assert "0/0" in agreement.fleiss_kappa(same).reason
    assert agreement.gwet_ac(same).value == 1  # AC1 is made for this
    assert agreement.krippendorff_alpha(same).value is None
    assert agreement.gwet_ac(np.array([[1, 0], [0, 1]])).reason == "no item was answered by two readers"
    assert agreement.fleiss_kappa(np.array([[2, 0], [1, 0]])).value is None
