"""The value of every condition for every patch, measured on it or looked up in the catalogue."""

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.protocol.data import ACQUISITION, ClassCondition, Condition, ImageCondition, MaskCondition, ScalarCondition, TextCondition
from sciimg.types import PatchSet


def condition_table(patches: PatchSet, conditions: Sequence[Condition], rows: pd.DataFrame) -> pd.DataFrame:
    """Return one column a condition; masks and source images have none, because labels and channels are the condition.

    A caption has a column for each of its fields in place of one of its own: numbers stay numbers, and what they are called is learned
    from the training part.

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
    return tuple(dict.fromkeys([*found, *looked_up_by_captions(conditions)]))


def looked_up_by_captions(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Return the fields of captions that are no other conditions: columns of the catalogue, or what the acquisition says."""
    own = {c.name for c in conditions}
    fields = [field for c in conditions if isinstance(c, TextCondition) for field in fields_of(c.template)]
    return tuple(dict.fromkeys(field for field in fields if field not in own))


def told_columns(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Return the columns of :func:`condition_table`."""
    own = [c.name for c in conditions if isinstance(c, ClassCondition | ScalarCondition)]
    return (*own, *looked_up_by_captions(conditions))


def with_acquisition(rows: pd.DataFrame, conditions: Sequence[Condition], acquisition: Callable[[str], Mapping[str, Any]]) -> pd.DataFrame:
    """Return the catalogue with a column for each field of a caption that the acquisition metadata of images tell.

    Parameters
    ----------
    rows : DataFrame
        Column ``id`` names the images.
    acquisition : callable
        The metadata of an image by its id.
    """
    fields = [field for field in looked_up_by_captions(conditions) if field.startswith(ACQUISITION)]
    if not fields:
        return rows
    about = [acquisition(str(name)) for name in rows["id"]]
    found = {field: [told.get(field.removeprefix(ACQUISITION)) for told in about] for field in fields}
    plain = {field: column for field, column in found.items() if any(isinstance(value, str | int | float) for value in column)}
    return rows.join(pd.DataFrame(plain, index=rows.index))


def fields_of(template: str) -> tuple[str, ...]:
    """Return the names in braces of a caption's template."""
    return tuple(dict.fromkeys(field for _, field, _, _ in Formatter().parse(template) if field is not None))


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

    Notes
    -----
    A caption gives the columns that it looks up; its other fields are conditions themselves.
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
    return values | {field: catalogue[field] for field in looked_up_by_captions(conditions)}


def condition_problems(conditions: Sequence[Condition], channels: Sequence[str], labelled: bool, rows: pd.DataFrame) -> list[Problem]:
    """Return what keeps conditions from having a value: kinds ``unknown-channel``, ``no-labels``, ``unknown-column``, ``no-value``."""
    problems = [_problem(condition, channels, labelled, rows) for condition in conditions]
    fields = [_column_problem("conditions", field, rows, number=False, field=True) for field in looked_up_by_captions(conditions)]
    return [p for p in (*problems, *fields) if p is not None]


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


def _column_problem(where: str, column: str | None, rows: pd.DataFrame, *, number: bool, field: bool = False) -> Problem | None:
    if field and column not in rows:
        known = ", ".join(map(str, rows.columns))
        message = (
            f"A caption has the field {{{column}}}, which is no condition, no column of the catalogue ({known}) "
            "and nothing that the image files tell (acquisition.NAME). Give it in the source's table, or change the template."
        )
        return Problem(where, "unknown-field", message)
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
