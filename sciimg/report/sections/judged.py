"""What the evidence says: every gate with what it met, then every measurement, family by family, recipes side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sciimg.protocol.models import Gate
from sciimg.records import GateResult, Metric
from sciimg.report.evidence import Evidence, RecipeEvidence
from sciimg.report.figures import Scale, ruler
from sciimg.report.model import Block, Column, GateLine, Gates, Missing, Notice, Outcome, Picture, Prose, Section, Table
from sciimg.report.sections.asked import rule_words
from sciimg.report.sections.curves import physics_plots
from sciimg.report.words import Caption, caption, estimate, families, interval, listed, null, number, sentence, text

ORDER: Mapping[str, int] = {"failed": 0, "inconclusive": 1, "open": 1, "passed": 2}


def gates(evidence: Evidence) -> Section:
    """Return every gate: failed ones first, in words beside colour."""
    results = evidence.decision.gates if evidence.decision else _undecided(evidence)
    groups: dict[str | None, list[GateResult]] = {}
    for result in results:
        groups.setdefault(result.recipe, []).append(result)
    blocks: list[Block] = []
    for recipe, members in groups.items():
        lines = sorted((_line(evidence, r) for r in members), key=lambda line: ORDER[line.outcome])
        said = _tally([line.outcome for line in lines])
        title = f"For every recipe: {said}" if recipe is None else f"Recipe {recipe}: {said}"
        blocks.append(Gates(title=title, lines=tuple(lines)))
    if not blocks:
        blocks = [Missing(what="gates", why="The study has none that could be judged.")]
    return Section(name="gates", title="Gates", lead=text("gates-lead"), blocks=tuple(blocks))


def _undecided(evidence: Evidence) -> list[GateResult]:
    reason = "the run has not come to a decision"
    return [
        GateResult(gate=g.name, recipe=None, metric=g.metric, outcome="inconclusive", value=None, ci95=None, rule="", reason=reason)
        for g in evidence.study.gates
    ]


def _line(evidence: Evidence, result: GateResult) -> GateLine:
    gate = next((g for g in evidence.study.gates if g.name == result.gate), None)
    metric = find_metric(evidence, result.recipe, result.metric)
    outcome: Outcome = result.outcome if evidence.decision else "open"
    met = f"{number(result.value)} {interval(result.ci95)}".strip() if result.value is not None else "none"
    return GateLine(
        outcome=outcome,
        gate=result.gate,
        recipe=result.recipe or "",
        measures=caption(result.metric).title,
        rule=rule_words(gate) if gate else result.rule,
        estimate=met,
        null=null(metric) if metric else "not measured",
        reason=sentence(_readable(result)),
        why=sentence(gate.why) if gate else "",
        ruler=_ruler(result, gate, metric),
    )


def _readable(result: GateResult) -> str:
    """Return the decision's reason with the metric called by its caption."""
    name = caption(result.metric).title
    return result.reason.replace(result.metric, name[0].lower() + name[1:] if name[:2] != name[:2].upper() else name, 1)


def _ruler(result: GateResult, gate: Gate | None, metric: Metric | None) -> Picture | None:
    if result.value is None or gate is None or metric is None:
        return None
    real = metric.null.ci95 if metric.null and metric.null.ci95 else None
    if gate.judged_on == "value" and metric.ci95 is None and real is None:
        return None
    scale = Scale(result.value, result.ci95, real, gate.at_least, gate.at_most)
    alt = f"{caption(result.metric).title}: estimate {estimate(metric)}; must be {rule_words(gate)}; real against real {null(metric)}."
    return ruler(scale, result.outcome, alt)


def _tally(outcomes: Sequence[str]) -> str:
    parts = [f"{n} {word}" for word in ("failed", "inconclusive", "open", "passed") if (n := outcomes.count(word))]
    return listed(parts)


def find_metric(evidence: Evidence, recipe: str | None, name: str) -> Metric | None:
    """Return a metric of a recipe, or of the study."""
    pools = [r.metrics for r in evidence.recipes if recipe is None or r.plan.name == recipe] + [evidence.common]
    return next((m for pool in pools for m in pool if m.name == name), None)


# ---------------------------------------------------------------- families


def measurements(evidence: Evidence, extra: Mapping[str, Callable[[], Iterable[Block]]]) -> list[Section]:
    """Return one section a family of metrics; ``extra`` adds blocks to a family (pictures, plots)."""
    sections = []
    for family, title, lead in families():
        if family in ("use", "machinery", "review"):
            continue
        table = family_table(evidence.recipes, family)
        blocks: list[Block] = [table] if table else []
        blocks += list(extra[family]()) if family in extra else []
        if blocks:
            sections.append(Section(name=f"measured-{family}", title=title, lead=lead, blocks=tuple(blocks)))
    return sections


def family_table(recipes: Sequence[RecipeEvidence], family: str) -> Table | None:
    """Return the metrics of a family as rows and the recipes as columns, with what real against real gives."""
    names = list(dict.fromkeys(m.name for r in recipes for m in r.metrics if caption(m.name).family == family))
    if not names:
        return None
    rows = []
    for name in names:
        found = [next((m for m in r.metrics if m.name == name), None) for r in recipes]
        first = next(m for m in found if m is not None)
        rows.append((_label(first), *(estimate(m) if m else "not measured" for m in found), _null_cell(found), _n(first)))
    columns = [
        Column(title="Measurement"),
        *(Column(title=r.plan.name) for r in recipes),
        Column(title="Real against real"),
        Column(title="n"),
    ]
    return Table(caption="Estimate [95 % interval]", columns=tuple(columns), rows=tuple(rows), compact=True)


def _label(metric: Metric) -> str:
    described: Caption = caption(metric.name)
    features = f" ({metric.features})" if metric.features and metric.features not in described.title else ""
    arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
    return f"{described.title.strip()}{features}{arrow}"


def _null_cell(found: Sequence[Metric | None]) -> str:
    known = next((m for m in found if m is not None and m.null is not None), None)
    return null(known) if known else "–"


def _n(metric: Metric) -> str:
    if metric.n is not None:
        return f"{metric.n} {metric.unit_of_n}"
    return " / ".join(str(n) for n in (metric.n_real, metric.n_synthetic) if n is not None) or "–"


def physics(evidence: Evidence) -> list[Block]:
    """Return physics curves, and whether each check flagged the faults planted to test it."""
    blocks: list[Block] = list(physics_plots(evidence))
    rows = []
    checked = [m for r in evidence.recipes for m in r.metrics if caption(m.name).family == "physics" and m.detail.get("controls")]
    for name in dict.fromkeys(m.name for m in checked if not m.name.endswith("paired")):
        metric = next(m for m in checked if m.name == name)
        controls: Mapping[str, Any] = metric.detail["controls"]
        missed = [c for c, effect in controls.items() if not float(effect) > 1]
        said = listed(f"{c} ({number(float(effect), 2)})" for c, effect in controls.items())
        rows.append((caption(name).title, said, "missed: " + listed(missed) if missed else "all flagged"))
    if rows:
        columns = tuple(Column(title=t) for t in ("Check", "Fault planted in real images (effect)", "Verdict on the check"))
        blocks.append(Table(caption="Positive controls: an effect above 1 means flagged", columns=columns, rows=tuple(rows), compact=True))
    return blocks


# ---------------------------------------------------------------- downstream use


def use(evidence: Evidence) -> Section:
    """Return what the images do for the task: harm is said as loudly as gain."""
    title, lead = next((t, words) for name, t, words in families() if name == "use")
    plan = evidence.study.validation.downstream
    if plan is None:
        return Section(name="use", title=title, lead=lead, blocks=(Prose(text=text("no-downstream")),))
    student = text("student", images=plan.annotated_images, steps=plan.steps, seeds=plan.seeds)
    blocks: list[Block] = [Prose(text=student)]
    for recipe in evidence.recipes:
        blocks += _effects(recipe)
    table = family_table(evidence.recipes, "use")
    blocks.append(table or Missing(what="downstream scores", why="The validation stage left none."))
    return Section(name="use", title=title, lead=lead, blocks=tuple(blocks))


def _effects(recipe: RecipeEvidence) -> list[Block]:
    gains = [m for m in recipe.metrics if m.name.startswith("downstream") and "gain" in m.name and "classical_gain" not in m.name]
    return [effect_notice(recipe.plan.name, m) for m in gains if "f1" not in m.name]


def effect_notice(recipe: str, metric: Metric) -> Notice:
    """Return a gain or a harm in one sentence, with the tone it deserves."""
    what = caption(metric.name).title.strip()
    what = what[0].lower() + what[1:]
    if metric.value is None:
        return Notice(tone="open", title=f"{recipe}: unknown", text=f"The {what} is undefined: {metric.reason}.")
    said = f"The {what} is {number(metric.value)} {interval(metric.ci95)}".strip()
    low, high = metric.ci95 or (metric.value, metric.value)
    if metric.ci95 is None:
        return Notice(tone="open", title=f"{recipe}: no interval", text=f"{said}; without an interval nothing can be concluded.")
    if high < 0:
        return Notice(tone="bad", title=f"{recipe}: harm", text=f"{said}: the synthetic images make the segmenter worse.")
    if low > 0:
        return Notice(tone="good", title=f"{recipe}: gain", text=f"{said}: the synthetic images make the segmenter better on this holdout.")
    return Notice(tone="open", title=f"{recipe}: no difference shown", text=f"{said}: the interval holds both harm and gain.")


def tally(evidence: Evidence) -> str:
    """Return how many gates there were and how they ended, over all recipes."""
    results = evidence.decision.gates if evidence.decision else ()
    return f"{_tally([r.outcome for r in results])}, of {len(results)}" if results else "none judged"
