"""Open a file of any readable format, and find the files that a user means. Content decides the format, never the name."""

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from sciimg.errors import Problem
from sciimg.io import dicom, gz, nifti, npy, png, tiff
from sciimg.io.faults import refuse
from sciimg.io.image import MEMORY_LIMIT, Image
from sciimg.io.spacing import Wishes
from sciimg.records import Digest, digest_file
from sciimg.types import Spacing


class Format(NamedTuple):
    """A readable format: its name and the module with ``sniff``, ``open`` and ``EXTENSIONS``."""

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

    Raises
    ------
    InputError
        Kinds ``missing``, ``empty-file``, ``folder``, ``unknown-format``, and those of the format.
    """
    path = Path(path)
    found = _format_of(path)
    image: Image = found.module.open(path, Wishes(spacing, override, axes, memory_limit, burned_in))
    suffix = extension(path)
    if path.is_dir() or suffix in found.module.EXTENSIONS:
        return image
    message = f"The name ends in {suffix or 'nothing'!r}, the content is {found.name}; it was read by its content."
    return image.with_problems(Problem(path.name, "wrong-extension", message))


def recognise(path: Path) -> Format | None:
    """Return the format of a file by its content, or None."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    return next((f for f in FORMATS if f.module.sniff(head, path)), None)


def digest_source(path: Path) -> Digest:
    """Return the SHA-256 of a file, or of the names and digests of the files of a DICOM series."""
    return dicom.digest_series(path) if path.is_dir() else digest_file(path)


def extension(path: Path) -> str:
    """Return the lower-case extension, both parts of ``.nii.gz`` and of ``.ome.tif``'s last."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def _format_of(path: Path) -> Format:
    if path.is_dir():
        if dicom.members(path):
            return next(f for f in FORMATS if f.module is dicom)
        raise refuse(path, "folder", "An image is a file, or a folder with one DICOM series; this folder holds no DICOM files.")
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
    if head.startswith(gz.GZIP) and extension(path) == ".nii.gz":
        return refuse(path, "corrupt", "The gzip stream must hold a NIfTI header; it is damaged or holds something else. Get a fresh copy.")
    named = f" although its name ends in {extension(path)!r}" if extension(path) in EXTENSIONS else ""
    formats = ", ".join(f.name for f in FORMATS)
    return refuse(path, "unknown-format", f"The content must be {formats}; it begins with {head[:8]!r}{named}. Convert or remove it.")
