"""Conditions that a person asks for by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.augmenters.model_file import ModelCard
from sciimg.errors import InputError, Problem
from sciimg.generation.conditions import Conditions
from sciimg.patches.source import PatchSource
from sciimg.randomness import generator
from sciimg.store import Collection


def requested(card: ModelCard, count: int, fixed: Sequence[str], masks: Path | None, seed: int) -> Conditions:
    """Return ``count`` conditions.

    Parameters
    ----------
    card : ModelCard
        Says which conditions the model knows.
    fixed : sequence of str
        ``NAME=VALUE``; scalars and classes that are not fixed are drawn evenly from what was seen in training.
    masks : Path or None
        Collection with labels; cut to the model's size and taken in turn.

    Raises
    ------
    InputError
        Kinds ``bad-condition``, ``unknown-condition``, ``no-mask``: every problem at once.
    """
    columns = values_of(card, count, fixed, masks is not None, seed)
    labels, groups = (None, [f"sample-{i}" for i in range(count)]) if masks is None else _masks(card, masks, count)
    return Conditions(labels, pd.DataFrame(columns, index=range(count)), groups)


def values_of(card: ModelCard, count: int, fixed: Sequence[str], masked: bool, seed: int, *, along: bool = False) -> dict[str, Any]:
    """Return ``count`` values of every scalar and class of a model.

    With ``along``, a scalar may be given as ``A..B``, which stands as the pair (A, B).
    """
    values, problems = parsed(fixed, {*(s.name for s in card.conditions.scalars), *(c.name for c in card.conditions.classes)})
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
    for category in card.conditions.classes:
        columns[category.name] = values.get(category.name, rng.choice(list(category.values), count))
    if card.conditions.mask is not None and not masked:
        message = "The model is conditioned on a mask. Give a collection with labels: --mask COLLECTION."
        problems.append(Problem("--mask", "no-mask", message))
    if problems:
        raise InputError(problems)
    return columns


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


def _masks(card: ModelCard, masks: Path, count: int) -> tuple[NDArray[np.int32], list[str]]:
    from sciimg.patches.regions import Region, to_table

    collection = Collection(masks)
    volumes = {str(i): collection.volume(str(i)) for i in collection.catalogue["id"]}
    regions = to_table(
        Region(name, "train", group, (0,) * len(v.spatial_shape), v.spatial_shape)
        for (name, v), group in zip(volumes.items(), collection.catalogue["group"].astype(str), strict=True)
    )
    patches = PatchSource(collection, regions, "train", card.shape[1:]).grid(limit=count)
    if patches.labels is None:
        raise InputError(Problem(str(masks), "no-mask", "The images of this collection have no labels. Ingest them with their masks."))
    turn = [i % len(patches) for i in range(count)]
    return patches.labels[turn], [str(patches.groups[i]) for i in turn]
