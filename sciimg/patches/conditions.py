"""The value of every condition for every patch, measured or looked up."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.protocol.models import ClassCondition, Condition, MaskCondition, ScalarCondition


def condition_table(
    images: NDArray[Any],
    labels: NDArray[np.int32] | None,
    channels: tuple[str, ...],
    rows: pd.DataFrame,
    conditions: Iterable[Condition],
) -> pd.DataFrame:
    """Return one column a condition (masks have none: the labels are the condition).

    Parameters
    ----------
    images : array, shape (N, C, [Z,] Y, X)
    labels : array, shape (N, [Z,] Y, X), or None
    channels : tuple of str
    rows : DataFrame with N rows
        The catalogue's row of each patch's image.
    conditions : iterable of Condition

    Raises
    ------
    InputError
        Kinds ``unknown-channel``, ``unknown-column``, ``no-labels``, ``no-value``.
    """
    columns: dict[str, Any] = {}
    for condition in conditions:
        match condition:
            case MaskCondition():
                continue
            case ScalarCondition(measure="channel-mean"):
                columns[condition.name] = _channel(images, channels, condition)
            case ScalarCondition(measure="foreground-fraction"):
                if labels is None:
                    raise InputError(Problem(condition.name, "no-labels", "A foreground fraction needs labels; this source has none."))
                columns[condition.name] = (labels > 0).reshape(len(labels), -1).mean(1)
            case ScalarCondition():
                columns[condition.name] = _column(rows, condition.name, condition.column).astype(float)
            case ClassCondition():
                columns[condition.name] = _column(rows, condition.name, condition.column).astype(str)
    return pd.DataFrame(columns, index=range(len(images)))


def _channel(images: NDArray[Any], channels: tuple[str, ...], condition: ScalarCondition) -> NDArray[np.float64]:
    if condition.channel not in channels:
        message = f"There is no channel {condition.channel!r}; the images have: {', '.join(channels)}."
        raise InputError(Problem(condition.name, "unknown-channel", message))
    plane = images[:, channels.index(condition.channel)]
    return np.asarray(plane.reshape(len(images), -1).mean(1, dtype=np.float64))


def _column(rows: pd.DataFrame, name: str, column: str | None) -> NDArray[Any]:
    if column not in rows:
        message = f"There is no column {column!r}; the catalogue has: {', '.join(rows.columns)}. Give it in the source's table."
        raise InputError(Problem(name, "unknown-column", message))
    values = rows[column]
    if values.isna().any():
        missing = ", ".join(rows.loc[values.isna(), "id"].astype(str).unique()[:5])
        raise InputError(Problem(name, "no-value", f"Column {column!r} is empty for: {missing}. Fill it in, or leave these images out."))
    return values.to_numpy()
