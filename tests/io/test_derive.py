"""Preparation: stains against scikit-image and Beer-Lambert, percentiles, grey saved as colour; each step leaves its record."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color, data

from sciimg.errors import InputError
from sciimg.io import Image
from sciimg.io.derive import prepare
from sciimg.io.stains import stain_matrix
from sciimg.protocol.data import Luminance, Rescale, StainSeparation
from sciimg.types import Spacing

FLAT = Spacing((1.0, 1.0), "pixel")
RGB = ("red", "green", "blue")
TWO = StainSeparation(kind="stain-separation")
THREE = StainSeparation(kind="stain-separation", stains=("haematoxylin", "eosin", "dab"))


def colour(array, names=RGB):
    return Image.from_array(array, "yxc", FLAT, names)


def kind_of(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return caught.value.problems[0].kind


@pytest.mark.parametrize("step", [TWO, THREE], ids=["two", "three"])
def test_densities_agree_with_scikit_image(step):
    """skimage counts density in units of 6 decades and cuts it at 0."""
    tissue = data.immunohistochemistry()
    ours = prepare(colour(tissue), [step]).read() / step.scale - step.offset
    theirs = 6 * color.separate_stains(np.maximum(tissue, 1) / 255, np.linalg.inv(stain_matrix(step.stains)))
    theirs = np.moveaxis(theirs[..., : len(step.stains)], -1, 0)
    inside = (theirs > 0) & (ours > -step.offset)
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=0.51 / step.scale)
    assert inside.mean() > 0.5


@given(st.floats(0.0, 1.2), st.floats(0.0, 1.2))
@settings(max_examples=30)
def test_amounts_of_stain_come_back_through_beer_and_lambert(haematoxylin, dab):
    vectors = stain_matrix(TWO.stains)[:2]
    light = 65535 * 10.0 ** -(np.array([haematoxylin, dab]) @ vectors)
    image = colour(np.broadcast_to(np.rint(light).astype(np.uint16), (4, 5, 3)))
    amounts = prepare(image, [TWO]).read()[:, 0, 0] / TWO.scale - TWO.offset
    np.testing.assert_allclose(amounts, [haematoxylin, dab], atol=0.002)


def test_clipping_does_not_matter_on_real_tissue():
    """The defaults keep the negative densities of noise: fewer than one pixel in a thousand ends at either limit."""
    values = prepare(colour(data.immunohistochemistry()), [TWO]).read()
    assert np.mean((values == 0) | (values == 65535)) < 1e-3
    assert np.mean(values[0] < TWO.offset * TWO.scale) > 0.05  # what an offset of 0 would have thrown away


def test_no_light_lost_is_no_stain():
    values = prepare(colour(np.full((2, 2, 3), 255, np.uint8)), [TWO]).read()
    assert np.all(values == TWO.offset * TWO.scale)


def test_alpha_is_left_out_and_boxes_are_parts_of_the_whole():
    tissue = data.immunohistochemistry()[:60, :70]
    opaque = colour(np.concatenate([tissue, np.full((60, 70, 1), 255, np.uint8)], -1), (*RGB, "alpha"))
    image = prepare(opaque, [THREE])
    assert image.channel_names == THREE.stains and image.shape == (3, 60, 70)
    np.testing.assert_array_equal(image.read(), prepare(colour(tissue), [THREE]).read())
    box = (slice(1, 2), slice(10, 20), slice(5, 9))
    np.testing.assert_array_equal(image.read(box), image.read()[box])


def test_the_matrix_is_on_record_and_is_json():
    image = prepare(colour(data.immunohistochemistry()), [TWO])
    record = json.loads(json.dumps(dict(image.acquisition)))["preparation"][0]
    assert record["kind"] == "stain-separation" and record["stains"] == ["haematoxylin", "dab"]
    vectors = np.array(record["vectors"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    np.testing.assert_allclose(vectors[2] @ vectors[:2].T, 0, atol=1e-9)
    np.testing.assert_allclose(vectors[0], np.array([0.65, 0.70, 0.29]) / np.linalg.norm([0.65, 0.70, 0.29]))


def test_only_colour_pictures_have_stains():
    assert kind_of(prepare, Image.from_array(np.zeros((4, 4), np.uint8), "yx", FLAT), [TWO]) == "not-rgb"
    assert kind_of(prepare, colour(np.zeros((4, 4, 3), np.float32)), [TWO]) == "not-rgb"
    assert kind_of(prepare, colour(np.zeros((4, 4, 3), np.uint8), ("DAPI", "GFP", "RFP")), [TWO]) == "not-rgb"


@given(st.integers(0, 10**6), st.sampled_from(["f4", "u2", "i2", "u1"]))
@settings(max_examples=20)
def test_rescale_maps_its_percentiles_and_keeps_order(seed, dtype):
    values = np.random.default_rng(seed).gamma(2, 20, (30, 40)).astype(dtype)
    step = Rescale(kind="rescale", percentiles=(5, 95), top=1000, headroom=2)
    image = prepare(Image.from_array(values, "yx", FLAT), [step])
    out = image.read()
    assert image.dtype == out.dtype == np.uint16
    low, high = np.percentile(values, (5, 95))
    inside = (values >= low) & (values <= high)
    np.testing.assert_allclose(out[inside], (values[inside] - low) / (high - low) * 1000, atol=0.51)
    assert out[values <= low].max() == 0 and out.max() <= 2000
    order = np.argsort(values, axis=None, kind="stable")
    assert np.all(np.diff(out.ravel()[order].astype(int)) >= 0)
    record = image.acquisition["preparation"][0]
    assert (record["low"], record["high"]) == ([pytest.approx(low)], [pytest.approx(high)])


def test_rescale_makes_scanner_scales_equal_channel_by_channel():
    values = np.random.default_rng(0).gamma(2, 20, (2, 5, 30, 40)).astype(np.float32)
    step = Rescale(kind="rescale")
    plain = Image.from_array(values, "czyx", Spacing((1.0,) * 3, "pixel"))
    scaled = Image.from_array(values * np.float32(1e4) + np.array([[[[3.0]]], [[[500.0]]]], np.float32), "czyx", plain.spacing)
    one, other = prepare(plain, [step]).read(), prepare(scaled, [step]).read()
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    box = (slice(1, 2), slice(0, 5), slice(3, 9), slice(0, 40))
    np.testing.assert_array_equal(prepare(plain, [step]).read(box), one[box])


def test_a_blank_image_cannot_be_scaled():
    assert kind_of(prepare, Image.from_array(np.full((5, 5), 7), "yx", FLAT), [Rescale(kind="rescale")]) == "flat-image"


def test_grey_saved_as_colour():
    grey = np.random.default_rng(1).integers(0, 256, (6, 7), dtype=np.uint8)
    image = prepare(colour(np.stack([grey] * 3 + [np.full_like(grey, 255)], -1), (*RGB, "alpha")), [Luminance(kind="luminance")])
    assert (image.axes, image.shape, image.channel_names) == ("yx", (6, 7), ("intensity",))
    np.testing.assert_array_equal(image.read(), grey)
    np.testing.assert_array_equal(image.read((slice(2, 4), slice(1, 3))), grey[2:4, 1:3])


def test_a_coloured_picture_is_not_grey():
    image = prepare(colour(data.immunohistochemistry()), [Luminance(kind="luminance")])
    assert kind_of(image.read) == "not-grey"


def test_real_grey_pictures(shared=Path(__file__).parents[3] / "shared/data/dsb2018_nuclei/images"):
    if not shared.exists():
        pytest.skip("no shared data beside the repository")
    from sciimg.io import open_image

    image = prepare(open_image(sorted(shared.iterdir())[0], spacing=FLAT), [Luminance(kind="luminance")])
    assert image.axes == "yx" and image.read().max() > 0
