"""Does a synthetic image show the mask it was made for? An independent segmenter reads the mask back.

The segmenter errs on real images too, so its Dice on synthetic images is given relative to its Dice on the real holdout.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric, Null
from sciimg.types import PatchSet
from sciimg.validation.outcome import faults_of
from sciimg.validation.physics.effect import obstacle_between
from sciimg.validation.pooling import by_group, centred_interval, disjoint_sets, pooled, resampling_weights
from sciimg.validation.resampling import UNBOUNDED, Interval, quotient_interval
from sciimg.validation.scores import f1, object_counts, overlap_counts
from sciimg.validation.segmentation import Segmenter

Array = NDArray[np.float64]

_LEAST_GROUPS = 8  # two halves of four: with fewer there are too few splits for a null
_SOURCE = "Dice 1945, doi:10.2307/1932409; objects at IoU > 0.5: Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7"


def mask_fidelity(
    segmenter: Segmenter | None,
    holdout: PatchSet,
    synthetic: PatchSet | None,
    *,
    bootstrap: int = 200,
    key: tuple[str, ...],
    suffix: str = "",
) -> list[Metric]:
    """Return ``mask-dice``, ``mask-fidelity`` (Dice relative to the real holdout) and, for instances, ``mask-object-f1`` and its ratio.

    Intervals resample groups of the real and of the synthetic side. The null is the ratio between random halves of the holdout.
    """
    names = ["mask-dice", "mask-fidelity"]
    if holdout.label_kind == "instances":
        names += ["mask-object-f1", "mask-object-fidelity"]
    if reason := _obstacle(segmenter, holdout, synthetic):
        return [Metric.undefined(f"{name}{suffix}", reason, higher_is_better=True, source=_SOURCE) for name in names]
    assert segmenter is not None and synthetic is not None
    real_counts, synthetic_counts = _counts(segmenter, holdout), _counts(segmenter, synthetic)
    out: list[Metric] = []
    for index, (real, made) in enumerate(zip(real_counts, synthetic_counts, strict=True)):
        value, ratio = (f"{name}{suffix}" for name in names[2 * index : 2 * index + 2])
        out += _compared(value, ratio, real, made, bootstrap, (*key, value), (len(holdout), len(synthetic)))
    return out


def own_scores(segmenter: Segmenter, holdout: PatchSet, names: tuple[str, str], *, bootstrap: int, key: tuple[str, ...]) -> list[Metric]:
    """Return Dice and, for instances, object F1 of the segmenter on the real holdout, under the given names: what it can judge at all."""
    out = []
    for name, (groups, sums) in zip(names, _counts(segmenter, holdout), strict=False):
        about: dict[str, Any] = {
            "n": len(groups),
            "unit_of_n": "groups",
            "n_real": len(holdout),
            "higher_is_better": True,
            "source": _SOURCE,
        }
        value = float(f1(sums.sum(0)))
        if not np.isfinite(value):
            out.append(Metric.undefined(name, "neither the holdout's labels nor the predictions hold an object", **about))
            continue
        rounds = f1(pooled(sums, resampling_weights(generator(*key, name), len(groups), bootstrap)))
        out.append(Metric(name=name, value=value, ci95=_interval(value, rounds, len(groups)), unit="1", **about))
    return out


def _obstacle(segmenter: Segmenter | None, holdout: PatchSet, synthetic: PatchSet | None) -> str:
    if segmenter is None:
        return "no independent segmenter was trained for this study (the real images have no labels)"
    if holdout.labels is None:
        return "the real holdout has no labels"
    if reason := faults_of(holdout, "real holdout") or obstacle_between(holdout, synthetic):
        return reason
    if synthetic is None or synthetic.labels is None:
        return "synthetic images carry no condition labels"
    return "" if np.any(synthetic.labels > 0) else "the condition labels of the synthetic images are empty"


def _counts(segmenter: Segmenter, patches: PatchSet) -> list[tuple[list[str], Array]]:
    """Return group names and group sums of pixel counts and, for instances, of object counts."""
    predicted, truth = segmenter.segment(patches).labels, patches.labels
    assert predicted is not None and truth is not None
    counts = [overlap_counts(predicted, truth, segmenter.kind, segmenter.classes)]
    if segmenter.kind == "instances":
        counts.append(object_counts(predicted, truth))
    return [by_group(c, patches.groups) for c in counts]


def _compared(
    value: str,
    ratio: str,
    real: tuple[list[str], Array],
    made: tuple[list[str], Array],
    bootstrap: int,
    key: tuple[str, ...],
    sizes: tuple[int, int],
) -> list[Metric]:
    (real_groups, real_sums), (made_groups, made_sums) = real, made
    rng = generator(*key, "bootstrap")
    real_weights = resampling_weights(rng, len(real_groups), bootstrap)
    made_weights = resampling_weights(rng, len(made_groups), bootstrap)
    on_real, on_made = float(f1(real_sums.sum(0))), float(f1(made_sums.sum(0)))
    real_rounds, made_rounds = f1(pooled(real_sums, real_weights)), f1(pooled(made_sums, made_weights))
    about: dict[str, Any] = {
        "n": len(real_groups),
        "unit_of_n": "groups",
        "n_real": sizes[0],
        "n_synthetic": sizes[1],
        "higher_is_better": True,
        "source": _SOURCE,
    }
    if not np.isfinite(on_made):
        return [Metric.undefined(name, "neither masks nor predictions hold an object", **about) for name in (value, ratio)]
    real_interval = _interval(on_real, real_rounds, len(real_groups))
    interval = _interval(on_made, made_rounds, len(made_groups))
    first = Metric(name=value, value=on_made, ci95=interval, null=Null(value=on_real, ci95=real_interval), unit="1", **about)
    if not on_real > 0.2:
        reason = f"the segmenter's score on the real holdout is {on_real:.2f}: it cannot judge (0.2 is needed)"
        return [first, Metric.undefined(ratio, reason, **about)]
    rounds = made_rounds / np.where(real_rounds > 0, real_rounds, np.nan)
    detail = {"on_real_holdout": on_real, "on_synthetic": on_made}
    null = _null_ratio(real_sums, generator(*key, "null"))
    quotient = on_made / on_real
    fewer = min(len(real_groups), len(made_groups))
    of_ratio = _interval(quotient, rounds, fewer, UNBOUNDED) or quotient_interval(interval, real_interval)
    return [first, Metric(name=ratio, value=quotient, ci95=of_ratio, null=null, unit="ratio", detail=detail, **about)]


def _interval(value: float, rounds: Array, groups: int, within: Interval = (0.0, 1.0)) -> Interval | None:
    rounds = rounds[np.isfinite(rounds)]
    return centred_interval(value, rounds, groups, lowest=0.0, within=within) if rounds.size else None


def _null_ratio(sums: Array, rng: np.random.Generator) -> Null | None:
    if len(sums) < _LEAST_GROUPS:
        return None
    first, second = disjoint_sets(rng, len(sums), len(sums) // 2, 200)
    ratios = f1(pooled(sums, first)) / f1(pooled(sums, second))
    ratios = ratios[np.isfinite(ratios)]
    if not ratios.size:
        return None
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Null(value=float(np.median(ratios)), ci95=(float(low), float(high)))
