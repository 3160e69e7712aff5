import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sciimg.validation.resampling import (
    bca_interval,
    group_index,
    half_interval,
    half_splits,
    mean_interval,
    percentile_interval,
    permutation_p,
    permutation_test,
    proportion_interval,
    quotient_interval,
    unless_degenerate,
)


def test_bca_equals_scipy_on_independent_samples():
    rng = np.random.default_rng(1)
    values = rng.exponential(size=60)
    ours = mean_interval(values, np.arange(60).astype(str), np.random.default_rng(2), rounds=20000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(3)).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.015)


def test_bca_falls_back_to_percentiles():
    replicates = np.linspace(0, 1, 101)
    assert bca_interval(2.0, replicates, np.arange(5.0)) == percentile_interval(replicates)
    assert bca_interval(0.5, replicates, np.ones(5)) == percentile_interval(replicates)


def test_groups_are_the_unit_of_the_bootstrap():
    """Patches of one subject share its level: an interval that resampled patches would cover far too rarely."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(25), 20).astype(str)
    hits = patch_hits = 0
    for _ in range(200):
        values = np.repeat(rng.normal(size=25), 20) + 0.3 * rng.normal(size=500)
        low, high = mean_interval(values, groups, rng, rounds=300)
        hits += low <= 0 <= high
        low, high = mean_interval(values, np.arange(500).astype(str), rng, rounds=300)
        patch_hits += low <= 0 <= high
    assert hits >= 176  # P(X < 176) = 0.3 % when the coverage is 93 %, which 25 groups allow
    assert patch_hits < 120
    assert mean_interval(np.ones(3), np.array(["a", "a", "a"]), rng) is None


def test_proportion_interval_equals_scipy():
    for successes, trials in [(0, 128), (3, 40), (40, 40)]:
        expected = stats.binomtest(successes, trials).proportion_ci(method="exact")
        assert proportion_interval(successes, trials) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("groups", [1, 4, 30])
def test_groups_of_one_value_leave_room_for_others(groups: int) -> None:
    """At a bound it is the exact interval of as many successes; in between each end is that of the share of groups alike."""
    exact = proportion_interval(groups, groups)
    assert unless_degenerate((1.0, 1.0), groups, (0.0, 1.0)) == pytest.approx(exact)
    assert unless_degenerate((0.0, 0.0), groups, (0.0, 1.0)) == pytest.approx(proportion_interval(0, groups))
    assert unless_degenerate((0.1 + 0.2, 0.3), groups, (0.0, 1.0)) == pytest.approx((0.3 * exact[0], 1 - 0.7 * exact[0]))
    assert unless_degenerate((0.0, 0.0), groups, (-1.0, 1.0)) == pytest.approx((exact[0] - 1, 1 - exact[0]))
    assert unless_degenerate((7.0, 7.0), groups) is None
    assert unless_degenerate((0.0, 0.0), groups, (0.0, np.inf)) is None


def test_an_interval_with_width_stays_as_it_is() -> None:
    assert unless_degenerate((0.999, 1.001), 3, (0.0, 1.0)) == (0.999, 1.001)
    assert unless_degenerate((1e-30, 2e-30), 3) == (1e-30, 2e-30)


def test_a_mean_of_equal_groups_is_not_certain() -> None:
    """Three of four populations with a Dice of 0.9 give four groups of 1 now and then: the interval was [1, 1]."""
    groups = np.array(["a", "b", "c", "d", "d"])
    low, high = mean_interval(np.ones(5), groups, np.random.default_rng(0), within=(0.0, 1.0))
    assert (low, high) == pytest.approx((0.025**0.25, 1.0))
    assert mean_interval(np.full(5, 0.1), groups, np.random.default_rng(0)) is None  # sums of 0.1 differ by their rounding


@pytest.mark.parametrize("right", [0.6, 0.8, 0.97])
def test_equal_groups_cover_the_truth(right: float) -> None:
    """Groups are right or wrong as a whole. Twelve right ones come once in 15 times at 0.8, and were said to be all there is."""
    rng, missed, groups = np.random.default_rng(0), 0, np.arange(12)
    for values in (rng.random((1000, 12)) < right).astype(float):
        if values.all():
            low, high = mean_interval(values, groups, rng, rounds=20, within=(0.0, 1.0))
            missed += not low <= right <= high
    assert missed <= 25


def test_a_ratio_of_two_sides_without_spread() -> None:
    assert quotient_interval((0.4, 1.0), (0.5, 1.0)) == pytest.approx((0.4, 2.0))
    assert quotient_interval(None, (0.5, 1.0)) is None and quotient_interval((0.4, 1.0), (0.0, 1.0)) is None


def test_permutation_p_is_never_zero():
    assert permutation_p(10.0, np.zeros(99)) == pytest.approx(0.01)


def test_permutation_test_exchanges_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 10).astype(str)
    level = np.repeat(rng.normal(size=6), 10)
    other = np.repeat(rng.normal(size=6), 10)
    assert permutation_test(level, other, groups, groups, np.random.default_rng(1)) > 0.05
    assert permutation_test(level, other + 9, groups, groups, np.random.default_rng(1)) < 0.02


@settings(max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=8, max_size=20), st.integers(8, 90), st.integers(0, 999))
def test_half_splits_share_no_group_and_have_one_size(sizes, count, seed):
    real = np.repeat(np.arange(len(sizes)), sizes).astype(str)
    synthetic = np.arange(count).astype(str)
    splits = half_splits(real, synthetic, np.random.default_rng(seed), rounds=5)
    for split in splits:
        assert not set(real[split.reference]) & set(real[split.real])
        assert len(split.reference) == len(split.real) == len(split.synthetic) <= min(len(real), count) / 2
        for rows in (split.reference, split.real, split.synthetic):
            assert len(np.unique(rows)) == len(rows)


def test_half_sampling_measures_the_spread_of_the_whole_sample():
    """For a mean the half-sample interval must be the t interval."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    splits = half_splits(np.arange(40).astype(str), np.arange(40).astype(str), rng, rounds=4000)
    low, high = half_interval(np.array([values[s.synthetic].mean() for s in splits]), 40)
    half = stats.t.ppf(0.975, 39) * values.std(ddof=1) / np.sqrt(40)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.02)


def test_half_interval_respects_bounds():
    assert half_interval(np.array([0.0, 0.5, 1.0]), 10, lowest=0.0, highest=1.0) == (0.0, 1.0)


def test_a_share_without_spread_is_as_uncertain_as_its_units_allow():
    """Twelve right ones of twelve: the exact interval of 12 trials, at either end and wherever no replicate differs."""
    for share, right in ((1.0, 12), (0.0, 0), (0.25, 3)):
        expected = stats.binomtest(right, 12).proportion_ci(method="exact")
        got = half_interval(np.full(200, share), 12, lowest=0, highest=1, samples=600)
        assert got == pytest.approx((expected.low, expected.high))
    assert half_interval(np.ones(200), 12) == (1.0, 1.0)  # not a share: nothing is known of its law


def test_a_share_with_ordinary_spread_keeps_its_interval():
    """Many images a group, independent of one another: they count as images, and the exact interval lies where Student's does."""
    rng = np.random.default_rng(0)
    replicates = rng.normal(0.8, np.sqrt(0.8 * 0.2 / 400), 4000)
    plain = half_interval(replicates, 16)
    assert half_interval(replicates, 16, lowest=0, highest=1, samples=400) == pytest.approx(plain, abs=0.005)
    of_groups = half_interval(replicates, 16, lowest=0, highest=1)  # 16 samples cannot be that certain
    assert of_groups[0] < stats.binomtest(13, 16).proportion_ci(method="exact").low < plain[0]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("each", [1, 10])
def test_intervals_of_shares_cover_near_the_bounds(share, each):
    """Twelve groups, all right or all wrong, or of independent images: the spread of halves alone covers 0.9 in 72 of 100 cases."""
    rng, hits, rounds = np.random.default_rng(0), {"alike": 0, "apart": 0}, 300
    for name in hits:
        for _ in range(rounds):
            right = rng.random((12, each if name == "apart" else 1)) < share
            halves = np.argsort(rng.random((200, 12)), axis=1)[:, :6]
            low, high = half_interval(right.mean(axis=1)[halves].mean(axis=1), 12, lowest=0, highest=1, samples=12 * each)
            hits[name] += low <= share <= high
    assert min(hits.values()) >= 276  # P(X < 276) = 1 % when the coverage is 95 %


# ---------------------------------------------------------------- by hand


def test_groups_are_numbered_in_the_order_of_their_names():
    names, index = group_index(np.array([10, 9, 10, 8]))
    assert names == ["10", "8", "9"] and index.tolist() == [0, 2, 0, 1] and index.dtype == np.intp


def test_percentiles_are_central():
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert percentile_interval(np.arange(1001.0)) == pytest.approx((25, 975))


def test_bca_as_printed():
    """Efron 1987, eqs. 2.3 and 6.6, with an acceleration that counts."""
    replicates, jackknife, estimate = np.random.default_rng(4).gamma(2.0, size=5001), np.array([1.0, 2.0, 4.0, 9.0]), 1.9
    z = stats.norm.ppf(np.mean(replicates < estimate))
    u = np.mean(jackknife) - jackknife
    a = np.sum(u**3) / (6 * np.sum(u**2) ** 1.5)
    w = [z + stats.norm.ppf(tail) for tail in (0.05, 0.95)]
    expected = np.quantile(replicates, [stats.norm.cdf(z + own / (1 - a * own)) for own in w])
    assert abs(a) > 0.05
    assert bca_interval(estimate, replicates, jackknife, 0.9) == pytest.approx(tuple(expected))


def test_bca_counts_ties_half():
    replicates = np.array([0.0, 1, 1, 1, 2, 2, 3, 4, 5, 6])
    low, high = bca_interval(1.0, replicates, np.array([1.0, 2, 3]))  # a symmetric jackknife: no acceleration
    z = stats.norm.ppf(0.1 + 0.3 / 2)
    levels = [stats.norm.cdf(2 * z + stats.norm.ppf(tail)) for tail in (0.025, 0.975)]
    assert (low, high) == pytest.approx(tuple(np.quantile(replicates, levels)))
    assert bca_interval(-1.0, replicates, np.array([1.0, 2, 3])) == percentile_interval(replicates)  # nothing below the estimate


def test_groups_of_different_size_weigh_by_their_samples():
    """The estimate is the mean over samples, as are replicates and jackknife: a group of nine counts nine times."""
    values, groups = np.array([0.0] * 9 + [10.0]), np.array(["a"] * 9 + ["b"])
    low, high = mean_interval(values, groups, np.random.default_rng(0), rounds=400)
    assert (low, high) == (0.0, 10.0)  # both groups a, or both b
    uneven, names = np.array([1.0, 2.0, 4.0, 9.0, 3.0, 3.0]), np.array(["a", "b", "b", "c", "c", "c"])
    sums, counts = np.array([1.0, 6.0, 15.0]), np.array([1.0, 2.0, 3.0])
    drawn = np.random.default_rng(5).multinomial(3, np.full(3, 1 / 3), size=999)
    expected = bca_interval(22 / 6, drawn @ sums / (drawn @ counts), np.array([21 / 5, 16 / 4, 7 / 3]))
    assert mean_interval(uneven, names, np.random.default_rng(5), rounds=999) == pytest.approx(expected)
    three = np.array([1.0, 2.0, 6.0])
    own = mean_interval(three, np.array(["a", "b", "c"]), np.random.default_rng(3), rounds=999, level=0.8)
    weights = np.random.default_rng(3).multinomial(3, np.full(3, 1 / 3), size=999)
    assert own == bca_interval(3.0, weights @ three / 3, np.array([4.0, 3.5, 1.5]), 0.8)


def test_exact_proportions_at_the_ends_and_at_other_levels():
    assert proportion_interval(0, 10) == pytest.approx((0.0, 1 - 0.025 ** (1 / 10)))
    assert proportion_interval(10, 10) == pytest.approx((0.025 ** (1 / 10), 1.0))
    expected = stats.binomtest(3, 40).proportion_ci(0.8, method="exact")
    assert proportion_interval(3, 40, 0.8) == pytest.approx((expected.low, expected.high))


def test_permutation_p_by_hand():
    assert permutation_p(2.0, np.array([0, 1, 1.9, 2, 3])) == pytest.approx(3 / 6)  # at least as large: 2 and 3


def test_permutation_test_looks_at_both_sides_and_takes_any_statistic():
    groups = np.arange(12).astype(str)
    low, high = np.zeros(12), np.arange(12.0) + 5
    for first, second in ((low, high), (high, low)):
        assert permutation_test(first, second, groups, groups, np.random.default_rng(0), rounds=199) == pytest.approx(1 / 200)
    spread = lambda a, b: float(b.std() - a.std())  # noqa: E731
    assert permutation_test(low, high, groups, groups, np.random.default_rng(0), statistic=spread, rounds=99) < 0.05
    assert permutation_test(high, low, groups, groups, np.random.default_rng(0), statistic=spread, rounds=99) > 0.5
    assert permutation_test(low, low, groups, groups, np.random.default_rng(0), rounds=9) == 1.0
    # whole groups change sides: two groups a side can only be dealt in six ways, so nothing is rare
    few = np.repeat(["a", "b"], 6)
    assert permutation_test(low, high, few, few, np.random.default_rng(0)) == pytest.approx(1 / 3, abs=0.06)


def test_half_splits_use_what_there_is():
    rng = np.random.default_rng(0)
    even = half_splits(np.arange(20).astype(str), np.arange(30).astype(str), rng, rounds=7)
    assert len(even) == 7 and {len(s.real) for s in even} == {10}
    assert {len(s.real) for s in half_splits(np.arange(20).astype(str), np.arange(9).astype(str), rng, rounds=3)} == {4}
    for split in even:
        assert sorted([*split.reference, *split.real]) == list(range(20))
        assert (np.diff(split.reference) > 0).all() and (np.diff(split.synthetic) > 0).all() and split.synthetic.max() < 30
    assert len({tuple(s.reference) for s in even}) > 1 and len({tuple(s.synthetic) for s in even}) > 1
    uneven = half_splits(np.array(["a"] * 3 + ["b"] * 17), np.arange(40).astype(str), rng, rounds=3)
    assert {len(s.real) for s in uneven} == {3}  # two groups can only be cut between them
    alone = half_splits(np.array(["a"] * 8), np.arange(40).astype(str), rng, rounds=2)
    assert {len(s.real) for s in alone} == {0}  # one group has no halves
    cut = half_splits(np.repeat(["a", "b", "c", "d"], [2, 2, 2, 10]), np.arange(40).astype(str), rng, rounds=30)
    assert {len(s.real) for s in cut} == {4}  # the cut nearest to the middle leaves two small groups at least, wherever the large one is


def test_half_interval_stretches_quantiles_about_the_mean():
    replicates = np.array([0.0, 1.0, 2.0, 3.0, 10.0])
    stretch = stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975)
    low, high = (3.2 + stretch * (q - 3.2) for q in np.quantile(replicates, [0.025, 0.975]))
    assert half_interval(replicates, 5) == pytest.approx((low, high))
    assert half_interval(replicates, 5, lowest=-0.5, highest=11.0) == pytest.approx((-0.5, 11.0))
