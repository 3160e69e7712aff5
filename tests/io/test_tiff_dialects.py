"""Dialects of TIFF: ImageJ's run of planes behind one directory, whole slides by tiles, LSM, MetaMorph; and pages that do not agree."""

import struct
import tracemalloc
from io import BytesIO

import numpy as np
import PIL.Image
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
RNG = np.random.default_rng(2)
STACK = RNG.integers(0, 60000, (5, 8, 9), dtype=np.uint16)


def kind(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, **({"spacing": PIXEL} | options)).read()
    (one,) = caught.value.problems
    return one.kind


def one_directory(description: str, array: np.ndarray, order="<") -> bytes:
    """What ImageJ writes for stacks beyond 4 GB: one directory that counts one plane, the others behind it without any."""
    text = description.encode() + b"\0"
    length, width = array.shape[-2:]
    start = 8 + 2 + 12 * 10 + 4
    entries = [(256, 4, 1, width), (257, 4, 1, length), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (270, 2, len(text), start)]
    entries += [(273, 4, 1, start + len(text)), (277, 3, 1, 1), (278, 4, 1, length), (279, 4, 1, length * width * 2)]
    magic = b"II*\0" if order == "<" else b"MM\0*"
    shifted = [(t, k, n, v << 16 if k == 3 and order == ">" else v) for t, k, n, v in entries]
    directory = struct.pack(order + "H", len(entries)) + b"".join(struct.pack(order + "HHII", *e) for e in shifted) + b"\0" * 4
    return magic + struct.pack(order + "I", 8) + directory + text + array.astype(f"{order}u2").tobytes()


IMAGEJ = "ImageJ=1.53t\nimages=5\nslices=5\nunit=micron\nspacing=0.5\n"


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_imagej_stack_behind_one_directory(tmp_path, order):
    (tmp_path / "a.tif").write_bytes(one_directory(IMAGEJ, STACK, order))
    image = open_image(tmp_path / "a.tif", spacing=PIXEL)
    assert (image.axes, image.shape) == ("zyx", (5, 8, 9))
    np.testing.assert_array_equal(image.read(), STACK)


@pytest.mark.parametrize("lost", [1, 100, 8 * 9 * 2, 8 * 9 * 2 * 4])
def test_an_imagej_stack_that_was_cut_behind_its_header(tmp_path, lost):
    (tmp_path / "a.tif").write_bytes(one_directory(IMAGEJ, STACK)[:-lost])
    assert kind(tmp_path / "a.tif") == "truncated"


def test_an_imagej_stack_beyond_four_gigabytes(tmp_path):
    """A sparse file: the planes are behind what 32 bits reach."""
    slices = 2**20 + 2
    head = one_directory(IMAGEJ.replace("=5\n", f"={slices}\n"), np.zeros((64, 64), np.uint16))
    with (tmp_path / "a.tif").open("wb") as stream:
        stream.write(head[: -64 * 64 * 2])
        start = stream.tell()
        stream.truncate(start + slices * 64 * 64 * 2)
        stream.seek(start + (slices - 1) * 64 * 64 * 2)
        stream.write(np.full(64 * 64, 7, "<u2").tobytes())
    image = open_image(tmp_path / "a.tif", spacing=PIXEL)
    assert image.shape == (slices, 64, 64)
    box = (slice(slices - 2, slices), slice(0, 1), slice(0, 64))
    assert [part.tolist() for part in image.read(box)[:, 0, :2]] == [[0, 0], [7, 7]]
    with (tmp_path / "a.tif").open("r+b") as stream:
        stream.truncate(start + slices * 64 * 64 * 2 - 1)
    assert kind(tmp_path / "a.tif") == "truncated"


@pytest.mark.parametrize("options", [{}, {"imagej": True, "metadata": {"axes": "ZYX"}}])
def test_big_tiff(tmp_path, options):
    imagej = bool(options)
    tifffile.imwrite(tmp_path / "a.tif", STACK, bigtiff=not imagej, **options)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif", spacing=PIXEL).read(), STACK)


def slide(path, array, mpp="0.2499", **options):
    note = f"Aperio Image Library v11.2.1\r\n300x280 [0,0 300x280] (96x96)|AppMag = 40|MPP = {mpp}|User = someone|Left = 1.2"
    with tifffile.TiffWriter(path) as writer:
        common = {"photometric": "rgb", "metadata": None, "tile": (96, 96)} | options
        writer.write(array, description=note, **common)
        writer.write(array[::4, ::4], description=note, photometric="rgb", metadata=None)
        writer.write(array[::2, ::2], description=note, **common)
        writer.write(array[:20, :30], description=note, subfiletype=1, photometric="rgb", metadata=None)
    return path


SLIDE = RNG.integers(0, 256, (280, 300, 3), dtype=np.uint8)


@pytest.mark.parametrize("options", [{}, {"compression": "jpeg"}, {"compression": "zlib"}])
def test_an_aperio_slide_is_its_level_of_full_resolution(tmp_path, options):
    path = slide(tmp_path / "a.svs", SLIDE, **options)
    image = open_image(path)
    assert (image.axes, image.shape, image.channel_names) == ("cyx", (3, 280, 300), ("red", "green", "blue"))
    assert image.spacing == Spacing((0.2499, 0.2499), "micrometer") and image.acquisition == {"magnification": 40.0}
    assert sorted(p.kind for p in image.problems) == ["more-images", "personal-data"]
    assert "someone" not in str(image.problems)
    expected = tifffile.imread(path, level=0).transpose(2, 0, 1)
    np.testing.assert_array_equal(image.read(), expected)
    box = (slice(1, 3), slice(90, 200), slice(95, 97))
    np.testing.assert_array_equal(image.read(box), expected[box])


def test_a_slide_needs_the_memory_of_its_tiles(tmp_path):
    """8000 x 8000 RGB is 183 MiB decoded; a box of it takes a small part of that, under a limit smaller than the plane."""
    path = slide(tmp_path / "a.svs", np.zeros((8000, 8000, 3), np.uint8), tile=(256, 256), compression="zlib")
    image = open_image(path, memory_limit=2**23)
    tracemalloc.start()
    image.read((slice(0, 3), slice(5000, 5512), slice(4000, 4512)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23
    assert kind(path, memory_limit=2**23) == "too-large"


def test_an_absent_tile_of_a_slide_is_refused(tmp_path):
    path = slide(tmp_path / "a.svs", SLIDE)
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[0].tags["TileByteCounts"].valueoffset
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"\0" * 8
    path.write_bytes(data)
    assert kind(path, spacing=None) == "truncated"


def hamamatsu(array: np.ndarray) -> bytes:
    """An NDPI of one level: a JPEG with restart markers as the only strip, and links of 64 bits between directories."""
    stream = BytesIO()
    PIL.Image.fromarray(array).save(stream, "JPEG", quality=95, subsampling=0, restart_marker_blocks=4)
    jpeg = stream.getvalue()
    scan = jpeg.index(b"\xff\xda")
    first = scan + 2 + struct.unpack(">H", jpeg[scan + 2 : scan + 4])[0]
    starts = [first] + [i + 2 for i in range(first, len(jpeg) - 1) if jpeg[i] == 0xFF and 0xD0 <= jpeg[i + 1] <= 0xD7]
    length, width = array.shape[:2]
    tables = {"make": b"Hamamatsu\0", "starts": struct.pack(f"<{len(starts)}I", *starts), "dpcm": struct.pack("<II", 40000, 1)}
    tables["bits"] = struct.pack("<HHH", 8, 8, 8)
    at, blob = {}, b""
    for name, data in tables.items():
        at[name] = 12 + len(jpeg) + len(blob)
        blob += data
    entries = [(256, 4, 1, width), (257, 4, 1, length), (258, 3, 3, at["bits"]), (259, 3, 1, 7), (262, 3, 1, 6), (271, 2, 10, at["make"])]
    entries += [(273, 4, 1, 12), (277, 3, 1, 3), (278, 4, 1, length), (279, 4, 1, len(jpeg)), (282, 5, 1, at["dpcm"])]
    entries += [(283, 5, 1, at["dpcm"]), (296, 3, 1, 3), (65420, 4, 1, 1), (65421, 11, 1, struct.unpack("<I", struct.pack("<f", 40))[0])]
    entries += [(65426, 4, len(starts), at["starts"])]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    directory += struct.pack("<Q", 0) + b"\0" * 4 * len(entries)
    return b"II*\0" + struct.pack("<Q", 12 + len(jpeg) + len(blob)) + jpeg + blob + directory


def test_a_hamamatsu_slide(tmp_path):
    array = np.kron(RNG.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    path = tmp_path / "a.ndpi"
    path.write_bytes(hamamatsu(array))
    image = open_image(path)
    assert (image.axes, image.shape, image.spacing) == ("cyx", (3, 48, 64), Spacing((0.25, 0.25), "micrometer"))
    assert image.acquisition == {"magnification": 40.0}
    assert np.abs(image.read().astype(int) - array.transpose(2, 0, 1)).max() <= 4
    box = (slice(0, 3), slice(10, 20), slice(33, 64))
    np.testing.assert_array_equal(image.read(box), image.read()[box])
    for keep in (0.3, 0.9, 0.99):
        path.write_bytes(hamamatsu(array)[: int(keep * len(hamamatsu(array)))])
        assert kind(path) in ("truncated", "corrupt")


def lsm(path, array, size=(0.1e-6, 0.2e-6, 0.5e-6), thumbnails=True):
    """Pages with a CZ_LSMINFO tag on the first, each followed by its thumbnail."""
    z, y, x = array.shape
    info = struct.pack("<Ii8i", 67127628, 500, x, y, z, 1, 1, 2, 4, 4) + struct.pack("<3d", *size) + b"\0" * 436
    with tifffile.TiffWriter(path) as writer:
        for n, plane in enumerate(array):
            writer.write(plane, metadata=None, contiguous=False, extratags=[(34412, 1, len(info), info, True)] if n == 0 else [])
            if thumbnails:
                writer.write(np.zeros((4, 4, 3), np.uint8), metadata=None, contiguous=False, photometric="rgb", subfiletype=1)
    return path


def test_an_lsm_stack_with_thumbnails(tmp_path):
    image = open_image(lsm(tmp_path / "a.lsm", STACK))
    assert (image.axes, image.shape) == ("zyx", (5, 8, 9))
    assert image.spacing.unit == "micrometer" and image.spacing.values == pytest.approx((0.5, 0.2, 0.1))
    np.testing.assert_array_equal(image.read(), STACK)


def test_a_stack_whose_pages_differ(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(STACK[0], description=IMAGEJ.replace("=5\n", "=2\n"), metadata=None, contiguous=False, compression="zlib")
        writer.write(STACK[1, :, :-1], metadata=None, contiguous=False, compression="zlib")
    assert kind(path) == "inconsistent-pages"


def test_plain_pages_that_differ_are_other_images(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in (STACK[0], STACK[1], STACK[2, :, :-1]):
            writer.write(plane, metadata=None, contiguous=False)
    image = open_image(path, spacing=PIXEL)
    assert image.shape == (2, 8, 9)
    assert "more-images" in [p.kind for p in image.problems]


RGB = RNG.integers(0, 60000, (20, 24, 3), dtype=np.uint16)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"tile": (16, 16), "compression": "zlib"}])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_planar_configurations(tmp_path, planar, options):
    stored = RGB if planar == "contig" else RGB.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, metadata=None, **options)
    image = open_image(tmp_path / "a.tif", spacing=PIXEL)
    assert (image.axes, image.channel_names) == ("cyx", ("red", "green", "blue"))
    np.testing.assert_array_equal(image.read(), RGB.transpose(2, 0, 1))
    box = (slice(1, 2), slice(3, 19), slice(15, 18))
    np.testing.assert_array_equal(image.read(box), RGB.transpose(2, 0, 1)[box])


@pytest.mark.parametrize("mode", ["1", "P"])
def test_one_bit_and_palettes(tmp_path, mode):
    array = RNG.integers(0, 2, (9, 13), dtype=np.uint8)
    picture = PIL.Image.fromarray(array * 255).convert("1") if mode == "1" else PIL.Image.fromarray(array)
    if mode == "P":
        picture.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    picture.save(tmp_path / "a.tif", compression="group4" if mode == "1" else None)
    image = open_image(tmp_path / "a.tif", spacing=PIXEL)
    np.testing.assert_array_equal(image.read(), array)
    assert image.dtype == np.uint8
    assert [p.kind for p in image.problems] == ([] if mode == "1" else ["palette"])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": 3}])
def test_half_precision(tmp_path, options):
    array = RNG.normal(size=(9, 13)).astype(np.float16)
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    image = open_image(tmp_path / "a.tif", spacing=PIXEL)
    np.testing.assert_array_equal(image.read(), array.astype(np.float32))
    assert image.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_pixels(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 5), dtype))
    assert kind(tmp_path / "a.tif") == "complex"


def test_inks_are_not_called_red_green_blue(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 24, 4), np.uint8), photometric="separated")
    assert open_image(tmp_path / "a.tif", spacing=PIXEL).channel_names == ("cyan", "magenta", "yellow", "black")


def test_names_of_persons_in_tags_are_noted_without_their_contents(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], extratags=[(315, 2, 0, "Ada Lovelace", True)])
    (note,) = open_image(tmp_path / "a.tif", spacing=PIXEL).problems
    assert note.kind == "personal-data" and "Artist" in note.message and "Ada" not in note.message
