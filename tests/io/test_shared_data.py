"""Real files that lie beside the repository, against libraries that had no part in reading them. Skipped where there are none."""

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io import expand, open_image
from sciimg.types import Spacing

SHARED = Path(__file__).parents[3] / "shared/data"
PIXEL = Spacing((1.0,), "pixel")
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="no shared data beside the repository")


def test_an_fmri_series_is_four_dimensional():
    folder = SHARED / "dicom_mr/nih_epi/20180918GE_mr_0004"
    image = open_image(folder)
    assert (image.axes, image.shape) == ("tzyx", (10, 15, 64, 64))
    assert image.spacing == Spacing((5.0, 3.75, 3.75), "millimeter")
    slices = [pydicom.dcmread(p) for p in sorted(folder.iterdir())]
    heights = sorted({float(s.ImagePositionPatient[2]) for s in slices})
    t, z = 7, 4
    same_place = sorted((s for s in slices if float(s.ImagePositionPatient[2]) == heights[z]), key=lambda s: int(s.InstanceNumber))
    np.testing.assert_array_equal(image.read()[t, z], same_place[t].pixel_array)
    assert image.acquisition["MagneticFieldStrength"] == 3.0
    assert "Test" not in str(image.acquisition) and "Regression" not in str(image.acquisition)


def test_a_siemens_mosaic_is_slices():
    """nibabel's own mosaic reader is the oracle, apart from the order of its axes and its LPS coordinates."""
    folder = SHARED / "dicom_mr/nih_epi/20180918Si_mr_0003"
    image = open_image(folder)
    assert (image.axes, image.shape) == ("tzyx", (2, 5, 72, 72))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls the module experimental
        from nibabel.nicom import dicomwrappers
    theirs = dicomwrappers.wrapper_from_data(pydicom.dcmread(sorted(folder.iterdir())[1]))
    np.testing.assert_array_equal(image.read()[1], np.moveaxis(theirs.get_unscaled_data(), (0, 1, 2), (1, 2, 0)))
    rows_first = theirs.affine[:, [1, 0, 2, 3]]  # theirs maps (row, column, slice), ours (x, y, z)
    np.testing.assert_allclose(image.affine, np.diag([-1, -1, 1, 1]) @ rows_first, atol=1e-6)


def test_an_oblique_series():
    image = open_image(SHARED / "dicom_mr/studyforrest_T1w")
    assert (image.axes, image.shape) == ("zyx", (24, 384, 274))
    assert image.spacing.values == pytest.approx((2 / 3, 2 / 3, 0.7), rel=1e-4)
    assert np.linalg.det(image.affine[:3, :3]) == pytest.approx(np.prod(image.spacing.values), rel=1e-6)


def test_mixed_series_are_refused():
    with pytest.raises(InputError, match="mixed-series"):
        open_image(SHARED / "dicom_mr/pydicom_small")


@pytest.mark.parametrize("place", ["nifti_misc", "ms_brain_mri", "bad/pair"])
def test_every_nifti_agrees_with_nibabel(place):
    for path in expand(SHARED / place)[::3]:
        theirs, ours = nibabel.load(path), open_image(path)
        np.testing.assert_allclose(ours.read(), np.asarray(theirs.dataobj).T, rtol=1e-6)
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
        assert ours.spacing.values == pytest.approx(theirs.header.get_zooms()[2::-1], rel=1e-5)


def test_las_orientation_is_kept():
    image = open_image(next(SHARED.glob("ms_brain_mri/cross_sectional_MNI/*/T1_N4*")))
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")


@pytest.mark.parametrize("place", ["hcs_multichannel", "timelapse", "lightsheet3d", "dsb2018_nuclei/masks"])
def test_every_tiff_agrees_with_tifffile(place):
    for path in expand(SHARED / place)[:12]:
        np.testing.assert_array_equal(open_image(path, spacing=PIXEL).read(), tifffile.imread(path))


def test_calibrations_that_files_state():
    metamorph = next(SHARED.glob("hcs_multichannel/bbbc022*/*.tif"))
    assert open_image(metamorph).spacing == Spacing((0.645, 0.645), "micrometer")
    confocal = open_image(SHARED / "confocal3d_labels/1135_nuclei_derived.ome.tif")
    assert confocal.spacing.values == pytest.approx((0.2837, 0.1268, 0.1268), rel=1e-3)
    for unknown in ("hcs_multichannel/human_ht29", "hcs_multichannel/fly_kc167", "em_axons", "mednist64/Hand"):
        with pytest.raises(InputError, match="unknown-spacing"):
            open_image(expand(SHARED / unknown)[0])


def test_vendor_formats_are_named_and_refused():
    found = expand(SHARED / "vendor_formats")
    assert {p.suffix for p in found} >= {".czi", ".lif", ".zarr"}
    for path in found:
        if path.suffix in (".czi", ".lif", ".zarr"):
            with pytest.raises(InputError, match=r"unknown-format|folder"):
                open_image(path)


def test_a_map_of_the_emdb():
    mrcfile = pytest.importorskip("mrcfile")
    path = SHARED / "vendor_formats/mrc/EMD-3197.map"
    image = open_image(path)
    with mrcfile.open(path) as theirs:
        np.testing.assert_array_equal(image.read(), theirs.data)
        assert image.spacing.values == pytest.approx([float(theirs.voxel_size[a]) / 10 for a in "zyx"], rel=1e-6)
    assert (image.axes, image.spacing.unit) == ("zyx", "nanometer")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nibabel leaves its file open
def test_a_philips_scan():
    path = SHARED / "vendor_formats/mri_legacy/phantom_EPI_asc_CLEAR_2_1.PAR"
    image, theirs = open_image(path), nibabel.load(path, strict_sort=True)
    np.testing.assert_allclose(image.read(), np.asarray(theirs.dataobj).T, rtol=1e-6)
    np.testing.assert_allclose(image.affine, theirs.affine)
    assert (image.axes, image.spacing) == ("tzyx", Spacing((8.0, 3.75, 3.75), "millimeter"))
    assert image.acquisition["RepetitionTime"] == 2000.0


def test_a_minc_volume():
    pytest.importorskip("h5py")
    path = SHARED / "vendor_formats/mri_legacy/small.mnc"
    image, theirs = open_image(path), nibabel.load(path)
    np.testing.assert_allclose(image.read(), np.asarray(theirs.dataobj), rtol=1e-6)
    np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], theirs.affine)
    assert (image.axes, image.spacing) == ("zyx", Spacing((9.0, 8.0, 7.0), "millimeter"))


def test_a_folder_with_headers_and_data_holds_the_headers():
    assert {p.name for p in expand(SHARED / "vendor_formats/mri_legacy")} == {"phantom_EPI_asc_CLEAR_2_1.PAR", "small.mnc"}


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_a_real_brain_through_itk(tmp_path, suffix):
    sitk = pytest.importorskip("SimpleITK")
    source = SHARED / "nifti_misc/anatomical.nii"
    sitk.WriteImage(sitk.ReadImage(str(source)), str(tmp_path / f"a{suffix}"))
    theirs, ours = nibabel.load(source), open_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(ours.read(), np.asarray(theirs.dataobj).T)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
