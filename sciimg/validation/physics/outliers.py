"""How many synthetic samples are unlike real ones, each by itself: what pooled statistics of a set cannot tell.

A set may be right on the whole and still hold samples that are grossly wrong. The share of samples beyond the bar of
:mod:`sciimg.validation.physics.typical` comes with its exact interval (Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404); a gate looks
at its upper end. Of real samples 5 % lie outside. How many do in practice is said by halves of the real groups, the bar from one, the
samples from the other: real images of another place may well lie outside more often. The interval counts samples: where synthetic samples
share groups it is too narrow.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric, Null
from sciimg.types import PatchSet
from sciimg.validation.physics.effect import Calibration, blindness, measured_samples, obstacle_to
from sciimg.validation.physics.typical import Typical, bar_of, oddness
from sciimg.validation.resampling import half_splits, percentile_interval, proportion_interval

Array = NDArray[np.float64]

SOURCE = "bar: Lei et al. 2018, doi:10.1080/01621459.2017.1307116; interval: Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404"
_SPLITS = 200


def outliers(ready: Calibration | str, synthetic: PatchSet | None, *, name: str, rows: Array | None = None) -> Metric:
    """Return the share of synthetic samples outside the central 95 % of real ones, with its exact interval.

    Parameters
    ----------
    ready : Calibration or str
        Of :func:`sciimg.validation.physics.calibrate`; a string is the reason why there is none.
    synthetic : PatchSet or None
    name : str
        Name of the metric.
    rows : array, shape (N, ...), optional
        Of :func:`sciimg.validation.physics.measured_synthetic`, where they are known already.

    Returns
    -------
    Metric
        ``detail`` has the ``bar`` (1 is about where the component that rules ends for 95 % of real samples), the share of samples beyond it
        for each of the check's ``controls``, and how many samples each component puts ``beyond`` it.
    """
    if isinstance(ready, str):
        return Metric.undefined(name, ready, higher_is_better=False, source=SOURCE)
    real = ready.typical
    described: dict[str, Any] = {
        "unit": "share of samples outside the central 95 % of real ones",
        "n": 0 if synthetic is None else len(synthetic),
        "n_real": 0 if isinstance(real, str) else len(real.oddness),
        "n_synthetic": 0 if synthetic is None else len(synthetic),
        "higher_is_better": False,
        "source": SOURCE,
    }
    if isinstance(real, str):
        return Metric.undefined(name, real, **described)
    described["null"] = real_share(real, (*ready.key, ready.check.name))
    detail: dict[str, Any] = {"estimator": ready.check.estimator, "bar": real.bar, "controls": ready.beyond}
    if reason := blindness(ready) or obstacle_to(ready, synthetic):
        return Metric.undefined(name, reason, detail=detail, **described)
    assert synthetic is not None
    measured = measured_samples(ready, synthetic) if rows is None else rows
    odd, parts = oddness(ready.check, ready.frame, measured, real)
    outside = odd > real.bar
    count = int(outside.sum())
    detail["beyond"] = dict(Counter(part for part, beyond in zip(parts, outside, strict=True) if beyond))
    return Metric(name=name, value=count / len(odd), ci95=proportion_interval(count, len(odd)), detail=detail, **described)


def real_share(real: Typical, key: tuple[str, ...]) -> Null:
    """Return the share of real samples that lie beyond a bar from real samples of other groups, over random halves of the groups."""
    splits = half_splits(real.groups, real.groups, generator(*key, "outliers"), rounds=_SPLITS)
    shares = np.array([float((real.oddness[s.real] > bar_of(real.oddness[s.reference])).mean()) for s in splits])
    return Null(value=float(np.median(shares)), ci95=percentile_interval(shares))
