"""Tables, channels, labels and what conditions are made of."""

from collections.abc import Iterator
from string import Formatter

from sciimg.protocol.data import (
    ACQUISITION,
    ClassCondition,
    ImageCondition,
    ScalarCondition,
    SegmentNuclei,
    Source,
    SplitByColumn,
    StainSeparation,
    TextCondition,
)
from sciimg.protocol.explain import closest
from sciimg.protocol.rules.parts import Fault, Parts, label_kind
from sciimg.protocol.yaml_tree import KeyPath


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
    kinds = {s.name: label_kind(s) for _, s in parts.sources if s.labels is not None}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        yield ("sources",), "mixed-labels", f"Labels of all sources are of one kind, instances or classes; got {said}. Make them agree."


def one_mask_at_most(parts: Parts) -> Iterator[Fault]:
    masks = [i for i, c in parts.conditions if c.kind == "mask"]
    for i in masks[1:]:
        yield ("conditions", i), "two-masks", f"A sample has one label image; conditions[{masks[0]}] is a mask already. Remove one."
