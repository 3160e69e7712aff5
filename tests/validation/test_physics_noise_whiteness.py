"""Whiteness of noise: white noise of any law is white, and what neighbours share is measured as theory says."""

from dataclasses import replace

import numpy as np
import pytest
import tissue

from sciimg.types import PatchSet
from sciimg.validation.physics import RealImages, calibrate, effect
from sciimg.validation.physics.noise_whiteness import LAGS, WHITE, NoiseWhiteness, autocorrelation

CHECK = NoiseWhiteness()


def seen(images: np.ndarray) -> PatchSet:
    """One channel of the fundus' set with other pixels, (N, Y, X)."""
    return replace(tissue.fundus("train").take(list(range(len(images)))), images=images[:, None])


def colour(images: np.ndarray) -> np.ndarray:
    """Autocorrelation along y and x at lags 1 to 3."""
    patches = seen(images)
    return autocorrelation(CHECK.measure(patches, CHECK.frame(patches)).sum(axis=0))[0]


def residual_autocorrelation(kernel: list[float]) -> np.ndarray:
    """Of white noise through a filter and the second difference: the autocorrelation of their product."""
    taps = np.convolve(kernel, [1.0, -2.0, 1.0])
    whole = np.correlate(taps, taps, "full")
    middle = len(taps) - 1
    return np.array([whole[middle + lag] / whole[middle] if middle + lag < len(whole) else 0.0 for lag in LAGS])


def test_white_noise_of_any_law_has_the_colour_of_the_second_difference() -> None:
    rng = np.random.default_rng(0)
    assert pytest.approx(residual_autocorrelation([1.0])) == WHITE
    shape = (20, 64, 64)
    shade = np.linspace(50, 800, 64)  # photons: twenty times the variance at the other end, along a straight line
    for images in (rng.normal(0, 30, shape), rng.poisson(np.broadcast_to(shade, shape)).astype(float)):
        assert colour(images) == pytest.approx(np.broadcast_to(WHITE, (2, 3)), abs=0.02)


@pytest.mark.parametrize("kernel", [[1.0, 1.0], [1.0, 2.0, 1.0], [1.0, -0.5]])
def test_noise_that_neighbours_share_along_one_axis_shows_along_that_axis(kernel: list[float]) -> None:
    rng = np.random.default_rng(1)
    white = rng.normal(0, 30, (20, 64, 64 + len(kernel) - 1))
    images = sum(tap * white[..., k : k + 64] for k, tap in enumerate(kernel))
    got = colour(images)
    assert got[0] == pytest.approx(WHITE, abs=0.03)
    assert got[1] == pytest.approx(residual_autocorrelation(kernel), abs=0.03)


def test_more_white_noise_is_no_other_colour_and_shared_noise_is() -> None:
    ready = calibrate(CHECK, RealImages(*(tissue.fundus(part) for part in ("holdout", "calibration", "train"))), key=("t",))
    assert not isinstance(ready, str)
    rng = np.random.default_rng(2)
    train = tissue.fundus("train")
    louder = np.clip(train.images + rng.normal(0, 100, train.images.shape), 0, 65535).astype(np.uint16)
    assert effect(ready, replace(train, images=louder), name="x").value < 1
    assert min(ready.controls.values()) > 3


def test_images_without_noise_have_no_colour() -> None:
    flat = seen(np.broadcast_to(np.arange(64.0), (8, 64, 64)).copy())
    assert "has no noise" in CHECK.obstacle(flat)
    assert "7 pixels a side" in CHECK.obstacle(seen(np.zeros((8, 6, 64))))
