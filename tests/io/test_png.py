"""What is particular to PNG, JPEG and BMP. The oracle is Pillow."""

import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
GREY = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL, **options).read()
    return [p.kind for p in caught.value.problems]


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_modes_of_pillow(tmp_path, mode):
    colours = PIL.Image.fromarray(np.stack([GREY, GREY // 2, 255 - GREY], -1)).convert(mode)
    colours.save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png", spacing=PIXEL)
    plain = {"1": "L", "P": "RGB"}.get(mode, mode)
    expected = np.asarray(colours.convert(plain))
    expected = np.moveaxis(expected, -1, 0) if expected.ndim == 3 else expected
    np.testing.assert_array_equal(image.read(), expected)
    assert image.shape == expected.shape


def test_a_fine_resolution_is_a_scale_and_that_of_a_screen_is_not(tmp_path):
    PIL.Image.fromarray(GREY).save(tmp_path / "screen.png", dpi=(72, 72))
    PIL.Image.fromarray(GREY).save(tmp_path / "scope.png", dpi=(50_800, 50_800))
    assert open_image(tmp_path / "scope.png").spacing == Spacing((0.5, 0.5), "micrometer")
    with pytest.raises(InputError, match="unknown-spacing"):
        open_image(tmp_path / "screen.png")


def test_an_absurd_size_is_refused_before_anything_is_allocated(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 300_000, 300_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert kinds(tmp_path / "a.png") == ["absurd-size"]


def test_fewer_rows_than_declared(tmp_path):
    PIL.Image.fromarray(GREY).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[20:24] = struct.pack(">I", 60)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    assert kinds(tmp_path / "a.png") == ["corrupt"]


def test_a_jpeg_cut_before_its_end_mark_is_not_painted_grey(tmp_path):
    PIL.Image.fromarray(GREY).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:-2])
    assert kinds(tmp_path / "a.jpg") == ["truncated"]
    (tmp_path / "a.jpg").write_bytes(data + b"trailing bytes of a camera")
    assert open_image(tmp_path / "a.jpg", spacing=PIXEL).read().shape == GREY.shape


def test_an_end_mark_inside_a_thumbnail_does_not_count(tmp_path):
    """An EXIF segment may hold a whole JPEG; only the markers of the outer image are walked."""
    PIL.Image.fromarray(GREY).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(data[:300]) + 2) + data[:300] + b"\xff\xd9"
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:-40])
    assert kinds(tmp_path / "a.jpg") == ["truncated"]


def test_cmyk(tmp_path):
    PIL.Image.fromarray(np.stack([GREY] * 3, -1)).convert("CMYK").save(tmp_path / "a.jpg")
    assert kinds(tmp_path / "a.jpg") == ["colour-space"]
