"""A watched folder: whatever is new in it and has come whole goes into a collection, once.

An image is taken when two looks some time apart find the same files of the same sizes and change marks, or, where the senders leave a
marker file beside each image, as soon as that is there. No clock decides: a time stamp is only ever compared with itself, and a
difference in it makes an image wait, or be looked at again, and never be passed over.

``COLLECTION.watched.json`` remembers what was looked at, by digests of names and of sizes and marks: it names no file. It may be
deleted; then everything is read again, and what the collection holds adds nothing.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from sciimg.errors import BusyError, InputError, Problem
from sciimg.files import hold, write_bytes
from sciimg.io import dicom
from sciimg.io.expand import expand, is_zarr
from sciimg.io.open import files_of
from sciimg.records import Digest, digest_of, pretty_json
from sciimg.stages.ingest import ingest_files, parse_spacing
from sciimg.stages.items import IMAGES, LABEL_FOLDERS, pairs
from sciimg.types import LabelKind

MEMORY = ".watched.json"
_NO_IMAGES = "empty-folder"
Look = dict[Path, Digest]  # image of the folder -> digest of the sizes and marks of its files


def take_new(
    folder: str,
    collection: str,
    *,
    settle_s: float = 60.0,
    marker: str = "",
    spacing: str = "",
    unit: str = "",
    label_kind: str = "",
    keep_names: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Take what is new and whole in a folder into a collection.

    Parameters
    ----------
    folder, collection : str
        The folder that is watched, searched through as by ``sciimg ingest``, and the collection that grows.
    settle_s : float
        Seconds between the two looks at what is new. On a network file system, longer than its clients remember sizes (usually 60 s).
    marker : str
        Ending of the file that says an image is whole: with ``.done``, ``a.tif`` is taken when ``a.tif.done`` is there. Empty: no markers.
    spacing, unit, label_kind, keep_names
        As for ``sciimg ingest``.

    Returns
    -------
    dict
        ``new`` (ids of images that were added), ``waiting`` (how many images are not whole yet), ``left_out`` (how many were refused for
        each reason), ``images`` (how many the collection holds), ``due`` (whether something came since :func:`done_with` was called).

    Raises
    ------
    InputError
        Every parameter that cannot be used.
    BusyError
        If another process watches for this collection.
    """
    source, place = Path(folder), Path(collection)
    check_watch(folder, collection, settle_s=settle_s, marker=marker, spacing=spacing, unit=unit, label_kind=label_kind)
    said = parse_spacing(spacing or None, unit or None)
    how = digest_of([spacing, unit, label_kind, keep_names])
    with hold(place.with_name(f".{place.name}.watch.lock")):
        memory = _Memory.of(place, how)
        first, labels = _look(source)
        unknown = {path: mark for path, mark in first.items() if not memory.knows(source, path, mark)}
        whole, waiting = unknown, 0
        if unknown:
            if settle_s > 0:
                sleep(settle_s)
            again, labels = _look(source)
            whole = {path: mark for path, mark in unknown.items() if again.get(path) == mark and _complete(path, marker, source)}
            waiting = sum(path not in whole and not memory.knows(source, path, mark) for path, mark in again.items())
        waiting += _alone(source)
        before = _ids(place)
        left_out: dict[str, int] = {}
        if whole:
            options: dict[str, Any] = {"spacing": said, "label_kind": label_kind or None, "keep_names": keep_names}
            try:
                value = ingest_files([source], place, only={*whole, *(labels[path] for path in whole if path in labels)}, **options)
                left_out = _count(value["rejected"])
            except BusyError:
                raise
            except InputError as error:  # nothing of all this can be read, and there is no collection yet
                left_out = _count([{"problems": [p.as_dict() for p in error.problems]}])
        new = sorted(_ids(place) - before)
        memory.add(source, whole, due=bool(new), collection=place.exists())
        return {"new": new, "waiting": waiting, "left_out": left_out, "images": len(_ids(place)), "due": memory.due}


def done_with(collection: Path) -> None:
    """Note that what came so far has been worked with: nothing is due until something more comes."""
    with hold(collection.with_name(f".{collection.name}.watch.lock")):
        path = _memory_of(collection)
        if not path.exists():
            return
        value = json.loads(path.read_text(encoding="utf-8"))
        write_bytes(path, pretty_json(value | {"due": False}).encode(), mode=0o600)


def check_watch(
    folder: str,
    collection: str,
    *,
    settle_s: float = 60.0,
    marker: str = "",
    spacing: str = "",
    unit: str = "",
    label_kind: str = "",
    keep_names: bool = False,
) -> None:
    """Refuse parameters of :func:`take_new` that cannot be used.

    Raises
    ------
    InputError
        Every one of them.
    """
    source, place = Path(folder), Path(collection)
    problems = []
    if not source.is_dir():
        message = f"The folder to watch must exist; there is none at {source.absolute()}. Make it, or set another one."
        problems.append(Problem("folder", "missing", message))
    elif is_zarr(source):
        problems.append(Problem("folder", "not-a-folder", "A folder of images is watched; this one is an image or a collection itself."))
    elif place.resolve().is_relative_to(source.resolve()):
        message = "The collection must lie outside the folder that is watched, or it would be found there as new. Set another place."
        problems.append(Problem("collection", "inside-folder", message))
    if isinstance(settle_s, bool) or not isinstance(settle_s, int | float) or not 0 <= settle_s <= 86400:
        problems.append(Problem("settle_s", "bad-value", f"Seconds between two looks are a number from 0 to a day; got {settle_s!r}."))
    if label_kind and label_kind not in get_args(LabelKind):
        problems.append(Problem("label_kind", "bad-value", f"It must be instances or classes, or empty; got {label_kind!r}."))
    if not isinstance(marker, str) or "/" in marker:
        problems.append(Problem("marker", "bad-value", f"It is the ending of a file's name, e.g. .done, or empty; got {marker!r}."))
    if not isinstance(keep_names, bool):
        problems.append(Problem("keep_names", "bad-value", f"It is true or false; got {keep_names!r}."))
    try:
        parse_spacing(spacing or None, unit or None)
    except InputError as error:
        problems += [Problem(p.where.removeprefix("--"), p.kind, p.message) for p in error.problems]
    if problems:
        raise InputError(problems)


# ---------------------------------------------------------------- what is there


def _look(folder: Path) -> tuple[Look, Mapping[Path, Path]]:
    """Return the images of a folder, each with a digest of what its files and its labels look like from outside, and image -> labels."""
    found = _found(folder)
    labels = pairs(found)
    look: Look = {}
    for path in found:
        if _waits_for_partner(path, folder, labels):
            continue
        try:
            parts = [*_files(path), *(_files(labels[path]) if path in labels else ())]
            look[path] = digest_of([_mark(part) for part in parts])
        except OSError:  # it went away while it was looked at, or cannot be read: another look will tell
            continue
    return look, labels


def _found(folder: Path) -> list[Path]:
    try:
        return expand(folder)
    except InputError as error:
        if all(p.kind == _NO_IMAGES for p in error.problems):
            return []
        raise


def _alone(folder: Path) -> int:
    """Return how many images wait for their labels, or labels for their images."""
    found = _found(folder)
    labels = pairs(found)
    beside = set(labels.values())
    return sum(path not in beside and _waits_for_partner(path, folder, labels) for path in found)


def _waits_for_partner(path: Path, folder: Path, labels: Mapping[Path, Path]) -> bool:
    """Whether a file is not taken by itself: labels never are, and an image beside a folder of labels comes together with its own."""
    if path.parent == folder:
        return False
    if path.parent.name.lower() in LABEL_FOLDERS:
        return True
    if path.parent.name.lower() != IMAGES or path in labels:
        return False
    return any((path.parent.parent / kind).is_dir() for kind in LABEL_FOLDERS)


def _files(path: Path) -> list[Path]:
    """Return the files that an image consists of."""
    if not path.is_dir():
        return files_of(path)
    return sorted(p for p in path.rglob("*") if p.is_file()) if is_zarr(path) else dicom.members(path)


def _mark(path: Path) -> list[Any]:
    about = path.stat()
    return [_digest_of_path(path), about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns]


def _complete(path: Path, marker: str, folder: Path) -> bool:
    return not marker or path == folder or path.with_name(path.name + marker).exists()


def _ids(collection: Path) -> set[str]:
    from sciimg.store import Collection

    return set(Collection(collection).catalogue["id"]) if collection.exists() else set()


def _count(rejected: list[dict[str, Any]]) -> dict[str, int]:
    kinds = [p["kind"] for entry in rejected for p in entry["problems"]]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


# ---------------------------------------------------------------- what was looked at before


class _Memory:
    """What was taken or refused, as it looked then, and how it was to be read."""

    def __init__(self, path: Path, seen: dict[str, Digest], due: bool, how: Digest) -> None:
        self._path, self._seen, self.due, self._how = path, seen, due, how

    @classmethod
    def of(cls, collection: Path, how: Digest) -> "_Memory":
        path = _memory_of(collection)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            gone = value["collection"] and not collection.exists()
            seen = value["seen"] if value["how"] == how and not gone else {}  # another way to read may take what was refused
            return cls(path, dict(seen), bool(value["due"]), how)
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path, {}, False, how)

    def knows(self, folder: Path, path: Path, mark: Digest) -> bool:
        return self._seen.get(_key(folder, path)) == mark

    def add(self, folder: Path, look: Look, *, due: bool, collection: bool) -> None:
        if look:
            self._seen |= {_key(folder, path): mark for path, mark in look.items()}
            self.due = self.due or due
            value = {"how": self._how, "due": self.due, "collection": collection, "seen": self._seen}
            write_bytes(self._path, pretty_json(value).encode(), mode=0o600)


def _memory_of(collection: Path) -> Path:
    return collection.with_name(collection.name + MEMORY)


def _key(folder: Path, path: Path) -> str:
    return _digest_of_path(path.relative_to(folder) if path != folder else Path())


def _digest_of_path(path: Path) -> str:
    """Return a digest of a path of any bytes."""
    return digest_of(os.fsencode(path).hex())
