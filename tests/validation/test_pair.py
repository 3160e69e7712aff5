import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import extended_ssim
from skimage.data import immunohistochemistry
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import mutual_info_score

from sciimg.types import PatchSet, Spacing
from sciimg.validation.intensity_range import data_range_of
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.pair import PAIR_METRICS, mutual_information, ncc, nrmse, pair_metrics, psnr
from sciimg.validation.similarity import ms_ssim, ssim, ssim_map


def images(shape: tuple[int, ...], offset: float = 0, dtype: str = "uint16") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(sum(shape))
    ramp = np.add.outer(*(np.arange(n) for n in shape[-2:])) * 5.0
    reference = offset + 300 + ramp + rng.normal(0, 40, shape)
    test = reference * 1.05 - 0.05 * offset + rng.normal(0, 30, shape)
    return reference.astype(dtype), test.astype(dtype)


def patches(array: np.ndarray, groups: list[str] | None = None, **attributes: object) -> PatchSet:
    return PatchSet(
        array,
        None,
        np.array(groups or [f"g{i}" for i in range(len(array))]),
        pd.DataFrame(index=range(len(array))),
        Spacing((1.0,) * (array.ndim - 2), "pixel"),
        tuple(f"c{i}" for i in range(array.shape[1])),
        attributes=attributes,
    )


@pytest.mark.parametrize("shape", [(40, 53), (17, 24, 19), (11, 11)])
@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_ssim_and_its_map_equal_scikit_image(shape, window):
    reference, test = images(shape)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False} if window == "gaussian" else {}
    expected, expected_map = structural_similarity(reference, test, data_range=4095, full=True, **options)
    assert ssim(reference, test, data_range=4095, window=window) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(ssim_map(reference, test, data_range=4095, window=window), expected_map, atol=1e-9)


def test_ssim_on_real_tissue_equals_scikit_image():
    image = immunohistochemistry()[:128, :128, 0]
    test = np.clip(image.astype(int) + 7, 0, 255).astype(np.uint8)
    expected = structural_similarity(image, test, data_range=255)
    assert ssim(image, test, data_range=255, window="uniform") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", [(75, 130), (40, 12, 70)])
@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_tiles_leave_no_seam(shape, window):
    reference, test = images(shape)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False} if window == "gaussian" else {}
    expected, expected_map = structural_similarity(reference, test, data_range=4095, full=True, **options)
    assert ssim(reference, test, data_range=4095, window=window) == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(ssim_map(reference, test, data_range=4095, window=window), expected_map, atol=1e-9)


@pytest.mark.parametrize("shape", [(20, 24), (13, 14, 12)])
@pytest.mark.parametrize("offsets", [(0, 0), (1e6, 1e6), (1e6, 1e6 + 500), (0, 1e6)])
def test_a_large_offset_costs_no_precision(shape, offsets):
    """Against the definition in extended precision, window by window."""
    reference, test = (i.astype("float64") + o for i, o in zip(images(shape), offsets, strict=True))
    assert ssim(reference, test, data_range=1000) == pytest.approx(extended_ssim(reference, test, 1000), abs=1e-9)
    if offsets == (1e6, 1e6):
        near = [i.astype("float64") for i in images(shape)]
        assert ncc(reference, test) == pytest.approx(ncc(*near), abs=1e-12)
        assert psnr(reference, test, data_range=1000) == pytest.approx(psnr(*near, data_range=1000), abs=1e-9)
        assert mutual_information(reference, test) == pytest.approx(mutual_information(*near), abs=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_whatever_holds_the_pixels_the_moments_are_taken_in_float64(dtype):
    reference, test = ((i + 20000.0).astype(dtype) for i in images((24, 24)))
    assert ssim(reference, test, data_range=1000) == ssim(reference.astype("float64"), test.astype("float64"), data_range=1000)


def test_ssim_of_a_volume_needs_the_memory_of_a_tile():
    reference = np.zeros((64, 96, 96), np.uint16)  # 1.1 MB; 4.7 MB in float64
    tracemalloc.start()
    ssim(reference, reference, data_range=255)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20  # four moments and what they become, in a tile of 42 px


def test_ms_ssim_of_one_scale_is_ssim_and_of_several_equals_a_plain_reading_of_the_paper():
    reference, test = images((16, 20))
    assert ms_ssim(reference, test, data_range=4095) == pytest.approx(ssim(reference, test, data_range=4095))

    def contrast_structure(x, y):  # Wang 2003, eq. 6, from scikit-image's moments: SSIM / luminance
        from scipy.ndimage import gaussian_filter

        def smooth(a):
            return gaussian_filter(a, 1.5, truncate=3.5)

        ux, uy = smooth(x), smooth(y)
        c2 = (0.03 * 4095) ** 2
        ratio = (2 * (smooth(x * y) - ux * uy) + c2) / (smooth(x * x) - ux**2 + smooth(y * y) - uy**2 + c2)
        return ratio[5:-5, 5:-5].mean()

    reference, test = (i.astype(float) for i in images((64, 64)))
    x, y, factors = reference, test, []
    for _ in range(2):
        factors.append(contrast_structure(x, y))
        x, y = (a.reshape(a.shape[0] // 2, 2, a.shape[1] // 2, 2).mean(axis=(1, 3)) for a in (x, y))
    last = structural_similarity(x, y, data_range=4095, gaussian_weights=True, use_sample_covariance=False)
    weights = np.array([0.0448, 0.2856, 0.3001])
    expected = np.prod(np.array([*factors, last]) ** (weights / weights.sum()))
    assert ms_ssim(reference, test, data_range=4095) == pytest.approx(expected, abs=1e-9)


def test_simple_metrics_equal_independent_libraries():
    reference, test = images((40, 40))
    assert psnr(reference, test, data_range=4095) == pytest.approx(peak_signal_noise_ratio(reference, test, data_range=4095))
    assert nrmse(reference, test) == pytest.approx(normalized_root_mse(reference, test))
    assert ncc(reference, test) == pytest.approx(np.corrcoef(reference.ravel(), test.ravel())[0, 1])
    bins = [np.digitize(i, np.linspace(i.min(), i.max(), 65)[1:-1]).ravel() for i in (reference, test)]
    assert mutual_information(reference, test) == pytest.approx(mutual_info_score(*bins), abs=1e-9)


@settings(max_examples=25)
@given(st.floats(0.2, 5), st.integers(0, 2**16))
def test_identity_and_symmetry(scale, seed):
    a, b = np.random.default_rng(seed).normal(0, scale, (2, 14, 15))
    assert ssim(a, a, data_range=scale) == pytest.approx(1)
    assert ssim(a, b, data_range=scale) == pytest.approx(ssim(b, a, data_range=scale))
    assert ncc(a, 3 * a + 1) == pytest.approx(1)
    assert mutual_information(a, b) == pytest.approx(mutual_information(b, a))
    with pytest.raises(UndefinedError, match="identical"):
        psnr(a, a, data_range=scale)


@pytest.mark.parametrize(("top", "expected"), [(255, 255), (900, 1023), (4095, 4095), (4096, 16383), (40000, 65535)], ids=lambda v: str(v))
def test_true_bit_depth_of_a_16_bit_container(top, expected):
    array = np.zeros((1, 1, 12, 12), np.uint16)
    array[..., 0, 0] = top
    assert data_range_of(patches(array), patches(array), None).value == expected


def test_where_the_data_range_comes_from():
    array = np.eye(12, dtype=np.uint16)[None, None]
    assert data_range_of(patches(array), patches(array), 123.0).value == 123
    with pytest.raises(UndefinedError, match="1 everywhere"):
        data_range_of(patches(np.ones_like(array)), patches(array), None)
    assert data_range_of(patches(array, BitsStored=12), patches(array), None).value == 4095
    assert data_range_of(patches(array, significant_bits=16), patches(array), None).value == 255  # declares the container, not the detector
    assert data_range_of(patches(array.astype("u1")), patches(array.astype("u1")), None).value == 255
    with pytest.raises(UndefinedError, match="give data_range"):
        data_range_of(patches(array.astype("f4")), patches(array.astype("f4")), None)
    with pytest.raises(UndefinedError, match="uint16"):
        data_range_of(patches(array), patches(array.astype("f4")), None)
    with pytest.raises(UndefinedError, match="above 0"):
        data_range_of(patches(array), patches(array), 0.0)


def test_pair_metrics_average_channels_and_resample_groups():
    reference, test = images((6, 2, 24, 24))
    first, second = patches(reference, ["a", "a", "b", "b", "c", "c"]), patches(test)
    metrics = {m.name: m for m in pair_metrics(first, second, metrics=list(PAIR_METRICS))}
    every = [ssim(reference[i, c], test[i, c], data_range=1023) for i in range(6) for c in range(2)]
    assert metrics["ssim"].value == pytest.approx(np.mean(every))
    assert metrics["ssim"].data_range == 1023 and metrics["ssim"].n == 6 and metrics["ssim"].detail["groups"] == 3
    low, high = metrics["ssim"].ci95
    assert low < metrics["ssim"].value < high
    assert metrics["dice"].status == "undefined"
    assert metrics["nrmse"].data_range is None and metrics["nrmse"].higher_is_better is False
    again = {m.name: m for m in pair_metrics(first, second, metrics=["psnr"])}
    assert again["psnr"] == metrics["psnr"]


@pytest.mark.parametrize(
    ("reference", "test", "said"),
    [
        (np.zeros((0, 1, 16, 16), "u1"), np.zeros((0, 1, 16, 16), "u1"), "no reference"),
        (np.zeros((2, 1, 16, 16), "u1"), np.zeros((2, 1, 16, 17), "u1"), "same shape"),
        (np.full((2, 1, 16, 16), np.nan), np.zeros((2, 1, 16, 16)), "NaN"),
        (np.zeros((2, 1, 8, 8), "u1"), np.ones((2, 1, 8, 8), "u1"), "needs 11"),
        (np.zeros((2, 1, 16, 16), "f4"), np.ones((2, 1, 16, 16), "f4"), "give data_range"),
    ],
)
def test_an_outcome_with_a_reason_instead_of_a_crash(reference, test, said):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (metric,) = pair_metrics(patches(reference), patches(test), metrics=["ssim"])
    assert metric.status == "undefined" and said in metric.reason


def test_one_pair_has_a_value_and_no_interval():
    reference, test = images((1, 1, 24, 24))
    (metric,) = pair_metrics(patches(reference), patches(test), metrics=["ssim"])
    assert metric.status == "ok" and metric.ci95 is None


def test_pairs_that_all_agree_are_not_certain():
    """Four identical pairs: the intervals were [1, 1]."""
    array = images((4, 1, 24, 24))[0]
    found = {m.name: m for m in pair_metrics(patches(array), patches(array), metrics=["ssim", "ms_ssim", "ncc", "nrmse"])}
    share = 0.025 ** (1 / 4)
    assert found["ms_ssim"].ci95 == pytest.approx((share, 1))
    assert found["ssim"].ci95 == found["ncc"].ci95 == pytest.approx((2 * share - 1, 1))
    assert "no_interval" not in found["ssim"].detail
    assert found["nrmse"].value == 0 and found["nrmse"].ci95 is None and "same value" in found["nrmse"].detail["no_interval"]
    masks = (array > 400).astype("uint8")
    (metric,) = pair_metrics(patches(masks), patches(masks), metrics=["dice"])
    assert metric.value == 1 and metric.ci95 == pytest.approx((share, 1))


def test_labels_are_used_for_dice_where_there_are_any():
    array = np.zeros((1, 1, 16, 16), np.uint16)
    labels = np.zeros((1, 16, 16), np.int32)
    labels[0, :4] = 7
    base = patches(array)
    masked = PatchSet(array, labels, base.groups, base.table, base.spacing, base.channels, "instances")
    assert pair_metrics(masked, masked, metrics=["dice"])[0].value == 1


# ---------------------------------------------------------------- by hand


def test_formulas_on_two_pixels():
    a, b = np.array([[3.0, 4.0]]), np.array([[3.0, 7.0]])
    assert psnr(a, b, data_range=30.0) == pytest.approx(10 * np.log10(900 / 4.5))
    assert nrmse(a, b) == pytest.approx(np.sqrt(4.5 / 12.5))
    assert ncc(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]])) == pytest.approx(0.5)
    assert ncc(a, -b) == pytest.approx(-1)
    quarters = np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[0.0, 1.0, 0.0, 1.0]])
    assert mutual_information(*quarters) == pytest.approx(0)
    assert mutual_information(quarters[0], 1 - quarters[0]) == pytest.approx(np.log(2))
    assert mutual_information(np.arange(4.0), np.arange(4.0), bins=2) == pytest.approx(np.log(2))
    assert mutual_information(np.arange(128.0), np.arange(128.0)) == pytest.approx(np.log(64))


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda: nrmse(np.zeros((2, 2)), np.ones((2, 2))), "zero everywhere"),
        (lambda: ncc(np.ones((2, 2)), np.eye(2)), "constant"),
        (lambda: ncc(np.eye(2), np.ones((2, 2))), "constant"),
        (lambda: mutual_information(np.ones((2, 2)), np.eye(2)), "constant"),
        (lambda: mutual_information(np.eye(2), np.ones((2, 2))), "constant"),
    ],
)
def test_what_has_no_value_says_why(compute, said):
    with pytest.raises(UndefinedError, match=said):
        compute()


def test_a_range_read_off_the_reference_does_not_hold_for_a_test_on_another_scale():
    """12 bits against 16: PSNR came out at -16 dB."""
    low, high = (np.random.default_rng(s).integers(0, top, (2, 1, 48, 48)).astype(np.uint16) for s, top in ((0, 4096), (1, 65536)))
    for about in ({}, {"BitsStored": 12}):
        for metric in pair_metrics(patches(low, **about), patches(high), metrics=["psnr", "ssim", "ssim_uniform", "ms_ssim"]):
            assert metric.status == "undefined"
            assert "4095" in metric.reason and "12 bits" in metric.reason and str(high.max()) in metric.reason, metric.reason
            assert "--data-range" in metric.reason
    assert pair_metrics(patches(low), patches(high), 65535.0, metrics=["psnr"])[0].status == "ok"
    above = np.minimum(low * 1.5, 8191).astype(np.uint16)  # overshoot of a restoration
    assert pair_metrics(patches(low), patches(above), metrics=["psnr"])[0].data_range == 4095


def test_pixels_of_two_sizes_cannot_be_compared_one_by_one():
    reference, test = images((2, 1, 48, 48))
    first, second = (replace(patches(a), spacing=Spacing((s, s), "micrometer")) for a, s in ((reference, 0.1), (test, 0.2)))
    for metric in pair_metrics(first, second, 4095.0, metrics=list(PAIR_METRICS), label_kind="instances"):
        assert metric.status == "undefined" and "0.1 x 0.1 micrometer" in metric.reason and "0.2 x 0.2" in metric.reason, metric
    unknown = replace(second, spacing=Spacing((1.0, 1.0), "pixel"))  # contradicts nothing
    assert {m.status for m in pair_metrics(first, unknown, 4095.0)} == {"ok"}


def test_mutual_information_needs_as_many_pixels_as_cells_of_the_histogram():
    """Two unrelated images of 8 x 8 px shared 2.88 nats."""
    rng = np.random.default_rng(0)
    few, many = (rng.integers(0, 255, (2, 1, 1, side, side)).astype(np.uint8) for side in (8, 128))
    (metric,) = pair_metrics(*map(patches, few), metrics=["mutual_information"])
    assert metric.status == "undefined" and "64 pixels" in metric.reason and "classes" in metric.reason
    (metric,) = pair_metrics(*map(patches, many), metrics=["mutual_information"])
    assert metric.value == mutual_information(many[0, 0, 0], many[1, 0, 0]) == pytest.approx(63**2 / (2 * 128**2), rel=0.1)
    coarse = (few // 64).astype(np.uint8)  # 4 x 4 cells: 64 pixels are enough
    assert pair_metrics(*map(patches, coarse), metrics=["mutual_information"])[0].value < 0.5


@pytest.mark.parametrize("power", [-298, -30, 28])
def test_metrics_of_very_faint_and_very_bright_images_are_those_of_ordinary_ones(power):
    reference, test = (i.astype("float64") for i in images((32, 40)))
    scale = 10.0**power
    assert nrmse(reference * scale, test * scale) == pytest.approx(nrmse(reference, test), rel=1e-9)
    assert ncc(reference * scale, test * scale) == pytest.approx(ncc(reference, test), rel=1e-9)
    assert psnr(reference * scale, test * scale, data_range=1000 * scale) == pytest.approx(psnr(reference, test, data_range=1000), rel=1e-9)
    assert psnr(reference * scale, test * scale, data_range=1e30) > 0  # the squares of both are no floats


def test_a_ratio_beyond_all_floats_has_a_reason():
    with pytest.raises(UndefinedError, match="no number"):
        nrmse(np.full((4, 4), 1e-298), np.full((4, 4), 1e30))
    with pytest.raises(UndefinedError, match="constant"):
        ncc(np.full((7, 7), 0.1), np.eye(7))


def test_what_is_known_of_each_metric():
    better = {name: metric.higher_is_better for name, metric in PAIR_METRICS.items()}
    assert [name for name, up in better.items() if not up] == ["nrmse", "hausdorff", "hausdorff_95", "frc_resolution"]
    needs = {name for name, metric in PAIR_METRICS.items() if metric.needs_range}
    assert needs == {"ssim", "ssim_uniform", "ms_ssim", "psnr"}
    reference, test = images((2, 1, 48, 48))
    found = {m.name: m for m in pair_metrics(patches(reference), patches(test), 4095.0, metrics=list(PAIR_METRICS), rounds=50)}
    assert found["ms_ssim"].detail["scales"] == 3 and "scales" not in found["ssim"].detail
    assert found["ssim"].detail["data_range_origin"] and "data_range_origin" not in found["ncc"].detail
    assert found["mutual_information"].unit == "nat" and found["psnr"].unit == "dB" and found["ssim"].unit is None
    assert found["ssim_uniform"].value == pytest.approx(
        np.mean([ssim(a[0], b[0], data_range=4095, window="uniform") for a, b in zip(reference, test, strict=True)])
    )


def test_one_undefined_pair_makes_the_whole_undefined_and_says_how_many():
    array = np.random.default_rng(0).integers(0, 99, (3, 2, 12, 12)).astype(np.uint8)
    (metric,) = pair_metrics(patches(array), patches(np.concatenate([array[:1], array[1:] + 1])), metrics=["psnr"])
    assert metric.status == "undefined" and metric.reason.startswith("in 2 of 6 single-channel images: the images are identical")
    assert metric.n == 3 and metric.unit_of_n == "pairs"


def test_labels_of_classes_are_compared_class_by_class():
    array = np.zeros((1, 1, 16, 16), np.uint16)
    first, second = np.zeros((2, 1, 16, 16), np.int32)
    first[0, :4], first[0, 4:8] = 1, 2
    second[0, :4], second[0, 4:6] = 1, 2
    base = patches(array)

    def masked(labels, kind):
        return PatchSet(array, labels, base.groups, base.table, base.spacing, base.channels, kind)

    value = pair_metrics(masked(first, "classes"), masked(second, "classes"), metrics=["dice"])[0].value
    assert value == pytest.approx((1 + 2 * 2 / 6) / 2)
    value = pair_metrics(masked(first, "instances"), masked(second, "instances"), metrics=["dice"])[0].value
    assert value == pytest.approx(2 * 6 / 14)
