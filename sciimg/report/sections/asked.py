"""What was asked, before any result: the question, the uses, the limits and the bars, from the study alone."""

from sciimg.protocol.data import SplitByBlocks, SplitByColumn
from sciimg.protocol.models import Study
from sciimg.protocol.validation import Gate
from sciimg.report.model import Block, Column, Facts, Notice, Section, Table
from sciimg.report.words import caption, count, listed, number, plain, sentence, text

APPROVALS = 3  # lines to sign on


def question(study: Study) -> Section:
    """Return the section that a reader needs before any number."""
    return Section(
        name="question",
        title="What was asked",
        blocks=(
            Facts(rows=(("Question", sentence(study.question)), ("Meant for", sentence(study.context_of_use)))),
            Notice(tone="bad", title="Not to be used for", text=" ".join(sentence(use) for use in study.excluded_uses)),
            Notice(tone="open", title="Limits stated before any result", text=" ".join(sentence(limit) for limit in study.limits)),
            _risk(study),
            Facts(
                rows=(("Registered", study.registered.isoformat()), ("Valid until", _expiry(study)), ("Study digest", study.digest)),
                code=("Study digest",),
            ),
        ),
    )


def _risk(study: Study) -> Notice:
    if study.risk is None:
        return Notice(tone="open", title="Risk was not judged", text=text("no-risk"))
    risk = study.risk
    title = f"Risk: {risk.influence} influence on decisions, {risk.consequence} consequence of a wrong one"
    return Notice(tone="note", title=title, text=sentence(risk.because))


def _expiry(study: Study) -> str:
    return study.release.expires.isoformat() if study.release.expires else "no end was set"


def method(study: Study) -> Section:
    """Return what the study says will be done: data, split, recipes, generation, checks."""
    blocks: list[Block] = [_sources(study), Facts(rows=(("Split", split_words(study)), ("Sample", _sample(study)))), recipes(study)]
    return Section(name="method", title="What will be done", blocks=(*blocks, *_planned(study)))


def registered(study: Study) -> Section:
    """Return what was planned, for a report: split, recipes and bars stand beside what came of them."""
    blocks = (Facts(rows=(("Split", split_words(study)), ("Sample", _sample(study)))), *_planned(study))
    return Section(name="registered", title="What was registered", lead=text("registered-lead"), blocks=blocks)


def _planned(study: Study) -> list[Block]:
    """Return what is to be generated, judged and read."""
    facts = Facts(rows=(("Generated", _generation(study)), ("Judged on", _judged(study)), ("Expert review", review_words(study))))
    return [facts, _criteria(study)] if study.review.readers and study.review.criteria else [facts]


def approval(study: Study) -> Section:
    """Return where a committee signs: on paper by hand, of a file by a signature over it."""
    columns = tuple(Column(title=t) for t in ("Name", "Role", "Date", "Signature"))
    table = Table(caption="Read and agreed", columns=columns, rows=tuple(("\N{NO-BREAK SPACE}",) * 4 for _ in range(APPROVALS)))
    return Section(name="approval", title="Approval", lead=text("approval-lead", digest=study.digest), blocks=(table,))


def bars(study: Study) -> Section:
    """Return every bar of the study with how it was derived."""
    rows = tuple((gate.name, caption(gate.metric).title, rule_words(gate), sentence(gate.why)) for gate in study.gates)
    table = Table(
        caption="Gates", columns=tuple(Column(title=t) for t in ("Gate", "Measures", "Must be", "How the bound was derived")), rows=rows
    )
    n = count(len(study.gates), "gate")
    return Section(
        name="bars",
        title="Where the bar stands",
        lead=f"{n}, fixed in advance. Every gate must be passed; a metric that cannot be computed fails its gate.",
        blocks=(table,),
    )


def rule_words(gate: Gate) -> str:
    """Return a gate's rule without the metric's name."""
    what = {"interval": "95 % interval", "value": "value"}[gate.judged_on]
    bounds = [f"{sign} {number(bound)}" for sign, bound in (("≥", gate.at_least), ("≤", gate.at_most)) if bound is not None]
    return f"{what} {' and '.join(bounds)}"


def split_words(study: Study) -> str:
    """Say how the data are divided."""
    match study.split:
        case SplitByColumn(unit=unit, column=column, calibration=c, holdout=h):
            return f"whole {unit}s (column {column!r}): {c:.0%} for calibration, {h:.0%} held out, the rest for training"
        case SplitByBlocks(axis=axis, guard_px=guard, calibration=c, holdout=h):
            return f"strips of each image along {axis}, {guard} px apart: {c:.0%} for calibration, {h:.0%} held out, the rest for training"


def recipes(study: Study) -> Table:
    """Return the recipes with their options."""
    rows = tuple((r.name, r.recipe, r.role, plain(r.options) if r.options else "as published with sciimg") for r in study.recipes)
    return Table(caption="Recipes", columns=tuple(Column(title=t) for t in ("Name", "Recipe", "Role", "Options")), rows=rows)


def review_words(study: Study) -> str:
    """Say which reader study is planned."""
    plan = study.review
    if not plan.readers:
        return "none was asked for; nothing here says what an expert would see"
    readers, items = count(plan.readers, "blinded reader"), count(plan.items, "item")
    asked = {"yes-no": "real or synthetic", "2afc": "which of two is synthetic"}[plan.task]
    rated = f"; rated: {listed(f'{c.name} (1 to {len(c.anchors)})' for c in plan.criteria)}" if plan.criteria else ""
    ticked = f"; ticked: {listed(plan.artefacts)}" if plan.artefacts else ""
    margin = f"; guessing is an accuracy within {number(plan.margin)} of 0.5"
    return f"{readers}, {items} each ({asked}), {plan.repeats:.0%} repeated, {plan.catch_pairs} catch pairs{rated}{ticked}{margin}"


def _criteria(study: Study) -> Table:
    columns = tuple(Column(title=t) for t in ("Criterion", "Question", "Steps", "Scale"))
    rows = tuple(
        (c.name, c.question, ", ".join(f"{n} = {anchor}" for n, anchor in enumerate(c.anchors, start=1)), c.level)
        for c in study.review.criteria
    )
    return Table(caption="What readers rate on every image", columns=columns, rows=rows)


def folds_words(study: Study) -> str:
    """Say which cross-validation is planned."""
    plan, names = study.validation.cross_validation, listed(r.name for r in study.folded)
    if plan is None:
        return "no cross-validation"
    how = f"in {plan.folds} folds" if plan.folds else f"leaving out one {study.split.unit} at a time"
    return f"cross-validation of {names} {how}, apart from the holdout"


def _sources(study: Study) -> Table:
    columns = tuple(Column(title=t) for t in ("Source", "Modality", "Licence", "Citation", "Preparation", "Labels"))
    rows = tuple(
        (s.name, s.modality, s.licence, s.citation, listed(p.kind for p in s.prepare) or "none", s.labels.kind if s.labels else "none")
        for s in study.sources
    )
    return Table(caption="Real images", columns=columns, rows=rows)


def _sample(study: Study) -> str:
    shape = " × ".join(map(str, study.patches.shape))
    conditions = listed(f"{c.name} ({c.kind})" for c in study.conditions)
    return f"{shape} pixels, conditioned on {conditions}" if conditions else f"{shape} pixels, unconditional"


def _generation(study: Study) -> str:
    plan = study.generate
    extras = [f"sampler {plan.sampler}"] * bool(plan.sampler) + [f"{plan.steps} steps"] * bool(plan.steps)
    mark = study.release.watermark
    extras += [f"a watermark of {mark.alpha:.0%} of the noise in each"] if mark else []
    return ", ".join([f"{plan.count} samples a recipe", *extras, f"seed {plan.seed}"])


def _judged(study: Study) -> str:
    plan = study.validation
    parts = [f"{plan.samples} real holdout and synthetic samples", f"{plan.bootstrap} bootstrap rounds by group"]
    if plan.physics:
        parts.append(f"physics checks {listed(plan.physics)}")
    if plan.cross_validation:
        parts.append(folds_words(study))
    if plan.downstream:
        d = plan.downstream
        parts.append(f"a segmenter trained on {d.annotated_images} annotated images under {d.seeds} seeds, {d.steps} steps each")
        if d.synthetic_only:
            parts.append("the same segmenter trained on synthetic images alone")
        if d.ratios:
            parts.append(f"the same segmenter with {listed((str(r) for r in d.ratios), 'or')} synthetic images for each annotated one")
    if study.verification is not None and study.verification.benchmarks:
        parts.append("short trainings of each family of recipes, held against recorded bands on the machine that runs the study")
    return "; ".join(parts)
