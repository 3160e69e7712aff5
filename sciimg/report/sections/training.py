"""How the recipes were trained: what they are, what budget they had, and the curves they left."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.report.evidence import Evidence, RecipeEvidence
from sciimg.report.figures import Curve, Panel, draw, finite
from sciimg.report.model import Block, Column, Missing, Plot, Section, Table
from sciimg.report.palette import series
from sciimg.report.words import listed, number, plain, text

AXES = ("space", "process", "backbone", "conditioning", "sampler")  # of the recipe space
Line = tuple[str, NDArray[np.float64], NDArray[np.float64], bool]  # name, steps, values, whether on held-out images


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
        steps = recipe.model.get("steps")
        options = plain(recipe.plan.options) if recipe.plan.options else "defaults"
        steps_said = "not recorded" if steps is None else plain(steps)
        rows.append((recipe.plan.name, recipe.plan.role, " × ".join(axes) or recipe.plan.recipe, steps_said, options))
    columns = tuple(Column(title=t) for t in ("Recipe", "Role", "Space × process × backbone × conditioning × sampler", "Steps", "Options"))
    return Table(caption="Recipes", columns=columns, rows=tuple(rows))


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("kind") or value.get("name") or listed(v for v in value.values() if isinstance(v, str)))
    return str(value)


def _panels(recipe: RecipeEvidence, colour: str) -> list[Panel]:
    panels = []
    for phase, lines in phases(recipe.curves).items():
        curves = [Curve(finite(x), finite(y), colour, dots=held_out) for _, x, y, held_out in lines]
        ends = "; ".join(f"{name} ends at {number(float(y[-1]))}" for name, _, y, _ in lines)
        alt = f"{recipe.plan.name}, {phase}: losses over training steps; {ends}."
        panels.append(Panel(f"{recipe.plan.name}: {phase}", "step", "loss", curves, alt))
    return panels


def phases(curves: Mapping[str, Any]) -> dict[str, list[Line]]:
    """Return the lines of each phase.

    Parameters
    ----------
    curves : mapping
        By phase: ``{"steps": [...], NAME: [...]}`` or a list of ``{"step": N, NAME: value}``; names with ``held`` are held-out losses.
    """
    found = {str(phase): _lines(content) for phase, content in curves.items()}
    return {phase: lines for phase, lines in found.items() if lines}


def _lines(content: Any) -> list[Line]:
    records = _records(content) if isinstance(content, Mapping) else content
    if not isinstance(records, Sequence) or isinstance(records, str):
        return []
    points = [r for r in records if isinstance(r, Mapping) and _is_number(r.get("step"))]
    lines: list[Line] = []
    for name in sorted({k for r in points for k, v in r.items() if k != "step" and _is_number(v)}):
        known = np.array([(r["step"], r[name]) for r in points if _is_number(r.get(name))], dtype=np.float64)
        if len(known) > 1:
            lines.append((str(name), known[:, 0], known[:, 1], "held" in name))
    return lines


def _records(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    steps = content.get("steps")
    if not isinstance(steps, Sequence):
        return []
    columns = {k: v for k, v in content.items() if k != "steps" and isinstance(v, list) and len(v) == len(steps)}
    return [{"step": step, **{k: v[i] for k, v in columns.items()}} for i, step in enumerate(steps)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
