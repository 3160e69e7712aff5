"""What is particular to NRRD: what a dimension is, spaces other than RAS, and data beside the header."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

ARRAY = np.arange(24, dtype="<i2").reshape(2, 3, 4)
BYTES = ARRAY.tobytes()
HEADER = {
    "type": "short", "dimension": "3", "sizes": "4 3 2", "endian": "little", "encoding": "raw",
    "space": "left-posterior-superior", "space directions": "(1,0,0) (0,2,0) (0,0,3)", "space origin": "(10,20,30)",
    "space units": '"mm" "mm" "mm"',
}  # fmt: skip
PLAIN = dict.fromkeys(("space", "space directions", "space origin", "space units"))


def write(folder, content=BYTES, name="a.nrrd", **changes):
    fields = {k: v for k, v in (HEADER | {k.replace("_", " "): v for k, v in changes.items()}).items() if v is not None}
    text = "NRRD0005\n# a comment\n" + "".join(f"{k}: {v}\n" for k, v in fields.items()) + "patient:=Nobody\n\n"
    (folder / name).write_bytes(text.encode() + content)
    return folder / name


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, **options).read()
    return [p.kind for p in caught.value.problems]


@pytest.mark.parametrize(
    ("space", "signs"),
    [("left-posterior-superior", (-1, -1)), ("LPS", (-1, -1)), ("RAS", (1, 1)), ("left-anterior-superior", (-1, 1))],
)
def test_spaces_are_turned_to_ras(tmp_path, space, signs):
    image = open_image(write(tmp_path, space=space))
    x, y = signs
    np.testing.assert_allclose(image.affine, [[x, 0, 0, 10 * x], [0, 2 * y, 0, 20 * y], [0, 0, 3, 30], [0, 0, 0, 1]])
    assert image.problems == ()
    assert "Nobody" not in str(image.acquisition)


def test_lengths_in_micrometres(tmp_path):
    image = open_image(write(tmp_path, space_units='"um" "um" "um"'))
    assert image.spacing == Spacing((3.0, 2.0, 1.0), "micrometer")
    np.testing.assert_allclose(np.diag(image.affine), [-0.001, -0.002, 0.003, 1])


def test_a_space_that_is_no_patient_needs_a_unit(tmp_path):
    assert kinds(write(tmp_path, space="3D-right-handed", space_units=None)) == ["unknown-spacing"]
    image = open_image(write(tmp_path, space="3D-right-handed"))
    assert image.affine is None
    assert image.spacing == Spacing((3.0, 2.0, 1.0), "millimeter")


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("singular-affine", {"space_directions": "(1,0,0) (2,0,0) (0,0,3)"}),
        ("absurd-size", {"sizes": "400000 300000 200000"}),
        ("truncated", {"sizes": "4 3 3"}),
        ("truncated", {"type": None}),
        ("corrupt", {"sizes": "4 3"}),
        ("corrupt", {"endian": None}),
        ("corrupt", {"space_directions": "(1,0,0) (0,2,0)"}),
        ("dtype", {"type": "block"}),
        ("encoding", {"encoding": "hex"}),
        ("complex", {"kinds": "complex domain domain"}),
        ("unknown-axes", {"kinds": "??? domain domain", "space_directions": "none (0,2,0) (0,0,3)"}),
        ("path-escape", {"data_file": "../a.raw"}),
        ("path-escape", {"data_file": "/a.raw"}),
        ("data-file-missing", {"data_file": "gone.raw"}),
        ("several-data-files", {"data_file": "LIST"}),
        ("several-data-files", {"data_file": "s%02d.raw 1 2 1"}),
        ("unknown-spacing", PLAIN | {"spacings": "1 1 2"}),
        ("spacing", PLAIN),
    ],
)
def test_refusals(tmp_path, expected, changes):
    found = kinds(write(tmp_path, **changes))
    assert found == ["unknown-spacing" if expected == "spacing" else expected]


def test_four_dimensions_need_kinds_or_axes(tmp_path):
    path = write(tmp_path, **PLAIN, dimension="4", sizes="4 3 2 1", spacings="1 1 1 1", units='"um" "um" "um" "s"')
    assert kinds(path) == ["unknown-axes"]
    assert open_image(path, axes="tzyx").shape == (1, 2, 3, 4)


def test_gzip_checksums_count(tmp_path):
    packed = bytearray(gzip.compress(ARRAY.tobytes()))
    np.testing.assert_array_equal(open_image(write(tmp_path, bytes(packed), encoding="gzip")).read(), ARRAY)
    packed[-6] ^= 1
    assert kinds(write(tmp_path, bytes(packed), encoding="gzip")) == ["corrupt"]
    assert kinds(write(tmp_path, gzip.compress(ARRAY.tobytes() + bytes(5)), encoding="gzip")) == ["size-mismatch"]


def test_skips(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"one\ntwo\n12345" + ARRAY.tobytes())
    for skips in ({"line_skip": "2", "byte_skip": "5"}, {"byte_skip": "-1"}):
        np.testing.assert_array_equal(open_image(write(tmp_path, b"", "a.nhdr", data_file="a.raw", **skips)).read(), ARRAY)


def test_one_plane_in_space(tmp_path):
    image = open_image(write(tmp_path, dimension="2", sizes="4 6", space_directions="(0,1,0) (0,0,2)"))
    assert (image.axes, image.spacing) == ("yx", Spacing((2.0, 1.0), "millimeter"))
    np.testing.assert_allclose(image.affine[:3, :3], [[0, 0, -1], [-1, 0, 0], [0, 2, 0]])


def test_diffusion(tmp_path):
    path = write(tmp_path, dimension="4", sizes="4 3 1 2", space_directions="(1,0,0) (0,2,0) (0,0,3) none",
                 kinds="domain domain domain list")  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b"patient:=Nobody", b"DWMRI_b-value:=800"))
    image = open_image(path)
    assert (image.axes, image.shape) == ("czyx", (2, 1, 3, 4))
    assert image.acquisition == {"DiffusionBValue": 800.0}


def test_what_was_read_of_a_raw_file_does_not_stay_in_memory(tmp_path):
    """A file of holes, larger than what may stay; pages of a mapping count as the process's own, so a mapping must not be kept."""

    def mapped_mb() -> int:
        return int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile")).split()[1]) >> 10

    path = tmp_path / "a.nrrd"
    header = b"NRRD0005\ntype: uint16\ndimension: 3\nsizes: 1024 1024 128\nspacings: 1 1 1\nendian: little\nencoding: raw\n\n"
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + 128 * 1024 * 1024 * 2)
    image = open_image(path, spacing=Spacing((1.0,), "pixel"))
    assert image.parallel
    out, before = np.empty((8, 1024, 1024), np.uint16), mapped_mb()
    for z in range(0, 128, 8):
        image.fill((slice(z, z + 8), slice(0, 1024), slice(0, 1024)), out)
    assert mapped_mb() - before < 64
