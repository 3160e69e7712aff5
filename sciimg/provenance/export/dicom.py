"""DICOM: multi-frame secondary capture, one channel an object, Synthetic Data (0008,001C) = YES; masks are label images of the same kind.

Secondary capture, and no MR image object: those demand a scanner's acquisition parameters, which a synthetic image has not, and would have
to be invented. Values with a sign are stored with the format's own intercept, which gives each of them back; floats are refused. Masks are
no DICOM SEG, whose binary form needs a plane for each of some hundred objects and whose label map few programs read yet.

References
----------
DICOM PS3.3 2024: A.8.3, A.8.4 (multi-frame secondary capture), C.8.6, C.12.1 (SOP common); PS3.5 B.2 (UIDs under 2.25).
"""

import io
import json
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.provenance.export.content import Content, Picture, refused, sentence

NAME = "dicom"
SUFFIX = ".dcm"
_CLASSES = {8: "1.2.840.10008.5.1.4.1.1.7.2", 16: "1.2.840.10008.5.1.4.1.1.7.3"}  # multi-frame grayscale byte, word secondary capture
_HELD = {np.dtype(t) for t in ("u1", "u2", "i1", "i2")}
_IN_MM = {"nanometer": Decimal("1e-6"), "micrometer": Decimal("1e-3"), "millimeter": Decimal(1)}
_PAGES, _FRAMES = 0x00182001, 0x52009230  # tags: Page Number Vector, Per-Frame Functional Groups Sequence
_LARGEST = 65535  # rows and columns are of 16 bits
_STRAIGHT = 1e-4  # largest cosine between rows and columns that DICOM calls orthogonal


def together(content: Content) -> bool:
    """Whether the channels go into one object."""
    return False


def obstacles(content: Content) -> list[Problem]:
    """Return what these objects cannot hold exactly."""
    found = []
    if odd := content.axes - {"yx", "zyx"}:
        found.append(refused(NAME, "A secondary capture holds planes and volumes", ", ".join(sorted(odd)), "tiff"))
    if wide := [d.name for d in content.dtypes if d not in _HELD]:
        found.append(refused(NAME, "A secondary capture holds whole numbers of 8 or 16 bits", ", ".join(wide), "tiff or nifti"))
    if content.mask_dtype.itemsize > 2:
        found.append(refused(NAME, "A label image in DICOM numbers objects up to 65535", "larger labels", "tiff or nifti"))
    if long := [row["shape"] for row in content.rows if max(json.loads(row["shape"])) > _LARGEST]:
        found.append(refused(NAME, f"DICOM holds up to {_LARGEST} pixels along a side", f"images of {long[0]}", "tiff"))
    return found


def encode(picture: Picture) -> bytes:
    """Return the bytes of the object of a picture, axes yx or zyx; frames are planes in the order of z."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    planes = picture.pixels if picture.axes == "zyx" else picture.pixels[None]
    stored, intercept = _unsigned(planes)
    data = Dataset()
    _who(data, picture)
    _what(data, picture, planes, intercept)
    data.NumberOfFrames, data.Rows, data.Columns = stored.shape
    data.BitsAllocated = data.BitsStored = 8 * stored.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    data.PixelData += b"\0" * (len(data.PixelData) % 2)
    data["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"
    _where(data, picture, len(planes))
    data.SOPClassUID = _CLASSES[data.BitsAllocated]
    data.SOPInstanceUID = _uid(picture, "instance", picture.part, *picture.channels)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _unsigned(pixels: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the values as they are stored, and what is to be added to give them back."""
    if pixels.dtype.kind == "u":
        return pixels, 0
    lowest = int(np.iinfo(pixels.dtype).min)
    return (pixels.astype(np.int32) - lowest).astype(pixels.dtype.str.replace("i", "u")), lowest


def _who(data: Any, picture: Picture) -> None:
    """Patient, study, series and equipment: nobody, one study an image, one series a channel, no device."""
    about = picture.about
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName = "SYNTHETIC^NOBODY"
    data.PatientID = _short(f"{about['dataset'].partition('@')[0]}-{about['image']}")
    data.PatientBirthDate = data.PatientSex = data.StudyDate = data.StudyTime = data.StudyID = data.AccessionNumber = ""
    data.Laterality = ""
    data.ReferringPhysicianName = ""
    data.StudyDescription = _short(f"Synthetic: {about['dataset']}")
    data.SeriesDescription = _short("mask" if picture.part == "mask" else f"synthetic {' '.join(picture.channels)}")
    data.StudyInstanceUID = _uid(picture, "study")
    data.SeriesInstanceUID = _uid(picture, "series", picture.part, *picture.channels)
    data.SeriesNumber = 2 if picture.part == "mask" else 1
    data.Modality = "OT"
    data.Manufacturer = ""
    data.ConversionType = "SYN"
    data.SecondaryCaptureDeviceManufacturer = "sciimg"
    data.SecondaryCaptureDeviceManufacturerModelName = _short(f"recipe {about['recipe']}")


def _what(data: Any, picture: Picture, planes: NDArray[Any], intercept: int) -> None:
    """The mark, and how values are to be read and shown."""
    about = picture.about
    data.SyntheticData = "YES"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.InstanceNumber = 1
    data.ContentDate, data.ContentTime = about["registered"].replace("-", ""), "000000"  # the one date that the dataset knows
    data.PatientOrientation = ""
    data.BurnedInAnnotation = "NO"
    data.LossyImageCompression = "00"
    data.DerivationDescription = sentence(about)
    data.ImageComments = json.dumps(dict(about), sort_keys=True)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelRepresentation = 0
    data.PresentationLUTShape = "IDENTITY"
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = str(intercept), "1", "US"
    low, high = int(planes.min()), int(planes.max())
    data.WindowCenter, data.WindowWidth = str((low + high + 1) / 2), str(max(1, high - low + 1))


def _where(data: Any, picture: Picture, frames: int) -> None:
    """Distances between pixels and, where the image has a place in space, that of each frame."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    if frames > 1 and picture.affine is None:  # with a place in space, frames are told apart by it
        data.FrameIncrementPointer, data.PageNumberVector = _PAGES, list(range(1, frames + 1))
    if picture.spacing.unit == "pixel":
        return
    *depth, row, column = (_decimal(v, picture.spacing.unit) for v in picture.spacing.values)
    measures = data if picture.affine is None else Dataset()  # programs take a described frame without a place for a damaged one
    measures.PixelSpacing = [row, column]
    if depth:
        measures.SliceThickness = measures.SpacingBetweenSlices = depth[0]
    if picture.affine is None:
        return
    data.FrameOfReferenceUID = _uid(picture, "frame of reference")
    data.PositionReferenceIndicator = ""
    orientation, positions = _placed(picture.affine, frames, picture)
    plane, shared = Dataset(), Dataset()
    plane.ImageOrientationPatient = orientation
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    per_frame = [Dataset() for _ in range(frames)]
    for one, position in zip(per_frame, positions, strict=True):
        place = Dataset()
        place.ImagePositionPatient = position
        one.PlanePositionSequence = Sequence([place])
    if frames > 1:
        data.FrameIncrementPointer = _FRAMES
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(per_frame)


def _placed(affine: NDArray[np.float64], frames: int, picture: Picture) -> tuple[list[str], list[list[str]]]:
    """Return the cosines of rows and columns, and the centre of the first pixel of each frame, left-posterior-superior."""
    from pydicom.valuerep import format_number_as_ds

    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    turn = lps[:3, :2] / np.linalg.norm(lps[:3, :2], axis=0)
    if abs(turn[:, 0] @ turn[:, 1]) > _STRAIGHT:
        problem = refused(NAME, "Rows and columns are at right angles", f"{picture.name} with sheared axes", "nifti")
        raise InputError(problem)
    positions = [(lps @ [0.0, 0.0, float(k), 1.0])[:3] for k in range(frames)]
    return [format_number_as_ds(float(v)) for v in turn.T.ravel()], [[format_number_as_ds(float(v)) for v in p] for p in positions]


def _decimal(value: float, unit: str) -> str:
    """Return a distance in millimetres as a decimal string of at most 16 characters: exactly, for every spacing that people write down."""
    from pydicom.valuerep import format_number_as_ds

    exact = format((Decimal(repr(value)) * _IN_MM[unit]).normalize(), "f")
    return exact if len(exact) <= 16 else str(format_number_as_ds(float(exact)))


def _uid(picture: Picture, *parts: str) -> str:
    """Return the UID of a thing: the same thing of the same dataset always has the same."""
    key = "/".join((picture.about["payload"], picture.about["image"], *parts))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, key).int}"


def _short(text: str) -> str:
    """Return a text that a DICOM long string holds: 64 characters, no backslash; a longer one ends in a digest of itself."""
    text = text.replace("\\", "/")
    return text if len(text) <= 64 else f"{text[:47]}-{uuid.uuid5(uuid.NAMESPACE_URL, text).hex[:16]}"
