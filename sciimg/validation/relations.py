"""Which patches of real images are not independent of one another: those of one group, and those that share pixels."""

import json

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet

Mask = NDArray[np.bool_]


def same_group(patches: PatchSet) -> Mask:
    """Return which pairs of samples belong to one group, shape (N, N); the diagonal does."""
    groups = np.asarray(patches.groups).astype(str)
    return np.asarray(groups[:, None] == groups[None])


def overlapping(patches: PatchSet) -> Mask:
    """Return which pairs share pixels, shape (N, N), from the table's ``image`` and ``origin``; without these nothing is known to."""
    n = len(patches)
    if not {"image", "origin"} <= set(patches.table.columns):
        return np.eye(n, dtype=bool)
    image = patches.table["image"].astype(str).to_numpy()
    origins = np.array([json.loads(o) if isinstance(o, str) else list(o) for o in patches.table["origin"]], dtype=np.int64)
    # a plane cut out of a volume has an origin in three dimensions and is one voxel deep
    shape = np.array((1,) * (origins.shape[1] - patches.dims) + patches.images.shape[2:])
    close = np.all(np.abs(origins[:, None] - origins[None]) < shape, axis=2)
    return np.asarray(close & (image[:, None] == image[None]))


def related(patches: PatchSet) -> Mask:
    """Return which pairs must not be compared with one another: one group, or shared pixels."""
    return same_group(patches) | overlapping(patches)
