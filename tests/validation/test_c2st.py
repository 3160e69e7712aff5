"""The classifier is scikit-learn's where both exist; sets that are alike are not told apart, and sets that are not are."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from tissue import patches

from sciimg.randomness import generator
from sciimg.validation.c2st import accuracies, cross_fitted_accuracy, logistic, p_value
from sciimg.validation.comparison import Candidate, Comparison
from sciimg.validation.distribution import set_metrics
from sciimg.validation.features.space import fit_space
from sciimg.validation.features.texture import texture
from sciimg.validation.physics.controls import noisier
from sciimg.validation.relations import Relation
from sciimg.validation.resampling import half_splits


def test_the_weights_are_those_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5))
    y = x[:, 0] + 0.5 * rng.normal(size=80) > 0.3
    theirs = linear.LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(x, y)
    ours = logistic(x, y, ridge=2.0)
    assert ours[1:] == pytest.approx(theirs.coef_[0], abs=1e-5) and ours[0] == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_separable_sets_have_finite_weights() -> None:
    x = np.array([[-1e6], [-1.0], [1.0], [1e6]])
    assert np.isfinite(logistic(x, np.array([False, False, True, True]))).all()


def test_gaussians_are_told_apart_as_often_as_theory_says() -> None:
    """Two normal laws whose means are 2 apart: the best classifier is right with probability Φ(1)."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-1, 1, (1500, 1)), rng.normal(1, 1, (500, 1))])  # unequal sizes
    y = np.repeat([False, True], [1500, 500])
    accuracy = cross_fitted_accuracy(x, y, np.arange(2000) % 5, np.eye(2000, dtype=bool))
    assert accuracy == pytest.approx(stats.norm.cdf(1), abs=0.02)


def test_what_shares_a_group_with_the_question_is_not_learned_from() -> None:
    """Every image is there twice, once on each side; whoever learns from the twin is always wrong."""
    x = np.random.default_rng(2).normal(size=(40, 30))
    twice, y = np.concatenate([x, x]), np.repeat([False, True], 40)
    folds = np.concatenate([np.arange(40) % 5, (np.arange(40) + 1) % 5])
    alone = np.eye(80, dtype=bool)
    twins = np.tile(np.eye(40, dtype=bool), (2, 2))
    assert cross_fitted_accuracy(twice, y, folds, alone) < 0.35
    assert cross_fitted_accuracy(twice, y, folds, twins) == pytest.approx(0.5, abs=0.13)


def test_a_fold_without_enough_to_learn_from_has_no_answer() -> None:
    x, y = np.zeros((4, 1)), np.array([False, False, True, True])
    assert np.isnan(cross_fitted_accuracy(x, y, np.array([0, 1, 0, 1]), np.eye(4, dtype=bool)))


def gaussian(n: int, shift: float, seed: int) -> tuple[float, float]:
    """Return (p-value, mean accuracy) for n real samples in groups of two and n of their own, that lie ``shift`` away."""
    rng = np.random.default_rng(seed)
    groups = np.array([f"g{i // 2}" for i in range(n)])
    x, z = np.repeat(rng.normal(size=(n // 2, 6)), 2, axis=0) + 0.5 * rng.normal(size=(n, 6)), np.sqrt(1.25) * rng.normal(size=(n, 6))
    z[:, 0] += shift
    relation = Relation(np.arange(n) // 2)
    own = np.array([f"s{i}" for i in range(n)])
    comparison = Comparison(x, relation, half_splits(groups, own, generator("c2st", seed), rounds=40))
    values = accuracies(comparison, Candidate(z), [s.synthetic for s in comparison.splits], groups, own)
    itself = Candidate(x, relation, relation)
    null = accuracies(comparison, itself, [s.real for s in comparison.splits], groups, groups)
    return p_value(values, null), float(values.mean())


def test_alike_sets_are_rarely_told_apart_and_others_always() -> None:
    alike = [gaussian(32, 0.0, seed)[0] for seed in range(10)]
    assert sum(p <= 0.05 for p in alike) <= 2
    apart = [gaussian(32, 3.0, seed) for seed in range(3)]
    assert all(p <= 0.05 and accuracy > 0.75 for p, accuracy in apart)


def test_as_a_metric_of_sets_on_real_tissue() -> None:
    real, source = patches("holdout", 32), patches("train", 64)
    own = replace(source, groups=np.array([f"s{i}" for i in range(len(source))]))
    space = fit_space("texture", texture, patches("train", 32))
    worse = noisier(1.0)(own, np.random.default_rng(0))
    found = [{m.name: m for m in set_metrics(real, s, [space], rounds=20)}["c2st_texture"] for s in (own, worse)]
    assert all(m.status == "ok" and m.null is not None and m.null.ci95 is not None and m.features == "texture" for m in found)
    assert found[1].value > found[1].null.ci95[1] and found[1].detail["p_value"] < 0.05
    assert found[0].ci95[0] < found[0].null.ci95[1] and found[0].value < found[1].value
