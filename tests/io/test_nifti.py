"""What is particular to NIfTI: affines, units, scaling, damage behind an intact header. The oracle is nibabel."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

VOLUME = np.random.default_rng(1).integers(0, 500, (6, 5, 4), dtype=np.int16)


def save(path, array=VOLUME, affine=None, **header):
    image = nibabel.Nifti1Image(array, np.diag([0.5, 0.7, 2.0, 1.0]) if affine is None else affine)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    if header:
        data = bytearray(path.read_bytes())
        raw = np.frombuffer(data, image.header.template_dtype, 1)
        for key, value in header.items():
            raw[key] = value
        path.write_bytes(raw.tobytes() + bytes(data[348:]))
    return path


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, **options).read()
    return [p.kind for p in caught.value.problems]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_world_coordinates_agree_with_nibabel(tmp_path_factory, seed):
    """A voxel of the array zyx lies where nibabel says that the voxel (x, y, z) lies."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * rng.uniform(0.3, 3, 3)
    affine[:3, 3] = rng.normal(0, 50, 3)
    path = save(tmp_path_factory.mktemp("affine") / "a.nii", affine=affine)
    ours, theirs = open_image(path), nibabel.load(path)
    x, y, z = (int(rng.integers(0, n)) for n in VOLUME.shape)
    assert ours.read()[z, y, x] == theirs.dataobj[x, y, z]
    np.testing.assert_allclose(ours.affine @ [x, y, z, 1], theirs.affine @ [x, y, z, 1], atol=1e-4)
    np.testing.assert_allclose(ours.spacing.values[::-1], theirs.header.get_zooms(), rtol=1e-5)


def test_the_quaternion_counts_where_there_is_no_sform(tmp_path):
    path = save(tmp_path / "a.nii", affine=np.diag([-0.5, 0.7, 2.0, 1.0]), sform_code=0, qform_code=1)
    np.testing.assert_allclose(open_image(path).affine, nibabel.load(path).affine, atol=1e-5)


def test_micrometres_stay_micrometres_and_the_affine_is_in_mm(tmp_path):
    path = save(tmp_path / "a.nii", xyzt_units=3)
    image = open_image(path)
    assert image.spacing == Spacing((2.0, 0.7, 0.5), "micrometer")
    np.testing.assert_allclose(np.diag(image.affine)[:3], [5e-4, 7e-4, 2e-3])


@pytest.mark.parametrize("row", [{"srow_x": 0, "srow_y": 0, "srow_z": 0}, {"srow_y": 0}, {"srow_x": [1, 1, 0, 0], "srow_y": [2, 2, 0, 0]}])
def test_a_singular_affine(tmp_path, row):
    assert kinds(save(tmp_path / "a.nii", **row)) == ["singular-affine"]


def test_an_affine_that_is_not_finite(tmp_path):
    assert kinds(save(tmp_path / "a.nii", srow_x=np.nan)) == ["singular-affine"]


def test_pixdim_and_affine_must_agree(tmp_path):
    path = save(tmp_path / "a.nii", pixdim=[1, 1, 1, 1, 0, 0, 0, 0])
    assert kinds(path) == ["spacing-contradiction"]
    assert open_image(path, spacing=Spacing((3.0,), "millimeter"), override=True).spacing.values == (3.0, 3.0, 3.0)


def test_nothing_is_known_without_unit_and_orientation(tmp_path):
    path = save(tmp_path / "a.nii", xyzt_units=0, sform_code=0, qform_code=0)
    assert kinds(path) == ["unknown-spacing"]
    assert open_image(path, spacing=Spacing((1.0,), "millimeter")).affine is None


def test_complex_voxels(tmp_path):
    assert kinds(save(tmp_path / "a.nii", VOLUME.astype(np.complex64))) == ["complex"]


def test_nan_is_refused(tmp_path):
    assert kinds(save(tmp_path / "a.nii.gz", np.full((3, 3, 3), np.nan, np.float32))) == ["not-finite"]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_declares_more_than_there_is(tmp_path, name):
    plain = save(tmp_path / "plain.nii")
    data = bytearray(plain.read_bytes())
    data[42:44] = np.array(30000, "<i2").tobytes()  # x
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert kinds(tmp_path / name)[0] in ("absurd-size", "truncated")


def test_half_of_a_pair(tmp_path):
    assert kinds(save(tmp_path / "a.nii", magic=b"ni1")) == ["header-only"]


def test_time_can_be_called_channels(tmp_path):
    path = save(tmp_path / "a.nii", np.stack([VOLUME, VOLUME + 1], -1), pixdim=[1, 0.5, 0.7, 2, 1.5, 0, 0, 0])
    assert open_image(path).axes == "tzyx"
    assert open_image(path).acquisition == {"time_step_s": 1.5}
    image = open_image(path, axes="czyx")
    assert (image.axes, image.shape) == ("czyx", (2, 4, 5, 6))


def test_files_of_nibabel_itself():
    folder = Path(nibabel.__path__[0]) / "tests/data"
    for name in ("anatomical.nii", "functional.nii", "example4d.nii.gz", "example_nifti2.nii.gz"):
        path = folder / name
        if not path.exists():
            pytest.skip("nibabel was installed without its test data")
        theirs = nibabel.load(path)
        image = open_image(path)
        np.testing.assert_allclose(image.read(), np.asarray(theirs.dataobj).T, rtol=1e-6)
        np.testing.assert_allclose(image.affine, theirs.affine, atol=1e-4)
