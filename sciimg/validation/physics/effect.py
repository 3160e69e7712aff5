"""From a check to evidence: how far synthetic images are from real ones, in units of how far real ones are from each other.

The effect of a check is its distance to the real holdout divided by a margin. The margin is the 95 % quantile of the same distance between
two random disjoint halves of held-out real groups, so an effect of 1 means "at the edge of what real images differ by".
Halves are half as large as the holdout, so two ideal sets of the holdout's size lie well below 1 (half of it, typically), which leaves room
for an interval: the basic bootstrap over groups of both sides. On 64 cells of one tissue section, real against real, the upper limit stayed
below 1.5 in 97 or more of 100 random splits for every tissue check; a study that asks for "at most 1.5" rarely refuses real images.

A check with several components (channels, shape and level …) divides each by its own margin and takes the largest; the largest of them is
calibrated once more between real halves, so more components do not mean more false alarms.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric, Null, TooFew
from sciimg.types import PatchSet
from sciimg.validation.outcome import faults_of, mismatch
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.typical import Typical, oddness, typical
from sciimg.validation.pooling import basic_interval, by_group, disjoint_sets, pooled, resampling_weights

Array = NDArray[np.float64]
Segment = Callable[[PatchSet], PatchSet]

MIN_GROUPS = 5  # of the holdout
MIN_POOL = 8  # of holdout and calibration together: fewer have too few splits for a 95 % quantile
_FAR_TOO_SMALL = 0.3  # of a control's effect: ten times as many groups
CEILING = 1e6  # a distance to something degenerate is large, not infinite


@dataclass(frozen=True)
class RealImages:
    """The real side of every check. ``calibration`` and ``train`` may be missing; the holdout may not."""

    holdout: PatchSet
    calibration: PatchSet | None = None
    train: PatchSet | None = None
    segment: Segment | None = None


@dataclass(frozen=True)
class Calibration:
    """A check made ready on real images: frame, margins, what real halves do, and whether the controls were flagged."""

    check: Check
    key: tuple[str, ...]
    frame: Any
    groups: list[str]
    sums: Array  # (G, ...) statistics of the real holdout
    margins: dict[str, float]
    scale: float  # 95 % quantile, between real halves, of the largest component in units of its margin
    null: Null
    controls: dict[str, float]
    training: float | None
    segment: Segment | None
    bootstrap: int
    holdout: PatchSet
    typical: Typical | str  # what held-out real samples do one by one, or why nothing can be said of single ones
    beyond: dict[str, float]  # share of the samples of each control that are odd by themselves

    @property
    def blind_to(self) -> list[str]:
        """Names of the controls that were not flagged."""
        return [name for name, effect in self.controls.items() if not effect > 1]


def obstacle_between(real: PatchSet, synthetic: PatchSet | None) -> str:
    """Return why synthetic images cannot be compared with real ones at all, or ``""``."""
    if synthetic is None:
        return "no synthetic images"
    return faults_of(synthetic, "synthetic") or mismatch(real, synthetic, ("real", "synthetic"))


def calibrate(check: Check, real: RealImages, *, rounds: int = 500, bootstrap: int = 200, key: tuple[str, ...]) -> Calibration | str:
    """Prepare a check on real images.

    Parameters
    ----------
    rounds : int
        Random pairs of halves from which the margin is taken.
    bootstrap : int
        Group-bootstrap rounds of every interval.
    key : tuple of str
        Seeds every draw, together with the check's name.

    Returns
    -------
    Calibration, or str
        The string says why the check is undefined on these real images.
    """
    obstacle = faults_of(real.holdout, "real holdout") or _segmenter_missing(check, real.segment) or check.obstacle(real.holdout)
    if obstacle:
        return obstacle
    usable = [part for part in (real.holdout, real.calibration) if part is not None and not faults_of(part, "real")]
    held_out = [_labelled(check, part, real.segment) for part in usable]
    frame = check.frame(_joined(held_out))
    rows = [check.measure(part, frame) for part in held_out]
    measured = [by_group(of, part.groups) for of, part in zip(rows, held_out, strict=True)]
    groups, sums = measured[0]
    pool = np.concatenate([s for _, s in measured])
    size = len(groups) // 2
    if len(groups) < MIN_GROUPS or len(pool) < MIN_POOL:
        reason = (
            f"{len(groups)} independent groups in the real holdout and {len(pool)} with the calibration part; "
            f"{MIN_GROUPS} and {MIN_POOL} are needed to say how much real images differ"
        )
        own = len(groups) < MIN_GROUPS
        return TooFew.of(reason, len(groups if own else pool), MIN_GROUPS if own else MIN_POOL)
    first, second = disjoint_sets(generator(*key, check.name, "halves"), len(pool), size, rounds)
    between = check.distance(pooled(pool, first), pooled(pool, second), frame)
    floors = check.floors(frame)
    margins = {name: max(float(np.quantile(_finite(d), 0.95)), floors[name]) for name, d in between.items()}
    largest = np.max([_finite(d) / margins[name] for name, d in between.items()], axis=0)
    scale = max(float(np.quantile(largest, 0.95)), 1.0)  # below 1 only where floors rule, and those stay as they are
    ratios = largest / scale
    null = Null(value=float(np.median(ratios)), ci95=(float(np.quantile(ratios, 0.025)), float(np.quantile(ratios, 0.975))))
    alone = typical(check, frame, np.concatenate(rows), np.concatenate([part.groups.astype(str) for part in held_out]))
    ready = Calibration(check, key, frame, groups, sums, margins, scale, null, {}, None, real.segment, bootstrap, real.holdout, alone, {})
    planted = {control.name: _planted(ready, control, real.holdout) for control in check.controls}
    controls = {name: _effect_of(ready, faulty) for name, faulty in planted.items()}
    beyond = {} if isinstance(alone, str) else {name: _beyond(ready, faulty, alone) for name, faulty in planted.items()}
    training = None
    if real.train is not None and not faults_of(real.train, "training"):
        training = _effect_of(ready, measured_samples(ready, real.train))
    return replace(ready, controls=controls, training=training, beyond=beyond)


def effect(
    ready: Calibration | str,
    synthetic: PatchSet | None,
    *,
    name: str,
    paired: bool = False,
    source: str = "",
    rows: Array | None = None,
) -> Metric:
    """Return the effect of a check on synthetic images, with its group-bootstrap interval.

    Parameters
    ----------
    name : str
        Name of the metric.
    paired : bool
        Whether a synthetic sample carries the group of the real sample whose condition it was given; both are then resampled together.
    rows : array, shape (N, ...), optional
        Of :func:`measured_synthetic`, where they are known already.
    """
    if isinstance(ready, str):
        return Metric.undefined(name, ready, higher_is_better=False, source=source)
    check = ready.check
    described: dict[str, Any] = {
        "unit": "real-versus-real margin (1 = the 95 % quantile between real halves)",
        "n": len(ready.groups),
        "unit_of_n": "groups",
        "n_real": len(ready.holdout),
        "n_synthetic": 0 if synthetic is None else len(synthetic),
        "higher_is_better": False,
        "null": ready.null,
        "source": check.source,
    }
    detail: dict[str, Any] = {
        "estimator": check.estimator,
        "component_unit": check.unit,
        "controls": ready.controls,
        "training_part": ready.training,
        **check.record(ready.frame),
    }
    if reason := blindness(ready) or obstacle_to(ready, synthetic):
        return Metric.undefined(name, reason, detail=detail, **described)
    assert synthetic is not None
    groups, sums = _measured(ready, synthetic, rows)
    if len(groups) < 2:
        reason = TooFew.of("one synthetic group; two or more are needed for an interval", len(groups), 2)
        return Metric.undefined(name, reason, detail=detail, **described)
    parts = _components(ready, ready.sums.sum(axis=0)[None], sums.sum(axis=0)[None])
    value = float(_combined(ready, parts)[0])
    replicates = _replicates(ready, groups, sums, paired=paired)
    detail["components"] = {
        part: {"distance": float(d[0]), "margin": ready.margins[part], "ratio": float(d[0]) / ready.margins[part]}
        for part, d in parts.items()
    }
    interval = basic_interval(value, replicates, min(len(ready.groups), len(groups)), lowest=0.0)
    return Metric(name=name, value=value, ci95=interval, detail=detail, **described)


def blindness(ready: Calibration) -> str:
    """Return which positive controls the check did not flag, so that it may not judge, or ``""``.

    The margin falls as the root of the number of real groups, so a control of effect e would be flagged with about 1 / e² times as many.
    Of one that would need far more no number is named: the check does not see it in such images.
    """
    if not ready.blind_to:
        return ""
    missed = ", ".join(f"{c} (effect {ready.controls[c]:.2f})" for c in ready.blind_to)
    reason = f"positive control not flagged by the check on these data: {missed}"
    least, groups = min(ready.controls[c] for c in ready.blind_to), len(ready.groups)
    if least < _FAR_TOO_SMALL:
        return reason
    needed = max(groups + 1, math.ceil(groups / least**2))
    return TooFew.of(f"{reason}; with about {needed} real groups it would be", groups, needed)


def obstacle_to(ready: Calibration, synthetic: PatchSet | None) -> str:
    """Return why the check cannot be made on these synthetic images, or ``""``."""
    if reason := obstacle_between(ready.holdout, synthetic):
        return reason
    if ready.check.labels == "condition" and (synthetic is None or synthetic.labels is None):
        return "synthetic images carry no condition labels"
    return "" if synthetic is None else ready.check.obstacle_in(synthetic)


def curves(ready: Calibration, synthetic: PatchSet | None, *, rows: Array | None = None) -> dict[str, Array]:
    """Return what to draw: the check's curves for the real holdout (``real-…``) and for the synthetic set (``synthetic-…``).

    ``rows`` are those of :func:`measured_synthetic`, where they are known already.
    """
    out = {f"real-{name}": array for name, array in ready.check.curves(ready.sums.sum(axis=0), ready.frame).items()}
    if not obstacle_to(ready, synthetic):
        assert synthetic is not None
        total = _measured(ready, synthetic, rows)[1].sum(axis=0)
        out |= {f"synthetic-{name}": array for name, array in ready.check.curves(total, ready.frame).items()}
    return out


def _segmenter_missing(check: Check, segment: Segment | None) -> str:
    return "no independent segmenter was trained for this study" if check.labels == "segmented" and segment is None else ""


def _labelled(check: Check, patches: PatchSet, segment: Segment | None) -> PatchSet:
    return segment(patches) if check.labels == "segmented" and segment is not None else patches


def _joined(parts: list[PatchSet]) -> PatchSet:
    import pandas as pd

    first = parts[0]
    labels = None if any(p.labels is None for p in parts) else np.concatenate([p.labels for p in parts if p.labels is not None])
    return replace(
        first,
        images=np.concatenate([p.images for p in parts]),
        labels=labels,
        groups=np.concatenate([np.asarray(p.groups, dtype=str) for p in parts]),
        table=pd.concat([p.table for p in parts], ignore_index=True),
    )


def _finite(distance: Array) -> Array:
    return np.minimum(np.nan_to_num(distance, nan=CEILING, posinf=CEILING), CEILING)


def _measured(ready: Calibration, patches: PatchSet, rows: Array | None) -> tuple[list[str], Array]:
    return by_group(measured_samples(ready, patches) if rows is None else rows, patches.groups)


def measured_synthetic(ready: Calibration | str, synthetic: PatchSet | None) -> Array | None:
    """Return the check's statistics of each synthetic sample, shape (N, ...), which :func:`effect`, :func:`curves` and
    :func:`sciimg.validation.physics.outliers` share; None where there are none, and each of these says why.
    """
    if isinstance(ready, str) or synthetic is None or obstacle_to(ready, synthetic):
        return None
    return measured_samples(ready, synthetic)


def measured_samples(ready: Calibration, patches: PatchSet) -> Array:
    """Return the check's statistics of each sample, shape (N, ...)."""
    return ready.check.measure(_labelled(ready.check, patches, ready.segment), ready.frame)


def _components(ready: Calibration, first: Array, second: Array) -> dict[str, Array]:
    return {name: _finite(d) for name, d in ready.check.distance(first, second, ready.frame).items()}


def _combined(ready: Calibration, parts: dict[str, Array]) -> Array:
    largest: Array = np.max([d / ready.margins[name] for name, d in parts.items()], axis=0)
    return largest / ready.scale


def _effect_of(ready: Calibration, rows: Array) -> float:
    total = rows.sum(axis=0)[None]
    return float(_combined(ready, _components(ready, ready.sums.sum(axis=0)[None], total))[0])


def _planted(ready: Calibration, control: Control, holdout: PatchSet) -> Array:
    """Return the statistics of each holdout image with a control's fault."""
    return measured_samples(ready, control.plant(holdout, generator(*ready.key, ready.check.name, "control", control.name)))


def _beyond(ready: Calibration, rows: Array, real: Typical) -> float:
    return float(np.mean(oddness(ready.check, ready.frame, rows, real)[0] > real.bar))


def _replicates(ready: Calibration, groups: list[str], sums: Array, *, paired: bool) -> Array:
    rng = generator(*ready.key, ready.check.name, "bootstrap")
    weights = resampling_weights(rng, len(ready.groups), ready.bootstrap)
    if paired and set(groups) <= set(ready.groups):
        place = [ready.groups.index(g) for g in groups]
        other = weights[:, place]
    else:
        other = resampling_weights(rng, len(groups), ready.bootstrap)
    keep = other.sum(axis=1) > 0
    return _combined(ready, _components(ready, pooled(ready.sums, weights[keep]), pooled(sums, other[keep])))
