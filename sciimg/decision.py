"""Gates meet evidence: accepted, refused or inconclusive, with reasons. Nothing here computes a metric, and nothing moves a bar.

Rules, in the order in which they are applied to one gate and one metric:

1. A metric that is missing, reported twice or undefined fails. One that is undefined for want of independent units or samples alone, as its
   evidence says in numbers, is inconclusive: "N groups needed". "Not told apart" is never "alike".
2. ``judged_on: value`` compares the value with the bar.
3. ``judged_on: interval`` needs a 95 % interval; without one it fails, because a bar that asks for certainty was met by none.
4. The conservative end clears the bar: passed. The whole interval lies on the wrong side: failed. It straddles the bar: inconclusive.
5. What would pass at a bar that planted faults meet too is inconclusive, for such a bar tells nothing of these images: any of a physics
   check's own controls, each of which it is made for; all faults planted for a metric of sets, of which each metric tells its own.

A recipe is refused by any failed gate, else inconclusive by any inconclusive one, else accepted; no gate at all refuses. Gates that meet a
metric of ``common`` (verification, split) bind every recipe. The first accepted candidate in the order of the study is released; a
comparator never is. A recipe whose images the planned readers have not seen is inconclusive at best.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sciimg.errors import InputError, Problem
from sciimg.protocol.models import Study
from sciimg.protocol.validation import Gate
from sciimg.records import Check, Decision, GateResult, Metric, canonical_json

Outcome = Literal["passed", "failed", "inconclusive"]
Verdict = Literal["accepted", "refused", "inconclusive"]

REVIEW_STAGE = "review-"
RECIPE_STAGES = ("validate-", "folds-", REVIEW_STAGE)  # and then the name of the recipe
_CULPRITS = 5  # named in a reason; the evidence names more
REVIEW_GATE = "planned-review"
WAITS = "planned readers have looked at its images"  # in the reason of a planned review
REVIEW_METRIC = "review-readers"  # how many readers have answered every item, and noticed those that show who looks


def collect(evidence: Mapping[str, Any]) -> tuple[dict[str, list[Metric]], list[Metric]]:
    """Sort the stages' evidence into metrics of each recipe and metrics of the whole study.

    The decision and every later audit of it read evidence through this one function.

    Parameters
    ----------
    evidence : mapping
        Stage name → JSON object with ``metrics`` and ``checks``, either of which may be missing. ``validate-<recipe>``,
        ``folds-<recipe>`` and ``review-<recipe>`` speak of a recipe, every other stage of the study. Checks become one metric, the
        number that failed: ``verification-failures`` for the stage ``verify``, ``folds-failures`` for the folds of a recipe,
        ``<stage>-failures`` for others; where a list of checks is empty it is undefined, for nothing was checked.
    """
    recipes: dict[str, list[Metric]] = {}
    common: list[Metric] = []
    for stage, value in evidence.items():
        metrics = [Metric.model_validate_json(canonical_json(m)) for m in value.get("metrics", ())]
        if "checks" in value:
            metrics.append(_failures(stage, [Check.model_validate(c) for c in value["checks"]]))
        if prefix := next((p for p in RECIPE_STAGES if stage.startswith(p)), None):
            recipes.setdefault(stage.removeprefix(prefix), []).extend(metrics)
        else:
            common.extend(metrics)
    return recipes, common


def _failures(stage: str, checks: Sequence[Check]) -> Metric:
    said = "verification" if stage == "verify" else "folds" if stage.startswith("folds-") else stage
    name = f"{said}-failures"
    if not checks:
        return Metric.undefined(name, f"stage {stage!r} made no check", higher_is_better=False)
    failed = [c.name for c in checks if not c.passed]
    return Metric(
        name=name, value=len(failed), n=len(checks), unit_of_n="checks", higher_is_better=False, detail={"failed": failed} if failed else {}
    )


def decide(study: Study, evidence: Mapping[str, Sequence[Metric]], common: Sequence[Metric]) -> Decision:
    """Return the decision of a study.

    Parameters
    ----------
    study : Study
    evidence : mapping
        Metrics of each recipe of the study, by recipe name. A recipe without metrics is refused.
    common : sequence of Metric
        Metrics of the whole study; a gate that names one of them binds every recipe.

    Raises
    ------
    InputError
        If evidence is given for recipes that the study does not have.
    """
    names = [r.name for r in study.recipes]
    if strangers := sorted(set(evidence) - set(names)):
        message = f"Evidence belongs to a recipe of the study ({', '.join(names)}); got {', '.join(strangers)}. Is it another study's?"
        raise InputError(Problem("evidence", "unknown-recipe", message))
    shared = [_judge(gate, None, common, study) for gate in study.gates if _is_common(gate, common, evidence)]
    own = [gate for gate in study.gates if not _is_common(gate, common, evidence)]
    results = {name: [*_review(study, name, evidence.get(name, ())), *_own(own, name, evidence, common, study)] for name in names}
    verdicts = {name: _verdict([*shared, *results[name]]) for name in names}
    candidates = [r.name for r in study.recipes if r.role == "candidate"]
    released = next((name for name in candidates if verdicts[name] == "accepted"), None)
    verdict = _overall([verdicts[name] for name in candidates])
    return Decision(
        study=study.digest,
        decision=verdict,
        reasons=_reasons(verdict, released, shared, {name: results[name] for name in candidates}),
        released=released,
        gates=(*shared, *(result for name in names for result in results[name])),
        per_recipe=verdicts,
    )


def judged(study: Study, metrics: Sequence[Metric]) -> tuple[Verdict, list[GateResult]]:
    """Return how one set of images that was made elsewhere meets every gate of a study; nothing is released."""
    results = [_judge(gate, None, metrics, study) for gate in study.gates]
    return _verdict(results), results


def _is_common(gate: Gate, common: Iterable[Metric], evidence: Mapping[str, Sequence[Metric]]) -> bool:
    """Whether the gate reads the study's evidence: the metric is there, and no recipe has one of that name."""
    in_common = any(m.name == gate.metric for m in common)
    return in_common and not any(m.name == gate.metric for metrics in evidence.values() for m in metrics)


def _own(
    gates: Iterable[Gate], recipe: str, evidence: Mapping[str, Sequence[Metric]], common: Sequence[Metric], study: Study
) -> list[GateResult]:
    metrics = [*evidence.get(recipe, ()), *common]
    return [_judge(gate, recipe, metrics, study) for gate in gates]


# ---------------------------------------------------------------- one gate


def _judge(gate: Gate, recipe: str | None, metrics: Iterable[Metric], study: Study) -> GateResult:
    found = [m for m in metrics if m.name == gate.metric]
    rule = rule_of(gate)
    if len(found) == 1 and found[0].status == "ok":
        metric = found[0]
        outcome, reason = _compare(gate, metric)
        return _result(gate, recipe, rule, outcome, reason, metric)
    outcome, reason = "failed", f"{gate.metric} is not in the evidence"
    if len(found) > 1:
        reason = f"{gate.metric} is reported {len(found)} times; which one counts is unknown"
    elif found:
        reason = f"{gate.metric} is undefined: {found[0].reason}"
        if short := found[0].shortage:
            outcome, reason = "inconclusive", f"{short.needed} {short.of} needed, {short.found} there; {reason}"
    elif study.review.readers and gate.metric.startswith("review-"):
        outcome, reason = "inconclusive", f"{gate.metric} waits for the planned review"
    return _result(gate, recipe, rule, outcome, reason, None)


def rule_of(gate: Gate) -> str:
    """Return the gate's rule in words, e.g. ``"95 % interval of ssim >= 0.8"``."""
    what = f"95 % interval of {gate.metric}" if gate.judged_on == "interval" else gate.metric
    bars = [f"{sign} {bar:g}" for sign, bar in ((">=", gate.at_least), ("<=", gate.at_most)) if bar is not None]
    return f"{what} {' and '.join(bars)}"


def _compare(gate: Gate, metric: Metric) -> tuple[Outcome, str]:
    assert metric.value is not None
    if gate.at_least is None and gate.at_most is None:
        return "failed", "the gate has no bar"
    if gate.judged_on == "value":
        low = high = metric.value
        said = f"{metric.name} is {metric.value:.4g}"
    elif metric.ci95 is None:
        return "failed", f"{metric.name} is {metric.value:.4g} without an interval, and the gate is judged on the interval"
    else:
        low, high = metric.ci95
        said = f"{metric.name} is {metric.value:.4g} [{low:.4g}, {high:.4g}]"
        if low > high:
            return "failed", f"{said}: its interval ends before it begins"
    above = _side(low, high, gate.at_least)
    below = _side(-high, -low, None if gate.at_most is None else -gate.at_most)
    bars = " and ".join(f"{w} {bar:g}" for w, bar in (("at least", gate.at_least), ("at most", gate.at_most)) if bar is not None)
    if "failed" in (above, below):
        return "failed", f"{said}{_culprits(metric)}; required is {bars}"
    if "inconclusive" in (above, below):
        return "inconclusive", f"{said}; the interval straddles the bar ({bars})"
    if missed := blind(gate, metric):
        return "inconclusive", f"{said}; that says nothing at this bar, which faults planted in real images meet too: {', '.join(missed)}"
    return "passed", f"{said}; {bars} as required"


def blind(gate: Gate, metric: Metric) -> list[str]:
    """Return the planted faults whose meeting the bar shows that it tells nothing: what a fault passes cannot tell that there is none."""
    controls, faults = (metric.detail.get(kind, {}) for kind in ("controls", "faults"))
    met = {name: v for name, v in controls.items() if gate.at_most is not None and _meets(gate, v)}
    if all(_meets(gate, v) for v in faults.values()):
        met |= faults
    return [f"{name} ({v:.3g})" for name, v in met.items()]


def _meets(gate: Gate, value: float) -> bool:
    above = gate.at_least is None or value >= gate.at_least
    return above and (gate.at_most is None or not value > gate.at_most)


def _culprits(metric: Metric) -> str:
    """Return which images are copies of which, where the metric names them."""
    pairs = metric.detail.get("pairs", ())
    shown = [f"{pair['image']} = {pair['train']} {pair['at']}" for pair in pairs[:_CULPRITS]]
    return f" ({'; '.join(shown)}{'; …' if len(pairs) > _CULPRITS else ''})" if shown else ""


def _side(low: float, high: float, at_least: float | None) -> Outcome:
    if at_least is None or low >= at_least:
        return "passed"
    return "failed" if high < at_least else "inconclusive"


def _result(gate: Gate, recipe: str | None, rule: str, outcome: Outcome, reason: str, metric: Metric | None) -> GateResult:
    value, interval = (None, None) if metric is None else (metric.value, metric.ci95)
    return GateResult(
        gate=gate.name, recipe=recipe, metric=gate.metric, outcome=outcome, value=value, ci95=interval, rule=rule, reason=reason
    )


# ---------------------------------------------------------------- all gates


def _review(study: Study, recipe: str, metrics: Iterable[Metric]) -> list[GateResult]:
    """Return the gate that a planned review is: every reader has seen this recipe's images. Nothing has failed that was not shown yet."""
    planned = study.review.readers
    if not planned:
        return []
    found = [m for m in metrics if m.name == REVIEW_METRIC]
    readers = found[0].value if len(found) == 1 and found[0].value is not None else 0
    done = readers >= planned
    return [
        GateResult(
            gate=REVIEW_GATE,
            recipe=recipe,
            metric=REVIEW_METRIC,
            outcome="passed" if done else "inconclusive",
            value=readers,
            ci95=None,
            rule=f"{REVIEW_METRIC} >= {planned}",
            reason=f"{readers:g} of {planned} {WAITS} and answered",
        )
    ]


def _verdict(results: Sequence[GateResult]) -> Verdict:
    outcomes = Counter(r.outcome for r in results)
    if not results or outcomes["failed"]:  # an empty gate is no gate
        return "refused"
    return "inconclusive" if outcomes["inconclusive"] else "accepted"


def _overall(candidates: Sequence[Verdict]) -> Verdict:
    if "accepted" in candidates:
        return "accepted"
    return "inconclusive" if "inconclusive" in candidates else "refused"


def _reasons(
    verdict: Verdict, released: str | None, shared: Sequence[GateResult], results: Mapping[str, Sequence[GateResult]]
) -> tuple[str, ...]:
    """Return one sentence for the verdict, then one for each gate of a candidate that was not passed."""
    lines = []
    if released is not None:
        lines.append(f"Recipe {released!r} passed all {len(shared) + len(results[released])} gates and is released.")
    elif not results:
        lines.append("The study has no candidate recipe; nothing can be released.")
    elif not shared and not any(results.values()):
        lines.append("The study has no gate; what nothing judged is refused.")
    else:
        lines.append(f"No candidate recipe passed every gate: the study is {verdict}.")
    for who, gates in (("every recipe", shared), *results.items()):
        lines += [f"{who}: gate {r.gate!r} {_SAID[r.outcome]}: {r.reason}." for r in gates if r.outcome != "passed"]
    return tuple(lines)


_SAID = {"passed": "passed", "failed": "failed", "inconclusive": "is inconclusive"}
