"""What a file says that is not kept: names of elements and how many there were, never a value. Evidence of de-identification.

Readers keep what an allow-list names and forget the rest, so that nothing has to be found in order to be removed. This looks once more,
to be able to say what was there. A name is told only where a standard has given it: one that a user made up may name a person itself, and
counts as another.
"""

import bz2
import gzip
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sciimg.io import dicom, gz, metaimage, minc, mrc, nifti, nrrd, parrec, png, tiff
from sciimg.io.dicom_header import KEPT
from sciimg.io.open import recognise
from sciimg.io.removed_pictures import from_jpeg, from_png, from_tiff

Names = Iterator[str]

_NIFTI_TEXT = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
_PIXELS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData", "DataSetTrailingPadding"})
_NRRD_FIELDS = frozenset({"content", "number", "sample units"})
_HEADER_BYTES = 1 << 20
# Keys of MetaImage that describe the array or its place (ITK's MetaIO documentation); all others are forgotten.
_METAIMAGE_SHAPE = frozenset({
    "objecttype", "ndims", "binarydata", "binarydatabyteordermsb", "elementbyteordermsb", "compresseddata", "compresseddatasize",
    "transformmatrix", "rotation", "orientation", "offset", "position", "origin", "centerofrotation", "anatomicalorientation",
    "elementspacing", "elementsize", "dimsize", "elementtype", "elementnumberofchannels", "elementmin", "elementmax", "headersize",
    "elementdatafile", "modality", "elementtointensityfunctionslope", "elementtointensityfunctionoffset",
})  # fmt: skip
_METAIMAGE_TEXT = ("comment", "name", "id", "parentid", "acquisitiondate", "objectsubtype", "transformtype", "distanceunits")
# Attributes of MINC's patient and study (MINC reference, "Standard variables"); others are told by their variable only.
_MINC_TEXT = frozenset({
    "full_name", "other_names", "identification", "other_ids", "birthdate", "sex", "age", "weight", "size", "address",
    "insurance_id", "start_time", "start_year", "start_month", "start_day", "start_hour", "start_minute", "start_seconds",
    "modality", "manufacturer", "device_model", "institution", "department", "station_id", "referring_physician",
    "attending_physician", "radiologist", "operator", "admitting_diagnosis", "procedure", "study_id", "protocol", "history",
    "ident", "comments",
})  # fmt: skip
_MINC_ABOUT = ("patient", "study", "acquisition")
_PAR_TEXT = ("Patient name", "Examination name", "Protocol name", "Examination date/time", "Patient position", "Series Type")


def removed_from(path: Path) -> dict[str, int]:
    """Return how many elements of each name a source holds that its image does not keep.

    Parameters
    ----------
    path : Path
        A file, or a folder with one DICOM series. OME-Zarr and NPY give nothing.

    Returns
    -------
    dict
        DICOM keyword (``private (gggg,eeee)`` for elements of makers, nested ones too), or format and name of the element → count,
        sorted. ``FORMAT header (not listed)`` where a header that could be read could not be listed.
    """
    found: Counter[str] = Counter()
    for file in dicom.members(path) if path.is_dir() else [path]:
        known = recognise(file)
        names = _LISTS.get(known.module.__name__) if known is not None else None
        if known is None or names is None:
            continue
        try:
            found.update(list(names(file)))
        except Exception:  # decoding libraries raise almost anything; the image is fine, and none of this is kept
            found[f"{known.name} header (not listed)"] += 1
    return dict(sorted(found.items()))


def _dicom(path: Path) -> Names:
    import pydicom

    return _forgotten(pydicom.dcmread(path, stop_before_pixels=True))


def _forgotten(dataset: Any) -> Names:
    for tag in dataset:
        name = f"private ({tag.tag.group:04x},{tag.tag.element:04x})" if tag.tag.is_private else tag.keyword or f"({tag.tag})"
        if tag.VR == "SQ":
            for item in tag.value:
                yield from _forgotten(item)
        elif name not in KEPT and name not in _PIXELS and tag.value not in (None, "", b""):
            yield name


def _nifti(path: Path) -> Names:
    import nibabel

    header: Any = nibabel.load(path).header
    names = [n for n in _NIFTI_TEXT if n in header and bytes(header[n].tobytes()).strip(b"\0 ")]
    yield from (f"NIfTI {name}" for name in (*names, *("extension" for _ in header.extensions)))


def _nrrd(path: Path) -> Names:
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    for raw in re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0].splitlines()[1:]:
        key, mark, value = raw.decode("utf-8", "replace").partition(":")
        if raw.startswith(b"#"):
            yield "NRRD comment"
        elif value.startswith("="):
            if not key.startswith("DWMRI_"):
                yield "NRRD key/value pair"
        elif mark and key.strip().lower() in _NRRD_FIELDS:
            yield f"NRRD {key.strip().lower()}"


def _metaimage(path: Path) -> Names:
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    for raw in head.splitlines():
        key, _, value = raw.decode("latin-1").partition("=")
        name = key.strip().lower()
        if name in _METAIMAGE_TEXT and value.strip():
            yield f"MetaImage {name}"
        elif name not in _METAIMAGE_SHAPE and value.strip():
            yield "MetaImage other key"
        if name == "elementdatafile":
            return


def _mrc(path: Path) -> Names:
    """MRC2014: the number of labels is word 56, they begin at word 57; word 24 is the length of the extended header."""
    with path.open("rb") as stream:
        start = stream.read(3)
    opened = gzip.open if start.startswith(gz.GZIP) else bz2.open if start == b"BZh" else open
    with opened(path, "rb") as stream:
        data = stream.read(1024)
    order = ">" if data[212:214] == b"\x11\x11" else "<"
    labels = [data[224 + 80 * i : 304 + 80 * i].strip(b"\0 ") for i in range(10)]
    yield from ("MRC label" for label in labels if label)
    if struct.unpack_from(order + "i", data, 92)[0] > 0:
        yield "MRC extended header"


def _minc(path: Path) -> Names:
    with path.open("rb") as stream:
        second = stream.read(8) == b"\x89HDF\r\n\x1a\n"
    about: Mapping[str, Mapping[str, Any]]
    if second:
        import h5py

        with h5py.File(path, "r") as file:
            group = file["minc-2.0"]
            about = {n: dict(group[f"info/{n}"].attrs) for n in _MINC_ABOUT if f"info/{n}" in group} | {"": dict(group.attrs)}
    else:
        from nibabel.externals.netcdf import netcdf_file

        with netcdf_file(str(path), "r", mmap=False) as file:
            about = {n: file.variables[n]._attributes for n in _MINC_ABOUT if n in file.variables} | {"": file._attributes}
    for variable, attributes in about.items():
        for name in attributes:
            if variable == "acquisition" and name != "protocol":
                continue  # parameters of the scan, some of which are kept
            if name in _MINC_TEXT:
                yield f"MINC {variable}:{name}"
            elif variable in ("patient", "study") and name not in ("varid", "vartype", "version"):
                yield f"MINC {variable}:other"


def _parrec(path: Path) -> Names:
    for line in path.read_text("latin-1").splitlines():
        key, _, value = line.removeprefix(".").partition(":")
        if line.startswith(".") and value.strip() and key.strip() in _PAR_TEXT:
            yield f"PAR {key.strip()}"


def _picture(path: Path) -> Names:
    data = path.read_bytes()
    return from_png(data) if data.startswith(b"\x89PNG") else from_jpeg(data) if data.startswith(b"\xff\xd8") else iter(())


_LISTS: Mapping[str, Callable[[Path], Names]] = {
    module.__name__: names
    for module, names in (
        (dicom, _dicom), (nifti, _nifti), (nrrd, _nrrd), (metaimage, _metaimage), (mrc, _mrc), (minc, _minc), (parrec, _parrec),
        (png, _picture), (tiff, from_tiff),
    )
}  # fmt: skip
