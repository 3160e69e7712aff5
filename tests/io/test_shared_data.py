"""Real files that lie beside the repository, against libraries that had no part in reading them. Skipped where there are none."""

import struct
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import nibabel
import numpy as np
import PIL.Image
import pydicom
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io import expand, open_image
from sciimg.io.labels import labels_from_file
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


MM, UM = "millimeter", "micrometer"


@dataclass(frozen=True)
class Row:
    """Files that are alike and what must come of them: an image (axes, pixel types, spacing), or a refusal of a kind.

    ``spacing`` None: the file states none. ``check`` False: compared in a test of its own below, or no
    library apart from ours reads it as one image.
    """

    pattern: str
    count: int
    axes: str = ""
    dtypes: tuple[str, ...] = ()
    spacing: tuple[float, ...] | None = None
    unit: str = MM
    notes: tuple[str, ...] = ()
    refused: str = ""
    check: bool = True

    def paths(self):
        return sorted(p for p in SHARED.glob(self.pattern))


ISO = (1.0, 1.0, 1.0)
RAW = "ms_brain_mri/longitudinal_raw/"
ROWS = [
    Row("bad/corrupt.nii.gz", 1, refused="corrupt"),
    Row("bad/cut.png", 1, refused="truncated"),
    Row("bad/declares_300000x300000.tif", 1, refused="absurd-size"),
    Row("bad/nan_rows.tif", 1, refused="not-finite"),
    Row("bad/zero_sform.nii", 1, refused="singular-affine"),
    Row("bad/dicom_gap", 1, refused="slice-gap"),
    Row("bad/file with space é.tif", 1, "yx", ("uint16",)),
    Row("bad/pair/images/*.nii.gz", 1, "zyx", ("uint8",), ISO),
    Row("bad/pair/labels/*.nii.gz", 1, "zyx", ("uint8",), ISO, notes=("unit-not-stated",)),
    Row("confocal3d_labels/*.ome.tif", 1, "zyx", ("uint16",), (0.28371836501901143, 0.12678642066720086, 0.12678642066720086), UM),
    Row("confocal3d_labels/1135*.h5", 1, "zyx", ("uint8",), (0.28371836501901143, 0.12678642066720086, 0.12678642066720086), UM),
    Row("confocal3d_labels/sample*.h5", 1, "zyx", ("uint8",), (0.235, 0.15, 0.15), UM),
    Row("dicom_mr/nih_epi/20180918GE_mr_0004", 1, "tzyx", ("int16",), (5.0, 3.75, 3.75), check=False),
    Row("dicom_mr/nih_epi/20180918Si_mr_000?", 2, "tzyx", ("uint16",), (12.0, 3.0, 3.0), check=False),
    Row("dicom_mr/pydicom_small", 1, refused="mixed-series"),
    Row("dicom_mr/pydicom_small/CT_small.dcm", 1, "yx", ("int32",), (0.661468, 0.661468), check=False),
    Row("dicom_mr/pydicom_small/MR_*.dcm", 4, "yx", ("int16",), (0.3125, 0.3125), check=False),
    Row("dicom_mr/studyforrest_T1w", 1, "zyx", ("int16",), (2 / 3, 2 / 3, 0.7), check=False),
    Row("dsb2018_nuclei/images/*.png", 298, "cyx", ("uint8",)),
    Row("dsb2018_nuclei/masks/*.tif", 298, "yx", ("uint16",)),
    Row("dsb2018_nuclei/original_layout/*/images/*.png", 6, "cyx", ("uint8",)),
    Row("dsb2018_nuclei/original_layout/*/masks/*.png", 198, "yx", ("uint8",)),
    Row("dsb2018_stained_rgb/images/*.png", 20, "cyx", ("uint8",)),
    Row("dsb2018_stained_rgb/masks/*.tif", 20, "yx", ("uint16",)),
    Row("em_axons/data_test_image.png", 1, "yx", ("uint8",)),
    Row("em_axons/data_test_mask.png", 1, "cyx", ("uint8",)),
    Row("hcs_multichannel/bbbc022*/*.tif", 3, "yx", ("uint16",), (0.645, 0.645), UM),
    Row("hcs_multichannel/fly_kc167/*.TIF", 3, "yx", ("uint8",)),
    Row("hcs_multichannel/human_ht29/*.tif", 3, "yx", ("uint8",)),
    Row("hippocampus_mri/images/*.nii.gz", 125, "zyx", ("uint8", "float32"), ISO),
    Row("hippocampus_mri/labels/*.nii.gz", 125, "zyx", ("uint8", "float32"), ISO),
    Row("lightsheet3d/*.tif", 1, "zyx", ("float32",), notes=("axis-not-named",)),
    Row("mednist64/*/*.jpeg", 900, "yx", ("uint8",)),
    Row("ms_brain_mri/cross_sectional_MNI/*/[FT]*.nii.gz", 4, "zyx", ("float32",), ISO),
    Row("ms_brain_mri/cross_sectional_MNI/*/GOLD*.nii.gz", 1, "zyx", ("uint8",), ISO),
    Row(RAW + "patient04/gt.nii.gz", 1, "zyx", ("uint8",), (2.998544, 0.898437, 0.898437)),
    Row(RAW + "patient04/study?_FLAIR.nii.gz", 1, "zyx", ("uint16",), (2.999999, 0.71874976, 0.7187504)),
    Row(RAW + "patient04/study?_T1W.nii.gz", 1, "zyx", ("uint16",), (2.999999, 0.9101567, 0.9101558)),
    Row(RAW + "patient04/study?_T2W.nii.gz", 1, "zyx", ("uint16",), (3.299998, 0.5989586, 0.5989584)),
    Row(RAW + "patient20/gt.nii.gz", 1, "zyx", ("uint8",), (2.998542, 0.898437, 0.898437)),
    Row(RAW + "patient20/study?_FLAIR.nii.gz", 1, "zyx", ("uint16",), (2.9985425, 0.8984375, 0.89843714)),
    Row(RAW + "patient20/study?_T1W.nii.gz", 1, "zyx", ("uint16",), (3.000001, 0.8984375, 0.89843714)),
    Row("nifti_misc/anatomical.nii", 1, "zyx", ("int16",), (2.0, 2.0, 2.0)),
    Row("nifti_misc/example4d.nii.gz", 1, "tzyx", ("int16",), (2.199999, 2.0, 2.0), notes=("personal-data",)),
    Row("nifti_misc/functional.nii", 1, "tzyx", ("float32",), (8.0, 4.0, 4.0)),
    Row("timelapse/*.tif", 1, "zyx", ("uint16",), notes=("axis-not-named",)),
    Row("vendor_formats/czi/CD_*.czi", 1, "tczyx", ("uint16",), (0.32, 0.09057667, 0.09057667), UM, ("personal-data",), check=False),
    Row("vendor_formats/czi/RGB-8bit.czi", 1, "cyx", ("uint8",), (1.083333, 1.083333), UM, ("personal-data",), check=False),
    Row("vendor_formats/lif/xz-example.lif", 1, refused="several-images"),  # three; each is read alone below
    Row("vendor_formats/ome_zarr/*.zarr", 1, "zyx", ("float64",), check=False),  # names no unit
    Row("vendor_formats/mrc/EMD-3197.map", 1, "zyx", ("float32",), (1.14, 1.14, 1.14), "nanometer", check=False),
    Row("vendor_formats/mri_legacy/*.PAR", 1, "tzyx", ("float32",), (8.0, 3.75, 3.75), check=False),
    Row("vendor_formats/mri_legacy/*.REC", 1, refused="unknown-format"),  # the pixels of the line above
    Row("vendor_formats/mri_legacy/small.mnc", 1, "zyx", ("float32",), (9.0, 8.0, 7.0), check=False),
    Row("wbc_classes/images/*.bmp", 200, "cyx", ("uint8",)),
    Row("wbc_classes/masks/*.png", 200, "yx", ("uint8",)),
]
NO_IMAGES = (".md", ".csv", ".txt")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.pattern)
def test_every_file_is_read_as_expected_or_refused_for_the_right_reason(row):
    paths = row.paths()
    assert len(paths) == row.count
    for path in paths:
        if row.refused:
            with pytest.raises(InputError) as caught:
                open_image(path, spacing=PIXEL).read()
            assert [p.kind for p in caught.value.problems] == [row.refused]
            continue
        image = open_image(path, spacing=PIXEL)
        assert image.axes == row.axes and image.dtype.name in row.dtypes
        assert image.spacing.unit == (row.unit if row.spacing else "pixel")
        assert image.spacing.values == pytest.approx(row.spacing or (1.0,) * len(image.spatial), rel=1e-4)
        assert tuple(p.kind for p in image.problems) == row.notes
        pixels = image.read()
        assert pixels.shape == image.shape
        if row.check:
            _compare(path, image, pixels)


def _compare(path, image, pixels):
    """Values, spacing and orientation against nibabel, tifffile and Pillow."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        theirs = nibabel.load(path)
        np.testing.assert_allclose(pixels, np.asarray(theirs.dataobj).T, rtol=1e-6)
        np.testing.assert_allclose(image.affine, theirs.affine, atol=1e-3)
        assert nibabel.aff2axcodes(image.affine) == nibabel.aff2axcodes(theirs.affine)
        assert image.spacing.values == pytest.approx(theirs.header.get_zooms()[2::-1], rel=1e-5)
    elif name.endswith(".h5"):
        h5py = pytest.importorskip("h5py")
        with h5py.File(path) as theirs:
            np.testing.assert_array_equal(pixels, theirs["raw"][...])
            np.testing.assert_array_equal(labels_from_file(path, image), theirs["label"][...])
            assert image.spacing.values == pytest.approx(theirs["raw"].attrs["element_size_um"])
    elif name.endswith(".tif"):
        np.testing.assert_array_equal(pixels, tifffile.imread(path))
    else:
        with PIL.Image.open(path) as theirs:
            plain = theirs.convert({"1": "L", "P": "RGB"}.get(theirs.mode, theirs.mode))
            expected = np.asarray(plain)
        expected = np.moveaxis(expected, -1, 0) if expected.ndim == 3 else expected
        apart = np.abs(pixels.astype(int) - expected.astype(int)).max()
        assert apart <= (2 if name.endswith(".jpeg") else 0)  # two JPEG decoders may round differently


def test_a_pair_that_is_none():
    image = open_image(SHARED / "bad/pair/images/s1.nii.gz")
    with pytest.raises(InputError) as caught:
        labels_from_file(SHARED / "bad/pair/labels/s1.nii.gz", image)
    assert [p.kind for p in caught.value.problems] == ["mask-shape"]


def test_masks_of_the_shared_studies_fit_their_images():
    for image, mask in (("hippocampus_mri/images", "hippocampus_mri/labels"), ("dsb2018_nuclei/images", "dsb2018_nuclei/masks")):
        masks = {p.name.split(".")[0]: p for p in (SHARED / mask).iterdir()}
        for path in sorted((SHARED / image).iterdir())[::15]:
            opened = open_image(path, spacing=PIXEL)
            assert labels_from_file(masks[path.name.split(".")[0]], opened).shape == opened.spatial_shape


def test_no_file_is_left_out():
    """Every file is in one row, alone or with its folder."""
    listed = Counter()
    for pattern in (row.pattern for row in ROWS):
        for path in SHARED.glob(pattern):
            listed.update(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else listed.update([path])
    files = {p for p in SHARED.rglob("*") if p.is_file() and (p.suffix not in NO_IMAGES)}
    assert files - set(listed) == set()
    assert {p for p, times in listed.items() if times > 1} <= {p for p in files if p.parent.name == "pydicom_small"}


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


def test_an_ome_zarr_of_another_program():
    zarr = pytest.importorskip("zarr")
    path = SHARED / "vendor_formats/ome_zarr/mni152_axial.ome.zarr"
    theirs = zarr.open_array(path / "scale0/nibabel_converted_image", mode="r")[...]  # stored x, y, z
    np.testing.assert_array_equal(open_image(path, spacing=PIXEL).read(), theirs.transpose(2, 1, 0))


def test_fluorescence_and_colour_of_a_zeiss_microscope():
    czifile = pytest.importorskip("czifile")
    folder = SHARED / "vendor_formats/czi"
    for name, axes in (("CD_s_1_t_3_c_2_z_5.czi", "tczyx"), ("RGB-8bit.czi", "yxc")):
        image = open_image(folder / name)
        with czifile.CziFile(folder / name) as theirs:
            expected = theirs.asarray().squeeze()
        np.testing.assert_array_equal(image.read(), expected.transpose([axes.index(a) for a in image.axes]))
    spindle = open_image(folder / "CD_s_1_t_3_c_2_z_5.czi")
    assert spindle.channel_names == ("LED555", "LED470")
    assert [c.wavelength_nm for c in spindle.channels] == [568.0, 517.0]
    assert spindle.acquisition == {
        "time_step_s": 60.075, "significant_bits": 14, "magnification": 50.0, "numerical_aperture": 1.2, "immersion": "Water",
        "refractive_index": 1.33, "exposure_s": [0.1, 0.2], "excitation_nm": [553.0, 493.0], "emission_nm": [568.0, 517.0],
    }  # fmt: skip
    assert "M1SRH" not in str(spindle)


@pytest.mark.parametrize(("name", "axes", "note"), [("xzt", "tcyx", ("section",)), ("xzy", "czyx", ()), ("xz", "cyx", ("section",))])
def test_each_image_of_a_leica_microscope(tmp_path, name, axes, note):
    """The file with its header cut down to one image; the numbers stay where they are."""
    liffile = pytest.importorskip("liffile")
    source = SHARED / "vendor_formats/lif/xz-example.lif"
    data = source.read_bytes()
    letters = int.from_bytes(data[9:13], "little")
    root = ElementTree.fromstring(data[13 : 13 + 2 * letters].decode("utf-16-le"))
    around = root.find("Element/Children")
    for child in [c for c in around if c.get("Name") != name]:
        around.remove(child)
    xml = ElementTree.tostring(root, "unicode").encode("utf-16-le")
    alone = tmp_path / "a.lif"
    alone.write_bytes(struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml + data[13 + 2 * letters :])
    image = open_image(alone)
    with liffile.LifFile(source) as theirs:
        expected = next(i for i in theirs.images if i.name == name)
        dims = "".join(expected.dims).lower()
        dims = dims if "y" in dims else dims.replace("z", "y")
        steps = {d.lower(): np.ptp(v) / (len(v) - 1) for d, v in expected.coords.items()}
        np.testing.assert_array_equal(image.read(), expected.asarray().transpose([dims.index(a) for a in axes]))
    steps = steps if "y" in steps else steps | {"y": steps["z"]}
    assert (image.axes, image.spacing.unit, tuple(p.kind for p in image.problems)) == (axes, "micrometer", note)
    assert image.spacing.values == pytest.approx([1e6 * steps[a] for a in axes if a in "zyx"], rel=1e-6)
    assert image.acquisition["numerical_aperture"] == 1.3 and image.acquisition["immersion"] == "Glycerol"
