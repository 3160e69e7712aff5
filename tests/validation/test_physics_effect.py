"""Faults that a sceptic would plant: each is refused by the check that owns it, and real images are not."""

import math
from dataclasses import replace
from functools import cache
from itertools import permutations

import numpy as np
import pytest
import tissue

from sciimg.types import PatchSet
from sciimg.validation.physics import CHECKS, RealImages, calibrate, effect
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.contrast_order import ContrastOrder
from sciimg.validation.physics.controls import blurred, gamma_changed, inverted, magnified, noisier
from sciimg.validation.physics.effect import Calibration
from sciimg.validation.physics.intensity_law import IntensityLaw

RNG = np.random.default_rng(0)


@cache
def real() -> RealImages:
    return RealImages(*(tissue.patches(part) for part in ("holdout", "calibration", "train")))


@cache
def ready(name: str) -> Calibration:
    made = calibrate(CHECKS[name], real(), rounds=200, key=("test",))
    assert isinstance(made, Calibration)
    return made


def judged(name: str, patches: PatchSet) -> tuple[float, float, float]:
    metric = effect(ready(name), patches, name=f"{name}_effect")
    assert metric.value is not None and metric.ci95 is not None
    return metric.ci95[0], metric.value, metric.ci95[1]


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("noise-law", blurred(0.7)),
        ("noise-law", noisier(0.5)),
        ("power-spectrum", blurred(0.7)),
        ("power-spectrum", magnified(1.5)),
        ("intensity-law", gamma_changed(0.6)),
        ("intensity-law", inverted),
    ],
)
def test_a_planted_fault_is_refused_with_certainty(check: str, fault: object) -> None:
    train = real().train
    assert train is not None and callable(fault)
    assert judged(check, fault(train, RNG))[0] > 1


@pytest.mark.parametrize("check", ["intensity-law", "noise-law", "power-spectrum"])
def test_calibration_images_pass(check: str) -> None:
    """They are real, and of a neighbouring region."""
    calibration = real().calibration
    assert calibration is not None
    low, value, _ = judged(check, calibration)
    assert low < 1 and value < 1.25


def test_mode_collapse_shows_in_patch_means() -> None:
    """One patch repeated has the right histogram for one place and no variation between places."""
    train = real().train
    assert train is not None
    repeated = train.take([10] * 60)
    repeated = replace(repeated, groups=np.array([f"s{i}" for i in range(60)]))
    metric = effect(ready("intensity-law"), repeated, name="x")
    assert metric.value is not None and metric.value > 1


def test_a_check_that_does_not_see_its_control_is_undefined() -> None:
    class Blind(IntensityLaw):
        controls = (Control("nothing", lambda patches, rng: patches),)

    made = calibrate(Blind(), real(), rounds=50, key=("test",))
    metric = effect(made, real().train, name="x")
    assert metric.status == "undefined"
    assert "positive control" in metric.reason and "nothing" in metric.reason


def test_a_control_that_is_nearly_seen_says_how_many_groups_would_do() -> None:
    """The margin falls as the root of the number of groups: what is 0.8 of it now would be all of it with 1 / 0.64 times as many."""
    found = ready("intensity-law")
    nearly = replace(found, controls=found.controls | {"faint": 0.8})
    metric = effect(nearly, real().train, name="x")
    groups = len(found.groups)
    assert metric.status == "undefined" and metric.shortage is not None
    assert (metric.shortage.found, metric.shortage.needed) == (groups, math.ceil(groups / 0.64))
    never = effect(replace(found, controls={"faint": 0.1}), real().train, name="x")
    assert never.status == "undefined" and never.shortage is None


def test_pairs_resample_together_and_are_more_certain() -> None:
    holdout = real().holdout
    faulty = gamma_changed(0.8)(holdout, RNG)
    calibration = ready("intensity-law")
    together, apart = (effect(calibration, faulty, name="x", paired=paired) for paired in (True, False))
    assert together.value == apart.value
    assert together.ci95 is not None and apart.ci95 is not None
    assert together.ci95[1] - together.ci95[0] < 0.6 * (apart.ci95[1] - apart.ci95[0])


def test_real_images_rarely_exceed_the_bar() -> None:
    """Calibration: cells of the section at random on the real and on the synthetic side; the nominal rate is 95 %."""
    cells = [tissue.patches(part, stride=64) for part in ("train", "calibration", "holdout")]
    images, labels = np.concatenate([c.images for c in cells]), np.concatenate([c.labels for c in cells if c.labels is not None])
    table = cells[0].table.iloc[np.zeros(len(images), int)].reset_index(drop=True)
    groups = np.array([f"g{i:02d}" for i in range(len(images))])
    everything = replace(cells[0], images=images, labels=labels, groups=groups, table=table)
    inside = []
    for trial in range(40):
        order = np.random.default_rng(trial).permutation(len(everything))
        check = type("Quiet", (IntensityLaw,), {"controls": ()})()
        parts = RealImages(everything.take(order[:16]), everything.take(order[16:24]))
        made = calibrate(check, parts, rounds=200, key=(str(trial),))
        metric = effect(made, everything.take(order[24:]), name="x")
        assert metric.value is not None
        inside.append(metric.value <= 1)
    assert np.mean(inside) >= 0.9


# ---------------------------------------------------------------- magnetic resonance


def test_masked_background_has_no_snr() -> None:
    patches = tissue.brain(8, 20)
    assert patches.labels is not None
    masked = replace(patches, images=np.where(patches.labels[:, None] > 0, patches.images, 0).astype(np.float32))
    reason = calibrate(CHECKS["snr"], RealImages(masked), key=("t",))
    assert isinstance(reason, str) and "no background" in reason and "masked" in reason


def test_brain_without_air_has_no_snr() -> None:
    patches = tissue.brain(8, 20)
    inside = replace(patches, images=patches.images[..., 8:], labels=None)
    reason = calibrate(CHECKS["snr"], RealImages(inside), key=("t",))
    assert isinstance(reason, str) and "no background" in reason


def test_synthetic_images_with_masked_background_give_no_snr_either() -> None:
    patches = tissue.brain(16, 20)
    assert patches.labels is not None
    made = calibrate(CHECKS["snr"], RealImages(patches), rounds=50, key=("t",))
    masked = replace(patches, images=np.where(patches.labels[:, None] > 0, patches.images, 0).astype(np.float32))
    assert "no background" in effect(made, masked, name="x").reason


def test_inverted_t1_contrast_is_refused() -> None:
    patches = tissue.brain(16, 20)
    made = calibrate(CHECKS["contrast-order"], RealImages(patches), rounds=50, key=("t",))
    metric = effect(made, inverted(patches, RNG), name="x")
    assert metric.value is not None and metric.value > 10
    assert metric.detail["components"]["t1:csf/white-matter:order"]["distance"] == 1.0


def test_labels_that_contradict_t1_are_reported() -> None:
    patches = tissue.brain(8, 20)
    swapped = replace(patches, attributes={"classes": {"white-matter": 1, "grey-matter": 2, "csf": 3}})
    assert "T1 order" in ContrastOrder().obstacle(swapped)
    assert ContrastOrder().obstacle(replace(swapped, channels=("t2",))) == ""  # fluid brightest, then grey


@pytest.mark.parametrize(
    ("channel", "order", "said"),
    [
        ("t1w", ("csf", "grey-matter", "white-matter"), "T1 order (white > grey > fluid)"),
        ("t2w", ("white-matter", "grey-matter", "csf"), "T2 order (fluid > grey > white)"),
        ("t2-flair", ("csf", "white-matter", "grey-matter"), "FLAIR order (grey > white > fluid)"),
    ],
)
def test_real_images_must_be_in_the_order_of_their_weighting(channel: str, order: tuple[str, ...], said: str) -> None:
    """The tissues of the phantom are numbered from the darkest; every other order of the three names is refused."""
    patches = replace(tissue.brain(2, 20), channels=(channel,))
    for names in permutations(order):
        named = replace(patches, attributes={"classes": {name: i for i, name in enumerate(names, 1)}})
        reason = ContrastOrder().obstacle(named)
        assert said in reason and channel in reason if names != order else reason == ""
    right = replace(patches, attributes={"classes": {name: i for i, name in enumerate(order, 1)}})
    assert said in ContrastOrder().obstacle(inverted(right, RNG))


@pytest.mark.parametrize("channel", ["t1", "t2", "flair", "pd"])
@pytest.mark.parametrize("names", [("head", "body", "tail"), ("left-ventricle", "hippocampus", "right-ventricle")])
def test_classes_without_an_order_are_compared_with_the_real_images_alone(channel: str, names: tuple[str, ...]) -> None:
    patches = replace(tissue.brain(2, 20), channels=(channel,))
    for some in (names, names[::-1]):
        assert ContrastOrder().obstacle(replace(patches, attributes={"classes": {n: i for i, n in enumerate(some, 1)}})) == ""


def test_larger_ventricles_are_refused() -> None:
    def segment(p: PatchSet) -> PatchSet:
        values = np.array([20.0, 200.0, 500.0, 800.0])
        return replace(p, labels=np.abs(p.images[:, 0, ..., None] - values).argmin(-1).astype(np.int32))

    patches = tissue.brain(16, 20)
    made = calibrate(CHECKS["tissue-volumes"], RealImages(patches, segment=segment), rounds=50, key=("t",))
    images = patches.images.copy()
    grey = (images > 350) & (images < 650) & (np.indices(images.shape)[-1] % 2 == 0)
    images[grey] = 200
    metric = effect(made, replace(patches, images=images), name="x")
    assert metric.value is not None and metric.ci95 is not None and metric.ci95[0] > 1
