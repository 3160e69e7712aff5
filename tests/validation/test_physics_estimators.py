"""Every estimator against a closed form or an independent library."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patchsets import images_2d
from scipy.stats import rayleigh, wasserstein_distance
from tissue import brain

from sciimg.types import PatchSet, Spacing
from sciimg.validation.physics import CHECKS
from sciimg.validation.physics.histograms import counts, edges_of, quantile, wasserstein
from sciimg.validation.physics.noise_law import NoiseLaw, sigma
from sciimg.validation.physics.object_morphology import roundness
from sciimg.validation.physics.power_spectrum import PowerSpectrum
from sciimg.validation.physics.residuals import residual
from sciimg.validation.physics.snr import DIETRICH
from sciimg.validation.physics.tissues import tissue_of, weighting_of


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2), st.floats(0.5, 2))
@settings(max_examples=30)
def test_wasserstein_agrees_with_scipy(seed: int, shift: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=2000), rng.normal(shift, scale, size=1500)
    edges = edges_of(np.concatenate([first, second]), 200)
    one, other = counts(first, edges), counts(second, edges)
    # Spreading the mass of a bin evenly moves it by half the bin's width on average, or less.
    resolution = ((one / one.sum() + other / other.sum()) / 2 * np.diff(edges)).sum()
    assert resolution < 0.1
    assert wasserstein(one, other, edges) == pytest.approx(wasserstein_distance(first, second), abs=resolution)


@pytest.mark.parametrize("shift", [0.05, 0.3, 1.0])
def test_wasserstein_is_closer_than_that_where_tails_are_alike(shift: float) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=4000), rng.normal(shift, 1, size=4000)
    edges = edges_of(np.concatenate([first, second]), 200)
    got = wasserstein(counts(first, edges), counts(second, edges), edges)
    assert got == pytest.approx(wasserstein_distance(first, second), abs=0.01)


@pytest.mark.parametrize("shift", [-0.4, -0.02, 0.03, 0.5])
def test_what_lies_just_beyond_the_real_range_counts_as_lying_there(shift: float) -> None:
    """Nearly a fifth of the values are a little darker (or brighter) than any real one, as if clipped at another level."""
    rng = np.random.default_rng(0)
    real = rng.gamma(2.0, 1.0, 20000)
    made = rng.permutation(real)[:5000]
    made[:900] = (real.min() if shift < 0 else real.max()) + shift * real.std()
    edges = edges_of(real, 64)
    got = wasserstein(counts(real, edges), counts(made, edges), edges)
    assert got == pytest.approx(wasserstein_distance(real, made), rel=0.05, abs=0.02 * real.std())
    low = quantile(counts(made, edges), edges, 0.05)
    assert low == pytest.approx(np.quantile(made, 0.05), abs=0.25 * abs(shift) * real.std() + 0.02 * real.std())


def test_wasserstein_of_shifted_boxes_is_the_shift() -> None:
    edges = np.arange(6.0)
    assert wasserstein(np.array([2.0, 0, 0, 0, 0]), np.array([0, 0, 0, 5.0, 0]), edges) == pytest.approx(3.0)


def test_wasserstein_counts_crossing_areas_apart() -> None:
    # distribution functions cross in the middle of the bin: two triangles of area 1/8 each on both sides
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    first, second = np.array([1.0, 0.0, 1.0]), np.array([0.0, 2.0, 0.0])
    assert wasserstein(first, second, edges) == pytest.approx(0.25 + 2 * 0.125 + 0.25)


def test_an_empty_histogram_lies_in_the_lowest_bin() -> None:
    edges = np.array([0.0, 1.0, 2.0])
    assert wasserstein(np.zeros(2), np.array([0.0, 1.0]), edges) == pytest.approx(1.0)


def test_quantiles_interpolate_inside_a_bin() -> None:
    edges = np.array([0.0, 1.0, 3.0])
    assert quantile(np.array([1.0, 1.0]), edges, 0.75) == pytest.approx(2.0)
    assert np.isnan(quantile(np.zeros(2), edges, 0.5))


@pytest.mark.parametrize("dims", [2, 3])
def test_residuals_of_white_noise_keep_its_standard_deviation(dims: int) -> None:
    noise = np.random.default_rng(0).normal(0, 7.0, (20, *(32,) * dims))
    assert residual(noise).std() == pytest.approx(7.0, rel=0.01)


def test_residuals_ignore_images_that_are_linear_along_an_axis() -> None:
    y, x = np.mgrid[:16, :16].astype(float)
    assert np.abs(residual((y * np.sin(x) + 3)[None])).max() < 1e-9


def test_noise_law_reads_poisson_gaussian_noise() -> None:
    """Foi 2008: variance = gain x mean + read noise squared."""
    rng = np.random.default_rng(1)
    level = np.broadcast_to(np.linspace(200, 2000, 64), (40, 1, 64, 64))
    images = 2.0 * rng.poisson(level / 2.0) + rng.normal(0, 5.0, level.shape)
    check = NoiseLaw()
    patches = images_2d(images)
    frame = check.frame(patches)
    total = check.measure(patches, frame).sum(axis=0)[0]
    got = sigma(total, frame[0].edges)
    middle = (np.r_[200, frame[0].levels[1:-1]] + np.r_[frame[0].levels[1:-1], 2000]) / 2
    assert got[1:-1] == pytest.approx(np.sqrt(2.0 * middle + 25.0)[1:-1], rel=0.05)


@pytest.mark.parametrize("sigma_px", [0.5, 1.0])
def test_power_spectrum_shows_the_transfer_function_of_a_blur(sigma_px: float) -> None:
    """A Gaussian of width s passes exp(-2 (pi s f)^2) of the amplitude: -40 (pi s f)^2 / ln 10 decibel of the power."""
    rng = np.random.default_rng(2)
    noise = rng.normal(100, 10, (60, 1, 64, 64))
    frequency = np.fft.fftfreq(64)
    radius2 = frequency[:, None] ** 2 + frequency[None] ** 2
    passed = np.exp(-2 * (np.pi * sigma_px) ** 2 * radius2)
    blurred = np.fft.ifft2(np.fft.fft2(noise) * passed).real
    check = PowerSpectrum()
    frame = check.frame(images_2d(noise))
    power = [check.curves(check.measure(images_2d(x), frame).sum(0), frame)["c0-power-db"] for x in (noise, blurred)]
    f = frame.frequency
    expected = -40 * (np.pi * sigma_px * f) ** 2 / np.log(10)
    use = expected > -25  # below, what the window leaks from the low frequencies counts
    assert (power[1] - power[0])[use] == pytest.approx(expected[use], abs=0.6)


def test_dietrich_factor_is_the_rayleigh_standard_deviation() -> None:
    assert pytest.approx(rayleigh.std()) == DIETRICH


def test_snr_of_a_phantom_with_rician_noise() -> None:
    """Median of the tissues is 500 or 200 … 800; against sigma 20 the ratio is that of the truth within the MAD's bias for Rayleigh air."""
    check = CHECKS["snr"]
    patches = brain(12, 24, sigma=20.0)
    assert check.obstacle(patches) == ""
    frame = check.frame(patches)
    snr = check.curves(check.measure(patches, frame).sum(axis=0), frame)["t1-snr"][0]
    assert patches.labels is not None
    truth = float(np.median(patches.images[:, 0][patches.labels > 0])) / 20.0
    bias = rayleigh.std() / (1.4826 * float(np.median(np.abs(rayleigh.rvs(size=200_000, random_state=0) - rayleigh.median()))))
    assert snr == pytest.approx(truth * bias, rel=0.03)


def test_tissue_snr_is_median_over_standard_deviation() -> None:
    check = CHECKS["tissue-snr"]
    patches = brain(4, 16)
    frame = check.frame(patches)
    got = np.exp(check.measure(patches, frame)[0, 0, 2, 0])
    assert patches.labels is not None
    values = patches.images[0, 0][patches.labels[0] == 3].astype(float)
    n = len(values)
    assert got == pytest.approx(np.median(values) / (values.std() * np.sqrt(n / (n - 1))))


@pytest.mark.parametrize(
    ("name", "tissue"),
    [
        ("white", "white"), ("white-matter", "white"), ("WM", "white"), ("grey", "grey"), ("gray_matter", "grey"), ("gm", "grey"),
        ("CSF", "fluid"), ("lesion", None), ("white-matter-lesions", None), ("wmh", None), ("hippocampus", None),
    ],
)  # fmt: skip
def test_tissues_are_known_by_their_usual_names(name: str, tissue: str | None) -> None:
    assert tissue_of(name) == tissue


@pytest.mark.parametrize(
    ("channel", "weighting"),
    [
        ("t1", "T1"), ("T1w", "T1"), ("t1post", "T1"), ("t1-mprage", "T1"), ("t1_flair", "T1"),
        ("t2", "T2"), ("T2w", "T2"), ("t2-2mm", "T2"), ("flair", "FLAIR"),
        ("T2-FLAIR", "FLAIR"), ("t2_flair", "FLAIR"), ("T2 FLAIR", "FLAIR"),
        ("pd", None), ("t1map", None), ("t1-rho", None), ("t2star", None), ("T2*", None), ("dapi", None),
    ],
)  # fmt: skip
def test_weightings_are_known_by_their_usual_names(channel: str, weighting: str | None) -> None:
    assert weighting_of(channel) == weighting


def test_object_morphology_measures_an_ellipse() -> None:
    y, x = np.mgrid[:64, :64]
    label = (((y - 32) / 10) ** 2 + ((x - 32) / 20) ** 2 <= 1).astype(np.int32)
    label[:5, :5] = 2  # touches the border: counted, not measured
    patches = images_2d(np.zeros((1, 1, 64, 64)), label[None])
    check = CHECKS["object-morphology"]
    frame = check.frame(patches)
    curves = check.curves(check.measure(patches, frame).sum(0), frame)
    place = np.flatnonzero(curves["eccentricity"])
    edges = curves["eccentricity-edges"]
    assert edges[place[0]] <= np.sqrt(1 - 0.25) <= edges[place[0] + 1]
    size = np.flatnonzero(curves["ln-size"])
    assert curves["ln-size-edges"][size[0]] <= np.log(np.pi * 200) + 0.01
    assert np.flatnonzero(curves["number"]).tolist() == [2]


def test_roundness_is_that_of_known_shapes() -> None:
    """A disc and a ball have 1, a cube (pi / 6)^(1/3); facets cost some per cent.

    Crofton's perimeter by four directions is pi times the mean width: of an upright square with side 1, pi (1 + sqrt 2) / 2.
    """
    y, x = np.mgrid[:96, :96] - 48
    assert roundness(y**2 + x**2 <= 30**2, (1.0, 1.0)) == pytest.approx(1, abs=0.03)
    assert roundness(np.maximum(abs(y), abs(x)) <= 30, (1.0, 1.0)) == pytest.approx(
        4 * np.pi / (np.pi * (1 + np.sqrt(2)) / 2) ** 2, abs=0.015
    )
    spiky = np.hypot(y, x) <= 20 + 12 * np.cos(8 * np.arctan2(y, x))
    assert roundness(spiky, (1.0, 1.0)) < 0.5
    z, y, x = np.mgrid[:40, :40, :40] - 20
    ball = roundness(z**2 + y**2 + x**2 <= 16**2, (1.0, 1.0, 1.0))
    assert ball == pytest.approx(1, abs=0.1)
    cube = roundness(np.maximum(np.maximum(abs(z), abs(y)), abs(x)) <= 12, (1.0, 1.0, 1.0))
    assert cube == pytest.approx(np.cbrt(np.pi / 6), abs=0.03)


def test_shapes_of_volumes_are_those_of_the_sample_not_of_the_grid() -> None:
    """A ball in planes three times as far apart as pixels is flat on the grid; an oblate ball has a sphericity in closed form."""
    z, y, x = np.mgrid[:14, :40, :40] - np.array([7, 20, 20])[:, None, None, None]
    ball = (3 * z) ** 2 + y**2 + x**2 <= 15**2
    assert roundness(ball, (3.0, 1.0, 1.0)) == pytest.approx(roundness(ball, (6.0, 2.0, 2.0))) == pytest.approx(1, abs=0.15)
    e = np.sqrt(1 - (5 / 15) ** 2)  # semi-axes 15, 15, 5 where planes are as near as pixels
    surface = 2 * np.pi * 15**2 * (1 + (1 - e**2) / e * np.arctanh(e))
    oblate = np.cbrt(np.pi * (6 * 4 / 3 * np.pi * 15 * 15 * 5) ** 2) / surface
    assert roundness(ball, (1.0, 1.0, 1.0)) == pytest.approx(oblate, abs=0.09)
    check, labels = CHECKS["object-morphology"], ball[None].astype(np.int32)
    patches = replace(images_2d(np.zeros((1, 1, 14, 40, 40)), labels), spacing=Spacing((3.0, 1.0, 1.0), "um"))
    for spacing, expected in (((3.0, 1.0, 1.0), 0.0), ((1.0, 1.0, 1.0), np.sqrt(1 - (15**2 + 5**2) / (2 * 15**2)))):
        patches = replace(patches, spacing=Spacing(spacing, "um"))
        curves = check.curves(check.measure(patches, check.frame(patches))[0], check.frame(patches))
        (place,) = np.flatnonzero(curves["eccentricity"])
        assert curves["eccentricity-edges"][place] - 0.15 <= expected <= curves["eccentricity-edges"][place + 1] + 0.05


def _nuclei(seed: int, change: str = "", n: int = 20, dims: int = 2) -> PatchSet:
    """Discs or balls of several sizes as labels; ``change`` spoils every other one."""
    rng = np.random.default_rng(seed)
    side = 64 if dims == 2 else 24
    grid = np.stack(np.meshgrid(*(np.arange(side),) * dims, indexing="ij")).astype(float)
    labels = np.zeros((n, *(side,) * dims), np.int32)
    for label in labels:
        cells = [np.array(c) for c in np.ndindex(*(3 if dims == 2 else 2,) * dims)]
        step = side / (3 if dims == 2 else 2)
        for k, cell in enumerate(cells):
            if rng.random() < 0.3:
                continue
            away = grid - ((cell + 0.5) * step + rng.uniform(-1, 1, dims)).reshape(-1, *(1,) * dims)
            distance, radius = np.sqrt((away**2).sum(0)), rng.uniform(*((5, 8) if dims == 2 else (3.2, 4.5)))
            if change == "spikes":
                turn = np.arctan2(away[-1], away[-2])
                radius = radius * np.sqrt(1 / (1 + 0.4**2 / 2)) * (1 + 0.4 * np.cos(6 * turn))
            label[(distance <= radius) & ~((change == "holes") & (k % 2 == 0) & (distance <= 1))] = k + 1
    groups = np.array([f"g{i // 2}" for i in range(n)])
    patches = images_2d(np.random.default_rng(seed).random((n, 1, *labels.shape[1:])), labels)
    return replace(patches, groups=groups, spacing=Spacing((1.0,) * dims, "pixel"))


@pytest.mark.parametrize("dims", [2, 3])
def test_holes_and_spikes_are_noticed_and_other_real_objects_are_not(dims: int) -> None:
    """Each fault is seen by the component that is for it, beyond what halves of real images differ by."""

    def ratios(change: str, seed: int) -> dict[str, float]:
        parts = check.distance(sums.sum(0)[None], check.measure(_nuclei(seed, change, dims=dims), frame).sum(0)[None], frame)
        return {name: float(d[0]) / margins[name] for name, d in parts.items()}

    check, real = CHECKS["object-morphology"], _nuclei(0, dims=dims)
    frame = check.frame(real)
    sums = check.measure(real, frame)
    weights = np.array([np.random.default_rng(i).permutation(20) < 10 for i in range(200)], dtype=float)
    between = check.distance(weights @ sums, (1 - weights) @ sums, frame)
    margins = {name: max(float(np.quantile(d, 0.95)), check.floors(frame)[name]) for name, d in between.items()}
    assert max(max(ratios("", seed).values()) for seed in (1, 2)) < 1.5
    assert ratios("holes", 4)["euler"] > 5
    assert ratios("spikes", 5)["roundness"] > 5


def test_twenty_objects_are_enough_and_nineteen_are_not() -> None:
    labels = np.zeros((2, 32, 32), np.int32)
    labels[:, 4:24:4, 4:12:4] = np.arange(1, 11).reshape(5, 2)
    check = CHECKS["object-morphology"]
    assert check.obstacle(images_2d(np.zeros((2, 1, 32, 32)), labels)) == ""
    labels[1, 4, 4] = 0
    assert "19 objects in the real holdout; 20 are needed" in check.obstacle(images_2d(np.zeros((2, 1, 32, 32)), labels))


def test_one_object_with_a_hole_and_one_without_differ_by_one_and_curves_are_shares() -> None:
    solid = np.zeros((1, 64, 64), np.int32)
    solid[0, 20:23, 20:23] = 1
    ring = solid.copy()
    ring[0, 21, 21] = 0
    check = CHECKS["object-morphology"]
    real = images_2d(np.zeros((1, 1, 64, 64)), solid)
    frame = check.frame(real)
    rows = [check.measure(replace(real, labels=labels), frame) for labels in (solid, ring)]
    assert check.distance(*rows, frame)["euler"] == pytest.approx([1])
    assert check.distance(*rows, frame)["foreground"] == pytest.approx([1 / 64**2])
    curves = check.curves(rows[0].sum(axis=0), frame)
    assert all(curves[name].sum() == pytest.approx(1) for name in ("ln-size", "eccentricity", "roundness", "number"))


def test_roundness_is_told_to_a_32nd_of_its_range() -> None:
    y, x = np.mgrid[:96, :96] - 48
    ellipses = np.stack([(np.hypot(y / a, x / 30) <= 1).astype(np.int32) for a in np.linspace(6, 30, 12)])
    check = CHECKS["object-morphology"]
    real = images_2d(np.zeros((12, 1, 96, 96)), ellipses)
    frame = check.frame(real)
    rows, true = check.measure(real, frame), np.array([roundness(label > 0, (1.0, 1.0)) for label in ellipses])
    i, j = np.triu_indices(12, 1)
    off = check.distance(rows[i], rows[j], frame)["roundness"] - np.abs(true[i] - true[j])
    assert np.abs(off).max() <= 1.2 / 32 + 1e-9


def test_four_times_as_many_objects_as_in_any_real_sample_are_as_far_as_it_goes() -> None:
    one = np.zeros((1, 96, 96), np.int32)
    one[0, 20:23, 20:23] = 1
    check, real = CHECKS["object-morphology"], images_2d(np.zeros((1, 1, 96, 96)), one)
    frame = check.frame(real)
    many = np.zeros((3, 96, 96), np.int32)
    for label, number in zip(many, (4, 5, 6), strict=True):
        label[10, 10 : 10 + 2 * number : 2] = np.arange(1, number + 1)
    away = check.distance(check.measure(images_2d(np.zeros((3, 1, 96, 96)), many), frame), check.measure(real, frame), frame)["number"]
    assert away == pytest.approx([3, 3, 3])
