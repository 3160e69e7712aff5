"""From what a user names (file, folder, glob, ``package:NAME/path``) to the images it stands for."""

import importlib.util
import os
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path, PurePosixPath

from sciimg.io import dicom, omezarr
from sciimg.io.faults import refuse
from sciimg.io.open import EXTENSIONS, extension, recognise
from sciimg.io.tiff_ome import one_a_set
from sciimg.objects import ObjectPath, brought, is_uri

PACKAGE = "package:"
# Formats of microscopes and scanners that are named here so that a folder which holds them is not silently read without them.
UNREADABLE = frozenset((".czi", ".lif", ".nd2", ".oib", ".oif", ".mgz", ".npz", ".hdr", ".gif"))


def expand(uri: str | Path, folder: Path = Path(), *, fetch: bool = True) -> list[Path]:
    """Return the images that a text stands for, sorted.

    Parameters
    ----------
    uri : str or Path
        A file; a folder, searched through, in which every subfolder of DICOM files counts as one image; a glob; or
        ``package:NAME/path`` for a file inside an installed package, which is not imported; or a place in an object store, of which
        collections and OME-Zarr images stay there, and files of other formats are fetched into a temporary folder.
    folder : Path
        What relative paths are relative to.
    fetch : bool
        Without it, an object store is only asked whether there is something.

    Returns
    -------
    list of Path
        Files and DICOM folders; of a set of OME-TIFFs the companion, else the first. In a folder, files that are no images by content
        and do not claim to be by name are passed over (notes, tables); those that claim to be are returned, so that they can be refused
        by name.

    Raises
    ------
    InputError
        Kinds ``missing``, ``empty-folder``, ``no-match``, ``package-missing``.
    """
    text = str(uri)
    if is_uri(text):
        return _in_store(text, fetch=fetch)
    if text.startswith(PACKAGE):
        path = package_file(text)
    elif has_magic(text) and not (folder / text).exists():
        return _matches(text, folder)
    else:
        path = folder / Path(text).expanduser()
    if not path.exists():
        raise refuse(text, "missing", f"The path must exist; there is nothing at {path}. Check the path.")
    if not path.is_dir() or is_zarr(path):
        return [path]
    found = one_a_set(list(_walk(path)))
    if not found:
        raise refuse(text, "empty-folder", "A folder of images must hold at least one; this one holds none. Check the path.")
    return found


def objects_of(uri: str) -> tuple[ObjectPath, list[ObjectPath]]:
    """Return the objects that a URI names, and those below the places that it names, with the place that they all lie in.

    In a pattern, each ``*`` stands within one part of a key.

    Raises
    ------
    InputError
        Kind ``missing``.
    """
    place = ObjectPath.of(uri)
    depth = len(place.parts)
    fixed = next((i for i, part in enumerate(place.parts) if has_magic(part)), depth)
    root = ObjectPath(*place.parts[:fixed])
    found = [root] if root.is_file() else list(root.objects())
    if fixed < depth:
        found = [o for o in found if len(o.parts) >= depth and PurePosixPath(*o.parts[:depth]).match(PurePosixPath(place).as_posix())]
    if not found:
        raise refuse(uri, "missing", "There must be an object, or objects below it; there is none of this name. Check bucket and key.")
    return root, found


def _in_store(uri: str, *, fetch: bool) -> list[Path]:
    """Return the images of a place in an object store: OME-Zarr where it lies, files of other formats here."""
    root, found = objects_of(uri)
    if not fetch:
        return [root]
    stored: set[ObjectPath] = set()
    for folder in sorted({o.parent for o in found if o.name in (*omezarr.METADATA, "collection.json")}, key=lambda p: len(p.parts)):
        if not stored & set(folder.parents):
            stored.add(folder)
    files = [o for o in found if not stored & set(o.parents)]
    images: list[Path] = [*stored]
    if files:
        local = brought(root, files)
        images += one_a_set(list(_walk(local)) if local.is_dir() else [local])
    if not images:
        raise refuse(uri, "empty-folder", "A prefix of images must hold at least one; this one holds none. Check the path.")
    return sorted(images)


def package_file(uri: str) -> Path:
    """Return where a file of an installed package lies, without importing the package.

    Raises
    ------
    InputError
        Kind ``package-missing``.
    """
    name, _, inside = uri.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    roots = list(spec.submodule_search_locations or ()) if spec else []
    if not roots:
        install = f"pip install {_DISTRIBUTIONS.get(name, name)}"
        message = f"The package {name!r}, in which this file ships, must be installed; it is not. Run `{install}`."
        raise refuse(uri, "package-missing", message)
    path = Path(os.path.normpath(Path(roots[0]) / inside))
    if not path.is_relative_to(roots[0]):
        raise refuse(uri, "missing", "A path after `package:NAME/` must lie inside the package; this one leads out of it.")
    return path


_DISTRIBUTIONS = {"skimage": "scikit-image"}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group or array, or a collection of ours."""
    return (path / "collection.json").exists() or omezarr.holds(path)


def is_stored(path: Path) -> bool:
    """Whether a folder is a collection of ours or an OME-Zarr 0.5 image, which the store reads with what it knows of them."""
    return (path / "collection.json").exists() or ((path / "zarr.json").exists() and b'"multiscales"' in (path / "zarr.json").read_bytes())


def _matches(text: str, folder: Path) -> list[Path]:
    pattern = Path(text)
    start, rest = (Path(pattern.anchor), str(pattern.relative_to(pattern.anchor))) if pattern.is_absolute() else (folder, text)
    found = sorted(path for path in start.glob(rest) if not path.name.startswith(".") or pattern.name.startswith("."))
    if not found:
        raise refuse(text, "no-match", f"The pattern must match at least one file in {folder.resolve()}; it matches none.")
    return one_a_set([image for path in found for image in (_walk(path) if path.is_dir() and not is_zarr(path) else [path])])


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the images of a folder and of those below it, a DICOM folder as one."""
    series = set(dicom.members(folder))
    if series:
        yield folder
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path in series or path.name == "DICOMDIR":
            continue
        if path.is_dir():
            if is_zarr(path):
                yield path
            else:
                yield from _walk(path)
        elif extension(path) in EXTENSIONS | UNREADABLE or (path.is_file() and recognise(path) is not None):
            yield path
