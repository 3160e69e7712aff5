"""The inception score has closed forms; its classifier, an equal; its caveat, an example."""

from dataclasses import replace

import numpy as np
import pytest
from patchsets import images_2d

from sciimg.records import Metric
from sciimg.types import PatchSet
from sciimg.validation import inception
from sciimg.validation.c2st import logistic
from sciimg.validation.features.space import FeatureSpace, fit_space
from sciimg.validation.inception import classifier, inception_metrics, inception_score

RNG = np.random.default_rng(0)
KINDS = 3


def test_a_classifier_that_knows_nothing_gives_one() -> None:
    assert inception_score(np.full((12, 4), 0.25)) == pytest.approx(1, abs=1e-12)
    assert inception_score(np.tile([0.7, 0.2, 0.1], (12, 1))) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_sure_answers_that_fall_on_all_classes_alike_give_their_number(classes: int) -> None:
    assert inception_score(np.tile(np.eye(classes), (3, 1))) == pytest.approx(classes, rel=1e-12)


def test_two_images_by_hand() -> None:
    """Each diverges from the even mean by 3/4 ln(3/2) + 1/4 ln(1/2) = ln(3/2) - 1/4 ln 3, the exponential of which is 1.5 / 3^(1/4)."""
    assert inception_score(np.array([[0.75, 0.25], [0.25, 0.75]])) == pytest.approx(1.5 / 3**0.25, rel=1e-12)


def test_order_and_repetition_change_nothing_and_cuts_do() -> None:
    p = RNG.dirichlet([0.3] * 4, 40)
    assert inception_score(RNG.permutation(p)) == pytest.approx(inception_score(p), rel=1e-12)
    assert inception_score(np.repeat(p, 3, axis=0)) == pytest.approx(inception_score(p), rel=1e-12)
    parts = [inception_score(part) for part in np.split(p, 20)]
    assert np.mean(parts) < inception_score(p)  # p(y) of two images lies near either


def blobs(n: int, classes: int, seed: int, apart: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(0, 1, (n, 4)) + apart * np.eye(classes, 4)[y], y


def test_two_classes_are_a_logistic_regression() -> None:
    """Weights of two classes are opposite, so that the penalty of both is that of their difference, halved."""
    x, y = blobs(80, 2, 0)
    unit = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = logistic(unit, y == 1, ridge=0.5)
    expected = 1 / (1 + np.exp(-(weights[0] + unit @ weights[1:])))
    assert classifier(x, y, ridge=1.0)(x)[:, 1] == pytest.approx(expected, abs=1e-4)


def test_the_classifier_reads_each_image_by_itself() -> None:
    x, y = blobs(90, 3, 1)
    read, other = classifier(x, y), blobs(30, 3, 2)[0]
    whole = read(other)
    assert whole.shape == (30, 3) and whole.sum(axis=1) == pytest.approx(1) and np.mean(whole.argmax(axis=1) == np.arange(30) % 3) > 0.6
    assert np.concatenate([read(part) for part in np.split(other, 5)]) == pytest.approx(whole, abs=1e-12)


# ---------------------------------------------------------------- sets of images


def pictures(kinds: np.ndarray, seed: int) -> PatchSet:
    """Noise, with stripes of one of three widths."""
    rng = np.random.default_rng(seed)
    stripes = np.stack([np.sin(np.pi * np.arange(16) / width) for width in (1.5, 2.5, 5)])[kinds]
    patches = images_2d((stripes[:, None, None, :] + rng.normal(0, 0.4, (len(kinds), 1, 16, 16))).astype(np.float32))
    return replace(patches, table=patches.table.assign(kind=np.array(["fine", "middle", "coarse"])[kinds]))


def even(n: int, seed: int) -> PatchSet:
    return pictures(np.arange(n) % KINDS, seed)


@pytest.fixture(scope="module")
def space() -> FeatureSpace:
    return fit_space("plain", lambda images: images.reshape(len(images), -1).astype(np.float64), even(60, 0))


def score(space: FeatureSpace, synthetic: PatchSet | None, **more: PatchSet | None) -> Metric:
    sides = {"train": even(60, 1), "holdout": even(60, 2)} | more
    (metric,) = inception_metrics("kind", synthetic=synthetic, spaces=[space], rounds=60, key=("t",), **sides)  # type: ignore[arg-type]
    assert metric.name == "inception_score_plain" and metric.higher_is_better and "Barratt" in metric.detail["caveat"]
    return metric


def test_images_like_real_ones_score_like_real_ones(space: FeatureSpace) -> None:
    metric = score(space, even(60, 3))
    assert metric.value is not None and metric.ci95 is not None and metric.null is not None and metric.null.ci95 is not None
    assert 2 < metric.null.value <= KINDS and metric.value == pytest.approx(metric.null.value, rel=0.1)
    assert metric.ci95[0] <= metric.value <= metric.ci95[1] <= KINDS and metric.null.ci95[0] <= metric.null.value <= metric.null.ci95[1]
    assert (metric.n, metric.unit_of_n, metric.n_real, metric.n_synthetic, metric.features) == (60, "groups", 60, 60, "plain")
    assert metric.detail["samples_at_a_time"] == 30 and metric.detail["classes"] == ["coarse", "fine", "middle"]
    assert metric.detail["real_read_right"] > 0.9


def test_collapse_to_one_class_gives_about_one(space: FeatureSpace) -> None:
    metric = score(space, pictures(np.zeros(60, int), 3))
    assert (
        metric.value == pytest.approx(1, abs=0.1) and metric.ci95 is not None and metric.null is not None and metric.null.ci95 is not None
    )
    assert metric.ci95[1] < metric.null.ci95[0]


def test_one_image_of_each_class_repeated_scores_as_well_as_real_ones(space: FeatureSpace) -> None:
    """The caveat: nothing here looks at how real images are distributed."""
    metric = score(space, replace(even(60, 3), images=np.tile(even(3, 3).images, (20, 1, 1, 1))))
    assert metric.value is not None and metric.null is not None and metric.value > 0.95 * metric.null.value


def test_the_null_has_as_many_images_whatever_their_number(space: FeatureSpace) -> None:
    few, many = (score(space, even(n, 3)) for n in (12, 240))
    assert few.detail["samples_at_a_time"] == 6 and many.detail["samples_at_a_time"] == 30
    assert few.value == pytest.approx(few.null.value, rel=0.15)  # type: ignore[union-attr]


def test_what_has_no_score_has_a_reason(space: FeatureSpace) -> None:
    one = pictures(np.zeros(60, int), 1)
    unasked = replace(even(60, 3), table=even(60, 3).table.drop(columns="kind"))
    assert "no real training images" in score(space, even(60, 3), train=None).reason
    assert "no synthetic images" in score(space, None).reason
    assert "do not say which kind" in score(space, unasked).reason
    assert "1 class; two are needed" in score(space, even(60, 3), train=one).reason
    few = score(space, even(6, 3))
    assert few.shortage is not None and (few.shortage.found, few.shortage.needed) == (6, 8)


def test_value_and_null_are_those_of_the_splits(space: FeatureSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty splits of synthetic images said to score 0, 1, .. 59, then as many of real ones: 60, 61, .. 119."""
    told = iter(range(120))
    monkeypatch.setattr(inception, "inception_score", lambda probabilities: float(next(told)))
    metric = score(space, even(60, 3))
    assert metric.value == 29.5 and metric.null is not None and metric.null.value == 89.5
    assert metric.null.ci95 == pytest.approx((60 + 0.025 * 59, 60 + 0.975 * 59))
