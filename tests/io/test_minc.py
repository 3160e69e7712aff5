"""What is particular to MINC: two containers, and voxels that were never written."""

import builtins
from pathlib import Path

import nibabel
import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

EXAMPLES = Path(nibabel.__file__).parent / "tests/data"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="this nibabel ships no example files")
PIXEL = Spacing((1.0,), "pixel")


def kinds(path):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL).read()
    return [p.kind for p in caught.value.problems]


@pytest.mark.parametrize("name", ["tiny", "minc1_1_scale", "minc1_4d", "minc2_1_scale", "minc2_4d", "minc2-4d-d", "minc2_baddim", "small"])
@pytest.mark.filterwarnings("ignore:Invalid spacing declaration")
def test_every_example_agrees_with_nibabel(name):
    if name.startswith(("minc2", "small")):
        pytest.importorskip("h5py")
    theirs, ours = nibabel.load(EXAMPLES / f"{name}.mnc"), open_image(EXAMPLES / f"{name}.mnc", spacing=PIXEL)
    np.testing.assert_allclose(ours.read(), np.asarray(theirs.dataobj), rtol=1e-6)
    np.testing.assert_allclose(ours.affine[:, [2, 1, 0, 3]], theirs.affine)  # theirs maps z, y, x
    assert ours.spacing.values == pytest.approx(theirs.header.get_zooms()[-3:])
    assert ours.spacing.unit == "millimeter"


@pytest.mark.parametrize("name", ["minc1-no-att", "minc2-no-att"])
def test_steps_that_are_not_stated_are_asked_for(name):
    if name.startswith("minc2"):
        pytest.importorskip("h5py")
    with pytest.raises(InputError, match="unknown-spacing"):
        open_image(EXAMPLES / f"{name}.mnc")
    assert open_image(EXAMPLES / f"{name}.mnc", spacing=PIXEL).affine is None


def written(path, change):
    h5py = pytest.importorskip("h5py")
    path.write_bytes((EXAMPLES / "small.mnc").read_bytes())
    with h5py.File(path, "r+") as file:
        change(h5py, file)
    return path


def test_voxels_that_were_never_written(tmp_path):
    def empty(h5py, file):
        image = file["minc-2.0/image/0/image"]
        attributes, shape = dict(image.attrs), image.shape
        del file["minc-2.0/image/0/image"]
        image = file["minc-2.0/image/0"].create_dataset("image", shape, "u1", chunks=(1, *shape[1:]))
        image[1:] = 1
        image.attrs.update({k: v for k, v in attributes.items() if k in ("dimorder", "valid_range")})

    assert kinds(written(tmp_path / "a.mnc", empty)) == ["missing-chunks"]


def test_voxels_in_another_file(tmp_path):
    def link(h5py, file):
        del file["minc-2.0/image/0/image"]
        file["minc-2.0/image/0/image"] = h5py.ExternalLink("/etc/other.mnc", "minc-2.0/image/0/image")

    assert kinds(written(tmp_path / "a.mnc", link)) == ["external-data"]


def test_irregular_and_foreign_dimensions(tmp_path):
    def uneven(h5py, file):
        file["minc-2.0/dimensions/zspace"].attrs["spacing"] = np.bytes_("irregular")

    def vector(h5py, file):
        file["minc-2.0/image/0/image"].attrs["dimorder"] = np.bytes_("zspace,yspace,vector_dimension")

    def flat(h5py, file):
        file["minc-2.0/dimensions/zspace"].attrs["direction_cosines"] = [0.0, 1.0, 0.0]

    assert kinds(written(tmp_path / "a.mnc", uneven)) == ["irregular-spacing"]
    assert kinds(written(tmp_path / "b.mnc", vector)) == ["axes"]
    assert kinds(written(tmp_path / "c.mnc", flat)) == ["singular-affine"]


def test_direction_cosines_of_any_length(tmp_path):
    def longer(h5py, file):
        file["minc-2.0/dimensions/zspace"].attrs["direction_cosines"] = [0.0, 0.0, 2.0]

    expected = open_image(EXAMPLES / "small.mnc").affine
    np.testing.assert_allclose(open_image(written(tmp_path / "a.mnc", longer)).affine, expected)


def test_without_h5py_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"sciimg\[minc\]"):
        open_image(EXAMPLES / "small.mnc")


def test_a_netcdf_file_that_ends_early(tmp_path):
    (tmp_path / "a.mnc").write_bytes((EXAMPLES / "tiny.mnc").read_bytes()[:-2000])
    assert kinds(tmp_path / "a.mnc")[0] in ("truncated", "corrupt")
