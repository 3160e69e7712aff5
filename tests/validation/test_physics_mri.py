"""Checks of magnetic-resonance physics: estimators against closed forms, published values and simulated truth."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tissue
from patchsets import images_2d
from scipy import ndimage, special, stats

from sciimg.store.metadata import left_right_axis
from sciimg.types import PatchSet
from sciimg.validation.material import RealData
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.physics import CHECKS, RealImages, calibrate, effect, noncentral_chi, quality
from sciimg.validation.physics.air import air_and_signal, brightness_cut, no_air, written
from sciimg.validation.physics.bias_field import field, polynomial
from sciimg.validation.physics.controls import biased, blurred, ghosted, noisier, truncated
from sciimg.validation.physics.ghosting import ghost_to_signal
from sciimg.validation.physics.per_sample import PerSample
from sciimg.validation.physics.quality import Summary
from sciimg.validation.physics.ringing import energies
from sciimg.validation.physics.symmetry import mirrored

RNG = np.random.default_rng(0)

# ---------------------------------------------------------------- MRIQC's measures

# One row of the group table that MRIQC 22.0.6 wrote for OpenNeuro's ds000119 (CC0): sub-02, T1w.
PUBLISHED = {
    "bg": {"mad": 8.824425841966598, "stdv": 27.741719085036554, "median": 5.951984781771898, "n": 3526265},
    "csf": {"mad": 101.99853110072006, "stdv": 116.44491753319049, "median": 295.9699248187244, "n": 45348},
    "gm": {"mad": 67.19381241676241, "stdv": 67.40137922342919, "median": 720.9216874502599, "n": 51179},
    "wm": {"mad": 60.68641458916694, "stdv": 62.01045887186992, "median": 1000.066448584199, "n": 409652},
}


def published(tissue: str) -> Summary:
    row = PUBLISHED[tissue]
    return Summary(np.nan, row["median"], np.nan, np.nan, row["stdv"], row["mad"], np.nan, int(row["n"]))


def test_measures_equal_the_table_that_mriqc_published() -> None:
    white, grey, air = published("wm"), published("gm"), published("bg")
    assert quality.cjv(white, grey) == pytest.approx(0.45811437222198115, rel=1e-9)
    assert quality.cnr(white, grey, air) == pytest.approx(2.91697573034988, rel=1e-9)
    snr = {"csf": 2.541688102428194, "gm": 10.695844099665225, "wm": 16.12736377294963}
    snrd = {"csf": 21.973177011910536, "gm": 53.52212681667592, "wm": 74.24618265478276}
    for name in snr:
        assert quality.snr(published(name)) == pytest.approx(snr[name], rel=1e-9)
        assert quality.snr_dietrich(published(name), air) == pytest.approx(snrd[name], rel=1e-9)


def test_summary_by_hand() -> None:
    found = quality.summary(np.array([1.0, 2, 3, 4, 10]))
    assert (found.mean, found.median, found.n) == (4.0, 3.0, 5)
    assert found.stdv == pytest.approx(np.sqrt((9 + 4 + 1 + 0 + 36) / 5), rel=1e-12)
    assert found.mad == pytest.approx(1 / 0.6744897501960817, rel=1e-12)  # distances 2, 1, 0, 1, 7
    assert found.k == pytest.approx((81 + 16 + 1 + 0 + 1296) / 5 / 100 - 3, rel=1e-12)


def test_summary_agrees_with_statsmodels() -> None:
    """MRIQC takes its statistics from there, weighted by tissue; the weight of a label is 1."""
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    scale = pytest.importorskip("statsmodels.robust.scale")
    values = RNG.gamma(3.0, 10.0, 1000)
    weighted = weightstats.DescrStatsW(values)
    found = quality.summary(values)
    assert (found.mean, found.stdv) == pytest.approx((weighted.mean, weighted.std), rel=1e-12)
    assert (found.p05, found.median, found.p95) == pytest.approx(
        tuple(weighted.quantile([0.05, 0.5, 0.95], return_pandas=False)), rel=1e-12
    )
    assert found.mad == pytest.approx(float(scale.mad(values, center=found.median)), rel=1e-12)
    assert found.k == pytest.approx(stats.kurtosis(values), rel=1e-12)


def test_energies_and_entropy_by_hand() -> None:
    image = np.array([[4.0, 2.0], [1.0, 3.0]])
    head = np.array([[True, False], [False, True]])
    assert quality.fber(image, head, ~head) == pytest.approx(((16 + 9) / 2) / ((4 + 1) / 2), rel=1e-12)
    share = image.ravel() / np.sqrt(30)
    assert quality.efc(image) == pytest.approx(-(share * np.log(share)).sum() / (2 * np.log(2)), rel=1e-9)
    assert quality.wm2max(np.array([0.0, 10.0]), published("wm")) == pytest.approx(1000.066448584199 / 9.995, rel=1e-9)


@pytest.mark.parametrize("size", [4, 9, 64])
def test_entropy_focus_is_1_for_a_constant_image_and_0_for_a_point(size: int) -> None:
    assert quality.efc(np.full(size, 7.0)) == pytest.approx(1, rel=1e-9)
    point = np.zeros(size)
    point[1] = 5
    assert quality.efc(point) == pytest.approx(0, abs=1e-9)


def test_qi1_counts_what_an_opening_leaves_far_from_the_head() -> None:
    image = np.abs(np.random.default_rng(1).normal(0, 1, (24, 24, 24)))
    air = np.ones(image.shape, bool)
    air[:6] = False
    image[12:15, 10:13, 10:13] = 100  # holds one cross, of 7 voxels: what the opening leaves
    image[20, 3, 3] = 100  # one voxel: opened away
    image[6:9, 18:21, 18:21] = 100  # its first plane touches the head: too thin for a cross without it
    assert quality.artefacts(image, air).sum() == 7
    assert quality.qi1(image, air) == 7 / air.sum()


@pytest.mark.parametrize(
    "compute",
    [
        lambda: quality.summary(np.array([1.0])),
        lambda: quality.snr(quality.summary(np.ones(5))),
        lambda: quality.snr_dietrich(published("wm"), quality.summary(np.zeros(5))),
        lambda: quality.cnr(*(quality.summary(np.ones(5)),) * 3),
        lambda: quality.cjv(published("wm"), published("wm")),
        lambda: quality.fber(np.ones((2, 2)), np.ones((2, 2), bool), np.zeros((2, 2), bool)),
        lambda: quality.fber(np.array([1.0, 0]), np.array([True, False]), np.array([False, True])),
        lambda: quality.efc(np.zeros((3, 3))),
        lambda: quality.efc(np.ones(1)),
        lambda: quality.wm2max(np.zeros((3, 3)), published("wm")),
        lambda: quality.qi1(np.zeros((9, 9)), np.ones((9, 9), bool)),
    ],
)
def test_what_has_no_value_is_undefined_and_not_minus_one(compute: object) -> None:
    assert callable(compute)
    with pytest.raises(UndefinedError):
        compute()


def test_image_quality_reports_the_measures_of_a_sample() -> None:
    patches = tissue.brain(3, 20)
    check = CHECKS["image-quality"]
    found = check.values(patches, check.basis(patches))  # type: ignore[attr-defined]
    assert patches.labels is not None
    image, label = patches.images[1, 0].astype(float), patches.labels[1]
    white, grey = (quality.summary(image[label == number]) for number in (3, 2))
    assert np.exp(found["t1:cjv"][1]) == pytest.approx(quality.cjv(white, grey), rel=1e-9)
    assert np.exp(found["t1:snr-white-matter"][1]) == pytest.approx(quality.snr(white), rel=1e-9)
    assert np.exp(found["t1:wm2max"][1]) == pytest.approx(quality.wm2max(image, white), rel=1e-9)
    assert found["t1:efc"][1] == pytest.approx(quality.efc(image), rel=1e-9)
    assert np.isfinite(found["t1:cnr"]).all()


def test_contrast_to_noise_needs_air_and_the_rest_does_not() -> None:
    patches = tissue.brain(8, 20)
    assert patches.labels is not None
    masked = replace(patches, images=np.where(patches.labels[:, None] > 0, patches.images, 0).astype(np.float32))
    edges = CHECKS["image-quality"].frame(masked).edges
    assert "t1:cnr" not in edges and "t1:cjv" in edges


# ---------------------------------------------------------------- air


def test_blocks_of_one_value_were_written_and_not_measured() -> None:
    image = np.random.default_rng(2).rayleigh(5, (1, 16, 16, 16))
    assert not written(image).any()
    image[0, :4] = 0
    assert np.array_equal(written(image)[0], np.arange(16)[:, None, None] * np.ones((16, 16)) < 4)


def test_a_defaced_image_keeps_the_air_that_was_measured() -> None:
    patches = tissue.brain(4, 24)
    assert patches.labels is not None
    images = patches.images.copy()
    images[:, :, :8, :, :6] = 0
    cut = brightness_cut(images[:, 0].astype(float))
    air, _ = air_and_signal(images[:, 0].astype(float), patches.labels, cut)
    assert no_air(replace(patches, images=images)) == "" and not air[:, :8, :, :6].any() and air[:, 9:, :, :5].any()
    images[..., :7] = 0
    assert "masked or zeroed" in no_air(replace(patches, images=images))


def test_air_of_a_sample_does_not_depend_on_the_others() -> None:
    patches = tissue.brain(4, 20)
    dim = patches.images[:, 0].astype(float) * np.array([1, 0.2, 1, 1])[:, None, None, None]
    whole = air_and_signal(dim, patches.labels, 300.0)
    assert patches.labels is not None
    for i in range(4):
        alone = air_and_signal(dim[i : i + 1], patches.labels[i : i + 1], 300.0)
        assert all(np.array_equal(a[i : i + 1], b) for a, b in zip(whole, alone, strict=True))


def test_a_number_that_the_calibration_part_does_not_have_is_still_compared() -> None:
    class Mean(PerSample):
        name, estimator, unit, source = "mean", "mean of the sample, if positive", "grey value", "none"
        controls = ()

        def values(self, patches: PatchSet, basis: object) -> dict[str, np.ndarray]:
            means = patches.images.mean(axis=(1, 2, 3))
            return {"mean": np.where(means > 0, means, np.nan)}

        def smallest(self, name: str) -> float:
            return 0.1

    images = np.random.default_rng(0).normal(5, 1, (10, 1, 8, 8))
    holdout, calibration = images_2d(images), images_2d(-np.concatenate([images] * 2))
    calibration = replace(calibration, groups=np.array([f"c{i}" for i in range(20)]))
    made = calibrate(Mean(), RealImages(holdout, calibration), rounds=20, key=("t",))
    metric = effect(made, images_2d(images + 0.2), name="x")
    assert metric.detail["components"]["mean"]["distance"] == pytest.approx(0.2, abs=0.05)
    assert "fewer than half" in str(calibrate(Mean(), RealImages(images_2d(-images)), key=("t",)))


# ---------------------------------------------------------------- noise of magnitude images


@pytest.mark.parametrize("coils", [1, 4, 32])
@pytest.mark.parametrize("signal", [0.0, 0.7, 3.0, 20.0])
def test_moments_are_those_of_the_noncentral_chi_law(coils: int, signal: float) -> None:
    law = stats.ncx2(2 * coils, signal**2) if signal else stats.chi2(2 * coils)
    mean = law.expect(np.sqrt, epsabs=1e-12, limit=400)
    found = noncentral_chi.moments(signal, coils)
    assert found == pytest.approx((mean, 2 * coils + signal**2 - mean**2), rel=1e-5)


@pytest.mark.parametrize("coils", [1, 4, 32])
@pytest.mark.parametrize("signal", [0.0, 1.0, 5.0, 25.0, 200.0])
def test_signal_and_sigma_come_back_from_the_moments(coils: int, signal: float) -> None:
    sigma = 13.0
    mean, variance = noncentral_chi.moments(signal, coils)
    found = noncentral_chi.signal_and_sigma(sigma * mean, sigma * np.sqrt(variance), coils)
    assert found == pytest.approx((sigma * signal, sigma), rel=2e-2 if signal > 20 else 1e-6, abs=1e-3)


def test_a_mean_too_small_for_its_deviation_has_no_signal() -> None:
    signal, sigma = noncentral_chi.signal_and_sigma(1.0, 1.0, 1)
    assert signal == 0 and sigma == pytest.approx(1 / np.sqrt(2 - np.pi / 2))
    with pytest.raises(UndefinedError):
        noncentral_chi.signal_and_sigma(1.0, 0.0, 1)


def magnitudes(coils: int, sigma: float, size: int = 40_000) -> np.ndarray:
    parts = np.random.default_rng(coils).normal(0, sigma, (2 * coils, size))
    return np.sqrt(np.sum(parts**2, axis=0))


@pytest.mark.parametrize("coils", [1, 2, 8, 32])
def test_air_of_several_coils_tells_their_number_and_sigma(coils: int) -> None:
    air = magnitudes(coils, 5.0)
    assert noncentral_chi.effective_coils(air) == pytest.approx(coils, rel=0.05)
    assert noncentral_chi.air_sigma(air, coils) == pytest.approx(5.0, rel=0.01)
    assert noncentral_chi.effective_coils(np.rint(air)) == pytest.approx(coils, rel=0.05)  # integers, as scanners store them


def test_air_sigma_with_the_wrong_number_of_coils_is_wrong_by_the_ratio_of_medians() -> None:
    air = magnitudes(8, 5.0)
    expected = 5.0 * np.sqrt(stats.chi2.median(16) / stats.chi2.median(2))
    assert noncentral_chi.air_sigma(air, 1) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("coils", [0.5, 1, 8.3])
def test_quantiles_of_air_are_those_of_the_chi_law(coils: float) -> None:
    levels = np.array([0.01, 0.25, 0.5, 0.99])
    assert noncentral_chi.central(levels, coils) == pytest.approx(stats.chi.ppf(levels, 2 * coils), rel=1e-9)


def test_half_of_a_gaussian_looks_like_half_a_coil() -> None:
    assert noncentral_chi.effective_coils(np.abs(np.random.default_rng(0).normal(0, 3, 40_000))) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("air", [np.zeros(500), np.full(500, 3.0), np.random.default_rng(0).normal(0, 3, 500)])
def test_air_that_holds_no_magnitudes_is_undefined(air: np.ndarray) -> None:
    with pytest.raises(UndefinedError, match="no background"):
        noncentral_chi.effective_coils(air)


def test_rician_noise_of_a_phantom() -> None:
    patches = tissue.brain(6, 24, sigma=20.0)
    check = CHECKS["rician-noise"]
    basis = check.basis(patches)  # type: ignore[attr-defined]
    found = check.values(patches, basis)  # type: ignore[attr-defined]
    assert basis[0].coils == pytest.approx(1, rel=0.1)
    one = replace(patches, attributes={**patches.attributes, "coils": 1})
    sigma = check.values(one, check.basis(one))["t1:sigma"]  # type: ignore[attr-defined]
    assert np.exp(np.median(sigma)) == pytest.approx(20.0, rel=0.03)
    assert np.exp(np.median(found["t1:law"])) == pytest.approx(1.0, rel=0.15)
    assert np.isfinite(found["t1:agreement"]).all()


def test_clipped_gaussian_noise_is_not_taken_for_magnitude_noise() -> None:
    """What comes of adding Gaussian noise to an image with an empty background, and cutting it at 0."""
    patches = tissue.brain(16, 20)
    assert patches.labels is not None
    made = calibrate(CHECKS["rician-noise"], RealImages(patches), rounds=50, key=("t",))
    clean = np.where(patches.labels[:, None] > 0, patches.images, 0)
    signed = clean + RNG.normal(0, 20, clean.shape)
    for images, words in ((np.maximum(signed, 0), "no background"), (np.abs(signed), ""), (signed, "")):
        metric = effect(made, replace(patches, images=images.astype(np.float32)), name="x")
        assert words in metric.reason if words else (metric.value is not None and metric.value > 1)


# ---------------------------------------------------------------- bias field


@pytest.mark.parametrize("dims", [2, 3])
def test_field_is_found_whatever_tissue_is_where(dims: int) -> None:
    shape = (24,) * dims
    terms = polynomial(shape)
    truth = np.tensordot(np.random.default_rng(3).normal(0, 0.1, len(terms)), terms, axes=1)
    tissues = np.random.default_rng(4).integers(1, 4, shape).astype(np.int32)
    image = np.array([0.0, 200, 500, 800])[tissues] * np.exp(truth)
    image[:2] = 1e6  # what does not count
    where = np.ones(shape, bool)
    where[:2] = False
    found = field(image, tissues, where, terms)
    assert found == pytest.approx(truth[where] - truth[where].mean(), abs=1e-9)


def test_field_passes_by_a_few_bright_vessels() -> None:
    shape = (24, 24, 24)
    terms = polynomial(shape)
    truth = 0.2 * terms[0]
    noise = np.random.default_rng(5).normal(0, 0.02, shape)
    image = 500 * np.exp(truth + noise)
    image[18:24, :6, :6] *= 4
    found = field(image, np.zeros(shape, np.int32), np.ones(shape, bool), terms)
    assert found.std() == pytest.approx(truth.std(), rel=0.02)


def test_strength_of_a_planted_field_is_read() -> None:
    patches = tissue.brain(3, 20, sigma=5.0)
    check = CHECKS["bias-field"]
    flat, planted = (check.values(p, check.basis(patches))["t1:strength"] for p in (patches, biased(1.5)(patches, RNG)))  # type: ignore[attr-defined]
    ramp = np.log(1.5) * sum(np.meshgrid(*(np.linspace(-1, 1, 20),) * 3, indexing="ij")) / 3
    assert patches.labels is not None
    truth = [ramp[(label > 0) & (image > 150)].std() for label, image in zip(patches.labels, patches.images[:, 0], strict=True)]
    assert np.exp(planted) == pytest.approx(np.array(truth), rel=0.25) and np.all(np.exp(flat) < 0.05)


# ---------------------------------------------------------------- ghosts


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("ghost", [0.0, 0.05, 0.2])
def test_ghost_to_signal_by_hand(axis: int, ghost: float) -> None:
    subject = np.zeros((40, 40), bool)
    subject[14:26, 14:26] = True
    image = np.where(subject, 500.0, 7.0) + 500 * ghost * np.roll(subject, 20, axis)
    assert ghost_to_signal(image, ~subject, subject, axis) == pytest.approx(ghost, abs=1e-12)
    other = ghost_to_signal(image, ~subject, subject, 1 - axis)  # the ghost lies in its reference
    assert other <= 0
    assert np.isnan(ghost_to_signal(image, ~subject & (np.arange(40) > 14), subject, 1) * ghost_to_signal(image, subject, subject, 0))


def test_a_planted_ghost_is_read_along_its_axis() -> None:
    patches = tissue.head(6)
    check = CHECKS["ghosting"]
    basis = check.basis(patches)  # type: ignore[attr-defined]
    clean, planted = (check.values(p, basis) for p in (patches, ghosted(0.1, -1)(patches, RNG)))  # type: ignore[attr-defined]
    assert np.median(clean["t1:x"]) == pytest.approx(0, abs=0.01)
    assert np.median(planted["t1:x"]) == pytest.approx(0.1, abs=0.03)
    assert np.all(planted["t1:y"] <= clean["t1:y"] + 0.01)


def test_parts_of_images_have_no_ghosts() -> None:
    patches = tissue.head(8)
    parts = replace(patches, table=patches.table.assign(origin="[0, 8]"))
    assert "parts of images" in CHECKS["ghosting"].obstacle(parts)
    assert "no background" in CHECKS["ghosting"].obstacle(replace(patches, images=patches.images * (patches.labels[:, None] > 0)))  # type: ignore[index]


# ---------------------------------------------------------------- k-space


@pytest.mark.parametrize("exponent", [-2.0, -3.0])
def test_slope_of_a_power_law(exponent: float) -> None:
    frequency = np.fft.fftfreq(96)
    radius = np.hypot(frequency[:, None], frequency[None])
    radius[0, 0] = np.inf
    noise = np.random.default_rng(6).standard_normal((12, 1, 96, 96))
    images = np.fft.ifft2(np.fft.fft2(noise) * radius ** (exponent / 2)).real
    check = CHECKS["k-space-slope"]
    patches = images_2d(images)
    found = check.values(patches, check.basis(patches))  # type: ignore[attr-defined]
    assert found["c0:slope"].mean() == pytest.approx(exponent, abs=0.1)
    assert found["c0:bend"].mean() == pytest.approx(0, abs=0.25)


def test_noise_bends_k_space_up_and_flattens_it() -> None:
    patches = tissue.head(6)
    check = CHECKS["k-space-slope"]
    basis = check.basis(patches)  # type: ignore[attr-defined]
    clean, noisy, smooth = (check.values(f(patches, RNG), basis) for f in (lambda p, r: p, noisier(1.0), blurred(1.0)))  # type: ignore[attr-defined]
    assert np.all(noisy["t1:slope"] > clean["t1:slope"]) and np.all(smooth["t1:slope"] < clean["t1:slope"])
    assert noisy["t1:bend"].mean() > clean["t1:bend"].mean() > smooth["t1:bend"].mean()


# ---------------------------------------------------------------- ringing


def test_oscillation_beside_an_edge_is_that_of_the_sine_integral() -> None:
    """An edge with all frequencies below the share c of the Nyquist frequency is 1/2 + Si(pi c d) / pi at distance d."""
    share, size = 0.7, 65
    distance = np.arange(size) - 32.0
    edge = 0.5 + special.sici(np.pi * share * distance)[0] / np.pi
    image = 100 * np.tile(edge, (size, 1))
    across, along, number = energies(image, 20.0)
    places = (4, 5, 6, 7)  # strong gradients lie at -1, 0 and 1: 3 to 6 pixels from them and none nearer
    second = [(edge[32 + d - 1] - 2 * edge[32 + d] + edge[32 + d + 1]) / 4 * 100 for d in (*places, *(-p for p in places))]
    assert number == (size - 2) * len(second) and along == pytest.approx(0, abs=1e-20)
    assert across == pytest.approx((size - 2) * np.sum(np.square(second)), rel=1e-9)


def test_isotropic_noise_does_not_ring_and_truncation_does() -> None:
    y, x = np.meshgrid(*(np.arange(64) - 31.5,) * 2, indexing="ij")
    edge = 500.0 * ((np.abs(x) < 15) & (np.abs(y) < 18))
    noise = np.random.default_rng(7).normal(0, 4, (8, 1, 64, 64))
    sharp = images_2d(ndimage.gaussian_filter(edge, 0.6) + noise)
    ringing = images_2d(truncated(0.6)(images_2d(np.broadcast_to(edge, (8, 1, 64, 64))), RNG).images + noise)
    check = CHECKS["ringing"]
    basis = check.basis(sharp)  # type: ignore[attr-defined]
    clean, rung = (check.values(p, (30.0,))["c0:oscillation"].mean() for p in (sharp, ringing))  # type: ignore[attr-defined]
    assert basis[0] > 0
    assert clean == pytest.approx(0, abs=0.15) and rung > 1


# ---------------------------------------------------------------- symmetry


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("moved", [-3, 0, 2])
def test_a_mirror_image_is_found_where_its_plane_is(axis: int, moved: int) -> None:
    half = np.random.default_rng(8).normal(0, 1, (20, 41))
    whole = np.concatenate([half, half[::-1]])  # the plane lies between two pixels
    image = np.roll(np.pad(whole, ((4, 4), (0, 0)), mode="reflect"), moved, axis=0)
    image = np.moveaxis(image, 0, axis)
    found, at_end = mirrored(image, axis)
    assert found > 0.8 and not at_end
    assert mirrored(image, 1 - axis)[0] < 0.5


def test_correlation_of_a_mirror_image_by_hand() -> None:
    left, right = np.random.default_rng(9).normal(0, 1, (2, 20, 30))
    image = np.concatenate([left, (0.8 * left + 0.6 * right)[::-1]])
    expected = np.corrcoef(np.concatenate([image[:20], image[20:]]).ravel(), image[::-1].ravel())[0, 1]
    assert mirrored(image, 0)[0] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(mirrored(np.ones((20, 20)), 0)[0])


@pytest.mark.parametrize(
    ("attributes", "columns", "words"),
    [
        ({}, slice(None), "from left to right"),
        ({"left_right": None}, slice(None), "from left to right"),
        ({"left_right": "z"}, slice(None), "planes across"),
        ({"left_right": "x"}, slice(24, None), "do not hold the plane"),
    ],
)
def test_symmetry_is_undefined_where_left_and_right_are_not_known_or_not_both_there(attributes: dict, columns: slice, words: str) -> None:
    patches = tissue.head(8)
    assert patches.labels is not None
    half = replace(patches, images=patches.images[..., columns], labels=patches.labels[..., columns], attributes=attributes)
    assert words in CHECKS["symmetry"].obstacle(half)


@pytest.mark.parametrize(
    ("columns", "axis"),
    [
        (np.diag([-1.0, 1, 1]), "x"),
        (np.array([[0.0, 0, 2], [1, 0, 0], [0, 3, 0]]), "z"),  # a sagittal acquisition
        (np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]]), None),  # oblique
    ],
)
def test_left_and_right_come_from_the_affine(columns: np.ndarray, axis: str | None) -> None:
    affine = np.eye(4)
    affine[:3, :3] = columns
    assert left_right_axis(affine) == axis
    assert left_right_axis(None) is None


@pytest.mark.parametrize(("images", "axis"), [("ab", "x"), ("ac", None), ("c", None), ("ad", None)])
def test_a_study_knows_left_and_right_where_all_its_images_agree(images: str, axis: str | None) -> None:
    affines = {"a": np.diag([-1.0, 1, 1, 1]), "b": np.eye(4), "c": None, "d": np.eye(4)[[1, 0, 2, 3]]}
    source = SimpleNamespace(
        regions=[SimpleNamespace(image=name) for name in images],
        collection=SimpleNamespace(volume=lambda name: SimpleNamespace(affine=affines[name])),
    )
    assert RealData(cast("Any", None), cast("Any", {"holdout": source}), ("k",)).left_right == axis
