import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist
from scipy.stats import hypergeom
from sklearn.metrics.pairwise import polynomial_kernel as sklearn_kernel
from sklearn.metrics.pairwise import rbf_kernel

from sciimg.validation.comparison import Candidate, Comparison, upper_null
from sciimg.validation.distance import (
    coverage_ceiling,
    directions,
    distances,
    frechet,
    frechet_infinity,
    kid,
    manifold,
    median_distance,
    mmd,
    polynomial_kernel,
    prdc,
    radii,
    sliced_wasserstein,
    squared_mmd,
    unrelated_mean,
    vendi,
)
from sciimg.validation.relations import Relation
from sciimg.validation.resampling import half_interval, half_splits, spread_of_mean


def gaussians(n, m, d, seed=0, shift=0.4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.2 + shift


def test_kid_equals_the_u_statistic_written_out():
    x, y = gaussians(7, 5, 3)

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    xx = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    yy = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    xy = sum(k(a, b) for a in x for b in y) / 35
    assert kid(x, y) == pytest.approx(xx + yy - 2 * xy)
    kernels = (sklearn_kernel(a, b, degree=3, gamma=1 / 3, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    kxx, kyy, kxy = kernels
    assert kid(x, y) == pytest.approx((kxx.sum() - kxx.trace()) / 42 + (kyy.sum() - kyy.trace()) / 20 - 2 * kxy.mean())


def moments(mean: np.ndarray, spread: float) -> list[np.ndarray]:
    """First three moment tensors of N(mean, spread² I)."""
    eye = np.eye(len(mean)) * spread**2
    outer = np.einsum("i,jk->ijk", mean, eye)
    third = np.einsum("i,j,k->ijk", mean, mean, mean) + outer + outer.transpose(1, 0, 2) + outer.transpose(1, 2, 0)
    return [mean, eye + np.outer(mean, mean), third]


def exact_kid(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """(x·y/d + 1)³ is a sum of inner products of moments, so the squared MMD is a sum of squared differences of moments."""
    d = len(first[0])
    return sum(math.comb(3, p) / d**p * np.sum((first[p - 1] - second[p - 1]) ** 2) for p in (1, 2, 3))


def test_kid_is_unbiased_and_frechet_is_not():
    pairs = [gaussians(40, 40, 8, seed) for seed in range(300)]
    kids = np.array([kid(x, y) for x, y in pairs])
    truth = exact_kid(moments(np.zeros(8), 1.0), moments(np.full(8, 0.4), 1.2))
    assert abs(kids.mean() - truth) < 4 * kids.std() / np.sqrt(len(kids))
    exact = 8 * 0.4**2 + 8 * (1.2 - 1) ** 2  # |μ1 - μ2|² + d (σ1 - σ2)²
    assert np.mean([frechet(x, y) for x, y in pairs]) > 1.5 * exact


def test_mmd_is_unbiased_around_its_closed_form():
    """The mean Gaussian kernel of two Gaussians is a Gaussian integral."""
    d, m, s, width = 5, 0.4, 1.2, 2.0

    def mean_kernel(variance, gap):
        total = width**2 + variance
        return (width**2 / total) ** (d / 2) * np.exp(-d * gap**2 / (2 * total))

    truth = mean_kernel(2, 0) + mean_kernel(2 * s**2, 0) - 2 * mean_kernel(1 + s**2, m)
    pairs = [gaussians(30, 40, d, seed, m) for seed in range(200)]
    values = np.array([mmd(x, y, width) for x, y in pairs])
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)) < 0.01
    x, y = pairs[0]
    xx, yy, xy = (rbf_kernel(a, b, gamma=1 / (2 * width**2)) for a, b in ((x, x), (y, y), (x, y)))
    assert mmd(x, y, width) == pytest.approx((xx.sum() - 30) / 870 + (yy.sum() - 40) / 1560 - 2 * xy.mean())


def test_the_bandwidth_is_the_median_distance_of_unrelated_pairs():
    x = gaussians(20, 1, 3)[0]
    assert median_distance(x) == pytest.approx(np.median(pdist(x)))
    groups = np.arange(20) // 10
    apart = [np.linalg.norm(a - b) for a in x[:10] for b in x[10:]]
    assert median_distance(x, groups[:, None] == groups[None]) == pytest.approx(np.median(apart))


def test_sliced_wasserstein_is_the_best_assignment_along_every_direction():
    x, y = gaussians(12, 12, 3)
    along = directions(np.random.default_rng(0), 3, 7)
    assert np.linalg.norm(along, axis=0) == pytest.approx(np.ones(7))
    squares = []
    for column in along.T:
        cost = ((x @ column)[:, None] - (y @ column)[None]) ** 2
        squares.append(cost[linear_sum_assignment(cost)].mean())
    assert sliced_wasserstein(x, y, along) == pytest.approx(np.sqrt(np.mean(squares)))
    shift = np.array([1.0, -2.0, 0.5])
    assert sliced_wasserstein(x, x + shift, along) == pytest.approx(np.sqrt(np.mean((shift @ along) ** 2)))
    big = np.random.default_rng(1).normal(size=(2, 20_000, 3))  # along every direction |1 - 1.5|
    assert sliced_wasserstein(big[0], 1.5 * big[1], along) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kinds", [1, 3, 8])
def test_vendi_counts_kinds(kinds):
    """As many as there are kinds that have nothing in common, however strong the samples of a kind are."""
    assert vendi(np.repeat(np.eye(8)[:kinds], 5, axis=0) * np.arange(1, 5 * kinds + 1)[:, None]) == pytest.approx(kinds)


def test_vendi_is_the_entropy_of_the_similarities():
    x = gaussians(20, 1, 6)[0]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(unit @ unit.T / 20)
    assert vendi(x) == pytest.approx(np.exp(-sum(s * np.log(s) for s in shares if s > 1e-12)))
    assert vendi(np.repeat(x, 3, axis=0)) == pytest.approx(vendi(x))
    assert vendi(np.zeros((4, 3))) == 1


def test_following_frechet_to_infinite_n_takes_its_bias_out():
    exact = 8 * 0.4**2 + 8 * (1.2 - 1) ** 2
    pairs = [gaussians(80, 80, 8, seed) for seed in range(100)]
    orders = [np.random.default_rng(seed).permutation(80) for seed in range(100)]
    followed = np.array([frechet_infinity(x, y, order) for (x, y), order in zip(pairs, orders, strict=True)])
    biased = np.mean([frechet(x, y) for x, y in pairs])
    assert abs(followed.mean() - exact) < max(0.15 * (biased - exact), 3 * followed.std() / 10)
    x = pairs[0][0]
    assert frechet_infinity(x, x + 1, orders[0]) == pytest.approx(8)  # the same at every n


def test_frechet_equals_the_closed_form_and_scipy():
    x, y = gaussians(50, 60, 5)
    a, b = np.cov(x.T), np.cov(y.T)
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(x, y) == pytest.approx(expected)
    big = gaussians(200_000, 200_000, 3, shift=0.5)
    assert frechet(*big) == pytest.approx(3 * 0.25 + 3 * 0.04, rel=0.02)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x[:3], y[:3]) > 0  # fewer samples than dimensions: singular covariances


def test_manifold_metrics_equal_the_definitions():
    real, fake = gaussians(30, 25, 4)
    scores = prdc(real, fake, nearest=3)
    d_rr, d_ff = (np.linalg.norm(s[:, None] - s[None], axis=2) for s in (real, fake))
    d_rf = np.linalg.norm(real[:, None] - fake[None], axis=2)
    r, f = (np.sort(d, axis=1)[:, 3] for d in (d_rr, d_ff))  # column 0 is the sample itself
    assert scores.precision == np.mean([any(d_rf[i, j] < r[i] for i in range(30)) for j in range(25)])
    assert scores.recall == np.mean([any(d_rf[i, j] < f[j] for j in range(25)) for i in range(30)])
    assert scores.density == pytest.approx(sum(d_rf[i, j] < r[i] for i in range(30) for j in range(25)) / (3 * 25))
    assert scores.coverage == np.mean([min(d_rf[i]) < r[i] for i in range(30)])


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 20), (20, 60)])
def test_coverage_ceiling_is_the_mean_of_independent_samples(n, m):
    values = [prdc(*(np.random.default_rng([s, i]).normal(size=(k, 3)) for i, k in enumerate((n, m)))).coverage for s in range(150)]
    assert np.mean(values) == pytest.approx(coverage_ceiling(n, m), abs=0.02)


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(2, 6))
def test_properties(seed, d):
    x, y = gaussians(12, 14, d, seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    assert kid(x @ turn, y @ turn) == pytest.approx(kid(x, y), abs=1e-9)
    assert kid(x, y) == pytest.approx(kid(y, x))
    assert frechet(x @ turn + 3, y @ turn + 3) == pytest.approx(frechet(x, y), abs=1e-7)
    assert distances(x, x).diagonal() == pytest.approx(np.zeros(12), abs=1e-5)


def test_drawing_with_replacement_biases_kid_and_half_sampling_does_not():
    x, y = gaussians(40, 40, 6, 3, 0.0)
    rng = np.random.default_rng(0)
    with_copies = np.mean([kid(x[rng.integers(40, size=40)], y[rng.integers(40, size=40)]) for _ in range(200)])
    splits = half_splits(np.arange(40).astype(str), np.arange(40).astype(str), rng, rounds=400)
    halves = np.mean([kid(x[s.reference], y[s.synthetic]) for s in splits])
    assert with_copies > kid(x, y) + 0.1
    assert halves == pytest.approx(kid(x, y), abs=0.03)


@pytest.mark.parametrize(("shift", "spread", "level"), [(0.0, 1.0, 0.0), (0.6, 1.0, 1.0), (0.0, 1.3, 0.7)])
def test_the_interval_of_kid_covers_the_truth_with_few_groups(shift, spread, level):
    """16 groups of 4 samples against 48 independent samples of a known Gaussian."""
    rng = np.random.default_rng(0)
    total = np.sqrt(1 + level**2)
    truth = exact_kid(moments(np.zeros(6), total), moments(np.full(6, shift), total * spread))
    groups = np.repeat(np.arange(16), 4).astype(str)
    relation = Relation(np.repeat(np.arange(16), 4))
    hits = 0
    for _ in range(40):
        real = np.repeat(rng.normal(size=(16, 6)) * level, 4, axis=0) + rng.normal(size=(64, 6))
        fake = rng.normal(size=(48, 6)) * total * spread + shift
        splits = half_splits(groups, np.arange(48).astype(str), rng, rounds=30)
        scores = Comparison(real, relation, splits).scores(Candidate(fake), [s.synthetic for s in splits])
        low, high = half_interval(scores["kid"], 16)
        hits += low <= truth <= high
    assert hits >= 34  # P(X < 34) = 2 % at a coverage of 93 %


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_subsamples_of_a_large_set_give_an_interval_that_covers_and_is_narrow(shift):
    """400 samples a side, of which every split takes 40: the replicates spread as 40 samples do, and not as 400."""
    rng = np.random.default_rng(0)
    truth = exact_kid(moments(np.zeros(4), 1.0), moments(np.full(4, shift), 1.0))
    ids = np.arange(400).astype(str)
    spread, hits, widths, wide = spread_of_mean(40, 400, 60), 0, [], []
    for _ in range(30):
        x, y = rng.normal(size=(2, 400, 4)) + np.array([0.0, shift])[:, None, None]
        splits = half_splits(ids, ids, rng, rounds=60, most=40)
        values = np.array([kid(x[s.reference], y[s.synthetic]) for s in splits])
        low, high = half_interval(values, 400, spread=spread)
        hits += low <= truth <= high
        widths.append(high - low)
        wide.append(np.ptp(half_interval(values, 400)))
    assert hits >= 26  # P(X < 26) = 1.6 % at a coverage of 95 %
    assert np.mean(widths) < 0.4 * np.mean(wide)
    assert spread_of_mean(200, 400, 60) == spread_of_mean(300, 400, 60) == 1


def test_patches_of_one_group_do_not_count_as_alike():
    """Two halves of one population in few tight groups: without the mask, KID would call them different."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), 6).astype(str)
    masked, naive = [], []
    for _ in range(40):
        x = np.repeat(rng.normal(size=(12, 4)), 6, axis=0) + 0.2 * rng.normal(size=(72, 4))
        splits = half_splits(groups, groups, rng, rounds=10)
        masked.append(Comparison(x, Relation(np.repeat(np.arange(12), 6)), splits).null["kid"].mean())
        naive.append(Comparison(x, Relation(np.arange(72)), splits).null["kid"].mean())
    assert abs(np.mean(masked)) < 3 * np.std(masked) / np.sqrt(40)
    assert np.mean(naive) > 10 * np.std(naive) / np.sqrt(40)


def test_an_ideal_generator_stays_below_twice_the_null_quantile():
    """The bar a study may set: the upper limit of KID at most 2 x the 95 % quantile of real-versus-real."""
    rng = np.random.default_rng(2)
    groups = np.arange(40).astype(str)
    accepted = 0
    for _ in range(30):
        x, y = rng.normal(size=(2, 40, 6))
        splits = half_splits(groups, groups, rng, rounds=30)
        comparison = Comparison(x, Relation(np.arange(40)), splits)
        upper = half_interval(comparison.scores(Candidate(y), [s.synthetic for s in splits])["kid"], 40)[1]
        accepted += upper <= 2 * upper_null(comparison.null["kid"])
    assert accepted >= 26


# ---------------------------------------------------------------- by hand


def test_related_pairs_do_not_count():
    xx, yy, xy = np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(2, 2), np.arange(6.0).reshape(3, 2)
    assert squared_mmd(xx, yy, xy) == pytest.approx((1 + 2 + 3 + 5 + 6 + 7) / 6 + (1 + 2) / 2 - 2 * 2.5)
    assert unrelated_mean(xx, np.eye(3, dtype=bool) | (np.arange(3) == 2)) == pytest.approx((1 + 3 + 6 + 7) / 4)
    assert unrelated_mean(xy, np.array([[1, 0], [0, 0], [0, 1]], bool)) == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert math.isnan(unrelated_mean(xx, np.ones((3, 3), bool)))


def test_the_kernel_by_hand():
    x, y = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0], [0.0, 2.0]])
    assert polynomial_kernel(x, y).tolist() == [[1.5**3, 3.0**3]]


def test_distances_by_hand():
    assert distances(np.array([[0.0, 0.0], [3.0, 0.0]]), np.array([[0.0, 4.0]])).tolist() == [[4.0], [5.0]]


def test_frechet_of_one_dimension():
    x = np.array([[0.0], [2.0], [4.0]])
    assert frechet(x, 3 * x + 1) == pytest.approx((2 - 7) ** 2 + (2 - 6) ** 2)  # standard deviations 2 and 6


@pytest.mark.parametrize(("n", "m", "k"), [(40, 25, 5), (10, 90, 1), (7, 7, 3)])
def test_coverage_ceiling_equals_the_chance_that_no_neighbour_is_synthetic(n, m, k):
    """Of a real sample's k nearest among n - 1 real and m synthetic others, all orders being alike."""
    assert coverage_ceiling(n, m, k) == pytest.approx(1 - hypergeom.pmf(0, n - 1 + m, m, k))


def test_neighbourhoods_by_hand():
    line = lambda *values: np.array(values)[:, None]  # noqa: E731
    found = prdc(line(0.0, 1.0, 3.0), line(0.5, 10.0), nearest=1)  # radii 1, 1, 2 and 9.5, 9.5
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx((1 / 2, 1, 1, 2 / 3))
    found = prdc(line(0.0, 1.0, 3.0), line(1.0, 2.0, 20.0), nearest=2)  # radii 3, 2, 3 and 19, 18, 19
    assert (found.precision, found.density, found.coverage) == pytest.approx((2 / 3, 6 / 2 / 3, 1))
    touching = prdc(line(0.0, 1.0), line(2.0, 7.0), nearest=1)  # at the radius is not inside it
    assert touching.precision == 0 and touching.coverage == 0
    assert prdc(line(0.0, 50.0), line(1.0, 2.0), nearest=1).recall == 0  # 0 lies at the radius about 1
    own = distances(line(0.0, 3.0), line(0.0, 3.0))  # a sample that counts as its own neighbour: two neighbours in a set of two
    around = radii(own, np.zeros((2, 2), bool), nearest=2)
    assert manifold(around, around, own, nearest=2).precision == 1
    assert prdc(line(0.0, 1.0), line(1.5, 2.25), nearest=1).recall == 0.5  # synthetic radii 0.75: 1 lies inside, 0 does not


def test_five_neighbours_unless_said_otherwise():
    x, y = gaussians(30, 25, 3)
    assert prdc(x, y) == prdc(x, y, nearest=5) != prdc(x, y, nearest=6)
    assert coverage_ceiling(30, 25) == coverage_ceiling(30, 25, 5)


def test_samples_without_a_neighbourhood_are_left_out():
    xx = distances(np.arange(4.0)[:, None], np.arange(4.0)[:, None])
    yy = distances(np.array([[0.2], [1.2], [9.0]]), np.array([[0.2], [1.2], [9.0]]))
    xy = distances(np.arange(4.0)[:, None], np.array([[0.2], [1.2], [9.0]]))
    first = np.eye(4, dtype=bool)
    first[3] = True  # nothing to compare the last real sample with: three have radius 1
    of_real, of_synthetic = radii(xx, first, 1), radii(yy, np.eye(3, dtype=bool), 1)
    assert of_real[:3].tolist() == [1, 1, 1] and math.isnan(of_real[3])
    found = manifold(of_real, of_synthetic, xy, nearest=1)
    # inside a radius of 1: (0, 0.2), (1, 0.2), (1, 1.2), (2, 1.2)
    assert (found.precision, found.coverage) == pytest.approx((2 / 3, 1.0))
    assert found.density == pytest.approx(4 / 3 * 4 / 3)  # as if all four had a neighbourhood
    apart = np.zeros((4, 3), bool)
    apart[:2, 0] = True
    found = manifold(of_real, of_synthetic, np.where(apart, np.inf, xy), nearest=1)
    assert (found.precision, found.coverage) == pytest.approx((1 / 3, 2 / 3))
    none = radii(xx, np.ones((4, 4), bool), 1), radii(yy, np.ones((3, 3), bool), 1)
    assert math.isnan(manifold(none[0], of_synthetic, xy, nearest=1).precision)
    assert math.isnan(manifold(of_real, none[1], xy, nearest=1).precision)
    assert math.isnan(prdc(np.zeros((3, 1)), np.arange(9.0)[:, None], nearest=4).density)
    assert not math.isnan(prdc(np.arange(5.0)[:, None], np.arange(9.0)[:, None], nearest=4).density)
