"""What is particular to ND2: frames that the library gives as zeros when they are not there."""

import builtins

import numpy as np
import pytest
from nd2_files import write_nd2

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

pytest.importorskip("nd2")
PIXEL = Spacing((1.0,), "pixel")
FRAMES = np.random.default_rng(5).integers(0, 4000, (6, 20, 30, 2), dtype=np.uint16)  # t times z, y, x, c
LOOPS = [("t", 2), ("z", 3)]


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL, **options).read()
    return [p.kind for p in caught.value.problems]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nd2"


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"pad": 4}, {"version": 2}])
@pytest.mark.parametrize("loops", [LOOPS, LOOPS[::-1]])
def test_the_files_written_here_are_such_files_to_the_library(path, options, loops):
    import nd2

    write_nd2(path, FRAMES, loops, calibration=0.1, z_step=0.5, **options)
    with nd2.ND2File(path) as theirs:
        expected, dims = theirs.asarray(), "".join(theirs.sizes).lower()
        assert list(theirs.sizes.values())[:2] == [n for _, n in loops]
        assert tuple(theirs.voxel_size()) == (0.1, 0.1, 0.5)
    image = open_image(path)
    np.testing.assert_array_equal(image.read(), expected.transpose([dims.index(a) for a in "tczyx"]))
    assert image.spacing == Spacing((0.5, 0.1, 0.1), "micrometer")


def test_frames_that_are_not_there(path):
    write_nd2(path, FRAMES, LOOPS, without=[4])
    assert kinds(path) == ["plane-missing"]
    with pytest.raises(InputError, match=r"the first that lacks is number 4"):
        open_image(path)
    write_nd2(path, FRAMES, [("t", 3), ("z", 3)])
    assert kinds(path) == ["plane-missing"]
    write_nd2(path, FRAMES, [("t", 2)])  # more frames than the loops know
    assert kinds(path) == ["plane-missing"]
    write_nd2(path, FRAMES, [("t", 4_000_000_000), ("z", 4_000_000_000)])
    assert kinds(path) == ["plane-missing"]


def test_a_file_that_ends_early_or_a_map_that_leads_elsewhere(path):
    write_nd2(path, FRAMES, LOOPS)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert kinds(path) == ["truncated"]
    path.write_bytes(data[:-8] + (len(data) + 5).to_bytes(8, "little"))
    assert kinds(path) == ["truncated"]
    path.write_bytes(data[:-8] + (4096).to_bytes(8, "little"))
    assert kinds(path) == ["corrupt"]
    for place, refused in ((len(data) + 99, "truncated"), (40, "corrupt"), (1 << 60, "truncated")):
        write_nd2(path, FRAMES, LOOPS, change=lambda places, p=place: places.update({b"ImageDataSeq|3!": (p, 5)}))
        assert kinds(path) == [refused]
    write_nd2(path, FRAMES, LOOPS, attributes={"uiHeight": 21})
    assert kinds(path) == ["truncated"]
    write_nd2(path, FRAMES, LOOPS, attributes={"uiHeight": 4_000_000_000})
    assert kinds(path)[0] in ("too-large", "truncated")


def test_a_lossless_frame_that_is_damaged(path):
    write_nd2(path, FRAMES, LOOPS, compress=True)
    data = bytearray(path.read_bytes())
    frame = data.index(b"ImageDataSeq|0!") + 4072 + 8
    data[frame + 200] ^= 1
    path.write_bytes(data)
    assert kinds(path) == ["corrupt"]
    write_nd2(path, FRAMES, LOOPS, compress=True)
    data = bytearray(path.read_bytes())
    header = data.index(b"ImageDataSeq|0!") - 16
    size = int.from_bytes(data[header + 8 : header + 16], "little")
    data[header + 8 : header + 16] = (size - 2).to_bytes(8, "little")  # all pixels, and half of their checksum
    path.write_bytes(data)
    assert kinds(path) == ["corrupt"]


def test_several_positions_and_other_axes(path):
    write_nd2(path, FRAMES, [("p", 2), ("z", 3)])
    assert kinds(path) == ["several-images"]
    with pytest.raises(InputError, match="2 positions"):
        open_image(path)
    write_nd2(path, FRAMES, [("k", 2), ("z", 3)])
    assert kinds(path) == ["axes"]
    write_nd2(path, FRAMES, [("p", 1), ("z", 6)])
    assert open_image(path, spacing=PIXEL).axes == "czyx"


def test_pixels_that_are_not_read(path):
    write_nd2(path, FRAMES[..., [0, 0, 0]], LOOPS, samples=3)
    assert kinds(path) == ["colour-order"]
    write_nd2(path, FRAMES, LOOPS, attributes={"eCompression": 1})
    assert kinds(path) == ["compression"]
    write_nd2(path, FRAMES, LOOPS, attributes={"uiBpcInMemory": 64})
    assert kinds(path) == ["dtype"]
    write_nd2(path, FRAMES, LOOPS, attributes={"uiWidthBytes": 3})
    assert kinds(path) == ["corrupt"]


def test_what_the_header_says_of_the_picture(path):
    write_nd2(path, FRAMES, LOOPS, calibration=0.1, z_step=0.5, period_ms=2500.0, names=("DAPI", "GFP"), author="Erika Muster")
    image = open_image(path)
    assert image.acquisition == {
        "significant_bits": 16, "time_step_s": 2.5, "magnification": 60.0, "numerical_aperture": 1.4, "refractive_index": 1.515,
        "excitation_nm": [488.0, 489.0], "emission_nm": [520.0, 521.0],
    }  # fmt: skip
    assert [(c.name, c.wavelength_nm) for c in image.channels] == [("DAPI", 520.0), ("GFP", 521.0)]
    assert [p.kind for p in image.problems] == ["personal-data"]
    assert "author" in image.problems[0].message and "Erika" not in str(image)


def test_a_size_that_is_not_calibrated_is_asked_for(path):
    for metadata in ({}, {"bCalibrated": True, "dCalibration": 0.0}, {"bCalibrated": False, "dCalibration": 1.0}):
        write_nd2(path, FRAMES, LOOPS, z_step=0.5, metadata=metadata)
        with pytest.raises(InputError, match="unknown-spacing"):
            open_image(path)
    write_nd2(path, FRAMES, LOOPS, calibration=0.1)  # planes of a stack, at no known distance
    with pytest.raises(InputError, match=r"does not say it for z"):
        open_image(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_xml_with_entities(path, encoding):
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><variant>&b;</variant>'.encode(encoding)
    write_nd2(path, FRAMES, LOOPS, extra={b"ImageEvents!": bomb})
    assert kinds(path) == ["xml-entities"]


def test_without_the_library_the_extra_is_named(path, monkeypatch):
    write_nd2(path, FRAMES, LOOPS)
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name == "nd2":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"pip install 'sciimg\[nd2\]'"):
        open_image(path)
