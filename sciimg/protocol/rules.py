"""Rules of a study that join several keys. Each takes the parts it needs and is skipped when those parts are themselves at fault.

One function is one rule; the message says the rule, what came and what to do next.
"""

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Protocol, assert_never

from sciimg.protocol.explain import closest
from sciimg.protocol.models import (
    ACQUISITION,
    REVIEW_COLUMNS,
    ClassCondition,
    Condition,
    Gate,
    GenerationPlan,
    ImageCondition,
    LabelFiles,
    Patches,
    RecipePlan,
    ReviewPlan,
    ScalarCondition,
    SegmentNuclei,
    Source,
    Split,
    SplitByBlocks,
    SplitByColumn,
    StainSeparation,
    TextCondition,
    ValidationPlan,
)
from sciimg.protocol.vocabulary import PHYSICS, USUAL_SPACES, Need, metrics, physics_of, space_of
from sciimg.protocol.yaml_tree import KeyPath, dotted

Fault = tuple[KeyPath, str, str]  # key path, kind, message


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class Parts:
    """The parts of a study that are sound by themselves; ``None`` stands for one that is not. Lists hold (place in the file, item)."""

    sources: tuple[tuple[int, Source], ...] = ()
    split: Split | None = None
    patches: Patches | None = None
    conditions: tuple[tuple[int, Condition], ...] = ()
    recipes: tuple[tuple[int, RecipePlan], ...] = ()
    generate: GenerationPlan | None = None
    validation: ValidationPlan | None = None
    gates: tuple[tuple[int, Gate], ...] = ()
    review: ReviewPlan | None = None
    faulty: frozenset[str] = frozenset()  # top-level keys with an item left out above

    @property
    def dims(self) -> int | None:
        return None if self.patches is None else len(self.patches.shape)


def faults(parts: Parts) -> Iterator[Fault]:
    """Yield every broken rule."""
    for rule in RULES:
        yield from rule(parts)


# ---------------------------------------------------------------- names


def names_are_unique(parts: Parts) -> Iterator[Fault]:
    lists: dict[str, Sequence[tuple[int, _Named]]] = {
        "sources": parts.sources,
        "conditions": parts.conditions,
        "recipes": parts.recipes,
        "gates": parts.gates,
    }
    for key, items in lists.items():
        seen: dict[str, int] = {}
        for i, item in items:
            if item.name in seen:
                message = f"Names in {key} are unique; {item.name!r} is also {key}[{seen[item.name]}]. Rename one."
                yield (key, i, "name"), "duplicate-name", message
            seen.setdefault(item.name, i)


def one_recipe_is_a_candidate(parts: Parts) -> Iterator[Fault]:
    if parts.recipes and "recipes" not in parts.faulty and all(r.role != "candidate" for _, r in parts.recipes):
        message = "A study releases the samples of a candidate; every recipe here is a comparator. Give one `role: candidate`."
        yield ("recipes",), "no-candidate", message


# ---------------------------------------------------------------- geometry


def shapes_are_positive(parts: Parts) -> Iterator[Fault]:
    for i, size in enumerate(parts.patches.shape if parts.patches else ()):
        if size < 1:
            yield ("patches", "shape", i), "bad-value", f"A patch has at least 1 pixel along each axis; got {size}. Change patches.shape."
    cell = parts.split.cell if isinstance(parts.split, SplitByBlocks) else ()
    for i, length in enumerate(cell):
        if length is not None and length < 1:
            message = f"A cell has at least 1 pixel along each axis, or null; got {length}. Change split.cell."
            yield ("split", "cell", i), "bad-value", message


def spacing_fits_axes(parts: Parts) -> Iterator[Fault]:
    for i, source in parts.sources:
        place = ("sources", i)
        if (source.spacing is None) != (source.unit is None):
            missing = "unit" if source.unit is None else "spacing"
            message = f"spacing and unit come together; {missing} is missing. Add it (`unit: pixel`: no physical size is known)."
            yield (*place, "unit" if source.spacing is None else "spacing"), "spacing-without-unit", message
        if source.spacing is None:
            continue
        for axis, value in enumerate(source.spacing):
            if not (math.isfinite(value) and value > 0):
                yield (*place, "spacing", axis), "bad-value", f"Spacing is > 0 on every axis; got {value}. Change sources[{i}].spacing."
        if parts.dims is not None and len(source.spacing) != parts.dims:
            axes = "z, y, x" if parts.dims == 3 else "y, x"
            message = (
                f"Spacing has one value for each spatial axis of a patch ({axes}); got {len(source.spacing)} for "
                f"{parts.dims}D patches. Change sources[{i}].spacing or patches.shape."
            )
            yield (*place, "spacing"), "spacing-length", message


def blocks_fit_axes(parts: Parts) -> Iterator[Fault]:
    split = parts.split
    if not isinstance(split, SplitByBlocks) or parts.dims is None:
        return
    if len(split.cell) != parts.dims:
        message = (
            f"A cell has one size for each spatial axis of a patch; got {len(split.cell)} for {parts.dims}D patches. "
            f"Give {parts.dims} sizes; null spans the image."
        )
        yield ("split", "cell"), "cell-length", message
    if split.axis == "z" and parts.dims == 2:
        yield ("split", "axis"), "no-such-axis", "2D patches come from images with the axes y and x; got a split along z. Use y or x."


def split_leaves_training_data(parts: Parts) -> Iterator[Fault]:
    if parts.split and parts.split.calibration + parts.split.holdout >= 1:
        held = parts.split.calibration + parts.split.holdout
        message = f"calibration + holdout is below 1, so that training data remain; got {held:g}. Lower one of them."
        yield ("split", "holdout"), "no-training-part", message


# ---------------------------------------------------------------- tables and labels


def columns_have_a_table(parts: Parts) -> Iterator[Fault]:
    bare = [s.name for _, s in parts.sources if s.table is None]
    if not bare:
        return
    wanted: list[tuple[KeyPath, str, str]] = []
    for i, condition in parts.conditions:
        if isinstance(condition, ClassCondition) or (isinstance(condition, ScalarCondition) and condition.measure == "column"):
            wanted.append((("conditions", i, "column"), f"condition {condition.name!r}", condition.column or ""))
    if isinstance(parts.split, SplitByColumn):
        if parts.split.column != "id":
            wanted.append((("split", "column"), "split.column", parts.split.column))
        if parts.split.stratify is not None:
            wanted.append((("split", "stratify"), "split.stratify", parts.split.stratify))
    for path, who, column in wanted:
        message = f"{who} reads column {column!r}, so every source has a table; {', '.join(map(repr, bare))} has none. Add `table:` there."
        yield path, "needs-table", message


def scalars_say_what_they_measure(parts: Parts) -> Iterator[Fault]:
    for i, condition in parts.conditions:
        if not isinstance(condition, ScalarCondition):
            continue
        for measure, key in (("channel-mean", "channel"), ("column", "column")):
            given = getattr(condition, key) is not None
            if condition.measure == measure and not given:
                yield ("conditions", i), "missing-key", f"`measure: {measure}` needs the key {key!r}. Add it to conditions[{i}]."
            if condition.measure != measure and given:
                message = f"The key {key!r} belongs to `measure: {measure}`; this is `measure: {condition.measure}`. Remove it."
                yield ("conditions", i, key), "unused-key", message


def captions_say_something(parts: Parts) -> Iterator[Fault]:
    kinds = {c.name: c.kind for _, c in parts.conditions}
    bare = [s.name for _, s in parts.sources if s.table is None]
    for i, condition in parts.conditions:
        if not isinstance(condition, TextCondition):
            continue
        place: KeyPath = ("conditions", i, "template")
        example = 'e.g. template: "{stain} tissue, {level} stained"'
        try:
            pieces = [piece for piece in Formatter().parse(condition.template) if piece[1] is not None]
        except ValueError:
            yield place, "bad-template", f"A field stands between {{ and }}, {example}; got {condition.template!r}. Close the braces."
            continue
        if not pieces:
            yield place, "no-field", f"A caption without a field is the same for all images; name what differs in braces, {example}."
        for _, field, form, conversion in pieces:
            if not field or form or conversion:
                message = f"A field is the name of a condition or a column, or acquisition.NAME, and no more, {example}; got {field!r}."
                yield place, "bad-template", message
            elif (kind := kinds.get(field)) in ("mask", "image", "text"):
                message = f"A caption cannot say {field!r}, a condition of kind {kind}. Name a scalar, a class or a column."
                yield place, "unknown-field", message
            elif kind is None and bare and "conditions" not in parts.faulty and not field.startswith(ACQUISITION):
                message = (
                    f"The caption reads {field!r}, which is no condition, so every source has a table with this column; "
                    f"{', '.join(map(repr, bare))} has none. Add `table:` there, name a condition, or write "
                    f"{{acquisition.NAME}} for what the files tell.{closest(field, kinds)}"
                )
                yield place, "needs-table", message


def channels_exist(parts: Parts) -> Iterator[Fault]:
    known = [_channels(s) for _, s in parts.sources]
    for (i, source), channels in zip(parts.sources, known, strict=True):
        if isinstance(source.labels, SegmentNuclei) and channels:
            for key, channel in (("channel", source.labels.channel), ("subtract", source.labels.subtract)):
                if channel is not None and channel not in channels:
                    yield ("sources", i, "labels", key), "unknown-channel", _channel_message(channel, channels)
    for i, condition in parts.conditions:
        if isinstance(condition, ScalarCondition) and condition.channel is not None:
            for channels in known:
                if channels and condition.channel not in channels:
                    yield ("conditions", i, "channel"), "unknown-channel", _channel_message(condition.channel, channels)
                    break


def _channels(source: Source) -> tuple[str, ...]:
    """Return the channel names that a source is known to have after preparation; empty when only its files can say."""
    stains = [step.stains for step in source.prepare if isinstance(step, StainSeparation)]
    return stains[-1] if stains else source.channels or ()


def _channel_message(channel: str, channels: tuple[str, ...]) -> str:
    return f"A channel is one of {', '.join(channels)}; got {channel!r}.{closest(channel, channels)}"


def images_leave_something_to_make(parts: Parts) -> Iterator[Fault]:
    given = [(i, c) for i, c in parts.conditions if isinstance(c, ImageCondition)]
    for i, _ in given[1:]:
        message = f"One condition names all channels that are given; conditions[{given[0][0]}] does already. List them there."
        yield ("conditions", i), "two-images", message
    for i, condition in given:
        place: KeyPath = ("conditions", i, "channels")
        if len(set(condition.channels)) != len(condition.channels):
            yield place, "duplicate-name", f"Channels are named once; got {', '.join(condition.channels)}. Remove the repeated one."
        for j, source in parts.sources:
            channels = _channels(source)
            if not channels:
                continue
            if unknown := [name for name in condition.channels if name not in channels]:
                yield place, "unknown-channel", _channel_message(unknown[0], channels)
            elif set(condition.channels) >= set(channels):
                message = (
                    f"A recipe makes the channels that are not given; of {', '.join(channels)} (sources[{j}]) none is left. "
                    "Leave out of conditions the channels that are wanted."
                )
                yield place, "nothing-to-make", message
            else:
                continue
            break


def preparation_fits_modality(parts: Parts) -> Iterator[Fault]:
    for i, source in parts.sources:
        for j, step in enumerate(source.prepare):
            place: KeyPath = ("sources", i, "prepare", j)
            if step.kind == "stain-separation" and source.modality != "brightfield":
                message = f"Stains are separated in brightfield images; sources[{i}].modality is {source.modality!r}. Remove the step."
                yield place, "wrong-modality", message
            if step.kind == "stain-separation" and len(set(step.stains)) != len(step.stains):
                yield (*place, "stains"), "duplicate-name", f"Stains are named once; got {', '.join(step.stains)}. Remove the repeated one."
            if step.kind == "rescale" and not 0 <= step.percentiles[0] < step.percentiles[1] <= 100:
                low, high = step.percentiles
                message = f"Percentiles are two numbers with 0 <= low < high <= 100; got {low:g}, {high:g}. Change them."
                yield (*place, "percentiles"), "bad-value", message


def labels_are_there_when_needed(parts: Parts) -> Iterator[Fault]:
    bare = [s.name for _, s in parts.sources if s.labels is None]
    if not bare:
        return
    wanted: list[tuple[KeyPath, str]] = [
        (("conditions", i), f"condition {c.name!r}")
        for i, c in parts.conditions
        if c.kind == "mask" or (isinstance(c, ScalarCondition) and c.measure == "foreground-fraction")
    ]
    if parts.patches and parts.patches.min_foreground > 0:
        wanted.append((("patches", "min_foreground"), "patches.min_foreground"))
    if parts.patches and parts.patches.balance == "labels":
        wanted.append((("patches", "balance"), "patches.balance: labels"))
    if parts.validation and parts.validation.downstream:
        wanted.append((("validation", "downstream"), "validation.downstream"))
    for path, who in wanted:
        yield path, "needs-labels", f"{who} needs labels in every source; {', '.join(map(repr, bare))} has none. Add `labels:` there."


def labels_are_of_one_kind(parts: Parts) -> Iterator[Fault]:
    kinds = {s.name: _label_kind(s) for _, s in parts.sources if s.labels is not None}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        yield ("sources",), "mixed-labels", f"Labels of all sources are of one kind, instances or classes; got {said}. Make them agree."


def _label_kind(source: Source) -> str:
    match source.labels:
        case LabelFiles(labels=kind):
            return kind
        case SegmentNuclei():
            return "instances"
        case None:
            return ""
        case _:
            return "classes"


def one_mask_at_most(parts: Parts) -> Iterator[Fault]:
    masks = [i for i, c in parts.conditions if c.kind == "mask"]
    for i in masks[1:]:
        yield ("conditions", i), "two-masks", f"A sample has one label image; conditions[{masks[0]}] is a mask already. Remove one."


# ---------------------------------------------------------------- judgement


def physics_fits_modality(parts: Parts) -> Iterator[Fault]:
    chosen = parts.validation.physics if parts.validation else ()
    for i, name in enumerate(chosen):
        place: KeyPath = ("validation", "physics", i)
        if name not in PHYSICS:
            message = f"A physics check is one of {', '.join(PHYSICS)}; got {name!r}.{closest(name, PHYSICS)}"
            yield place, "unknown-check", message
            continue
        if name in chosen[:i]:
            yield place, "duplicate-name", f"A check stands once; {name!r} stands twice. Remove one."
        for _, source in parts.sources:
            if source.modality not in PHYSICS[name].modalities:
                possible = ", ".join(p for p, known in PHYSICS.items() if source.modality in known.modalities)
                message = f"{name!r} says nothing about {source.modality} images (source {source.name!r}). Known for them: {possible}."
                yield place, "wrong-modality", message
            need = PHYSICS[name].needs
            if need in ("instances", "classes") and _label_kind(source) != need:
                came = _label_kind(source) or "none"
                yield place, "needs-labels", f"{name!r} needs {need} labels in source {source.name!r}; got {came}. Remove the check."


def gates_have_a_bar(parts: Parts) -> Iterator[Fault]:
    for i, gate in parts.gates:
        if gate.at_least is None and gate.at_most is None:
            message = f"Gate {gate.name!r} has no bar and could not refuse anything. Give at_least or at_most, and why it stands there."
            yield ("gates", i), "no-bar", message
        elif gate.at_least is not None and gate.at_most is not None and gate.at_least > gate.at_most:
            message = f"Gate {gate.name!r} can never be passed: at_least {gate.at_least:g} is above at_most {gate.at_most:g}. Change one."
            yield ("gates", i), "impossible-bar", message


def gates_name_known_metrics(parts: Parts) -> Iterator[Fault]:
    subgroups = (parts.validation.subgroups or ()) if parts.validation else ()
    known = metrics((condition for _, condition in parts.conditions), subgroups, parts.review)
    for i, gate in parts.gates:
        place: KeyPath = ("gates", i, "metric")
        if gate.metric in known:
            if lacking := [said for need in known[gate.metric] if (said := _lacking(need, gate.metric, parts))]:
                message = f"Gate {gate.name!r} reads {gate.metric!r}, which needs {' and '.join(lacking)}. Ask for it, or remove the gate."
                yield place, "metric-not-computed", message
        elif not (gate.metric.startswith("condition_") and "conditions" in parts.faulty):
            similar = difflib.get_close_matches(gate.metric, known, n=5, cutoff=0.4)
            hint = f"{closest(gate.metric, known)} Similar: {', '.join(similar)}." if similar else " `sciimg schema` lists them."
            yield place, "unknown-metric", f"No check reports {gate.metric!r}, so gate {gate.name!r} could only refuse.{hint}"


def _lacking(need: Need, metric: str, parts: Parts) -> str:
    """Return what a metric needs and the study does not ask for, or ``""``."""
    sources = [s for _, s in parts.sources]
    match need:
        case "physics":
            check = physics_of(metric)
            return "" if parts.validation is None or check in parts.validation.physics else f"{check!r} in validation.physics"
        case "features":
            return "" if parts.validation is None else _lacking_space(space_of(metric), parts.validation)
        case "downstream":
            return "" if parts.validation is None or parts.validation.downstream else "validation.downstream"
        case "review":
            return "" if parts.review is None or parts.review.readers else "review.readers above 0"
        case "mask":
            asked = "conditions" in parts.faulty or any(c.kind == "mask" for _, c in parts.conditions)
            return "" if asked else "a condition of kind mask"
        case "instances" | "classes":
            return "" if all(_label_kind(s) == need for s in sources) else f"{need} labels in every source"
    assert_never(need)


def _lacking_space(space: str, plan: ValidationPlan) -> str:
    if space == "weights":
        return "" if plan.weights else "validation.weights"
    return "" if space in (plan.features or USUAL_SPACES) else f"{space!r} in validation.features"


def enough_is_generated(parts: Parts) -> Iterator[Fault]:
    if parts.generate and parts.validation and parts.generate.count < parts.validation.samples:
        message = (
            f"The set metrics use validation.samples synthetic samples ({parts.validation.samples}); generate.count is only "
            f"{parts.generate.count}. Raise generate.count or lower validation.samples."
        )
        yield ("generate", "count"), "too-few-samples", message


def review_asks_one_thing_by_one_name(parts: Parts) -> Iterator[Fault]:
    if parts.review is None:
        return
    places = dict.fromkeys(REVIEW_COLUMNS, "a column of every sheet")
    asked: list[tuple[KeyPath, str]] = [(("review", "criteria", i, "name"), c.name) for i, c in enumerate(parts.review.criteria)]
    asked += [(("review", "artefacts", i), name) for i, name in enumerate(parts.review.artefacts)]
    for place, name in asked:
        if name in places:
            message = f"Criteria and artefacts of a review have names of their own; {name!r} is also {places[name]}. Rename one."
            yield place, "duplicate-name", message
        places.setdefault(name, dotted(place))


# ---------------------------------------------------------------- text


def blanks(value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Yield every text of a study that is empty; recipe options speak for themselves."""
    if isinstance(value, str) and not value.strip():
        yield path, "blank", "A text of a study says something; this one is empty. Fill it in."
    elif isinstance(value, dict):
        for key, child in value.items():
            if key != "options":
                yield from blanks(child, (*path, key))
    elif isinstance(value, list):
        for i, child in enumerate(value):
            yield from blanks(child, (*path, i))


RULES: tuple[Callable[[Parts], Iterator[Fault]], ...] = (
    names_are_unique,
    one_recipe_is_a_candidate,
    shapes_are_positive,
    spacing_fits_axes,
    blocks_fit_axes,
    split_leaves_training_data,
    columns_have_a_table,
    scalars_say_what_they_measure,
    captions_say_something,
    channels_exist,
    images_leave_something_to_make,
    preparation_fits_modality,
    labels_are_there_when_needed,
    labels_are_of_one_kind,
    one_mask_at_most,
    physics_fits_modality,
    gates_have_a_bar,
    gates_name_known_metrics,
    enough_is_generated,
    review_asks_one_thing_by_one_name,
)
