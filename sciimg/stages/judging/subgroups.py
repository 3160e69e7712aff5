"""The same for the images of each value of a column."""

from sciimg.protocol.data import ClassCondition
from sciimg.records import Metric
from sciimg.stages.judging.case import Case, Found
from sciimg.types import PatchSet
from sciimg.validation.outcome import faults_of


def subgroups(case: Case, column: str) -> Found:
    """Judge the images of each value of a column apart, and report the worst."""
    from sciimg.validation.subgroups import obstacle, of_value, values_of, worst

    asked = next((c.name for c in case.study.conditions if isinstance(c, ClassCondition) and c.column == column), column)
    parts = {"holdout": case.real.holdout, "train": case.real.train, "calibration": case.real.calibration}
    real = {part: None if p is None else case.real.with_column(p, part, column) for part, p in parts.items()}  # type: ignore[arg-type]
    values = {part: values_of(p, column) for part, p in real.items()}
    made = values_of(case.judged, asked)
    reason = "there are no synthetic images" if case.judged is None else obstacle(values["holdout"], made, column)
    if reason:
        none = _of_subgroup(case, case.real.holdout.take([]), None, None, None)
        undefined = [Metric.undefined(m.name, reason, higher_is_better=m.higher_is_better, features=m.features) for m in none]
        return worst(column, {"all": undefined}), {}
    by_value = {}
    for value in sorted(set(values["holdout"].tolist())):  # type: ignore[union-attr]
        some = {part: of_value(p, values[part], value) for part, p in real.items()}
        assert some["holdout"] is not None
        by_value[value] = _of_subgroup(case, some["holdout"], some["train"], some["calibration"], of_value(case.judged, made, value))
    return worst(column, by_value), {}


def _of_subgroup(case: Case, holdout: PatchSet, train: PatchSet | None, apart: PatchSet | None, synthetic: PatchSet | None) -> list[Metric]:
    """Return the metrics that exist for a part of the images."""
    from sciimg.validation.distribution import set_metrics
    from sciimg.validation.membership import membership_metrics
    from sciimg.validation.physics import CHECKS, RealImages, calibrate, effect

    made = holdout.take([]) if synthetic is None else synthetic
    key = (*case.key, "subgroups")
    found = [m for m in set_metrics(holdout, made, case.spaces, rounds=case.rounds, key=key) if not m.name.startswith("control_")]
    found += membership_metrics(train, holdout, made, case.spaces, rounds=case.rounds, key=key)
    segment = None if case.segmenter is None else case.segmenter.segment
    for name in (n for n in case.study.validation.physics if n in CHECKS):
        reason = faults_of(holdout, "real")
        ready = reason or calibrate(CHECKS[name], RealImages(holdout, apart, train, segment), bootstrap=case.rounds, key=key)
        found.append(effect(ready, made, name=f"{name}_effect"))
    return found
