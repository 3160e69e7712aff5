import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sciimg.validation.resampling import (
    bca_interval,
    half_interval,
    half_splits,
    mean_interval,
    percentile_interval,
    permutation_p,
    permutation_test,
    proportion_interval,
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


def test_permutation_p_is_never_zero():
    assert permutation_p(10.0, np.zeros(99)) == pytest.approx(0.01)


def test_permutation_test_exchanges_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 10).astype(str)
    level = np.repeat(rng.normal(size=6), 10)
    other = np.repeat(rng.normal(size=6), 10)
    assert permutation_test(level, other, groups, groups, np.random.default_rng(1)) > 0.05
    assert permutation_test(level, other + 9, groups, groups, np.random.default_rng(1)) < 0.02


@settings(max_examples=40, deadline=None)
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
