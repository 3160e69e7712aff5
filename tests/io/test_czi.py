"""What is particular to CZI: tiles that may be absent, and a directory that may say something else than the tiles."""

import struct

import imagecodecs
import numpy as np
import pytest
from czi_files import JPEG_XR, ZSTD, ZSTD_HEADED, Tile, described, planes, write_czi

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
VOLUME = np.random.default_rng(5).integers(0, 4000, (2, 3, 4, 20, 30), dtype=np.uint16)  # t, c, z, y, x
SIZES = {"z": 5e-7, "y": 2e-7, "x": 1e-7}


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL, **options).read()
    return [p.kind for p in caught.value.problems]


def said(path):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL).read()
    return caught.value.problems[0].message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.czi"


@pytest.mark.parametrize("compression", [0, JPEG_XR])
@pytest.mark.parametrize("colour", [False, True])
def test_the_files_written_here_are_such_files_to_another_program(path, compression, colour):
    czifile = pytest.importorskip("czifile")
    array = VOLUME[0, 0, :3].transpose(1, 2, 0) if colour else VOLUME
    write_czi(path, planes(array, "yx" if colour else "tczyx", compression), described(SIZES))
    with czifile.CziFile(path) as theirs:
        np.testing.assert_array_equal(theirs.asarray().squeeze(), array)


def test_planes_that_are_not_there(path):
    tiles = planes(VOLUME, "tczyx")
    write_czi(path, [tile for tile in tiles if tile.at != {"T": 1, "C": 2, "Z": 1}], described(SIZES))
    assert kinds(path) == ["plane-missing"]
    assert "t=1, c=2, z=1" in said(path)
    write_czi(path, [tile for tile in tiles if tile.at["T"] < 1], described(SIZES, T=2))  # the recording was stopped
    assert kinds(path) == ["plane-missing"]
    assert "24 planes" in said(path) and "12 are not" in said(path)
    write_czi(path, [*tiles, tiles[3]], described(SIZES))
    assert kinds(path) == ["plane-twice"]


def test_a_mosaic_with_a_hole(path):
    def tile(y, x, c=0):
        return Tile(np.full((10, 10), c + 1, np.uint16), {"C": c, "M": y + x, "Y": y, "X": x})

    write_czi(path, [tile(0, 0), tile(0, 9), tile(9, 0)])
    assert kinds(path) == ["hole"]
    assert "y=10, x=10" in said(path)
    write_czi(path, [tile(0, 0), tile(0, 20)])
    assert "y=0, x=10" in said(path)
    write_czi(path, [tile(0, 0), tile(0, 10), tile(0, 0, 1)])  # a channel that covers less than the other
    assert "c=1, z=0, y=0, x=10" in said(path)
    write_czi(path, [tile(0, 0), tile(0, 9), tile(9, 0), tile(9, 9)])
    assert open_image(path, spacing=PIXEL).read().all()


def test_later_tiles_lie_on_top(path):
    one, two = np.full((8, 8), 1, np.uint8), np.full((8, 8), 2, np.uint8)
    write_czi(path, [Tile(two, {"M": 1, "X": 4}), Tile(one, {"M": 0})])
    image = open_image(path, spacing=PIXEL)
    np.testing.assert_array_equal(image.read()[0], [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
    assert [p.kind for p in image.problems] == ["mosaic"]


def test_several_scenes_and_other_axes(path):
    write_czi(path, [Tile(VOLUME[0, 0, 0], {"S": s, "X": 100 * s}) for s in range(2)])
    assert kinds(path) == ["several-images"]
    assert "2 scenes (0, 1)" in said(path)
    write_czi(path, [Tile(VOLUME[0, 0, 0], {"S": 3})])
    np.testing.assert_array_equal(open_image(path, spacing=PIXEL).read(), VOLUME[0, 0, 0])
    for axis, name in (("H", "phase"), ("R", "rotation"), ("V", "view"), ("I", "illumination"), ("B", "block")):
        write_czi(path, [Tile(VOLUME[0, 0, i], {axis: i}) for i in range(2)])
        assert kinds(path) == ["axes"]
        assert f"{name} (2)" in said(path)


def test_pixels_that_are_not_read(path):
    plane = VOLUME[0, 0, 0]
    for kind, refused in ((10, "complex"), (11, "complex"), (12, "dtype"), (99, "dtype")):
        write_czi(path, [Tile(plane, kind=kind)])
        assert kinds(path) == [refused]
    write_czi(path, [Tile(plane), Tile(plane.astype(np.uint8), {"C": 1})])
    assert kinds(path) == ["dtype"]
    write_czi(path, [Tile(plane, compression=1)])
    assert kinds(path) == ["compression"]
    colours = np.stack([plane] * 3, -1)
    write_czi(path, [Tile(colours, {"C": c}) for c in range(2)])
    assert kinds(path) == ["axes"]
    write_czi(path, [Tile(plane, stored=(40, 60))])
    assert kinds(path) == ["no-image"]
    write_czi(path, [])
    assert kinds(path) == ["no-image"]


@pytest.mark.parametrize(("kind", "dtype", "names"), [(8, "f4", "red green blue"), (9, "u1", "red green blue alpha")])
def test_rare_colours(path, kind, dtype, names):
    pixels = np.moveaxis(VOLUME[0, 0, : len(names.split())], 0, -1).astype(dtype)
    write_czi(path, [Tile(pixels, kind=kind)])
    image = open_image(path, spacing=PIXEL)
    np.testing.assert_array_equal(image.read(), np.moveaxis(pixels, -1, 0))
    assert image.channel_names == tuple(names.split())


def test_a_file_that_ends_early_or_never_ended(path):
    write_czi(path, planes(VOLUME, "tczyx"), described(SIZES))
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    assert kinds(path) == ["truncated"]
    path.write_bytes(data[:3000])
    assert kinds(path) == ["truncated"]
    path.write_bytes(data[:84] + bytes(8) + data[92:])  # the place of the directory
    assert kinds(path) == ["truncated"]
    write_czi(path, planes(VOLUME, "tczyx"), described(SIZES), pending=1)
    assert [p.kind for p in open_image(path).problems] == ["not-closed"]
    write_czi(path, planes(VOLUME, "tczyx"), described(SIZES), part=2)
    assert kinds(path) == ["several-files"]


def test_a_tile_that_contradicts_the_directory(path):
    write_czi(path, [Tile(VOLUME[0, 0, 0])])
    sound = path.read_bytes()
    tile = sound.index(b"ZISRAWSUBBLOCK")

    def changed(at, new):
        path.write_bytes(sound[:at] + new + sound[at + len(new) :])
        return kinds(path)

    entry = tile + 48
    assert changed(entry + 2, struct.pack("<i", 0)) == ["corrupt"]  # pixel type
    assert changed(entry + 32 + 8, struct.pack("<i", 15)) == ["corrupt"]  # width
    assert changed(tile + 40, struct.pack("<q", 100)) == ["truncated"]  # bytes of pixels
    assert changed(tile + 40, struct.pack("<q", 1 << 50)) == ["truncated"]
    write_czi(path, [Tile(VOLUME[0, 0, 0]), Tile(VOLUME[0, 1, 0], {"C": 1})])
    two = path.read_bytes()
    places = [i - 8 for i in range(len(two)) if two.startswith(b"DV", i)]  # two entries in tiles, two in the directory
    path.write_bytes(two[: places[3] + 14] + two[places[2] + 14 : places[2] + 22] + two[places[3] + 22 :])
    assert kinds(path) == ["corrupt"]
    assert "share one" in said(path)
    assert changed(tile, b"DELETED\0\0\0\0\0\0\0") == ["corrupt"]


def test_sizes_that_no_file_can_hold(path):
    write_czi(path, [Tile(VOLUME[0, 0, 0], {"X": x}) for x in (0, 2_000_000_000)])
    assert kinds(path) == ["absurd-size"]
    write_czi(path, [Tile(VOLUME[0, 0, 0], {"Z": z, "T": z}) for z in (0, 100_000)])
    assert kinds(path) in (["absurd-size"], ["plane-missing"])
    write_czi(path, planes(VOLUME, "tczyx", ZSTD))
    assert kinds(path, memory_limit=1000) == ["too-large"]


def test_streams_that_hold_something_else(path):
    for compression in (ZSTD, ZSTD_HEADED, JPEG_XR):
        write_czi(path, [Tile(VOLUME[0, 0, 0], compression=compression)])
        data = bytearray(path.read_bytes())
        start = data.index(b"ZISRAWSUBBLOCK") + 32 + 256
        data[start : start + 8] = b"\xff" * 8
        path.write_bytes(data)
        assert kinds(path) == ["corrupt"]

    class Longer(Tile):
        def encoded(self):
            return imagecodecs.zstd_encode(self.pixels.tobytes() * 3)

    class Wider(Tile):
        def encoded(self):
            return imagecodecs.jpegxr_encode(np.zeros((21, 31), np.uint16), level=1.0)

    for tile in (Longer(VOLUME[0, 0, 0], compression=ZSTD), Wider(VOLUME[0, 0, 0], compression=JPEG_XR)):
        write_czi(path, [tile])
        assert kinds(path) == ["corrupt"]


def test_what_the_header_says_of_the_picture(path):
    objective = (
        '<User><DisplayName>Erika Muster</DisplayName></User><Instrument><Objectives><Objective Id="Objective:1"><LensNA>1.4</LensNA>'
        "<NominalMagnification>63</NominalMagnification><Immersion>Oil</Immersion></Objective></Objectives></Instrument>"
    )
    write_czi(path, planes(VOLUME, "tczyx"), described(SIZES, ("a", "b", "c"), objective, C=3, Z=4, T=2))
    image = open_image(path)
    assert image.acquisition == {"magnification": 63.0, "numerical_aperture": 1.4, "immersion": "Oil"}
    assert image.channel_names == ("a", "b", "c")
    assert [p.kind for p in image.problems] == ["personal-data"]
    assert "DisplayName" in image.problems[0].message and "Erika" not in str(image)


def test_xml_with_entities(path):
    write_czi(path, [Tile(VOLUME[0, 0, 0])], '<!DOCTYPE a [<!ENTITY b "c">]><ImageDocument>&b;</ImageDocument>')
    assert kinds(path) == ["xml-entities"]
