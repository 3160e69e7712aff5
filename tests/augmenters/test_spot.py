"""The blur of images is read from their spectra: what was put in comes out, and where there is none, no number does."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from sciimg.augmenters.formation.camera import CameraLaw
from sciimg.augmenters.formation.formation import Formation, learn_formation
from sciimg.augmenters.formation.settings import Camera, GaussianSpot
from sciimg.augmenters.formation.spot import learn_spot
from sciimg.errors import InputError

Array = NDArray[np.float64]
PLANE, VOLUME = ((64, 64), (1.0, 1.0), 32), ((24, 40, 40), (2.0, 1.0, 1.0), 6)


def power_law(shape: tuple[int, ...], spacing: tuple[float, ...], n: int, fall: float) -> Array:
    """Random fields whose power falls as a power of the frequency in space."""
    axes = tuple(range(1, len(shape) + 1))
    steps = np.meshgrid(*(np.fft.fftfreq(size, d) for size, d in zip(shape, spacing, strict=True)), indexing="ij")
    distance = np.sqrt(np.square(steps).sum(0))
    distance.flat[0] = 1.0
    noise = np.random.default_rng(0).standard_normal((n, *shape))
    field = np.fft.ifftn(np.fft.fftn(noise, axes=axes) * distance ** (-fall / 2), axes=axes).real
    return np.asarray(np.maximum(1 + 0.3 * field / field.std(), 0.0))


def ellipses(shape: tuple[int, ...], spacing: tuple[float, ...], n: int) -> Array:
    """Objects with sharp borders, of many sizes and brightnesses."""
    rng = np.random.default_rng(1)
    out = np.full((n, *shape), 0.1)
    for own in out:
        for _ in range(40):
            centre, radius = rng.uniform(0, shape), rng.uniform(3, 9, len(shape)) / spacing
            box = tuple(slice(max(0, int(c - r)), int(c + r) + 2) for c, r in zip(centre, radius, strict=True))
            steps = np.ogrid[box]
            inside = sum(((at - c) / r) ** 2 for at, c, r in zip(steps, centre, radius, strict=True)) < 1
            own[box][inside[tuple(slice(0, size) for size in own[box].shape)]] = rng.uniform(0.3, 1)
    return out


@cache
def structure(kind: str, grid: tuple[tuple[int, ...], tuple[float, ...], int]) -> Array:
    shape, spacing, n = grid
    twice = tuple(2 * size for size in shape)  # what is cut out of it does not repeat at its borders
    if kind == "white":
        return np.random.default_rng(2).uniform(0, 1, (n, *twice))
    return ellipses(twice, spacing, n) if kind == "objects" else power_law(twice, spacing, n, float(kind))


def seen(made: Array, sigma: tuple[float, ...], photons: float = 300.0) -> Array:
    rng = np.random.default_rng(3)
    blurred = ndimage.gaussian_filter(made, (0, *sigma), mode="wrap", truncate=6) if any(sigma) else made
    middle = blurred[(slice(None), *(slice(size // 4, size // 4 + size // 2) for size in made.shape[1:]))]
    return rng.poisson(photons * middle) + rng.normal(100, 2, middle.shape)


@pytest.mark.parametrize("kind", ["2", "3", "objects"])
@pytest.mark.parametrize("sigma", [(1.0, 1.0), (2.0, 1.4), (3.0, 3.0)])
def test_the_blur_that_was_put_in_comes_out(kind: str, sigma: tuple[float, ...]) -> None:
    images = seen(structure(kind, PLANE), sigma)
    assert learn_spot(images, PLANE[1], "a") == pytest.approx(sigma, rel=0.12)


@pytest.mark.parametrize(("kind", "sigma"), [("2", (1.0, 2.0, 2.0)), ("2", (2.0, 2.0, 2.0)), ("objects", (1.5, 1.0, 1.0))])
def test_volumes_have_a_blur_of_their_own_along_z(kind: str, sigma: tuple[float, ...]) -> None:
    images = seen(structure(kind, VOLUME), sigma)
    assert learn_spot(images, VOLUME[1], "a") == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("kind", ["1", "2", "3", "objects", "white"])
def test_images_without_a_blur_give_no_number(kind: str) -> None:
    with pytest.raises(InputError, match="no-spot"):
        learn_spot(seen(structure(kind, PLANE), (0.0, 0.0)), PLANE[1], "a")


def test_images_that_do_not_tell_are_refused() -> None:
    objects = structure("objects", PLANE)
    with pytest.raises(InputError, match="noise at low frequencies"):
        learn_spot(seen(objects, (2.0, 2.0), photons=0.3), PLANE[1], "a")
    with pytest.raises(InputError, match=r"must be below 0\.1 of the size"):
        learn_spot(seen(objects, (9.0, 9.0)), PLANE[1], "a")
    with pytest.raises(InputError, match="fewer than 12 pixels"):
        learn_spot(np.ones((8, 8, 64)), (1.0, 1.0), "a")


def test_a_camera_without_a_sigma_measures_it_in_each_channel_and_keeps_it() -> None:
    law = CameraLaw(name="a", gain=2.0, offset=100.0, read_noise=3.0)
    made, sigmas = structure("objects", PLANE), ((1.5, 1.5), (2.5, 2.5))
    rng = np.random.default_rng(5)
    channels = [ndimage.gaussian_filter(made, (0, *sigma), mode="wrap")[:, 32:96, 32:96] for sigma in sigmas]
    images = np.stack([law.form(600 * own + 100, 1.0, rng) for own in channels], 1).astype(np.float32)
    settings = Camera(psf=GaussianSpot(), offset=100.0)
    found = learn_formation(settings, images, ("a", "b"), (1.0, 1.0), "pixel")
    kept = Formation.model_validate_json(found.model_dump_json())
    for one, sigma in zip(kept.laws, sigmas, strict=True):
        assert isinstance(one, CameraLaw) and one.sigma_px == pytest.approx(sigma, rel=0.12)
    point = np.zeros((2, 33, 33), np.float32)
    point[:, 16, 16] = 1e6
    spots = kept.form(point + 100, {}, np.random.default_rng(0)) - 100.0
    for spot, sigma in zip(spots, sigmas, strict=True):
        width = np.sqrt((spot * np.square(np.arange(33) - 16.0)).sum() / spot.sum())
        assert width == pytest.approx(sigma[0], rel=0.15)
    given = learn_formation(Camera(psf=GaussianSpot(sigma_px=(1.0, 1.0)), offset=100.0), images, ("a", "b"), (1.0, 1.0), "pixel")
    assert all(isinstance(one, CameraLaw) and one.sigma_px is None for one in given.laws)
