"""Metrics by class, site or acquisition: a set that is good on average may be bad where there is little of it.

Every metric is made for each value of a column on the real and synthetic images that have it, and what is reported, and what a gate may
name, is the worst. A subgroup that cannot be judged might be the worst one: then nothing is said of the worst either.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.protocol.vocabulary import worst_name
from sciimg.records import Metric
from sciimg.types import PatchSet
from sciimg.validation.outcome import shared_shortage

Values = NDArray[np.object_]

MOST_LEVELS = 12  # a column with more is no division into subgroups


def values_of(patches: PatchSet | None, column: str) -> Values | None:
    """Return the value of a column for each image as text; None where there is no such column or no images."""
    if patches is None or column not in patches.table.columns:
        return None
    return patches.table[column].astype(str).to_numpy(dtype=object)


def obstacle(real: Values | None, synthetic: Values | None, column: str) -> str:
    """Return why images cannot be divided by a column, or ``""``."""
    if real is None or synthetic is None:
        return f"the {'real' if real is None else 'synthetic'} images do not say which {column} they are of"
    count = len(np.unique(real.astype(str))) if len(real) else 0
    if count > MOST_LEVELS:
        return f"{column} has {count} values among the holdout images; subgroups are at most {MOST_LEVELS}"
    return "" if count else "there are no holdout images"


def of_value(patches: PatchSet | None, values: Values | None, value: str) -> PatchSet | None:
    """Return the images that have a value; None where nothing is known of them."""
    return None if patches is None or values is None else patches.take(np.flatnonzero(values == value))


def worst(column: str, by_value: Mapping[str, Sequence[Metric]]) -> list[Metric]:
    """Return each metric of the subgroup in which it is worst, with what it is in every other.

    Parameters
    ----------
    by_value : mapping
        Value of the column → the same metrics in the same order. Metrics without a direction have no worst and are left out.
    """
    found = []
    for versions in zip(*by_value.values(), strict=True):
        first = versions[0]
        if first.higher_is_better is None:
            continue
        told = dict(zip(by_value, versions, strict=True))
        detail: dict[str, Any] = {"column": column, "subgroups": {value: _short(m) for value, m in told.items()}}
        name = worst_name(first.name, column)
        blank = {value: m for value, m in told.items() if m.value is None}
        if blank:
            value, metric = next(iter(blank.items()))
            reason = f"in {len(blank)} of {len(told)} subgroups of {column}; {value}: {metric.reason}"
            same: dict[str, Any] = {"higher_is_better": first.higher_is_better, "features": first.features, "source": first.source}
            short = shared_shortage(list(blank.values()))
            found.append(Metric.undefined(name, reason, detail=detail, shortage=short, **same))
            continue
        sign = 1.0 if first.higher_is_better else -1.0
        value = min(told, key=lambda v: sign * float(told[v].value or 0.0))
        found.append(told[value].model_copy(update={"name": name, "detail": {"worst": value, **detail}}))
    return found


def _short(metric: Metric) -> dict[str, Any]:
    if metric.value is None:
        return {"reason": metric.reason}
    return {"value": metric.value, "ci95": metric.ci95, "n": metric.n, "null": None if metric.null is None else metric.null.value}
