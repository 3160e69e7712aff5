"""A collection: a folder of OME-Zarr images with a parquet catalogue that can always be rebuilt from them.

::

    NAME/images/<id>.zarr    one image each, self-describing
    NAME/catalogue.parquet   one row an image, sorted by id
    NAME/collection.json     what the collection is, and what was rejected

:class:`~sciimg.store.writer.CollectionWriter` makes one; :class:`Collection` reads it.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciimg.errors import InputError, Problem
from sciimg.records import Digest, digest_of
from sciimg.store.catalogue import read_catalogue, read_rows, row_of, write_catalogue
from sciimg.store.select import Selection
from sciimg.store.volume import Volume
from sciimg.store.writer import ABOUT, CATALOGUE, IMAGES, CollectionWriter

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Collection", "CollectionWriter"]


class Collection:
    """A finished collection, opened lazily.

    Raises
    ------
    InputError
        Kind ``not-a-collection``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            about = json.loads((path / ABOUT).read_bytes())
            self.synthetic: bool = about["synthetic"]
            self.study: Digest | None = about["study"]
            self.rejected: list[dict[str, Any]] = about["rejected"]
            self.notes: list[dict[str, str]] = about.get("notes", [])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = "A collection is a folder with collection.json. Make one with `sciimg ingest SRC... --out COLLECTION`."
            raise InputError(Problem(str(path), "not-a-collection", message)) from error
        self._volumes: dict[str, Volume] = {}

    @cached_property
    def catalogue(self) -> "pd.DataFrame":
        """One row an image, sorted by id; see :data:`sciimg.store.catalogue.COLUMNS`, then conditions and other columns by name."""
        return read_catalogue(self.path / CATALOGUE)

    def columns(self, *names: str) -> "pd.DataFrame":
        """Return some columns of the catalogue, those of them that it has: of a great many images no more is read."""
        return read_catalogue(self.path / CATALOGUE, names)

    def select(self, *where: str) -> Selection:
        """Return the rows of the catalogue that fulfil conditions, e.g. ``"stain=dab"``, ``"depth<=20"``."""
        return Selection(self.path / CATALOGUE, where)

    @cached_property
    def digest(self) -> Digest:
        """Digest of the images' content digests by id."""
        table = self.columns("id", "digest")
        return digest_of(dict(zip(table["id"], table["digest"], strict=True)))

    def __len__(self) -> int:
        return len(self.select())

    def volume(self, id: str) -> Volume:
        """Return one image, opened once.

        Raises
        ------
        InputError
            Kind ``not-ome-zarr`` where there is none of that id.
        """
        if id not in self._volumes:
            self._volumes[id] = Volume(self.path / IMAGES / f"{id}.zarr")
        return self._volumes[id]

    def verify(self) -> list[Problem]:
        """Read every pixel again and return what does not agree with the catalogue."""
        problems: list[Problem] = []
        listed = dict(zip(self.catalogue["id"], self.catalogue.to_dict("records"), strict=True))
        for id, row in listed.items():
            try:
                problems += _differences(Volume(self.path / IMAGES / f"{id}.zarr"), row)
            except InputError as error:
                problems += error.problems
        for place in sorted((self.path / IMAGES).iterdir()):
            if place.name.removesuffix(".zarr") not in listed and not place.name.startswith("."):  # a writer may be at work
                message = "Every image is listed in the catalogue; this is not. Remove it, or rebuild the catalogue."
                problems.append(Problem(f"{IMAGES}/{place.name}", "not-listed", message))
        return problems

    def rebuild_catalogue(self) -> "pd.DataFrame":
        """Write the catalogue anew from what the images say of themselves, and return it."""
        write_catalogue(self.path / CATALOGUE, read_rows(self.path / IMAGES))
        self.__dict__.pop("catalogue", None)
        self.__dict__.pop("digest", None)
        return self.catalogue


def _differences(volume: Volume, row: dict[str, Any]) -> list[Problem]:
    where = f"{IMAGES}/{volume.path.name}"
    now = volume.measured_digest()
    if now != volume.digest or now != row["digest"]:
        message = f"Pixels and metadata must have the digest {row['digest']}; they have {now}. Restore the image or ingest it again."
        return [Problem(where, "changed", message)]
    expected = row_of(volume)
    wrong = sorted(name for name, value in expected.items() if value is not None and row.get(name) != value)
    if wrong:
        message = f"The catalogue must say what the image says of itself; it differs in {', '.join(wrong)}. Rebuild the catalogue."
        return [Problem(where, "catalogue-differs", message)]
    return []
