"""Another recipe trained on the same data for comparison; once a process, however many answerers are measured against it."""

import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sciimg.augmenters.recipe import Recipe

from .datasets import DATASETS
from .learned import trained
from .subject import Subject, Trained

_TIMED = 32  # steps, of which the first do not count
_FIRST = 8


def sibling(subject: Subject, recipe: Recipe) -> Trained:
    """Return ``recipe`` trained on what the subject was trained on."""
    return _trained(recipe.model_dump_json(), subject.recipe.reach.data, subject.dims)


def sibling_of_equal_time(subject: Subject, recipe: Recipe) -> Trained:
    """Return ``recipe`` trained on the same data for the processor time that the subject's own training takes.

    Steps of both are timed here, one after the other, and the sibling gets as many as fit. Training of a space is no part of it.
    """
    return sibling(subject, _scaled(subject.recipe.model_dump_json(), recipe.model_dump_json(), subject.recipe.reach.data, subject.dims))


@cache
def _scaled(own: str, other: str, data: str, dims: int) -> Recipe:
    recipes = [Recipe.model_validate_json(recipe) for recipe in (own, other)]
    ours, theirs = (seconds_a_step(recipe, data, dims) for recipe in recipes)
    steps = max(1, round(recipes[0].training.steps * ours / theirs))
    return recipes[1].model_copy(update={"training": recipes[1].training.model_copy(update={"steps": steps})})


def seconds_a_step(recipe: Recipe, data: str, dims: int) -> float:
    """Return the processor time that one step of the main training takes; other programs do not lengthen it."""
    found, ends = DATASETS[data](dims), []
    assert found is not None

    def progress(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if steps == _TIMED:
            ends.append(time.process_time())

    with TemporaryDirectory() as folder:
        trained(_briefly(recipe), found, ("conformance", "timed", recipe.name), Path(folder) / "model", progress)
    return (ends[_TIMED - 1] - ends[_FIRST - 1]) / (_TIMED - _FIRST)


def _briefly(recipe: Recipe) -> Recipe:
    """Return the recipe with few steps of its main training and one of any other."""

    def short(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        changed = {k: short(v) for k, v in data.items()}
        return changed | {"steps": 1} if "learning_rate" in data else changed

    brief = Recipe.model_validate(short(recipe.model_dump()))
    return brief.model_copy(update={"training": brief.training.model_copy(update={"steps": _TIMED})})


@cache
def _trained(recipe: str, data: str, dims: int) -> Trained:
    own, found = Recipe.model_validate_json(recipe), DATASETS[data](dims)
    assert found is not None
    with TemporaryDirectory() as folder:
        return trained(own, found, ("conformance", "sibling", own.name), Path(folder) / "model")
