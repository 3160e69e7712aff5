"""Clustered intervals: exact variances, independent libraries, and what is said where there is no interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sciimg.review import resampling, statistics


def test_pigeonhole_variance_of_a_crossed_mean():
    """Readers and images drawn apart: the variance of the mean is that of row effects, column effects and rest, each by itself."""
    values = np.random.default_rng(3).random((5, 12))
    rows, columns = values.mean(1, keepdims=True) - values.mean(), values.mean(0, keepdims=True) - values.mean()
    rest = values - values.mean() - rows - columns
    expected = (rows**2).sum() / 5**2 + (columns**2).sum() / 12**2 + (rest**2).sum() / (5 * 12) ** 2
    d = resampling.draws(5, ["image"] * 12, rounds=20_000)
    drawn = resampling.mean(values, np.ones_like(values), d)
    assert drawn.var() == pytest.approx(expected, rel=0.04)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.005)


def test_images_are_drawn_among_their_kind():
    kinds = ["real"] * 7 + ["synthetic"] * 3
    d = resampling.draws(3, kinds, rounds=50)
    assert np.all(d.stimuli[:, :7].sum(1) == 7) and np.all(d.stimuli[:, 7:].sum(1) == 3)
    assert np.all(d.readers.sum(1) == 3) and d.readers.std() > 0
    assert d.resampled == "readers and images"


def test_two_readers_are_no_sample_of_readers():
    d = resampling.draws(2, ["pair"] * 6, shown="pairs", rounds=10)
    assert np.all(d.readers == 1)
    assert d.resampled == "pairs only (resampling readers takes 3)"


def test_clustered_answers_have_wider_intervals():
    """Two readers who are always right and two who are always wrong: 50 % of 160 readings, and hardly anything known of the next reader."""
    right = np.repeat([[1.0], [1.0], [0.0], [0.0]], 40, axis=1)
    d = resampling.draws(4, ["real"] * 20 + ["synthetic"] * 20)
    low, high = resampling.interval(0.5, resampling.mean(right, np.ones_like(right), d), 160).ci95
    exact = statistics.binomial_interval(80, 160)
    assert (low, high) == (0, 1) and exact[1] - exact[0] < 0.17


def test_resampled_d_prime_is_that_of_the_counts_when_nothing_is_drawn():
    rng = np.random.default_rng(4)
    signals, calls = np.tile([1.0] * 9 + [0.0] * 11, (3, 1)), (rng.random((3, 20)) < 0.5).astype(float)
    once = resampling.Draws(np.ones((1, 3)), np.ones((1, 20)), "")
    got = resampling.sensitivity(calls * signals, signals, calls * (1 - signals), 1 - signals, once)
    hits, false_alarms = int((calls * signals).sum()), int((calls * (1 - signals)).sum())
    assert got == pytest.approx(statistics.d_prime(hits, 27, false_alarms, 33))


def as_steps(real, synthetic, most=5):
    """Return ratings (R, S) of both kinds as counts."""
    return resampling.Steps(
        *(np.stack([(np.asarray(of) == k).astype(float) for k in range(1, most + 1)], axis=2) for of in (real, synthetic))
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_difference_and_superiority_of_one_reader(seed):
    """Against NumPy's means and SciPy's Mann-Whitney U, of which superiority is U over the number of pairs."""
    rng = np.random.default_rng(seed)
    real, synthetic = rng.integers(1, 6, 9), rng.integers(1, 6, 6)
    none = np.zeros
    steps = as_steps([np.concatenate([real, none(6)])], [np.concatenate([none(9), synthetic])])
    d = resampling.draws(1, ["real"] * 9 + ["synthetic"] * 6, rounds=100)
    assert resampling.difference(steps, d).value == pytest.approx(synthetic.mean() - real.mean())
    assert resampling.superiority(steps, d).value == pytest.approx(stats.mannwhitneyu(synthetic, real).statistic / 54)


def test_superiority_is_averaged_over_readers_and_not_over_ratings():
    """Readers who use different parts of the scale, and each sees no difference."""
    real, synthetic = [[1, 2, 0, 0], [4, 5, 0, 0], [2, 3, 0, 0]], [[0, 0, 1, 2], [0, 0, 4, 5], [0, 0, 2, 3]]
    d = resampling.draws(3, ["real", "real", "synthetic", "synthetic"], rounds=200)
    assert resampling.superiority(as_steps(real, synthetic), d).value == 0.5
    assert resampling.difference(as_steps(real, synthetic), d).value == 0


def test_an_interval_that_means_nothing_is_not_given():
    steps = as_steps([[3, 3, 0, 0]] * 3, [[0, 0, 3, 3]] * 3)
    d = resampling.draws(3, ["real", "real", "synthetic", "synthetic"], rounds=50)
    same = resampling.difference(steps, d)
    assert (same.value, same.ci95, same.n) == (0, None, 12) and "no spread" in same.reason
    lost = resampling.interval(0.5, np.array([0.5] * 8 + [np.nan] * 2), 4)
    assert lost.ci95 is None and "lack one kind" in lost.reason


def test_the_interval_of_a_difference_contains_the_planted_one():
    rng = np.random.default_rng(8)
    real, synthetic = np.clip(np.rint(rng.normal(3.5, 0.8, (5, 30))), 1, 5), np.clip(np.rint(rng.normal(2.5, 0.8, (5, 30))), 1, 5)
    blank = np.zeros((5, 30))
    steps = as_steps(np.hstack([real, blank]), np.hstack([blank, synthetic]))
    found = resampling.difference(steps, resampling.draws(5, ["real"] * 30 + ["synthetic"] * 30))
    low, high = found.ci95
    assert low < -1 < high < 0 and high - low < 0.8
