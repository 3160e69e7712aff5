"""The one loop over all systems: train shortly on real images, ask, let the impostors answer the same question."""

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import RECIPES, get_recipe
from sciimg.records import digest_of

from .datasets import DATASETS
from .editing import edited
from .learned import trained as learned
from .measures import MEASURES, REVISED
from .subject import Answerer, BlurredMean, Replay, Subject, Trained, reasons

ROWS = tuple((name, dims) for name, recipe in RECIPES.items() for dims in recipe.dims)
KEY = ("conformance",)


@dataclass(frozen=True)
class Row:
    """What was asked of one recipe, and what it and the impostors reached."""

    system: str
    recipe: str
    dims: int
    measure: str
    value: float | None
    threshold: float
    impostors: dict[str, float | None]
    seconds: float
    passed: bool
    asked_of: str = ""
    why: str = ""  # there is no value
    samples: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    real: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("samples", "real") and (k, v) != ("why", "")}


def asked_of(name: str, dims: int) -> str:
    """Return a digest of the recipe as it is trained here and of what it must reach: another one makes a row out of date."""
    recipe = get_recipe(name, dict(RECIPES[name].reach.budget(dims)), dims)
    asked = {"measure": recipe.reach.measure, "threshold": recipe.reach.threshold(dims), "data": recipe.reach.data}
    revision = REVISED.get(recipe.reach.measure)
    return digest_of(recipe.model_dump(mode="json") | {"reach": asked} | ({} if revision is None else {"revision": revision}))


def run(name: str, dims: int, folder: Path, told: int = 32, training: int = 128) -> Row | None:
    """Return the row of a recipe, or None where its data are not installed."""
    recipe = get_recipe(name, dict(RECIPES[name].reach.budget(dims)), dims)
    data = DATASETS[recipe.reach.data](dims)
    if data is None:
        return None
    subject = Subject(recipe, dims, data, data.unseen.draw(("told",), range(told)), data.train.draw(("training",), range(training)))
    begun = time.process_time()
    trained = learned(recipe, data, (*KEY, recipe.name), folder / "trained")
    subject = replace(subject, trained=trained)
    measure = MEASURES[recipe.reach.measure]
    real = subject.made_of(subject.training)
    with reasons() as why:
        value = _value(measure(trained, subject))
    answerers: dict[str, Answerer] = {
        "untrained": learned(_untrained(recipe), data, (*KEY, recipe.name), folder / "untrained"),
        "blurred": BlurredMean(real),
        "replay": Replay(real),
    }
    impostors = {who: _value(measure(answerer, subject)) for who, answerer in answerers.items()}
    good = recipe.reach.passed(value, dims) and not any(recipe.reach.passed(v, dims) for v in impostors.values())
    shown = _shown(trained, subject)
    return Row(
        recipe.systems[0],
        name,
        dims,
        recipe.reach.measure,
        value,
        recipe.reach.threshold(dims),
        impostors,
        round(time.process_time() - begun, 1),
        good,
        asked_of(name, dims),
        "; ".join(why) if value is None else "",
        shown,
        subject.made_of(subject.told)[:8],
    )


def _shown(trained: Trained, subject: Subject) -> NDArray[Any] | None:
    """Return samples; of an encoder, what it fills in; of a task, what it makes of the real images."""
    if subject.recipe.sampler.task != "sample":
        return edited(trained, subject)
    told = subject.told.take(list(range(8)))
    if not subject.recipe.draws:
        return trained.reconstruct(subject.made_of(told))
    return trained.sample(told.labels, told.table, subject.given_of(told))


def _untrained(recipe: Recipe) -> Recipe:
    """The same networks after one step of no length in every phase."""

    def still(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        changed = {k: still(v) for k, v in data.items()}
        return changed | {"steps": 1, "learning_rate": 1e-12} if "learning_rate" in data else changed

    return Recipe.model_validate(still(recipe.model_dump()))


def _value(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(np.round(value, 4))
