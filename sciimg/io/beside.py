"""Images of several files: the data file that a text header names must lie beside it or below; one digest covers them all."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from sciimg.io.faults import refuse
from sciimg.records import Digest, digest_file, digest_of


def digest_files(files: Sequence[Path]) -> Digest:
    """Return the SHA-256 of one file, or of the names and digests of several, in whatever order they come."""
    return digest_file(files[0]) if len(files) == 1 else digest_of({file.name: digest_file(file) for file in files})


def data_file(header: Path, name: str) -> Path:
    """Return the file that ``header`` names.

    A header comes from strangers: it may not lead the program to a file elsewhere. Links inside the folder are the user's own and are
    followed.

    Raises
    ------
    InputError
        Kind ``path-escape`` (absolute, a drive, or ``..``) or ``data-file-missing``.
    """
    inside = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or inside.is_absolute() or PureWindowsPath(name).drive or ".." in inside.parts:
        message = f"A header may only name a data file in its own folder or below; it names {name[:80]!r}. Put the data beside it."
        raise refuse(header, "path-escape", message)
    path = header.parent / inside
    try:
        found = path.is_file()
    except OSError:  # a name longer than the file system knows
        found = False
    if not found:
        message = f"The data must lie beside the header, in {name[:80]!r}; there is no such file. Copy it there, or repair the header."
        raise refuse(header, "data-file-missing", message)
    return path
