import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from sciimg.validation.nearest import Nearest, TrainingVectors, cell_centres, data_copying, nearest_of
from sciimg.validation.relations import Relation


def drawn(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def training(vectors, samples=1):
    return TrainingVectors(vectors, Relation(np.arange(len(vectors))), np.random.default_rng(0), samples)


def test_nearest_in_blocks_is_nearest(monkeypatch):
    monkeypatch.setattr("sciimg.validation.nearest._BLOCK", 50)
    x, y = drawn(33), drawn(20, seed=1)
    gaps = np.linalg.norm(x[:, None] - y[None], axis=2)
    distance, row = nearest_of(x, y)
    assert distance == pytest.approx(gaps.min(axis=1)) and (row == gaps.argmin(axis=1)).all()
    groups = np.arange(33) // 3
    own = np.linalg.norm(x[:, None] - x[None], axis=2)
    own[groups[:, None] == groups[None]] = np.inf
    assert nearest_of(x, x, Relation(groups))[0] == pytest.approx(own.min(axis=1))


def test_authenticity_by_its_definition():
    known, made = drawn(30), drawn(25, seed=1)
    side = training(known)
    expected = []
    for sample in made:
        i = np.linalg.norm(known - sample, axis=1).argmin()
        others = np.delete(known, i, axis=0)
        expected.append(np.linalg.norm(known[i] - sample) > np.linalg.norm(others - known[i], axis=1).min())
    assert (side.authentic(side.nearest(made)) == expected).all()
    assert side.authentic(side.nearest(known + 1e-6)).max() == 0
    assert side.authentic(side.nearest(known + 100)).min() == 1


def test_data_copying_in_one_cell_is_the_rank_test():
    known, test, made = drawn(15), drawn(40, seed=1), drawn(30, seed=2) * 1.5
    side = training(known)  # for so few samples there is one cell
    a, b = side.nearest(test), side.nearest(made)
    u = mannwhitneyu(b.distance, a.distance).statistic
    assert data_copying(a, b) == pytest.approx((u - 600) / math.sqrt(40 * 30 * 71 / 12))


def test_data_copying_is_around_0_without_copying_and_far_below_with():
    rng = np.random.default_rng(0)
    honest, copied = [], []
    for _ in range(60):
        side = TrainingVectors(rng.normal(size=(100, 3)), Relation(np.arange(100)), rng, 100)
        test = side.nearest(rng.normal(size=(100, 3)))
        honest.append(data_copying(test, side.nearest(rng.normal(size=(100, 3)))))
        copies = side.vectors[rng.integers(100, size=100)] + 0.05 * rng.normal(size=(100, 3))
        copied.append(data_copying(test, side.nearest(copies)))
    assert abs(np.mean(honest)) < 4 * np.std(honest) / np.sqrt(60)
    assert np.max(copied) < np.min(honest)


def test_no_cell_with_enough_of_both_has_no_value():
    few = Nearest(np.arange(4.0), np.zeros(4, np.intp), np.zeros(4, np.intp))
    assert math.isnan(data_copying(few, few))


def test_every_cell_has_a_centre():
    clusters = np.repeat(np.eye(3) * 20, 30, axis=0) + drawn(90)
    centres = cell_centres(clusters, 3, np.random.default_rng(3))
    assert centres.shape == (3, 3) and np.isfinite(centres).all()
    assert nearest_of(clusters, centres)[0].mean() < np.linalg.norm(clusters - clusters.mean(axis=0), axis=1).mean()
