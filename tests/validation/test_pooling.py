"""Pooled statistics: sums by hand, draws with the moments of their law, intervals of textbook widths."""

import numpy as np
import pytest
from scipy import stats

from sciimg.validation.pooling import basic_interval, by_group, centred_interval, disjoint_sets, pooled, resampling_weights


def test_sums_within_groups_and_over_rounds_by_hand() -> None:
    names, sums = by_group(np.array([[1.0, 2], [3, 4], [5, 6]]), np.array(["b", "a", "b"]))
    assert names == ["a", "b"] and sums.tolist() == [[3, 4], [6, 8]]
    assert pooled(sums, np.array([[1.0, 0], [2, 3]])).tolist() == [[3, 4], [24, 32]]


def test_each_round_draws_as_many_groups_as_there_are_each_as_often_as_any_other() -> None:
    """Of n draws from n groups a group gets 1 on the mean, with variance 1 - 1 / n."""
    weights = resampling_weights(np.random.default_rng(0), 8, 20_000)
    assert weights.shape == (20_000, 8) and np.all(weights.sum(axis=1) == 8)
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.03) and weights.var(axis=0) == pytest.approx(7 / 8, rel=0.05)


@pytest.mark.parametrize(("groups", "size"), [(6, 3), (7, 3), (9, 2)])
def test_two_sets_are_disjoint_of_their_size_and_every_group_may_be_in_either(groups: int, size: int) -> None:
    first, second = disjoint_sets(np.random.default_rng(0), groups, size, 4000)
    assert np.all((first == 0) | (first == 1)) and np.all(first + second <= 1)
    assert np.all(first.sum(axis=1) == size) and np.all(second.sum(axis=1) == size)
    for side in (first, second):
        assert side.mean(axis=0) == pytest.approx(size / groups, abs=0.04)


def test_groups_that_do_not_suffice_for_two_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="Two disjoint sets of 3 need 6 groups; got 5"):
        disjoint_sets(np.random.default_rng(0), 5, 3, 1)


REPLICATES = np.linspace(0, 1, 1001)  # quantiles are what they are called


def test_a_centred_interval_has_the_width_of_the_quantiles_about_the_estimate() -> None:
    assert centred_interval(10.0, REPLICATES, 9) == pytest.approx((10 - 0.475, 10 + 0.475))
    assert centred_interval(0.1, REPLICATES, 9, lowest=0.0) == pytest.approx((0.0, 0.1 + 0.475))
    skewed = np.concatenate([np.zeros(990), np.full(10, 100.0)])  # all of the middle 95 % lies below the mean, 1
    assert centred_interval(5.0, skewed, 9) == pytest.approx((4.0, 5.0))  # and the interval still holds the estimate
    assert centred_interval(5.0, -skewed, 9) == pytest.approx((5.0, 6.0))


def test_replicates_that_do_not_differ_say_what_so_many_groups_can() -> None:
    assert centred_interval(0.5, np.full(100, 0.3), 4) is None
    share = 0.025 ** (1 / 4)
    assert centred_interval(1.0, np.ones(100), 4, within=(0.0, 1.0)) == pytest.approx((share, 1))


@pytest.mark.parametrize("groups", [2, 5, 1000])
def test_the_basic_interval_reflects_the_deviations_and_stretches_them_for_few_groups(groups: int) -> None:
    """Davison & Hinkley 1997, eq. 5.6, by hand: 2 t - q; of a normal statistic the width is that of Student's interval."""
    quantiles = 3 + 2 * stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    low, high = basic_interval(3.5, quantiles, groups)
    student = stats.t.ppf(0.975, groups - 1)
    centre = 3.5 + student / stats.norm.ppf(0.975) * (3.5 - 3)
    assert (low, high) == pytest.approx((centre - 2 * student, centre + 2 * student), rel=1e-3, abs=2e-3)
    assert basic_interval(3.5, quantiles, groups, lowest=3.0)[0] == 3.0


def test_the_basic_interval_holds_its_estimate() -> None:
    assert basic_interval(0.0, REPLICATES + 9, 50)[1] == 0 and basic_interval(99.0, REPLICATES, 50)[0] == 99
