"""Photon transfer against cameras whose gain and read noise are known."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tissue
from patchsets import images_2d
from scipy import ndimage

from sciimg.protocol.data import Detector
from sciimg.records import Metric
from sciimg.types import PatchSet
from sciimg.validation.material import RealData
from sciimg.validation.physics import RealImages, calibrate, effect
from sciimg.validation.physics.photon_transfer import PhotonTransfer, dark, gain_and_variance
from sciimg.validation.pooling import by_group

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


# ---------------------------------------------------------------- read noise, where the offset is known


def camera(seed: int, gain: float, offset: float, read_noise: float, n: int = 20, darkest: float = -100) -> PatchSet:
    """Ramps of light up to 300 photons, in whole grey levels; where the ramp is below 0 it is dark."""
    rng = np.random.default_rng(seed)
    light = np.clip(np.broadcast_to(np.linspace(darkest, 300, 64), (n, 1, 64, 64)), 0, None)
    seen = np.rint(offset + gain * rng.poisson(light) + rng.normal(0, read_noise, light.shape))
    return replace(images_2d(seen), groups=np.array([f"{seed}-{i}" for i in range(n)]), attributes={"offsets": {"c0": offset}})


@pytest.mark.parametrize(("gain", "offset", "read_noise"), [(2.0, 100.0, 6.0), (0.5, 500.0, 20.0), (8.0, 100.0, 40.0)])
def test_read_noise_is_recovered_within_its_uncertainty(gain: float, offset: float, read_noise: float) -> None:
    """What is read without light has the variance of reading, and 1/12 of rounding; errors over the standard error are about normal."""
    off = []
    for seed in range(6):
        patches = camera(seed, gain, offset, read_noise)
        frame = CHECK.frame(patches)
        found = dark(by_group(CHECK.measure(patches, frame), patches.groups)[1], frame, 0, offset)
        assert frame.dark == {0: found} and found.error < found.variance / 4
        off.append((found.variance - read_noise**2 - 1 / 12) / found.error)
    assert max(map(abs, off)) < 3.5 and 0.5 < np.sqrt(np.mean(np.square(off))) < 1.7


def judged(real: list[PatchSet], synthetic: PatchSet) -> Metric:
    return effect(calibrate(CHECK, RealImages(*real), rounds=100, bootstrap=50, key=("t",)), synthetic, name="x")


def test_a_doubled_read_noise_of_equal_gain_is_told_and_an_equal_one_is_accepted() -> None:
    real = [camera(seed, 2.0, 100.0, 8.0) for seed in (1, 2)]
    same, doubled = (judged(real, camera(3, 2.0, 100.0, noise)) for noise in (8.0, 16.0))
    assert same.value is not None and same.value < 1.5 and "left_out" not in same.detail
    assert doubled.value is not None and doubled.ci95 is not None and doubled.value > 2 and doubled.ci95[0] > 1
    parts = doubled.detail["components"]
    assert parts["c0:read-noise"]["distance"] == pytest.approx(np.log(2), abs=0.15)
    assert parts["c0:read-noise"]["ratio"] > 2 and parts["c0:gain"]["ratio"] < 1.5
    assert doubled.detail["component_unit"].endswith("of read noises")
    said = doubled.detail["real_read_noise"]["c0"]
    assert (said["offset"], said["unit"]) == (100.0, "grey levels")
    assert said["value"] == pytest.approx(np.sqrt(64 + 1 / 12), abs=3 * said["standard_error"]) and said["standard_error"] < 1


def test_without_an_offset_nothing_is_said_of_read_noise_and_with_it_the_rest_is_the_same() -> None:
    real, other = (camera(seed, 2.0, 100.0, 8.0) for seed in (1, 3))
    silent = replace(real, attributes={})
    told, untold = (judged([patches], other) for patches in (real, silent))
    parts = dict(told.detail["components"])
    assert parts.pop("c0:read-noise")["margin"] >= 0.05 and parts == untold.detail["components"] and set(parts) == {"c0:gain", "c0:noise"}
    assert (untold.detail["estimator"], untold.detail["component_unit"]) == (CHECK.estimator, CHECK.unit)
    assert {"real_read_noise", "left_out"}.isdisjoint(untold.detail)
    frame = CHECK.frame(silent)
    assert set(CHECK.curves(CHECK.measure(silent, frame).sum(axis=0), frame)) == {"c0-mean", "c0-variance", "c0-gain-and-variance"}


def test_images_without_dark_pixels_do_not_tell_read_noise_and_say_so() -> None:
    real = camera(1, 2.0, 100.0, 6.0, darkest=150)
    found = judged([real], real)
    assert set(found.detail["components"]) == {"c0:gain", "c0:noise"} and "real_read_noise" not in found.detail
    reason = found.detail["left_out"]["c0:read-noise"]
    assert "at the offset, 100, the variance is" in reason and "images with darker pixels would tell" in reason
    below = replace(camera(1, 2.0, 100.0, 6.0), attributes={"offsets": {"c0": 20.0}})  # where the line has no variance left: 36 - 2 x 80
    assert "the variance is -1" in CHECK.frame(below).left_out["c0"]
    other = replace(real, attributes={"offsets": {"gfp": 100.0}})
    assert "give no offset of this channel" in judged([other], real).detail["left_out"]["c0:read-noise"]


def test_an_offset_above_the_intensities_is_refused() -> None:
    real = camera(1, 2.0, 100.0, 6.0)
    assert CHECK.obstacle(real) == ""
    assert "the offset 900 lies above its intensities" in CHECK.obstacle(replace(real, attributes={"offsets": {"c0": 900.0}}))
    mostly_dark = camera(1, 2.0, 100.0, 6.0, darkest=-900)  # noise alone puts the median below an offset a little too high
    for offset, refused in ((104.0, False), (120.0, True)):
        assert ("lies above" in CHECK.obstacle(replace(mostly_dark, attributes={"offsets": {"c0": offset}}))) == refused


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([None, None], {}),
        ([{"gfp": 90.0, "dapi": 100.0}], {"offsets": {"gfp": 90.0, "dapi": 100.0}}),
        ([{"gfp": 90.0}, {"gfp": 90.0, "dapi": 100.0}], {"offsets": {"gfp": 90.0}}),
        ([{"gfp": 90.0}, {"gfp": 91.0}], {"offsets": {}}),
        ([{"gfp": 90.0}, None], {"offsets": {}}),
    ],
)
def test_an_offset_is_that_of_all_sources_or_none(given: list[Any], expected: dict[str, Any]) -> None:
    sources = [SimpleNamespace(detector=None if offset is None else Detector(offset=offset)) for offset in given]
    study = cast("Any", SimpleNamespace(sources=sources))
    assert RealData(study, {}, ("k",)).detector == expected
