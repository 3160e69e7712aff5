"""The lazy image: what it promises about axes, channels, boxes and finite numbers."""

import numpy as np
import pytest

from sciimg.errors import InputError, Problem
from sciimg.io import Image
from sciimg.types import Channel, Spacing

FLAT = Spacing((1.0, 1.0), "pixel")


def kind_of(function, *arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    (problem,) = caught.value.problems
    return problem.kind


@pytest.mark.parametrize(
    ("array", "axes", "spacing", "channels", "kind"),
    [
        (np.zeros((4, 4), complex), "yx", None, (), "complex"),
        (np.zeros((4, 4), object), "yx", None, (), "dtype"),
        (np.zeros((4, 4), "U1"), "yx", None, (), "dtype"),
        (np.zeros((4, 4), "M8[s]"), "yx", None, (), "dtype"),
        (np.zeros((4, 0)), "yx", None, (), "empty-image"),
        (np.zeros((4, 4)), "yy", None, (), "axes"),
        (np.zeros((4, 4)), "ty", None, (), "axes"),
        (np.zeros((4, 4)), "zyx", None, (), "axes"),
        (np.zeros((4, 4)), "yx", Spacing((1.0,), "pixel"), (), "spacing"),
        (np.zeros((2, 4, 4)), "cyx", FLAT, ("only-one",), "channel-count"),
    ],
)
def test_what_an_image_cannot_be(array, axes, spacing, channels, kind):
    assert kind_of(Image.from_array, array, axes, spacing, channels) == kind


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused_where_it_is_read(bad):
    array = np.zeros((3, 5, 6), np.float32)
    array[1, 2, 3] = bad
    image = Image.from_array(array, "zyx", None, source="cell.tif")
    assert image.read((slice(0, 1), slice(None), slice(None))).shape == (1, 5, 6)
    with pytest.raises(InputError, match=r"cell\.tif.*1 of the 60 .* first at z=1, y=2, x=3"):
        image.read((slice(1, 3), slice(None), slice(None)))


def test_large_finite_numbers_are_fine():
    array = np.full((64, 64), np.finfo(np.float64).max)
    np.testing.assert_array_equal(Image.from_array(array, "yx", None).read(), array)


def test_names_are_made_up_where_none_are_given():
    assert Image.from_array(np.zeros((4, 4)), "yx", FLAT).channel_names == ("intensity",)
    assert Image.from_array(np.zeros((3, 4, 4)), "cyx", FLAT).channel_names == ("channel-0", "channel-1", "channel-2")
    assert Image.from_array(np.zeros((4, 4, 2)), "yxc", FLAT, ("a", Channel("b", 520.0))).channels == (Channel("a"), Channel("b", 520.0))


def test_a_loader_that_gives_too_little_is_caught():
    image = Image(
        load=lambda box: np.zeros((1, 1), np.uint8),
        axes="yx",
        shape=(4, 4),
        dtype=np.dtype(np.uint8),
        spacing=FLAT,
        channels=(Channel("a"),),
        source="a",
        hash=lambda: "",
    )
    assert kind_of(image.read) == "truncated"


def test_a_box_has_a_slice_an_axis_and_no_steps():
    image = Image.from_array(np.arange(12).reshape(3, 4), "yx", FLAT)
    with pytest.raises(ValueError, match="one slice of step 1"):
        image.read((slice(0, 3, 2), slice(None)))
    with pytest.raises(ValueError, match="one slice of step 1"):
        image.read((slice(None),))
    assert image.read((slice(-1, None), slice(1, 99))).tolist() == [[9, 10, 11]]


def test_digest_depends_on_values_shape_and_dtype_but_not_on_layout():
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)

    def digest(a):
        return Image.from_array(a, "yx", FLAT).sha256

    assert digest(array) == digest(np.asfortranarray(array)) == digest(array.astype(">u2"))
    assert len({digest(a) for a in (array, array + 1, array.reshape(4, 3), array.astype(np.uint32))}) == 4


def test_more_problems_leave_the_rest_as_it_was():
    image = Image.from_array(np.zeros((4, 4)), "yx", FLAT)
    noted = image.with_problems(Problem("a", "b", "c"))
    assert noted.problems == (Problem("a", "b", "c"),) and image.problems == ()
    assert noted.recorded({"kind": "x"}) == {"preparation": [{"kind": "x"}]}
