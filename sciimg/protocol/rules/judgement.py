"""Checks, gates, review and release."""

import difflib
from collections.abc import Iterator, Sequence
from typing import assert_never

from sciimg.protocol.data import ScalarCondition, SplitByBlocks
from sciimg.protocol.explain import closest
from sciimg.protocol.models import RecipePlan
from sciimg.protocol.rules.parts import Fault, Parts, label_kind
from sciimg.protocol.validation import REVIEW_COLUMNS, ValidationPlan
from sciimg.protocol.vocabulary import PHYSICS, USUAL_SPACES, Need, metrics, over_folds, physics_of, ratio_of, space_of
from sciimg.protocol.yaml_tree import KeyPath, dotted


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
            if need in ("instances", "classes") and label_kind(source) != need:
                came = label_kind(source) or "none"
                yield place, "needs-labels", f"{name!r} needs {need} labels in source {source.name!r}; got {came}. Remove the check."


def the_dose_is_a_scalar(parts: Parts) -> Iterator[Fault]:
    name = parts.validation.dose if parts.validation else None
    scalars = [c.name for _, c in parts.conditions if isinstance(c, ScalarCondition)]
    if name is not None and name not in scalars and "conditions" not in parts.faulty:
        message = (
            f"The dose is one of the scalar conditions ({', '.join(scalars) or 'there is none'}); got {name!r}.{closest(name, scalars)}"
        )
        yield ("validation", "dose"), "unknown-condition", message
    if parts.validation and "dose-linearity" in parts.validation.physics and name is None:
        message = "Linearity is in the dose, and the study names none. Set validation.dose to a scalar condition, or leave the check out."
        yield ("validation", "physics"), "no-dose", message


def gates_have_a_bar(parts: Parts) -> Iterator[Fault]:
    for i, gate in parts.gates:
        if gate.at_least is None and gate.at_most is None:
            message = f"Gate {gate.name!r} has no bar and could not refuse anything. Give at_least or at_most, and why it stands there."
            yield ("gates", i), "no-bar", message
        elif gate.at_least is not None and gate.at_most is not None and gate.at_least > gate.at_most:
            message = f"Gate {gate.name!r} can never be passed: at_least {gate.at_least:g} is above at_most {gate.at_most:g}. Change one."
            yield ("gates", i), "impossible-bar", message


def folds_can_be_made(parts: Parts) -> Iterator[Fault]:
    plan = parts.validation.cross_validation if parts.validation else None
    if plan is None:
        return
    place: KeyPath = ("validation", "cross_validation")
    if (plan.folds is None) != plan.leave_one_out:
        came = "neither" if plan.folds is None else "both"
        yield place, "folds", f"A cross-validation has either `folds: K` or `leave_one_out: true`; got {came}. Give one of them."
    if plan.leave_one_out and isinstance(parts.split, SplitByBlocks):
        message = "Strips of images are no groups that could be left out one at a time; the study splits by blocks. Ask for `folds: K`."
        yield (*place, "leave_one_out"), "no-groups", message
    names = [recipe.name for _, recipe in parts.recipes]
    for i, name in enumerate(plan.recipes or ()):
        if name not in names and "recipes" not in parts.faulty:
            message = f"A recipe that is cross-validated is one of the study: {', '.join(names)}; got {name!r}.{closest(name, names)}"
            yield (*place, "recipes", i), "unknown-recipe", message
        if name in (plan.recipes or ())[:i]:
            yield (*place, "recipes", i), "duplicate-name", f"A recipe stands once; {name!r} stands twice. Remove one."


def gates_name_known_metrics(parts: Parts) -> Iterator[Fault]:
    about = ([condition for _, condition in parts.conditions], (parts.validation.subgroups or ()) if parts.validation else ())
    known = metrics(*about, parts.review) | over_folds(*about)
    folds = parts.validation is not None and parts.validation.cross_validation is not None
    offered = [name for name, needs in known.items() if folds or "folds" not in needs]
    for i, gate in parts.gates:
        place: KeyPath = ("gates", i, "metric")
        if gate.metric in known:
            if lacking := [said for need in known[gate.metric] if (said := _lacking(need, gate.metric, parts))]:
                message = f"Gate {gate.name!r} reads {gate.metric!r}, which needs {' and '.join(lacking)}. Ask for it, or remove the gate."
                yield place, "metric-not-computed", message
        elif not (gate.metric.startswith("condition_") and "conditions" in parts.faulty):
            similar = difflib.get_close_matches(gate.metric, offered, n=5, cutoff=0.4)
            hint = f"{closest(gate.metric, offered)} Similar: {', '.join(similar)}." if similar else " `sciimg schema` lists them."
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
        case "synthetic-only":
            plan = parts.validation.downstream if parts.validation else None
            return "" if plan is None or plan.synthetic_only else "validation.downstream.synthetic_only: true"
        case "ratio":
            plan, ratio = parts.validation.downstream if parts.validation else None, ratio_of(metric)
            return "" if plan is None or ratio in (plan.ratios or ()) else f"{ratio} in validation.downstream.ratios"
        case "review":
            return "" if parts.review is None or parts.review.readers else "review.readers above 0"
        case "folds":
            return "" if parts.validation is None else _lacking_folds(parts.validation, parts.recipes)
        case "watermark":
            return "" if parts.release is None or parts.release.watermark else "release.watermark"
        case "mask" | "class":
            asked = "conditions" in parts.faulty or any(c.kind == need for _, c in parts.conditions)
            return "" if asked else f"a condition of kind {need}"
        case "instances" | "classes":
            return "" if all(label_kind(s) == need for s in sources) else f"{need} labels in every source"
    assert_never(need)


def _lacking_space(space: str, plan: ValidationPlan) -> str:
    if space == "weights":
        return "" if plan.weights else "validation.weights"
    return "" if space in (plan.features or USUAL_SPACES) else f"{space!r} in validation.features"


def _lacking_folds(plan: ValidationPlan, recipes: Sequence[tuple[int, RecipePlan]]) -> str:
    """A candidate that is not cross-validated could never pass a gate on folds."""
    if plan.cross_validation is None:
        return "validation.cross_validation"
    asked = plan.cross_validation.recipes
    left_out = [r.name for _, r in recipes if asked is not None and r.role == "candidate" and r.name not in asked]
    return f"candidate {', '.join(map(repr, left_out))} in validation.cross_validation.recipes" if left_out else ""


def enough_is_generated(parts: Parts) -> Iterator[Fault]:
    if parts.generate and parts.validation and parts.generate.count < parts.validation.samples:
        message = (
            f"The set metrics use validation.samples synthetic samples ({parts.validation.samples}); generate.count is only "
            f"{parts.generate.count}. Raise generate.count or lower validation.samples."
        )
        yield ("generate", "count"), "too-few-samples", message


def ratios_can_be_made(parts: Parts) -> Iterator[Fault]:
    plan = parts.validation.downstream if parts.validation else None
    ratios = (plan.ratios if plan else None) or ()
    place: KeyPath = ("validation", "downstream", "ratios")
    for i, ratio in enumerate(ratios):
        if ratio in ratios[:i]:
            yield (*place, i), "duplicate-name", f"A ratio stands once; {ratio} stands twice. Remove one."
    if plan and ratios and parts.generate and parts.generate.count < (wanted := max(ratios) * plan.annotated_images):
        message = (
            f"{max(ratios)} synthetic images for each of {plan.annotated_images} annotated ones are {wanted}; generate.count is only "
            f"{parts.generate.count}. Raise generate.count, or lower the ratio or validation.downstream.annotated_images."
        )
        yield place, "too-few-samples", message


def expiry_follows_registration(parts: Parts) -> Iterator[Fault]:
    expires = parts.release and parts.release.expires
    if expires and parts.registered and expires <= parts.registered:
        message = f"A release expires after its study is registered ({parts.registered}); got {expires}. Give a later day."
        yield ("release", "expires"), "expired", message


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
