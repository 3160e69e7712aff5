"""Whether a network trained with them does better on real images."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from sciimg.records import Metric
from sciimg.stages.baseline import EVIDENCE
from sciimg.stages.judging.case import Case, Found


def downstream(case: Case) -> Found:
    """Train segmenters with and without samples and score them on real images."""
    from sciimg.validation.downstream import BASELINE_ARMS, downstream_metrics, names, obstacle, recipe_arms, run_arm, too_few

    plan, train, holdout = case.study.validation.downstream, case.real.train_tiles, case.real.holdout_tiles
    if plan is None:
        return [], {}
    reason = "there are no real training images" if train is None else obstacle(train, holdout, case.synthetic, with_synthetic=True)
    if reason or train is None or case.synthetic is None:
        return [Metric.undefined(name, reason, higher_is_better=True) for name in names(holdout.label_kind, plan)], {}
    lacking = {arm: too_few(arm, plan, train=train, synthetic=case.synthetic, key=case.key) for arm in recipe_arms(plan)}
    missing = {arm: said for arm, said in lacking.items() if said}
    seeds = range(plan.seeds)
    results = {(arm, seed): case.kept.made(f"downstream-{arm}-{seed}") for arm in BASELINE_ARMS for seed in seeds}
    for arm in (arm for arm in recipe_arms(plan) if arm not in missing):
        for seed in seeds:
            compute = partial(run_arm, arm, seed, plan, train=train, holdout=holdout, synthetic=case.synthetic, key=case.key)
            results[arm, seed] = case.parts.value(f"downstream-{arm}-{seed}", compute)
    ceiling = _ceiling(case.baseline)
    about: dict[str, Any] = {"kind": holdout.label_kind, "bootstrap": case.rounds, "key": (*case.key, "downstream"), "ceiling": ceiling}
    return downstream_metrics(results, plan, missing=missing, **about), {}


def _ceiling(folder: Path) -> float | None:
    """Return the Dice of the segmenter that was trained on the whole real training part."""
    metrics = json.loads((folder / EVIDENCE).read_text(encoding="utf-8"))["metrics"]
    return next((m["value"] for m in metrics if m["name"] == "segmenter-dice"), None)
