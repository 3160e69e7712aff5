"""Images to be: what a user named, found and ready to be opened one by one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.io.derive import LabelImage
from sciimg.io.expand import expand
from sciimg.io.image import Image
from sciimg.io.labels import PIXELS
from sciimg.io.names import slug, stem
from sciimg.io.open import digest_source, open_image
from sciimg.io.tables import Value
from sciimg.records import Digest
from sciimg.store import Volume
from sciimg.types import Spacing

Made = tuple[Image, LabelImage | None]
Rejected = list[tuple[str, tuple[Problem, ...]]]  # source as shown to people, and what is wrong with it


@dataclass(frozen=True)
class Item:
    """One image to be.

    ``make`` opens, prepares and labels it; everything that may go wrong happens there, as an :class:`InputError`.
    """

    shown: str
    id: str
    group: str
    digest: Callable[[], Digest]
    make: Callable[[], Made]
    conditions: Mapping[str, Value] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)




def find(sources: Iterable[Path]) -> tuple[list[Path], Rejected]:
    """Return the images of the sources, each once, and the sources that are not there."""
    found: dict[Path, Path] = {}
    rejected: Rejected = []
    for source in sources:
        try:
            for path in expand(source):
                found.setdefault(path.resolve(), path)
        except InputError as error:
            rejected.append((str(source), error.problems))
    return list(found.values()), rejected


def file_item(path: Path, id: str, spacing: Spacing | None, override: bool, axes: str | None) -> Item:
    def make() -> Made:
        with every_problem(path):
            return open_image(path, spacing=spacing, override=override, axes=axes), None

    return Item(str(path), id, id, lambda: digest_source(path), make)


def stored_items(path: Path, rejected: Rejected, taken: set[str]) -> Iterator[Item]:
    """Yield the images of an OME-Zarr image or a collection, with labels, groups and conditions where it has them."""
    try:
        places = sorted((path / "images").glob("*.zarr")) if (path / "collection.json").exists() else [path]
        volumes = [Volume(place) for place in places]
    except InputError as error:
        rejected.append((str(path), error.problems))
        return
    for place, volume in zip(places, volumes, strict=True):
        id = slug(stem(place))
        if id in taken:
            id = f"{id}-{volume.measured_digest().removeprefix('sha256:')[:8]}"
        taken.add(id)
        about = volume.attributes
        yield Item(
            str(place),
            id,
            str(about.get("group", id)),
            volume.measured_digest,
            partial(_stored, volume),
            about.get("conditions", {}),
        )


def _stored(volume: Volume) -> Made:
    pixels = volume.read_labels()
    if pixels is None or volume.label_kind is None:
        return volume.image(), None
    return volume.image(), LabelImage(pixels, volume.label_kind, volume.attributes.get("labels", {"kind": "stored"}))


@contextmanager
def every_problem(path: Path) -> Iterator[None]:
    """A file whose spacing is asked for is looked into all the same, so that what else is wrong is said at once."""
    try:
        yield
    except InputError as error:
        more: tuple[Problem, ...] = ()
        if all(p.kind == "unknown-spacing" for p in error.problems):
            try:
                open_image(path, spacing=PIXELS).read()
            except InputError as other:
                more = other.problems
        raise InputError((*error.problems, *more)) from error
