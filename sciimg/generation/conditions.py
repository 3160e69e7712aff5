"""Conditions for new samples: masks made from those of the training part; scalars moved a little inside the trained range."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.generation.masks import perturbed, recombined
from sciimg.patches.source import PatchSource
from sciimg.protocol.models import ScalarCondition
from sciimg.randomness import generator
from sciimg.types import PatchSet

_OTHERS = 3  # masks that lend objects or shapes to one
_JITTER = 0.15  # of the spread of a scalar over the draw


@dataclass(frozen=True)
class Conditions:
    """What N new samples are asked for.

    Parameters
    ----------
    labels : array of int32, shape (N, [Z,] Y, X), or None
    table : DataFrame with N rows
        One column a scalar or class condition.
    groups : list of N str
        The group of the real patch that each condition came from: samples of one group are not independent.
    """

    labels: NDArray[np.int32] | None
    table: pd.DataFrame
    groups: list[str]


def draw_conditions(
    source: PatchSource,
    indices: Sequence[int],
    key: tuple[str | int, ...],
    *,
    turn: bool = True,
    masks: Literal["perturbed", "recombined"] = "perturbed",
    made: NDArray[np.int32] | None = None,
) -> Conditions:
    """Draw conditions from the training part; condition ``i`` depends on (key, i) alone.

    Parameters
    ----------
    source : PatchSource
        The training part.
    indices : sequence of int
    key : tuple of str or int
    turn : bool
        Whether turned masks are plausible: not where a model was told of turns so that its samples have none.
    masks : {"perturbed", "recombined"}
        How new masks are made of real ones; see :mod:`sciimg.generation.masks`.
    made : array of int32, shape (N, [Z,] Y, X), optional
        Masks that come from elsewhere; the real ones are not used then.
    """
    patches = source.draw((*key, "conditions"), indices)
    scalars = [c.name for c in source.conditions if isinstance(c, ScalarCondition)]
    names = [c.name for c in source.conditions if c.name in patches.table]
    table = patches.table[names].reset_index(drop=True)
    if scalars:
        survey = source.draw((*key, "range"), range(256)).table[scalars]
        table[scalars] = _jittered(table[scalars], survey, indices, key)
    labels = None
    if patches.labels is not None:
        labels = made if made is not None else _new_masks(source, patches, indices, key, turn, masks)
        for condition in source.conditions:
            if isinstance(condition, ScalarCondition) and condition.measure == "foreground-fraction":
                table[condition.name] = (labels > 0).reshape(len(labels), -1).mean(1)  # the new mask decides it
    return Conditions(labels, table, [str(g) for g in patches.groups])


def _new_masks(
    source: PatchSource, patches: PatchSet, indices: Sequence[int], key: tuple[str | int, ...], turn: bool, how: str
) -> NDArray[np.int32]:
    assert patches.labels is not None
    if how == "perturbed":
        return np.stack([perturbed(mask, generator(*key, "mask", i), turn) for mask, i in zip(patches.labels, indices, strict=True)])
    out = []
    for mask, i in zip(patches.labels, indices, strict=True):
        others = source.draw((*key, "others", i), range(_OTHERS)).labels
        assert others is not None and patches.label_kind is not None
        out.append(recombined([mask, *others], patches.label_kind, generator(*key, "mask", i), turn))
    return np.stack(out)


def _jittered(values: pd.DataFrame, survey: pd.DataFrame, indices: Sequence[int], key: tuple[str | int, ...]) -> NDArray[np.float64]:
    noise = np.stack([generator(*key, "scalars", i).normal(size=values.shape[1]) for i in indices])
    moved = values.to_numpy(float) + _JITTER * survey.to_numpy(float).std(0) * noise
    return np.asarray(np.clip(moved, survey.to_numpy(float).min(0), survey.to_numpy(float).max(0)))
