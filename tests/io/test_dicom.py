"""DICOM series: order by place, what does not make one series, and what of a patient never comes through."""

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import write_series, write_slice
from hypothesis import given, settings
from hypothesis import strategies as st

from sciimg.errors import InputError
from sciimg.io import expand, open_image
from sciimg.io.dicom_header import ACQUISITION

VOLUME = np.random.default_rng(2).integers(0, 4000, (6, 8, 10), dtype=np.uint16)


def kinds(path):
    with pytest.raises(InputError) as caught:
        open_image(path).read()
    return [p.kind for p in caught.value.problems]


@given(st.permutations(range(6)))
@settings(max_examples=10)
def test_order_is_by_place_whatever_the_names_and_numbers(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("order")
    for z, name in enumerate(order):
        write_slice(folder / f"{name}.dcm", VOLUME[z], (0, 0, -3.0 * z), number=int(name))
    image = open_image(folder)
    np.testing.assert_array_equal(image.read(), VOLUME[::-1])  # along the normal, which points to +z here
    assert image.spacing.values == (3.0, 0.7, 0.5)


def test_world_coordinates_of_an_oblique_series(tmp_path):
    """The first pixel of a slice lies at its ImagePositionPatient, turned from LPS to RAS; the next column is one pixel spacing on."""
    c, s = np.cos(0.4), np.sin(0.4)
    along_row, along_column = np.array([c, s, 0.0]), np.array([-s * 0.8, c * 0.8, -0.6])
    normal = np.cross(along_row, along_column)
    for z in range(4):
        position = np.array([5.0, -7.0, 11.0]) + 2.5 * z * normal
        write_slice(tmp_path / f"{z}", VOLUME[z], position, number=z, ImageOrientationPatient=[*along_row, *along_column])
    image = open_image(tmp_path)
    ras = np.array([-1, -1, 1])
    for z in range(4):
        np.testing.assert_allclose(image.affine @ [0, 0, z, 1], [*(ras * (np.array([5, -7, 11]) + 2.5 * z * normal)), 1], atol=1e-6)
    np.testing.assert_allclose((image.affine @ [1, 0, 0, 0])[:3], ras * along_row * 0.5, atol=1e-6)
    np.testing.assert_allclose((image.affine @ [0, 1, 0, 0])[:3], ras * along_column * 0.7, atol=1e-6)


def test_a_gap_is_named(tmp_path):
    paths = write_series(tmp_path / "s", VOLUME)
    paths[3].unlink()
    with pytest.raises(InputError) as caught:
        open_image(tmp_path / "s")
    (problem,) = caught.value.problems
    assert problem.kind == "slice-gap"
    assert f"1 missing between {paths[2].name} and {paths[4].name}" in problem.message


def test_two_gaps_are_two_problems(tmp_path):
    paths = write_series(tmp_path / "s", np.concatenate([VOLUME, VOLUME]))
    paths[3].unlink()
    paths[7].unlink()
    assert kinds(tmp_path / "s") == ["slice-gap", "slice-gap"]


def test_uneven_slices(tmp_path):
    for z, place in enumerate((0, 2, 4, 5.2, 7.2)):
        write_slice(tmp_path / f"{z}", VOLUME[z], (0, 0, place), number=z)
    assert kinds(tmp_path) == ["uneven-slices"]


def test_a_tilted_gantry(tmp_path):
    for z in range(4):
        write_slice(tmp_path / f"{z}", VOLUME[z], (0, 0.5 * z, 2.0 * z), number=z)
    assert kinds(tmp_path) == ["sheared"]


def test_every_second_slice_missing_shows_in_the_header(tmp_path):
    write_series(tmp_path / "s", VOLUME, step=4.0, SpacingBetweenSlices=2.0)
    assert [p.kind for p in open_image(tmp_path / "s").problems] == ["slice-distance"]


def test_a_copy_of_a_slice(tmp_path):
    paths = write_series(tmp_path / "s", VOLUME)
    shutil.copy(paths[2], tmp_path / "s" / "copy of a slice")
    assert kinds(tmp_path / "s") == ["duplicate-slices"]


def test_a_time_point_that_stops_early(tmp_path):
    for t in range(2):
        for z in range(3 - t):
            write_slice(tmp_path / f"{t}{z}", VOLUME[z], (0, 0, z), number=3 * t + z)
    assert kinds(tmp_path) == ["missing-slices"]


@pytest.mark.parametrize(
    "difference",
    [
        {"series": "1.2.4"},
        {"PixelSpacing": [0.7, 0.6]},
        {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]},
        {"EchoTime": 60.0},
        {"ImageType": ["ORIGINAL", "PRIMARY", "P"]},
    ],
)
def test_what_does_not_belong_together(tmp_path, difference):
    write_series(tmp_path, VOLUME)
    write_slice(tmp_path / "other", VOLUME[0], (0, 0, 99.0), number=99, **difference)
    assert kinds(tmp_path) == ["mixed-series"]


def test_slices_of_another_size(tmp_path):
    write_series(tmp_path, VOLUME)
    write_slice(tmp_path / "localizer", VOLUME[0, :4], (0, 0, 99.0), number=99)
    assert kinds(tmp_path) == ["mixed-series"]


def test_a_series_without_places(tmp_path):
    write_series(tmp_path, VOLUME, ImagePositionPatient=None)
    assert kinds(tmp_path) == ["no-position"]


def test_no_spacing_in_the_file(tmp_path):
    write_slice(tmp_path / "a.dcm", VOLUME[0], (0, 0, 0), PixelSpacing=None)
    assert kinds(tmp_path / "a.dcm") == ["unknown-spacing"]


def test_many_frames_in_one_file_are_not_read(tmp_path):
    write_slice(tmp_path / "a.dcm", VOLUME[0], (0, 0, 0), NumberOfFrames=6)
    assert kinds(tmp_path / "a.dcm") == ["multi-frame"]


def write_enhanced(path, volume, b_values=(0.0,), slopes=None, **elements):
    """Frames last place first, so that the order in the file is not the order in space; ``volume`` is (t, z, y, x)."""
    from pydicom.dataset import Dataset

    def group(**macros):
        whole = Dataset()
        for macro, values in macros.items():
            item = Dataset()
            for key, value in values.items():
                setattr(item, key, value)
            setattr(whole, macro, [item])
        return whole

    groups, frames = [], []
    for z in reversed(range(volume.shape[1])):
        for t, b in enumerate(b_values):
            rescale = {"RescaleSlope": slopes[z] if slopes else 1.0, "RescaleIntercept": 0.0}
            macros = {"PlanePositionSequence": {"ImagePositionPatient": [1.0, 2.0, 3.0 * z]}, "PixelValueTransformationSequence": rescale}
            groups.append(group(**macros, MRDiffusionSequence={"DiffusionBValue": b}, MREchoSequence={"EffectiveEchoTime": 88.0}))
            frames.append(volume[t, z])
    shared = group(
        PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        PixelMeasuresSequence={"PixelSpacing": [0.7, 0.5], "SliceThickness": 3.0},
    )
    elements |= {"NumberOfFrames": len(frames), "PixelData": np.stack(frames).tobytes(), "EchoTime": None, "PixelSpacing": None}
    elements |= {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
    elements |= {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    write_slice(path, volume[0, 0], (0, 0, 0), **elements)


def test_an_enhanced_object_is_put_in_order_by_place_and_weighting(tmp_path):
    volume = np.stack([VOLUME, VOLUME[::-1]])
    write_enhanced(tmp_path / "e.dcm", volume, b_values=(0.0, 1000.0))
    image = open_image(tmp_path / "e.dcm")
    assert image.axes == "tzyx"
    np.testing.assert_array_equal(image.read(), volume)
    assert image.spacing.values == (3.0, 0.7, 0.5)
    assert image.acquisition["DiffusionBValues"] == [0, 1000]
    assert image.acquisition["EchoTime"] == 88
    np.testing.assert_allclose(image.affine @ [0, 0, 2, 1], [-1, -2, 6, 1])


def test_frames_of_an_enhanced_object_have_their_own_slope(tmp_path):
    slopes = [1.0, 2.0, 0.5, 1.0, 3.0, 0.25]
    write_enhanced(tmp_path / "e.dcm", VOLUME[np.newaxis], slopes=slopes)
    np.testing.assert_allclose(open_image(tmp_path / "e.dcm").read(), VOLUME * np.array(slopes)[:, None, None])


def test_an_enhanced_object_that_was_cut_short(tmp_path):
    write_enhanced(tmp_path / "e.dcm", VOLUME[np.newaxis], Rows=512, Columns=512)
    assert kinds(tmp_path / "e.dcm") == ["truncated"]


@pytest.mark.parametrize(
    ("about", "noted"),
    [
        ({"Modality": "US"}, True),
        ({"Modality": "OT"}, True),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, False),
        ({"Modality": "MR"}, False),
    ],
)
def test_a_picture_that_may_have_text_burned_in_is_warned_about(tmp_path, about, noted):
    write_slice(tmp_path / "a.dcm", VOLUME[0], (0, 0, 0), **about)
    assert [p.kind for p in open_image(tmp_path / "a.dcm").problems if p.kind == "burned-in-unknown"] == ["burned-in-unknown"] * noted


def test_text_burned_into_pixels_is_refused_unless_accepted(tmp_path):
    write_slice(tmp_path / "a.dcm", VOLUME[0], (0, 0, 0), BurnedInAnnotation="YES")
    assert kinds(tmp_path / "a.dcm") == ["burned-in"]
    np.testing.assert_array_equal(open_image(tmp_path / "a.dcm", burned_in=True).read(), VOLUME[0])


def test_a_report_has_no_pixels(tmp_path):
    write_slice(tmp_path / "a.dcm", VOLUME[0], (0, 0, 0), Rows=None, Columns=None)
    assert kinds(tmp_path / "a.dcm") == ["no-pixels"]


def test_nothing_of_the_patient_comes_through(tmp_path):
    """Whatever an image carries along, as text; the folder's name is the user's own."""
    write_series(tmp_path / "s", VOLUME)
    image = open_image(tmp_path / "s")
    everything = json.dumps([dict(image.acquisition), image.channel_names, image.source, [p.as_dict() for p in image.problems]])
    for secret in ("Doe", "Jane", "1970", "Elsewhere", "1.2.3"):
        assert secret not in everything
    assert image.acquisition["EchoTime"] == 30.0
    assert image.acquisition["ScanningSequence"] == ["EP", "GR"]
    assert set(image.acquisition) <= set(ACQUISITION)


def test_the_allow_list_names_no_person_place_date_or_free_text():
    """By value representation: PN names, DA/DT/TM dates, UI identifiers, LT/ST/UT free text never; LO only for makers of devices."""
    kinds_of = {key: pydicom.datadict.dictionary_VR(pydicom.datadict.tag_for_keyword(key)) for key in ACQUISITION}
    assert not {k for k, vr in kinds_of.items() if vr in ("PN", "DA", "DT", "TM", "UI", "LT", "ST", "UT", "AS")}
    assert {k for k, vr in kinds_of.items() if vr == "LO"} <= {"Manufacturer", "ManufacturerModelName"}


def test_a_folder_is_one_image_and_an_index_is_none(tmp_path):
    write_series(tmp_path / "s", VOLUME)
    (tmp_path / "s" / "LICENSE.txt").write_text("free")
    shutil.copy(next((tmp_path / "s").glob("IM*")), tmp_path / "s" / "DICOMDIR")
    assert expand(tmp_path) == [tmp_path / "s"]
    assert open_image(tmp_path / "s").shape == VOLUME.shape


def test_files_of_pydicom_itself():
    """RLE, JPEG 2000 and JPEG-LS lossless, big-endian and plain are the same image. MR_small.dcm has the preamble of a TIFF."""
    folder = Path(pydicom.__path__[0]) / "data/test_files"
    names = ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm"]
    names.append("MR_small_jpeg_ls_lossless.dcm")
    if not all((folder / n).exists() for n in names):
        pytest.skip("pydicom was installed without its test data")
    expected = pydicom.dcmread(folder / names[0]).pixel_array
    for name in names:
        np.testing.assert_array_equal(open_image(folder / name).read(), expected)
    assert kinds(folder / "MR_truncated.dcm") == ["truncated"]
