"""``MODEL_CARD.md``: the questions of Mitchell et al. 2019 for every recipe of the study, answered from the study and its evidence.

References
----------
Mitchell et al. 2019, Model Cards for Model Reporting, FAT* '19, doi:10.1145/3287560.3287596.
"""

import json
from collections.abc import Iterable, Sequence

from sciimg.protocol.models import RecipePlan
from sciimg.provenance.datasheet import bullets, cell, line, source_line, split_line
from sciimg.provenance.facts import Facts
from sciimg.records import GateResult, Metric

NAME = "MODEL_CARD.md"


def model_card(facts: Facts) -> str:
    """Return the page."""
    study = facts.study
    parts = [
        f"# Models of {study.title}",
        "The models themselves are not part of this dataset; their digests are those of the training stages in `evidence/stages.json`.",
        *(_recipe(recipe, facts) for recipe in study.recipes),
        "## Intended use",
        f"{line(study.context_of_use)} Out of scope:",
        bullets(map(line, study.excluded_uses)),
        "## Factors",
        _factors(facts),
        "## Training data",
        bullets(source_line(s) for s in study.sources),
        split_line(facts),
        "## Evaluation data",
        "The holdout part of the same sources, which no model was trained on. Where a metric has a "
        '"real against real" value, it is that of real images of the same number, and says what is as good as real.',
        "## Ethical considerations",
        "A generative model can give away what it was trained on. How near samples come to training images is judged where the study has "
        "a gate for it (tables above); a model that is passed on can be asked for more than the images of this dataset. It repeats, and "
        "may amplify, what is over- or under-represented in its training images.",
        "## Caveats",
        bullets(map(line, study.limits)),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def _recipe(recipe: RecipePlan, facts: Facts) -> str:
    study, verdict = facts.study, facts.decision.per_recipe.get(recipe.name, "refused")
    released = ", and its images are this dataset" if facts.decision.released == recipe.name else ""
    options = ", ".join(f"`{k}` {json.dumps(v)}" for k, v in sorted(recipe.options.items())) or "none beyond the recipe's own"
    told = ", ".join(f"{c.name} ({c.kind})" for c in study.conditions) or "nothing"
    rows = {
        "System": f"`{recipe.recipe}`; `sciimg recipes show {recipe.recipe}` names its papers",
        "Software": f"sciimg {facts.environment.get('sciimg', 'unknown')}, torch {facts.environment.get('torch', 'unknown')}",
        "Role in the study": recipe.role,
        "Settings in the study": options,
        "Makes": f"patches of {' x '.join(map(str, study.patches.shape))}, given {told}",
        "Digest of what training made": f"`{facts.model_digests.get(recipe.name, 'not recorded')}`",
        "Verdict": f"**{verdict}**{released}",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {cell(k)} | {cell(v)} |" for k, v in rows.items())])
    return "\n\n".join([f"## {recipe.name}", table, _measured(recipe, facts)])


def _measured(recipe: RecipePlan, facts: Facts) -> str:
    """Return how this recipe met its gates, each with interval, n and what real images give."""
    results = [g for g in facts.decision.gates if g.recipe in (None, recipe.name)]
    if not results:
        return "The study has no gate."
    metrics = [*facts.metrics.get(recipe.name, ()), *facts.metrics.get("", ())]
    head = ["| Outcome | Measure | Value | 95 % interval | n | Real against real | Rule |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(map(cell, _row(g, metrics)))} |" for g in results)])


def _row(gate: GateResult, metrics: Sequence[Metric]) -> Iterable[str]:
    metric = next((m for m in metrics if m.name == gate.metric), None)
    value = f"{gate.value:.4g}" if gate.value is not None else gate.reason
    interval = f"{gate.ci95[0]:.4g} to {gate.ci95[1]:.4g}" if gate.ci95 else "–"
    n = f"{metric.n} {metric.unit_of_n}" if metric and metric.n is not None else "–"
    null = f"{metric.null.value:.4g}" if metric and metric.null else "–"
    return gate.outcome, gate.metric, value, interval, n, null, gate.rule


def _factors(facts: Facts) -> str:
    looked = facts.study.validation.subgroups
    if not looked:
        return "Groups were not judged apart: the study names none, so nothing is known of how well any group is served."
    return f"Judged apart: {', '.join(looked)}. A gate of the form METRIC_worst-COLUMN is about the worst group."
