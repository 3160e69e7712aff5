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
    from sciimg.validation.downstream import BASELINE_ARMS, RECIPE_ARMS, downstream_metrics, names, obstacle, run_arm

    plan, train, holdout = case.study.validation.downstream, case.real.train_tiles, case.real.holdout_tiles
    if plan is None:
        return [], {}
    reason = "there are no real training images" if train is None else obstacle(train, holdout, case.synthetic, with_synthetic=True)
    if reason or train is None:
        return [Metric.undefined(name, reason, higher_is_better=True) for name in names(holdout.label_kind)], {}
    seeds = range(plan.seeds)
    results = {(arm, seed): case.kept.made(f"downstream-{arm}-{seed}") for arm in BASELINE_ARMS for seed in seeds}
    for arm in RECIPE_ARMS:
        for seed in seeds:
            compute = partial(run_arm, arm, seed, plan, train=train, holdout=holdout, synthetic=case.synthetic, key=case.key)
            results[arm, seed] = case.parts.value(f"downstream-{arm}-{seed}", compute)
    ceiling = _ceiling(case.baseline)
    about: dict[str, Any] = {"kind": holdout.label_kind, "bootstrap": case.rounds, "key": (*case.key, "downstream"), "ceiling": ceiling}
    return downstream_metrics(results, plan, **about), {}


def _ceiling(folder: Path) -> float | None:
    """Return the Dice of the segmenter that was trained on the whole real training part."""
    metrics = json.loads((folder / EVIDENCE).read_text(encoding="utf-8"))["metrics"]
    return next((m["value"] for m in metrics if m["name"] == "segmenter-dice"), None)
