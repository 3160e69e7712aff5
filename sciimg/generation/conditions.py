"""Conditions for new samples: masks and source images made from those of the training part; scalars moved inside the trained range."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.generation.masks import Bend, bending, perturbed, recombined
from sciimg.patches.conditions import told_columns
from sciimg.patches.source import PatchSource
from sciimg.protocol.data import ScalarCondition, TextCondition
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
        One column a scalar or class condition, and one a further field of captions: these are made of the moved numbers.
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

    def first(self, count: int) -> "Conditions":
        """Return the first of them."""
        return self.take(range(min(count, len(self.table))))

    def take(self, rows: Sequence[int]) -> "Conditions":
        """Return some of them."""
        rows = list(rows)
        labels, source = (None if part is None else part[rows] for part in (self.labels, self.source))
        about = None if self.about is None else [self.about[row] for row in rows]
        return Conditions(labels, self.table.iloc[rows].reset_index(drop=True), [self.groups[row] for row in rows], source, about)


def draw_conditions(
    source: PatchSource,
    indices: Sequence[int],
    key: tuple[str | int, ...],
    *,
    turn: bool = True,
    given: Sequence[str] = (),
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
    given : sequence of str
        Channels that the model translates; none where it is not conditioned on an image. They are bent as the masks are.
    masks : {"perturbed", "recombined"}
        How new masks are made of real ones; see :mod:`sciimg.generation.masks`. Source images need masks that go with them: perturbed.
    made : array of int32, shape (N, [Z,] Y, X), optional
        Masks that come from elsewhere; the real ones are not used then.

    Raises
    ------
    InputError
        Kind ``masks-apart``: new masks would not belong to the source images.
    """
    if given and (made is not None or masks != "perturbed"):
        message = "Source images are turned and bent together with their own masks; generate.masks must be perturbed, or left out."
        raise InputError(Problem("generate.masks", "masks-apart", message))
    patches = source.draw((*key, "conditions"), indices)
    captions = [c.name for c in source.conditions if isinstance(c, TextCondition)]  # where finished ones are given
    scalars = [c.name for c in source.conditions if isinstance(c, ScalarCondition)]
    names = [name for name in (*told_columns(source.conditions), *captions) if name in patches.table]
    table = patches.table[names].reset_index(drop=True)
    if scalars:
        survey = source.draw((*key, "range"), range(256)).table[scalars]
        table[scalars] = _jittered(table[scalars], survey, indices, key)
    labels, images = _new(source, patches, given, indices, key, turn, masks if made is None else made)
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


def _new(
    source: PatchSource,
    patches: PatchSet,
    given: Sequence[str],
    indices: Sequence[int],
    key: tuple[str | int, ...],
    turn: bool,
    masks: str | NDArray[np.int32],
) -> tuple[NDArray[np.int32] | None, NDArray[Any] | None]:
    """Return masks and given channels, each sample changed in its own way, both alike."""
    labels = None if patches.labels is None else np.empty_like(patches.labels)
    images = np.ascontiguousarray(channels_of(patches, given)) if given else None
    for row, index in enumerate(indices):
        rng = generator(*key, "mask", index)
        if labels is not None and masks == "recombined":
            labels[row] = _recombined(source, patches, row, (*key, "others", index), rng, turn)
            continue
        bend = bending(patches.images.shape[2:], rng, turn)
        if labels is not None and patches.labels is not None:
            labels[row] = perturbed(patches.labels[row], bend)
        if images is not None:
            images[row] = _bent_image(images[row], bend)
    return (labels if isinstance(masks, str) else masks), images


def _recombined(
    source: PatchSource, patches: PatchSet, row: int, key: tuple[str | int, ...], rng: np.random.Generator, turn: bool
) -> NDArray[np.int32]:
    others = source.draw(key, range(_OTHERS)).labels
    assert patches.labels is not None and others is not None and patches.label_kind is not None
    return recombined([patches.labels[row], *others], patches.label_kind, rng, turn)


def _bent_image(image: NDArray[Any], bend: Bend) -> NDArray[Any]:
    """Bend channels (C, [Z,] Y, X) by cubic splines, which keep fine texture, inside the values that were there."""
    out = np.empty_like(image)
    for channel, bent in zip(image, out, strict=True):
        values = np.clip(bend(channel.astype(np.float64), 3), channel.min(), channel.max())
        bent[...] = np.rint(values) if image.dtype.kind in "iu" else values
    return out
