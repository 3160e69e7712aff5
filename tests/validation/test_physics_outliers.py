"""Single samples against single real ones: one real image in twenty lies outside, and a few grossly wrong ones do not hide in the pool."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tissue
from numpy.typing import NDArray
from patchsets import images_2d

from sciimg.protocol.vocabulary import metrics, physics_of
from sciimg.types import PatchSet
from sciimg.validation.physics import CHECKS, RealImages, calibrate, effect, outliers
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import noisier
from sciimg.validation.physics.effect import Calibration
from sciimg.validation.physics.typical import Typical, bar_of, oddness, typical

Array = NDArray[np.float64]
RNG = np.random.default_rng(0)


class Level(Check):
    """The mean of a sample, and a number that only bright samples have: distances that can be worked out by hand."""

    name = "level"
    estimator = unit = source = "fixture"
    controls = (Control("brighter", lambda patches, rng: replace(patches, images=patches.images + 1000)),)

    def frame(self, real: PatchSet) -> None:
        return None

    def measure(self, patches: PatchSet, frame: None) -> Array:
        mean = patches.images.mean(axis=(1, 2, 3), dtype=np.float64)
        return np.stack([mean, np.ones(len(mean)), mean > 100, np.zeros(len(mean))], axis=-1)

    def distance(self, first: Array, second: Array, frame: None) -> dict[str, Array]:
        a, b = (rows[:, 0] / rows[:, 1] for rows in (first, second))
        return {"mean": np.abs(a - b), "bright": np.where(first[:, 2] > 0, 0.0, np.nan), "never": first[:, 3] + np.nan}

    def floors(self, frame: None) -> dict[str, float]:
        return {"mean": 0.1, "bright": 0.1, "never": 0.1}

    def curves(self, total: Array, frame: None) -> dict[str, Array]:
        return {}


def levels(values: list[float]) -> PatchSet:
    images = np.full((len(values), 1, 4, 4), 0.0) + np.array(values)[:, None, None, None]
    return images_2d(images)  # every sample a group


def calibrated(values: list[float]) -> Calibration:
    made = calibrate(Level(), RealImages(levels(values)), rounds=20, key=("t",))
    assert isinstance(made, Calibration)
    return made


REAL = [200.0 + i for i in range(-19, 20)]  # 39 samples about 200: each lies 39/38 of its offset from the mean of the others


def test_the_bar_is_the_38th_of_39_and_the_interval_is_exact() -> None:
    ready = calibrated(REAL)
    assert not isinstance(ready.typical, str)
    scale = float(np.quantile([abs(i) * 39 / 38 for i in range(-19, 20)], 0.95))
    assert ready.typical.bar == pytest.approx(19 * 39 / 38 / scale)  # offsets 19 and -19 are the 38th and the 39th
    assert "never" not in ready.typical.scales
    found = outliers(ready, levels([200.0] * 7 + [219.4, 219.6, 180.4]), name="m")  # the bar is at 200 ± 19.5
    assert (found.value, found.n, found.n_real, found.n_synthetic) == (pytest.approx(0.2), 10, 39, 10)
    assert found.ci95 == pytest.approx((0.02521073, 0.55609546))  # 2 of 10: Clopper & Pearson 1934
    assert found.detail["beyond"] == {"mean": 2} and found.detail["controls"] == {"brighter": 1.0}
    none, all_ = (outliers(ready, levels([value] * 11 + [value + 1]), name="m") for value in (200.0, 900.0))
    assert none.ci95 == pytest.approx((0, 1 - 0.025 ** (1 / 12))) and all_.ci95 == pytest.approx((0.025 ** (1 / 12), 1))
    assert none.higher_is_better is False


def test_a_sample_as_odd_as_the_bar_lies_inside() -> None:
    assert outliers(calibrated(REAL), levels([219.5, 180.5, 219.5 + 1e-9]), name="m").detail["beyond"] == {"mean": 1}
    ties = outliers(calibrated([199.0, 201.0] * 20), levels([200.0] * 3), name="m")
    assert ties.null is not None and ties.null.value == 0  # halves of real samples that are all as odd as each other


def test_a_sample_that_lacks_what_real_samples_have_is_odd_and_one_that_real_samples_lack_too_is_not() -> None:
    found = outliers(calibrated(REAL), levels([200.0] * 5 + [99.0]), name="m")
    assert found.detail["beyond"] == {"bright": 1}
    often = calibrated([150.0, 50.0, 150.0] * 13)  # a third has no such number
    assert outliers(often, levels([98.0] * 5 + [99.0]), name="m").value == 0
    assert isinstance(often.typical, Typical)
    odd, parts = oddness(Level(), None, Level().measure(levels([116.0, 99.0]), None), often.typical)
    assert np.all(odd < 1) and parts == ["mean", "mean"]  # what is missing is not odd at all


@pytest.mark.parametrize(("n", "spared"), [(39, True), (59, False), (60, False)])
def test_as_many_may_lack_a_number_as_leave_the_bar_to_the_others(n: int, spared: bool) -> None:
    """Of 39 samples one lies beyond the bar, of 59 and 60 two, each half for either number: one that lacks a number is more than a half."""
    made = calibrated([200.0 + 0.5 * i for i in range(n - 1)] + [99.0]).typical
    assert isinstance(made, Typical) and made.often_missing == (frozenset({"bright"}) if spared else frozenset())


@pytest.mark.parametrize(("n", "k"), [(19, 19), (20, 20), (39, 38), (99, 95), (100, 96), (5, 5)])
def test_the_bar_of_n_values_is_the_one_below_which_a_further_one_lies_with_95_percent(n: int, k: int) -> None:
    assert bar_of(np.arange(n, 0, -1.0)) == k
    assert n < 19 or k / (n + 1) >= 0.95 > (k - 1) / (n + 1)


def everything() -> PatchSet:
    """Cells of the section, every one a group."""
    cells = [tissue.patches(part, stride=64) for part in ("train", "calibration", "holdout")]
    images = np.concatenate([c.images for c in cells])
    table = cells[0].table.iloc[np.zeros(len(images), int)].reset_index(drop=True)
    return replace(cells[0], images=images, labels=None, groups=np.array([f"g{i:02d}" for i in range(len(images))]), table=table)


@pytest.mark.parametrize("name", ["intensity-law", "power-spectrum"])
def test_of_real_images_no_more_than_one_in_twenty_lies_outside(name: str) -> None:
    """Cells at random on either side, as many as there are; the law says 5 % or a little less, whatever the number of components."""
    cells, check = everything(), type("Quiet", (type(CHECKS[name]),), {"controls": ()})()
    frame = check.frame(cells)
    rows, counts = check.measure(cells, frame), []
    for trial in range(40):
        order = np.random.default_rng(trial).permutation(len(cells))
        real, new = order[:24], order[24:]
        made = typical(check, frame, rows[real], cells.groups[real])
        assert isinstance(made, Typical)
        counts.append(np.mean(oddness(check, frame, rows[new], made)[0] > made.bar))
    assert 0.01 < np.mean(counts) < 0.06


def test_a_tenth_of_grossly_wrong_images_passes_the_pool_and_not_the_count() -> None:
    holdout, calibration, train = (tissue.patches(part) for part in ("holdout", "calibration", "train"))
    ready = calibrate(CHECKS["noise-law"], RealImages(holdout, calibration), rounds=100, key=("test",))
    rows = np.arange(0, len(train), 10)
    images = train.images.copy()
    images[rows] = noisier(1.0)(train.take(rows), RNG).images
    faulty = replace(train, images=images)
    pool = effect(ready, faulty, name="x")
    assert pool.ci95 is not None and pool.ci95[1] < 2  # as bundled studies bar it
    sound, found = (outliers(ready, patches, name="x") for patches in (train, faulty))
    assert sound.ci95 is not None and found.ci95 is not None
    assert sound.ci95[0] < 0.05 < found.ci95[0] and sound.ci95[1] < 0.15 < found.ci95[1]
    assert sound.null is not None and sound.null.ci95 is not None and sound.null.ci95[0] <= 0.05 <= sound.null.ci95[1]


# ---------------------------------------------------------------- no number


def test_too_few_real_samples_are_a_shortage() -> None:
    ready = calibrated(REAL[:12])
    found = outliers(ready, levels(REAL), name="m")
    assert found.status == "undefined" and found.shortage is not None
    assert (found.shortage.found, found.shortage.needed, found.shortage.of) == (12, 19, "real samples")


def test_what_needs_several_samples_says_so_of_one() -> None:
    real = tissue.exposed("holdout")
    ready = calibrate(CHECKS["dose-linearity"], RealImages(real, tissue.exposed("calibration")), rounds=20, key=("t",))
    found = outliers(ready, tissue.exposed("train"), name="m")
    assert found.reason == "one sample alone does not give what dose-linearity measures" and found.shortage is None


def test_other_reasons_are_those_of_the_effect() -> None:
    blind = calibrate(
        type("Blind", (Level,), {"controls": (Control("nothing", lambda p, rng: p),)})(), RealImages(levels(REAL)), key=("t",)
    )
    cases: list[tuple[Any, PatchSet | None]] = [
        ("no background", levels(REAL)),
        (blind, levels(REAL)),
        (calibrated(REAL), None),
        (calibrated(REAL), replace(levels(REAL), channels=("a", "b"), images=np.zeros((39, 2, 4, 4)))),
    ]
    for ready, synthetic in cases:
        found, pool = outliers(ready, synthetic, name="m"), effect(ready, synthetic, name="m")
        assert found.status == "undefined" and found.reason == pool.reason and found.shortage == pool.shortage
        assert found.higher_is_better is False and (found.n, found.n_synthetic) in ((0, 0), (39, 39), (None, None))


def test_gates_may_name_it() -> None:
    known = metrics(())
    assert all(known[f"{check}_outliers"] == ("physics",) for check in CHECKS)
    assert physics_of("noise-law_outliers") == physics_of("noise-law_outliers_folds") == "noise-law"
