"""Resolution from two acquisitions of one field, against the closed form of their correlation."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from patchsets import images_2d
from scipy import ndimage

from sciimg.types import PatchSet, Spacing
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.pair import OF_IMAGES, pair_metrics
from sciimg.validation.ring_correlation import THRESHOLD, crossing, ring_correlation, two_image_resolution


def scene(widths: tuple[float, ...], shape: tuple[int, ...], seed: int) -> np.ndarray:
    """White objects through Gaussian optics, standard deviation 100."""
    seen = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), widths, mode="wrap")
    return 1000 + 100 * seen / seen.std()


def acquired(truth: np.ndarray, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(seed).standard_normal((2, *truth.shape))
    return truth + noise * first, truth + noise * second


def patches(images: list[np.ndarray], step: float | None = None) -> PatchSet:
    made = images_2d(np.stack(images)[:, None])
    dims = images[0].ndim
    return replace(made, spacing=Spacing((step or 1.0,) * dims, "pixel" if step is None else "micrometer"))


@pytest.mark.parametrize("noise", [20.0, 60.0])
@pytest.mark.parametrize("width", [1.5, 2.5])
def test_the_resolution_is_that_of_the_closed_form(width: float, noise: float) -> None:
    """Signal S exp(-(2 pi w q)^2), noise N in each: the correlation is S(q) / (S(q) + N), which is 1/7 where S(q) = N / 6."""
    density = 100.0**2 * 4 * np.pi * width**2
    expected = 2 * np.pi * width / np.sqrt(np.log(6 * density / noise**2))
    found = [two_image_resolution(*acquired(scene((width, width), (192, 192), s), noise, s + 9), (1.0, 1.0)) for s in range(6)]
    assert np.mean(found) == pytest.approx(expected, rel=0.04)


def test_shells_of_a_volume_follow_its_spacing() -> None:
    """Optics as wide in micrometres along all axes, planes twice as far apart."""
    width, density = 3.0, 100.0**2 * (4 * np.pi * 3.0**2) ** 1.5 / 2  # of a voxel of 2 cubic micrometres
    expected = 2 * np.pi * width / np.sqrt(np.log(6 * density / 20.0**2))
    pairs = [acquired(scene((1.5, 3.0, 3.0), (48, 96, 96), s), 20.0, s + 9) for s in range(2)]
    assert np.mean([two_image_resolution(a, b, (2.0, 1.0, 1.0)) for a, b in pairs]) == pytest.approx(expected, rel=0.05)
    assert two_image_resolution(*pairs[0], (1.0, 0.5, 0.5)) == pytest.approx(two_image_resolution(*pairs[0], (2.0, 1.0, 1.0)) / 2)


def test_neither_scale_nor_offset_of_intensities_matters() -> None:
    first, second = acquired(scene((1.5, 1.5), (96, 80), 0), 30.0, 1)
    expected = two_image_resolution(first, second, (1.0, 1.0))
    assert two_image_resolution(second, first, (1.0, 1.0)) == pytest.approx(expected)
    for scale, offset in ((1e-250, 0.0), (1e25, 1e27), (-3.0, 40.0)):
        assert two_image_resolution(scale * first + offset, scale * second, (1.0, 1.0)) == pytest.approx(expected)
    whole = two_image_resolution(np.rint(16 * first).astype("uint16"), np.rint(16 * second).astype("uint16"), (1.0, 1.0))
    assert whole == pytest.approx(expected, rel=1e-3)


def test_the_correlation_of_a_ring_by_hand() -> None:
    first, second = np.array([1, 2j, 3, 5]), np.array([1, 2, 3j, -5])
    found = ring_correlation(first, second, np.array([0, 0, -1, 1]), 3)
    assert found == pytest.approx([1 / 5, -1, 0])  # 2j against 2 is a quarter turn
    assert ring_correlation(1e-4 * first, 1e-5 * second, np.array([0, 0, -1, 1]), 3) == pytest.approx(found)
    assert np.isnan(crossing(np.full((1, 4), 2 * THRESHOLD), np.arange(4.0)))[0]


def test_the_place_of_a_crossing_by_hand() -> None:
    """Between 3 and 5 the line passes 1/7 a quarter of the way; a dip of one bin is none; what begins below has the lowest frequency."""
    seventh, frequency = 1 / 7, np.array([1.0, 3, 5, 6, 8, 9])
    falls = seventh + np.array([0.8, 0.1, -0.3, -0.1, 0.4, 0.5])
    dips = seventh + np.array([0.8, -0.1, 0.3, 0.2, -0.1, -0.2])
    below = np.full(6, 0.1)
    at_last = seventh + np.array([0.8, 0.7, 0.6, 0.5, 0.4, -0.4])
    assert crossing(np.stack([falls, dips, below, at_last]), frequency) == pytest.approx([3.5, 6 + 2 * 2 / 3, 1, 8.5])


def by_definition(first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...]) -> float:
    """One ring after the other, a parabola fitted to each neighbourhood, the first two rings in a row below 1/7, a line between them."""
    window = reduce(np.multiply.outer, [np.hanning(n + 2)[1:-1] for n in first.shape])
    one, other = (np.fft.fftn((image - image.mean()) * window) for image in (first, second))
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, first.shape, spacing), indexing="ij")))
    width = 1 / min(n * step for n, step in zip(first.shape, spacing, strict=True))
    centres = np.arange(2 * width, 0.5 / min(spacing) + width / 100, width)  # the mean leaks into the first through the window
    rings = [(frequency > c - width / 2) & (frequency <= c + width / 2) for c in centres]
    curve = [np.sum(one[r] * other[r].conj()).real / np.sqrt(np.sum(abs(one[r]) ** 2) * np.sum(abs(other[r]) ** 2)) for r in rings]
    share = len(rings) // (5 if first.ndim == 2 else 10)
    side = max(5, share if share % 2 else share + 1)
    places = np.arange(len(rings))
    starts = np.clip(places - side // 2, 0, len(rings) - side)
    smooth = [np.polyval(np.polyfit(places[s : s + side], curve[s : s + side], 2), k) for k, s in zip(places, starts, strict=True)]
    k = next(k for k in places if max(smooth[k : k + 2]) < 1 / 7)
    low, high = (float(frequency[rings[i]].mean()) for i in (k - 1, k))
    return 1 / (low + (high - low) * (smooth[k - 1] - 1 / 7) / (smooth[k - 1] - smooth[k]))


@pytest.mark.parametrize(
    ("shape", "widths", "spacing"),
    [((128, 150), (1.5, 1.5), (0.5, 0.5)), ((96, 64), (1.2, 0.8), (1.0, 1.5)), ((16, 16, 250), (0.3, 0.3, 4.0), (15.625, 15.625, 1.0))],
)
def test_the_resolution_is_that_of_its_definition(shape: tuple[int, ...], widths: tuple[float, ...], spacing: tuple[float, ...]) -> None:
    pair = acquired(scene(widths, shape, 3), 60.0, 4)
    assert two_image_resolution(*pair, spacing) == pytest.approx(by_definition(*pair, spacing), rel=1e-9)


def test_sixteen_pixels_are_enough_and_fifteen_are_not() -> None:
    first, second = acquired(scene((1.0, 1.0), (16, 40), 0), 20.0, 1)
    assert 2 < two_image_resolution(first, second, (1.0, 1.0)) < 10
    with pytest.raises(UndefinedError, match="15 px; rings of two images need 16"):
        two_image_resolution(first[:15], second[:15], (1.0, 1.0))


FIRST, SECOND = acquired(scene((1.5, 1.5), (64, 64), 0), 20.0, 1)
UNTELLING = {
    "identical": (FIRST, FIRST, "identical"),
    "identical but for scale": (FIRST, 2 * FIRST + 3, "identical"),
    "constant": (FIRST, np.full_like(FIRST, 0.1), "constant"),
    "small": (FIRST[:12], SECOND[:12], "12 px"),
    "shared noise": (FIRST, FIRST + 0.1 * SECOND, "never falls below 1/7"),
    "unrelated": (FIRST, np.random.default_rng(5).standard_normal((64, 64)), "nothing in common"),
    "not aligned": (FIRST, np.roll(FIRST, (32, 32), (0, 1)), "nothing in common"),
}


@pytest.mark.parametrize("case", UNTELLING)
def test_images_that_do_not_tell_have_a_reason(case: str) -> None:
    first, second, said = UNTELLING[case]
    with pytest.raises(UndefinedError, match=said):
        two_image_resolution(first, second, (1.0, 1.0))


def test_it_is_a_metric_of_pairs_in_the_unit_of_the_spacing_and_asked_for_by_name() -> None:
    pairs = [acquired(scene((1.5, 1.5), (64, 64), s), 20.0, s + 9) for s in range(3)]
    first, second = ([pair[k] for pair in pairs] for k in (0, 1))
    (metric,) = pair_metrics(patches(first, 0.25), patches(second, 0.25), metrics=["frc_resolution"])
    each = [two_image_resolution(a, b, (0.25, 0.25)) for a, b in pairs]
    assert metric.value == pytest.approx(np.mean(each)) and metric.unit == "micrometer" and metric.detail["spacing"] == [0.25, 0.25]
    assert metric.ci95[0] < metric.value < metric.ci95[1] and metric.higher_is_better is False
    (px,) = pair_metrics(patches(first), patches(second), metrics=["frc_resolution"])
    assert px.unit == "pixel" and px.value == pytest.approx(4 * metric.value)
    (same,) = pair_metrics(patches(first), patches(first), metrics=["frc_resolution"])
    assert same.status == "undefined" and "identical" in same.reason
    assert "frc_resolution" not in OF_IMAGES  # a study has no two acquisitions of one field
