"""The nuclei segmentation on images whose nuclei are known, and on tissue by what nuclei must look like."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data, draw

from sciimg.io import Image
from sciimg.io.derive import make_labels, prepare
from sciimg.io.nuclei import segment_nuclei
from sciimg.protocol.data import SegmentNuclei, StainSeparation
from sciimg.types import Spacing

PLAN = SegmentNuclei(kind="segment-nuclei", channel="h")


def rendered(truth, noise=5.0, seed=0):
    """Nuclei of 100 grey levels on 20, blurred, with noise."""
    image = ndimage.gaussian_filter(20 + 80.0 * (truth > 0), 1.0)
    return image + np.random.default_rng(seed).normal(0, noise, truth.shape)


def ellipses(*shapes, size=(128, 128)):
    """Each shape is (row, column, row radius, column radius)."""
    truth = np.zeros(size, np.int32)
    for number, (row, column, a, b) in enumerate(shapes, 1):
        truth[draw.ellipse(row, column, a, b, shape=size)] = number
    return truth


def dice(one, other):
    return 2 * np.sum((one > 0) & (other > 0)) / (np.sum(one > 0) + np.sum(other > 0))


def test_separate_nuclei_are_found_each():
    truth = ellipses(*[(r, c, 8, 6) for r in range(16, 128, 32) for c in range(16, 128, 32)])
    found = segment_nuclei(rendered(truth), None, PLAN.model_copy(update={"floor": 0.5}))
    assert found.dtype == np.int32 and found.max() == 16
    assert dice(found, truth) > 0.92
    assert len(np.unique(found[truth > 0] * 100 + truth[truth > 0])) <= 32  # one to one, but for background at the rim


@pytest.mark.parametrize("apart", [13, 15])
def test_touching_nuclei_are_divided(apart):
    truth = ellipses((64, 64 - apart // 2, 8, 8), (64, 64 + apart - apart // 2, 8, 8))
    found = segment_nuclei(rendered(truth), None, PLAN)
    assert found.max() == 2
    assert found[64, 64 - apart // 2] != found[64, 64 + apart - apart // 2]


@pytest.mark.parametrize("angle", [0, 30, 90])
def test_a_long_nucleus_is_one(angle):
    truth = np.zeros((128, 128), np.int32)
    truth[draw.ellipse(64, 64, 5, 20, shape=truth.shape, rotation=np.deg2rad(angle))] = 1
    assert segment_nuclei(rendered(truth, noise=3), None, PLAN).max() == 1


def test_nothing_there_is_nothing_found():
    assert segment_nuclei(np.full((64, 64), 7), None, PLAN).max() == 0


def test_small_specks_are_dropped():
    truth = ellipses((30, 30, 2, 2), (80, 80, 8, 8))
    assert segment_nuclei(rendered(truth, noise=0), None, PLAN).max() == 1


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0), (1, 500), (100, -3)])
def test_the_numbers_carry_over_to_other_scales(gain, offset):
    image = rendered(ellipses((40, 40, 8, 8), (90, 60, 9, 6)))
    np.testing.assert_array_equal(segment_nuclei(image, None, PLAN), segment_nuclei(gain * image + offset, None, PLAN))


def test_a_second_channel_keeps_nuclei_apart_that_only_a_membrane_divides():
    truth = ellipses((64, 50, 14, 14), (64, 78, 14, 14))
    image = ndimage.gaussian_filter(20 + 80.0 * ndimage.binary_dilation(truth > 0, iterations=2), 1.5)
    membrane = np.zeros_like(image)
    membrane[40:88, 62:67] = 100
    membrane = ndimage.gaussian_filter(membrane, 1.0)
    plan = PLAN.model_copy(update={"subtract": "m", "subtract_weight": 1.0})
    assert segment_nuclei(image, membrane, plan).max() == 2


def test_volumes_too():
    z, y, x = np.indices((24, 40, 40))
    truth = np.zeros(z.shape, np.int32)
    for number, (cz, cy, cx) in enumerate([(8, 10, 10), (14, 28, 28)], 1):
        truth[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= 36] = number
    found = segment_nuclei(rendered(truth, noise=3), None, PLAN.model_copy(update={"window_px": 21}))
    assert found.max() == 2 and dice(found, truth) > 0.85


def test_colon_tissue():
    """Nuclei hold more haematoxylin and, in the stained glands, less DAB than the ring around them; nearly all are convex."""
    image = Image.from_array(data.immunohistochemistry(), "yxc", Spacing((1.0, 1.0), "pixel"), ("red", "green", "blue"))
    stains = prepare(image, [StainSeparation(kind="stain-separation")])
    plan = SegmentNuclei(kind="segment-nuclei", channel="haematoxylin", subtract="dab")
    labels = make_labels(stains, plan, name="ihc")
    found = labels.pixels
    assert (labels.kind, labels.parameters["objects"]) == ("instances", found.max())
    assert 300 <= found.max() <= 430 and 0.2 <= np.mean(found > 0) <= 0.3
    haematoxylin, dab = stains.read().astype(float)
    ring = ndimage.grey_dilation(found, 9) * (ndimage.grey_dilation(found, 3) == 0)
    numbers = np.arange(1, found.max() + 1)

    def mean(channel, where):
        return ndimage.mean(channel, where, numbers)

    around = mean(dab, ring)
    inside_more = mean(haematoxylin, found) > mean(haematoxylin, ring)
    assert np.nanmean(inside_more[np.isfinite(around)]) > 0.98
    glands = around > 5000
    assert np.mean(mean(dab, found)[glands] < around[glands]) > 0.9
    from skimage.measure import regionprops

    solidity = np.array([r.solidity for r in regionprops(found)])
    assert np.median(solidity) > 0.9 and np.mean(solidity > 0.75) > 0.95
