"""Masks, scalars and classes read back; students with and without synthetic images."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from test_segmentation import discs

from sciimg.protocol.models import DownstreamPlan
from sciimg.types import PatchSet
from sciimg.validation.downstream import BASELINE_ARMS, RECIPE_ARMS, annotated, downstream_metrics, names, obstacle, run_arm
from sciimg.validation.fidelity import mask_fidelity, own_scores
from sciimg.validation.obedience import class_obedience, scalar_obedience
from sciimg.validation.segmentation import Segmenter, Training, train_segmenter

KEY = ("test",)


@cache
def segmenter() -> Segmenter:
    return train_segmenter(discs(24, 32, 0), Training(steps=60, width=8), key=KEY)


def fidelity(synthetic: PatchSet | None) -> dict[str, tuple[float | None, str]]:
    metrics = mask_fidelity(segmenter(), discs(16, 32, 1), synthetic, key=KEY)
    return {m.name: (m.value, m.reason) for m in metrics}


def test_images_that_follow_their_masks() -> None:
    metrics = {m.name: m for m in mask_fidelity(segmenter(), discs(16, 32, 1), discs(16, 32, 2), key=KEY)}
    assert sorted(metrics) == ["mask-dice", "mask-fidelity", "mask-object-f1", "mask-object-fidelity"]
    ratio = metrics["mask-fidelity"]
    assert ratio.value == pytest.approx(1, abs=0.05) and ratio.ci95 is not None and ratio.ci95[0] <= ratio.value <= ratio.ci95[1]
    assert ratio.null is not None and ratio.null.value == pytest.approx(1, abs=0.05)
    assert metrics["mask-dice"].null is not None and metrics["mask-dice"].null.value > 0.9


def test_swapped_masks_are_seen() -> None:
    good = discs(16, 32, 2)
    swapped = replace(good, labels=np.roll(good.labels, 1, axis=0) if good.labels is not None else None)
    value, _ = fidelity(swapped)["mask-fidelity"]
    assert value is not None and value < 0.85


@pytest.mark.parametrize("fault", ["none", "unlabelled", "empty masks", "nan", "constant"])
def test_no_fidelity_without_something_to_read(fault: str) -> None:
    good = discs(8, 32, 2)
    bad = {
        "none": None,
        "unlabelled": replace(good, labels=None),
        "empty masks": replace(good, labels=np.zeros_like(good.labels)),
        "nan": replace(good, images=np.full(good.images.shape, np.nan)),
        "constant": replace(good, images=np.full_like(good.images, 9)),
    }[fault]
    for value, reason in fidelity(bad).values():
        assert value is None and reason


def test_without_a_segmenter_there_is_a_reason() -> None:
    metrics = mask_fidelity(None, discs(8, 32, 1), discs(8, 32, 2), key=KEY, suffix="_paired")
    assert metrics[0].name == "mask-dice_paired" and all("no independent segmenter" in m.reason for m in metrics)


def test_a_segmenter_that_fails_on_real_images_does_not_judge() -> None:
    holdout = discs(16, 32, 1)
    assert holdout.labels is not None
    elsewhere = replace(holdout, labels=np.where(holdout.labels > 0, 0, np.eye(32, dtype=np.int32)))
    ratio = mask_fidelity(segmenter(), elsewhere, discs(8, 32, 2), key=KEY)[1]
    assert ratio.status == "undefined" and "cannot judge" in ratio.reason


def test_one_group_a_side_says_little() -> None:
    holdout, synthetic = (replace(p, groups=np.full(len(p), "g")) for p in (discs(8, 32, 1), discs(8, 32, 2)))
    dice, ratio, *_ = mask_fidelity(segmenter(), holdout, synthetic, key=KEY)
    for metric, value in ((dice, dice.value), (dice.null, dice.null.value)):
        assert metric.ci95 == pytest.approx((0.025 * value, 1 - 0.025 * (1 - value)))
    assert ratio.ci95[0] < 0.1 and ratio.ci95[1] > 10
    own, _ = own_scores(segmenter(), holdout, ("a", "b"), bootstrap=50, key=KEY)
    assert own.ci95 == dice.null.ci95


def test_own_scores_name_what_the_segmenter_can_do() -> None:
    dice, objects = own_scores(segmenter(), discs(16, 32, 1), ("a", "b"), bootstrap=50, key=KEY)
    assert (dice.name, objects.name) == ("a", "b") and dice.value is not None and dice.value > 0.9


# ---------------------------------------------------------------- scalars


def scalars(requested: np.ndarray, measured: np.ndarray) -> dict[str, float | None]:
    groups = np.array([f"g{i}" for i in range(len(requested))])
    found = scalar_obedience("dose", requested, measured, groups, real_spread=2.0, bootstrap=200, key=KEY)
    return {m.name.removeprefix("condition_dose_"): m.value for m in found}


def test_scalars_against_numpy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1e6, 3, 80)  # a large common offset costs no precision
    y = 0.5 * (x - 1e6) + 1e6 + rng.normal(0, 1, 80)
    got = scalars(x, y)
    assert got["correlation"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    assert got["slope"] == pytest.approx(np.polyfit(x - x.mean(), y, 1)[0], abs=1e-9)
    assert got["error"] == pytest.approx(np.sqrt(np.mean((x - y) ** 2)) / 2, abs=1e-9)


def test_the_slope_interval_covers_the_truth() -> None:
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 1, 60)
        found = scalar_obedience(
            "d", x, 0.7 * x + rng.normal(0, 1, 60), np.arange(60), real_spread=1.0, bootstrap=200, key=("t", str(seed))
        )
        interval = next(m.ci95 for m in found if m.name.endswith("slope"))
        hits += interval is not None and interval[0] <= 0.7 <= interval[1]
    assert hits >= 34


@pytest.mark.parametrize(
    ("requested", "measured", "reason"),
    [
        (np.ones(10), np.arange(10.0), "the same for all"),
        (np.arange(10.0), np.full(10, np.nan), "not finite"),
        (np.arange(2.0), np.arange(2.0), "three are needed"),
    ],
)
def test_scalars_without_meaning_have_a_reason(requested: np.ndarray, measured: np.ndarray, reason: str) -> None:
    found = scalar_obedience("d", requested, measured, np.arange(len(requested)), real_spread=1.0, bootstrap=50, key=KEY)
    assert len(found) == 3 and all(reason in m.reason for m in found)


def test_constant_output_has_an_error_but_no_correlation() -> None:
    got = scalars(np.arange(10.0), np.full(10, 4.5))
    assert got["correlation"] is None and got["slope"] == pytest.approx(0) and got["error"] == pytest.approx(np.arange(10.0).std() / 2)


# ---------------------------------------------------------------- classes


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n)
    return rng.normal(0, 1, (n, 5)) + 3 * np.eye(3, 5)[classes], np.array(["a", "b", "c"])[classes]


def read_classes(synthetic: tuple[np.ndarray, np.ndarray]) -> list[float | None]:
    groups = [np.array([f"g{i // 3}" for i in range(n)]) for n in (60, len(synthetic[1]))]
    found = class_obedience(
        "kind",
        train=blobs(120, 0),
        holdout=(*blobs(60, 1), groups[0]),
        synthetic=(*synthetic, groups[1]),
        features="f",
        bootstrap=100,
        key=KEY,
    )
    assert [m.name for m in found] == ["condition_kind_accuracy", "condition_kind_accuracy-ratio"]
    return [m.value for m in found]


def test_classes_that_are_what_they_were_asked_to_be() -> None:
    accuracy, ratio = read_classes(blobs(60, 2))
    assert accuracy is not None and accuracy > 0.85 and ratio == pytest.approx(1, abs=0.1)


def test_classes_at_random_are_read_at_chance() -> None:
    features, classes = blobs(90, 2)
    accuracy, ratio = read_classes((features, np.random.default_rng(0).permutation(classes)))
    assert accuracy is not None and ratio is not None
    assert accuracy == pytest.approx(1 / 3, abs=0.15) and ratio < 0.6


@pytest.mark.parametrize("groups", [1, 5])
def test_classes_that_are_all_read_right_are_not_certain(groups: int) -> None:
    """The intervals of accuracy and of its ratio were [1, 1], of one group too."""
    features, classes = blobs(60, 1)
    apart = features + 50 * np.eye(3, 5)[np.searchsorted(["a", "b", "c"], classes)]
    side = (apart, classes, np.array([f"g{i % groups}" for i in range(60)]))
    accuracy, ratio = class_obedience("k", train=side[:2], holdout=side, synthetic=side, features="f", bootstrap=50, key=KEY)
    share = 0.025 ** (1 / groups)
    assert accuracy.value == 1 and accuracy.ci95 == pytest.approx((share, 1)) and accuracy.null.ci95 == accuracy.ci95
    assert ratio.value == 1 and ratio.ci95 == pytest.approx((share, 1 / share))


def test_one_class_cannot_be_judged() -> None:
    x, _ = blobs(20, 0)
    one = np.full(20, "a")
    found = class_obedience("kind", train=(x, one), holdout=(x, one, one), synthetic=(x, one, one), features="f", bootstrap=50, key=KEY)
    assert all("two are needed" in m.reason for m in found)


# ---------------------------------------------------------------- downstream

PLAN = DownstreamPlan(seeds=2, steps=40, annotated_images=2, synthetic_per_real=4)


@cache
def results(which: str) -> dict:
    train, holdout, synthetic = discs(12, 32, 0), discs(12, 32, 1), discs(24, 32, 2)
    if which == "harmful":
        synthetic = replace(synthetic, labels=np.zeros_like(synthetic.labels))
    about = {"train": train, "holdout": holdout, "synthetic": synthetic, "key": KEY}
    return {(arm, seed): run_arm(arm, seed, PLAN, **about) for arm in (*BASELINE_ARMS, *RECIPE_ARMS) for seed in range(PLAN.seeds)}


def gains(which: str) -> dict:
    found = downstream_metrics(results(which), PLAN, kind="instances", bootstrap=100, key=KEY, ceiling=0.9)
    assert [m.name for m in found] == names("instances", PLAN)
    return {m.name: m for m in found}


def test_harm_is_reported_as_plainly_as_gain() -> None:
    good, harmful = gains("good"), gains("harmful")
    gain, harm = good["downstream_gain_over_real"].value, harmful["downstream_gain_over_real"].value
    assert gain is not None and harm is not None and harm < -0.1 and gain > -0.02
    assert harmful["downstream_gain_over_classical"].ci95 is not None
    assert harmful["downstream_f1_gain_over_classical"].value is not None


def test_arms_that_agree_in_every_group_are_not_certain() -> None:
    perfect = results("good")["real", 0] | {"dice": [[[9.0, 0.0, 0.0]]] * 12, "f1": [[[9.0, 0.0, 0.0]]] * 12}
    found = downstream_metrics(dict.fromkeys(results("good"), perfect), PLAN, kind="instances", bootstrap=50, key=KEY, ceiling=0.9)
    share = 0.025 ** (1 / len(perfect["groups"]))
    for metric in found:
        value, ends = (0, (share - 1, 1 - share)) if "gain" in metric.name else (1, (share, 1))
        assert metric.value == value and metric.ci95 == pytest.approx(ends)


def test_scores_and_gains_agree() -> None:
    found = gains("good")
    difference = found["downstream_score_synthetic"].value - found["downstream_score_classical"].value
    assert found["downstream_gain_over_classical"].value == pytest.approx(difference)
    assert found["downstream_gain_over_classical"].unit_of_n == "groups"
    assert found["downstream_score_real"].detail["annotated_images"] == 2


def test_arms_that_do_not_use_synthetic_images_do_not_depend_on_them() -> None:
    for arm in BASELINE_ARMS:
        assert results("good")[arm, 0] == results("harmful")[arm, 0]
    assert results("good")["synthetic", 0] != results("harmful")["synthetic", 0]


def test_annotated_images_come_from_as_many_groups_as_allowed() -> None:
    train = discs(12, 32, 0)
    train = replace(train, groups=np.array([f"g{i // 4}" for i in range(12)]))
    spread = annotated(train, DownstreamPlan(annotated_images=6), 0, KEY)
    assert len(spread) == 6 and np.unique(spread.groups, return_counts=True)[1].tolist() == [2, 2, 2]
    narrow = annotated(train, DownstreamPlan(annotated_images=6, annotated_groups=2), 0, KEY)
    assert len(np.unique(narrow.groups)) == 2
    again = annotated(train, DownstreamPlan(annotated_images=6), 0, KEY)
    assert np.array_equal(again.images, spread.images)
    assert not np.array_equal(annotated(train, DownstreamPlan(annotated_images=6), 1, KEY).images, spread.images)


def test_no_comparison_without_labels_or_synthetic_images() -> None:
    good = discs(4, 32, 0)
    bare = replace(good, labels=None)
    assert "no labels" in obstacle(good, bare)
    assert obstacle(good, good) == ""
    assert "no synthetic" in obstacle(good, good, None, with_synthetic=True)
    assert "labels" in obstacle(good, good, bare, with_synthetic=True)
