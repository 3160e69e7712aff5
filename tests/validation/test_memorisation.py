"""The search for copies: planted copies are found, other real images are not, and a blind check says so."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import gumbel_r

from sciimg.types import PatchSet, Spacing
from sciimg.validation import nearness
from sciimg.validation.memorisation import QUANTILE, copies, extreme, false_alarms, planted
from sciimg.validation.nearness import Training, symmetries, turned_back
from sciimg.validation.resampling import proportion_interval


def texture(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2).astype(np.float32) * 1000


def cut(images: list[NDArray[np.float32]], size: tuple[int, ...], n: int, seed: int) -> PatchSet:
    rng = np.random.default_rng(seed)
    patches = []
    for i in range(n):
        image = images[i % len(images)]
        first = [int(rng.integers(0, a - b + 1)) for a, b in zip(image.shape[1:], size, strict=True)]
        patches.append(image[(slice(None), *(slice(f, f + s) for f, s in zip(first, size, strict=True)))])
    groups = np.array([f"g{i % 8}" for i in range(n)])
    return PatchSet(np.stack(patches), None, groups, pd.DataFrame(index=range(n)), Spacing((1.0,) * len(size), "pixel"), ("c",))


@pytest.fixture(scope="module", params=[((160, 150), (32, 32)), ((48, 48, 40), (16, 16, 16))], ids=["2d", "3d"])
def case(request: pytest.FixtureRequest) -> tuple[Training, PatchSet, PatchSet, PatchSet]:
    shape, size = request.param
    train = [texture(s, (1, *shape)) for s in (1, 2)]
    other = [texture(s, (1, *shape)) for s in (3, 4)]
    return Training(train, size), cut(train, size, 32, 0), cut(other, size, 64, 1), cut(other, size, 48, 2)


def values(case: tuple[Training, PatchSet, PatchSet, PatchSet], judged: PatchSet | None) -> dict[str, float | None]:
    training, draws, holdout, _ = case
    metrics, _ = copies(training, draws, holdout, judged, key=("test",))
    return {m.name: m.value for m in metrics}


def test_real_images_are_no_copies(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    found = values(case, case[3])
    assert found["copy-control"] == 1
    assert found["copy-rate"] is not None
    assert found["copy-rate"] <= 0.05


def test_training_patches_are_copies(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    assert values(case, case[1])["copy-rate"] == 1


def test_turned_brightened_noisy_copies_are_found(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    draws = case[1]
    disguised = PatchSet(planted(draws, ("x",))[0], None, draws.groups, draws.table, draws.spacing, draws.channels)
    rate = values(case, disguised)["copy-rate"]
    assert rate is not None
    assert rate >= 0.95


def test_the_nearest_window_is_the_place_that_was_copied(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    training, draws, _, _ = case
    nearest = training.nearest(draws.images[:4])
    for n in range(4):
        window = training.window(nearest, n).astype(np.float64)
        turned = max(np.corrcoef(v.ravel(), window.ravel())[0, 1] for v in symmetries(draws.images[n]) if v.shape == window.shape)
        assert turned > 0.5  # within the averaging of a few pixels


def test_holdout_images_that_lie_in_training_are_counted_named_and_set_no_bar(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    training, draws, holdout, other = case
    leaking = holdout.images.copy()
    leaking[:5] = planted(draws.take(list(range(5))), ("leak",))[0]  # one in each disguise
    split = replace(holdout, images=leaking, table=pd.DataFrame({"name": [f"h{i}" for i in range(len(holdout))]}))
    found = {m.name: m for m in copies(training, draws, split, other, apart=other, key=("test",))[0]}
    leak = found["leaked-holdout"]
    assert leak.value == 5 and {p["image"] for p in leak.detail["pairs"]} == {f"h{i}" for i in range(5)}
    assert {p["train"] for p in leak.detail["pairs"]} <= {"0", "1"} and leak.detail["real_from"] == "the calibration part"
    rate = found["copy-rate"]
    assert rate.value is not None and rate.value <= 0.05 and rate.detail["bar"] < 1
    clean = {m.name: m for m in copies(training, draws, holdout, other, apart=other, key=("test",))[0]}["leaked-holdout"]
    assert clean.value == 0 and clean.detail["pairs"] == []


def test_without_a_third_part_training_groups_say_how_near_real_images_come() -> None:
    images = np.stack([texture(seed, (1, 32, 32)) for seed in range(60)])
    groups = np.array([f"g{i // 2}" for i in range(60)])
    whole = PatchSet(images, None, groups, pd.DataFrame({"name": [f"i{i}" for i in range(60)]}), Spacing((1.0, 1.0), "pixel"), ("c",))
    train, holdout = whole.take(list(range(30))), whole.take(list(range(29, 60)))  # one image on both sides
    training = Training(list(train.images), (32, 32), list(train.table["name"]), list(train.groups))
    assert training.own(train)[3] == {2, 3}
    leak = {m.name: m for m in copies(training, train, holdout, None, key=("test",))[0]}["leaked-holdout"]
    assert leak.value == 1 and leak.detail["real_from"].startswith("training images")
    assert [(p["image"], p["train"]) for p in leak.detail["pairs"]] == [("i29", "i29")]


def test_images_without_detail_make_the_check_blind() -> None:
    flat = [np.ones((1, 96, 96), np.float32) + np.linspace(0, 1e-3, 96, dtype=np.float32)]
    patches = cut(flat, (32, 32), 32, 0)
    metrics, _ = copies(Training(flat, (32, 32)), patches, patches, patches, key=("test",))
    by_name = {m.name: m for m in metrics}
    assert by_name["copy-rate"].status == "undefined"


def test_no_synthetic_images_is_undefined(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    assert values(case, None)["copy-rate"] is None


def test_the_bar_is_the_quantile_of_the_extreme_value_law() -> None:
    scores = gumbel_r.rvs(0.45, 0.05, size=200_000, random_state=0)
    expected = gumbel_r.ppf(QUANTILE, 0.45, 0.05)
    assert np.median([extreme(part) for part in np.split(scores, 2000)]) == pytest.approx(expected, abs=0.02)
    assert extreme(np.array([0.2, 0.21, 0.22, 3.0])) >= 3


def test_ideal_generators_pass_and_a_generator_that_copies_a_tenth_does_not() -> None:
    """With 128 samples and a bound of 0.05 on the upper limit, as studies set it."""
    rng = np.random.default_rng(0)

    def upper(copied: int) -> float:
        held, made = (gumbel_r.rvs(0.45, 0.06, size=128, random_state=rng) for _ in range(2))
        made[:copied] = rng.uniform(1.2, 1.8, copied)
        return proportion_interval(int(np.sum(made > extreme(held))), 128)[1]

    assert sum(upper(0) <= 0.05 for _ in range(200)) >= 190
    assert sum(upper(13) <= 0.05 for _ in range(200)) == 0


def test_false_alarms_between_real_groups(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    training, draws, holdout, other = case
    metrics, _ = copies(training, draws, holdout, other, key=("test",))
    rate = next(m for m in metrics if m.name == "copy-rate")
    assert rate.null is not None and rate.null.ci95 is not None
    assert 0 <= rate.null.value < 0.05
    assert false_alarms(np.zeros(4), np.array(["a"] * 4), ("test",)) is None


def test_a_window_is_shown_as_the_image_is_turned() -> None:
    image = np.arange(2 * 6 * 6).reshape(2, 6, 6).astype(np.float32)
    for number, turned in enumerate(symmetries(image)):
        assert np.array_equal(turned_back(turned, number), image)
    solid = np.arange(4 * 5 * 6).reshape(1, 4, 5, 6).astype(np.float32)
    for number, turned in enumerate(symmetries(solid)):
        assert np.array_equal(turned_back(turned, number), solid)
    train = texture(1, (1, 120, 120))
    copy = np.rot90(train[:, 20:52, 40:72], axes=(1, 2))
    training = Training([train], (32, 32))
    window = training.window(training.nearest(copy[None]), 0)
    assert np.corrcoef(window.ravel(), copy.ravel())[0, 1] > 0.9


def test_a_shifted_copy_of_a_training_image_of_the_same_size_is_found() -> None:
    train = texture(1, (8, 1, 40, 40))
    shifted = np.roll(train, (3, -2), axis=(2, 3))
    training = Training(list(train[:, :, :32, :32]), (32, 32))
    inside = training.nearest(train[:, :, 4:36, 2:34]).correlation
    assert inside.min() > 0.7 > training.nearest(texture(9, (8, 1, 32, 32))).correlation.max()
    assert training.nearest(shifted[:, :, :32, :32]).correlation.min() > 0.5


def test_batches_and_pieces_prepared_again_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images in batches, few candidates at once, training pieces that are not kept: the same places, to the last bit."""
    pieces = [texture(s, (1, 40, 44)) for s in range(12)]
    asked = np.stack([texture(s, (1, 32, 32)) for s in range(20, 27)])
    asked[3] = pieces[5][:, 4:36, 6:38]
    leave = [frozenset({i}) for i in range(7)]
    whole = Training(pieces, (32, 32))
    expected = [whole.nearest(asked), whole.nearest(asked, leave_out=leave)]
    assert expected[0].piece[3] == 5 and expected[0].origin[3].tolist() == [4, 6]
    for name, small in (("_BATCH", 2), ("_HELD", 1), ("_KEPT_BYTES", 3 * 40 * 44 * 4)):
        monkeypatch.setattr(nearness, name, small)
    streamed = Training(pieces, (32, 32))
    assert len(streamed._prepared) == 3
    for own, theirs in zip(expected, (streamed.nearest(asked), streamed.nearest(asked, leave_out=leave)), strict=True):
        for part in ("piece", "origin", "turn"):
            assert np.array_equal(getattr(own, part), getattr(theirs, part))
        assert own.score == pytest.approx(theirs.score, abs=1e-5)
