"""Images to be: what a user named, found and ready to be opened one by one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from sciimg.errors import InputError, Problem
from sciimg.io.derive import LabelImage, labels_from_file
from sciimg.io.expand import expand
from sciimg.io.image import Image
from sciimg.io.labels import PIXELS
from sciimg.io.names import slug, stem
from sciimg.io.open import digest_source, files_of, open_image
from sciimg.io.pseudonyms import Veil
from sciimg.io.removed import removed_from
from sciimg.io.spacing import Wishes
from sciimg.io.tables import Value
from sciimg.objects import uri_of
from sciimg.records import Digest
from sciimg.store import Volume
from sciimg.types import LabelKind

IMAGES = "images"
# What the numbers in a label folder usually are; a note says so, and --label-kind or a study says otherwise.
LABEL_FOLDERS: Mapping[str, LabelKind] = {"labels": "classes", "masks": "instances"}

Made = tuple[Image, LabelImage | None]
_T = TypeVar("_T")


class Once(Generic[_T]):
    """What a function returns, computed when it is first asked for. A worker gets the function and computes for itself.

    Parameters
    ----------
    function : callable
        Without arguments; it can be sent to a worker.
    """

    def __init__(self, function: Callable[[], _T]) -> None:
        self._function = function

    @cached_property
    def _value(self) -> _T:
        return self._function()

    def __call__(self) -> _T:
        return self._value

    def __reduce__(self) -> tuple[type["Once[_T]"], tuple[Callable[[], _T]]]:
        return Once, (self._function,)


@dataclass(frozen=True)
class LeftOut:
    """An input that was left out and why.

    Parameters
    ----------
    shown : str
        The source as it is shown to its user.
    problems : tuple of Problem
        As they are shown.
    veil : Veil, optional
        Hides its name in what is kept; None where names are kept.
    alias : str, optional
        What it is called instead, for inputs that are not files of images.
    digest : callable, optional
        SHA-256 of its content.
    """

    shown: str
    problems: tuple[Problem, ...]
    veil: Veil | None = None
    alias: str | None = None
    digest: Callable[[], Digest] | None = None


Rejected = list[LeftOut]


@dataclass(frozen=True)
class Item:
    """One image to be.

    ``make`` opens, prepares and labels it; everything that may go wrong happens there, as an :class:`InputError`.

    Parameters
    ----------
    shown : str
        The source as it is shown to its user.
    id : str or None
        None where it is made of the content when the image's turn comes, so that a file is read for its digest just before its pixels.
    group : str or None
        None where the image is a group of its own.
    digest : callable
        SHA-256 of the source.
    veil : Veil, optional
        Hides the source's name in what is kept; None where names are kept.
    kind : str
        What a pseudonym begins with.
    opened : callable, optional
        Opens the image without its pixels, where the user says how to read it; for sources that a collection may hold already.
    label_kind : LabelKind, optional
        What the labels number, where the user says so.
    labelled : bool
        Whether there are labels for it.
    channels : collection of str
        Names of channels that a study speaks of; they are kept whatever they are.
    like : callable, optional
        Refuses an image of these channel names and this dtype, where it must be like others; ``make`` does so too.
    """

    shown: str
    id: str | None
    group: str | None
    digest: Callable[[], Digest]
    make: Callable[[], Made]
    conditions: Mapping[str, Value] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    weight: int = 1  # bytes of the source, for the progress line
    removed: Callable[[], Mapping[str, int]] = dict  # names of what the file says and the image does not keep
    veil: Veil | None = None
    kind: str = "image"
    opened: Callable[[], Image] | None = None
    label_kind: LabelKind | None = None
    labelled: bool = False
    channels: frozenset[str] = frozenset()
    like: Callable[[tuple[str, ...], str], None] | None = None

    def left_out(self, problems: tuple[Problem, ...]) -> LeftOut:
        return LeftOut(self.shown, problems, self.veil, digest=self.digest)


def find(sources: Iterable[Path], *, keep_names: bool = False) -> tuple[list[Path], Rejected]:
    """Return the images of the sources, each once, and the sources that are not there."""
    found: dict[Path, Path] = {}
    rejected: Rejected = []
    for source in sources:
        try:
            for path in expand(source):
                found.setdefault(path.resolve(), path)
        except InputError as error:
            rejected.append(LeftOut(str(source), error.problems, None if keep_names else Veil((source,))))
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


def file_item(path: Path, id: str | None, wishes: Wishes, label: Path | None = None, kind: LabelKind | None = None) -> Item:
    """Return the item of a file and, where it has one, its label file; what the labels number is told by their folder or ``kind``.

    Without an ``id`` names are not kept.
    """
    opened = partial(open_image, path, spacing=wishes.spacing, override=wishes.override, axes=wishes.axes)

    return Item(
        uri_of(path) or str(path),
        id,
        id,
        Once(partial(digest_source, path)),
        partial(_from_file, path, opened, label, kind),
        weight=weigh(path),
        removed=partial(removed_from, path),
        veil=veil_of(path, label) if id is None else None,
        opened=None if wishes.spacing is None and wishes.axes is None else opened,
        label_kind=kind,
        labelled=label is not None,
    )


def _from_file(path: Path, opened: Callable[[], Image], label: Path | None, kind: LabelKind | None) -> Made:
    with every_problem(path):
        image = opened()
    if label is None:
        return image, None
    pixels = labels_from_file(label, image)
    taken = kind or LABEL_FOLDERS[label.parent.name.lower()]
    if kind is None:
        message = f"Labels in a folder {label.parent.name!r} are taken as {taken}. Say what they are with --label-kind, or in a study."
        image = image.with_problems(Problem(str(label), "label-kind-not-stated", message))
    return image, LabelImage(pixels, taken, {"kind": "files", "file": label.name})


def veil_of(path: Path, *others: Path | None) -> Veil:
    """Return what hides the names of an image's files: those of a series, a set, a header and its data, and its labels."""
    parts = [p for p in path.iterdir() if p.is_file()] if path.is_dir() else files_of(path) if path.is_file() else []
    return Veil((path, *(p for p in parts if p != path), *(p for p in others if p is not None)))


def weigh(path: Path) -> int:
    """Return the bytes of a file, or of the files directly inside a folder."""
    return sum(f.stat().st_size for f in (path.iterdir() if path.is_dir() else [path]) if f.is_file())


def stored_items(path: Path, rejected: Rejected, taken: set[str], *, keep_names: bool = False) -> Iterator[Item]:
    """Yield the images of an OME-Zarr image or a collection, with labels, groups and conditions where it has them.

    An image that has a pseudonym already, or is synthetic, keeps it; another gets one unless names are kept.
    """
    for place in sorted((path / "images").glob("*.zarr")) if (path / "collection.json").exists() else [path]:
        veil = None if keep_names else Veil((place,))
        try:
            volume = Volume(place)
        except InputError as error:
            rejected.append(LeftOut(str(place), error.problems, veil, digest=partial(digest_source, place)))
            continue
        about = volume.attributes
        own = about.get("id")
        id: str | None = slug(stem(place))
        if id in taken:
            id = f"{id}-{volume.measured_digest().removeprefix('sha256:')[:8]}"
        if veil is not None and (own is None or own != slug(stem(place)) or not (about.get("synthetic") or about.get("source") == own)):
            id = None
        if id is not None:
            taken.add(id)
        group = None if about.get("group") in (None, own) else str(about["group"])
        digest = Once(volume.measured_digest)
        yield Item(str(place), id, group, digest, partial(_stored, volume), about.get("conditions", {}), veil=veil)


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
