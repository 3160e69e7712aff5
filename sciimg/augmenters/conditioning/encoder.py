"""Labels and a table of values → the tensors of :class:`sciimg.augmenters.system.Condition`."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from sciimg.augmenters.conditioning.maps import condition_maps
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.system import Condition


def encode_condition(
    schema: ConditionSchema,
    labels: NDArray[np.int32] | None,
    table: pd.DataFrame,
    shape: tuple[int, ...],
    symmetry: NDArray[np.float32] | None = None,
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
    return Condition(torch.from_numpy(maps), torch.from_numpy(np.concatenate(columns, axis=1)), torch.ones(n, 1))
