"""Whether the two sets are alike."""

from typing import Any

from sciimg.records import Metric
from sciimg.stages.judging.case import Case, Found


def likeness(case: Case) -> Found:
    """Compare the two sets in every feature space; samples made for conditions of the holdout once more by themselves."""
    from sciimg.validation.distribution import set_metrics

    metrics: list[Metric] = []
    for suffix, patches in (("", case.judged), ("_paired", case.paired)):
        if suffix and patches is None:
            continue
        synthetic = patches if patches is not None else case.real.holdout.take([])
        about: dict[str, Any] = {"train": case.real.train_tiles, "rounds": case.rounds, "key": (*case.key, "likeness")}
        found = set_metrics(case.real.holdout, synthetic, case.spaces, **about)
        kept = [m for m in found if not (suffix and m.name.startswith("control_"))]  # the controls belong to the space: told once
        metrics += [m.model_copy(update={"name": m.name + suffix}) for m in kept]
    return metrics, {}
