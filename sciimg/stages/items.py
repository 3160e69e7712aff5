"""Images to be: what a user named, found and ready to be opened one by one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.io.derive import LabelImage, labels_from_file
from sciimg.io.expand import expand
from sciimg.io.image import Image
from sciimg.io.labels import PIXELS
from sciimg.io.names import slug, stem
from sciimg.io.open import digest_source, open_image
from sciimg.io.removed import removed_from
from sciimg.io.spacing import Wishes
from sciimg.io.tables import Value
from sciimg.records import Digest
from sciimg.store import Volume
from sciimg.types import LabelKind

IMAGES = "images"
# What the numbers in a label folder usually are; a note says so, and --label-kind or a study says otherwise.
LABEL_FOLDERS: Mapping[str, LabelKind] = {"labels": "classes", "masks": "instances"}

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
    weight: int = 1  # bytes of the source, for the progress line
    removed: Callable[[], Mapping[str, int]] = dict  # names of what the file says and the image does not keep


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


def pairs(found: Sequence[Path]) -> dict[Path, Path]:
    """Return image → label file for the usual layout of two sibling folders, ``images`` and ``labels`` or ``masks``, and equal stems."""
    by_place = {(path.parent.parent, path.parent.name.lower(), stem(path)): path for path in found}
    return {
        path: label
        for (above, folder, name), path in by_place.items()
        if folder == IMAGES
        for kind in LABEL_FOLDERS
        if (label := by_place.get((above, kind, name)))
    }


def file_item(path: Path, id: str, wishes: Wishes, label: Path | None = None, kind: LabelKind | None = None) -> Item:
    """Return the item of a file and, where it has one, its label file; what the labels number is told by their folder or ``kind``."""

    def make() -> Made:
        with every_problem(path):
            image = open_image(path, spacing=wishes.spacing, override=wishes.override, axes=wishes.axes)
        if label is None:
            return image, None
        pixels = labels_from_file(label, image)
        taken = kind or LABEL_FOLDERS[label.parent.name.lower()]
        if kind is None:
            message = f"Labels in a folder {label.parent.name!r} are taken as {taken}. Say what they are with --label-kind, or in a study."
            image = image.with_problems(Problem(str(label), "label-kind-not-stated", message))
        return image, LabelImage(pixels, taken, {"kind": "files", "file": label.name})

    return Item(str(path), id, id, partial(digest_source, path), make, weight=weigh(path), removed=partial(removed_from, path))


def weigh(path: Path) -> int:
    """Return the bytes of a file, or of the files directly inside a folder."""
    return sum(f.stat().st_size for f in (path.iterdir() if path.is_dir() else [path]) if f.is_file())


def stored_items(path: Path, rejected: Rejected, taken: set[str]) -> Iterator[Item]:
    """Yield the images of an OME-Zarr image or a collection, with labels, groups and conditions where it has them."""
    for place in sorted((path / "images").glob("*.zarr")) if (path / "collection.json").exists() else [path]:
        try:
            volume = Volume(place)
        except InputError as error:
            rejected.append((str(place), error.problems))
            continue
        id = slug(stem(place))
        if id in taken:
            id = f"{id}-{volume.measured_digest().removeprefix('sha256:')[:8]}"
        taken.add(id)
        about = volume.attributes
        group = str(about.get("group", id))
        yield Item(str(place), id, group, volume.measured_digest, partial(_stored, volume), about.get("conditions", {}))


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
