"""Enhanced objects, series in time and compressed pixels: values, places and order against highdicom, SimpleITK and pydicom."""

import zlib
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_files import write_slice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage

from sciimg.errors import InputError
from sciimg.io import open_image

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PLAIN, IMPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"


def item(**values: Any) -> Dataset:
    whole = Dataset()
    for key, value in values.items():
        setattr(whole, key, value)
    return whole


def turned(angles: tuple[float, float, float]) -> np.ndarray:
    """A rotation; its columns are the directions of x (along a row), y and the normal."""
    (a, b, c), rotation = angles, np.eye(3)
    for axis, angle in enumerate((a, b, c)):
        i, j = (k for k in range(3) if k != axis)
        step = np.eye(3)
        step[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        rotation = rotation @ step
    return rotation


def write_enhanced(
    path: Path,
    volume: np.ndarray,
    *,
    order: list[int] | None = None,
    spacing: tuple[float, float, float] = (3.0, 0.7, 0.5),
    axes: np.ndarray | None = None,
    origin: tuple[float, float, float] = (1.0, -2.0, 4.0),
    rescale: np.ndarray | None = None,
    kind: str = EnhancedMRImageStorage,
    **elements: Any,
) -> np.ndarray:
    """Write a volume (t, z, y, x) as one file, its frames in any order; ``rescale`` is slope and intercept of each frame (t, z, 2).

    Returns the affine, from voxel x, y, z to RAS, that follows from PS3.3, C.7.6.2.1.1.
    """
    axes = np.eye(3) if axes is None else axes
    times, depth = volume.shape[:2]
    places = list(product(range(times), range(depth)))
    places = [places[i] for i in order] if order else places
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * spacing[::-1], origin
    groups = []
    for t, z in places:
        slope, intercept = rescale[t, z] if rescale is not None else (1.0, 0.0)
        position = [float(f"{v:.10g}") for v in (affine @ [0, 0, z, 1])[:3]]
        group = item(
            PlanePositionSequence=[item(ImagePositionPatient=position)],
            FrameContentSequence=[
                item(TemporalPositionIndex=t + 1, StackID="1", InStackPositionNumber=z + 1, DimensionIndexValues=[t + 1, z + 1])
            ],
            PixelValueTransformationSequence=[item(RescaleSlope=float(slope), RescaleIntercept=float(intercept), RescaleType="US")],
        )
        groups.append(group)
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[float(f"{v:.10g}") for v in (*axes[:, 0], *axes[:, 1])])],
        PixelMeasuresSequence=[item(PixelSpacing=[spacing[1], spacing[2]], SliceThickness=spacing[0], SpacingBetweenSlices=spacing[0])],
    )
    organised = pydicom.uid.generate_uid(entropy_srcs=["organisation"])
    pointers = [item(DimensionOrganizationUID=organised, DimensionIndexPointer=0x00209128, FunctionalGroupPointer=0x00209111)]
    pointers.append(item(DimensionOrganizationUID=organised, DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111))
    frames = np.stack([volume[place] for place in places])
    elements |= {"NumberOfFrames": len(frames), "PixelData": frames.tobytes(), "PixelSpacing": None, "SOPClassUID": kind}
    elements |= {"ImagePositionPatient": None, "ImageOrientationPatient": None, "SharedFunctionalGroupsSequence": [shared]}
    elements |= {"PerFrameFunctionalGroupsSequence": groups, "DimensionIndexSequence": pointers, "SliceThickness": None}
    elements |= {"DimensionOrganizationSequence": [item(DimensionOrganizationUID=organised)], "StudyInstanceUID": "1.2.4"}
    elements |= {"FrameOfReferenceUID": "1.2.5", "PatientID": "", "StudyID": "", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}
    write_slice(path, frames[0], (0, 0, 0), **elements)
    return LPS_TO_RAS @ affine


@st.composite
def enhanced(draw: st.DrawFn) -> dict[str, Any]:
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 5)), 7, 9)
    dtype = np.dtype(draw(st.sampled_from(["u2", "i2", "u1"])))
    info = np.iinfo(dtype)
    rescale = None
    if draw(st.booleans()):
        rescale = np.array([draw(st.sampled_from([0.25, 0.5, 1.0, 3.0, -2.0, 7.5])) for _ in range(2 * shape[0] * shape[1])])
        rescale = rescale.reshape(*shape[:2], 2)
        rescale[..., 1] *= 100
    return {
        "volume": np.random.default_rng(draw(st.integers(0, 999))).integers(info.min, info.max, shape, dtype=dtype, endpoint=True),
        "order": draw(st.permutations(range(shape[0] * shape[1]))),
        "spacing": tuple(draw(st.sampled_from([0.3, 0.7, 1.0, 2.5, 6.0])) for _ in range(3)),
        "axes": turned(tuple(draw(st.sampled_from([0.0, 0.2, -0.6, 1.3, np.pi / 2])) for _ in range(3))),
        "rescale": rescale,
        "kind": draw(st.sampled_from([EnhancedMRImageStorage, EnhancedCTImageStorage])),
    }


@given(enhanced())
@settings(max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_enhanced_object_is_the_volume_it_was_made_from(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> None:
    """Frames in any order, oblique, anisotropic, in time, each with its own slope: against the arrays themselves."""
    path = tmp_path_factory.mktemp("enhanced") / "e.dcm"
    affine = write_enhanced(path, **made)
    image, volume, rescale = open_image(path), made["volume"], made["rescale"]
    expected = volume if rescale is None else volume * rescale[..., :1, None] + rescale[..., 1:, None]
    if len(volume) == 1:
        expected = expected[0]
    assert image.axes == ("tzyx" if len(volume) > 1 else "zyx")
    np.testing.assert_allclose(image.read(), expected, rtol=1e-6)
    if rescale is None:
        assert image.dtype == volume.dtype
    assert image.spacing.values == pytest.approx(made["spacing"], rel=1e-6)
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    box = tuple(slice(n // 3, n) for n in image.shape)
    np.testing.assert_array_equal(image.read(box), image.read()[box])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.3, -0.5, 0.9), (np.pi / 2, 0.0, 0.0)])
def test_highdicom_sees_the_same_volume(tmp_path: Path, angles: tuple[float, float, float]) -> None:
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed here")
    volume = np.random.default_rng(1).integers(0, 4000, (1, 5, 7, 9), dtype=np.uint16)
    rescale = np.stack([np.linspace(0.5, 2.5, 5), np.linspace(-9, 90, 5)], axis=1)[np.newaxis]
    write_enhanced(tmp_path / "e.dcm", volume, order=[3, 0, 4, 1, 2], axes=turned(angles), rescale=rescale)
    theirs = highdicom.imread(tmp_path / "e.dcm").get_volume(
        dtype=np.float64, apply_real_world_transform=False, apply_modality_transform=True
    )
    ours = open_image(tmp_path / "e.dcm")
    same = theirs.array if np.dot((LPS_TO_RAS @ theirs.affine)[:3, 0], ours.affine[:3, 2]) > 0 else theirs.array[::-1]
    np.testing.assert_allclose(ours.read(), same, rtol=1e-6)
    for voxel in ([0, 0, 0], [4, 6, 8], [2, 1, 5]):  # z, y, x: where each lies in the patient
        place = theirs.affine @ [voxel[0] if same is theirs.array else 4 - voxel[0], *voxel[1:], 1]
        np.testing.assert_allclose(ours.affine @ [*voxel[::-1], 1], LPS_TO_RAS @ place, atol=1e-6)
    assert ours.spacing.values == pytest.approx(theirs.spacing, rel=1e-6)


def test_simpleitk_sees_the_same_series(tmp_path: Path) -> None:
    """A classic oblique series with slope and intercept, file names out of order: values, spacing, origin and directions."""
    sitk = pytest.importorskip("SimpleITK")
    volume = np.random.default_rng(2).integers(-900, 900, (6, 7, 9), dtype=np.int16)
    axes = turned((0.4, 0.2, -0.7))
    for z, name in enumerate("dbfaec"):
        position = np.array([5.0, -7.0, 11.0]) + 2.5 * z * axes[:, 2]
        cosines = [float(f"{v:.12g}") for v in (*axes[:, 0], *axes[:, 1])]
        write_slice(tmp_path / name, volume[z], [float(f"{v:.12g}") for v in position], number=z, ImageOrientationPatient=cosines,
                    RescaleSlope=2, RescaleIntercept=-100)  # fmt: skip
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    theirs, ours = reader.Execute(), open_image(tmp_path)
    np.testing.assert_array_equal(ours.read(), sitk.GetArrayFromImage(theirs))
    assert ours.spacing.values == pytest.approx(theirs.GetSpacing()[::-1], rel=1e-6)
    for voxel in ([0, 0, 0], [8, 6, 5], [3, 1, 4]):
        np.testing.assert_allclose(
            (ours.affine @ [*voxel, 1])[:3], [-1, -1, 1] * np.array(theirs.TransformIndexToPhysicalPoint(voxel)), atol=1e-5
        )


@pytest.mark.parametrize("key", ["TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber"])
def test_a_series_in_time_is_in_order_of_time(tmp_path: Path, key: str) -> None:
    """Whichever element tells the time, and whatever the names; pydicom reads the slices that are compared."""
    volume = np.random.default_rng(3).integers(0, 4000, (3, 4, 7, 9), dtype=np.uint16)
    names = iter(np.random.default_rng(4).permutation(12))
    for t, z in product(range(3), range(4)):
        told = {"TemporalPositionIdentifier": None, "AcquisitionNumber": None} | {key: t + 1}
        number = told.pop("InstanceNumber", 1) if key == "InstanceNumber" else 12 - (4 * t + z)  # against the order of time
        told = {k: v for k, v in told.items() if v is not None}
        write_slice(tmp_path / f"{next(names)}", volume[t, z], (0, 0, 5.0 * z), number=number, **told)
    image = open_image(tmp_path)
    assert image.axes == "tzyx"
    np.testing.assert_array_equal(image.read(), volume)


def compress(path: Path, syntax: str, extended: bool | None = None) -> None:
    """Write the pixels again in another transfer syntax; ``extended`` None leaves the offset tables empty."""
    header = pydicom.dcmread(path)
    frames = header.pixel_array.reshape(-1, header.Rows, header.Columns)
    header.file_meta.TransferSyntaxUID = syntax
    if syntax in ENCAPSULATED.values():
        encoded = [encode(frame, syntax, header) for frame in frames]
        if extended:
            header.PixelData, header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths = encapsulate_extended(encoded)
        else:
            header.PixelData = encapsulate(encoded, has_bot=extended is not None)
        header["PixelData"].VR = "OB"
        header["PixelData"].is_undefined_length = True
    header.save_as(path, implicit_vr=syntax == IMPLICIT, little_endian=True)


def encode(frame: np.ndarray, syntax: str, header: Dataset) -> bytes:
    unsigned = frame.view(frame.dtype.str.replace("i", "u"))
    if syntax == JPEG_LS:
        return bytes(imagecodecs.jpegls_encode(unsigned))
    if syntax == JPEG_2000:
        return bytes(imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="j2k"))
    format_of = {
        "rows": header.Rows,
        "columns": header.Columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": header.BitsAllocated,
        "bits_stored": header.BitsStored,
        "pixel_representation": header.PixelRepresentation,
        "number_of_frames": 1,
    }
    return bytes(RLELosslessEncoder.encode(frame, encoding_plugin="pydicom", **format_of))


ENCAPSULATED = {"RLE": RLE, "JPEG-LS": JPEG_LS, "JPEG 2000": JPEG_2000}
TABLES = {"no table": None, "basic table": False, "extended table": True}
CASES = {"plain": (PLAIN, None), "implicit": (IMPLICIT, None), "deflated": (DEFLATED, None)} | {
    f"{name}, {table}": (syntax, TABLES[table]) for name, syntax in ENCAPSULATED.items() for table in TABLES
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16], ids=lambda d: d.__name__)
@pytest.mark.parametrize(("syntax", "table"), CASES.values(), ids=CASES)
def test_frames_of_every_transfer_syntax(tmp_path: Path, syntax: str, table: bool | None, dtype: Any) -> None:
    info = np.iinfo(dtype)
    volume = np.random.default_rng(6).integers(info.min, info.max, (1, 5, 16, 12), dtype=dtype, endpoint=True)
    write_enhanced(tmp_path / "e.dcm", volume, order=[4, 2, 0, 1, 3])
    compress(tmp_path / "e.dcm", syntax, table)
    image = open_image(tmp_path / "e.dcm")
    assert image.dtype == dtype
    np.testing.assert_array_equal(image.read(), volume[0])
    np.testing.assert_array_equal(image.read((slice(3, 4), slice(2, 9), slice(0, 5))), volume[0, 3:4, 2:9, :5])
    if syntax != DEFLATED and not table:  # GDCM reads neither
        sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed here")
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "e.dcm")))
        assert {plane.tobytes() for plane in theirs} == {plane.tobytes() for plane in volume[0]}


def test_a_frame_in_several_fragments(tmp_path: Path) -> None:
    """Without a table the ends of frames show only in the code stream."""
    volume = np.random.default_rng(7).integers(0, 4000, (1, 3, 16, 12), dtype=np.uint16)
    write_enhanced(tmp_path / "e.dcm", volume)
    header = pydicom.dcmread(tmp_path / "e.dcm")
    header.file_meta.TransferSyntaxUID = JPEG_2000
    encoded = [encode(frame, JPEG_2000, header) for frame in volume[0]]
    header.PixelData = encapsulate(encoded, fragments_per_frame=2, has_bot=False)
    header["PixelData"].VR = "OB"
    header["PixelData"].is_undefined_length = True
    header.save_as(tmp_path / "e.dcm")
    np.testing.assert_array_equal(open_image(tmp_path / "e.dcm").read(), volume[0])


def test_the_header_is_read_once_and_other_frames_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.random.default_rng(8).integers(0, 4000, (1, 40, 16, 12), dtype=np.uint16)
    write_enhanced(tmp_path / "e.dcm", volume)
    image, read = open_image(tmp_path / "e.dcm"), pydicom.dcmread
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: calls.append(k) or read(*a, **k))
    for z in range(40):
        np.testing.assert_array_equal(image.read((slice(z, z + 1), slice(0, 16), slice(0, 12)))[0], volume[0, z])
    assert calls == [{"stop_before_pixels": True}]


def test_a_deflated_file_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e.dcm", np.zeros((1, 2, 16, 12), np.uint16))
    compress(tmp_path / "e.dcm", DEFLATED)
    sound = (tmp_path / "e.dcm").read_bytes()
    meta = pydicom.filereader.read_file_meta_info(tmp_path / "e.dcm")
    start = 144 + meta.FileMetaInformationGroupLength
    inflated = zlib.decompress(sound[start:], -zlib.MAX_WBITS)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    (tmp_path / "e.dcm").write_bytes(sound[:start] + bomb.compress(inflated + bytes(2**24)) + bomb.flush())
    assert (tmp_path / "e.dcm").stat().st_size < 2**16
    with pytest.raises(InputError) as caught:
        open_image(tmp_path / "e.dcm", memory_limit=2**22)
    assert [p.kind for p in caught.value.problems] == ["too-large"]


@pytest.mark.parametrize(("dtype", "intercept"), [("u1", -1024), ("i1", 100), ("u2", -1024), ("i2", -1), ("u4", -1), ("i4", 1)])
def test_an_intercept_never_wraps_round(tmp_path: Path, dtype: str, intercept: int) -> None:
    info = np.iinfo(dtype)
    volume = np.array([[[info.min, info.max, 0]], [[1, info.max, info.min]]], dtype)
    for z, plane in enumerate(volume):
        write_slice(tmp_path / f"{z}", plane, (0, 0, z), number=z, RescaleSlope=1, RescaleIntercept=intercept)
    np.testing.assert_array_equal(open_image(tmp_path).read(), volume.astype(np.int64) + intercept)


def test_pixels_beyond_the_bits_that_are_declared(tmp_path: Path) -> None:
    """Twelve bits less 1024 fit into int16, and these pixels do not. In plain files further bits are overlays (PS3.5, 8.1.1)."""
    volume = np.array([[0, 4095] * 8, [40000, 3] * 8], np.uint16)
    write_slice(tmp_path / "a", volume, (0, 0, 0), BitsStored=12, HighBit=11, RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_array_equal(open_image(tmp_path / "a").read(), (volume & 0xFFF).astype(int) - 1024)
    header = pydicom.dcmread(tmp_path / "a")
    header.file_meta.TransferSyntaxUID = JPEG_LS
    header.PixelData = encapsulate([encode(volume, JPEG_LS, header)])
    header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
    header.save_as(tmp_path / "a")
    with pytest.raises(InputError, match="BitsStored") as caught:
        open_image(tmp_path / "a").read()
    assert [p.kind for p in caught.value.problems] == ["corrupt"]
