"""Open a file of any readable format, and find the files that a user means. Content decides the format, never the name."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sciimg.errors import InputError, Problem, printable
from sciimg.io import czi, dicom, gz, hdf5, ims, lif, metaimage, minc, mrc, nd2, nifti, npy, nrrd, omezarr, parrec, png, tiff
from sciimg.io.beside import digest_files
from sciimg.io.faults import refuse
from sciimg.io.image import MEMORY_LIMIT, Image
from sciimg.io.spacing import Wishes
from sciimg.io.tiff_ome import COMPANION
from sciimg.objects import ObjectPath, brought
from sciimg.records import Digest
from sciimg.types import Spacing


class Format(NamedTuple):
    """A readable format: its name and the module with ``sniff``, ``open`` and ``EXTENSIONS``.

    A module whose images may be several files (a header and its data) has ``parts`` too.
    """

    name: str
    module: ModuleType


# The whole plug-in system: the first format that recognises the content opens it. DICOM first: its preamble may look like a TIFF's
# (PS3.10, 7.1), and scanners leave one there.
FORMATS: tuple[Format, ...] = (
    Format("DICOM", dicom),
    Format("TIFF", tiff),
    Format("PNG, JPEG or BMP", png),
    Format("NPY", npy),
    Format("NIfTI", nifti),
    Format("NRRD", nrrd),
    Format("MRC", mrc),
    Format("MINC", minc),
    Format("Imaris", ims),  # MINC 2 and Imaris are HDF5 too
    Format("HDF5", hdf5),
    Format("PAR/REC", parrec),
    Format("OME-Zarr", omezarr),
    Format("CZI", czi),
    Format("LIF", lif),
    Format("ND2", nd2),
    Format("MetaImage", metaimage),  # last: its only mark is a line of its header
)
EXTENSIONS: frozenset[str] = frozenset(e for f in FORMATS for e in f.module.EXTENSIONS)
_HEAD_BYTES = 4096


def open_image(
    path: Path,
    *,
    spacing: Spacing | None = None,
    override: bool = False,
    axes: str | None = None,
    memory_limit: int = MEMORY_LIMIT,
    burned_in: bool = False,
    label: bool = False,
) -> Image:
    """Open an image without reading its pixels.

    Parameters
    ----------
    path : Path
        A file, or a folder with one DICOM series.
    spacing : Spacing, optional
        Along z, y, x (or one value for all), where the file says nothing. ``Spacing((1.0,), "pixel")`` says that no physical size is
        known and never contradicts a file.
    override : bool
        Let ``spacing`` contradict the file.
    axes : str, optional
        For files that hold a stack without naming its axes, e.g. ``"tyx"``.
    memory_limit : int
        Largest piece in bytes that may be in memory at once.
    burned_in : bool
        Accept DICOM pixels that are declared to show annotations.
    label : bool
        Take the labels of a file that holds them beside its image (HDF5).

    Raises
    ------
    InputError
        Kinds ``missing``, ``empty-file``, ``folder``, ``unknown-format``, and those of the format.
    """
    path = _readable(path)
    found = _format_of(path)
    image: Image = found.module.open(path, Wishes(spacing, override, axes, memory_limit, burned_in, label))
    image = replace(image, source=printable(image.source), problems=tuple(_printable(p) for p in image.problems))
    suffix = extension(path)
    if path.is_dir() or suffix in found.module.EXTENSIONS:
        return image
    message = f"The name ends in {suffix or 'nothing'!r}, the content is {found.name}; it was read by its content."
    return image.with_problems(_printable(Problem(path.name, "wrong-extension", message)))


def _readable(path: Path) -> Path:
    """Return what readers open: of an object store, OME-Zarr where it lies, files of other formats in a folder here."""
    if not isinstance(path, ObjectPath):
        return Path(path)
    return path if omezarr.holds(path) or not path.exists() else brought(path)


def _printable(problem: Problem) -> Problem:
    return Problem(printable(problem.where), problem.kind, printable(problem.message))


def recognise(path: Path) -> Format | None:
    """Return the format of a file by its content, or None."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return next((f for f in FORMATS if f.module.sniff(head, path)), None)


def digest_source(path: Path) -> Digest:
    """Return the SHA-256 of what an image is made of: a file, a DICOM series, an OME-Zarr, a set of OME-TIFFs, a header and its data."""
    if path.is_dir():
        return omezarr.digest_folder(path) if omezarr.holds(path) else dicom.digest_series(path)
    return digest_files(files_of(path))


def files_of(path: Path) -> list[Path]:
    """Return the files of which an image file is one: a header and its data, a set. A header that is refused stands alone."""
    found = recognise(path)
    if found is None or not hasattr(found.module, "parts"):
        return [path]
    try:
        files: list[Path] = found.module.parts(path)
    except InputError:
        return [path]
    return files


def extension(path: Path) -> str:
    """Return the lower-case extension, both parts of ``.nii.gz`` and ``.companion.ome``, of ``.ome.tif`` the last."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if path.name.lower().endswith(COMPANION):
        return COMPANION
    return "".join(suffixes[-2:]) if suffixes[-1:] in ([".gz"], [".bz2"]) else path.suffix.lower()


def _format_of(path: Path) -> Format:
    if path.is_dir():
        if dicom.members(path):
            return next(f for f in FORMATS if f.module is dicom)
        if omezarr.holds(path):
            return next(f for f in FORMATS if f.module is omezarr)
        message = "An image is a file, an OME-Zarr, or a folder with one DICOM series; this folder is none. Ingest a folder of images."
        raise refuse(path, "folder", message)
    if not path.exists():
        raise refuse(path, "missing", "The file must exist; there is none of this name. Check the path.")
    if not path.is_file():
        raise refuse(path, "missing", "The path must lead to a file or a folder; it leads to something else.")
    if path.stat().st_size == 0:
        raise refuse(path, "empty-file", "The file must have content; it has 0 bytes. Was a copy interrupted?")
    found = recognise(path)
    if found is None:
        raise _unknown(path)
    return found


def _unknown(path: Path) -> Exception:
    """Return the error for content that no reader knows; a damaged gzip cannot even be looked into."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(gz.GZIP) and extension(path) in EXTENSIONS:
        return refuse(
            path, "corrupt", "The gzip stream must hold an image's header; it is damaged or holds something else. Get a fresh copy."
        )
    named = f" although its name ends in {extension(path)!r}" if extension(path) in EXTENSIONS else ""
    formats = ", ".join(f.name for f in FORMATS)
    return refuse(path, "unknown-format", f"The content must be {formats}; it begins with {head[:8]!r}{named}. Convert or remove it.")
