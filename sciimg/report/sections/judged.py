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
from sciimg.report.words import Caption, caption, count, estimate, families, listed, null, number, sentence, text, with_interval

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
    described = caption(result.metric)
    return GateLine(
        outcome=outcome,
        gate=result.gate,
        recipe=result.recipe or "",
        measures=described.title,
        rule=rule_words(gate) if gate else result.rule,
        estimate="none" if result.value is None else with_interval(result.value, result.ci95),
        null=null(metric) if metric else "not measured",
        reason=" ".join(part for part in (described.says, sentence(_finding(result))) if part),
        why=sentence(gate.why) if gate else "",
        ruler=_ruler(result, gate, metric),
    )


def _finding(result: GateResult) -> str:
    """Return the decision's reason without the number, which stands beside it."""
    before, separator, after = result.reason.partition("; ")
    return after if separator and before.startswith(f"{result.metric} is ") and result.value is not None else result.reason


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
    pools = [r.metrics for r in evidence.recipes if recipe is None or r.plan.name == recipe] + [evidence.common, evidence.reviewed]
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
    """Return the metrics of a family as rows and the recipes as columns, with what real against real gives; no details."""
    return _table(recipes, text("arrows"), lambda c: c.family == family and not c.detail)


def details(recipes: Sequence[RecipeEvidence]) -> Table | None:
    """Return every measurement that no section has room for."""
    return _table(recipes, f"Further measurements. {text('arrows')}", lambda c: c.detail)


def _table(recipes: Sequence[RecipeEvidence], title: str, wanted: Callable[[Caption], bool]) -> Table | None:
    names = list(dict.fromkeys(m.name for r in recipes for m in r.metrics if wanted(caption(m.name))))
    if not names:
        return None
    rows = []
    for name in names:
        found = [next((m for m in r.metrics if m.name == name), None) for r in recipes]
        first = next(m for m in found if m is not None)
        rows.append((_label(first), *(estimate(m) if m else "not measured" for m in found), _null_cell(found), _n(first)))
    columns = [Column(title="Measurement"), *(Column(title=r.plan.name) for r in recipes), Column(title="Real against real")]
    return Table(caption=title, columns=(*columns, Column(title="n", short=True)), rows=tuple(rows), compact=True)


def feature_spaces(evidence: Evidence) -> list[Block]:
    """Return how many of the faults planted in real images the feature spaces flagged, and which they missed."""
    planted = {m.name: m for r in evidence.recipes for m in r.metrics if caption(m.name).family == "controls"}
    if not planted:
        return []
    flagged = {name: bool(m.value is not None and (m.ci95 or (m.value, m.value))[0] > 0) for name, m in planted.items()}
    said = f"{sum(flagged.values())} of {count(len(flagged), 'planted fault')} flagged"
    if all(flagged.values()):
        return [Notice(tone="good", title=said, text=text("spaces-judge"))]
    missed = listed(caption(name).title for name, seen in flagged.items() if not seen)
    return [Notice(tone="open", title=said, text=text("spaces-miss", missed=missed))]


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
    said = f"The {what} is {with_interval(metric.value, metric.ci95)}"
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
