"""Photon transfer against cameras whose gain and read noise are known."""

from dataclasses import replace

import numpy as np
import pytest
import tissue
from patchsets import images_2d
from scipy import ndimage

from sciimg.types import PatchSet
from sciimg.validation.physics.photon_transfer import PhotonTransfer, gain_and_variance

CHECK = PhotonTransfer()


def read(patches: PatchSet) -> tuple[float, float, float]:
    """Return gain, dark variance, and the level at which it is read."""
    frame = CHECK.frame(patches)
    gain, dark = gain_and_variance(CHECK.measure(patches, frame).sum(axis=0)[None, 0], frame, 0)
    return float(gain[0]), float(dark[0]), frame.middle[0]


@pytest.mark.parametrize(("gain", "read_noise"), [(2.0, 5.0), (0.5, 3.0), (8.0, 40.0)])
def test_gain_of_a_camera_in_front_of_a_real_scene(gain: float, read_noise: float) -> None:
    real = tissue.fundus("holdout", gain=gain, read_noise=read_noise)
    assert CHECK.obstacle(real) == ""
    got, dark, level = read(real)
    assert got == pytest.approx(gain, rel=0.05)
    assert dark == pytest.approx(gain * (level - tissue.OFFSET) + read_noise**2, rel=0.07)


def test_read_noise_is_read_where_no_light_falls() -> None:
    """Half of every image is dark: what is left there is the square of the read noise, and rounding's 1/12; gain tells it elsewhere."""
    rng = np.random.default_rng(0)
    light = np.clip(np.broadcast_to(np.linspace(-300, 300, 64), (40, 1, 64, 64)), 0, None)
    images = np.rint(100 + 2.0 * rng.poisson(light) + rng.normal(0, 6.0, light.shape))
    gain, dark, level = read(images_2d(images))
    assert (gain, level) == (pytest.approx(2.0, rel=0.05), pytest.approx(100, abs=12))
    assert dark == pytest.approx(36 + 1 / 12 + 2 * (level - 100), rel=0.25)


@pytest.mark.parametrize("what", ["gamma", "constant noise", "smoothed"])
def test_images_without_a_line_are_refused(what: str) -> None:
    real = tissue.fundus("holdout")
    values = real.images.astype(float)
    made = {
        "gamma": 60 * np.sqrt(values),
        "constant noise": ndimage.gaussian_filter(values, (0, 0, 4, 4)) + np.random.default_rng(0).normal(0, 20, values.shape),
        "smoothed": np.rint(ndimage.gaussian_filter(values, (0, 0, 2, 2)) / 50),
    }[what]
    assert "no straight line" in CHECK.obstacle(replace(real, images=made)) or "levels" in CHECK.obstacle(replace(real, images=made))


def test_one_level_of_intensity_is_refused() -> None:
    images = np.random.default_rng(0).normal(100, 5, (2, 1, 32, 32))
    assert "no straight line" in CHECK.obstacle(images_2d(images)) or "levels" in CHECK.obstacle(images_2d(images))
