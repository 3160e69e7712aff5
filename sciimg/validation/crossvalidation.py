"""Metrics of the folds of a cross-validation, pooled: their mean, how far they lie apart, and an interval that knows that folds share data.

Any two folds train on mostly the same images, so their results are correlated, and s² / k understates the variance of the mean of k of
them. The interval is that of the corrected resampled t-test: with n_1 units trained on and n_2 held out in a fold, the correlation is about
n_2 / (n_1 + n_2), and

    mean ± t(0.975, k - 1) · s · sqrt(1 / k + n_2 / n_1).

No unbiased estimator of that variance exists (Bengio & Grandvalet 2004); this one errs, where it errs, towards too wide. Where all folds
give the same value (no copy in any of them), their spread says nothing; the interval is then the mean of the folds' own lower and upper
ends, which holds however correlated they are.

References
----------
Nadeau C, Bengio Y (2003) Inference for the generalization error. Mach Learn 52, eq. 9. doi:10.1023/A:1024068626366
Bengio Y, Grandvalet Y (2004) No unbiased estimator of the variance of k-fold cross-validation. JMLR 5:1089-1105
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from sciimg.protocol.vocabulary import FOLDS
from sciimg.records import Metric, Null, Shortage
from sciimg.validation.outcome import shared_shortage

Interval = tuple[float, float]

SOURCE = "mean over folds, interval of Nadeau & Bengio 2003, doi:10.1023/A:1024068626366"
FEWEST = 3


def corrected_interval(values: Sequence[float], held_out_per_trained: float, own: Sequence[Interval | None] = ()) -> Interval | None:
    """Return the 95 % interval of the mean over folds; None where they do not differ and have no intervals of their own.

    Parameters
    ----------
    values : sequence of float
        One a fold.
    held_out_per_trained : float
        n_2 / n_1: independent units held out for each that was trained on.
    own : sequence of (float, float) or None
        The interval of each fold's value.
    """
    spread, centre = spread_of(values), float(np.mean(values))
    if spread > 0:
        half = float(stats.t.ppf(0.975, len(values) - 1)) * spread * math.sqrt(1 / len(values) + held_out_per_trained)
        return centre - half, centre + half
    known = [interval for interval in own if interval is not None]
    if not known or len(known) < len(values):
        return None
    return float(np.mean([low for low, _ in known])), float(np.mean([high for _, high in known]))


def spread_of(values: Sequence[float]) -> float:
    """Return the standard deviation between folds; exactly 0 where all are the same."""
    return 0.0 if min(values) == max(values) else float(np.std(values, ddof=1))


def pooled(found: Sequence[Sequence[Metric]], held_out_per_trained: float, *, obstacle: str = "") -> list[Metric]:
    """Return the metrics of all folds as one list, each named ``METRIC_folds``.

    A metric that one fold cannot give is undefined: a mean over those that could would be a mean over chosen folds.

    Parameters
    ----------
    found : sequence of sequence of Metric
        What judges reported in each fold.
    held_out_per_trained : float
        See :func:`corrected_interval`.
    obstacle : str
        Why no number of these folds may be believed, where there is a reason.

    Returns
    -------
    list of Metric
        ``n`` counts folds. ``detail`` has ``spread`` (standard deviation between folds), ``held_out_per_trained`` and, for each of
        ``folds``, value, interval and n, or the reason why there is none. The null is pooled in the same way.
    """
    by_name: dict[str, dict[int, Metric]] = {}
    for fold, metrics in enumerate(found):
        for metric in metrics:
            by_name.setdefault(metric.name, {})[fold] = metric
    return [_pooled([own.get(fold) for fold in range(len(found))], held_out_per_trained, obstacle) for own in by_name.values()]


def _pooled(own: Sequence[Metric | None], ratio: float, obstacle: str) -> Metric:
    first = next(m for m in own if m is not None)
    name = first.name + FOLDS
    about = first.model_dump(include={"higher_is_better", "features", "unit"})
    about |= {"n": len(own), "unit_of_n": "folds", "source": SOURCE}
    folds = [_fold(metric) for metric in own]
    values = [m.value for m in own if m is not None and m.value is not None]
    if obstacle or len(values) < max(len(own), FEWEST):
        reason = obstacle or next((f"fold {i}: {f['reason']}" for i, f in enumerate(folds, start=1) if "reason" in f), "too few folds")
        blank = [m for m in own if m is None or m.value is None]
        few = None if obstacle else shared_shortage(blank) if blank else Shortage(found=len(own), needed=FEWEST, of="folds")
        return Metric.undefined(name, reason, detail={"folds": folds}, shortage=few, **about)
    nulls = [m.null for m in own if m is not None and m.null is not None]
    null = _mean_null(nulls, ratio) if len(nulls) == len(own) else None
    interval = corrected_interval(values, ratio, [m.ci95 for m in own if m is not None])
    detail = {"folds": folds, "spread": spread_of(values), "held_out_per_trained": ratio}
    return Metric(name=name, value=float(np.mean(values)), ci95=interval, null=null, detail=detail, **about)


def _mean_null(nulls: Sequence[Null], ratio: float) -> Null:
    values = [null.value for null in nulls]
    return Null(value=float(np.mean(values)), ci95=corrected_interval(values, ratio, [null.ci95 for null in nulls]))


def _fold(metric: Metric | None) -> dict[str, object]:
    """Return what is kept of a metric of one fold."""
    if metric is None:
        return {"reason": "not measured"}
    if metric.value is None:
        return {"reason": metric.reason}
    return {"value": metric.value, "ci95": metric.ci95, "n": metric.n, "unit_of_n": metric.unit_of_n}
