"""Pictures leave in one form, at full depth, and come back as the pixel values that they were."""

import numpy as np
import pytest

from sciimg.protocol.data import StainSeparation
from sciimg.review.exhibit import Exhibit
from sciimg.review.presentation import presentation_of
from sciimg.types import Spacing

RNG = np.random.default_rng(3)
SHAPES = {"plane": (2, 6, 5), "volume": (1, 4, 6, 5)}
KINDS = {
    "uint8": lambda shape: RNG.integers(0, 256, shape).astype(np.uint8),
    "uint16": lambda shape: RNG.integers(0, 65536, shape).astype(np.uint16),
    "int16": lambda shape: RNG.integers(-32768, 32768, shape).astype(np.int16),
    "float32": lambda shape: RNG.normal(size=shape).astype(np.float32),
    "uint32": lambda shape: RNG.integers(0, 2**32, shape).astype(np.uint32),
    "constant": lambda shape: np.full(shape, 7.25, np.float32),
}


def made(kind, shape, n=5):
    images = np.stack([KINDS[kind](shape) for _ in range(n)])
    spacing = Spacing((2.0, 1.0, 0.5)[3 - (len(shape) - 1) :], "micrometer")
    show = presentation_of(images, [f"c{i}" for i in range(shape[0])], spacing)
    return images, Exhibit({f"s{i}": image for i, image in enumerate(images)}, show)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_lead_back_to_pixel_values(kind, shape):
    images, exhibit = made(kind, shape)
    about = exhibit.about()
    step = 0.0 if kind in ("uint8", "uint16", "int16") else about["scale"] / 2 * 1.01
    for i, image in enumerate(images):
        back = np.frombuffer(exhibit.picture(f"s{i}"), "<u2").reshape(about["shape"]) * about["scale"] + about["offset"]
        assert np.abs(back.reshape(image.shape) - image.astype(float)).max() <= step


def test_integers_of_sixteen_bits_leave_as_they_are():
    images, exhibit = made("uint16", SHAPES["volume"])
    assert exhibit.picture("s3") == images[3].astype("<u2").tobytes()


def test_every_picture_is_as_long_as_every_other():
    _, exhibit = made("float32", SHAPES["plane"])
    assert len({len(exhibit.picture(f"s{i}")) for i in range(5)}) == 1


def test_a_plane_is_a_volume_of_one_slice():
    about = made("uint8", SHAPES["plane"])[1].about()
    assert (about["shape"], about["volume"], about["spacing"][1:]) == ([2, 1, 6, 5], False, [1.0, 0.5])


def test_windows_are_those_of_the_presentation_in_the_numbers_that_are_sent():
    images, exhibit = made("float32", SHAPES["plane"])
    about, show = exhibit.about(), presentation_of(images, ["c0", "c1"], Spacing((1.0, 0.5), "micrometer"))
    for i, channel in enumerate(about["channels"]):
        assert channel["black"] * about["scale"] + about["offset"] == pytest.approx(show.black[i])
        assert channel["white"] * about["scale"] + about["offset"] == pytest.approx(show.white[i])


def test_stains_absorb_as_they_do_on_a_sheet():
    stains = StainSeparation(kind="stain-separation", stains=("haematoxylin", "dab"))
    images = RNG.integers(1000, 9000, (3, 2, 4, 4)).astype(np.uint16)
    show = presentation_of(images, ["haematoxylin", "dab"], Spacing((1.0, 1.0), "pixel"), stains)
    channels = Exhibit(dict(zip("abc", images, strict=True)), show).about()["channels"]
    t = [(images[0, i].astype(float) - c["black"]) / (c["white"] - c["black"]) for i, c in enumerate(channels)]  # as the page does it
    colours = np.exp(-sum(t[i][..., None] * np.array(c["absorption"]) for i, c in enumerate(channels)))
    assert np.abs(255 * np.clip(colours, 0, 1) - show.render(images[0])).max() <= 0.51
