"""Conditions for new samples: masks of the training part, turned and bent; scalars moved a little inside the trained range.

A mask is never taken over as it is, because a model that has learned pairs by heart would answer with the image it was learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from sciimg.patches.conditions import told_columns
from sciimg.patches.source import PatchSource
from sciimg.protocol.models import ScalarCondition, TextCondition
from sciimg.randomness import generator

_BEND_PX = {2: 2.0, 3: 1.0}  # standard deviation of the displacement by dimensions; thin structures of a volume would tear at 2
_BEND_SCALE_PX = 8.0  # how far neighbouring displacements agree
_JITTER = 0.15  # of the spread of a scalar over the draw


@dataclass(frozen=True)
class Conditions:
    """What N new samples are asked for.

    Parameters
    ----------
    labels : array of int32, shape (N, [Z,] Y, X), or None
    table : DataFrame with N rows
        One column a scalar or class condition, and one a further field of captions: these are made of the moved numbers.
    groups : list of N str
        The group of the real patch that each condition came from: samples of one group are not independent.
    """

    labels: NDArray[np.int32] | None
    table: pd.DataFrame
    groups: list[str]


def draw_conditions(source: PatchSource, indices: Sequence[int], key: tuple[str | int, ...], *, turn: bool = True) -> Conditions:
    """Draw conditions from the training part; condition ``i`` depends on (key, i) alone.

    Parameters
    ----------
    source : PatchSource
        The training part.
    indices : sequence of int
    key : tuple of str or int
    turn : bool
        Whether turned masks are plausible: not where a model was told of turns so that its samples have none.
    """
    patches = source.draw((*key, "conditions"), indices)
    captions = [c.name for c in source.conditions if isinstance(c, TextCondition)]  # where finished ones are given
    scalars = [c.name for c in source.conditions if isinstance(c, ScalarCondition)]
    names = [name for name in (*told_columns(source.conditions), *captions) if name in patches.table]
    table = patches.table[names].reset_index(drop=True)
    if scalars:
        survey = source.draw((*key, "range"), range(256)).table[scalars]
        table[scalars] = _jittered(table[scalars], survey, indices, key)
    labels = None
    if patches.labels is not None:
        labels = np.stack([_perturbed(mask, generator(*key, "mask", i), turn) for mask, i in zip(patches.labels, indices, strict=True)])
        for condition in source.conditions:
            if isinstance(condition, ScalarCondition) and condition.measure == "foreground-fraction":
                table[condition.name] = (labels > 0).reshape(len(labels), -1).mean(1)  # the new mask decides it
    return Conditions(labels, table, [str(g) for g in patches.groups])


def _jittered(values: pd.DataFrame, survey: pd.DataFrame, indices: Sequence[int], key: tuple[str | int, ...]) -> NDArray[np.float64]:
    noise = np.stack([generator(*key, "scalars", i).normal(size=values.shape[1]) for i in indices])
    moved = values.to_numpy(float) + _JITTER * survey.to_numpy(float).std(0) * noise
    return np.asarray(np.clip(moved, survey.to_numpy(float).min(0), survey.to_numpy(float).max(0)))


def _perturbed(mask: NDArray[np.int32], rng: np.random.Generator, turn: bool) -> NDArray[np.int32]:
    """Turn (2D: the eight symmetries of a square; 3D: left-right, for the other turns make no anatomy) and bend, numbers kept."""
    if turn and mask.ndim == 2:
        turns = int(rng.integers(4)) if mask.shape[0] == mask.shape[1] else 2 * int(rng.integers(2))
        mask = np.rot90(mask, turns)
    if turn and rng.random() < 0.5:
        mask = np.flip(mask, axis=-1)
    fields = (_unit(gaussian_filter(rng.normal(size=mask.shape), _BEND_SCALE_PX, mode="wrap")) for _ in range(mask.ndim))
    shift = [_BEND_PX[mask.ndim] * field for field in fields]
    places = [g + s for g, s in zip(np.indices(mask.shape), shift, strict=True)]
    bent: NDArray[np.int32] = map_coordinates(mask, places, order=0, mode="nearest", output=np.int32)
    return bent


def _unit(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the field with zero mean, so that a mask is bent and not moved out of its place, and unit variance."""
    return np.asarray((field - field.mean()) / field.std())
