"""Attacks on generators whose memory is known: one that copies, one that knows only the distribution."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from patchsets import images_2d
from scipy import stats

from sciimg.records import Metric, Shortage, canonical_json
from sciimg.types import PatchSet
from sciimg.validation import membership
from sciimg.validation.features.space import FeatureSpace, Scale
from sciimg.validation.membership import NAMES, auc, membership_metrics, tpr
from sciimg.validation.outcome import UndefinedError

PIXELS = 16


def points(n: int, seed: int, per_group: int = 1) -> PatchSet:
    """Images of independent Gaussian pixels, whose features are the pixels: distances have a known law."""
    patches = images_2d(np.random.default_rng(seed).normal(size=(n, 1, 4, 4)))
    return replace(patches, groups=np.array([f"g{seed}-{i // per_group}" for i in range(n)]))


@pytest.fixture(scope="module")
def space() -> FeatureSpace:
    scale = Scale(np.zeros(1, np.float32), np.ones(1, np.float32))
    raw = lambda images: images.reshape(len(images), -1).astype(np.float64)  # noqa: E731
    return FeatureSpace("pixels", scale, raw, np.zeros(PIXELS), np.ones(PIXELS), np.eye(PIXELS))


def attack(space: FeatureSpace, train: PatchSet, synthetic: PatchSet | None, n: int = 120, **more: Any) -> dict[str, Metric]:
    found = membership_metrics(train, points(n, 2), synthetic, [space], rounds=100, **more)
    assert [m.name for m in found] == [f"{name}_pixels" for name in NAMES]
    for metric in found:
        canonical_json(metric.as_json())
    return {m.name.removesuffix("_pixels"): m for m in found}


def test_the_area_under_the_curve_is_mann_whitneys_and_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 9, 40).astype(float), rng.integers(-2, 8, 60).astype(float)
    assert auc(members, others) == pytest.approx(stats.mannwhitneyu(members, others).statistic / 2400)
    sklearn = pytest.importorskip("sklearn.metrics")
    truth = np.repeat([1, 0], [40, 60])
    assert auc(members, others) == pytest.approx(sklearn.roc_auc_score(truth, np.concatenate([members, others])))


def test_the_rate_at_one_percent_by_hand() -> None:
    others = np.arange(200.0)  # two may be accused: the bar is the third highest, 197
    assert tpr(np.array([196.0, 197.0, 197.5, 300.0]), others) == 0.5
    with pytest.raises(UndefinedError, match="99 holdout images"):
        tpr(np.ones(5), np.arange(99.0))


def test_a_generator_that_copies_gives_its_training_images_away(space: FeatureSpace) -> None:
    train = points(120, 1)
    copied = replace(train, images=train.images + 0.05 * np.random.default_rng(5).normal(size=train.images.shape))
    found = attack(space, train, copied)
    assert found["membership-auc"].value > 0.99 and found["membership-auc"].ci95[0] > found["membership-auc"].null.ci95[1]
    assert found["membership-tpr"].value > 0.95 and found["nearer-train"].value > 0.95
    assert all(m.detail["p_value"] == pytest.approx(1 / 101) for m in found.values())  # none of 100 exchanges comes near


def test_an_honest_generator_gives_nobody_away(space: FeatureSpace) -> None:
    """Over ten worlds: half is inside the interval and the value inside its null, nearly always."""
    inside, quiet = 0, 0
    for seed in range(10, 20):
        found = attack(space, points(120, seed), points(150, seed + 50))
        for name in ("membership-auc", "nearer-train"):
            metric = found[name]
            assert metric.null.ci95[0] < 0.5 < metric.null.ci95[1]
            inside += metric.ci95[0] <= 0.5 <= metric.ci95[1]
            quiet += metric.detail["p_value"] > 0.025
    assert inside >= 17 and quiet >= 17


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_a_difference_in_place_is_not_taken_for_memory(space: FeatureSpace, shift: float) -> None:
    """Training part and generator know one place, the holdout is another: half, wherever that is; copies are told as well as ever."""
    honest, copying = [], []
    for seed in range(10):
        train, holdout, made = (points(120, seed + k, per_group=4) for k in (100, 200, 300))
        elsewhere = replace(holdout, images=holdout.images + shift)
        copies = made.images.copy()
        copies[:60] = train.images[:60] + 0.05 * np.random.default_rng(seed).normal(size=copies[:60].shape)
        for found, images in ((honest, made.images), (copying, copies)):
            metric = membership_metrics(train, elsewhere, replace(made, images=images), [space], rounds=5, key=(str(seed),))[0]
            found.append(metric.value)
    assert np.mean(honest) == pytest.approx(0.5, abs=0.05)
    assert np.mean(copying) > 0.7


def test_easy_images_are_measured_against_other_training_images(space: FeatureSpace) -> None:
    """Images in the middle are near to everything: a holdout that lies there is not taken for what nobody learned from, nor for members."""
    train, holdout, made = points(120, 1), points(120, 2), points(150, 3)
    found = attack(space, train, made)["membership-auc"]
    central = membership_metrics(train, replace(holdout, images=0.5 * holdout.images), made, [space], rounds=50)[0]
    assert abs(found.value - 0.5) < 0.1 and abs(central.value - 0.5) < 0.15
    assert found.detail["calibrated_by"] == "the nearest training image of another group"


def test_worse_images_are_not_taken_for_copies(space: FeatureSpace) -> None:
    """Samples shrunk to the mean are near to all real images, training and holdout alike."""
    synthetic = points(150, 3)
    found = attack(space, points(120, 1), replace(synthetic, images=0.3 * synthetic.images))
    assert found["nearer-train"].ci95[0] < 0.5 and found["nearer-train"].detail["p_value"] > 0.01


@pytest.mark.parametrize(
    ("train", "synthetic", "said"),
    [
        (None, points(30, 3), "no real training images"),
        (points(30, 1), None, "no synthetic images"),
        (points(30, 1), points(0, 3), "no synthetic images"),
        (points(30, 1, per_group=15), points(30, 3), "2 independent groups of training images, 4 are needed"),
        (points(30, 1), images_2d(np.full((30, 1, 4, 4), np.nan)), "NaN"),
        (points(30, 1), images_2d(np.zeros((30, 1, 5, 4))), "constant"),
        (points(30, 1), images_2d(np.random.default_rng(0).normal(size=(30, 1, 5, 4))), "(1, 5, 4)"),
    ],
)
def test_an_outcome_with_a_reason(space: FeatureSpace, train: PatchSet | None, synthetic: PatchSet | None, said: str) -> None:
    found = attack(space, train, synthetic)  # type: ignore[arg-type]
    assert all(m.status == "undefined" and said in m.reason for m in found.values())


def test_too_few_groups_or_images_are_a_shortage_and_nothing_else_is(space: FeatureSpace) -> None:
    by_name = {m.name: m for m in membership_metrics(points(30, 1, per_group=15), points(40, 2), points(30, 3), [space], rounds=5)}
    assert all(m.shortage == Shortage(found=2, needed=4, of="groups") for m in by_name.values())
    assert all(m.shortage is None for m in membership_metrics(points(30, 1), points(40, 2), None, [space], rounds=5))
    enough = {m.name.split("_")[0]: m for m in membership_metrics(points(30, 1), points(40, 2), points(30, 3), [space], rounds=5)}
    assert enough["membership-tpr"].shortage == Shortage(found=40, needed=100, of="holdout images")


def test_few_holdout_images_leave_the_low_rate_undefined(space: FeatureSpace) -> None:
    found = attack(space, points(60, 1), points(60, 3), n=60)
    assert found["membership-tpr"].status == "undefined" and found["membership-auc"].status == "ok"


def test_of_large_sets_some_are_asked_and_copies_are_still_given_away(space: FeatureSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    train = points(400, 1)
    honest, copied = points(300, 3), replace(points(400, 3), images=train.images)
    monkeypatch.setattr(membership, "_ASKED", 128)
    found = attack(space, train, copied, 400)
    assert found["membership-auc"].value == 1 and found["membership-auc"].ci95 == pytest.approx((0.025 ** (1 / 128), 1))
    assert found["nearer-train"].value > 0.54
    assert found["membership-auc"].n_real == 128 and found["membership-auc"].n_synthetic == 400
    assert 0.35 < attack(space, train, honest, 400)["membership-auc"].value < 0.65


def test_images_as_near_to_either_part_count_half(space: FeatureSpace) -> None:
    """The same images on both sides: every distance to one is one to the other."""
    same = points(40, 1)
    (nearer,) = (m for m in membership_metrics(same, same, points(50, 3), [space], rounds=20) if m.name.startswith("nearer"))
    assert nearer.value == 0.5 and nearer.n == 40


@pytest.mark.parametrize(("members", "others"), [(60, 120), (120, 60)])
def test_sides_of_other_sizes_are_exchanged_whole(space: FeatureSpace, members: int, others: int) -> None:
    found = attack(space, points(members, 1, per_group=4), points(100, 3), n=others)
    area = found["membership-auc"]
    assert area.null.ci95[0] < 0.5 < area.null.ci95[1] and area.null.ci95[1] - area.null.ci95[0] < 0.4
    assert area.n == min(members // 4, others) and found["nearer-train"].ci95[1] < 0.9
    rate = found["membership-tpr"]
    assert rate.status == ("ok" if others > 100 else "undefined")
