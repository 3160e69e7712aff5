"""Real images into a collection: every input is read, prepared and labelled, or left out with its reasons; the others go on."""

import errno
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from sciimg.errors import BusyError, InputError, Problem, SciimgError, StorageError, printable
from sciimg.files import write_json
from sciimg.io.expand import is_stored
from sciimg.io.faults import refuse
from sciimg.io.labels import PIXELS
from sciimg.io.names import unique_ids
from sciimg.io.open import digest_source
from sciimg.io.pseudonyms import pseudonym
from sciimg.io.spacing import Wishes, in_known_unit
from sciimg.objects import uri_of
from sciimg.protocol import LoadedStudy
from sciimg.records import Digest, digest_of
from sciimg.stages.apart import Apart, put, unnamed, written_apart
from sciimg.stages.items import Item, LeftOut, Rejected, file_item, find, pairs, stored_items
from sciimg.stages.lookup import Known, read_lookup, write_lookup
from sciimg.stages.progress import Progress
from sciimg.stages.sources import study_items
from sciimg.store import Collection, CollectionWriter, Volume
from sciimg.types import LabelKind, Spacing
from sciimg.workers import HERE, Workers, open_workers

COLLECTION = "collection"
REJECTED = "rejected.json"
OTHERWISE = "already-ingested-otherwise"


def ingest_files(
    sources: Sequence[Path],
    out: Path,
    *,
    spacing: Spacing | None = None,
    override: bool = False,
    axes: str | None = None,
    label_kind: str | None = None,
    on_error: str = "quarantine",
    keep_names: bool = False,
    only: Set[Path] | None = None,
    workers: int | None = None,
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
    keep_names : bool
        Call images after their files. Otherwise an image is called after its content, no name of a file or folder is written into the
        collection, and a private look-up beside it says which file is which.
    only : set of Path, optional
        Of the images that the sources stand for, as :func:`sciimg.io.expand.expand` names them, those that are meant; default: all.
    workers : int, optional
        Processes, as in :func:`sciimg.workers.open_workers`; changes no byte.

    Returns
    -------
    dict
        ``{"images": [...], "rejected": [...]}`` of DESIGN, for the eyes of the user who typed the names: with them.

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
    found, rejected = find(sources, keep_names=keep_names)
    found = [path for path in found if only is None or path in only]
    label_of = pairs(found)
    labels = set(label_of.values())
    files = [path for path in found if not is_stored(path) and path not in labels]
    wishes = Wishes(spacing, override, axes)
    ids: Sequence[str | None] = unique_ids(files, digest_source) if keep_names else [None] * len(files)
    items = [file_item(path, id, wishes, label_of.get(path), kind) for path, id in zip(files, ids, strict=True)]
    for path in found:
        if is_stored(path):
            items += stored_items(path, rejected, {i.id for i in items if i.id}, keep_names=keep_names)
    how = [
        spacing and [*spacing.values, spacing.unit],
        override,
        axes,
        kind,
        {uri_of(k) or str(k): uri_of(v) or str(v) for k, v in label_of.items()},
    ]
    with open_workers(workers) as places:
        kept = _write(items, rejected, out, settings=digest_of([*how, keep_names]), stop=on_error == "stop", workers=places)
    return _as_typed(summary(out), kept, read_lookup(out))


def ingest_study(loaded: LoadedStudy, out: Path) -> dict[str, Any]:
    """Read the sources of a study into ``out/collection``; what was left out, and notes on tables, go to ``out/rejected.json`` as well.

    Parameters
    ----------
    loaded : LoadedStudy
    out : Path
        The stage's folder; what an interrupted attempt for the same study left in it is continued.

    Returns
    -------
    dict
        As :func:`ingest_files`, as it is kept: without names of files unless a source keeps them.

    Raises
    ------
    InputError
        Every problem, when a source, table or label folder is not there at all or no image is left.
    """
    place = out / COLLECTION
    if not place.exists():
        finds = study_items(loaded)
        with open_workers() as workers:
            _write(finds.items, finds.rejected, place, study=loaded.study.digest, notes=finds.notes, workers=workers)
    value = summary(place)
    write_json(out / REJECTED, {"rejected": value["rejected"], "notes": value["notes"]})
    return value


def summary(path: Path) -> dict[str, Any]:
    """Return the JSON of DESIGN for a finished collection; ``problems`` of an image are what was noticed and did no harm.

    ``notes`` are what was noticed of whole tables.
    """
    collection = Collection(path)
    same = ("id", "source", "axes", "dtype", "unit", "sha256")
    images = [
        {key: row[key] for key in same} | {key: json.loads(row[key]) for key in ("shape", "spacing", "channels")} | _noticed(row)
        for row in collection.catalogue.to_dict("records")
    ]
    return {"images": images, "rejected": collection.rejected, "notes": collection.notes}


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
    items: Sequence[Item],
    rejected: Rejected,
    out: Path,
    *,
    study: Digest | None = None,
    settings: Digest | None = None,
    stop: bool = False,
    notes: Sequence[Problem] = (),
    workers: Workers = HERE,
) -> dict[str, LeftOut]:
    """Write what can be read; with nothing to keep, or ``stop`` and a rejection, leave nothing and raise every problem.

    Attempts that were interrupted are continued; only files of a user, which belong to no study, extend a finished collection.

    Returns
    -------
    dict
        What was left out, by the name under which that is kept.
    """
    with _patient(out, study, settings) as writer, _told_when_full(out):
        progress = Progress([item.weight for item in items])
        known = []
        for number, (item, apart) in enumerate(written_apart(writer, items, workers)):
            try:
                id = _add(writer, item, number, progress, apart)
                known.append((item, id))
            except InputError as error:
                rejected.append(item.left_out(error.problems))
            progress.end(number)
            if stop and rejected:
                break
        progress.close()
        if rejected and (stop or not known):
            writer.discard()
            raise InputError([p for left in rejected for p in left.problems])
        kept = _called(rejected)
        for alias, left in kept.items():
            if all(p.kind != OTHERWISE for p in left.problems):  # it is in the collection, so that nothing is missing there
                writer.reject(alias, left.problems if left.veil is None else [left.veil.problem(p, alias) for p in left.problems])
        writer.note(notes)
        rows = [Known(id, printable(item.shown), item.digest()) for item, id in known if item.veil is not None]
        rows += [Known(alias, printable(left.shown), "", _in_full(left)) for alias, left in kept.items() if left.veil is not None]
        write_lookup(out, rows, extend=study is None and out.exists())
    return kept


def _called(rejected: Rejected) -> dict[str, LeftOut]:
    """Return what was left out by the name under which that is kept: its source's, or one made of its content."""
    called: dict[str, LeftOut] = {}
    for left in rejected:
        wanted = left.shown if left.veil is None else left.alias or _input_name(left)
        alias, number = wanted, 2
        while alias in called and called[alias].shown != left.shown:  # equal contents: two empty files
            alias, number = f"{wanted}-{number}", number + 1
        before = called[alias].problems if alias in called else ()
        called[alias] = replace(left, problems=(*before, *(p for p in left.problems if p not in before)))
    return called


def _input_name(left: LeftOut) -> str:
    """Return a name for an input that cannot be used, and perhaps not even be read."""
    try:
        return "input-missing" if left.digest is None else pseudonym("input", left.digest())
    except (OSError, SciimgError):
        return "input-unreadable"


def _in_full(left: LeftOut) -> str:
    return " ".join(f"{printable(p.message)} [{p.kind}]" for p in left.problems)


def _as_typed(value: dict[str, Any], kept: Mapping[str, LeftOut], known: Sequence[Known]) -> dict[str, Any]:
    """Return a summary with the names of files for the user who typed them, as far as the look-up beside the collection has them."""
    source = {row.id: row.source for row in reversed(known)}
    images = [image | {"source": source.get(image["id"], image["source"])} for image in value["images"]]
    rejected = {entry["source"]: entry | {"source": source.get(entry["source"], entry["source"])} for entry in value["rejected"]}
    rejected |= {alias: {"source": left.shown, "problems": [p.as_dict() for p in left.problems]} for alias, left in kept.items()}
    return value | {"images": images, "rejected": [rejected[alias] for alias in sorted(rejected)]}


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


def _add(writer: CollectionWriter, item: Item, number: int, progress: Progress, apart: Apart | None) -> str:
    """Write an image unless it is there, or a worker has written it; return its id.

    Raises
    ------
    InputError
        Kind ``already-ingested-otherwise`` where something is asked for that the image in the collection has not got.
    """
    if there := writer.source_of(item.digest):
        _refuse_otherwise(item, writer.volume(there), there)
        return there
    if item.id is not None or not writer.fresh:
        final = item.id or _free(pseudonym(item.kind, item.digest()), writer)
        if writer.has(final, sha256=item.digest):
            return final
    if apart is not None and apart.id not in writer.ids:
        if item.like:
            item.like(apart.channels, apart.dtype)
        progress.begin(number, apart.nbytes)
        writer.adopt(apart.id, apart.place)
        progress.add(apart.nbytes)
        return apart.id
    # A new image's digest is taken while it is read, and names it when it is whole.
    place = item.id or unnamed(item)
    image, labels = item.make()
    progress.begin(number, image.nbytes)
    if place in writer.ids:
        place = f"{place}-{item.digest().removeprefix('sha256:')[:8]}"
    final = place

    def name() -> str:
        nonlocal final
        if item.id is None:
            final = _free(pseudonym(item.kind, item.digest()), writer)
        return final

    put(writer.add, item, image, labels, place, name, progress.add)
    return final


def _free(wanted: str, writer: CollectionWriter) -> str:
    """Return a pseudonym that no image of this call has: equal contents are counted."""
    id, number = wanted, 2
    while id in writer.ids:
        id, number = f"{wanted}-{number}", number + 1
    return id


def _refuse_otherwise(item: Item, there: Volume, id: str) -> None:
    """Refuse a source that is in the collection already, read in another way than is asked for now."""
    differ = []
    if item.opened is not None:
        now = item.opened()
        pairs = (("axes", there.axes, now.axes), ("spacing", there.spacing, now.spacing))
        differ = [f"{what} {_words(old)}, not {_words(new)}" for what, old, new in pairs if old != new]
    if item.labelled and there.label_kind is None:
        differ.append("no labels")
    elif item.label_kind is not None and there.label_kind not in (None, item.label_kind):
        differ.append(f"labels taken as {there.label_kind}, not {item.label_kind}")
    if differ:
        message = (
            f"A source goes into a collection once; this one is there as {id} with {'; '.join(differ)}. Nothing was changed. Ingest into "
            "a new collection to read it in the other way."
        )
        raise InputError(Problem(item.shown, OTHERWISE, message))


def _words(value: str | Spacing | None) -> str:
    return f"{' x '.join(f'{v:g}' for v in value.values)} {value.unit}" if isinstance(value, Spacing) else str(value)


def _noticed(row: Mapping[Any, Any]) -> dict[str, Any]:
    text = row.get("problems")
    return {"problems": json.loads(text) if isinstance(text, str) else []}
