"""One-image Fourier ring correlation against two images of one simulated scene, and against its closed form."""

from dataclasses import replace

import numpy as np
import pytest
from patchsets import images_2d
from scipy import ndimage
from skimage.data import cell

from sciimg.types import PatchSet, Spacing
from sciimg.validation.physics.resolution import THRESHOLD, Resolution, cutoff

SIDE = 128
CHECK = Resolution()


def scene(width_px: float | tuple[float, ...], n: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """White objects through Gaussian optics, standard deviation 100."""
    drawn = np.random.default_rng(seed).standard_normal((n, *shape))
    widths = (width_px,) * len(shape) if isinstance(width_px, float) else width_px
    seen = ndimage.gaussian_filter(drawn, (0, *widths), mode="wrap")
    return 1000 + 100 * seen / seen.std()


def patches(images: np.ndarray, spacing: tuple[float, ...] | None = None) -> PatchSet:
    made = images_2d(images[:, None])
    return replace(made, spacing=Spacing(spacing or (1.0,) * (images.ndim - 1), "micrometer"))


def noisy(images: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    return images + sigma * np.random.default_rng(seed).standard_normal(images.shape)


def curve(made: PatchSet, axis: str = "x") -> tuple[np.ndarray, np.ndarray, float]:
    frame = CHECK.frame(made)
    drawn = CHECK.curves(CHECK.measure(made, frame).sum(axis=0), frame)
    return drawn[f"c0-{axis}-frequency"], drawn[f"c0-{axis}-correlation"], float(drawn[f"c0-{axis}-resolution"][0])


@pytest.mark.parametrize("width", [1.0, 1.5, 2.5])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_resolution_is_that_of_the_closed_form(width: float, axis: str) -> None:
    """Signal S exp(-(2 pi w f)^2), noise N: the correlation of halves is S/(S + 2N), and 1/7 where S = N/3."""
    made = patches(noisy(scene(width, 30, (SIDE, SIDE)), 20.0))
    power = 100.0**2 * 4 * np.pi * width**2  # spectral density at frequency 0 of a scene of variance 100 squared
    expected = np.sqrt(np.log(3 * power / 20.0**2)) / (2 * np.pi * width)
    assert 1 / curve(made, axis)[2] == pytest.approx(expected, rel=0.04)


def test_one_image_says_what_two_images_say() -> None:
    """Fourier ring correlation of two images of the same scenes (Nieuwenhuizen et al. 2013) with half the dose: twice the noise power."""
    truth = scene(1.5, 30, (SIDE, SIDE))
    made = patches(noisy(truth, 30.0))
    frequency, got, _ = curve(made)
    window = np.hanning(SIDE + 2)[1:-1]
    one, other = (np.fft.fft2((noisy(truth, 30.0 * np.sqrt(2), s) - 1000) * window * window[:, None]) for s in (2, 3))
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij")
    cone = (np.abs(fy) <= np.abs(fx) / 2) & (np.abs(fy) < 0.125)
    width = frequency[1] - frequency[0]
    expected = []
    for f in frequency:
        ring = cone & (np.abs(np.abs(fx) - f) <= width / 2)
        cross = np.sum((one * other.conj()).real[:, ring])
        expected.append(cross / np.sqrt(np.sum(np.abs(one[:, ring]) ** 2) * np.sum(np.abs(other[:, ring]) ** 2)))
    assert got == pytest.approx(np.array(expected), abs=0.05)


def test_a_volume_is_judged_along_its_own_axes() -> None:
    """Optics three times as wide along z, planes twice as far apart: resolutions in micrometres differ by three."""
    truth = scene((4.5 / 2, 1.5, 1.5), 6, (32, 64, 64))
    made = patches(noisy(truth, 20.0), (2.0, 1.0, 1.0))
    z, y, x = (curve(made, axis)[2] for axis in "zyx")
    assert x == pytest.approx(y, rel=0.06)
    assert z / x == pytest.approx(3.0, rel=0.12)


def test_a_flat_volume_is_judged_within_its_planes() -> None:
    made = patches(noisy(scene(1.5, 10, (4, 64, 64)), 20.0), (2.0, 1.0, 1.0))
    assert set(CHECK.floors(CHECK.frame(made))) == {f"c0:{a}:{p}" for a in "yx" for p in ("resolution", "shared-noise")}


def test_noise_shared_by_neighbours_is_refused() -> None:
    smooth = ndimage.gaussian_filter(noisy(scene(2.0, 20, (64, 64)), 30.0), (0, 0.7, 0.7))
    reason = CHECK.obstacle(patches(smooth))
    assert "share noise" in reason and "'c0' along x" in reason and "along y" in reason


def test_noise_shared_along_one_axis_leaves_the_other_to_be_judged() -> None:
    """A line scan: neighbours within a row share noise, rows do not. Alternate rows then tell the resolution along x, not along y."""
    noise = ndimage.uniform_filter1d(np.random.default_rng(5).standard_normal((20, 64, 64)), 3, axis=2)
    made = patches(scene(2.0, 20, (64, 64)) + 60 * noise)
    assert CHECK.obstacle(made) == ""
    assert set(CHECK.floors(CHECK.frame(made))) == {"c0:x:resolution", "c0:x:shared-noise"}


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.random.default_rng(0).normal(100, 5, (20, 64, 64)), "nothing in common"),
        (np.random.default_rng(0).normal(100, 5, (20, 12, 64)), "16 pixels"),
        (np.full((20, 64, 64), 7.0), "nothing in common"),
    ],
)
def test_images_that_cannot_tell_are_refused(images: np.ndarray, reason: str) -> None:
    assert reason in CHECK.obstacle(patches(images))


def test_undersampled_real_images_are_refused() -> None:
    """Every eighth pixel of the cells: structure reaches the new Nyquist frequency."""
    image = cell().astype(float)[:640, :512]
    tiles = image.reshape(5, 128, 4, 128).swapaxes(1, 2).reshape(-1, 128, 128)
    assert CHECK.obstacle(patches(tiles)) == ""
    assert CHECK.obstacle(patches(tiles[:, ::8, ::8])) != ""


def test_cutoff_interpolates_and_knows_both_ends() -> None:
    frequency = np.array([0.1, 0.2, 0.3, 0.4])
    falls = np.array([1.0, THRESHOLD + 0.2, THRESHOLD - 0.2, 0.0])
    dips = np.array([1.0, 0.0, 0.9, 0.0])  # one bin below does not count; the last one, with nothing after it, does
    curves = np.array([falls, np.ones(4), np.zeros(4), dips])
    assert cutoff(curves, frequency)[:3] == pytest.approx([0.25, 0.5, 0.1])
    assert 0.3 < cutoff(curves, frequency)[3] <= 0.4
