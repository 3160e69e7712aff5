"""What was done with the data: the real images that came in and those that did not, and how they were divided."""

import json
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from sciimg.protocol.data import ClassCondition, Source, SplitByBlocks, TissueMaps
from sciimg.report.evidence import Evidence
from sciimg.report.model import Block, Column, Facts, Missing, Notice, Plate, PlateRow, Prose, Section, Table
from sciimg.report.plates import tinted_strip
from sciimg.report.sections import deviations
from sciimg.report.sections.asked import split_words
from sciimg.report.sections.checks import checks_table
from sciimg.report.sections.training import training
from sciimg.report.words import count, listed, number, plain, sentence, text
from sciimg.review.presentation import Presentation
from sciimg.types import PARTS

SHOWN_IMAGES = 8
SHOWN_ELEMENTS = 60
MAP_VALUES = 2**24  # a larger image is not read for the sake of one picture


def section(evidence: Evidence, show: Presentation | None) -> Section:
    """Return data, split, recipes and training."""
    parts = (_data(evidence), _split(evidence, show), training(evidence), deviations.section(evidence))
    return Section(name="done", title="What was done", parts=parts)


# ---------------------------------------------------------------- data


def _data(evidence: Evidence) -> Section:
    blocks: list[Block] = []
    for source in evidence.study.sources:
        steps = listed(_preparation(p.model_dump()) for p in source.prepare)
        rows = {
            "Source": source.citation,
            "Licence": source.licence,
            "Modality": source.modality,
            "Preparation": steps or "none",
            "Labels": _labels(source),
            "Names of files": "kept" if source.names == "kept" else "not kept: images are called after their content",
        }
        blocks.append(Facts(rows=tuple(rows.items())))
    return Section(
        name="data", title="Data", blocks=(*blocks, *_images(evidence), *_rejected(evidence), *_notes(evidence), *_removed(evidence))
    )


def _labels(source: Source) -> str:
    """Return how labels come about, without the paths of their files."""
    match source.labels:
        case None:
            return "none"
        case TissueMaps() as maps:
            return _preparation(maps.model_dump(exclude={"maps"}) | {"classes": ", ".join(maps.classes)})
        case labels:
            return _preparation(labels.model_dump(exclude={"uri"}))


def _preparation(value: Mapping[str, Any]) -> str:
    options = {k: v for k, v in value.items() if k != "kind" and v is not None}
    return f"{value['kind']} ({plain(options)})" if options else str(value["kind"])


def _images(evidence: Evidence) -> list[Block]:
    if not evidence.images:
        return [Missing(what="the real images", why=_why(evidence, "catalogue"))]
    rows = []
    for image in evidence.images[:SHOWN_IMAGES]:
        size = " × ".join(str(s) for s in as_list(image.get("shape")))
        spacing = " × ".join(number(s) for s in as_list(image.get("spacing")))
        names = (str(c.get("name", c)) if isinstance(c, Mapping) else str(c) for c in as_list(image.get("channels")))
        rows.append(
            (
                str(image.get("id")),
                f"{image.get('axes')} {size}",
                str(image.get("dtype")),
                f"{spacing} {image.get('unit')}",
                ", ".join(names),
            )
        )
    columns = tuple(Column(title=t) for t in ("Image", "Axes and size", "Type", "Spacing", "Channels"))
    shown = f", the first {len(rows)} shown" if len(evidence.images) > len(rows) else ""
    return [Table(caption=count(len(evidence.images), "real image") + shown, columns=columns, rows=tuple(rows))]


def _rejected(evidence: Evidence) -> list[Block]:
    if not evidence.rejected:
        return [Prose(text=text("all-read"))]
    rows = tuple(
        (str(entry.get("source")), str(problem.get("kind")), str(problem.get("message")))
        for entry in evidence.rejected
        for problem in entry.get("problems", [{}])
    )
    title = f"{count(len(evidence.rejected), 'input was', 'inputs were')} quarantined"
    columns = tuple(Column(title=t) for t in ("Input", "Fault", "What to do"))
    return [Notice(tone="open", title=title, text=text("quarantined")), Table(caption="Quarantined inputs", columns=columns, rows=rows)]


def _notes(evidence: Evidence) -> list[Block]:
    """Return what was noticed of whole tables."""
    if not evidence.notes:
        return []
    rows = tuple((str(note.get("where")), str(note.get("kind")), str(note.get("message"))) for note in evidence.notes)
    columns = tuple(Column(title=t) for t in ("Table", "Note", "What was noticed"))
    return [Table(caption="Notes on tables; they left nothing out", columns=columns, rows=rows)]


def _removed(evidence: Evidence) -> list[Block]:
    """Return what was in the files' headers and is in no image."""
    from sciimg.store.catalogue import removed_in

    found = removed_in(evidence.images)
    if not found:
        return []
    rows = tuple((name, str(images)) for name, images in list(found.items())[:SHOWN_ELEMENTS])
    shown = f", the {len(rows)} most frequent of {len(found)} shown" if len(found) > len(rows) else ""
    columns = (Column(title="Element of the header"), Column(title="Images", numeric=True))
    caption = f"Left behind at ingest, without the values{shown}"
    return [Prose(text=text("left-behind")), Table(caption=caption, columns=columns, rows=rows, compact=True)]


# ---------------------------------------------------------------- split


def group_numbers(evidence: Evidence) -> dict[str, int]:
    """Return the number of independent groups in each part."""
    groups: dict[str, set[str]] = {part: set() for part in PARTS}
    for i, region in enumerate(evidence.regions):
        cell = as_list(region.get("cell"))
        if cell and not region.get("group"):
            n = prod(max(1, e // int(c)) for e, c in zip(_extent(region), cell, strict=True))
            groups[str(region["part"])] |= {f"{i}/{k}" for k in range(n)}
        else:
            groups[str(region["part"])].add(str(region.get("group")))
    return {part: len(names) for part, names in groups.items()}


def _split(evidence: Evidence, show: Presentation | None) -> Section:
    study = evidence.study
    blocks: list[Block] = [Prose(text=sentence(f"Divided by {split_words(study)}"))]
    if not evidence.regions:
        return Section(name="split", title="Split", blocks=(*blocks, Missing(what="the split", why=_why(evidence, "split"))))
    numbers, rows = group_numbers(evidence), []
    for part in PARTS:
        regions = [r for r in evidence.regions if r["part"] == part]
        millions = sum(prod(_extent(r)) for r in regions) / 1e6
        rows.append((part, str(len({r["image"] for r in regions})), str(numbers[part]), f"{millions:.2f}"))
    titles = {"Part": False, "Images": True, f"Groups ({study.split.unit})": True, "Million pixels": True}
    columns = tuple(Column(title=title, numeric=numeric) for title, numeric in titles.items())
    blocks += [Table(caption="Parts", columns=columns, rows=tuple(rows)), *_coverage(evidence)]
    if evidence.split_checks:
        blocks.append(checks_table("Proof that the parts are apart", evidence.split_checks))
    if isinstance(study.split, SplitByBlocks):
        blocks += _map(evidence, show)
    return Section(name="split", title="Split", blocks=tuple(blocks))


def _coverage(evidence: Evidence) -> list[Block]:
    """Return how many images and groups of each subgroup every part has: what is not there was neither learned nor judged."""
    study = evidence.study
    classes = [c.column for c in study.conditions if isinstance(c, ClassCondition)]
    asked = dict.fromkeys((*(study.validation.subgroups or ()), *classes))
    found: list[Block] = []
    for column in asked:
        of = {str(image.get("id")): str(image.get(column)) for image in evidence.images if image.get(column) is not None}
        rows = []
        for value in sorted(set(of.values())):
            regions = tuple(r for r in evidence.regions if of.get(str(r["image"])) == value)
            groups = group_numbers(replace(evidence, regions=regions))
            images = {part: len({r["image"] for r in regions if r["part"] == part}) for part in PARTS}
            rows.append((value, *(f"{images[part]} ({groups[part]})" for part in PARTS)))
        if rows:
            columns = (Column(title=sentence(column).rstrip(".")), *(Column(title=part, numeric=True) for part in PARTS))
            found.append(Table(caption=f"Images (groups) of each {column}", columns=columns, rows=tuple(rows), compact=True))
    return found


def _map(evidence: Evidence, show: Presentation | None) -> list[Block]:
    """Return the first image with its parts tinted, where it is at hand and small enough."""
    from sciimg.store import Collection

    if show is None or evidence.collection is None or not (evidence.collection / "images").is_dir():
        return []
    name = str(evidence.regions[0]["image"])
    volume = Collection(evidence.collection).volume(name)
    if prod(volume.shape) > MAP_VALUES or "t" in volume.axes or len(volume.spatial_shape) != len(show.spacing.values):
        return []
    pixels = volume.read()
    pixels = pixels if "c" in volume.axes else pixels[None]
    parts = np.zeros(volume.spatial_shape, np.int32)
    for region in (r for r in evidence.regions if r["image"] == name):
        box = tuple(slice(a, b) for a, b in zip(as_list(region["start"]), as_list(region["stop"]), strict=True))
        parts[box] = 1 + PARTS.index(region["part"])
    picture = tinted_strip(pixels[None], parts[None], show, f"Image {name} with its train, calibration and holdout parts tinted.")
    rows = (PlateRow(label=name, note="train, calibration, holdout", picture=picture),)
    return [Plate(title="Map of the split", caption=text("split-map"), rows=rows, narrow=True)]


def _extent(region: Mapping[str, Any]) -> list[int]:
    return [int(b) - int(a) for a, b in zip(as_list(region["start"]), as_list(region["stop"]), strict=True)]


def as_list(value: Any) -> list[Any]:
    """Return a list from a list, an array, JSON text or nothing: what a catalogue's cell may hold."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    if isinstance(value, str):
        return list(json.loads(value) or []) if value else []
    return list(value)


def _why(evidence: Evidence, word: str) -> str:
    return next((a.why for a in evidence.absent if word in a.what), "It is not in the run.")
