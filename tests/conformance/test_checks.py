"""What every physics check must do. A new check adds one row: its name, and real images on which it applies."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tissue
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label

from sciimg.report.sections.curves import KINDS
from sciimg.types import PatchSet
from sciimg.validation.physics import CHECKS, RealImages, calibrate, curves, effect, measured_synthetic, outliers
from sciimg.validation.physics.effect import Calibration

KEY = ("test",)


def objects(patches: PatchSet) -> PatchSet:
    """A segmenter that needs no training: Otsu on the smoothed first channel, connected regions."""
    smooth = ndimage.gaussian_filter(patches.images[:, 0].astype(float), (0, *(1.5,) * patches.dims))
    cut = threshold_otsu(smooth) if np.ptp(smooth) else np.inf
    return replace(patches, labels=np.stack([label(s > cut) for s in smooth]).astype(np.int32), label_kind="instances")


def nearest_tissue(patches: PatchSet) -> PatchSet:
    """A segmenter for the phantom: the class whose intensity is nearest."""
    values = np.array([20.0, 200.0, 500.0, 800.0])
    smooth = ndimage.gaussian_filter(patches.images[:, 0].astype(float), (0, *(0.7,) * patches.dims))
    return replace(patches, labels=np.abs(smooth[..., None] - values).argmin(-1).astype(np.int32))


TISSUE = ("intensity-law", "noise-law", "power-spectrum", "object-morphology", "detector-range")
TILES = ("point-pattern", "bleed-through")
BRAIN = ("snr", "tissue-snr", "contrast-order", "tissue-volumes")
HEAD = ("image-quality", "air-quality", "rician-noise", "bias-field", "ghosting", "k-space-slope", "ringing", "symmetry")
CAMERA = ("resolution", "grey-level-comb", "photon-transfer", "noise-whiteness", "optical-cutoff")
DOSES = ("dose-linearity",)
SETS = (("tissue", TISSUE), ("tiles", TILES), ("camera", CAMERA), ("doses", DOSES), ("brain", BRAIN), ("head", HEAD))
ROWS = [(name, which) for which, names in SETS for name in names]


@cache
def real_images(which: str) -> RealImages:
    if which == "tissue":
        holdout, calibration, train = (tissue.patches(part) for part in ("holdout", "calibration", "train"))
        return RealImages(holdout, calibration, train, objects)
    if which == "head":
        return RealImages(*(tissue.head(n, seed=s, group=g) for n, s, g in ((16, 0, "h"), (8, 1, "c"), (16, 2, "t"))))
    if which == "tiles":
        return RealImages(*(tissue.tiles(part) for part in ("holdout", "calibration", "train")), tissue.nuclei)
    if which == "doses":
        return RealImages(*(tissue.exposed(part) for part in ("holdout", "calibration", "train")))
    if which == "camera":
        return RealImages(*(tissue.fundus(part) for part in ("holdout", "calibration", "train")))
    parts = [tissue.brain(n, 20, seed=s, group=g) for n, s, g in ((16, 0, "h"), (8, 1, "c"), (16, 2, "t"))]
    return RealImages(*parts, nearest_tissue)


@cache
def ready(name: str, which: str) -> Calibration:
    made = calibrate(CHECKS[name], real_images(which), rounds=200, key=KEY)
    assert isinstance(made, Calibration), made
    return made


def test_every_check_has_a_row() -> None:
    assert sorted(CHECKS) == sorted(name for name, _ in ROWS)


@pytest.fixture(params=ROWS, ids=[name for name, _ in ROWS])
def row(request: pytest.FixtureRequest) -> tuple[Calibration, RealImages]:
    name, which = request.param
    return ready(name, which), real_images(which)


Row = tuple[Calibration, RealImages]


def test_says_what_it_is(row: Row) -> None:
    check = row[0].check
    assert check.estimator and check.unit and check.source and check.controls
    assert CHECKS[check.name] is check


def test_every_positive_control_is_flagged(row: Row) -> None:
    assert row[0].controls and row[0].blind_to == []


def test_real_images_of_another_part_stay_near_the_margin(row: Row) -> None:
    """The training part was never used for the margin; for the tissue it is another region, and may reach the edge."""
    calibrated, real = row
    metric = effect(calibrated, real.train, name="x")
    assert metric.value is not None and metric.ci95 is not None
    assert metric.value < 1.5 and metric.ci95[0] < 1


def test_the_holdout_against_itself_is_zero(row: Row) -> None:
    calibrated, real = row
    metric = effect(calibrated, real.holdout, name="x", paired=True)
    assert metric.value == pytest.approx(0, abs=1e-9)
    assert metric.ci95 == pytest.approx((0, 0), abs=1e-9)


def test_few_real_samples_lie_outside_or_it_says_why_single_ones_are_not_counted(row: Row) -> None:
    calibrated, real = row
    found = outliers(calibrated, real.holdout, name="x")
    if calibrated.check.name in ("point-pattern", "bleed-through"):
        assert found.shortage is not None and found.shortage.needed == 19
    elif calibrated.check.name == "dose-linearity":
        assert "one sample alone" in found.reason and found.shortage is None
    else:
        assert found.value is not None and found.value <= 0.1 and found.ci95 is not None
        assert set(found.detail["controls"]) == set(calibrated.controls)


def test_halves_of_real_images_have_the_nominal_quantile(row: Row) -> None:
    null = row[0].null
    assert null.ci95 is not None and 0 <= null.ci95[0] <= null.value <= null.ci95[1]
    assert null.value < 1.001


def test_statistics_add_up_and_do_not_depend_on_order(row: Row) -> None:
    calibrated, real = row
    check, frame = calibrated.check, calibrated.frame
    few = real.holdout.take(list(range(6)))
    seen = real.segment(few) if check.labels == "segmented" and real.segment else few
    whole = check.measure(seen, frame)
    order = [3, 0, 5, 1, 4, 2]
    assert np.array_equal(check.measure(seen.take(order), frame), whole[order])
    assert np.array_equal(np.concatenate([check.measure(seen.take([i]), frame) for i in range(6)]), whole)


def test_distance_is_symmetric_and_zero_on_itself(row: Row) -> None:
    calibrated, _ = row
    first, second = calibrated.sums[:4].sum(0)[None], calibrated.sums[4:].sum(0)[None]
    check, frame = calibrated.check, calibrated.frame
    one, other, same = check.distance(first, second, frame), check.distance(second, first, frame), check.distance(first, first, frame)
    assert set(one) == set(check.floors(frame)) and all(floor > 0 for floor in check.floors(frame).values())
    for name in one:
        assert one[name] == pytest.approx(other[name], nan_ok=True)
        assert same[name] == pytest.approx(0, abs=1e-12)


def test_same_key_same_bits_other_key_other_draws(row: Row) -> None:
    calibrated, real = row
    again = calibrate(calibrated.check, real, rounds=200, key=KEY)
    assert isinstance(again, Calibration)
    assert again.margins == calibrated.margins and again.controls == calibrated.controls
    assert effect(again, real.train, name="x") == effect(calibrated, real.train, name="x")


def test_curves_are_finite(row: Row) -> None:
    calibrated, real = row
    drawn = curves(calibrated, real.train)
    assert any(name.startswith("real-") for name in drawn) and any(name.startswith("synthetic-") for name in drawn)
    assert all(np.all(np.isfinite(values)) for values in drawn.values())


def test_samples_are_measured_once_for_all_that_is_said_of_them(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit what each would have measured for itself."""
    calibrated, real = row
    apart = effect(calibrated, real.train, name="x"), outliers(calibrated, real.train, name="x"), curves(calibrated, real.train)
    rows = measured_synthetic(calibrated, real.train)
    assert rows is not None and len(rows) == len(real.train)
    before = rows.copy()
    monkeypatch.setattr(type(calibrated.check), "measure", None)
    shared = (
        effect(calibrated, real.train, name="x", rows=rows),
        outliers(calibrated, real.train, name="x", rows=rows),
        curves(calibrated, real.train, rows=rows),
    )
    assert shared[:2] == apart[:2] and shared[2].keys() == apart[2].keys()
    assert all(np.array_equal(shared[2][name], apart[2][name]) for name in apart[2]) and np.array_equal(rows, before)
    assert measured_synthetic("no background", real.train) is None and measured_synthetic(calibrated, None) is None


BAD = {
    "empty": lambda p: p.take([]),
    "nan": lambda p: replace(p, images=np.where(np.arange(len(p)).reshape(-1, *(1,) * (p.images.ndim - 1)) == 0, np.nan, p.images)),
    "constant": lambda p: replace(p, images=np.full_like(p.images, 7)),
    "zero": lambda p: replace(p, images=np.zeros_like(p.images)),
    "cropped": lambda p: replace(p, images=p.images[..., :-1], labels=None if p.labels is None else p.labels[..., :-1]),
    "one channel more": lambda p: replace(p, images=np.concatenate([p.images, p.images], axis=1)),
    "other dtype": lambda p: replace(p, images=p.images.astype(np.float64)),
    "one group": lambda p: replace(p, groups=np.full(len(p), "all")),
}


@pytest.mark.parametrize("fault", BAD)
def test_unusable_synthetic_images_give_a_reason(row: Row, fault: str) -> None:
    calibrated, real = row
    assert real.train is not None
    metric = effect(calibrated, BAD[fault](real.train), name="x")
    assert metric.status == "undefined" and metric.reason
    assert effect(calibrated, None, name="x").status == "undefined"


def test_too_few_groups_say_how_many_are_needed(row: Row) -> None:
    calibrated, real = row
    few = replace(real, holdout=real.holdout.take(list(range(3))), calibration=None)
    reason = calibrate(calibrated.check, few, key=KEY)
    assert isinstance(reason, str) and reason
    assert effect(reason, real.train, name="x").reason == reason


def test_every_curve_that_the_report_draws_is_left_by_its_check(row: Row) -> None:
    calibrated, real = row
    drawn = curves(calibrated, real.train)
    for kind in KINDS.get(calibrated.check.name, ()):
        axis = kind.y.split("-")[0]
        if axis in "zyx" and axis not in "zyx"[-real.holdout.dims :]:
            continue
        assert any(
            name.endswith(kind.y) and (f"{name.removesuffix(kind.y)}{kind.x}" in drawn or f"real-{kind.x}" in drawn) for name in drawn
        )
