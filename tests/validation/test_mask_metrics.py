"""Dice, object F1 and Hausdorff distance against hand counts, scipy and MONAI."""

import numpy as np
import pandas as pd
import pytest
import tifffile
import tissue
from scipy import ndimage
from scipy.spatial.distance import cdist, directed_hausdorff

from sciimg.stages.metrics import pair
from sciimg.types import PatchSet, Spacing
from sciimg.validation.masks import dice, hausdorff, object_f1
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.pair import PAIR_METRICS, pair_metrics

OF_MASKS = [name for name, metric in PAIR_METRICS.items() if metric.of_masks]


def blobs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return field > 0.5 * field.std()


def nuclei(start: int = 0) -> np.ndarray:
    """Nuclei of a real section, numbered from 1."""
    labels = tissue.section()[1][start : start + 200, :200]
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def test_dice_by_hand():
    reference = np.array([[1, 1, 0, 0], [2, 2, 2, 0]])
    test = np.array([[1, 0, 0, 0], [2, 2, 0, 2]])
    assert dice(reference, test, "classes") == pytest.approx((2 * 1 / 3 + 2 * 2 / 6) / 2)
    assert dice(reference, test, "instances") == dice((reference > 0) * 255, (test > 0) * 1) == pytest.approx(2 * 3 / 9)


def test_masks_of_many_kinds():
    assert dice(np.arange(32), np.arange(32), "classes") == 1
    assert dice(np.eye(3), np.eye(3) * 7.0) == 1  # whole numbers as floats; any one foreground value
    three = np.array([0, 1, 2, 2])
    assert dice(three, np.array([0, 2, 2, 1]), "classes") == pytest.approx((0 + 2 * 1 / 4) / 2)  # several classes are not renamed
    assert dice(np.array([0, 3, 3]), np.array([0, 3, 1]), "classes") == pytest.approx(2 * 1 / 3)


def _set(images: list[np.ndarray]) -> PatchSet:
    array = np.stack(images)[:, None]
    table = pd.DataFrame(index=range(len(array)))
    return PatchSet(array, None, np.arange(len(array)).astype(str), table, Spacing((1.0, 1.0), "pixel"), ("c",), None, {})


def test_images_without_background_or_with_a_value_each_are_no_masks():
    """Grey images of one value each agreed perfectly: Dice 1."""
    one, two = np.full((4, 4), 9, np.uint8), np.full((4, 4), 200, np.uint8)
    part = np.eye(4, dtype=np.uint8)
    for images, said in (
        ([one, one], "no pixel is 0"),
        ([one, two, 0 * one], "2 values over all"),
        ([part, 3 * part], "2 values over all"),
    ):
        for metric in pair_metrics(_set(images), _set(images), metrics=OF_MASKS):
            assert metric.status == "undefined" and said in metric.reason and "--label-kind" in metric.reason, metric
        assert pair_metrics(_set(images[:2]), _set(images[:2]), metrics=["dice"], label_kind="instances")[0].value == 1
    assert pair_metrics(_set([one, 9 * part]), _set([one, 9 * part]), metrics=["dice"])[0].value == 1  # one is foreground all over
    assert pair_metrics(_set([one > 0]), _set([one > 0]), metrics=["dice"])[0].value == 1  # truth values are a mask


def test_objects_by_hand():
    reference = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3]])
    test = np.array([[7, 7, 7, 0, 0, 8, 0, 0, 0]])  # overlaps of 3/4, exactly 1/2, and a missed object
    assert object_f1(reference, test, "instances") == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert object_f1(reference > 0, test > 0) == object_f1(reference, test, "instances")
    assert object_f1(reference, np.zeros_like(reference), "instances") == 0 == object_f1(np.zeros_like(reference), reference, "instances")


def test_objects_of_real_nuclei_whatever_their_numbers():
    truth = nuclei()
    names = np.random.default_rng(0).permutation(truth.max() + 1)
    names[names == 0], names[0] = names[0], 0
    assert truth.max() > 30
    assert object_f1(truth, names[truth], "instances") == object_f1(truth > 0, truth > 0) == 1
    lost = np.where(np.isin(truth, range(1, 11)), 0, truth)
    kept = truth.max() - 10
    assert object_f1(truth, lost, "instances") == pytest.approx(2 * kept / (2 * kept + 10))
    assert object_f1(truth, (truth > 0).astype(int), "instances") == 0  # one object where there are many


SPACED = pytest.mark.parametrize(
    ("shape", "spacing"), [((40, 50), (1.0, 1.0)), ((40, 50), (0.5, 0.2)), ((12, 30, 25), (2.0, 0.5, 0.4))], ids=["px", "2d", "3d"]
)


@SPACED
def test_hausdorff_equals_scipy(shape, spacing):
    a, b = blobs(shape, 1), blobs(shape, 2)
    first, second = (np.argwhere(m & ~ndimage.binary_erosion(m)) * spacing for m in (a, b))
    expected = max(directed_hausdorff(first, second)[0], directed_hausdorff(second, first)[0])
    assert hausdorff(a, b, spacing=spacing) == pytest.approx(expected, rel=1e-12)
    apart = cdist(first, second)
    expected = max(np.percentile(apart.min(axis=1), 95), np.percentile(apart.min(axis=0), 95))
    assert hausdorff(a, b, spacing=spacing, percentile=95) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow  # monai loads for ten seconds
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
@SPACED
def test_hausdorff_equals_monai(shape, spacing):
    import torch
    from monai.metrics import compute_hausdorff_distance

    a, b = blobs(shape, 1), blobs(shape, 2)
    one_hot = [torch.from_numpy(np.stack([~m, m]))[None].float() for m in (a, b)]
    for percentile in (None, 95):
        theirs = compute_hausdorff_distance(*one_hot, percentile=percentile, spacing=list(spacing))
        assert hausdorff(a, b, spacing=spacing, percentile=percentile or 100) == pytest.approx(float(theirs), rel=1e-5)


def test_a_stray_pixel_moves_the_distance_and_not_its_95_percent():
    a = np.zeros((60, 60), bool)
    a[20:40, 20:40] = True
    b = a.copy()
    b[0, 0] = True
    assert hausdorff(a, b, spacing=(1.0, 1.0)) == pytest.approx(np.hypot(20, 20))
    assert hausdorff(a, b, spacing=(1.0, 1.0), percentile=95) == 0
    shifted = np.roll(a, 3, axis=1)
    assert hausdorff(a, shifted, spacing=(0.5, 0.2)) == pytest.approx(3 * 0.2)
    assert hausdorff(a * 2 + shifted * (1 - a), a * 2 + shifted * (1 - a), "classes", spacing=(1.0, 1.0)) == 0


@pytest.mark.parametrize("metric", [dice, object_f1, lambda *a: hausdorff(*a, spacing=(1.0, 1.0))], ids=OF_MASKS[:3])
def test_reasons_instead_of_numbers_that_mean_nothing(metric):
    good = blobs((20, 20), 0)
    intensities = np.arange(400).reshape(20, 20)
    with pytest.raises(UndefinedError, match="label-kind"):
        metric(intensities, intensities)
    with pytest.raises(UndefinedError, match=r"number classes|at most 32"):
        metric(intensities, intensities, "classes")
    with pytest.raises(UndefinedError, match="whole numbers"):
        metric(good, good * 0.5)
    with pytest.raises(UndefinedError, match="below 0"):
        metric(-good.astype(int), good)
    with pytest.raises(UndefinedError, match=r"empty|neither"):
        metric(good * 0, good * 0)


def test_distance_to_nothing_is_undefined():
    good = blobs((20, 20), 0)
    with pytest.raises(UndefinedError, match="empty in the test"):
        hausdorff(good, good * 0, spacing=(1.0, 1.0))


def masks(array: np.ndarray, spacing: Spacing | None = None, labels: np.ndarray | None = None, kind=None) -> PatchSet:
    n = len(array)
    own = spacing or Spacing((1.0,) * (array.ndim - 2), "pixel")
    return PatchSet(array, labels, np.array([f"g{i}" for i in range(n)]), pd.DataFrame(index=range(n)), own, ("c",), kind)


def test_the_unit_of_a_distance_is_that_of_the_pixels():
    a, b = (np.stack([blobs((20, 20), s + i) for i in range(3)])[:, None].astype(np.uint8) for s in (0, 10))
    micro, nano, other = Spacing((0.5, 0.5), "micrometer"), Spacing((500.0, 500.0), "nanometer"), Spacing((0.4, 0.5), "micrometer")
    (px,) = pair_metrics(masks(a), masks(b), metrics=["hausdorff"])
    for spacing in (micro, nano, None):
        (um,) = pair_metrics(masks(a, micro), masks(b, spacing), metrics=["hausdorff"])
        assert (px.unit, um.unit) == ("pixel", "micrometer") and um.value == pytest.approx(0.5 * px.value)
        assert um.detail["spacing"] == [0.5, 0.5] and um.higher_is_better is False
    (refused,) = pair_metrics(masks(a, micro), masks(b, other), metrics=["hausdorff"])
    assert "0.4 x 0.5 micrometer" in refused.reason


def test_labels_are_used_where_there_are_any():
    array, labels = np.zeros((1, 1, 16, 16), np.uint16), np.zeros((1, 16, 16), np.int32)
    labels[0, :4], labels[0, 8:] = 7, 40
    found = {m.name: m for m in pair_metrics(*[masks(array, labels=labels, kind="instances")] * 2, metrics=OF_MASKS)}
    assert [found[n].value for n in OF_MASKS] == [1, 1, 0, 0]
    assert all(m.detail["masks_number"] == "instances" for m in found.values())
    mixed = pair_metrics(masks(array, labels=labels, kind="instances"), masks(array, labels=labels, kind="classes"), metrics=OF_MASKS)
    assert all("one side numbers objects" in m.reason for m in mixed)


def test_files_of_numbered_objects_need_to_be_called_that(tmp_path):
    for name, mask in (("a", nuclei()), ("b", nuclei(start=1))):
        tifffile.imwrite(tmp_path / f"{name}.tif", mask.astype(np.uint16), resolution=(1e4, 1e4), resolutionunit="CENTIMETER")
    about = {"metrics": ["dice", "object-f1", "hausdorff-95"], "data_range": None}
    untold = pair(tmp_path / "a.tif", tmp_path / "b.tif", **about)["metrics"]
    assert all("--label-kind" in m["reason"] for m in untold)
    told = {m["name"]: m for m in pair(tmp_path / "a.tif", tmp_path / "b.tif", **about, label_kind="instances")["metrics"]}
    assert 0.8 < told["dice"]["value"] < 1 and 0.8 < told["object_f1"]["value"] <= 1
    assert told["hausdorff_95"]["unit"] == "micrometer" and 0.5 < told["hausdorff_95"]["value"] < 2  # pixels of 1 µm, moved by one
