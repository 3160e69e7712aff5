"""Metrics of two sets of images, each with its interval and with what two sets of real images of the same size give.

Every metric is the mean over random splits of the real groups into halves A and B. The synthetic value compares A with as many
synthetic samples, the null compares A with B, so bias at small n is in both alike. The spread over half-samples is that of the statistic
on all groups (:mod:`sciimg.validation.resampling`): no resample holds a sample twice. Patches that share a group or pixels are never
compared (the Fréchet distance, which has no pairs, cannot honour this).

A feature space judges only if it flags faults planted in the real images; otherwise its metrics are undefined, for that reason.

Large sets cost time in proportion to their size: features are computed in batches and only they are held, a split has at most 512 samples
a side (200 splits see 100,000 samples), and faults are planted in 1,024 real images.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric, Null, TooFew
from sciimg.types import PatchSet
from sciimg.validation.c2st import accuracies, p_value
from sciimg.validation.comparison import FEWEST_TO_EXTRAPOLATE, FRECHET_AXES, Candidate, Comparison, Control, feature_controls, upper_null
from sciimg.validation.distance import NEAREST, coverage_ceiling
from sciimg.validation.features.faults import FaultySet, faulty_sets
from sciimg.validation.features.space import FeatureSpace
from sciimg.validation.nearest import IN_CELL, TrainingVectors
from sciimg.validation.outcome import faults_of, mismatch
from sciimg.validation.relations import Relation, overlapping, related, same_group
from sciimg.validation.resampling import MOST, HalfSplit, group_index, half_interval, half_splits, spread_of_mean

Array = NDArray[np.float64]
Key = tuple[str | int, ...]

_TRIED = 2 * MOST  # real images in which faults are planted
_SIDE = "samples on each side of a real-versus-real split"
_SHOWN = 2048  # real images whose pairs are counted
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

_FD = "biased at small n, read it against its null only"
_COPYING = "needs the training images; the null is that of the real holdout"

SET_METRICS: dict[str, SetMetric] = {
    "kid": SetMetric(False, -math.inf, math.inf, "Bińkowski et al. 2018, arXiv:1801.01401, eq. 4; kernel (x·y/d + 1)³"),
    "mmd": SetMetric(
        False, -math.inf, math.inf, "Gretton et al. 2012, JMLR 13, unbiased; Gaussian kernel, bandwidth the median distance of real pairs"
    ),
    "fd": SetMetric(False, 0.0, math.inf, f"Heusel et al. 2017, arXiv:1706.08500; first {FRECHET_AXES} axes; {_FD}"),
    "fd_infinity": SetMetric(
        False, -math.inf, math.inf, f"Chong & Forsyth 2020, arXiv:1911.07023; first {FRECHET_AXES} axes; a line in 1/n followed to 0"
    ),
    "swd": SetMetric(False, 0.0, math.inf, f"sliced 2-Wasserstein: Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3; {_FD}"),
    "precision": SetMetric(True, 0.0, 1.0, _PRECISION),
    "recall": SetMetric(True, 0.0, 1.0, _PRECISION),
    "density": SetMetric(True, 0.0, math.inf, _COVERAGE),
    "coverage": SetMetric(True, 0.0, 1.0, _COVERAGE),
    "vendi": SetMetric(True, 1.0, math.inf, "Friedman & Dieng 2023, arXiv:2210.02410; cosine similarity; noise adds to it"),
    "authenticity": SetMetric(True, 0.0, 1.0, f"Alaa et al. 2022, arXiv:2102.08921; {_COPYING}"),
    "ct": SetMetric(
        True, -math.inf, math.inf, f"C_T: Meehan et al. 2020, arXiv:2004.05675; below 0 copies, far above 0 unlike real; {_COPYING}"
    ),
    "c2st": SetMetric(False, 0.0, 1.0, "Lopez-Paz & Oquab 2017, arXiv:1610.06545; logistic regression, cross-fitted by group"),
}
NEED_TRAINING = ("authenticity", "ct")
# derived name: (what it derives from, what it is divided by)
DERIVED: dict[str, tuple[str, str]] = {
    "kid_effect": ("kid", "95 % quantile of real-versus-real"),
    "mmd_effect": ("mmd", "95 % quantile of real-versus-real"),
    "fd_effect": ("fd", "95 % quantile of real-versus-real"),
    "swd_effect": ("swd", "95 % quantile of real-versus-real"),
    "kid_per_blur": ("kid", "KID of the real images blurred by 1 px"),
    "precision_ratio": ("precision", "mean of real-versus-real"),
    "recall_ratio": ("recall", "mean of real-versus-real"),
    "coverage_ratio": ("coverage", "mean of real-versus-real"),
    "vendi_ratio": ("vendi", "mean of real-versus-real"),
    "authenticity_ratio": ("authenticity", "mean of the real holdout"),
}
FAULTS = ("blurred", "noisier", "mode-dropped", "duplicated")


@dataclass(frozen=True)
class _Setting:
    """What all metrics of one call share."""

    real: PatchSet
    synthetic: PatchSet
    train: PatchSet | None
    key: Key

    @cached_property
    def groups(self) -> tuple[int, int]:
        """How many independent groups the real and the synthetic set have."""
        first, second = (len(group_index(p.groups)[0]) if len(p) else 0 for p in (self.real, self.synthetic))
        return first, second

    def fields(self, base: str, space: FeatureSpace) -> dict[str, Any]:
        return {
            "n": self.groups[0],
            "unit_of_n": "groups",
            "n_real": len(self.real),
            "n_synthetic": len(self.synthetic),
            "features": space.name,
            "higher_is_better": SET_METRICS[base].higher_is_better,
            "source": SET_METRICS[base].source,
        }


@dataclass(frozen=True)
class _Tried:
    """Real images with planted faults, and the splits over which they are compared with themselves."""

    real: PatchSet
    relation: Relation
    splits: Sequence[HalfSplit]
    faults: Sequence[FaultySet]


def set_metrics(
    real: PatchSet,
    synthetic: PatchSet,
    spaces: Sequence[FeatureSpace],
    *,
    train: PatchSet | None = None,
    rounds: int = 200,
    key: Key = ("set",),
) -> list[Metric]:
    """Compare a synthetic set with a real one in several feature spaces.

    Parameters
    ----------
    real, synthetic : PatchSet
        Groups are the independent units of each; a synthetic sample that was drawn on its own is a group of its own.
    train : PatchSet or None
        What a generator learned from, for authenticity and C_T; REAL must not hold any of it.
    rounds : int
        Random splits of the real groups.

    Returns
    -------
    list of Metric
        For each space: the metrics of ``SET_METRICS`` as ``NAME_SPACE``; those of ``DERIVED``, which need no unit, as ``NAME_SPACE``; and
        ``control_FAULT_SPACE`` for every planted fault (its KID in units of the 95 % quantile of the null).
    """
    setting = _Setting(real, synthetic, train, key)
    reason = obstacle(real, synthetic)
    if not reason:
        splits = half_splits(real.groups, synthetic.groups, generator(*key, "splits"), rounds=rounds)
        if len(splits[0].reference) < MIN_GROUPS // 2:
            side, least = len(splits[0].reference), MIN_GROUPS // 2
            reason = TooFew.of(f"{side} samples on each side of a real-versus-real split; {least} are needed", side, least, _SIDE)
    if reason:
        return [m for space in spaces for m in _undefined(setting, space, reason)]
    relation = related(real)
    tried = _tried(real, relation, splits, rounds, key)
    metrics: list[Metric] = []
    for space in spaces:
        comparison = Comparison(
            space.transform(real), relation, splits, _training(setting, space, len(splits[0].reference)), (*key, space.name)
        )
        if len(comparison.splits) < rounds / 4:
            reason = f"only {len(comparison.splits)} of {rounds} splits of the real images leave independent neighbours on both sides"
            metrics += _undefined(setting, space, reason)
        else:
            metrics += _in_space(setting, space, comparison, tried)
    return metrics


def _tried(real: PatchSet, relation: Relation, splits: Sequence[HalfSplit], rounds: int, key: Key) -> _Tried:
    """Plant the faults, in a random part of a large set."""
    if len(real) > _TRIED:
        rows = np.sort(generator(*key, "tried").permutation(len(real))[:_TRIED])
        real, relation = real.take(rows), relation.take(rows)
        splits = half_splits(real.groups, real.groups, generator(*key, "tried-splits"), rounds=rounds)
    return _Tried(real, relation, splits, list(faulty_sets(real, (*key, "faults"))))


def _training(setting: _Setting, space: FeatureSpace, samples: int) -> TrainingVectors | None:
    if setting.train is None or _training_missing(setting):
        return None
    rng = generator(*setting.key, space.name, "cells")
    return TrainingVectors(space.transform(setting.train), overlapping(setting.train), rng, samples)


def _training_missing(setting: _Setting) -> str:
    """Return why nothing can be said about copies of training images, or ``""``."""
    if setting.train is None:
        return "there are no training images"
    return faults_of(setting.train, "training") or mismatch(setting.real, setting.train, ("real", "training"))


def obstacle(real: PatchSet, synthetic: PatchSet) -> str:
    """Return why two sets cannot be compared, or ``""``."""
    reason = faults_of(real, "real") or faults_of(synthetic, "synthetic") or mismatch(real, synthetic, ("real", "synthetic"))
    if reason:
        return reason
    if min(real.images.shape[-2:]) < 2:
        y, x = real.images.shape[-2:]
        return f"images of {y} x {x} px have pixels without neighbours: the faults that a feature space must tell cannot be planted"
    for patches, what in ((real, "real"), (synthetic, "synthetic")):
        groups = len(group_index(patches.groups)[0])
        if groups < MIN_GROUPS:
            reason = f"{groups} independent groups of {what} images; {MIN_GROUPS} are needed for an interval and a null"
            return TooFew.of(reason, groups, MIN_GROUPS)
    return ""


def _undefined(setting: _Setting, space: FeatureSpace, reason: str, **detail: Any) -> Iterator[Metric]:
    for name in SET_METRICS:
        yield Metric.undefined(f"{name}_{space.name}", reason, detail=detail, **setting.fields(name, space))
    for name, (base, unit) in DERIVED.items():
        yield Metric.undefined(f"{name}_{space.name}", reason, unit=unit, detail=detail, **setting.fields(base, space))
    if "flagged_by" not in detail:
        for fault in FAULTS:
            yield Metric.undefined(f"control_{fault}_{space.name}", reason, features=space.name, higher_is_better=True)


def _in_space(setting: _Setting, space: FeatureSpace, comparison: Comparison, tried: _Tried) -> Iterator[Metric]:
    own = comparison
    if tried.real is not setting.real:
        own = Comparison(space.transform(tried.real), tried.relation, tried.splits, comparison.training, (*setting.key, space.name))
    controls = feature_controls(space, own, tried.faults, tried.real, (*setting.key, "controls"))
    some = np.linspace(0, len(setting.real) - 1, min(len(setting.real), _SHOWN)).round().astype(np.intp)
    detail = {
        "samples_on_each_side": len(comparison.splits[0].reference),
        "splits": len(comparison.splits),
        "dimensions": comparison.vectors.shape[1],
        "real_pairs_not_compared": float(comparison.relation(some, some).mean()),
        "flagged_by": {c.fault: list(c.flagged_by) for c in controls},
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
        about = detail | _own(name, controls, comparison)
        if name == "c2st":
            about |= {"splits": len(values[name]), "p_value": p_value(values[name], null[name])}
        if reason := _missing(setting, name, values[name], null[name], comparison):
            yield Metric.undefined(f"{name}_{space.name}", reason, detail=detail, **setting.fields(name, space))
            continue
        yield _metric(setting, space, name, name, values[name], null[name], comparison, 1.0, about)
    for name, (base, unit) in DERIVED.items():
        reason = _missing(setting, base, values[base], null[base], comparison)
        divisor = 0.0 if reason else _divisor(name, base, comparison, controls)
        if divisor <= 0:
            reason = reason or f"the {unit} is {divisor:.3g}"
            yield Metric.undefined(f"{name}_{space.name}", reason, unit=unit, detail=detail, **setting.fields(base, space))
            continue
        about = {"divisor": divisor, "faults": _on_faults(base, controls, divisor)}
        yield _metric(setting, space, name, base, values[base], null[base], comparison, divisor, about, unit)


def _missing(setting: _Setting, name: str, values: Array, null: Array, comparison: Comparison) -> str:
    """Return why a metric has no value, or ``""``."""
    if np.isfinite([values, null]).all():
        return ""
    if name in NEED_TRAINING and (reason := _training_missing(setting)):
        return reason
    side = len(comparison.splits[0].reference)
    few = f"{side} {_SIDE} are too few"
    match name:
        case "mmd":
            return "the real images do not differ from one another in this space, so that its kernel has no width"
        case "fd_infinity":
            return TooFew.of(f"{few} to extrapolate from: {FEWEST_TO_EXTRAPOLATE} are needed", side, FEWEST_TO_EXTRAPOLATE, _SIDE)
        case "c2st":
            return f"{few} for a classifier"
        case "ct":
            return TooFew.of(f"{few} for a rank test in any cell of the training set", side, IN_CELL, _SIDE)
        case _:
            return TooFew.of(f"{few} for {NEAREST} nearest neighbours", side, NEAREST + 1, _SIDE)


def _own(name: str, controls: Sequence[Control], comparison: Comparison) -> dict[str, Any]:
    """What belongs to one metric: its value on the planted faults; the ceiling of coverage."""
    own: dict[str, Any] = {"faults": _on_faults(name, controls)}
    if name == "coverage":
        size = len(comparison.splits[0].reference)
        own["ceiling_of_independent_samples"] = coverage_ceiling(size, size)
    if name == "mmd":
        own["bandwidth"] = comparison.bandwidth
    if name in NEED_TRAINING and comparison.training is not None:
        own["training_images"] = len(comparison.training.vectors)
    return own


def _on_faults(base: str, controls: Sequence[Control], divisor: float = 1.0) -> dict[str, float]:
    """Return what a metric gives on each planted fault; of those about copies nothing, for no fault is a copy of a training image."""
    return {c.fault: c.scores[base] / divisor for c in controls if base in c.scores and base not in NEED_TRAINING}


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
    comparison: Comparison,
    divisor: float,
    detail: dict[str, Any],
    unit: str | None = None,
) -> Metric:
    kind = SET_METRICS[base]
    spread = _spread(setting, comparison.splits[: len(values)])
    samples = min(len(setting.real), len(setting.synthetic))
    low, high = half_interval(values, min(setting.groups), lowest=kind.lowest, highest=kind.highest, spread=spread, samples=samples)
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


def _spread(setting: _Setting, splits: Sequence[HalfSplit]) -> float:
    """Return how certain the mean over splits is in units of their spread: 1 unless splits take a part of a large set."""
    if len(splits[0].reference) < MOST:
        return 1.0
    real, synthetic = (group_index(p.groups)[1] for p in (setting.real, setting.synthetic))
    drawn = len(np.unique(real[splits[0].reference])), len(np.unique(synthetic[splits[0].synthetic]))
    return max(spread_of_mean(n, of, len(splits)) for n, of in zip(drawn, setting.groups, strict=True))


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
