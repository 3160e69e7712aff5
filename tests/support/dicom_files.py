"""Small DICOM series whose every pixel and place is known."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_slice(path: Path, pixels: np.ndarray, position, *, series: str = "1.2.3", number: int = 1, **elements) -> None:
    """Write one slice (rows, columns[, 3]); ``elements`` overrides or, with None, removes an element by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = elements.pop("SOPInstanceUID", generate_uid(entropy_srcs=[str(path)]))
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    header.SeriesInstanceUID, header.Modality = series, "MR"
    header.PatientName, header.PatientBirthDate, header.InstitutionName = "Doe^Jane", "19700101", "St Elsewhere"
    header.SeriesDescription, header.ImageComments = "brain of Jane Doe", "call Jane"
    header.EchoTime, header.RepetitionTime, header.FlipAngle, header.MagneticFieldStrength = 30.0, 2000.0, 90.0, 3.0
    header.ScanningSequence = ["EP", "GR"]
    header.Rows, header.Columns = pixels.shape[:2]
    header.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    header.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        header.PlanarConfiguration = 0
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(pixels.dtype.kind == "i")
    header.PixelSpacing, header.SliceThickness = [0.7, 0.5], 2.0
    header.ImageOrientationPatient, header.ImagePositionPatient = list(AXIAL), list(position)
    header.InstanceNumber = number
    header.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    for keyword, value in elements.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    header.save_as(path, enforce_file_format=True)


def write_series(folder: Path, volume: np.ndarray, *, step: float = 2.0, **elements) -> list[Path]:
    """Write a volume (z, y, x) as slices along +z whose file names are in an order of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(5).permutation(len(volume))
    paths = []
    for z, plane in enumerate(volume):
        path = folder / f"IM{order[z]:04d}"
        write_slice(path, plane, (-10.0, -20.0, 5.0 + step * z), number=z + 1, **elements)
        paths.append(path)
    return paths
