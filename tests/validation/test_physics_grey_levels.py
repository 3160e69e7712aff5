"""Background, both ends of the range, and combs, against what was planted."""

from dataclasses import replace

import numpy as np
import pytest
import tissue
from patchsets import images_2d
from skimage.data import cell

from sciimg.types import PatchSet
from sciimg.validation.physics.controls import black_clipped, coarser, lifted, overexposed
from sciimg.validation.physics.detector_range import DetectorRange
from sciimg.validation.physics.grey_level_comb import GreyLevelComb, peaks

RNG = np.random.default_rng(0)


def distances(check: DetectorRange | GreyLevelComb, real: PatchSet, other: PatchSet) -> dict[str, float]:
    frame = check.frame(real)
    sums = [check.measure(p, frame).sum(axis=0)[None] for p in (real, other)]
    return {name: float(d[0]) for name, d in check.distance(*sums, frame).items()}


def cells() -> PatchSet:
    image = cell()[:640, :512]
    return images_2d(image.reshape(10, 64, 8, 64).swapaxes(1, 2).reshape(-1, 1, 64, 64))


# ---------------------------------------------------------------- detector range


def test_a_raised_background_is_read_in_units_of_its_noise() -> None:
    """Dark pixels at 100 with noise 5, a quarter of them 900 brighter; another 15 grey levels are three standard deviations."""
    images = RNG.normal(100, 5, (20, 1, 64, 64))
    images[..., :16] += 900
    found = distances(DetectorRange(), images_2d(images), images_2d(images + 15))
    assert found["c0:background"] == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("fraction", [0.02, 0.2])
def test_shares_at_both_ends_are_those_planted(fraction: float) -> None:
    real = tissue.fundus("holdout")
    hit = RNG.random(real.images.shape) < fraction
    for end, level in (("black", real.images.min()), ("saturated", real.images.max())):
        found = distances(DetectorRange(), real, replace(real, images=np.where(hit, level, real.images)))
        assert [found[f"{channel}:{end}"] for channel in real.channels] == pytest.approx([fraction], rel=0.05)


def test_real_images_whose_ends_are_reached_may_reach_them_more_often() -> None:
    real = cells()
    assert (real.images.min(), real.images.max()) == (0, 255)
    assert distances(DetectorRange(), real, overexposed(0.1)(real, RNG))["c0:saturated"] > 0.09
    assert distances(DetectorRange(), real, black_clipped(0.1)(real, RNG))["c0:black"] > 0.09


def test_a_masked_background_has_a_unit_all_the_same() -> None:
    images = np.where(np.arange(64) < 40, 0.0, RNG.normal(500, 20, (10, 1, 64, 64)))
    found = distances(DetectorRange(), images_2d(images), lifted(0.3)(images_2d(images), RNG))
    assert np.isfinite(found["c0:background"]) and found["c0:background"] > 1


def test_a_constant_channel_has_no_range() -> None:
    images = np.stack([RNG.normal(100, 5, (10, 16, 16)), np.full((10, 16, 16), 3.0)], axis=1)
    assert "'c1'" in DetectorRange().obstacle(images_2d(images))


# ---------------------------------------------------------------- comb


@pytest.mark.parametrize("period", [2, 3, 7, 16])
def test_a_comb_stands_in_the_octave_of_its_period(period: int) -> None:
    levels = period * np.rint(RNG.normal(2000, 300, 4096) / period)
    found = peaks(levels - levels.min(), 8)
    octave = int(np.log2(period)) - 1
    assert found[octave] == pytest.approx(1.0, abs=0.02)  # the harmonics of a coarse comb lie at finer periods
    assert found[octave + 1 :].max() < 0.1


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_height_of_the_peak_is_the_share_of_the_comb(share: float) -> None:
    levels = np.rint(RNG.normal(3000, 400, 20_000))
    some = RNG.random(levels.size) < share
    levels[some] = 8 * np.rint(levels[some] / 8)
    assert peaks(levels - levels.min(), 6).max() == pytest.approx(share, abs=0.04)


def test_a_smooth_histogram_has_the_characteristic_function_of_its_law() -> None:
    """Normal intensities of standard deviation s: exp(-2 (pi s f)^2), largest in an octave at its lowest frequency (Widrow & Kollar)."""
    levels = np.rint(RNG.normal(500, 2.0, 200_000))
    got = peaks(levels - levels.min(), 3)
    assert got == pytest.approx(np.exp(-2 * (np.pi * 2.0 * np.array([1 / 4, 1 / 8, 1 / 16])) ** 2), abs=0.01)


@pytest.mark.parametrize("real", [cells(), tissue.fundus("holdout")], ids=["8-bit", "16-bit"])
def test_requantised_real_images_show_a_comb_and_real_ones_do_not(real: PatchSet) -> None:
    check = GreyLevelComb()
    planted = distances(check, real, coarser(256)(real, RNG))
    half = np.arange(len(real)) % 2 == 0
    halves = distances(check, real.take(np.flatnonzero(half)), real.take(np.flatnonzero(~half)))
    for channel in real.channels:
        assert planted[channel] > 0.5 and halves[channel] < 0.1


def test_real_numbers_from_eight_bits_show_a_comb() -> None:
    real = tissue.fundus("holdout")
    images = real.images[:, :1].astype(np.float32)
    eight = np.rint((images - images.min()) / np.ptp(images) * 255) / 255 * np.ptp(images) + images.min()
    smooth = images + RNG.random(images.shape, dtype=np.float32) - 0.5
    assert distances(GreyLevelComb(), images_2d(smooth), images_2d(eight))["c0"] > 0.8


def test_few_grey_levels_cannot_tell() -> None:
    assert "16 grey levels" in GreyLevelComb().obstacle(images_2d(RNG.integers(0, 9, (10, 1, 32, 32))))


def test_a_pixel_far_out_does_not_cost_memory() -> None:
    levels = np.concatenate([np.rint(RNG.normal(500, 50, 1000)), [1e12, 2e12]])
    assert peaks(levels, 4).max() < 0.2
