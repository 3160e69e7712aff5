"""What people are shown: the same window for all, brightfield colours that come back, volumes in proportion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciimg.protocol.data import StainSeparation
from sciimg.review.presentation import STAINS, mid_planes, presentation_of, unit_absorption
from sciimg.types import Spacing

FLAT, CUBE = Spacing((1.0, 1.0), "pixel"), Spacing((1.0, 1.0, 1.0), "millimeter")
HDAB = StainSeparation(kind="stain-separation")


def test_stains_come_back_as_the_colours_they_were_separated_from():
    """Beer-Lambert: amounts of stain -> colour -> amounts is the identity, up to the 8 bits of the colour."""
    rng = np.random.default_rng(1)
    amounts = rng.uniform(0, 0.8, (2, 40, 40))
    values = (amounts + HDAB.offset) * HDAB.scale
    show = presentation_of(values[None], ("haematoxylin", "dab"), FLAT, HDAB)
    colours = show.render(values)
    density = -np.log(np.maximum(colours.reshape(-1, 3), 1) / 255.0)
    back = density @ np.linalg.pinv(unit_absorption(("haematoxylin", "dab")))
    clear = colours.reshape(-1, 3).min(1) > 20  # dark values carry few of the 256 levels
    assert np.abs(back - amounts.reshape(2, -1).T)[clear].max() < 0.03
    assert show.kind == "brightfield"
    assert np.all(show.render(np.full((2, 4, 4), HDAB.offset * HDAB.scale)) == 255)  # no stain is white glass


def test_stain_vectors_are_those_of_scikit_image():
    from skimage.color import rgb_from_hed

    assert np.array_equal(rgb_from_hed, np.array([STAINS[n] for n in ("haematoxylin", "eosin", "dab")]))


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1))
def test_grey_never_reverses_and_depends_on_the_value_alone(a, b):
    show = presentation_of(np.arange(1000, dtype=np.uint16).reshape(1, 1, 20, 50), ("t1",), FLAT)
    shade = {v: int(show.render(np.full((1, 2, 2), v, np.uint16))[0, 0, 0]) for v in (a, b)}
    assert (a < b) <= (shade[a] <= shade[b])
    among_others = show.render(np.array([[[a, b], [0, 999]]], np.uint16))
    assert among_others[0, 0, 0] == shade[a]  # neighbours do not change how a value looks


def test_composite_keeps_channels_apart():
    images = np.zeros((1, 3, 8, 8))
    images[0, 0, :4] = images[0, 1, 4:] = images[0, 2, :, :4] = 100.0
    show = presentation_of(images, ("a", "b", "c"), FLAT)
    assert show.kind == "composite"
    colours = [show.render(np.where(np.arange(3)[:, None, None] == c, 100.0, 0.0) + np.zeros((3, 1, 1)))[0, 0] for c in range(3)]
    assert len({tuple(c) for c in colours}) == 3


def test_constant_real_images_do_not_divide_by_zero():
    assert presentation_of(np.full((2, 1, 4, 4), 7), ("t1",), FLAT).render(np.full((1, 4, 4), 7)).max() == 0


def test_mid_planes_of_a_volume():
    volume = np.arange(4 * 6 * 8).reshape(1, 1, 4, 6, 8)
    z, y, x = mid_planes(volume, CUBE)
    assert np.array_equal(z[0, 0], volume[0, 0, 2])
    assert np.array_equal(y[0, 0], volume[0, 0, :, 3])
    assert np.array_equal(x[0, 0], volume[0, 0, :, :, 4])


@pytest.mark.parametrize(("spacing", "shape"), [((3.0, 1.0, 1.0), (12, 8)), ((1.0, 1.0, 2.0), (4, 16))])
def test_planes_keep_their_proportions(spacing, shape):
    cut = mid_planes(np.zeros((1, 1, 4, 6, 8)), Spacing(spacing, "micrometer"))[1]  # across y: rows are z, columns are x
    assert cut.shape[-2:] == shape
