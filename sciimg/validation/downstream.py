"""Downstream use: what synthetic images, joined to a few annotated ones, do for a segmenter on real images it never saw.

Arms, each with the same network, number of steps and batch size: ``real`` (annotated images only), ``classical`` (with flips, turns, zoom,
gain, noise), ``synthetic`` (annotated and synthetic images), ``combined`` (annotated and synthetic, classical augmentation on both).
Seeds change the annotated images, the weights and the batches, and are the same in every arm, so arms are compared in pairs of
(group, seed). Harm is a negative gain and is reported like any other.

The generator has seen every mask of the training part, while a student sees the few that count as annotated: a gain is a gain over so few
annotations, not over the whole training part, whose own result is given as the ceiling.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sciimg.protocol.models import DownstreamPlan
from sciimg.randomness import generator
from sciimg.records import Metric
from sciimg.types import PatchSet
from sciimg.validation.outcome import faults_of
from sciimg.validation.physics.effect import obstacle_between
from sciimg.validation.pooling import by_group, centred_interval, pooled, resampling_weights
from sciimg.validation.scores import f1, object_counts, overlap_counts
from sciimg.validation.segmentation import Training, train_segmenter

Array = NDArray[np.float64]
Arm = Literal["real", "classical", "synthetic", "combined"]
Result = dict[str, Any]  # {"groups": [...], "dice": (G, K, 3) counts, "f1": (G, 1, 3) counts | None}

BASELINE_ARMS: tuple[Arm, ...] = ("real", "classical")  # they do not depend on any recipe
RECIPE_ARMS: tuple[Arm, ...] = ("synthetic", "combined")
_GAINS: dict[str, tuple[Arm, Arm]] = {
    "gain_over_real": ("synthetic", "real"),
    "gain_over_classical": ("synthetic", "classical"),
    "gain_added_to_classical": ("combined", "classical"),
    "classical_gain": ("classical", "real"),
}
_SOURCE = "few-shot design after Frid-Adar et al. 2018, doi:10.1016/j.neucom.2018.09.013; Dice 1945, doi:10.2307/1932409"


def annotated(train: PatchSet, plan: DownstreamPlan, seed: int, key: tuple[str, ...]) -> PatchSet:
    """Return the training patches that count as annotated under this seed: as many groups as possible, or as many as the plan allows."""
    rng = generator(*key, "annotated", seed)
    has_object = np.array([bool(np.any(label > 0)) for label in train.labels]) if train.labels is not None else np.zeros(len(train), bool)
    groups = np.asarray(train.groups, dtype=str)
    names = rng.permutation(np.unique(groups[has_object]))[: plan.annotated_groups]
    shuffled = {name: rng.permutation(np.flatnonzero(has_object & (groups == name))) for name in names}
    turns = max((len(rows) for rows in shuffled.values()), default=0)
    order = [int(rows[turn]) for turn in range(turns) for rows in shuffled.values() if turn < len(rows)]
    return train.take(order[: plan.annotated_images])


def run_arm(
    arm: Arm, seed: int, plan: DownstreamPlan, *, train: PatchSet, holdout: PatchSet, synthetic: PatchSet | None, key: tuple[str, ...]
) -> Result:
    """Train one student and count its hits and misses on the real holdout, by group."""
    real = annotated(train, plan, seed, key)
    with_synthetic = arm in RECIPE_ARMS
    share = plan.synthetic_per_real / (1 + plan.synthetic_per_real) if with_synthetic else 0.0
    training = Training(steps=plan.steps, augmentation="classical" if arm in ("classical", "combined") else "none")
    student = train_segmenter(real, training, key=(*key, "student", seed), added=synthetic if with_synthetic else None, share=share)
    predicted, truth = student.segment(holdout).labels, holdout.labels
    assert predicted is not None and truth is not None and holdout.label_kind is not None
    classes = int(truth.max(initial=0)) + 1
    names, pixels = by_group(overlap_counts(predicted, truth, holdout.label_kind, classes), holdout.groups)
    objects = by_group(object_counts(predicted, truth), holdout.groups)[1].tolist() if holdout.label_kind == "instances" else None
    return {"groups": names, "dice": pixels.tolist(), "f1": objects, "annotated": len(real)}


def obstacle(train: PatchSet, holdout: PatchSet, synthetic: PatchSet | None = None, *, with_synthetic: bool = False) -> str:
    """Return why there can be no downstream comparison, or ``""``."""
    for what, part in (("training", train), ("real holdout", holdout)):
        if reason := faults_of(part, what):
            return reason
        if part.labels is None or not np.any(part.labels > 0):
            return f"the {what} images have no labels"
    if not with_synthetic:
        return ""
    if reason := obstacle_between(holdout, synthetic):
        return reason
    return "" if synthetic is not None and synthetic.labels is not None else "synthetic images carry no condition labels"


def names(kind: str | None) -> list[str]:
    """Return the names of all downstream metrics."""
    stems = [*(f"score_{arm}" for arm in (*BASELINE_ARMS, *RECIPE_ARMS)), *_GAINS]
    return [_named(stem, score) for score in _scores(kind) for stem in stems]


def downstream_metrics(
    results: Mapping[tuple[Arm, int], Result],
    plan: DownstreamPlan,
    *,
    kind: str | None,
    bootstrap: int,
    key: tuple[str, ...],
    ceiling: float | None,
) -> list[Metric]:
    """Return the score of each arm and the gains between arms, from every arm's result under every seed.

    Intervals resample groups and seeds, both with replacement and jointly for the two arms of a gain (Owen 2007,
    doi:10.1214/07-AOAS122): a gain has to hold in other fields and under other seeds.
    """
    groups = next(iter(results.values()))["groups"]
    detail = {
        "seeds": plan.seeds,
        "steps": plan.steps,
        "annotated_images": next(iter(results.values()))["annotated"],
        "synthetic_per_real": plan.synthetic_per_real,
        "dice_of_whole_training_part": ceiling,
    }
    about: dict[str, Any] = {"n": len(groups), "unit_of_n": "groups", "higher_is_better": True, "source": _SOURCE, "unit": "1"}
    rng = generator(*key, "bootstrap")
    group_weights = resampling_weights(rng, len(groups), bootstrap)
    seed_weights = resampling_weights(rng, plan.seeds, bootstrap) / plan.seeds
    out = []
    for score in _scores(kind):
        counts = {arm: np.array([results[arm, s][score] for s in range(plan.seeds)]) for arm in (*BASELINE_ARMS, *RECIPE_ARMS)}
        per_seed = {arm: f1(c.sum(axis=1)) for arm, c in counts.items()}
        rounds = {
            arm: (np.stack([f1(pooled(c[s], group_weights)) for s in range(plan.seeds)], axis=1) * seed_weights).sum(axis=1)
            for arm, c in counts.items()
        }
        for arm, values in per_seed.items():
            more = detail | {"per_seed": values.tolist()}
            out.append(_metric(_named(f"score_{arm}", score), float(values.mean()), rounds[arm], more, about))
        for gain, (better, worse) in _GAINS.items():
            difference = per_seed[better] - per_seed[worse]
            more = detail | {"per_seed": difference.tolist(), "arms": [better, worse]}
            out.append(_metric(_named(gain, score), float(difference.mean()), rounds[better] - rounds[worse], more, about))
    return out


def _scores(kind: str | None) -> tuple[str, ...]:
    return ("dice", "f1") if kind == "instances" else ("dice",)


def _named(stem: str, score: str) -> str:
    """``downstream_gain_over_classical`` speaks of Dice; the same for objects is ``downstream_f1_gain_over_classical``."""
    return f"downstream_{stem}" if score == "dice" else f"downstream_{score}_{stem}"


def _metric(name: str, value: float, rounds: Array, detail: Result, about: dict[str, Any]) -> Metric:
    known = rounds[np.isfinite(rounds)]
    if not np.isfinite(value) or not known.size:
        known_detail = {k: v for k, v in detail.items() if k != "per_seed"}
        return Metric.undefined(name, "the real holdout holds no object", detail=known_detail, **about)
    return Metric(name=name, value=value, ci95=centred_interval(value, known), detail=detail, **about)
