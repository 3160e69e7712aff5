"""How the recipes were trained: what they are, what budget they had, and the curves they left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.report.evidence import Evidence, RecipeEvidence
from sciimg.report.figures import Curve, Panel, draw, finite
from sciimg.report.model import Block, Column, Missing, Plot, Section, Table
from sciimg.report.palette import series
from sciimg.report.words import grouped, number, plain, text

AXES = ("space", "process", "backbone", "conditioning", "sampler")  # of the recipe space


def training(evidence: Evidence) -> Section:
    """Return recipes, budgets and curves."""
    blocks: list[Block] = [_recipes(evidence.recipes)]
    panels = []
    for i, recipe in enumerate(evidence.recipes):
        drawn = _panels(recipe, series(i))
        panels += drawn
        if not drawn:
            why = next((a.why for a in recipe.absent if "curves" in a.what), "The file holds no curve.")
            blocks.append(Missing(what=f"training curves of {recipe.plan.name}", why=why))
    if panels:
        key = tuple((series(i), r.plan.name) for i, r in enumerate(evidence.recipes))
        blocks.append(Plot(title="Training", caption=text("training"), panels=tuple(draw(p) for p in panels), key=key))
    return Section(name="recipes", title="Recipes and training", blocks=tuple(blocks))


def _recipes(recipes: Sequence[RecipeEvidence]) -> Table:
    rows = []
    for recipe in recipes:
        whole = recipe.model.get("recipe")
        axes = [_kind(whole[axis]) for axis in AXES if whole.get(axis)] if isinstance(whole, Mapping) else []
        options = plain(recipe.plan.options) if recipe.plan.options else "defaults"
        parts = (
            " × ".join(axes) or recipe.plan.recipe,
            _numbers(recipe.model.get("steps")),
            _numbers(recipe.model.get("parameters")),
            options,
        )
        rows.append((recipe.plan.name, recipe.plan.role, *parts))
    titles = ("Recipe", "Role", "Made of", "Steps", "Parameters", "Options")
    return Table(caption="Recipes", columns=tuple(Column(title=t) for t in titles), rows=tuple(rows), compact=True)


def _numbers(value: Any) -> str:
    if isinstance(value, Mapping) and value:
        return ", ".join(f"{k} {grouped(v) if isinstance(v, int) else plain(v)}" for k, v in value.items())
    return "not recorded" if not value else plain(value)


def _kind(value: Any) -> str:
    """Return what a setting is called: its kind or name, or the words in it."""
    if isinstance(value, Mapping):
        return str(value.get("kind") or value.get("name") or " ".join(v for v in value.values() if isinstance(v, str)))
    return str(value)


def _panels(recipe: RecipeEvidence, colour: str) -> list[Panel]:
    steps = recipe.model.get("steps")
    panels = []
    for title, lines in losses(recipe.curves, steps if isinstance(steps, Mapping) else {}).items():
        curves = [Curve(finite(line.x), finite(line.y), colour, dots=line.held_out or len(line.y) == 1) for line in lines]
        ends = "; ".join(f"{'held-out' if line.held_out else 'training'} loss ends at {number(float(line.y[-1]))}" for line in lines)
        panels.append(Panel(f"{recipe.plan.name}: {title}", "step", "loss", curves, f"{recipe.plan.name}, {title}: {ends}."))
    return panels


@dataclass(frozen=True)
class Line:
    """A loss over steps."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    held_out: bool


def losses(curves: Mapping[str, Any], steps: Mapping[str, Any]) -> dict[str, list[Line]]:
    """Return the losses of each player of each phase, the held-out loss beside the first.

    Parameters
    ----------
    curves : mapping
        Phase to quantities: ``PLAYER.loss`` evenly over the steps, ``held-out`` at the steps ``held-out.step``; others are not drawn.
    steps : mapping
        Phase to the number of steps it took.
    """
    found: dict[str, list[Line]] = {}
    for phase, quantities in curves.items():
        if not isinstance(quantities, Mapping):
            continue
        players = {name.removesuffix(".loss"): _array(values) for name, values in quantities.items() if name.endswith(".loss")}
        held = Line(_array(quantities.get("held-out.step")), _array(quantities.get("held-out")), held_out=True)
        for i, (player, y) in enumerate(players.items()):
            if not len(y):
                continue
            each = float(steps.get(phase) or len(y)) / len(y)
            lines = [Line(np.linspace(0.5, len(y) - 0.5, len(y), dtype=np.float64) * each, y, held_out=False)]
            lines += [held] if i == 0 and len(held.x) == len(held.y) > 0 else []
            found[phase if len(players) == 1 else f"{phase}, {player}"] = lines
    return found


def _array(values: Any) -> NDArray[np.float64]:
    good = isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(v, int | float) for v in values)
    return np.asarray(values if good else [], dtype=np.float64)
