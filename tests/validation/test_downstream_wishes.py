"""Students that a study may ask for beside the usual four: on synthetic images alone, and with more and more of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_segmentation import discs

from sciimg.protocol.validation import DownstreamPlan
from sciimg.types import PatchSet
from sciimg.validation import downstream
from sciimg.validation.downstream import BASELINE_ARMS, downstream_metrics, names, recipe_arms, run_arm, too_few
from sciimg.validation.scores import f1

KEY = ("test",)
PLAN = DownstreamPlan(seeds=2, steps=1, annotated_images=3, synthetic_only=True, ratios=(1, 2, 4))
TRAIN, HOLDOUT, SYNTHETIC = discs(6, 32, 0), discs(6, 32, 1), discs(16, 32, 2)


class Stub:
    """A student that has the truth."""

    def segment(self, patches: PatchSet) -> PatchSet:
        return patches


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], dict[str, Any]]:
    """What each student was given, by arm and seed; no student is trained."""
    seen: list[dict[str, Any]] = []

    def stub(real: PatchSet, plan: Any, *, key: tuple[Any, ...], added: PatchSet | None = None, share: float = 0.0) -> Stub:
        seen.append({"real": real, "plan": plan, "key": key, "added": added, "share": share})
        return Stub()

    monkeypatch.setattr(downstream, "train_segmenter", stub)
    found = {}
    for arm in (*BASELINE_ARMS, *recipe_arms(PLAN)):
        for seed in range(PLAN.seeds):
            result = run_arm(arm, seed, PLAN, train=TRAIN, holdout=HOLDOUT, synthetic=SYNTHETIC, key=KEY)
            found[arm, seed] = seen[-1] | {"result": result}
    return found


def rows(patches: PatchSet) -> set[bytes]:
    return {image.tobytes() for image in patches.images}


def test_every_arm_has_the_same_seeds_steps_and_annotated_images(calls: dict[tuple[str, int], dict[str, Any]]) -> None:
    for (arm, seed), given in calls.items():
        assert given["key"] == calls["real", seed]["key"] and given["plan"].steps == PLAN.steps
        if arm != "synthetic-only":
            assert np.array_equal(given["real"].images, calls["real", seed]["real"].images)
    assert calls["real", 0]["key"] != calls["real", 1]["key"]


def test_a_student_on_synthetic_images_alone_sees_no_real_one(calls: dict[tuple[str, int], dict[str, Any]]) -> None:
    given = calls["synthetic-only", 0]
    assert given["added"] is None and rows(given["real"]) == rows(SYNTHETIC) and not rows(given["real"]) & rows(TRAIN)
    assert given["plan"].augmentation == "none" and given["real"].label_kind == TRAIN.label_kind
    assert (given["result"]["annotated"], given["result"]["synthetic"]) == (0, len(SYNTHETIC))


def test_a_ratio_has_as_many_different_images_as_it_says_and_those_of_the_smaller_ones(
    calls: dict[tuple[str, int], dict[str, Any]],
) -> None:
    for seed in range(PLAN.seeds):
        assert calls["real", seed]["added"] is None
        last: set[bytes] = set()
        for ratio in PLAN.ratios or ():
            given = calls[f"ratio-{ratio}", seed]
            assert len(rows(given["added"])) == given["result"]["synthetic"] == ratio * given["result"]["annotated"] == ratio * 3
            assert last < rows(given["added"]) <= rows(SYNTHETIC)
            assert given["share"] == pytest.approx(ratio / (1 + ratio))
            last = rows(given["added"])
    assert rows(calls["ratio-1", 0]["added"]) != rows(calls["ratio-1", 1]["added"])


def test_the_usual_arms_do_not_change_with_what_else_is_asked(calls: dict[tuple[str, int], dict[str, Any]]) -> None:
    assert recipe_arms(DownstreamPlan()) == ("synthetic", "combined")
    for arm in ("synthetic", "combined"):
        assert calls[arm, 0]["added"] is SYNTHETIC and calls[arm, 0]["share"] == 0.5
        assert set(calls[arm, 0]["result"]) == {"groups", "dice", "f1", "annotated"}


def result(hits: list[float], **more: int) -> dict[str, Any]:
    """Return a result with so many of 100 pixels found in each group, and as many spurious as missed."""
    counts = [[[h, 100 - h, 100 - h]] for h in hits]
    return {"groups": [f"g{i}" for i in range(len(hits))], "dice": counts, "f1": counts, "annotated": 3} | more


def test_gains_are_paired_by_group_and_harm_has_its_sign() -> None:
    """Groups differ far more than arms: only an interval of pairs is narrow enough to show a steady change."""
    plan = DownstreamPlan(seeds=2, annotated_images=3, synthetic_only=True, ratios=(1, 4))
    base = [10.0, 30.0, 50.0, 70.0, 90.0] * 4
    change = {"real": 0.0, "classical": 0.0, "synthetic": 1.0, "combined": 1.0, "synthetic-only": -5.0, "ratio-1": 2.0, "ratio-4": 4.0}
    results = {
        (arm, s): result(
            [b + d * (0.9 + 0.2 * (i % 2)) for i, b in enumerate(base)],
            **({} if arm in ("real", "classical", "synthetic", "combined") else {"synthetic": 12}),
        )
        for arm, d in change.items()
        for s in range(2)
    }
    found = {m.name: m for m in downstream_metrics(results, plan, kind="classes", bootstrap=200, key=KEY, ceiling=None)}
    assert list(found) == names("classes", plan)
    for arm in ("synthetic-only", "ratio-1", "ratio-4"):
        gain = found[f"downstream_gain_{arm}_over_real"]
        closed = float(f1(np.array(results[arm, 0]["dice"]).sum(0)) - f1(np.array(results["real", 0]["dice"]).sum(0)))
        assert gain.value == pytest.approx(closed) == pytest.approx(change[arm] / 100)  # Dice is hits over 100 here
        assert (
            gain.ci95[0] < closed < gain.ci95[1]
            and gain.ci95 == pytest.approx((closed, closed), rel=0.1)
            and gain.unit_of_n == "groups"
            and gain.n == 20
        )
        score = found[f"downstream_score_{arm}"]
        assert score.ci95 is not None and score.ci95[1] - score.ci95[0] > 0.1
        assert score.detail["synthetic_images"] == 12
    assert found["downstream_score_ratio-4"].detail["synthetic_per_real"] == 4


def test_a_ratio_that_cannot_be_made_is_undefined_and_the_others_are_not() -> None:
    plan = DownstreamPlan(seeds=2, annotated_images=3, ratios=(1, 8))
    assert too_few("ratio-1", plan, train=TRAIN, synthetic=SYNTHETIC, key=KEY) == ""
    reason = too_few("ratio-8", plan, train=TRAIN, synthetic=SYNTHETIC, key=KEY)
    assert reason == "ratio-8 needs 24 synthetic images; there are 16"
    results = {(arm, s): result([50.0] * 3) for arm in ("real", "classical", "synthetic", "combined", "ratio-1") for s in range(2)}
    about: dict[str, Any] = {"kind": "instances", "bootstrap": 50, "key": KEY, "ceiling": None}
    found = {m.name: m for m in downstream_metrics(results, plan, missing={"ratio-8": reason}, **about)}
    assert set(found) == set(names("instances", plan))
    undefined = {n for n, m in found.items() if m.value is None}
    assert undefined == {f"downstream_{f}{n}" for f in ("", "f1_") for n in ("score_ratio-8", "gain_ratio-8_over_real")}
    assert all(found[n].reason == reason for n in undefined)


def test_empty_masks_are_harm_where_only_synthetic_images_teach() -> None:
    plan = DownstreamPlan(seeds=2, steps=30, annotated_images=3, synthetic_only=True)
    empty = replace(SYNTHETIC, labels=np.zeros_like(SYNTHETIC.labels))
    scores = {}
    for name, synthetic in (("good", SYNTHETIC), ("empty", empty)):
        found = run_arm("synthetic-only", 0, plan, train=TRAIN, holdout=HOLDOUT, synthetic=synthetic, key=KEY)
        scores[name] = float(f1(np.array(found["dice"]).sum(0)))
    assert scores["good"] > 0.5 > 0.1 > scores["empty"]
