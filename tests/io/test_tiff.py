"""What is particular to TIFF: axes without names, several images in a file, sizes that cannot be, files put together wrongly."""

import struct

import numpy as np
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
STACK = np.arange(5 * 8 * 9, dtype=np.uint16).reshape(5, 8, 9)


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, **({"spacing": PIXEL} | options)).read()
    return [p.kind for p in caught.value.problems]


@pytest.mark.parametrize(
    ("options", "axes"),
    [
        ({"spacing": Spacing((1.0,), "pixel")}, "zyx"),
        ({"spacing": Spacing((2.0, 1.0, 1.0), "micrometer")}, "zyx"),
        ({"spacing": Spacing((1.0, 1.0), "micrometer")}, "tyx"),
        ({"spacing": PIXEL, "axes": "tyx"}, "tyx"),
        ({"spacing": PIXEL, "axes": "cyx"}, "cyx"),
    ],
)
def test_a_stack_axis_without_a_name(tmp_path, options, axes):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    image = open_image(tmp_path / "a.tif", **options)
    assert image.axes == axes
    np.testing.assert_array_equal(image.read(), STACK)
    assert ("axis-not-named" in [p.kind for p in image.problems]) == ("axes" not in options)


def test_two_nameless_axes_are_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([STACK, STACK + 1]))
    assert kinds(tmp_path / "a.tif") == ["unknown-axes"]
    assert open_image(tmp_path / "a.tif", spacing=PIXEL, axes="tzyx").axes == "tzyx"
    assert kinds(tmp_path / "a.tif", axes="tyx") == ["axes"]


def test_axes_that_contradict_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK)
    assert kinds(tmp_path / "a.tif", axes="yxz") == ["axes"]


def test_an_absurd_size_is_refused_before_anything_is_allocated(tmp_path):
    """A header alone: 300000 x 300000 bytes declared, one uncompressed strip of 1 byte."""
    entries = [(256, 4, 300_000), (257, 4, 300_000), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 120), (277, 3, 1), (279, 4, 1)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    (tmp_path / "a.tif").write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + body + b"\0" * 20)
    assert kinds(tmp_path / "a.tif") == ["absurd-size"]


def test_empty_segments_are_missing_pixels_not_zeros(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0], rowsperstrip=2, compression="zlib")
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[0].tags["StripByteCounts"]
        place, width = tag.valueoffset, tag.valuebytecount // tag.count
    data = bytearray(path.read_bytes())
    data[place : place + width] = b"\0" * width
    path.write_bytes(data)
    assert kinds(path) == ["truncated"]


def test_a_chain_of_pages_that_bites_its_tail(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0])
    data = bytearray(path.read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    data[first + 2 + 12 * count : first + 6 + 12 * count] = struct.pack("<I", first)
    path.write_bytes(data)
    assert kinds(path) == ["corrupt"]


def test_other_images_of_the_file_are_noted(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(STACK[0])
        writer.write(np.zeros((3, 4), np.uint8))
    image = open_image(tmp_path / "a.tif", spacing=PIXEL)
    assert image.shape == (8, 9)
    assert [p.kind for p in image.problems] == ["more-images"]


def test_complex_pixels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 4), np.complex64))
    assert kinds(tmp_path / "a.tif") == ["complex"]


def test_acquisition_of_ome(tmp_path):
    metadata = {
        "axes": "TYX",
        "TimeIncrement": 500.0,
        "TimeIncrementUnit": "ms",
        "PhysicalSizeX": 1.0,
        "PhysicalSizeY": 1.0,
        "Channel": {"Name": ["GFP"], "EmissionWavelength": [509.0], "EmissionWavelengthUnit": ["nm"]},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=metadata)
    image = open_image(tmp_path / "a.ome.tif")
    assert image.acquisition == {"time_step_s": 0.5, "emission_nm": [509.0]}
    assert (image.channels[0].name, image.channels[0].wavelength_nm) == ("GFP", 509.0)


def test_the_file_is_closed_between_reads(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, compression="zlib")
    image = open_image(tmp_path / "a.tif", spacing=PIXEL)
    image.read()
    (tmp_path / "a.tif").rename(tmp_path / "b.tif")  # an open handle would still find the pixels
    assert image.axes == "zyx"
    with pytest.raises(InputError):
        image.read()


def test_ome_significant_bits_are_kept(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.ones((4, 5), np.uint16), metadata={"axes": "YX", "SignificantBits": 12})
    assert open_image(path, spacing=PIXEL).acquisition["significant_bits"] == 12
