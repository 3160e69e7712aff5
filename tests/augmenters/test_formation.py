"""Image formation: calibrations recover what was put in, operators obey their closed forms, requested dose and SNR come out."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.integrate import quad
from scipy.special import j0, j1
from scipy.stats import rice

from sciimg.augmenters.formation import starlet
from sciimg.augmenters.formation.camera import CameraLaw
from sciimg.augmenters.formation.formation import learn_formation
from sciimg.augmenters.formation.noise_level import residuals, sigma_of
from sciimg.augmenters.formation.optics import blurred, gibson_lanni, kernel, sharpened
from sciimg.augmenters.formation.scanner import ScannerLaw
from sciimg.augmenters.formation.settings import Camera, GaussianSpot, Microscope, Scanner
from sciimg.errors import InputError

Array = NDArray[np.float64]


def scene(n: int, dims: int, size: int, low: float, high: float, seed: int = 0) -> Array:
    """Smooth random structure with flat and bright places."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((n, *(size,) * dims)), (0, *(4.0,) * dims))
    field = np.clip(field / field.std(), -1, 2)
    return low + (high - low) * (field + 1) / 3


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("gain", "offset", "read"), [(2.0, 100.0, 3.0), (0.5, 10.0, 1.0), (5.0, 500.0, 0.5)])
def test_camera_is_read_from_its_images(dims: int, gain: float, offset: float, read: float) -> None:
    law = CameraLaw(name="a", gain=gain, offset=offset, read_noise=read)
    structure = scene(64 if dims == 2 else 8, dims, 64 if dims == 2 else 32, offset, offset + 400 * gain)
    images = np.stack([law.form(own, 1.0, np.random.default_rng(i)) for i, own in enumerate(structure)])[:, None]
    found = learn_formation(Camera(offset=offset), images, ("a",), (1.0,) * dims, "pixel").laws[0]
    assert isinstance(found, CameraLaw)
    assert found.gain == pytest.approx(gain, rel=0.05)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("gain", "offset", "read"), [(4.0, 100.0, 3.0), (1.0, 100.0, 5.0), (0.5, 10.0, 1.0)])
def test_dark_level_is_read_from_dark_places(dims: int, gain: float, offset: float, read: float) -> None:
    """Nothing is given: the offset comes out, not the lowest grey levels that noise reaches, and so does the dose."""
    law = CameraLaw(name="a", gain=gain, offset=offset, read_noise=read)
    structure = scene(64 if dims == 2 else 8, dims, 64 if dims == 2 else 32, offset, offset + 100 * gain)
    images = np.stack([law.form(own, 1.0, np.random.default_rng(i)) for i, own in enumerate(structure)])
    found = learn_formation(Camera(), images[:, None], ("a",), (1.0,) * dims, "pixel").laws[0]
    assert isinstance(found, CameraLaw)
    assert found.offset == pytest.approx(offset, abs=0.15 * np.hypot(read, gain))
    assert found.gain == pytest.approx(gain, rel=0.05) and found.read_noise == pytest.approx(read, abs=0.15 * np.hypot(read, gain))
    calm = found.structure(images, dims)
    for dose in (0.5, 2.0):
        made = np.stack([found.form(own, dose, np.random.default_rng(100 + i)) for i, own in enumerate(calm)])
        assert (made.mean() - offset) / (images.mean() - offset) == pytest.approx(dose, rel=0.05)


def test_read_noise_where_it_rules() -> None:
    law = CameraLaw(name="a", gain=1.0, offset=100.0, read_noise=8.0)
    images = np.stack([law.form(own, 1.0, np.random.default_rng(i)) for i, own in enumerate(scene(64, 2, 64, 100, 400))])[:, None]
    found = learn_formation(Camera(offset=100.0), images, ("a",), (1.0, 1.0), "pixel").laws[0]
    assert isinstance(found, CameraLaw) and found.read_noise == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("dose", [0.25, 1.0, 3.0])
def test_requested_dose_comes_out(dose: float) -> None:
    """Fewer photons: the mean falls with the dose, the noise by its root; both by estimators that know nothing of the request."""
    law = CameraLaw(name="a", gain=2.0, offset=50.0, read_noise=1.0)
    structure = scene(32, 2, 64, 250, 1050)
    images = np.stack([law.form(own, dose, np.random.default_rng(i)) for i, own in enumerate(structure)])
    assert (images - 50).mean() / (structure - 50).mean() == pytest.approx(dose, rel=0.05)
    expected = np.sqrt(2.0 * dose * (structure - 50) + 1.0)
    ratio = sigma_of(residuals(images - dose * (structure - 50), 2) / expected[:, 1:-1, 1:-1])
    assert ratio == pytest.approx(1.0, rel=0.05)


def test_structure_has_less_noise_and_the_same_level() -> None:
    law = CameraLaw(name="a", gain=1.0, offset=0.0, read_noise=2.0)
    structure = scene(32, 2, 64, 20, 220)
    images = np.stack([law.form(own, 1.0, np.random.default_rng(i)) for i, own in enumerate(structure)])
    calm = law.structure(images, 2)
    assert np.abs(calm - structure).mean() < 0.5 * np.abs(images - structure).mean()
    assert calm.mean() == pytest.approx(structure.mean(), rel=0.01)


def test_filtered_images_are_refused() -> None:
    flat = scene(32, 2, 64, 100, 200)[:, None] + np.random.default_rng(0).normal(0, 3, (32, 1, 64, 64))
    with pytest.raises(InputError, match="does not grow with the signal"):
        learn_formation(Camera(), flat, ("a",), (1.0, 1.0), "pixel")


@pytest.mark.parametrize("dims", [2, 3])
def test_starlet_is_a_sum_and_knows_its_noise(dims: int) -> None:
    x = np.random.default_rng(0).standard_normal((4, *(48,) * dims))
    planes, rest = starlet.details(x, dims)
    np.testing.assert_allclose(sum(planes) + rest, x, atol=1e-12)
    for plane, sigma in zip(planes, starlet.noise_of_scales(dims), strict=True):
        inner = plane[(slice(None), *(slice(8, -8),) * dims)]
        assert inner.std() == pytest.approx(sigma, rel=0.1)
    assert starlet.denoised(x, dims).std() < 0.25


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("snr", [5.0, 20.0, 60.0])
def test_requested_snr_comes_out(dims: int, snr: float) -> None:
    law = ScannerLaw(name="t1", sigma=5.0, level=500.0, zeroed=False)
    structure = np.full((96,) * 2 if dims == 2 else (32,) * 3, 500.0)
    image = law.form(structure, snr, Scanner(), np.random.default_rng(1))
    assert image.mean() / sigma_of(residuals(image, dims)) == pytest.approx(snr, rel=0.05)


def test_scanner_is_read_from_its_images_and_air_is_rician() -> None:
    law = ScannerLaw(name="t1", sigma=12.0, level=400.0, zeroed=False)
    structure = np.stack([np.where(np.indices((32, 32, 32))[2] < 10, 0.0, 300.0 + 20 * k) for k in range(6)])
    images = np.stack([law.form(own, None, Scanner(), np.random.default_rng(i)) for i, own in enumerate(structure)])
    found = learn_formation(Scanner(), images[:, None].astype(np.float32), ("t1",), (1.0,) * 3, "millimeter")
    assert isinstance(found.laws[0], ScannerLaw) and found.laws[0].sigma == pytest.approx(12.0, rel=0.05)
    air = images[..., :8]
    assert air.mean() == pytest.approx(rice(0).mean() * 12.0, rel=0.02)
    calm = found.structure(images[:, None].astype(np.float32))[:, 0]
    assert calm[..., 2:8].mean() < 0.75 * air.mean() and calm[..., 14:].mean() == pytest.approx(structure[..., 14:].mean(), rel=0.01)


def test_zeroed_air_stays_zero() -> None:
    images = np.zeros((4, 1, 16, 16, 16), np.float32)
    images[..., 6:] = 500 + np.random.default_rng(0).normal(0, 10, (4, 1, 16, 16, 10))
    found = learn_formation(Scanner(), images, ("t1",), (1.0,) * 3, "millimeter")
    made = found.form(found.structure(images)[0], {}, np.random.default_rng(1))
    assert (made[..., :6] == 0).all() and made[..., 8:].std() == pytest.approx(10, rel=0.2)


def test_in_focus_spot_is_the_airy_pattern() -> None:
    scope = Microscope(numerical_aperture=0.8, wavelength_nm=520, refractive_index=1.33, sample_index=1.33)
    r = np.linspace(0, 1.5, 60)
    x = 2 * np.pi / 0.52 * 0.8 * np.maximum(r, 1e-9)
    np.testing.assert_allclose(gibson_lanni(scope, r, np.zeros_like(r)), (2 * j1(x) / x) ** 2, atol=2e-4)


def test_depth_moves_and_weakens_the_focus() -> None:
    z = np.linspace(-6, 6, 241)
    plain, deep = (
        gibson_lanni(Microscope(numerical_aperture=1.2, wavelength_nm=520, depth_um=d), np.zeros_like(z), z) for d in (0.0, 10.0)
    )
    assert plain.argmax() == 120 and plain.max() == pytest.approx(1.0, abs=1e-3)
    assert deep.max() < 0.8 * plain.max() and abs(deep.argmax() - 120) > 5


@pytest.mark.parametrize("depth", [0.0, 0.3, 2.0])
def test_rays_beyond_the_index_of_the_sample_fade_with_depth(depth: float) -> None:
    """Against the integral by adaptive quadrature, its travelling and its evanescent part written down one by one."""
    scope = Microscope(numerical_aperture=1.45, wavelength_nm=520, refractive_index=1.515, sample_index=1.33, depth_um=depth)
    k, na = 2 * np.pi / 0.52, 1.45

    def wave(r: float, z: float) -> complex:
        def field(p: float) -> complex:
            beyond = (na * p) ** 2 - 1.33**2
            sample = np.exp(-k * depth * np.sqrt(beyond)) if beyond > 0 else np.exp(1j * k * depth * np.sqrt(-beyond))
            return 2 * p * j0(k * na * r * p) * np.exp(1j * k * (z - depth) * np.sqrt(1.515**2 - (na * p) ** 2)) * sample

        return complex(quad(field, 0, 1, points=[1.33 / na], limit=400, complex_func=True)[0])

    places = [(0.0, 0.0), (0.1, 0.0), (0.3, 0.4), (0.0, -0.5)]
    expected = [abs(wave(r, z)) ** 2 for r, z in places]
    found = gibson_lanni(scope, *(np.array(column) for column in zip(*places, strict=True)))
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("shape", [(31, 47), (9, 33, 20)])
def test_blur_keeps_light_and_is_undone(shape: tuple[int, ...]) -> None:
    psf = kernel(GaussianSpot(sigma_px=(1.2,) * len(shape)), (1.0,) * len(shape), "pixel", shape)
    assert psf.sum() == pytest.approx(1.0) and all(size % 2 for size in psf.shape)
    rng = np.random.default_rng(0)
    images = ndimage.gaussian_filter(rng.random((2, *shape)), (0, *(1.0,) * len(shape)))
    seen = blurred(images, psf)
    np.testing.assert_allclose(seen, np.stack([ndimage.convolve(own, psf, mode="reflect") for own in images]), atol=1e-10)
    assert np.abs(sharpened(seen, psf) - images).mean() < 0.7 * np.abs(seen - images).mean()


def test_optics_without_a_physical_size_are_refused() -> None:
    with pytest.raises(InputError, match="physical size"):
        kernel(Microscope(numerical_aperture=0.8, wavelength_nm=520), (1.0, 1.0), "pixel", (32, 32))
    with pytest.raises(InputError, match="one an axis"):
        kernel(GaussianSpot(sigma_px=(1.0, 1.0)), (1.0,) * 3, "pixel", (8, 8, 8))


def test_motion_and_missing_lines_blur_the_phase_direction_alone() -> None:
    law = ScannerLaw(name="t1", sigma=1e-6, level=100.0, zeroed=False)
    columns = np.tile(100.0 * (np.arange(64) % 8 < 4), (64, 1))  # constant along y: only the zero line of k-space is filled
    rows = columns.T.copy()
    settings = Scanner(acceleration=4.0)
    same = law.form(columns, None, settings, np.random.default_rng(0))
    np.testing.assert_allclose(same, columns, atol=1e-3)
    assert np.abs(law.form(rows, None, settings, np.random.default_rng(0)) - rows).mean() > 5
    still = law.form(rows, None, Scanner(motion_px=0.0), np.random.default_rng(0))
    moved = law.form(rows, None, Scanner(motion_px=1.0), np.random.default_rng(0))
    np.testing.assert_allclose(still, rows, atol=1e-3)
    assert np.abs(moved - rows).mean() > 5


@pytest.mark.parametrize("acceleration", [1.0, 2.0, 4.0])
def test_lines_that_are_left_out_bring_no_noise(acceleration: float) -> None:
    law = ScannerLaw(name="t1", sigma=5.0, level=500.0, zeroed=False)
    flat = np.full((64, 256), 500.0)  # has the middle of k-space alone, which is kept
    images = np.stack([law.form(flat, None, Scanner(acceleration=acceleration), np.random.default_rng(i)) for i in range(4)])
    assert images.mean() == pytest.approx(500.0, rel=0.002)
    assert images.std() == pytest.approx(5.0 / np.sqrt(acceleration), rel=0.03)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("object_share", [0.0, 0.0005])
def test_noise_is_read_from_air_where_there_is_little_else(dims: int, object_share: float) -> None:
    shape = (4, 96, 96) if dims == 2 else (4, 24, 32, 32)
    rng = np.random.default_rng(0)
    images = rice(0).rvs(shape, random_state=rng) * 7.0
    images[rng.random(shape) < object_share] += 200.0  # single voxels: none has bright ones around it
    law = learn_formation(Scanner(), images[:, None], ("t1",), (1.0,) * dims, "millimeter").laws[0]
    assert isinstance(law, ScannerLaw) and law.sigma == pytest.approx(7.0, rel=0.05)


def test_bias_is_smooth_and_of_the_asked_strength() -> None:
    law = ScannerLaw(name="t1", sigma=1e-9, level=100.0, zeroed=False)
    field = np.log(law.form(np.full((48, 48), 100.0), None, Scanner(bias=0.2), np.random.default_rng(0)) / 100)
    assert field.std() == pytest.approx(0.2, rel=1e-6) and np.abs(np.diff(field, axis=0)).max() < 0.1
