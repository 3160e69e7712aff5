"""Building a collection: image by image beside its place, then renamed into it; a killed writer is continued by the next."""

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.files import hold, still_wanted, sweep, sync_directory, write_json
from sciimg.io.image import Image
from sciimg.records import Digest, Lineage
from sciimg.store.catalogue import RESERVED, read_rows, write_catalogue
from sciimg.store.stream import Progress
from sciimg.store.volume import Volume, write_volume
from sciimg.types import LabelKind

CATALOGUE = "catalogue.parquet"
ABOUT = "collection.json"
IMAGES = "images"
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
_LONGEST_ID = 200  # file names end at 255 bytes on most systems
_WORK = ".work"  # in a folder that is written: images that workers make


@dataclass(frozen=True)
class Images:
    """A folder that images of a collection are written to; small enough to be handed to a worker, and knows of no other image.

    Parameters
    ----------
    folder : Path
    synthetic, study
        As of :class:`CollectionWriter`.
    """

    folder: Path
    synthetic: bool
    study: Digest | None

    def write(
        self,
        id: str,
        image: Image,
        *,
        group: str | None,
        conditions: Mapping[str, Any] | None = None,
        labels: NDArray[Any] | Image | None = None,
        label_kind: LabelKind | None = None,
        lineage: Lineage | None = None,
        extra: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] | None = None,
        progress: Progress | None = None,
        named: Callable[[], str] | None = None,
    ) -> Digest:
        """Write one image, whole, under its id; see :meth:`CollectionWriter.add`."""

        def name() -> str:
            nonlocal id
            if named is not None:
                id = named()
            return f"{id}.zarr"

        def about() -> dict[str, Any]:
            more = extra(id) if callable(extra) else extra or {}
            _refuse(_reserved(id, more))
            source = image.source if named is None else id
            own = {"id": id, "group": group or id, "source": source, "sha256": image.sha256, "synthetic": self.synthetic}
            told = {"study": self.study, "lineage": None if lineage is None else lineage.as_json(), "conditions": dict(conditions or {})}
            plain: dict[str, Any] = _plain({**more, **own, **told})
            return plain

        _refuse(_reserved(id, conditions or {}))
        place = still_wanted(self.folder, 0) / f"{id}.zarr"
        return write_volume(place, image, labels=labels, label_kind=label_kind, attributes=about, progress=progress, named=name)

    def apart(self, name: str) -> "Images":
        """Return a folder below this one, which nobody else writes to while its lock is held."""
        return replace(self, folder=self.folder / name)


class CollectionWriter:
    """Builds a collection beside its place and renames it into place at the end of the ``with`` block.

    After an error or a kill, the images that are whole stay in ``.NAME.partial``; the next writer of the same collection finds them
    with :meth:`has`. Images of an earlier attempt that are neither asked for nor added again are removed at the end, and all of them at
    the beginning when that attempt was for another study.

    Parameters
    ----------
    path : Path
        Folder to make; must not exist.
    synthetic : bool
        Whether the images are synthetic; every image carries the mark.
    study : Digest or None
        The study under which the images are made.
    settings : Digest or None
        Of everything else that decides what becomes of a source; what an attempt with other settings left is not taken over.
    extend : bool
        Add to the collection at ``path`` where there is one. Each image is renamed into it when it is whole, the catalogue follows at
        the end; :meth:`source_of` tells what is there already.
    patience_s : float
        How long to wait for another process that writes the same collection.

    Raises
    ------
    InputError
        Kind ``exists`` when ``path`` is there already and is not to be, or cannot be, extended.
    BusyError
        When another process, which is named, writes the same collection.
    """

    def __init__(
        self,
        path: Path,
        *,
        synthetic: bool,
        study: Digest | None = None,
        settings: Digest | None = None,
        extend: bool = False,
        patience_s: float = 1.0,
    ) -> None:
        self.path = path
        self.synthetic = synthetic
        self.study = study
        self._settings, self._extend, self._patience_s = settings, extend, patience_s
        self._extending = False
        self._fresh = False
        self._present: dict[Digest, str] = {}
        self._partial = path.with_name(f".{path.name}.partial")
        self._rejected: dict[str, list[dict[str, str]]] = {}
        self._notes: list[dict[str, str]] = []
        self._kept: set[str] = set()
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        self._lock.enter_context(hold(self.path.with_name(f".{self.path.name}.lock"), patience_s=self._patience_s, remove=True))
        try:
            if self._extend and self.path.exists():
                self._open()
            else:
                self._refuse_taken()
                self._begin()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            if error is None:
                self._finish()

    @property
    def fresh(self) -> bool:
        """Whether no image was here when writing began."""
        return self._fresh

    @property
    def ids(self) -> Set[str]:
        """The images that are in the collection or were added, as it stands: many images ask for it, and a copy for each adds up."""
        return self._kept

    def source_of(self, sha256: Callable[[], Digest]) -> str | None:
        """Return the id of the image of a collection that is extended which comes from this source; None where there is none."""
        return self._present.get(sha256()) if self._present else None

    def holds(self, id: str) -> bool:
        """Whether an image of this id is here, whoever wrote it."""
        return self._place(id).exists()

    def volume(self, id: str) -> Volume:
        """Return an image that is in the collection."""
        return Volume(self._place(id))

    def has(self, id: str, *, sha256: Digest | Callable[[], Digest] | None = None) -> bool:
        """Whether this image is here already, whole (and, with ``sha256``, from the same source); an outdated one is removed."""
        place = self._place(id)
        if self._extending:
            return id in self._kept and sha256 is None  # by its source, an image is asked for with source_of
        if not place.exists():
            return False
        expected = sha256() if callable(sha256) else sha256
        if expected is not None and Volume(place).attributes.get("sha256") != expected:
            shutil.rmtree(place)
            self._kept.discard(id)
            return False
        self._kept.add(id)
        return True

    def add(
        self,
        id: str,
        image: Image,
        *,
        group: str | None,
        conditions: Mapping[str, Any] | None = None,
        labels: NDArray[Any] | Image | None = None,
        label_kind: LabelKind | None = None,
        lineage: Lineage | None = None,
        extra: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] | None = None,
        progress: Progress | None = None,
        named: Callable[[], str] | None = None,
    ) -> Digest:
        """Write one image; return its content digest.

        Parameters
        ----------
        id : str
            ASCII lower case, digits, ``.``, ``_``, ``-``; unique in the collection.
        image : Image
        group : str or None
            The independent unit (subject, field) it belongs to; None where it is one of its own, called by its id.
        conditions : mapping, optional
            Columns of the catalogue: text, numbers, or None.
        labels, label_kind
            As in :func:`sciimg.store.write_volume`.
        lineage : Lineage, optional
            Of a synthetic image.
        extra : mapping, or function of the id that returns it, optional
            More columns; JSON lists and objects become JSON text there and stay what they are in the image's attributes.
        progress : callable, optional
            As in :func:`sciimg.store.write_volume`.
        named : callable, optional
            Returns the id, also as the image's ``source``, when the pixels are written; until then the image is under ``id``.

        Raises
        ------
        InputError
            Kinds ``bad-id``, ``duplicate-id``, ``reserved-column``, and whatever reading and writing the image raises.
        """
        self._check(id, conditions)

        def name() -> str:
            nonlocal id
            if named is not None:
                id = named()
                self._check(id)
                self._clear(id)
            return id

        self._clear(id)
        digest = Images(self._partial / IMAGES, self.synthetic, self.study).write(
            id,
            image,
            group=group,
            conditions=conditions,
            labels=labels,
            label_kind=label_kind,
            lineage=lineage,
            extra=extra,
            progress=progress,
            named=None if named is None else name,
        )
        self._kept.add(id)
        return digest

    @property
    def work(self) -> Images:
        """Where workers write images, which :meth:`adopt` takes from there; what is left of it at the end is removed."""
        (self._partial / _WORK).mkdir(exist_ok=True)
        return Images(self._partial / _WORK, self.synthetic, self.study)

    def adopt(self, id: str, place: Path) -> None:
        """Take over an image that a worker has written, whole, under this id.

        Raises
        ------
        InputError
            As :meth:`add`.
        """
        self._check(id)
        self._clear(id)
        place.rename(self._place(id))
        self._kept.add(id)

    def _clear(self, id: str) -> None:
        """Remove what an earlier attempt left and nobody asked for."""
        if self._place(id).exists():
            shutil.rmtree(self._place(id))

    def reject(self, source: str, problems: Sequence[Problem]) -> None:
        """Record an input that was left out, and why."""
        told = self._rejected.setdefault(source, [])
        told += [p for problem in problems if (p := problem.as_dict()) not in told]

    def note(self, problems: Sequence[Problem]) -> None:
        """Record what was noticed of the whole input and left nothing out."""
        self._notes += [p for problem in problems if (p := problem.as_dict()) not in self._notes]

    def discard(self) -> None:
        """Remove what was written so far; raise an error in the ``with`` block after it, and nothing of it is left."""
        if not self._extending:
            shutil.rmtree(self._partial)
            return
        shutil.rmtree(self._partial / _WORK, ignore_errors=True)
        for id in self._kept - set(self._present.values()):
            shutil.rmtree(self._place(id))

    def _place(self, id: str) -> Path:
        return self._partial / IMAGES / f"{id}.zarr"

    def _check(self, id: str, columns: Mapping[str, Any] | None = None) -> None:
        problems = []
        if not _ID.fullmatch(id) or len(id) > _LONGEST_ID:
            message = f"An id is at most {_LONGEST_ID} of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit; got {id!r}."
            problems.append(Problem(id, "bad-id", message))
        if id in self._kept:
            message = "Every image of a collection needs an id of its own; this one is taken. Rename one of the two files."
            problems.append(Problem(id, "duplicate-id", message))
        _refuse([*problems, *_reserved(id, columns or {})])

    def _refuse_taken(self) -> None:
        if self.path.exists():
            message = "A collection is made once, and there is something here already. Choose another name or remove it."
            raise InputError(Problem(str(self.path), "exists", message))

    def _begin(self) -> None:
        """Make the partial folder, or take over that of an attempt for the same study."""
        mark = {"synthetic": self.synthetic, "study": self.study, "settings": self._settings}
        begun = self._partial / ABOUT
        if self._partial.exists() and not (begun.exists() and _same(begun, mark)):
            shutil.rmtree(self._partial)
        (self._partial / IMAGES).mkdir(parents=True, exist_ok=True)
        self._fresh = not any((self._partial / IMAGES).glob("[!.]*"))
        if not begun.exists():
            write_json(begun, mark)

    def _open(self) -> None:
        """Work in the collection itself. Its images, not its catalogue, say what it holds: a killed writer may have added some."""
        begun = self.path / ABOUT
        if not (begun.exists() and _same(begun, {"synthetic": self.synthetic, "study": self.study})):
            self._refuse_taken()
        self._extending, self._partial = True, self.path
        rows = read_rows(self.path / IMAGES)
        self._kept = {str(row["id"]) for row in rows}
        self._present = {str(row["sha256"]): str(row["id"]) for row in rows}
        about = json.loads(begun.read_bytes())
        self._rejected = {entry["source"]: entry["problems"] for entry in about["rejected"]}
        self._notes = about.get("notes", [])

    def _finish(self) -> None:
        shutil.rmtree(self._partial / _WORK, ignore_errors=True)
        sweep(self._partial, deep=False)
        for place in (self._partial / IMAGES).iterdir():
            if place.name.removesuffix(".zarr") not in self._kept:
                shutil.rmtree(place)
        write_catalogue(self._partial / CATALOGUE, read_rows(self._partial / IMAGES))
        about = {
            "sciimg": 1,
            "synthetic": self.synthetic,
            "study": self.study,
            "images": len(self._kept),
            "rejected": [{"source": source, "problems": problems} for source, problems in sorted(self._rejected.items())],
        }
        write_json(self._partial / ABOUT, about | ({"notes": self._notes} if self._notes else {}))
        if self._extending:
            return
        self._partial.rename(self.path)
        shutil.rmtree(self.path / _WORK, ignore_errors=True)  # a worker that was given up may have gone on until the place was another
        sync_directory(self.path.parent)


def _reserved(id: str, columns: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the names of columns that a caller gives."""
    taken = sorted(set(columns) & RESERVED)
    message = f"These columns have a meaning of their own in a catalogue: {', '.join(taken)}. Rename them in the table."
    return [Problem(id, "reserved-column", message)] if taken else []


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise InputError(problems)


def _same(begun: Path, mark: Mapping[str, Any]) -> bool:
    try:
        found = json.loads(begun.read_bytes())
    except ValueError:
        return False
    return isinstance(found, dict) and all(found.get(k) == v for k, v in mark.items())


def _plain(value: Any) -> Any:
    """Return JSON values: NumPy scalars and arrays as Python's own, NaN as None."""
    match value:
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case np.ndarray():
            return _plain(value.tolist())
        case np.generic():
            return _plain(value.item())
        case float() if value != value:
            return None
        case _:
            return value
