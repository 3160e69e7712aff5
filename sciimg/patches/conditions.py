"""The value of every condition for every patch, measured on it or looked up in the catalogue."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.protocol.models import ClassCondition, Condition, ImageCondition, MaskCondition, ScalarCondition, TextCondition
from sciimg.types import PatchSet


def condition_table(patches: PatchSet, conditions: Sequence[Condition], rows: pd.DataFrame) -> pd.DataFrame:
    """Return one column a condition; masks have none, because the labels are the condition.

    Parameters
    ----------
    patches : PatchSet
    conditions : sequence of Condition
        Scalars give float columns, classes text.
    rows : DataFrame with as many rows as there are patches
        The catalogue's row of each patch's image.

    Raises
    ------
    InputError
        All problems of :func:`condition_problems`.
    """
    if problems := condition_problems(conditions, patches.channels, patches.labels is not None, rows):
        raise InputError(problems)
    catalogue = {c: rows[c].to_numpy() for c in columns_of(conditions)}
    return pd.DataFrame(measure(patches.images, patches.labels, patches.channels, conditions, catalogue), index=range(len(patches)))


def columns_of(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Return the columns of the catalogue that the conditions read."""
    found = [c.column for c in conditions if isinstance(c, ClassCondition | ScalarCondition) and c.column is not None]
    own = {c.name for c in conditions}
    found += [field for c in conditions if isinstance(c, TextCondition) for field in fields_of(c.template) if field not in own]
    return tuple(dict.fromkeys(found))


def fields_of(template: str) -> tuple[str, ...]:
    """Return the names in braces of a caption's template."""
    return tuple(field for _, field, _, _ in Formatter().parse(template) if field)


def measure(
    images: NDArray[Any],
    labels: NDArray[np.int32] | None,
    channels: Sequence[str],
    conditions: Sequence[Condition],
    catalogue: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the values by condition for checked conditions.

    Parameters
    ----------
    images : array, shape (N, C, [Z,] Y, X)
    labels : array, shape (N, [Z,] Y, X), or None
    catalogue : mapping
        N values for each column that the conditions read.
    """
    values: dict[str, Any] = {}
    for condition in conditions:
        match condition:
            case MaskCondition() | ImageCondition() | TextCondition():
                continue
            case ClassCondition():
                values[condition.name] = [str(v) for v in catalogue[condition.column]]
            case ScalarCondition(measure="channel-mean"):
                channel = images[:, channels.index(str(condition.channel))]
                values[condition.name] = channel.mean(axis=tuple(range(1, channel.ndim)), dtype=np.float64)
            case ScalarCondition(measure="foreground-fraction"):
                assert labels is not None
                values[condition.name] = np.array([np.count_nonzero(mask) / mask.size for mask in labels])
            case ScalarCondition():
                values[condition.name] = np.asarray(catalogue[str(condition.column)], dtype=np.float64)
    for condition in conditions:
        if isinstance(condition, TextCondition):
            told = {field: values[field] if field in values else catalogue[field] for field in fields_of(condition.template)}
            rows = [{field: _word(column[i]) for field, column in told.items()} for i in range(len(images))]
            values[condition.name] = [condition.template.format(**row) for row in rows]
    return values


def _word(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def condition_problems(conditions: Sequence[Condition], channels: Sequence[str], labelled: bool, rows: pd.DataFrame) -> list[Problem]:
    """Return what keeps conditions from having a value: kinds ``unknown-channel``, ``no-labels``, ``unknown-column``, ``no-value``."""
    problems = [_problem(condition, channels, labelled, rows) for condition in conditions]
    return [p for p in problems if p is not None]


def _problem(condition: Condition, channels: Sequence[str], labelled: bool, rows: pd.DataFrame) -> Problem | None:
    where = f"conditions.{condition.name}"
    match condition:
        case ScalarCondition(measure="channel-mean") if condition.channel not in channels:
            message = f"A channel mean needs a channel of the images ({', '.join(channels)}); got {condition.channel!r}."
            return Problem(where, "unknown-channel", message)
        case ImageCondition(channels=given) if missing := [name for name in given if name not in channels]:
            message = f"A source image needs channels of the images ({', '.join(channels)}); there is no {', '.join(map(repr, missing))}."
            return Problem(where, "unknown-channel", message)
        case ImageCondition(channels=given) if len(given) == len(channels):
            return Problem(where, "nothing-to-make", "Every channel is given; leave at least one for the recipe to make.")
        case MaskCondition() | ScalarCondition(measure="foreground-fraction") if not labelled:
            message = "This condition is read from label images, and the collection has none. Give `labels` in every source."
            return Problem(where, "no-labels", message)
        case ClassCondition() | ScalarCondition(measure="column"):
            return _column_problem(where, condition.column, rows, number=isinstance(condition, ScalarCondition))
        case _:
            return None


def _column_problem(where: str, column: str | None, rows: pd.DataFrame, *, number: bool) -> Problem | None:
    if column not in rows:
        message = f"There is no column {column!r}; the catalogue has {', '.join(map(str, rows.columns))}. Give it in the source's table."
        return Problem(where, "unknown-column", message)
    values = pd.to_numeric(rows[column], errors="coerce") if number else rows[column]
    if values.isna().any():
        images = rows.loc[values.isna(), "id"].astype(str).unique() if "id" in rows else np.array([], dtype=str)
        kind = "a number" if number else "a value"
        shown = f" {', '.join(images[:5])}" if len(images) else " some"
        return Problem(where, "no-value", f"Column {column!r} must hold {kind} for every image; it does not for{shown}. Fill it in.")
    return None
