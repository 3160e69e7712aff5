"""A collection: a folder of OME-Zarr images with a parquet catalogue that can always be rebuilt from them.

    NAME/images/<id>.zarr    one image each, self-describing
    NAME/catalogue.parquet   one row an image, sorted by id
    NAME/collection.json     what the collection is, and what was rejected
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.files import hold, sync_directory, write_json
from sciimg.io.image import Image
from sciimg.records import Digest, Lineage
from sciimg.store.volume import Volume, write_volume
from sciimg.types import LabelKind

CATALOGUE = "catalogue.parquet"
ABOUT = "collection.json"
COLUMNS = (
    "id", "path", "group", "source", "sha256", "digest", "axes", "shape", "dtype", "spacing", "unit", "channels",
    "label_kind", "label_max", "synthetic", "lineage",
)  # fmt: skip
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")


class CollectionWriter:
    """Builds a collection beside its place and renames it into place at the end of the ``with`` block.

    After an error or a kill the images that are whole stay in ``.NAME.partial``; the next writer of the same path finds them with
    :meth:`has`. Images of an earlier attempt that are neither asked for nor added again are removed at the end.

    Parameters
    ----------
    path : Path
        Folder to make; must not exist.
    synthetic : bool
        Whether the images are synthetic; every image carries the mark.
    study : Digest or None
        The study under which the images were made.

    Raises
    ------
    InputError
        Kind ``exists`` when ``path`` is there already.
    BusyError
        When another process writes the same collection.
    """

    def __init__(self, path: Path, *, synthetic: bool, study: Digest | None = None) -> None:
        self.path = path
        self.synthetic = synthetic
        self.study = study
        self._partial = path.with_name(f".{path.name}.partial")
        self._rejected: list[dict[str, Any]] = []
        self._kept: set[str] = set()
        self._lock = ExitStack()

    def __enter__(self) -> Self:
        if self.path.exists():
            message = "A collection is made once and there is something here already. Choose another name or delete it."
            raise InputError(Problem(str(self.path), "exists", message))
        self._lock.enter_context(hold(self.path.with_name(f".{self.path.name}.lock")))
        (self._partial / "images").mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            if error is None:
                self._finish()

    def has(self, id: str, *, sha256: Digest | None = None) -> bool:
        """Whether an earlier attempt has left this image whole (and, with ``sha256``, from the same source)."""
        if not self._place(id).exists():
            return False
        if sha256 is not None and Volume(self._place(id)).attributes.get("sha256") != sha256:
            shutil.rmtree(self._place(id))
            return False
        self._kept.add(id)
        return True

    def add(
        self,
        id: str,
        image: Image,
        *,
        group: str,
        conditions: Mapping[str, Any] | None = None,
        labels: NDArray[np.int32] | None = None,
        label_kind: LabelKind | None = None,
        lineage: Lineage | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Digest:
        """Write one image; return its content digest.

        Parameters
        ----------
        id : str
            ASCII lower case, digits, ``.``, ``_``, ``-``; unique.
        image : Image
        group : str
            The independent unit (subject, field) it belongs to.
        conditions : mapping, optional
            Columns of the catalogue; numbers or text.
        labels, label_kind, lineage
            As in :func:`write_volume` and :class:`Lineage`.
        extra : mapping, optional
            JSON values kept with the image but not in the catalogue.

        Raises
        ------
        InputError
            Kinds ``bad-id``, ``duplicate-id``, ``reserved-column``, and whatever reading the image raises.
        """
        self._check(id, conditions or {})
        about = {
            **(extra or {}),
            "id": id,
            "group": group,
            "source": image.source,
            "sha256": image.sha256,
            "synthetic": self.synthetic,
            "study": self.study,
            "lineage": None if lineage is None else lineage.as_json(),
            "conditions": dict(conditions or {}),
        }
        place = self._place(id)
        if place.exists():  # left by an earlier attempt with other content
            shutil.rmtree(place)
        digest = write_volume(place, image, labels=labels, label_kind=label_kind, attributes=about)
        self._kept.add(id)
        return digest

    def reject(self, source: str, problems: Sequence[Problem]) -> None:
        """Record an input that was left out, and why."""
        self._rejected.append({"source": source, "problems": [p.as_dict() for p in problems]})

    def _place(self, id: str) -> Path:
        return self._partial / "images" / f"{id}.zarr"

    def _check(self, id: str, conditions: Mapping[str, Any]) -> None:
        if not _ID.fullmatch(id):
            raise InputError(Problem(id, "bad-id", "An id is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit."))
        if id in self._kept:
            raise InputError(Problem(id, "duplicate-id", "Two images of one collection have the same id. Rename one of them."))
        if taken := sorted(set(conditions) & set(COLUMNS)):
            message = f"These columns have a meaning of their own in a catalogue: {', '.join(taken)}. Rename them in the table."
            raise InputError(Problem(id, "reserved-column", message))

    def _finish(self) -> None:
        for place in (self._partial / "images").iterdir():
            if place.name.removesuffix(".zarr") not in self._kept:
                shutil.rmtree(place)
        _catalogue(self._partial).to_parquet(self._partial / CATALOGUE, index=False)
        about = {
            "sciimg": 1,
            "synthetic": self.synthetic,
            "study": self.study,
            "images": len(self._kept),
            "rejected": sorted(self._rejected, key=lambda r: str(r["source"])),
        }
        write_json(self._partial / ABOUT, about)
        self._partial.replace(self.path)
        sync_directory(self.path.parent)


class Collection:
    """A finished collection.

    Raises
    ------
    InputError
        Kind ``not-a-collection``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._about: dict[str, Any] = json.loads((path / ABOUT).read_text())
        except (OSError, json.JSONDecodeError):
            message = "Expected a collection (a folder with collection.json). Make one with `sciimg ingest SRC... --out COLLECTION`."
            raise InputError(Problem(str(path), "not-a-collection", message)) from None
        self._volumes: dict[str, Volume] = {}

    @property
    def synthetic(self) -> bool:
        return bool(self._about["synthetic"])

    @property
    def study(self) -> Digest | None:
        study: Digest | None = self._about["study"]
        return study

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return list(self._about["rejected"])

    @cached_property
    def catalogue(self) -> pd.DataFrame:
        """One row an image, sorted by id."""
        file = self.path / CATALOGUE
        return pd.read_parquet(file) if file.exists() else _catalogue(self.path)

    @cached_property
    def digest(self) -> Digest:
        """Digest of the images' content digests by id."""
        from sciimg.records import digest_of

        return digest_of(dict(zip(self.catalogue["id"], self.catalogue["digest"], strict=True)))

    def __len__(self) -> int:
        return len(self.catalogue)

    def volume(self, id: str) -> Volume:
        """Return one image, opened once."""
        if id not in self._volumes:
            self._volumes[id] = Volume(self.path / "images" / f"{id}.zarr")
        return self._volumes[id]

    def verify(self) -> list[Problem]:
        """Read every image again and return what does not agree with the catalogue."""
        problems = []
        for row in self.catalogue.itertuples():
            try:
                now = self.volume(str(row.id)).content_digest()
            except InputError as error:
                problems.extend(error.problems)
                continue
            if now != row.digest:
                message = f"The catalogue says {row.digest}; the values now have {now}. Restore the image or ingest it again."
                problems.append(Problem(str(row.path), "changed", message))
        listed = set(self.catalogue["path"])
        for place in sorted((self.path / "images").glob("*.zarr")):
            if f"images/{place.name}" not in listed:
                problems.append(Problem(f"images/{place.name}", "not-listed", "This image is not in the catalogue; rebuild it."))
        return problems

    def rebuild_catalogue(self) -> pd.DataFrame:
        """Write the catalogue anew from what the images say of themselves, and return it."""
        table = _catalogue(self.path)
        partial = self.path / f".{CATALOGUE}.partial"
        table.to_parquet(partial, index=False)
        partial.replace(self.path / CATALOGUE)
        self.__dict__.pop("catalogue", None)
        return table


def _catalogue(root: Path) -> pd.DataFrame:
    rows = [_row(Volume(path)) for path in sorted((root / "images").glob("*.zarr"), key=lambda p: p.name.removesuffix(".zarr"))]
    extra = list(dict.fromkeys(name for row in rows for name in row if name not in COLUMNS))
    return pd.DataFrame(rows, columns=[*COLUMNS, *sorted(extra)])


def _row(volume: Volume) -> dict[str, Any]:
    about = volume.attributes
    return {
        "id": about["id"],
        "path": f"images/{about['id']}.zarr",
        "group": about["group"],
        "source": about["source"],
        "sha256": about["sha256"],
        "digest": about["digest"],
        "axes": volume.axes,
        "shape": json.dumps(volume.shape),
        "dtype": str(volume.dtype),
        "spacing": json.dumps(volume.spacing.values),
        "unit": volume.spacing.unit,
        "channels": json.dumps([c.name for c in volume.channels]),
        "label_kind": volume.label_kind,
        "label_max": volume.label_max,
        "synthetic": about["synthetic"],
        "lineage": None if about["lineage"] is None else json.dumps(about["lineage"], sort_keys=True),
        **about["conditions"],
    }
