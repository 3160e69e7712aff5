"""Named recipes: looked up, listed, and changed by options. The recipes themselves are in :mod:`sciimg.augmenters.catalogue`; no torch."""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from sciimg.augmenters.catalogue import (
    adversarial,
    autoencoders,
    cascade,
    control,
    diffusion,
    editing,
    latent,
    physics,
    text,
    tokens,
    translation,
)
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.settings import Schedule
from sciimg.errors import InputError, Problem

_FAMILIES = (diffusion, latent, adversarial, autoencoders, tokens, translation, control, cascade, text, editing, physics)
RECIPES: MappingProxyType[str, Recipe] = MappingProxyType({recipe.name: recipe for family in _FAMILIES for recipe in family.RECIPES})
_OPEN = frozenset({"space", "process", "backbone", "conditioning", "sampler", "training", "formation"})


def get_recipe(name: str, options: dict[str, Any] | None = None, dims: Literal[2, 3] = 2) -> Recipe:
    """Return a named recipe for images of ``dims`` dimensions, with options in place.

    Parameters
    ----------
    name : str
    options : dict, optional
        Dotted settings, e.g. ``{"training.steps": 200, "space.latent_channels": 8}``. They win over ``in_3d``.
    dims : {2, 3}

    Raises
    ------
    InputError
        Kinds ``unknown-recipe``, ``unknown-option``, ``bad-option``; every problem at once.
    """
    if name not in RECIPES:
        message = f"There is no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}. `sciimg recipes list` describes them."
        raise InputError(Problem(name, "unknown-recipe", message))
    recipe = RECIPES[name]
    if dims not in recipe.dims:
        raise InputError(Problem(name, "dimensions", f"The recipe works in {recipe.dims} dimensions, not in {dims}."))
    data = recipe.model_dump(mode="json")
    overrides = (recipe.in_3d if dims == 3 else {}) | (options or {})
    problems = [problem for path, value in overrides.items() if (problem := _override(data, name, path, value)) is not None]
    if problems:
        raise InputError(problems)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise InputError(_bad_options(name, error)) from None


def too_small(recipe: Recipe) -> list[Problem]:
    """Return what keeps budgets from teaching anything: a training, of any phase, that ends before its learning rate has risen."""
    return [
        Problem(
            f"{recipe.name}: {name}.steps",
            "budget-too-small",
            f"The learning rate rises over {own.warmup} steps, and training ends after {own.steps}. Give more steps, or set {name}.warmup.",
        )
        for name, own in _schedules(recipe)
        if own.steps <= own.warmup and not (name == "training" and recipe.backbone.kind == "none")  # the space is all that is trained
    ]


def _schedules(settings: BaseModel, path: str = "") -> Iterator[tuple[str, Schedule]]:
    """Yield every schedule in settings, with the option that sets it."""
    for name in type(settings).model_fields:
        value, own = getattr(settings, name), f"{path}{name}"
        if isinstance(value, Schedule):
            yield own, value
        elif isinstance(value, BaseModel):
            yield from _schedules(value, f"{own}.")


def summaries() -> list[dict[str, Any]]:
    """Return one line a recipe: its place on every axis of the space of choices."""
    return [
        {
            "name": recipe.name,
            "systems": list(recipe.systems),
            "dims": list(recipe.dims),
            "space": recipe.space.kind,
            "process": recipe.process.kind,
            "backbone": recipe.backbone.kind,
            "conditioning": recipe.conditioning.listed(),
            "sampler": recipe.sampler.name,
            "cites": list(recipe.cites),
        }
        for recipe in RECIPES.values()
    ]


def _override(data: dict[str, Any], name: str, path: str, value: Any) -> Problem | None:
    *parents, last = path.split(".")
    place: Any = data
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place or (not parents and last not in _OPEN):
        known = ", ".join(f"{a}.{b}" for a in sorted(_OPEN) for b in sorted(data[a] or ()))
        return Problem(f"{name}: {path}", "unknown-option", f"The recipe has no setting {path!r}; it has: {known}.")
    place[last] = value
    return None


def _bad_options(name: str, error: ValidationError) -> list[Problem]:
    return [
        Problem(f"{name}: {'.'.join(str(part) for part in item['loc'])}", "bad-option", f"{item['msg']}; got {item['input']!r}.")
        for item in error.errors()
    ]
