"""What a file says that is not kept: names of elements and how many there were, never a value. Evidence of de-identification.

Readers keep what an allow-list names and forget the rest, so that nothing has to be found in order to be removed. This looks once more,
to be able to say what was there.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sciimg.io import dicom, nifti
from sciimg.io.dicom_header import KEPT
from sciimg.io.faults import decoding

_NIFTI_TEXT = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
_PIXELS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData", "DataSetTrailingPadding"})


def removed_from(path: Path) -> dict[str, int]:
    """Return how many elements of each name a source holds that its image does not keep.

    Parameters
    ----------
    path : Path
        A file, or a folder with one DICOM series. Formats other than DICOM and NIfTI give nothing.

    Returns
    -------
    dict
        DICOM keyword (``private (gggg,eeee)`` for elements of makers, nested ones too) or ``NIfTI`` field → count, sorted.
    """
    found: Counter[str] = Counter()
    for file in dicom.members(path) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            head = stream.read(352)
        if dicom.sniff(head, file):
            found.update(_dicom(file))
        elif nifti.sniff(head, file):
            found.update(_nifti(file))
    return dict(sorted(found.items()))


def _dicom(path: Path) -> Iterator[str]:
    import pydicom

    with decoding(path, what="The DICOM header cannot be read"):
        yield from list(_forgotten(pydicom.dcmread(path, stop_before_pixels=True)))


def _forgotten(dataset: Any) -> Iterator[str]:
    for tag in dataset:
        name = f"private ({tag.tag.group:04x},{tag.tag.element:04x})" if tag.tag.is_private else tag.keyword or f"({tag.tag})"
        if tag.VR == "SQ":
            for item in tag.value:
                yield from _forgotten(item)
        elif name not in KEPT and name not in _PIXELS and tag.value not in (None, "", b""):
            yield name


def _nifti(path: Path) -> Iterator[str]:
    import nibabel

    with decoding(path, what="The NIfTI header cannot be read"):
        header: Any = nibabel.load(path).header
        names = [n for n in _NIFTI_TEXT if n in header and bytes(header[n].tobytes()).strip(b"\0 ")]
        yield from [f"NIfTI {name}" for name in (*names, *("extension" for _ in header.extensions))]
