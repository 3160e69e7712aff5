"""Labels and a table of values → the tensors of :class:`sciimg.augmenters.system.Condition`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from sciimg.augmenters.conditioning.captions import TextSchema, words_of
from sciimg.augmenters.conditioning.maps import condition_maps
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.system import Condition


def encode_condition(
    schema: ConditionSchema,
    labels: NDArray[np.int32] | None,
    table: pd.DataFrame,
    shape: tuple[int, ...],
    symmetry: NDArray[np.float32] | None = None,
    source: NDArray[Any] | None = None,
) -> Condition:
    """Return the condition of N samples.

    Parameters
    ----------
    schema : ConditionSchema
    labels : array, shape (N, *shape), or None
    table : DataFrame with N rows
    shape : tuple of int
        Spatial shape of the samples.
    symmetry : array, shape (N, schema.symmetry), optional
        Label of the augmentation that was applied; zero (not augmented) when left out.
    source : array, shape (N, I, *shape), optional
        The given channels, in the units of the collection, when an image is a condition.
    """
    n = len(table)
    columns: list[NDArray[np.float32]] = []
    for scalar in schema.scalars:
        values = table[scalar.name].to_numpy(dtype=np.float64)
        columns.append(((values - scalar.mean) / scalar.std).astype(np.float32)[:, None])
    for category in schema.classes:
        told = table[category.name].astype(str).to_numpy()
        columns.append(np.stack([told == value for value in category.values], axis=1).astype(np.float32))
    columns.append(np.zeros((n, schema.symmetry), np.float32) if symmetry is None else symmetry)
    maps = condition_maps(labels, schema.mask) if schema.mask is not None and labels is not None else np.zeros((n, 0, *shape), np.float32)
    image = torch.from_numpy(schema.image.scale.forward(source)) if schema.image is not None and source is not None else None
    tokens = None if schema.text is None else torch.from_numpy(numbered(schema.text, schema.text.captions(table)))
    return Condition(torch.from_numpy(maps), torch.from_numpy(np.concatenate(columns, axis=1)), torch.ones(n, 1), image, tokens)


def numbered(schema: TextSchema, captions: Sequence[str]) -> NDArray[np.int64]:
    """Return captions as numbers of words, shape (N, length), 0 behind the last; words that training never saw are left out.

    Only what early stopping looks at may have such words: :meth:`ConditionSchema.check` refuses them in what is asked for.
    """
    number = {word: i for i, word in enumerate(schema.words, start=1)}
    out = np.zeros((len(captions), schema.length), np.int64)
    for row, caption in zip(out, captions, strict=True):
        known = [number[word] for word in words_of(caption) if word in number][: schema.length]
        row[: len(known)] = known
    return out
