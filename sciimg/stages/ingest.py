"""Real images into a collection: every input is read, prepared and labelled, or left out with its reasons; the others go on."""

import errno
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from sciimg.errors import BusyError, InputError, Problem, StorageError
from sciimg.files import write_json
from sciimg.io.expand import is_stored
from sciimg.io.faults import refuse
from sciimg.io.labels import PIXELS
from sciimg.io.names import unique_ids
from sciimg.io.open import digest_source
from sciimg.io.spacing import Wishes, in_known_unit
from sciimg.protocol import LoadedStudy
from sciimg.records import Digest, digest_of
from sciimg.stages.items import Item, Rejected, file_item, find, pairs, stored_items
from sciimg.stages.progress import Progress
from sciimg.stages.sources import study_items
from sciimg.store import Collection, CollectionWriter
from sciimg.types import LabelKind, Spacing

COLLECTION = "collection"
REJECTED = "rejected.json"


def ingest_files(
    sources: Sequence[Path],
    out: Path,
    *,
    spacing: Spacing | None = None,
    override: bool = False,
    axes: str | None = None,
    label_kind: str | None = None,
    on_error: str = "quarantine",
) -> dict[str, Any]:
    """Read files, folders, OME-Zarr images and collections into a new collection.

    Parameters
    ----------
    sources : sequence of Path
        As the user typed them; globs and ``package:NAME/path`` are understood. In a folder with the subfolders ``images`` and
        ``labels`` (or ``masks``), files of equal stems are pairs of an image and its labels.
    out : Path
        The collection. One of real images that is there is extended: sources whose content it holds already add nothing.
    spacing, override, axes
        As in :func:`sciimg.io.open_image`.
    label_kind : "instances" or "classes", optional
        What label files number; by default ``masks`` hold instances and ``labels`` classes, with a note.
    on_error : "quarantine" or "stop"
        Leave bad inputs out, or write nothing when there is one.

    Returns
    -------
    dict
        ``{"images": [...], "rejected": [...]}`` of DESIGN.

    Raises
    ------
    InputError
        Every problem, when no input can be read or ``on_error`` is ``"stop"``; nothing is written then.
    """
    if on_error not in ("quarantine", "stop"):
        raise refuse("--on-error", "bad-value", f"It must be quarantine or stop; got {on_error!r}.")
    kind = next((k for k in get_args(LabelKind) if k == label_kind), None)
    if label_kind is not None and kind is None:
        raise refuse("--label-kind", "bad-value", f"It must be instances or classes; got {label_kind!r}.")
    found, rejected = find(sources)
    label_of = pairs(found)
    labels = set(label_of.values())
    files = [path for path in found if not is_stored(path) and path not in labels]
    wishes = Wishes(spacing, override, axes)
    ids = unique_ids(files, digest_source)
    items = [file_item(path, id, wishes, label_of.get(path), kind) for path, id in zip(files, ids, strict=True)]
    for path in found:
        if is_stored(path):
            items += stored_items(path, rejected, {i.id for i in items})
    how = [spacing and [*spacing.values, spacing.unit], override, axes, kind, {str(k): str(v) for k, v in label_of.items()}]
    _write(items, rejected, out, settings=digest_of(how), stop=on_error == "stop")
    return summary(out)


def ingest_study(loaded: LoadedStudy, out: Path) -> dict[str, Any]:
    """Read the sources of a study into ``out/collection``; what was left out goes to ``out/rejected.json`` as well.

    Parameters
    ----------
    loaded : LoadedStudy
    out : Path
        The stage's folder; what an interrupted attempt for the same study left in it is continued.

    Returns
    -------
    dict
        As :func:`ingest_files`.

    Raises
    ------
    InputError
        Every problem, when a source, table or label folder is not there at all or no image is left.
    """
    place = out / COLLECTION
    if not place.exists():
        items, rejected = study_items(loaded)
        _write(items, rejected, place, study=loaded.study.digest)
    value = summary(place)
    write_json(out / REJECTED, {"rejected": value["rejected"]})
    return value


def summary(path: Path) -> dict[str, Any]:
    """Return the JSON of DESIGN for a finished collection; ``problems`` of an image are what was noticed and did no harm."""
    collection = Collection(path)
    same = ("id", "source", "axes", "dtype", "unit", "sha256")
    images = [
        {key: row[key] for key in same} | {key: json.loads(row[key]) for key in ("shape", "spacing", "channels")} | _noticed(row)
        for row in collection.catalogue.to_dict("records")
    ]
    return {"images": images, "rejected": collection.rejected}


def parse_spacing(text: str | None, unit: str | None) -> Spacing | None:
    """Return the spacing that ``--spacing`` and ``--unit`` mean; ``--unit pixel`` alone says that no physical size is known.

    Raises
    ------
    InputError
        Kind ``bad-spacing``.
    """
    if text is None and unit is None:
        return None
    if text is None:
        if unit == "pixel":
            return PIXELS
        raise refuse("--unit", "bad-spacing", f"A unit needs a number; got --unit {unit} alone. Add --spacing Z,Y,X (or one value).")
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise refuse("--spacing", "bad-spacing", f"Spacing is Z,Y,X or one value; got {text!r}.") from None
    if len(values) > 3 or not all(0 < v < float("inf") for v in values):
        raise refuse("--spacing", "bad-spacing", f"Spacing is up to three numbers > 0; got {text!r}.")
    if unit == "pixel":
        return Spacing(tuple(values), "pixel")
    known = [in_known_unit(v, unit) for v in values]
    if unit is None or None in known:
        message = f"--spacing needs --unit nanometer, micrometer, millimeter or pixel; got {unit or 'none'}."
        raise refuse("--unit", "bad-spacing", message)
    return Spacing(tuple(k[0] for k in known if k), next(k[1] for k in known if k))


# ---------------------------------------------------------------- writing


def _write(
    items: Sequence[Item], rejected: Rejected, out: Path, *, study: Digest | None = None, settings: Digest | None = None, stop: bool = False
) -> None:
    """Write what can be read; with nothing to keep, or ``stop`` and a rejection, leave nothing and raise every problem.

    Attempts that were interrupted are continued; only files of a user, which belong to no study, extend a finished collection.
    """
    with _patient(out, study, settings) as writer, _told_when_full(out):
        progress = Progress([item.weight for item in items])
        kept = 0
        for number, item in enumerate(items):
            try:
                _add(writer, item, number, progress)
                kept += 1
            except InputError as error:
                rejected.append((item.shown, error.problems))
            progress.end(number)
            if stop and rejected:
                break
        progress.close()
        if rejected and (stop or not kept):
            writer.discard()
            raise InputError([p for _, problems in rejected for p in problems])
        for shown, problems in rejected:
            writer.reject(shown, problems)


@contextmanager
def _patient(out: Path, study: Digest | None, settings: Digest | None) -> Iterator[CollectionWriter]:
    """Yield the writer when no other process has it; say so while waiting."""
    extend = study is None
    with ExitStack() as stack:
        try:
            writer = stack.enter_context(CollectionWriter(out, synthetic=False, study=study, settings=settings, extend=extend))
        except BusyError as error:
            if not extend:
                raise
            print(f"Waiting: {error.problems[0].message}", file=sys.stderr, flush=True)
            again = CollectionWriter(out, synthetic=False, study=study, settings=settings, extend=extend, patience_s=math.inf)
            writer = stack.enter_context(again)
        yield writer


@contextmanager
def _told_when_full(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"The disk must have room for the images; it is full ({error.strerror}). Make room and run the same command: it goes on."
        raise StorageError(Problem(str(out), "disk-full", message)) from error


def _add(writer: CollectionWriter, item: Item, number: int, progress: Progress) -> None:
    if writer.source_of(item.digest) or writer.has(item.id, sha256=item.digest):
        return
    image, labels = item.make()
    progress.begin(number, image.nbytes)
    extra = dict(item.extra)
    if image.problems:
        extra["problems"] = [p.as_dict() for p in image.problems]
    if removed := item.removed():
        extra["removed"] = dict(removed)
    if labels is not None:
        extra["labels"] = dict(labels.parameters)
    id = item.id if item.id not in writer.ids else f"{item.id}-{image.sha256.removeprefix('sha256:')[:8]}"
    writer.add(
        id,
        replace(image, source=item.shown),
        group=id if item.group == item.id else item.group,
        conditions=item.conditions,
        labels=None if labels is None else labels.pixels,
        label_kind=None if labels is None else labels.kind,
        extra=extra,
        progress=progress.add,
    )


def _noticed(row: Mapping[Any, Any]) -> dict[str, Any]:
    text = row.get("problems")
    return {"problems": json.loads(text) if isinstance(text, str) else []}
