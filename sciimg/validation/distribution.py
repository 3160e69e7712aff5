"""Metrics of two sets of images, each with its interval and with what two sets of real images of the same size give.

Every metric is the mean over random splits of the real groups into halves A and B. The synthetic value compares A with as many
synthetic samples, the null compares A with B, so bias at small n is in both alike. The spread over half-samples is that of the statistic
on all groups (:mod:`sciimg.validation.resampling`): no resample holds a sample twice. Patches that share a group or pixels are never
compared (the Fréchet distance, which has no pairs, cannot honour this).

A feature space judges only if it flags faults planted in the real images; otherwise its metrics are undefined, for that reason.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric, Null
from sciimg.types import PatchSet
from sciimg.validation.c2st import accuracies, p_value
from sciimg.validation.comparison import Candidate, Comparison, Control, feature_controls, upper_null
from sciimg.validation.distance import NEAREST, coverage_ceiling
from sciimg.validation.features.faults import FaultySet, faulty_sets
from sciimg.validation.features.space import FeatureSpace
from sciimg.validation.outcome import faults_of, mismatch
from sciimg.validation.relations import related, same_group
from sciimg.validation.resampling import group_index, half_interval, half_splits

Array = NDArray[np.float64]
Key = tuple[str | int, ...]

MIN_GROUPS = 8  # two halves of four: with fewer there are too few splits for an interval


@dataclass(frozen=True, slots=True)
class SetMetric:
    """A metric of two sets with what a reader must know of it."""

    higher_is_better: bool
    lowest: float
    highest: float
    source: str


_PRECISION = f"Kynkäänniemi et al. 2019, arXiv:1904.06991; k = {NEAREST}"
_COVERAGE = f"Naeem et al. 2020, arXiv:2002.09797; k = {NEAREST}"

SET_METRICS: dict[str, SetMetric] = {
    "kid": SetMetric(False, -math.inf, math.inf, "Bińkowski et al. 2018, arXiv:1801.01401, eq. 4; kernel (x·y/d + 1)³"),
    "fd": SetMetric(False, 0.0, math.inf, "Heusel et al. 2017, arXiv:1706.08500; biased at small n, read it against its null only"),
    "precision": SetMetric(True, 0.0, 1.0, _PRECISION),
    "recall": SetMetric(True, 0.0, 1.0, _PRECISION),
    "density": SetMetric(True, 0.0, math.inf, _COVERAGE),
    "coverage": SetMetric(True, 0.0, 1.0, _COVERAGE),
    "c2st": SetMetric(False, 0.0, 1.0, "Lopez-Paz & Oquab 2017, arXiv:1610.06545; logistic regression, cross-fitted by group"),
}
# derived name: (what it derives from, what it is divided by)
DERIVED: dict[str, tuple[str, str]] = {
    "kid_effect": ("kid", "95 % quantile of real-versus-real"),
    "fd_effect": ("fd", "95 % quantile of real-versus-real"),
    "kid_per_blur": ("kid", "KID of the real images blurred by 1 px"),
    "precision_ratio": ("precision", "mean of real-versus-real"),
    "recall_ratio": ("recall", "mean of real-versus-real"),
    "coverage_ratio": ("coverage", "mean of real-versus-real"),
}
FAULTS = ("blurred", "noisier", "mode-dropped", "duplicated")


@dataclass(frozen=True, slots=True)
class _Setting:
    """What all metrics of one call share."""

    real: PatchSet
    synthetic: PatchSet
    key: Key

    def fields(self, base: str, space: FeatureSpace) -> dict[str, Any]:
        return {
            "n": len(group_index(self.real.groups)[0]) if len(self.real) else 0,
            "unit_of_n": "groups",
            "n_real": len(self.real),
            "n_synthetic": len(self.synthetic),
            "features": space.name,
            "higher_is_better": SET_METRICS[base].higher_is_better,
            "source": SET_METRICS[base].source,
        }


def set_metrics(
    real: PatchSet, synthetic: PatchSet, spaces: Sequence[FeatureSpace], *, rounds: int = 200, key: Key = ("set",)
) -> list[Metric]:
    """Compare a synthetic set with a real one in several feature spaces.

    Parameters
    ----------
    real, synthetic : PatchSet
        Groups are the independent units of each; a synthetic sample that was drawn on its own is a group of its own.
    rounds : int
        Random splits of the real groups.

    Returns
    -------
    list of Metric
        For each space: the metrics of ``SET_METRICS`` as ``NAME_SPACE``; those of ``DERIVED``, which need no unit, as ``NAME_SPACE``; and
        ``control_FAULT_SPACE`` for every planted fault (its KID in units of the 95 % quantile of the null).
    """
    setting = _Setting(real, synthetic, key)
    reason = obstacle(real, synthetic)
    if not reason:
        splits = half_splits(real.groups, synthetic.groups, generator(*key, "splits"), rounds=rounds)
        if len(splits[0].reference) < MIN_GROUPS // 2:
            reason = f"{len(splits[0].reference)} samples on each side of a real-versus-real split; {MIN_GROUPS // 2} are needed"
    if reason:
        return [m for space in spaces for m in _undefined(setting, space, reason)]
    relation, faults = related(real), list(faulty_sets(real, (*key, "faults")))
    metrics: list[Metric] = []
    for space in spaces:
        comparison = Comparison(space.transform(real), relation, splits)
        if len(comparison.splits) < rounds / 4:
            reason = f"only {len(comparison.splits)} of {rounds} splits of the real images leave independent neighbours on both sides"
            metrics += _undefined(setting, space, reason)
        else:
            metrics += _in_space(setting, space, comparison, faults)
    return metrics


def obstacle(real: PatchSet, synthetic: PatchSet) -> str:
    """Return why two sets cannot be compared, or ``""``."""
    reason = faults_of(real, "real") or faults_of(synthetic, "synthetic") or mismatch(real, synthetic, ("real", "synthetic"))
    if reason:
        return reason
    for patches, what in ((real, "real"), (synthetic, "synthetic")):
        groups = len(group_index(patches.groups)[0])
        if groups < MIN_GROUPS:
            return f"{groups} independent groups of {what} images; {MIN_GROUPS} are needed for an interval and a null"
    return ""


def _undefined(setting: _Setting, space: FeatureSpace, reason: str, **detail: Any) -> Iterator[Metric]:
    for name in SET_METRICS:
        yield Metric.undefined(f"{name}_{space.name}", reason, detail=detail, **setting.fields(name, space))
    for name, (base, unit) in DERIVED.items():
        yield Metric.undefined(f"{name}_{space.name}", reason, unit=unit, detail=detail, **setting.fields(base, space))
    if "controls" not in detail:
        for fault in FAULTS:
            yield Metric.undefined(f"control_{fault}_{space.name}", reason, features=space.name, higher_is_better=True)


def _in_space(setting: _Setting, space: FeatureSpace, comparison: Comparison, faults: Sequence[FaultySet]) -> Iterator[Metric]:
    controls = feature_controls(space, comparison, faults, setting.real, (*setting.key, "controls"))
    groups = min(len(group_index(p.groups)[0]) for p in (setting.real, setting.synthetic))
    detail = {
        "samples_on_each_side": len(comparison.splits[0].reference),
        "splits": len(comparison.splits),
        "dimensions": comparison.vectors.shape[1],
        "real_pairs_not_compared": float(comparison.relation.mean()),
        "controls": {c.fault: list(c.flagged_by) for c in controls},
    }
    yield from (_control_metric(c, space, setting) for c in controls)
    if blind := [c.fault for c in controls if not c.flagged_by]:
        reason = f"features {space.name} do not tell these faults, planted in real images, from real ones: {', '.join(blind)}"
        yield from _undefined(setting, space, reason, **detail)
        return
    candidate = Candidate(space.transform(setting.synthetic), same_group(setting.synthetic), None)
    rows = [s.synthetic for s in comparison.splits]
    values, null = comparison.scores(candidate, rows), dict(comparison.null)
    real_groups = setting.real.groups
    itself = Candidate(comparison.vectors, comparison.relation, comparison.relation)
    values["c2st"] = accuracies(comparison, candidate, rows, real_groups, setting.synthetic.groups)
    null["c2st"] = accuracies(comparison, itself, [s.real for s in comparison.splits], real_groups, real_groups)
    for name in SET_METRICS:
        own = detail | _own(name, controls, comparison)
        if name == "c2st":
            own |= {"splits": len(values[name]), "p_value": p_value(values[name], null[name])}
        if reason := _too_few(values[name], null[name], detail["samples_on_each_side"]):
            yield Metric.undefined(f"{name}_{space.name}", reason, detail=detail, **setting.fields(name, space))
            continue
        yield _metric(setting, space, name, name, values[name], null[name], 1.0, groups, own)
    for name, (base, unit) in DERIVED.items():
        reason = _too_few(values[base], comparison.null[base], detail["samples_on_each_side"])
        divisor = 0.0 if reason else _divisor(name, base, comparison, controls)
        if divisor <= 0:
            reason = reason or f"the {unit} is {divisor:.3g}"
            yield Metric.undefined(f"{name}_{space.name}", reason, unit=unit, detail=detail, **setting.fields(base, space))
            continue
        yield _metric(setting, space, name, base, values[base], comparison.null[base], divisor, groups, {"divisor": divisor}, unit)


def _too_few(values: Array, null: Array, size: int) -> str:
    if np.isfinite([values, null]).all():
        return ""
    return f"{size} samples on each side of a real-versus-real split are too few for {NEAREST} nearest neighbours or a classifier"


def _own(name: str, controls: Sequence[Control], comparison: Comparison) -> dict[str, Any]:
    """What belongs to one metric: its value on the planted faults; the ceiling of coverage."""
    own: dict[str, Any] = {"faults": {c.fault: c.scores[name] for c in controls if name in c.scores}}
    if name == "coverage":
        size = len(comparison.splits[0].reference)
        own["ceiling_of_independent_samples"] = coverage_ceiling(size, size)
    return own


def _divisor(name: str, base: str, comparison: Comparison, controls: Sequence[Control]) -> float:
    if name.endswith("_effect"):
        return upper_null(comparison.null[base])
    if name == "kid_per_blur":
        return next(c.scores["kid"] for c in controls if c.fault == "blurred")
    return float(comparison.null[base].mean())


def _metric(
    setting: _Setting,
    space: FeatureSpace,
    name: str,
    base: str,
    values: Array,
    null: Array,
    divisor: float,
    groups: int,
    detail: dict[str, Any],
    unit: str | None = None,
) -> Metric:
    kind = SET_METRICS[base]
    low, high = half_interval(values, groups, lowest=kind.lowest, highest=kind.highest)
    quantiles = np.quantile(null, [0.025, 0.975]) / divisor
    return Metric(
        name=f"{name}_{space.name}",
        value=float(values.mean()) / divisor,
        ci95=(low / divisor, high / divisor),
        null=Null(value=float(null.mean()) / divisor, ci95=(float(quantiles[0]), float(quantiles[1]))),
        unit=unit,
        detail=detail,
        **setting.fields(base, space),
    )


def _control_metric(control: Control, space: FeatureSpace, setting: _Setting) -> Metric:
    return Metric(
        name=f"control_{control.fault}_{space.name}",
        value=control.effect,
        n_real=len(setting.real),
        features=space.name,
        unit="95 % quantile of real-versus-real",
        higher_is_better=True,
        source="KID of real images with a planted fault",
        detail={"flagged_by": list(control.flagged_by), "scores": control.scores},
    )
