"""Masks read back; students with and without synthetic images."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from test_segmentation import discs

from sciimg.protocol.validation import DownstreamPlan
from sciimg.types import PatchSet
from sciimg.validation.downstream import BASELINE_ARMS, RECIPE_ARMS, annotated, downstream_metrics, names, obstacle, run_arm
from sciimg.validation.fidelity import mask_fidelity, own_scores
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
