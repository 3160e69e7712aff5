"""What was done otherwise than the study said, or could not be done as it said."""

from collections.abc import Iterator

from sciimg.report.evidence import Evidence
from sciimg.report.model import Block, Bullets, Prose, Section
from sciimg.report.words import caption, count, listed, text


def section(evidence: Evidence) -> Section:
    """Return every deviation that the records of a run show, or say that they show none."""
    found = list(_deviations(evidence))
    blocks: tuple[Block, ...] = (Bullets(items=tuple(found)),) if found else (Prose(text=text("no-deviations")),)
    return Section(name="deviations", title="Deviations from the plan", blocks=blocks)


def _deviations(evidence: Evidence) -> Iterator[str]:
    if evidence.decision is None:
        yield "The run has not come to a decision; what is missing stands under Limits."
    if evidence.rejected:
        yield f"{count(len(evidence.rejected), 'input was', 'inputs were')} quarantined and took no part; Data says which and why."
    yield from _review(evidence)
    for recipe in evidence.recipes:
        device = str(recipe.model.get("device", "cpu"))
        if device != "cpu":
            yield f"Recipe {recipe.plan.name} was trained on {device}: another machine repeats it within tolerance, not bit by bit."
    yield from _environments(evidence)
    judged = {gate.metric for gate in evidence.study.gates}
    for recipe in evidence.recipes:
        missing = [caption(m.name).title for m in (*recipe.metrics, *recipe.pooled) if m.status == "undefined" and m.name in judged]
        if missing:
            yield f"Recipe {recipe.plan.name}: {listed(missing)} could not be measured, so the gates on them failed."


def _review(evidence: Evidence) -> Iterator[str]:
    planned = evidence.study.review.readers
    came = {recipe.plan.name: recipe.review.readers for recipe in evidence.recipes if recipe.review}
    if planned and not came:
        yield f"{count(planned, 'reader was', 'readers were')} planned; none has answered yet."
    for name, readers in came.items():
        if readers != planned:
            yield f"{count(planned, 'reader was', 'readers were')} planned; {readers} answered about {name}."


def _environments(evidence: Evidence) -> Iterator[str]:
    """Yield packages that changed between stages: then no single environment repeats the run."""
    names = sorted({name for own in evidence.environments.values() for name in own})
    for name in names:
        versions = sorted({own[name] for own in evidence.environments.values() if name in own})
        if len(versions) > 1:
            yield f"Stages ran with different versions of {name}: {listed(versions)}."
