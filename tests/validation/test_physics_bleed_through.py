"""Bleed-through against mixtures of known proportion."""

import numpy as np
import pytest
import tissue
from patchsets import images_2d
from scipy import ndimage

from sciimg.types import PatchSet
from sciimg.validation.physics.bleed_through import BleedThrough
from sciimg.validation.physics.controls import mixed

CHECK = BleedThrough()


def two_stains(share: float, seed: int = 0) -> np.ndarray:
    """Discs in channel 0 and, at other places, in channel 1, each through a camera of its own; channel 1 sees a share of channel 0."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.standard_normal((20, 2, 64, 64)), (0, 0, 4, 4))
    truth = 100 + 1000 * np.clip(blobs / blobs.std() - 0.5, 0, None)
    truth[:, 1] += share * (truth[:, 0] - 100)
    return truth + 30 * rng.standard_normal(truth.shape)


def distances(first: PatchSet, second: PatchSet) -> dict[str, float]:
    frame = CHECK.frame(first)
    sums = [CHECK.measure(p, frame).sum(axis=0)[None] for p in (first, second)]
    return {name: float(d[0]) for name, d in CHECK.distance(*sums, frame).items()}


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_slope_of_the_floor_is_the_share_that_bleeds_through(share: float) -> None:
    """In counts: the difference of slopes, times the ratio of standard deviations, is what was added."""
    clean, bled = two_stains(0.0), two_stains(share)
    found = distances(images_2d(clean), images_2d(bled))
    ratio = clean[:, 1].std() / clean[:, 0].std()
    assert found["c0>c1:slope"] * ratio == pytest.approx(share, rel=0.12)
    assert found["c1>c0:slope"] < 0.03
    assert found["c0/c1:noise"] < 0.03  # photons of two detectors are independent


def test_channels_mixed_after_the_camera_share_noise() -> None:
    """Noise n0 and n1 + a n0, all of the same strength, correlate with a / sqrt(1 + a^2)."""
    clean = two_stains(0.0)
    bled = clean.copy()
    bled[:, 1] += 0.5 * clean[:, 0]
    found = distances(images_2d(clean), images_2d(bled))
    assert found["c0/c1:noise"] == pytest.approx(0.5 / np.sqrt(1.25), abs=0.04)


def test_three_channels_have_six_ways_and_three_pairs() -> None:
    images = np.concatenate([two_stains(0.0), two_stains(0.0, 1)[:, :1]], axis=1)
    names = set(distances(images_2d(images), images_2d(images)))
    assert len([n for n in names if n.endswith(":slope")]) == 6
    assert len([n for n in names if n.endswith(":noise")]) == 3


def test_real_stains_mixed_are_told_from_real_ones() -> None:
    real = tissue.patches("holdout", 64)
    found = distances(real, mixed(0.3)(real, np.random.default_rng(0)))
    assert found["haematoxylin>dab:slope"] > 0.1


def test_one_channel_and_flat_channels_are_refused() -> None:
    images = two_stains(0.0)
    assert "two channels" in CHECK.obstacle(images_2d(images[:, :1]))
    images[:, 1] = 5
    assert "'c1'" in CHECK.obstacle(images_2d(images))
