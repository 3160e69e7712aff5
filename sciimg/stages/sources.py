"""The images that a study names: files, rows of tables, labels, groups and conditions brought together, contradictions kept by image."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.io.derive import label_index, make_labels, prepare
from sciimg.io.expand import PACKAGE, expand
from sciimg.io.image import Image
from sciimg.io.labels import PIXELS, Index
from sciimg.io.names import stem, unique_ids
from sciimg.io.open import digest_source, open_image
from sciimg.io.pseudonyms import Veil, pseudonym
from sciimg.io.removed import removed_from
from sciimg.io.spacing import AGREE
from sciimg.io.tables import Rows, Value, read_table
from sciimg.objects import is_uri, uri_of
from sciimg.patches.conditions import columns_of
from sciimg.protocol import LoadedStudy, Study
from sciimg.protocol.data import LabelFiles, Source, SplitByColumn
from sciimg.records import Digest
from sciimg.stages.items import Item, LeftOut, Made, Once, Rejected, every_problem, veil_of, weigh
from sciimg.store.catalogue import RESERVED
from sciimg.types import Channel, Spacing

_OWN = RESERVED | {"labels", "problems", "dataset", "removed"}  # columns that ingest and the store fill themselves


@dataclass(frozen=True)
class Found:
    """What a source turned out to be: its images, its table, its label files."""

    source: Source
    paths: tuple[Path, ...]
    rows: Rows | None
    index: Index

    @property
    def keeps_names(self) -> bool:
        return self.source.names == "kept"

    def veil(self, path: Path, shown: str, key: str | None) -> Veil | None:
        """Return what hides an image's names, its label files' and the key of its row among them; None where names are kept."""
        if self.keeps_names:
            return None
        return veil_of(path, Path(shown), *self.index.get(stem(path), ()), None if key is None else Path(key))


@dataclass(frozen=True)
class Candidate:
    """One image of a source with its row, opened but not read."""

    found: Found
    path: Path
    shown: str
    key: str | None
    opened: Once[Image]
    veil: Veil | None
    digest: Callable[[], Digest]

    @property
    def image(self) -> Image:
        return self.opened()

    @property
    def values(self) -> Mapping[str, Value]:
        rows = self.found.rows
        return rows.values[self.key] if rows is not None and self.key is not None else {}

    def left_out(self, problems: tuple[Problem, ...]) -> LeftOut:
        return LeftOut(self.shown, problems, self.veil, digest=self.digest)


@dataclass(frozen=True)
class Finds:
    """What a study's sources hold: images ready to be made, what is left out, and notes that leave nothing out."""

    items: list[Item]
    rejected: Rejected
    notes: tuple[Problem, ...]


def study_items(loaded: LoadedStudy) -> Finds:
    """Return what the sources of a study hold.

    Raises
    ------
    InputError
        Every problem of every source, table and label folder that cannot be used at all.
    """
    found = _find_all(loaded)
    rejected: Rejected = []
    candidates = [c for f in found for c in _candidates(f, loaded.folder, rejected)]
    candidates = _like_most(candidates, loaded.study, rejected)
    named = iter(unique_ids([c.path for c in candidates if c.found.keeps_names], digest_source))
    ids = [next(named) if c.found.keeps_names else None for c in candidates]
    called = _unit_names(candidates, loaded.study)
    standard: dict[str, Any] = {}  # what the first image is like after preparation; the others must be like it
    spoken = frozenset(_texts(loaded.study.model_dump(mode="json", include={"sources", "conditions"})))
    items = []
    for candidate, id in zip(candidates, ids, strict=True):
        try:
            group = _group(candidate, loaded.study, called, len(found) > 1)
            conditions = _conditions(candidate, loaded.study, called)
        except InputError as error:
            rejected.append(candidate.left_out(error.problems))
            continue
        items.append(
            Item(
                candidate.shown,
                id,
                group,
                candidate.digest,
                _recipe(candidate, loaded.folder, standard),
                conditions,
                {"dataset": candidate.found.source.name},
                weigh(candidate.path),
                partial(removed_from, candidate.path),
                candidate.veil,
                candidate.found.source.name,
                channels=spoken,
                like=partial(_refuse_unlike, candidate.shown, standard),
            )
        )
    return Finds(items, rejected, tuple(note for f in found for note in _notes(f)))


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a piece of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _notes(found: Found) -> Iterator[Problem]:
    """Yield what looks wrong in a table; where names are not kept, cells are not quoted, because a key is a file's name."""
    notes = found.rows.notes if found.rows is not None else ()
    yield from notes if found.keeps_names else (Veil(()).problem(p, _table_alias(found)) for p in notes)


def _table_alias(found: Found) -> str:
    return f"{found.source.name}-table"


def _find_all(loaded: LoadedStudy) -> list[Found]:
    found, problems = [], []
    for number, source in enumerate(loaded.study.sources):
        try:
            paths = tuple(expand(source.uri, loaded.folder))
            rows = read_table(source.table, loaded.folder) if source.table else None
            index = label_index(source.labels, loaded.folder) if source.labels else {}
            found.append(Found(source, paths, rows, index))
        except InputError as error:
            problems += [Problem(p.where, p.kind, f"{p.message} (sources[{number}], {source.name!r})") for p in error.problems]
    if problems:
        raise InputError(problems)
    return found


def _candidates(found: Found, folder: Path, rejected: Rejected) -> Iterator[Candidate]:
    """Yield the images that have a row (or need none) and open; note the others and the rows that no image belongs to."""
    rows = found.rows
    keys = {path: rows.key_of(path) if rows else None for path in found.paths}
    shared = {key for key, count in Counter(k for k in keys.values() if k is not None).items() if count > 1}
    twice = {s for s, count in Counter(map(stem, found.paths)).items() if count > 1 and isinstance(found.source.labels, LabelFiles)}
    for path, key in keys.items():
        if rows is not None and key in rows.excluded:
            continue
        shown = _shown(path, found.source, folder)
        veil, digest = found.veil(path, shown, key), Once(partial(digest_source, path))
        problems = (*_row_problems(rows, key, key in shared, path), *_label_problems(stem(path), stem(path) in twice, path))
        try:
            if problems:
                raise InputError(problems)
            accepted = found.source.burned_in == "accepted"
            opened = Once(partial(open_image, path, spacing=_given(found.source), axes=found.source.axes, burned_in=accepted))
            with every_problem(path):
                opened()
            yield Candidate(found, path, shown, key, opened, veil, digest)
        except InputError as error:
            problems = _as_shown(error.problems, path, shown)
            rejected.append(LeftOut(shown, problems, veil, digest=digest))
    if rows is not None:
        for problems in (rows.without_image(k for k in keys.values() if k), rows.problems.get("", ())):
            if problems:
                rejected.append(LeftOut(rows.name, problems, None if found.keeps_names else Veil(()), _table_alias(found)))


def _row_problems(rows: Rows | None, key: str | None, shared: bool, path: Path) -> tuple[Problem, ...]:
    if rows is None:
        return ()
    if key is None:
        message = f"Every image must have a row in {rows.name}; none has the key {stem(path)!r}. Add the row or remove the image."
        return (Problem(path.name, "no-row", message),)
    if shared:
        message = f"One row means one image; the key {key!r} fits several. Use keys that are paths, e.g. {path.parent.name}/{path.name}."
        return (Problem(path.name, "ambiguous-row", message),)
    return rows.problems.get(key, ())


def _label_problems(name: str, shared: bool, path: Path) -> tuple[Problem, ...]:
    if not shared:
        return ()
    message = f"One label file means one image; the stem {name!r} fits several images, so that they would share it. Rename them."
    return (Problem(path.name, "duplicate-stem", message),)


def _like_most(candidates: list[Candidate], study: Study, rejected: Rejected) -> list[Candidate]:
    """Return the images that have the study's dimensions and the spacing of most; a collection of mixed scales answers no question."""
    fitting = []
    axes = "zyx" if study.dims == 3 else "yx"
    for candidate in candidates:
        if candidate.image.axes.replace("c", "") == axes:
            fitting.append(candidate)
            continue
        message = (
            f"The study's samples have {study.dims} dimensions (patches.shape), so its images have axes [c]{axes}; this one has "
            f"{candidate.image.axes!r}. Split it, or choose another patch shape."
        )
        rejected.append(candidate.left_out((Problem(candidate.shown, "wrong-axes", message),)))
    if not fitting:
        return []
    usual = Counter(_scale(c.image) for c in fitting).most_common(1)[0][0]
    same = [c for c in fitting if _agree(_scale(c.image), usual)]
    for candidate in fitting:
        if candidate not in same:
            own = _words(_scale(candidate.image))
            message = f"All images of a study share one spacing, here {_words(usual)}; this one has {own}. Resample it."
            rejected.append(candidate.left_out((Problem(candidate.shown, "other-spacing", message),)))
    return same


Scale = tuple[str, tuple[float, ...]]


def _scale(image: Image) -> Scale:
    assert image.spacing is not None  # settled on opening
    return image.spacing.unit, tuple(round(v, 6) for v in image.spacing.values)


def _agree(one: Scale, other: Scale) -> bool:
    return one[0] == other[0] and all(abs(a / b - 1) <= AGREE for a, b in zip(one[1], other[1], strict=True))


def _words(scale: Scale) -> str:
    return f"{' x '.join(f'{v:g}' for v in scale[1])} {scale[0]}"


def _recipe(candidate: Candidate, folder: Path, standard: dict[str, Any]) -> Callable[[], Made]:
    """Return what makes an image, and knows of no other: it can be sent to a worker."""
    name = stem(candidate.path)
    own = {name: files} if (files := candidate.found.index.get(name)) is not None else {}
    return partial(_make, candidate.opened, candidate.found.source, own, candidate.path, candidate.shown, folder, standard)


def _make(opened: Once[Image], source: Source, index: Index, path: Path, shown: str, folder: Path, standard: dict[str, Any]) -> Made:
    """Prepare and label one image; refuse one that is not like the first."""
    try:
        image = prepare(opened(), source.prepare)
        if source.channels is not None:
            image = replace(image, channels=tuple(Channel(name) for name in source.channels))
        _refuse_unlike(image.source, standard, image.channel_names, image.dtype.name)
        labels = None
        if source.labels is not None:
            labels = make_labels(image, source.labels, name=stem(path), folder=folder, index=index)
    except InputError as error:
        raise InputError(_as_shown(error.problems, path, shown)) from error
    return image, labels


def _refuse_unlike(shown: str, standard: dict[str, Any], channels: tuple[str, ...], dtype: str) -> None:
    own = {"channels": channels, "pixel type": dtype}
    if not standard:
        standard.update(own)
    for what, value in own.items():
        if value != standard[what]:
            hint = "Add a `rescale` step to bring them to one type." if what == "pixel type" else "Give them names with `channels`."
            message = f"All images of a study must have the same {what}; the first has {standard[what]}, this one {value}. {hint}"
            raise InputError(Problem(shown, f"other-{what.replace(' ', '-')}", message))


def _unit_names(candidates: Sequence[Candidate], study: Study) -> dict[Value, str]:
    """Return what each unit of the split is called where names are not kept: by the pseudonym of its first image, in all of its images.

    A unit is often a person, and its name would go all the way into a release: every synthetic image says which unit its mask came from.
    A unit of several sources stays one, and keeps its name where one of them does.
    """
    if not isinstance(study.split, SplitByColumn) or study.split.column == "id":
        return {}
    called: dict[Value, str] = {}
    public = {c.values.get(study.split.column) for c in candidates if c.found.keeps_names}
    for candidate in candidates:
        unit = candidate.values.get(study.split.column)
        if unit is not None and unit not in public and unit not in called:
            called[unit] = pseudonym(candidate.found.source.name, candidate.digest())
    return called


def _group(candidate: Candidate, study: Study, called: Mapping[Value, str], several: bool) -> str | None:
    """Return the independent unit an image belongs to, None for itself; names of different sources stay apart."""
    split = study.split
    if not isinstance(split, SplitByColumn) or split.column == "id":
        return None
    value = candidate.values.get(split.column)
    if value is None:
        columns = ", ".join(candidate.values) or "none"
        message = f"Every image must belong to a {split.unit}; column {split.column!r} is empty or missing for it (columns: {columns})."
        raise InputError(Problem(candidate.shown, "no-group", message))
    value = called.get(value, value)
    return f"{candidate.found.source.name}/{value}" if several else str(value)


def _conditions(candidate: Candidate, study: Study, called: Mapping[Value, str]) -> dict[str, Value]:
    """Return the cells of an image's row under the names they have in a catalogue.

    Unless names are kept, a cell with the name of the image's file is left empty; that of the split's unit has what the unit is called.

    Raises
    ------
    InputError
        Kind ``names-file`` where the study needs such a cell.
    """
    veil = candidate.veil
    cells = {
        name: None if veil is not None and isinstance(value, str | int) and veil.names(str(value)) else value
        for name, value in candidate.values.items()
    }
    needed = set(columns_of(study.conditions))
    if isinstance(study.split, SplitByColumn):
        needed.add(str(study.split.stratify))
        if study.split.column != "id" and (unit := candidate.values.get(study.split.column)) is not None:
            cells[study.split.column] = called.get(unit, unit)
    if hidden := sorted(n for n in needed if n in cells and cells[n] is None and candidate.values[n] is not None):
        message = (
            f"A condition must not carry the name of its image's file; column {', '.join(hidden)} does. Write something else there, or say "
            "`names: kept` for the source where no file is named after a person."
        )
        raise InputError(Problem(candidate.shown, "names-file", message))
    return {_column(name): value for name, value in cells.items()}


def _column(name: str) -> str:
    """Return a table's column under a name that the catalogue does not use itself."""
    return f"table_{name}" if name in _OWN else name


def _given(source: Source) -> Spacing | None:
    if source.spacing is not None and source.unit is not None:
        return Spacing(source.spacing, source.unit)
    return PIXELS if source.unit == "pixel" else None


def _shown(path: Path, source: Source, folder: Path) -> str:
    """Return a path as it may stand in a release: relative to the study, or inside its package."""
    if source.uri.startswith(PACKAGE):
        return source.uri
    if is_uri(path) or uri_of(path):
        return uri_of(path) or str(path)
    return Path(os.path.relpath(path, folder)).as_posix()


def _as_shown(problems: Sequence[Problem], path: Path, shown: str) -> tuple[Problem, ...]:
    return tuple(replace(p, where=p.where.replace(str(path), shown)) for p in problems)
