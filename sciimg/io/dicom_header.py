"""What is read of a DICOM header: geometry, pixel format and acquisition parameters, by an allow-list. Nothing else is parsed.

Patient, physician, institution, dates and every free text (series and study descriptions, names of protocols, sequences and coils,
comments, private elements other than the two that describe a mosaic) never enter the program, so that they cannot leave it. UIDs are
compared and forgotten.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.faults import decoding, refuse

_KINDS = ("M", "P", "R", "I", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY")  # values of ImageType that say what a pixel is

# Keyword → kept. Codes and numbers that a scanner writes; each is a physical or technical parameter of the acquisition.
ACQUISITION = (
    "Modality", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "ImagingFrequency", "ImagedNucleus",
    "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType",
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength", "EchoNumbers", "NumberOfAverages",
    "PixelBandwidth", "PercentSampling", "PercentPhaseFieldOfView", "InPlanePhaseEncodingDirection", "AcquisitionMatrix",
    "SliceThickness", "SpacingBetweenSlices", "NumberOfTemporalPositions", "TemporalResolution", "DiffusionBValue", "VariableFlipAngleFlag",
    "BurnedInAnnotation",
    "KVP", "XRayTubeCurrent", "ExposureTime", "ConvolutionKernel", "ReconstructionDiameter", "SyntheticData",
    "BitsStored",
)  # fmt: skip
_GEOMETRY = (
    "Rows", "Columns", "PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "ImageType",
    "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier",
    "SeriesInstanceUID", "SOPInstanceUID", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
# Functional group → what is read of it, and the classic keyword of what has another name in enhanced objects.
_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameContentSequence": ("TemporalPositionIndex",),
    "MRImageFrameTypeSequence": ("FrameType",),
    "CTImageFrameTypeSequence": ("FrameType",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRTimingAndRelatedParametersSequence": ("RepetitionTime", "FlipAngle", "EchoTrainLength"),
    "MRDiffusionSequence": ("DiffusionBValue",),
}
_CLASSIC = {"EffectiveEchoTime": "EchoTime"}
_IMAGES_IN_MOSAIC, _CSA_IMAGE_HEADER = (0x0019, 0x100A), (0x0029, 0x1010)  # Siemens private elements
_META_AT = 144  # bytes: preamble, "DICM", and the element that says how long the others of the file meta information are (PS3.10, 7.1)
# Used to put frames in order and into place, then forgotten.
_PASSING = frozenset({"SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier"})
KEPT = frozenset({*ACQUISITION, *_GEOMETRY, *(key for keys in _MACROS.values() for key in keys), "TransferSyntaxUID"}) - _PASSING


@dataclass(frozen=True)
class Frame:
    """One slice: where its pixels are in the file and where it lies in the patient (DICOM LPS, mm)."""

    path: Path
    series: str
    instance: str
    time_key: tuple[int, int, int]  # order in time among frames at one place
    kind: tuple[str, ...]  # magnitude, phase ...
    acquisition: Mapping[str, Any]
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None  # directions of growing column (3) and row (3) index
    pixel_mm: tuple[float, float] | None  # y (between rows), x (between columns)
    rows: int
    columns: int
    corner: tuple[int, int] = (0, 0)  # row, column of the first pixel: other than 0 in a mosaic
    samples: int = 1
    bits: int = 16
    bits_stored: int = 16
    signed: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    photometric: str = "MONOCHROME2"
    compressed: bool = False
    index: int = 0  # of the frame in its file
    count: int = 1  # frames in its file

    @property
    def format_key(self) -> tuple[Any, ...]:
        """What all frames of one volume share."""
        return self.rows, self.columns, self.samples, self.bits, self.signed, self.pixel_mm, self.kind, self.acquisition.get("EchoTime")

    def millimetres(self, keyword: str) -> float:
        """Return a length of the acquisition, 0 where it is not stated."""
        value = self.acquisition.get(keyword)
        return float(value) if isinstance(value, int | float) else 0.0


def frames_of(path: Path, memory_limit: int) -> list[Frame]:
    """Return the slices of one DICOM file: one, the tiles of a Siemens mosaic, or the frames of an enhanced object.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``no-pixels``, ``multi-frame``, ``truncated``, ``too-large``.
    """
    import pydicom

    _refuse_bomb(path, memory_limit)

    tags: list[Any] = [*ACQUISITION, *_GEOMETRY, _IMAGES_IN_MOSAIC, _CSA_IMAGE_HEADER]
    with decoding(path, what="The DICOM header cannot be read"):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
        frame = _frame(path, header)
        tiles = int(header[_IMAGES_IN_MOSAIC].value) if _IMAGES_IN_MOSAIC in header and "MOSAIC" in (header.get("ImageType") or ()) else 0
        count = int(header.get("NumberOfFrames") or 1)
        normal = _mosaic_normal(header, frame) if tiles else None
        groups = list(header.get("PerFrameFunctionalGroupsSequence") or ())
        if not groups and count == 1:
            frames = [frame]
        elif len(groups) != count:
            message = f"Every one of its {count} frames must say where it lies; {len(groups)} do. Convert it to NIfTI (dcm2niix)."
            raise refuse(path, "multi-frame", message)
        else:
            shared = list(header.get("SharedFunctionalGroupsSequence") or ())[:1]
            frames = [enhanced(frame, [*shared, own], number, count) for number, own in enumerate(groups)]
    _refuse_unreadable(frame)
    _refuse_short(replace(frame, count=count))
    if normal is None:
        return frames
    return _tiles(frame, tiles, normal)


def _refuse_bomb(path: Path, memory_limit: int) -> None:
    """A deflated file (PS3.5, A.5) is inflated as a whole, however large it becomes, before anything of it can be read."""
    from pydicom.filereader import read_file_meta_info

    with decoding(path, what="The DICOM header cannot be read"):
        meta = read_file_meta_info(path)
        if not meta.TransferSyntaxUID.is_deflated:
            return
        size, inflate = 0, zlib.decompressobj(-zlib.MAX_WBITS)
        with path.open("rb") as stream:
            stream.seek(_META_AT + meta.FileMetaInformationGroupLength)
            while not inflate.eof and (data := inflate.unconsumed_tail or stream.read(2**16)):
                size += len(inflate.decompress(data, 2**20))
                if size > memory_limit:
                    message = f"Inflated, a file must stay within {memory_limit / 2**30:.1f} GiB; this one is larger. Save it uncompressed."
                    raise refuse(path, "too-large", message)


def _acquisition(header: Any) -> dict[str, Any]:
    """Return the acquisition parameters as JSON values under their DICOM keywords."""
    found = {key: _plain(_lenient(header, key)) for key in ACQUISITION}
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def _frame(path: Path, header: Any) -> Frame:
    rows, columns = header.get("Rows"), header.get("Columns")
    if not rows or not columns:
        raise refuse(path, "no-pixels", "A DICOM image must have rows and columns; this file has none (a report or a plan?). Leave it out.")
    spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    time = [int(_lenient(header, k) or 0) for k in ("TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber")]
    syntax = header.file_meta.TransferSyntaxUID
    return Frame(
        path,
        str(header.get("SeriesInstanceUID", "")),
        str(header.get("SOPInstanceUID", "")),
        (time[0], time[1], time[2]),
        tuple(str(part) for part in header.get("ImageType") or () if part in _KINDS),
        _acquisition(header),
        _vector(header.get("ImagePositionPatient"), 3),
        _vector(header.get("ImageOrientationPatient"), 6),
        (float(spacing[0]), float(spacing[1])) if spacing else None,
        int(rows),
        int(columns),
        samples=int(header.get("SamplesPerPixel") or 1),
        bits=int(header.get("BitsAllocated") or 16),
        bits_stored=int(header.get("BitsStored") or 16),
        signed=bool(header.get("PixelRepresentation") or 0),
        slope=float(1 if header.get("RescaleSlope") is None else header.RescaleSlope),
        intercept=float(header.get("RescaleIntercept") or 0),
        photometric=str(header.get("PhotometricInterpretation") or "MONOCHROME2"),
        compressed=bool(syntax.is_compressed or syntax.is_deflated),
    )


def enhanced(whole: Frame, groups: Sequence[Any], number: int, count: int) -> Frame:
    """Return one frame of an enhanced object (PS3.3, C.7.6.16): what its own functional groups say goes before what all frames share.

    Parameters
    ----------
    whole : Frame
        What the top of the header says.
    groups : sequence of Dataset
        The shared functional groups, where there are any, then those of this frame.
    number, count : int
        Index of the frame and how many the file holds.
    """
    said: dict[str, Any] = {}
    for group in groups:
        for macro in _MACROS:
            for item in list(group.get(macro) or ())[:1]:
                said.update({key: _lenient(item, key) for key in _MACROS[macro] if item.get(key) is not None})
    acquisition = dict(whole.acquisition)
    acquisition |= {_CLASSIC.get(key, key): _plain(value) for key, value in said.items() if _CLASSIC.get(key, key) in ACQUISITION}
    spacing = said.get("PixelSpacing")
    kind = tuple(str(part) for part in said.get("FrameType") or () if part in _KINDS)
    return replace(
        whole,
        instance=f"{whole.instance}/{number}",
        # In time first, then by how strong diffusion weighting is, then as stored: the same order as for classic files.
        time_key=(int(said.get("TemporalPositionIndex") or 0), round(float(said.get("DiffusionBValue") or 0)), number),
        kind=kind or whole.kind,
        acquisition=acquisition,
        position=_vector(said.get("ImagePositionPatient"), 3) if "ImagePositionPatient" in said else whole.position,
        orientation=_vector(said.get("ImageOrientationPatient"), 6) if "ImageOrientationPatient" in said else whole.orientation,
        pixel_mm=(float(spacing[0]), float(spacing[1])) if spacing else whole.pixel_mm,
        slope=float(said.get("RescaleSlope", whole.slope)),
        intercept=float(said.get("RescaleIntercept", whole.intercept)),
        index=number,
        count=count,
    )


def _refuse_unreadable(frame: Frame) -> None:
    if frame.bits not in (8, 16, 32):
        raise refuse(frame.path, "dtype", f"Pixels must have 8, 16 or 32 bits; these have {frame.bits} (an overlay, a mask?). Convert it.")
    if frame.photometric == "PALETTE COLOR":
        raise refuse(frame.path, "colour-space", "Pixels must be intensities or colours; these are numbers of a palette. Save it as RGB.")


def _refuse_short(frame: Frame) -> None:
    samples = 2 if frame.photometric == "YBR_FULL_422" else frame.samples  # two pixels share their colour
    declared = frame.count * frame.rows * frame.columns * samples * frame.bits // 8
    there = frame.path.stat().st_size
    if there < declared and not frame.compressed:
        message = f"The header declares {declared} bytes of pixels; the file has {there} in all. Get a fresh copy."
        raise refuse(frame.path, "truncated", message)


def _tiles(whole: Frame, count: int, normal: NDArray[np.float64]) -> list[Frame]:
    """Return the slices of a Siemens mosaic: square tiles, row by row, the first at the corner.

    ImagePositionPatient is the corner of the whole mosaic as if it were one slice; moving it by half the difference of the sizes gives
    the corner of the slices (nibabel, doc/source/dicom/dicom_mosaic.rst).
    """
    across = math.ceil(math.sqrt(count))
    rows, columns = whole.rows // across, whole.columns // across
    if whole.position is None or whole.orientation is None or whole.pixel_mm is None:
        raise refuse(whole.path, "no-position", "A mosaic must say where it lies; this one has no position. Convert it with dcm2niix.")
    step = normal * (whole.millimetres("SpacingBetweenSlices") or whole.millimetres("SliceThickness"))
    right = whole.orientation[:3] * whole.pixel_mm[1] * (whole.columns - columns) / 2
    down = whole.orientation[3:] * whole.pixel_mm[0] * (whole.rows - rows) / 2
    first = whole.position + right + down
    corners = [((n // across) * rows, (n % across) * columns) for n in range(count)]
    return [replace(whole, rows=rows, columns=columns, position=first + n * step, corner=corner) for n, corner in enumerate(corners)]


def _mosaic_normal(header: Any, frame: Frame) -> NDArray[np.float64]:
    """Return the direction in which slices follow one another: from the CSA header, because the order may run either way."""
    from nibabel.nicom import csareader

    if frame.orientation is None:
        return np.zeros(3)
    if _CSA_IMAGE_HEADER in header:
        normal = csareader.get_slice_normal(csareader.read(header[_CSA_IMAGE_HEADER].value))
        if normal is not None:
            return np.asarray(normal, np.float64)
    return np.cross(frame.orientation[:3], frame.orientation[3:])


def _vector(value: Any, length: int) -> NDArray[np.float64] | None:
    return np.asarray(value, np.float64) if value is not None and len(value) == length else None


def _lenient(header: Any, keyword: str) -> Any:
    """Return a value, or None where the element is malformed: a bad echo train length is no reason to lose an image."""
    try:
        return header.get(keyword)
    except (ValueError, TypeError, NotImplementedError):
        return None


def _plain(value: Any) -> Any:
    """Return a JSON value for a DICOM value."""
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "__iter__"):
        return [_plain(part) for part in value]
    number = float(value)
    return int(number) if number.is_integer() and not hasattr(value, "original_string") else number
