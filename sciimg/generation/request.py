"""Conditions that a person asks for by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.augmenters.model_file import ModelCard
from sciimg.augmenters.recipe import refuse_encoders
from sciimg.errors import InputError, Problem
from sciimg.generation.conditions import Conditions, channels_of
from sciimg.patches.source import PatchSource
from sciimg.randomness import generator
from sciimg.store import Collection
from sciimg.types import PatchSet, Spacing

_SAME_SPACING = 0.05  # relative; headers round


def requested(card: ModelCard, count: int, fixed: Sequence[str], masks: Path | None, seed: int, sources: Path | None = None) -> Conditions:
    """Return ``count`` conditions.

    Parameters
    ----------
    card : ModelCard
        Says which conditions the model knows.
    fixed : sequence of str
        ``NAME=VALUE``; what is not fixed is drawn evenly from what was seen in training. A caption is given whole, or by the words of its
        fields.
    masks : Path or None
        Collection with labels; cut to the model's size and taken in turn. Default: ``sources``, whose labels belong to its images.
    sources : Path or None
        Collection of the images to translate, cut and taken in turn alike; their channels are found by name.

    Raises
    ------
    InputError
        Kinds ``bad-condition``, ``unknown-condition``, ``missing-condition``, ``unseen-word``, ``no-mask``, ``no-source``: every problem at
        once; then ``missing-channel`` and
        ``other-spacing``.
    """
    columns, problems = values_of(card, count, fixed, seed)
    image = card.conditions.image
    if image is not None and sources is None:
        message = (
            f"The model turns {', '.join(image.channels)} into {_made(card)}. Give a collection of source images: --source COLLECTION."
        )
        problems.append(Problem("--source", "no-source", message))
    if image is None and sources is not None:
        message = "The model makes images from nothing but conditions; it translates none. Leave --source out."
        problems.append(Problem("--source", "unknown-condition", message))
    masks = masks or sources
    if card.conditions.mask is not None and masks is None:
        message = "The model is conditioned on a mask. Give a collection with labels: --mask COLLECTION."
        problems.append(Problem("--mask", "no-mask", message))
    if problems:
        raise InputError(problems)
    table = pd.DataFrame(columns, index=range(count))
    labels = groups = None
    if masks is not None and card.conditions.mask is not None:
        labels, groups = _masks(_patches(card, masks, count), masks, count)
    if sources is None:
        return Conditions(labels, table, groups or [f"sample-{i}" for i in range(count)])
    patches = _patches(card, sources, count)
    turn = [i % len(patches) for i in range(count)]
    places = patches.table.iloc[turn]
    about = [{"source_image": str(i), "source_origin": str(o)} for i, o in zip(places["image"], places["origin"], strict=True)]
    return Conditions(labels, table, [str(patches.groups[i]) for i in turn], _given(card, patches, sources)[turn], about)


def _named(card: ModelCard) -> set[str]:
    return {*(s.name for s in card.conditions.scalars), *(c.name for c in card.conditions.classes)}


def values_of(card: ModelCard, count: int, fixed: Sequence[str], seed: int, *, along: bool = False) -> tuple[dict[str, Any], list[Problem]]:
    """Return ``count`` values of every scalar, class and caption of a model, and what is wrong with what was asked.

    With ``along``, a scalar may be given as ``A..B``, which stands as the pair (A, B).
    """
    refuse_encoders(card.recipe)
    text = card.conditions.text
    formed = () if card.formation is None else (card.formation.condition[0],)
    spoken = [field for field in text.fields if field.name not in _named(card)] if text else []
    values, problems = parsed(fixed, {*_named(card), *(field.name for field in spoken), *([text.name] if text else []), *formed})
    rng = generator("request", seed)
    columns: dict[str, Any] = {}
    for scalar in card.conditions.scalars:
        columns[scalar.name] = rng.uniform(scalar.low, scalar.high, count)
        if scalar.name in values:
            try:
                ends = tuple(float(end) for end in (values[scalar.name].split("..", 1) if along else [values[scalar.name]]))
                columns[scalar.name] = ends if len(ends) == 2 else ends[0]
            except ValueError:
                problems.append(Problem(scalar.name, "bad-condition", f"{scalar.name} is a number; got {values[scalar.name]!r}."))
    for name in formed:
        if name in values:
            try:
                columns[name] = float(values[name])
            except ValueError:
                columns[name] = float("nan")
            low, high = (0.0, float("inf")) if card.formation is None else card.formation.usable
            if not (0 < float(columns[name]) < float("inf") and low <= float(columns[name]) <= high):
                message = f"{name} is a number above zero; this model's images can have {low:.3g} to {high:.3g}; got {values[name]!r}."
                problems.append(Problem(name, "bad-condition", message))
    for category in card.conditions.classes:
        columns[category.name] = values.get(category.name, rng.choice(list(category.values), count))
    if text is not None and text.name in values:
        columns[text.name] = values[text.name]
        problems += text.problems([values[text.name]])
    for field in spoken:
        said = values.get(field.name)
        if said is not None and said not in field.values:
            problems.append(Problem(field.name, "bad-condition", f"{field.name} is said as {', '.join(field.values)}; got {said!r}."))
        columns[field.name] = said or rng.choice(list(field.values), count)
    if text is not None and not text.fields and text.name not in values:
        message = f"The model draws what a caption says; give one: --condition {text.name}='...'."
        problems.append(Problem(text.name, "missing-condition", message))
    return columns, problems


def parsed(fixed: Sequence[str], known: set[str]) -> tuple[dict[str, str], list[Problem]]:
    """Return the values of ``NAME=VALUE`` texts by name, and what is wrong with them."""
    values, problems = {}, []
    for text in fixed:
        name, equals, value = text.partition("=")
        if not equals:
            problems.append(Problem(text, "bad-condition", "A condition is written NAME=VALUE."))
        elif name not in known:
            problems.append(Problem(name, "unknown-condition", f"The model knows {', '.join(sorted(known)) or 'no such condition'}."))
        else:
            values[name] = value
    return values, problems


def _patches(card: ModelCard, path: Path, count: int) -> PatchSet:
    """Cut the images of a collection to the model's size."""
    from sciimg.patches.regions import Region, to_table

    collection = Collection(path)
    table = collection.columns("id", "group")
    volumes = {str(i): collection.volume(str(i)) for i in table["id"]}
    regions = to_table(
        Region(name, "train", group, (0,) * len(v.spatial_shape), v.spatial_shape)
        for (name, v), group in zip(volumes.items(), table["group"].astype(str), strict=True)
    )
    return PatchSource(collection, regions, "train", card.shape[1:]).grid(limit=count)


def _masks(patches: PatchSet, masks: Path, count: int) -> tuple[NDArray[np.int32], list[str]]:
    if patches.labels is None:
        raise InputError(Problem(str(masks), "no-mask", "The images of this collection have no labels. Ingest them with their masks."))
    turn = [i % len(patches) for i in range(count)]
    return patches.labels[turn], [str(patches.groups[i]) for i in turn]


def _given(card: ModelCard, patches: PatchSet, sources: Path) -> NDArray[Any]:
    """Return the given channels by name; where one is given and the collection has one, that one, whatever it is called."""
    image = card.conditions.image
    assert image is not None
    problems = []
    alone = len(image.channels) == len(patches.channels) == 1
    if not alone and (missing := [name for name in image.channels if name not in patches.channels]):
        message = (
            f"The model turns {', '.join(image.channels)} into {_made(card)}; the images of this collection have "
            f"{', '.join(patches.channels)}, so {', '.join(missing)} is missing. Give images with these channels."
        )
        problems.append(Problem(str(sources), "missing-channel", message))
    trained = Spacing(card.spacing[-len(card.shape[1:]) :], card.unit)
    if not _alike(trained, patches.spacing):
        message = (
            f"The model was trained at {_words(trained)} a pixel; the images of this collection have {_words(patches.spacing)}. "
            "Resample them."
        )
        problems.append(Problem(str(sources), "other-spacing", message))
    if problems:
        raise InputError(problems)
    return patches.images if alone else channels_of(patches, image.channels)


def _alike(a: Spacing, b: Spacing) -> bool:
    return a.unit == b.unit and all(abs(x / y - 1) <= _SAME_SPACING for x, y in zip(a.values, b.values, strict=True))


def _words(spacing: Spacing) -> str:
    return f"{' x '.join(f'{v:g}' for v in spacing.values)} {spacing.unit}"


def _made(card: ModelCard) -> str:
    return ", ".join(channel.name for channel in card.intensity.channels)
