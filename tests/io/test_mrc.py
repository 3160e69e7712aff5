"""What is particular to MRC: byte order by machine stamp, modes, and extended headers."""

import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

mrcfile = pytest.importorskip("mrcfile")
ARRAY = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)


def write(path, array=ARRAY, voxel=10.0, extended=None, kind=b"", **header):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.voxel_size = voxel
        if extended is not None:
            file.set_extended_header(extended)
            file.header.exttyp = kind
        for name, value in header.items():
            file.header[name] = value
    return path


def kinds(path):
    with pytest.raises(InputError) as caught:
        open_image(path).read()
    return [p.kind for p in caught.value.problems]


def fei(pixel_m=2e-10):
    record = np.zeros(1, mrcfile.dtypes.get_ext_header_dtype(b"FEI1", "<"))
    record["Metadata size"] = record.itemsize
    record["Pixel size X"] = record["Pixel size Y"] = pixel_m
    for name, value in (("HT", 3e5), ("Dose", 1e20), ("Defocus", -2e-6), ("Magnification", 5e4), ("Integration time", 1.5),
                        ("Alpha tilt", 12.0)):  # fmt: skip
        record[name] = value
    return record


def test_an_extended_header_of_fei_gives_what_the_header_does_not(tmp_path):
    path = write(tmp_path / "a.mrc", ARRAY[0], 0.0, fei(), b"FEI1")
    image = open_image(path)
    assert image.spacing.values == pytest.approx((0.2, 0.2))
    assert image.spacing.unit == "nanometer"
    assert image.acquisition == {
        "acceleration_voltage_v": 3e5, "dose_per_m2": 1e20, "defocus_m": -2e-6, "magnification": 5e4, "exposure_s": 1.5,
        "alpha_tilt_deg": 12.0,
    }  # fmt: skip
    np.testing.assert_array_equal(image.read(), ARRAY[0])


def test_two_pixel_sizes_that_disagree(tmp_path):
    path = write(tmp_path / "a.mrc", ARRAY[0], 10.0, fei(), b"FEI1")
    assert kinds(path) == ["spacing-contradiction"]
    assert open_image(path, spacing=Spacing((0.2,), "nanometer"), override=True).spacing.values == (0.2, 0.2)


def test_a_wrong_machine_stamp_is_noticed(tmp_path):
    path = write(tmp_path / "a.mrc", machst=[0x11, 0x11, 0, 0])
    image = open_image(path)
    assert "machine-stamp" in [p.kind for p in image.problems]
    np.testing.assert_array_equal(image.read(), ARRAY)


@pytest.mark.parametrize(("mode", "kind"), [(3, "complex"), (4, "complex"), (101, "dtype"), (7, "dtype")])
def test_modes_that_are_refused(tmp_path, mode, kind):
    assert kinds(write(tmp_path / "a.mrc", mode=mode)) == [kind]


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("absurd-size", {"nx": 2_000_000_000, "ny": 2_000_000_000}),
        ("truncated", {"nz": 5}),
        ("corrupt", {"nx": 0}),
        ("corrupt", {"nsymbt": -4}),
        ("corrupt", {"mapc": 9}),
        ("axes", {"ispg": 401, "mz": 3}),
        ("unknown-spacing", {"mx": 0}),
    ],
)
def test_headers_that_lie(tmp_path, kind, header):
    assert kinds(write(tmp_path / "a.mrc", **header)) == [kind]


def test_bytes_of_imod_are_unsigned_unless_it_says_so(tmp_path):
    path = write(tmp_path / "a.mrc", ARRAY.astype(np.int8))
    data = bytearray(path.read_bytes())
    data[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    path.write_bytes(data)
    assert open_image(path).dtype == np.uint8
    data[156] = 1
    path.write_bytes(data)
    np.testing.assert_array_equal(open_image(path).read(), ARRAY.astype(np.int8))


def test_columns_need_not_run_along_x(tmp_path):
    path = write(tmp_path / "a.map", voxel=(10.0, 20.0, 30.0), mapc=3, mapr=2, maps=1, mx=4, my=5, mz=6, cella=(40.0, 100.0, 180.0))
    image = open_image(path)
    assert image.spacing.values == pytest.approx((1.0, 2.0, 3.0))
    assert image.acquisition["cell_axes"] == "ZYX"


def test_what_looks_like_a_default_is_noted(tmp_path):
    assert "default-spacing" in [p.kind for p in open_image(write(tmp_path / "a.mrc", voxel=1.0)).problems]
    slanted = write(tmp_path / "a.mrc", cellb=(90.0, 90.0, 120.0))
    assert [p.kind for p in open_image(slanted).problems] == ["not-orthogonal"]


@pytest.mark.parametrize("packing", ["gzip", "bzip2"])
def test_damage_in_a_packed_map_is_noticed(tmp_path, packing):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, compression=packing) as file:
        file.set_data(np.random.default_rng(0).normal(size=(8, 64, 64)).astype(np.float32))
        file.voxel_size = 10.0
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    assert kinds(path) == ["corrupt" if packing == "gzip" else kinds(path)[0]]
    path.write_bytes(data[:-20])
    assert kinds(path)[0] in ("truncated", "corrupt", "unknown-format")
