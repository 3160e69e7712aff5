"""Conditions for new samples: masks and source images of the training part, turned and bent; scalars moved inside the trained range.

Neither mask nor source is taken over as it is, because a model that has learned pairs by heart would answer with the image it was learned
from. Both are turned and bent alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from sciimg.patches.source import PatchSource
from sciimg.protocol.models import ImageCondition, MaskCondition, ScalarCondition
from sciimg.randomness import generator
from sciimg.types import PatchSet

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
        One column a scalar or class condition.
    groups : list of N str
        The group of the real patch that each condition came from: samples of one group are not independent.
    source : array, shape (N, I, [Z,] Y, X), optional
        Channels that are given, where the model is conditioned on an image.
    about : list of N mappings, optional
        Further columns of the catalogue: where a source image lies.
    """

    labels: NDArray[np.int32] | None
    table: pd.DataFrame
    groups: list[str]
    source: NDArray[Any] | None = None
    about: Sequence[Mapping[str, Any]] | None = None


def draw_conditions(
    source: PatchSource, indices: Sequence[int], key: tuple[str | int, ...], *, turn: bool = True, given: Sequence[str] = ()
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
    given : sequence of str
        Channels that the model translates; none where it is not conditioned on an image.
    """
    patches = source.draw((*key, "conditions"), indices)
    scalars = [c.name for c in source.conditions if isinstance(c, ScalarCondition)]
    names = [c.name for c in source.conditions if not isinstance(c, MaskCondition | ImageCondition)]
    table = patches.table[names].reset_index(drop=True)
    if scalars:
        survey = source.draw((*key, "range"), range(256)).table[scalars]
        table[scalars] = _jittered(table[scalars], survey, indices, key)
    labels, images = _bent(patches, given, indices, key, turn)
    for condition in source.conditions:
        if not isinstance(condition, ScalarCondition):
            continue
        if condition.measure == "foreground-fraction" and labels is not None:
            table[condition.name] = (labels > 0).reshape(len(labels), -1).mean(1)  # the new mask decides it
        if condition.channel in given and images is not None:  # the new source decides it
            level = images[:, given.index(condition.channel)].reshape(len(images), -1).mean(1, dtype=np.float64)
            table[condition.name] = np.clip(level, survey[condition.name].min(), survey[condition.name].max())
    return Conditions(labels, table, [str(g) for g in patches.groups], images)


def channels_of(patches: PatchSet, names: Sequence[str]) -> NDArray[Any]:
    """Return channels (N, len(names), [Z,] Y, X) by their names."""
    return patches.images[:, [patches.channels.index(name) for name in names]]


def _jittered(values: pd.DataFrame, survey: pd.DataFrame, indices: Sequence[int], key: tuple[str | int, ...]) -> NDArray[np.float64]:
    noise = np.stack([generator(*key, "scalars", i).normal(size=values.shape[1]) for i in indices])
    moved = values.to_numpy(float) + _JITTER * survey.to_numpy(float).std(0) * noise
    return np.asarray(np.clip(moved, survey.to_numpy(float).min(0), survey.to_numpy(float).max(0)))


def _bent(
    patches: PatchSet, given: Sequence[str], indices: Sequence[int], key: tuple[str | int, ...], turn: bool
) -> tuple[NDArray[np.int32] | None, NDArray[Any] | None]:
    """Return masks and given channels, each sample bent in its own way."""
    labels = None if patches.labels is None else np.empty_like(patches.labels)
    images = np.ascontiguousarray(channels_of(patches, given)) if given else None
    if labels is None and images is None:
        return None, None
    for row, index in enumerate(indices):
        bend = _bending(patches.images.shape[2:], generator(*key, "mask", index), turn)
        if labels is not None and patches.labels is not None:
            labels[row] = bend(patches.labels[row], 0)
        if images is not None:
            images[row] = _bent_image(images[row], bend)
    return labels, images


def _bending(shape: tuple[int, ...], rng: np.random.Generator, turn: bool) -> Callable[[NDArray[Any], int], NDArray[Any]]:
    """Return what turns and bends an array of this shape: ``bend(array, order)`` with the order of the interpolating spline.

    Turns are, in 2D, the eight symmetries of a square; in 3D left-right, for the other turns make no anatomy.
    """
    turns = 0
    if turn and len(shape) == 2:
        turns = int(rng.integers(4)) if shape[0] == shape[1] else 2 * int(rng.integers(2))
    flip = turn and rng.random() < 0.5
    fields = (_unit(gaussian_filter(rng.normal(size=shape), _BEND_SCALE_PX, mode="wrap")) for _ in shape)
    places = [g + _BEND_PX[len(shape)] * field for g, field in zip(np.indices(shape), fields, strict=True)]

    def bend(array: NDArray[Any], order: int) -> NDArray[Any]:
        turned = np.rot90(array, turns) if turns else array
        turned = np.flip(turned, axis=-1) if flip else turned
        bent: NDArray[Any] = map_coordinates(turned, places, order=order, mode="nearest", output=array.dtype)
        return bent

    return bend


def _bent_image(image: NDArray[Any], bend: Callable[[NDArray[Any], int], NDArray[Any]]) -> NDArray[Any]:
    """Bend channels (C, [Z,] Y, X) by cubic splines, which keep fine texture, inside the values that were there."""
    out = np.empty_like(image)
    for channel, bent in zip(image, out, strict=True):
        values = np.clip(bend(channel.astype(np.float64), 3), channel.min(), channel.max())
        bent[...] = np.rint(values) if image.dtype.kind in "iu" else values
    return out


def _unit(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the field with zero mean, so that a mask is bent and not moved out of its place, and unit variance."""
    return np.asarray((field - field.mean()) / field.std())
