"""Checks of one number a sample, against scipy's distance and shares counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
from patchsets import images_2d
from scipy import stats

from sciimg.types import PatchSet
from sciimg.validation.physics.per_sample import PerSample


class Two(PerSample):
    """The mean of a sample, and the mean of its second channel where that is positive."""

    name, estimator, unit, source = "two", "means", "grey value", "none"
    controls = ()

    def values(self, patches: PatchSet, basis: object) -> dict[str, np.ndarray]:
        first, second = patches.images.mean(axis=(2, 3)).T
        return {"a:first": first, "second": np.where(second > 0, second, np.nan)}

    def smallest(self, name: str) -> float:
        return {"a:first": 0.1, "second": 0.2}[name]


CHECK = Two()


def samples(first: np.ndarray, second: np.ndarray | None = None) -> PatchSet:
    both = np.stack([first, np.ones_like(first) if second is None else second], axis=1)
    return images_2d(both[:, :, None, None] * np.ones((2, 2)))


def between(one: PatchSet, other: PatchSet, real: PatchSet) -> dict[str, float]:
    frame = CHECK.frame(real)
    found = CHECK.distance(*(CHECK.measure(p, frame).sum(axis=0)[None] for p in (one, other)), frame)
    return {name: float(d[0]) for name, d in found.items()}


def test_the_distance_is_scipys_as_far_as_bins_tell() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, 800), rng.normal(0.4, 1.3, 600)
    real = samples(np.concatenate([one, other]))
    expected = stats.wasserstein_distance(one, other)
    assert between(samples(one), samples(other), real)["a:first"] == pytest.approx(expected, rel=0.1)


def test_the_share_of_samples_without_a_number_is_counted_of_all_samples() -> None:
    real = samples(np.arange(8.0), np.array([1.0, 2, 3, 4, 5, 6, -1, -1]))
    other = samples(np.arange(10.0), np.array([1.0, 2, 3, 4, -1, -1, -1, -1, -1, -1]))
    found = between(real, other, real)
    assert found["second:missing"] == pytest.approx(6 / 8 - 4 / 10) and found["a:first:missing"] == 0
    nobody = samples(np.arange(4.0), np.full(4, -1.0))
    for pair in ((real, nobody), (nobody, real)):
        without = between(*pair, real)
        assert np.isnan(without["second"]) and without["second:missing"] == pytest.approx(6 / 8) and np.isfinite(without["a:first"])


def test_no_samples_at_all_have_no_number_and_no_crash() -> None:
    real = samples(np.arange(8.0))
    frame = CHECK.frame(real)
    rows = CHECK.measure(real, frame)
    found = CHECK.distance(np.zeros((1, *rows.shape[1:])), rows.sum(axis=0)[None], frame)
    assert np.isnan(found["a:first"][0]) and found["a:first:missing"][0] == 1


@pytest.mark.parametrize(("having", "compared"), [(5, True), (4, True), (3, False)])
def test_what_half_of_the_real_samples_have_is_compared(having: int, compared: bool) -> None:
    real = samples(np.arange(8.0), np.where(np.arange(8) < having, 1.0 + np.arange(8), -1.0))
    frame = CHECK.frame(real)
    assert ("second" in frame.edges) == compared
    names = {"a:first", *(["second"] if compared else [])}
    assert set(CHECK.floors(frame)) == names | {f"{name}:missing" for name in names}
    assert CHECK.floors(frame)["a:first"] == 0.1 and CHECK.floors(frame)["a:first:missing"] == 0.05
    assert set(CHECK.distance(*(CHECK.measure(real, frame),) * 2, frame)) == set(CHECK.floors(frame))


@pytest.mark.parametrize("having", [1, 4, 5])
def test_real_samples_of_which_fewer_than_half_have_any_number_are_refused(having: int) -> None:
    class Second(Two):
        def values(self, patches: PatchSet, basis: object) -> dict[str, np.ndarray]:
            return {"second": super().values(patches, basis)["second"]}

    real = samples(np.arange(8.0), np.where(np.arange(8) < having, 1.0, -1.0))
    assert Second().obstacle(real) == ("" if having >= 4 else "fewer than half of the real samples have what two measures")
    assert CHECK.obstacle(real) == ""  # one number that all have is enough


def test_a_sample_lies_in_one_bin_of_each_number_and_its_curve_is_their_sum() -> None:
    real = samples(np.arange(40.0), np.r_[np.arange(1.0, 31), np.full(10, -1.0)])
    frame = CHECK.frame(real)
    rows = CHECK.measure(real, frame)
    assert rows[..., :-1].sum(axis=-1).T.tolist() == [[1.0] * 40, [1.0] * 30 + [0.0] * 10] and np.all(rows[..., -1] == 1)
    curves = CHECK.curves(rows.sum(axis=0), frame)
    assert set(curves) == {"a-first", "a-first-edges", "second", "second-edges"}
    for label, numbers in (("a-first", np.arange(40.0)), ("second", np.arange(1.0, 31))):
        assert curves[label].tolist() == np.histogram(numbers, curves[f"{label}-edges"])[0].tolist()


def test_a_reason_before_anything_is_measured_is_the_one_that_is_said() -> None:
    class Asks(Two):
        def undefined(self, real: PatchSet) -> str:
            return "no air"

        def values(self, patches: PatchSet, basis: object) -> dict[str, np.ndarray]:
            raise AssertionError("measured all the same")

    assert Asks().obstacle(samples(np.arange(4.0))) == "no air"


def test_values_of_a_set_do_not_need_every_number_of_the_frame() -> None:
    class OnlyFirst(Two):
        def values(self, patches: PatchSet, basis: object) -> dict[str, np.ndarray]:
            return {"a:first": super().values(patches, basis)["a:first"]}

    real = samples(np.arange(8.0), np.arange(1.0, 9))
    frame = CHECK.frame(real)
    rows = OnlyFirst().measure(replace(real, images=real.images), frame)
    assert rows[:, 1, :-1].sum() == 0 and np.all(rows[:, 0, :-1].sum(axis=1) == 1)
