"""What readers must notice, item by item, for TIFF, PNG, JPEG, BMP, NIfTI and NPY. Truncation and limits: conformance suite."""

import gzip
import os
import struct
import sys
import zlib
from io import BytesIO

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
from PIL import PngImagePlugin

from sciimg.errors import InputError
from sciimg.io import Image, expand, open_image
from sciimg.io.labels import labels_from_file
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
VOLUME = np.random.default_rng(4).normal(100, 9, (5, 6, 7)).astype(np.float32)
GREY = np.random.default_rng(4).integers(0, 256, (40, 50), dtype=np.uint8)


def problem(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, **({"spacing": PIXEL} | options)).read()
    (one,) = caught.value.problems
    return one


def notes(path):
    image = open_image(path, spacing=PIXEL)
    image.read()
    return {p.kind: p.message for p in image.problems if p.kind != "axis-not-named"}


def nii(path, array=VOLUME, affine=None, change=None, kind=nibabel.Nifti1Image):
    image = kind(array.T, np.diag([2.0, 2, 2, 1]) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    if change:
        change(image.header)
    nibabel.save(image, path)
    return path


SAVERS = {
    "tif": lambda path, array: tifffile.imwrite(path, array),
    "zlib.tif": lambda path, array: tifffile.imwrite(path, array, compression="zlib", rowsperstrip=2),
    "npy": np.save,
    "nii": nii,
    "nii.gz": nii,
}


@pytest.mark.parametrize("suffix", SAVERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(tmp_path, suffix, value):
    array = VOLUME.copy()
    array[3, 2, 1] = value
    SAVERS[suffix](tmp_path / f"a.{suffix}", array)
    found = problem(tmp_path / f"a.{suffix}")
    assert found.kind == "not-finite" and "z=3, y=2, x=1" in found.message
    sound = (slice(0, 3), slice(0, 6), slice(0, 7))
    assert open_image(tmp_path / f"a.{suffix}", spacing=PIXEL).read(sound).shape == (3, 6, 7)


@pytest.mark.parametrize("slope", [np.nan, np.inf, 1e38])
def test_a_scale_that_makes_numbers_infinite_or_is_none(tmp_path, slope):
    path = nii(tmp_path / "a.nii", (VOLUME * 100).astype(np.int16))
    data = bytearray(path.read_bytes())
    struct.pack_into("<ff", data, 112, slope, 0)
    path.write_bytes(data)
    if np.isfinite(slope):
        assert problem(path).kind == "not-finite"
    else:  # NIfTI-1: no scaling, as nibabel reads it
        np.testing.assert_array_equal(open_image(path).read(), np.asarray(nibabel.load(path).dataobj).T)


def test_an_intercept_that_is_no_number(tmp_path):
    path = nii(tmp_path / "a.nii", (VOLUME * 100).astype(np.int16))
    data = bytearray(path.read_bytes())
    struct.pack_into("<ff", data, 112, 2.0, np.nan)
    path.write_bytes(data)
    assert problem(path).kind in ("corrupt", "not-finite")


@pytest.mark.parametrize("suffix", ["tif", "npy", "nii", "nii.gz"])
def test_complex_numbers(tmp_path, suffix):
    SAVERS[suffix](tmp_path / f"a.{suffix}", VOLUME.astype(np.complex64))
    assert problem(tmp_path / f"a.{suffix}").kind == "complex"


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    np.save(tmp_path / "a.npy", np.array([[Bomb(), 1]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", a=np.array([[Bomb()]], dtype=object))
    assert problem(tmp_path / "a.npy").kind == "dtype"
    assert problem(tmp_path / "b.npz").kind == "unknown-format"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", ["M8[s]", "S4", [("a", "f4"), ("b", "i2")]])
def test_arrays_that_are_no_numbers(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((4, 5), dtype))
    assert problem(tmp_path / "a.npy").kind == "dtype"


@pytest.mark.parametrize("place", [-8, -7, -5, -1])
def test_gzip_checksum_and_length(tmp_path, place):
    path = nii(tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)
    assert problem(path).kind in ("corrupt", "truncated")


def test_every_single_flipped_byte_of_a_gzip_stream_is_noticed_or_harmless(tmp_path):
    """nibabel reads on over flipped bytes; only the gzip header's time, name and system are not under the CRC."""
    path = nii(tmp_path / "a.nii.gz", (VOLUME * 10).astype(np.int16))
    sound = path.read_bytes()
    expected = open_image(path).read()
    for place in range(10, len(sound), 7):
        data = bytearray(sound)
        data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            pixels = open_image(path).read()
        except InputError:
            continue
        assert place < 40  # the file name in the gzip header
        np.testing.assert_array_equal(pixels, expected)


def test_a_gzip_bomb(tmp_path):
    """128 MiB of zeros behind a small volume."""
    plain = nii(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(plain + bytes(2**27), 1))
    assert problem(tmp_path / "b.nii.gz").kind == "absurd-size"


def test_a_volume_that_declares_more_than_memory(tmp_path):
    path = nii(tmp_path / "a.nii.gz", np.zeros((64, 64, 64), np.float32))
    assert problem(path, memory_limit=2**16).kind == "too-large"


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_singular_affine(tmp_path, row):
    path = nii(tmp_path / "a.nii")
    data = bytearray(path.read_bytes())
    data[280 + 16 * row : 296 + 16 * row] = b"\0" * 16  # srow_x, y, z
    path.write_bytes(data)
    assert problem(path).kind == "singular-affine"


def test_a_missing_affine_and_one_that_is_given_twice(tmp_path):
    def nothing(header):
        header.set_sform(None, 0)
        header.set_qform(None, 0)

    def twice(header):
        header.set_sform(np.diag([2.0, 2, 2, 1]), 2)
        header.set_qform(np.diag([-2.0, 2, 2, 1]), 1)

    path = nii(tmp_path / "a.nii")
    for change, expected in ((nothing, "no-orientation"), (twice, "two-orientations")):
        data = path.read_bytes()
        header = nibabel.Nifti1Header(data[:348])
        change(header)
        (tmp_path / "b.nii").write_bytes(header.binaryblock + data[348:])
        assert list(notes(tmp_path / "b.nii")) == [expected]
    assert notes(path) == {}


def test_files_that_go_on_behind_what_they_declare(tmp_path):
    with (tmp_path / "a.npy").open("wb") as stream:
        np.save(stream, GREY)
        np.save(stream, GREY)
    path = nii(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert list(notes(tmp_path / "a.npy")) == list(notes(path)) == ["longer-than-declared"]


def png(path, **options):
    PIL.Image.fromarray(GREY).save(path, **options)
    return path


@pytest.mark.parametrize("where", ["length", "data", "crc"])
def test_damage_in_a_png(tmp_path, where):
    path = png(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT")
    length = struct.unpack(">I", data[at - 4 : at])[0]
    data[{"length": at - 1, "data": at + 4 + length // 2, "crc": at + 4 + length}[where]] ^= 0x55
    path.write_bytes(data)
    assert problem(path).kind in ("corrupt", "truncated")


def test_a_png_that_declares_an_absurd_size(tmp_path):
    data = bytearray(png(tmp_path / "a.png").read_bytes())
    struct.pack_into(">II", data, 16, 2**30, 2**30)
    struct.pack_into(">I", data, 29, zlib.crc32(bytes(data[12:29])))
    (tmp_path / "a.png").write_bytes(data)
    assert problem(tmp_path / "a.png").kind == "absurd-size"


def exif(**tags):
    made = PIL.Image.Exif()
    for name, value in tags.items():
        made[int(name[1:])] = value
    return made


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_pictures_that_ask_to_be_turned_or_name_persons(tmp_path, suffix):
    path = png(tmp_path / f"a.{suffix}", exif=exif(t274=6, t315="Ada Lovelace"))
    found = notes(path)
    assert set(found) == {"turned", "personal-data"} and "orientation 6" in found["turned"]
    assert "Artist" in found["personal-data"] and "Ada" not in str(found)
    assert open_image(path, spacing=PIXEL).shape == GREY.shape
    assert notes(png(tmp_path / f"b.{suffix}", exif=exif(t274=1, t305="software"))) == {}


def test_a_tiff_that_asks_to_be_turned(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, extratags=[(274, 3, 1, 3, True)])
    assert list(notes(tmp_path / "a.tif")) == ["turned"]


@pytest.mark.parametrize("tag", ["tEXt", "zTXt", "iTXt"])
def test_texts_in_a_png(tmp_path, tag):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("Author", "Ada") if tag == "iTXt" else texts.add_text("Author", "Ada", zip=tag == "zTXt")
    texts.add_text("Software", "ours")
    found = notes(png(tmp_path / "a.png", pnginfo=texts))
    assert "Author" in found["personal-data"] and "Ada" not in str(found)


def test_persons_in_a_nifti_header(tmp_path):
    path = nii(tmp_path / "a.nii", change=lambda h: h.__setitem__("descrip", b"Lovelace^Ada"))
    assert "descrip" in notes(path)["personal-data"]
    image = nibabel.Nifti1Image(VOLUME.T, np.eye(4))
    image.header.set_xyzt_units("mm")
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Ada Lovelace"))
    for name in ("b.nii", "b.nii.gz"):
        nibabel.save(image, tmp_path / name)
        found = notes(tmp_path / name)
        assert "extension 6" in found["personal-data"] and "Ada" not in str(found)


@pytest.mark.parametrize(
    "name", ["a b", "é", "e\u0301", "細胞", "a'b\"c", "a;b|c&d", "[1]", "a*b?", "%20", "a\\b", "-rf", "a\nb", "a\tb", "😀", "#", "x" * 200]
)
def test_names_with_any_character(tmp_path, name):
    path = tmp_path / f"{name}.tif"
    tifffile.imwrite(path, GREY)
    assert expand(str(path)) == [path]
    image = open_image(path, spacing=PIXEL)
    np.testing.assert_array_equal(image.read(), GREY)
    assert image.source.isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not text")
def test_names_that_are_no_text(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.tif")
    try:
        tifffile.imwrite(path, GREY)
    except OSError:
        pytest.skip("the file system takes no such names")
    image = open_image(path, spacing=PIXEL)
    assert image.source.encode() == b"caf\\udce9.tif"
    (one,) = expand(str(tmp_path))
    assert one == path
    path.write_bytes(b"II*\0")
    assert problem(path).where.encode()


def test_a_bmp_whose_header_does_not_tell_its_size(tmp_path):
    PIL.Image.fromarray(GREY).save(tmp_path / "a.bmp")
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    data[2:6] = b"\0" * 4
    (tmp_path / "a.bmp").write_bytes(data[:-500])
    assert problem(tmp_path / "a.bmp").kind in ("truncated", "corrupt")


def test_a_mask_with_another_physical_size(tmp_path):
    image = Image.from_array(GREY, "yx", Spacing((0.2, 0.2), "micrometer"))
    for size, fits in ((0.2, True), (200.0, False)):
        metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
        tifffile.imwrite(tmp_path / "a.ome.tif", GREY, metadata=metadata)
        if fits:
            np.testing.assert_array_equal(labels_from_file(tmp_path / "a.ome.tif", image), GREY)
            continue
        with pytest.raises(InputError) as caught:
            labels_from_file(tmp_path / "a.ome.tif", image)
        assert caught.value.problems[0].kind == "mask-spacing"


def test_a_png_needs_no_more_than_the_limit(tmp_path):
    stream = BytesIO()
    PIL.Image.fromarray(GREY).save(stream, "PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue() + b"\0" * 2**16)
    assert problem(tmp_path / "a.png", memory_limit=2**15).kind == "too-large"
