"""What a cross-validation found: which folds there were, what each measurement was in every fold, and what that comes to."""

from collections.abc import Sequence

from sciimg.protocol.vocabulary import FOLDS
from sciimg.records import Metric
from sciimg.report.evidence import Evidence, RecipeEvidence
from sciimg.report.model import Block, Column, Missing, Notice, Prose, Section, Table
from sciimg.report.sections.asked import folds_words
from sciimg.report.sections.checks import checks_table
from sciimg.report.sections.judged import find_metric, label
from sciimg.report.words import caption, count, estimate, listed, number, sentence, text

_NAMED = 4  # groups that a fold names


def sections(evidence: Evidence) -> list[Section]:
    """Return the section on cross-validation, where the study asked for one."""
    if not evidence.study.folded:
        return []
    names = {plan.name for plan in evidence.study.folded}
    recipes = [recipe for recipe in evidence.recipes if recipe.plan.name in names]
    known = next((recipe for recipe in recipes if recipe.folds), None)
    blocks: list[Block] = [] if known is None else [_folds(evidence, known), *_apart(recipes)]
    blocks.append(Prose(text=text("folds-table")))
    for recipe in recipes:
        blocks.append(_measured(evidence, recipe) or Missing(what=f"cross-validation of {recipe.plan.name}", why=_why(recipe)))
    lead = f"{sentence(folds_words(evidence.study))} {text('folds-lead')}"
    return [Section(name="folds", title="Cross-validation", lead=lead, blocks=tuple(blocks))]


def _folds(evidence: Evidence, recipe: RecipeEvidence) -> Table:
    rows = []
    for fold in recipe.folds:
        names = [str(name) for name in fold.get("held_out", ())]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        said = (", ".join(names[:_NAMED]) + more if more else listed(names)) or f"strip {fold['fold']} of each image"
        rows.append((str(fold["fold"]), said, *(str(fold[part]) for part in ("holdout", "calibration", "train"))))
    unit = "strips" if not recipe.folds[0].get("held_out") else f"{evidence.study.split.unit}s"
    titles = {"Fold": False, "Held out": False, f"{unit} held out": True, "calibrating": True, "trained on": True}
    columns = tuple(Column(title=title[0].upper() + title[1:], numeric=numeric) for title, numeric in titles.items())
    return Table(caption=count(len(rows), "fold"), columns=columns, rows=tuple(rows), compact=True)


def _apart(recipes: Sequence[RecipeEvidence]) -> list[Block]:
    """Return whether the folds were apart, with every check that failed."""
    checks = [check for recipe in recipes for check in recipe.fold_checks]
    failed = list({check.name: check for check in checks if not check.passed}.values())
    if failed:
        title = f"The folds are not apart: {count(len(failed), 'check')} failed"
        return [Notice(tone="bad", title=title, text=text("folds-cross")), checks_table("Checks that failed", failed)]
    return [Notice(tone="good", title="The folds are apart", text=text("folds-apart"))] if checks else []


def _measured(evidence: Evidence, recipe: RecipeEvidence) -> Table | None:
    gated = {gate.metric for gate in evidence.study.gates}
    shown = sorted((m for m in recipe.pooled if m.name in gated or not caption(m.name).detail), key=lambda m: m.name not in gated)
    if not shown:
        return None
    own = {m.name: find_metric(evidence, recipe.plan.name, m.name.removesuffix(FOLDS)) for m in shown}
    rows = tuple((_title(m), _each(m), estimate(m), _spread(m), _estimate(own[m.name])) for m in shown)
    columns = tuple(Column(title=t) for t in ("Measurement", "In each fold", "Mean", "Spread", "On the holdout"))
    return Table(caption=f"{recipe.plan.name}: gated measurements first", columns=columns, rows=rows, compact=True)


def _title(metric: Metric) -> str:
    return label(metric).replace(", over folds", "")


def _each(metric: Metric) -> str:
    """Return the value of every fold, fold 1 first."""
    return " · ".join("–" if fold.get("value") is None else number(float(fold["value"])) for fold in metric.detail.get("folds", ()))


def _spread(metric: Metric) -> str:
    return "–" if metric.value is None else number(metric.detail.get("spread"))


def _estimate(metric: Metric | None) -> str:
    return "not measured" if metric is None else estimate(metric)


def _why(recipe: RecipeEvidence) -> str:
    return next((absent.why for absent in recipe.absent if "cross-validation" in absent.what), "It holds no measurement.")
