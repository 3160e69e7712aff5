"""What the evidence says: every gate with what it met, then every measurement, family by family, recipes side by side."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from sciimg.protocol.validation import Gate
from sciimg.records import GateResult, Metric
from sciimg.report.evidence import Evidence, RecipeEvidence
from sciimg.report.figures import Scale, ruler
from sciimg.report.model import Block, Column, GateLine, Gates, Missing, Notice, Outcome, Picture, Prose, Section, Table, Tone
from sciimg.report.sections.asked import rule_words
from sciimg.report.sections.curves import physics_plots, ratio_curves
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
        lines = sorted((gate_line(evidence, r) for r in members), key=lambda line: ORDER[line.outcome])
        said = _tally([line.outcome for line in lines])
        title = f"For every recipe: {said}" if recipe is None else f"Recipe {recipe}: {said}"
        blocks.append(Gates(title=title, lines=tuple(lines)))
    if not blocks:
        blocks = [Missing(what="gates", why="The study has none that could be judged.")]
    return Section(name="gates", title="Gates", lead=text("gates-lead"), blocks=(*blocks, *_rehearsed(evidence)))


def _rehearsed(evidence: Evidence) -> list[Block]:
    """Return what real images got at the same gates; nothing where a run, or its gates, did not ask them."""
    asked = evidence.rehearsal
    if asked is None or not (asked.gates or asked.missing):
        return []
    sizes = {"patches": count(asked.patches, "patch", "patches"), "groups": count(asked.groups, "group")}
    said = text("rehearsal-missing", why=asked.missing) if asked.missing else text("rehearsal", **sizes)
    rows = tuple(
        (
            result.outcome,
            result.gate,
            rule_words(gate) if (gate := _gate(evidence, result)) else result.rule,
            "none" if result.value is None else with_interval(result.value, result.ci95),
            "–" if result.outcome == "passed" else sentence(_finding(result)),
        )
        for result in asked.gates
    )
    columns = tuple(Column(title=t) for t in ("Outcome", "Gate", "Must be", "Real images", "Because"))
    marks = tuple(result.outcome for result in asked.gates)
    table = Table(caption="Real images at the same gates", columns=columns, rows=rows, marks=marks, compact=True)
    return [Prose(text=said), *([table] if rows else [])]


def _undecided(evidence: Evidence) -> list[GateResult]:
    reason = "the run has not come to a decision"
    return [
        GateResult(gate=g.name, recipe=None, metric=g.metric, outcome="inconclusive", value=None, ci95=None, rule="", reason=reason)
        for g in evidence.study.gates
    ]


def gate_line(evidence: Evidence, result: GateResult, beside: tuple[float, ...] = ()) -> GateLine:
    """Return a gate and what it met; its ruler also has room for the values ``beside`` it."""
    gate, metric = _gate(evidence, result), find_metric(evidence, result.recipe, result.metric)
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
        ruler=_ruler(evidence, result, beside),
    )


def _finding(result: GateResult) -> str:
    """Return the decision's reason without the number, which stands beside it."""
    before, separator, after = result.reason.partition("; ")
    return after if separator and before.startswith(f"{result.metric} is ") and result.value is not None else result.reason


def _ruler(evidence: Evidence, result: GateResult, beside: tuple[float, ...]) -> Picture | None:
    scale = scale_of(evidence, result)
    if scale is None:
        return None
    gate, metric = _gate(evidence, result), find_metric(evidence, result.recipe, result.metric)
    assert gate is not None and metric is not None
    alt = f"{caption(result.metric).title}: estimate {estimate(metric)}; must be {rule_words(gate)}; real against real {null(metric)}."
    return ruler(replace(scale, beside=beside), result.outcome, alt)


def scale_of(evidence: Evidence, result: GateResult) -> Scale | None:
    """Return what a gate's ruler shows; None where there is nothing but a number."""
    gate, metric = _gate(evidence, result), find_metric(evidence, result.recipe, result.metric)
    if result.value is None or gate is None or metric is None:
        return None
    real = metric.null.ci95 if metric.null and metric.null.ci95 else None
    if gate.judged_on == "value" and metric.ci95 is None and real is None:
        return None
    return Scale(result.value, result.ci95, real, gate.at_least, gate.at_most)


def _gate(evidence: Evidence, result: GateResult) -> Gate | None:
    return next((g for g in evidence.study.gates if g.name == result.gate), None)


def _tally(outcomes: Sequence[str]) -> str:
    parts = [f"{n} {word}" for word in ("failed", "inconclusive", "open", "passed") if (n := outcomes.count(word))]
    return listed(parts)


def find_metric(evidence: Evidence, recipe: str | None, name: str) -> Metric | None:
    """Return a metric of a recipe, or of the study."""
    pools = [(*r.metrics, *r.pooled, *r.reviewed) for r in evidence.recipes if recipe is None or r.plan.name == recipe]
    pools.append(evidence.common)
    return next((m for pool in pools for m in pool if m.name == name), None)


# ---------------------------------------------------------------- families


def overview(evidence: Evidence) -> tuple[Block, ...]:
    """Return one row a family of metrics: how its gates ended for each recipe, and how much was measured."""
    rows, marks = [], []
    for family, title, _ in families():
        metrics = [m for r in evidence.recipes for m in r.metrics if caption(m.name).family == family]
        if not metrics:
            continue
        results = _results(evidence, family)
        worst = min((r.outcome for r in results), key=lambda o: ORDER[o], default=None)
        own = (_tally([r.outcome for r in results if r.recipe in (None, recipe.plan.name)]) or "–" for recipe in evidence.recipes)
        undefined = sum(m.value is None for m in metrics)
        rows.append((worst or "no gate", title, *own, str(len(metrics) - undefined), str(undefined or "–")))
        marks.append(worst)
    if not rows:
        return ()
    names = [Column(title=r.plan.name) for r in evidence.recipes]
    numbers = [Column(title=title, numeric=True) for title in ("Measured", "Undefined")]
    columns = (Column(title="Gates"), Column(title="Group"), *names, *numbers)
    return (Table(caption="Groups of measurements", columns=columns, rows=tuple(rows), marks=tuple(marks), compact=True),)


def measurements(evidence: Evidence, extra: Mapping[str, Callable[[], Iterable[Block]]]) -> list[Section]:
    """Return one section a family of metrics, its verdict in front; ``extra`` adds blocks to a family (pictures, plots)."""
    sections = []
    for family, title, lead in families():
        if family in ("use", "machinery", "review"):
            continue
        table = family_table(evidence.recipes, family)
        blocks: list[Block] = [table] if table else []
        blocks += list(extra[family]()) if family in extra else []
        if blocks:
            front = [] if family == "controls" else [group_verdict(evidence, family)]
            sections.append(Section(name=f"measured-{family}", title=title, lead=lead, blocks=(*front, *blocks)))
    return sections


def group_verdict(evidence: Evidence, family: str) -> Notice:
    """Return how the gates that read a family of metrics ended, those that did not pass by name."""
    results = _results(evidence, family)
    if not results:
        return Notice(tone="note", title="No gate", text=text("no-gate"))
    worst = min((r.outcome for r in results), key=lambda o: ORDER[o])
    tones: Mapping[str, Tone] = {"passed": "good", "failed": "bad", "inconclusive": "open"}
    unmet = [f"{r.gate}{f' ({r.recipe})' if r.recipe else ''}" for r in results if r.outcome == worst and worst != "passed"]
    title = sentence(_tally([r.outcome for r in results])).rstrip(".") + (f": {listed(unmet)}" if unmet else "")
    said = "; ".join(
        f"{recipe or 'every recipe'} {_tally([r.outcome for r in results if r.recipe == recipe])}"
        for recipe in dict.fromkeys(r.recipe for r in results)
    )
    return Notice(tone=tones[worst], title=title, text=text("group-verdict", gates=count(len(results), "gate result"), said=said))


def _results(evidence: Evidence, family: str) -> list[GateResult]:
    """Return the gate results whose metric belongs to a family; none before there is a decision."""
    results = evidence.decision.gates if evidence.decision else ()
    return [r for r in results if caption(r.metric).family == family]


def family_table(recipes: Sequence[RecipeEvidence], family: str) -> Table | None:
    """Return the metrics of a family as rows and the recipes as columns, with what real against real gives; no details."""
    return _table(recipes, text("arrows"), lambda name: caption(name).family == family and not _in_appendix(name))


def details(recipes: Sequence[RecipeEvidence]) -> list[Block]:
    """Return every measurement that no section has room for, a table a family, and what is undefined once for each reason."""
    blocks: list[Block] = []
    for family, title, _ in families():
        shared = _undefined_alike(recipes, family)
        names = {name for members in shared.values() for name in members}

        def wanted(name: str, family: str = family, names: Collection[str] = names) -> bool:
            return caption(name).family == family and _in_appendix(name) and name not in names

        spaces = dict.fromkeys(m.features for r in recipes for m in r.metrics if wanted(m.name))
        for space in spaces:
            about = f"{title}, features {space}" if space and len(spaces) > 1 else title
            table = _table(recipes, f"Further measurements: {about}. {text('arrows')}", wanted, space)
            blocks += [table] if table else []
        told = tuple((listed(caption(n).title for n in members), reason) for reason, members in shared.items())
        columns = (Column(title="Measurements"), Column(title="Undefined, because"))
        blocks += [Table(caption=f"Undefined for every recipe: {title}", columns=columns, rows=told, compact=True)] if told else []
    return blocks


def _in_appendix(name: str) -> bool:
    """Whether a metric is a detail; so is a distance of sets on the conditions of the holdout, beside the one on all."""
    described = caption(name)
    return described.detail or (described.family == "likeness" and name.endswith("_paired"))


def _undefined_alike(recipes: Sequence[RecipeEvidence], family: str) -> dict[str, list[str]]:
    """Return the details of a family that no recipe has, by the one reason that all give."""
    found: dict[str, set[str | None]] = {}
    for metric in (m for r in recipes for m in r.metrics if caption(m.name).family == family and _in_appendix(m.name)):
        found.setdefault(metric.name, set()).add(metric.reason if metric.value is None else None)
    shared: dict[str, list[str]] = {}
    for name, reasons in found.items():
        if len(reasons) == 1 and (reason := next(iter(reasons))) is not None:
            shared.setdefault(reason, []).append(name)
    return shared


def _table(recipes: Sequence[RecipeEvidence], title: str, wanted: Callable[[str], bool], space: str | None = "") -> Table | None:
    """Return the wanted metrics as rows; of one feature space alone where one is named (None: of those without)."""
    names = list(dict.fromkeys(m.name for r in recipes for m in r.metrics if wanted(m.name) and space in ("", m.features)))
    if not names:
        return None
    rows = []
    for name in names:
        found = [next((m for m in r.metrics if m.name == name), None) for r in recipes]
        first = next(m for m in found if m is not None)
        rows.append((label(first), *(estimate(m) if m else "not measured" for m in found), _null_cell(found), _n(first)))
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


def label(metric: Metric) -> str:
    """Return what a metric is called, in which feature space, and which direction is better."""
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
    for name, controls in _planted(evidence).items():
        said = listed(f"{c} ({number(effect, 2)})" for c, effect in controls.items())
        missed = [c for c, effect in controls.items() if not effect > 1]
        rows.append((caption(name).title, said, "missed: " + listed(missed) if missed else "all flagged"))
    if rows:
        columns = tuple(Column(title=t) for t in ("Check", "Fault planted in real images (effect)", "Verdict on the check"))
        blocks.append(Table(caption="Positive controls: an effect above 1 means flagged", columns=columns, rows=tuple(rows), compact=True))
    return blocks


def flagged(evidence: Evidence) -> tuple[int, list[str]]:
    """Return how many physics checks met faults planted in real images, and which of them missed one."""
    planted = _planted(evidence)
    return len(planted), [caption(name).title for name, controls in planted.items() if not all(effect > 1 for effect in controls.values())]


def _planted(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Return the effect of each fault that was planted in real images, by physics check; the same for every recipe."""
    found: dict[str, dict[str, float]] = {}
    for metric in (m for r in evidence.recipes for m in r.metrics if caption(m.name).family == "physics"):
        if metric.detail.get("controls") and not metric.name.endswith(("paired", "outliers")):
            found.setdefault(metric.name, {fault: float(effect) for fault, effect in metric.detail["controls"].items()})
    return found


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
    blocks += ratio_curves(evidence)
    table = family_table(evidence.recipes, "use")
    blocks.insert(0, group_verdict(evidence, "use"))
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
