"""Downstream use: what synthetic images, joined to a few annotated ones, do for a segmenter on real images it never saw.

Arms, each with the same network, number of steps and batch size: ``real`` (annotated images only), ``classical`` (with flips, turns, zoom,
gain, noise), ``synthetic`` (annotated and synthetic images), ``combined`` (annotated and synthetic, classical augmentation on both).
Where the study asks: ``synthetic-only`` (no real image at all), and ``ratio-N`` (annotated images and N times as many synthetic ones, each
ratio with the synthetic images of the smaller ones and more), where ``synthetic`` draws from all that there are.
Seeds change the annotated images, the weights and the batches, and are the same in every arm, so arms are compared in pairs of
(group, seed). Harm is a negative gain and is reported like any other.

The generator has seen every mask of the training part, while a student sees the few that count as annotated: a gain is a gain over so few
annotations, not over the whole training part, whose own result is given as the ceiling.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.protocol.validation import DownstreamPlan
from sciimg.randomness import generator
from sciimg.records import Metric
from sciimg.types import PatchSet
from sciimg.validation.outcome import faults_of
from sciimg.validation.physics.effect import obstacle_between
from sciimg.validation.pooling import by_group, centred_interval, pooled, resampling_weights
from sciimg.validation.resampling import Interval
from sciimg.validation.scores import f1, object_counts, overlap_counts
from sciimg.validation.segmentation import Training, train_segmenter

Array = NDArray[np.float64]
Arm = str
Result = dict[str, Any]  # {"groups": [...], "dice": (G, K, 3) counts, "f1": (G, 1, 3) counts | None, "annotated": number of images}

BASELINE_ARMS: tuple[Arm, ...] = ("real", "classical")  # they do not depend on any recipe
RECIPE_ARMS: tuple[Arm, ...] = ("synthetic", "combined")
SYNTHETIC_ONLY: Arm = "synthetic-only"
_RATIO = "ratio-"
_GAINS: dict[str, tuple[Arm, Arm]] = {
    "gain_over_real": ("synthetic", "real"),
    "gain_over_classical": ("synthetic", "classical"),
    "gain_added_to_classical": ("combined", "classical"),
    "classical_gain": ("classical", "real"),
}
_SOURCE = "few-shot design after Frid-Adar et al. 2018, doi:10.1016/j.neucom.2018.09.013; Dice 1945, doi:10.2307/1932409"


def recipe_arms(plan: DownstreamPlan) -> tuple[Arm, ...]:
    """Return the arms that depend on the synthetic images, those of the plan's wishes last."""
    alone = (SYNTHETIC_ONLY,) if plan.synthetic_only else ()
    return (*RECIPE_ARMS, *alone, *(f"{_RATIO}{ratio}" for ratio in plan.ratios or ()))


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
    added = _added(arm, synthetic, len(real), (*key, "ratio", seed))
    per_real = _ratio(arm) or plan.synthetic_per_real
    training = Training(steps=plan.steps, augmentation="classical" if arm in ("classical", "combined") else "none")
    seeded: tuple[str | int, ...] = (*key, "student", seed)
    if arm == SYNTHETIC_ONLY:
        assert added is not None
        student = train_segmenter(replace(added, label_kind=train.label_kind), training, key=seeded)
    else:
        student = train_segmenter(real, training, key=seeded, added=added, share=0.0 if added is None else per_real / (1 + per_real))
    predicted, truth = student.segment(holdout).labels, holdout.labels
    assert predicted is not None and truth is not None and holdout.label_kind is not None
    classes = int(truth.max(initial=0)) + 1
    names, pixels = by_group(overlap_counts(predicted, truth, holdout.label_kind, classes), holdout.groups)
    objects = by_group(object_counts(predicted, truth), holdout.groups)[1].tolist() if holdout.label_kind == "instances" else None
    result = {"groups": names, "dice": pixels.tolist(), "f1": objects, "annotated": 0 if arm == SYNTHETIC_ONLY else len(real)}
    return result if arm in (*BASELINE_ARMS, *RECIPE_ARMS) else result | {"synthetic": 0 if added is None else len(added)}


def too_few(arm: Arm, plan: DownstreamPlan, *, train: PatchSet, synthetic: PatchSet, key: tuple[str, ...]) -> str:
    """Return why an arm lacks synthetic images under some seed, or ``""``."""
    wanted = max((_ratio(arm) or 0) * len(annotated(train, plan, seed, key)) for seed in range(plan.seeds))
    return f"{arm} needs {wanted} synthetic images; there are {len(synthetic)}" if wanted > len(synthetic) else ""


def _ratio(arm: Arm) -> int | None:
    return int(arm.removeprefix(_RATIO)) if arm.startswith(_RATIO) else None


def _added(arm: Arm, synthetic: PatchSet | None, annotated_images: int, key: tuple[str | int, ...]) -> PatchSet | None:
    """Return the synthetic images that an arm learns from; a ratio has as many as it says, the first of one order under each seed."""
    if arm in BASELINE_ARMS or synthetic is None:
        return None
    ratio = _ratio(arm)
    return synthetic if ratio is None else synthetic.take(generator(*key).permutation(len(synthetic))[: ratio * annotated_images].tolist())


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


def names(kind: str | None, plan: DownstreamPlan) -> list[str]:
    """Return the names of all downstream metrics of a plan."""
    stems = [*(f"score_{arm}" for arm in (*BASELINE_ARMS, *recipe_arms(plan))), *_gains(plan)]
    return [_named(stem, score) for score in _scores(kind) for stem in stems]


def downstream_metrics(
    results: Mapping[tuple[Arm, int], Result],
    plan: DownstreamPlan,
    *,
    kind: str | None,
    bootstrap: int,
    key: tuple[str, ...],
    ceiling: float | None,
    missing: Mapping[Arm, str] | None = None,
) -> list[Metric]:
    """Return the score of each arm and the gains between arms, from every arm's result under every seed.

    ``missing`` says why there are no results of an arm.

    Intervals resample groups and seeds, both with replacement and jointly for the two arms of a gain (Owen 2007,
    doi:10.1214/07-AOAS122): a gain has to hold in other fields and under other seeds.
    """
    missing = missing or {}
    arms = tuple(arm for arm in (*BASELINE_ARMS, *recipe_arms(plan)) if arm not in missing)
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
        counts = {arm: np.array([results[arm, s][score] for s in range(plan.seeds)]) for arm in arms}
        per_seed = {arm: f1(c.sum(axis=1)) for arm, c in counts.items()}
        rounds = {
            arm: (np.stack([f1(pooled(c[s], group_weights)) for s in range(plan.seeds)], axis=1) * seed_weights).sum(axis=1)
            for arm, c in counts.items()
        }
        for arm, values in per_seed.items():
            more = detail | {"per_seed": values.tolist()} | _images(arm, results)
            out.append(_metric(_named(f"score_{arm}", score), float(values.mean()), rounds[arm], more, about, (0.0, 1.0)))
        for gain, (better, worse) in _gains(plan).items():
            if better in missing:
                continue
            difference = per_seed[better] - per_seed[worse]
            more = detail | {"per_seed": difference.tolist(), "arms": [better, worse]} | _images(better, results)
            out.append(_metric(_named(gain, score), float(difference.mean()), rounds[better] - rounds[worse], more, about, (-1.0, 1.0)))
        for arm, reason in missing.items():
            stems = [f"score_{arm}", *(gain for gain, (better, _) in _gains(plan).items() if better == arm)]
            out += [Metric.undefined(_named(stem, score), reason, detail=detail, **about) for stem in stems]
    return out


def _gains(plan: DownstreamPlan) -> dict[str, tuple[Arm, Arm]]:
    return _GAINS | {f"gain_{arm}_over_real": (arm, "real") for arm in recipe_arms(plan) if arm not in RECIPE_ARMS}


def _images(arm: Arm, results: Mapping[tuple[Arm, int], Result]) -> dict[str, Any]:
    """Return how many images an arm of the plan's wishes learnt from."""
    first = results[arm, 0]
    if "synthetic" not in first:
        return {}
    return {"annotated_images": first["annotated"], "synthetic_images": first["synthetic"], "synthetic_per_real": _ratio(arm)}


def _scores(kind: str | None) -> tuple[str, ...]:
    return ("dice", "f1") if kind == "instances" else ("dice",)


def _named(stem: str, score: str) -> str:
    """``downstream_gain_over_classical`` speaks of Dice; the same for objects is ``downstream_f1_gain_over_classical``."""
    return f"downstream_{stem}" if score == "dice" else f"downstream_{score}_{stem}"


def _metric(name: str, value: float, rounds: Array, detail: Result, about: dict[str, Any], within: Interval) -> Metric:
    known = rounds[np.isfinite(rounds)]
    if not np.isfinite(value) or not known.size:
        known_detail = {k: v for k, v in detail.items() if k != "per_seed"}
        return Metric.undefined(name, "the real holdout holds no object", detail=known_detail, **about)
    return Metric(name=name, value=value, ci95=centred_interval(value, known, about["n"], within=within), detail=detail, **about)
