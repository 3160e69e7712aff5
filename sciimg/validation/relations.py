"""Which patches of real images are not independent of one another: those of one group, and those that share pixels."""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.resampling import Index, group_index

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Relation:
    """Which pairs of one set belong together, told for any rows, since a matrix of all pairs of a large set would not fit in memory.

    Parameters
    ----------
    groups : array of int, shape (N,)
    images : array of int, shape (N,), or None
        The image that a patch was cut from; None: no patch is known to share pixels with another.
    origins : array of int, shape (N, dims)
        Where in that image; patches of one image share pixels if they are nearer than ``extent`` along every axis.
    """

    groups: Index
    images: Index | None = None
    origins: NDArray[np.int64] | None = None
    extent: tuple[int, ...] = ()

    def __call__(self, first: Index, second: Index) -> Mask:
        """Return which pairs of these rows belong together, shape (len(first), len(second))."""
        together = np.asarray(self.groups[first][:, None] == self.groups[second][None])
        if self.images is None or self.origins is None:
            return together
        shared = self.images[first][:, None] == self.images[second][None]
        for axis, length in enumerate(self.extent):
            place = self.origins[:, axis]
            shared &= np.abs(place[first][:, None] - place[second][None]) < length
        return np.asarray(together | shared)

    def take(self, rows: Index) -> "Relation":
        """Return the relation of these rows alone."""
        if self.images is None or self.origins is None:
            return Relation(self.groups[rows])
        return Relation(self.groups[rows], self.images[rows], self.origins[rows], self.extent)


def same_group(patches: PatchSet) -> Relation:
    """Relate samples of one group."""
    return Relation(group_index(patches.groups)[1])


def overlapping(patches: PatchSet) -> Relation:
    """Relate samples that share pixels, from the table's ``image`` and ``origin``; without these only each to itself."""
    alone = np.arange(len(patches))
    if not len(patches) or not {"image", "origin"} <= set(patches.table.columns):
        return Relation(alone)
    origins = np.array([json.loads(o) if isinstance(o, str) else list(o) for o in patches.table["origin"]], dtype=np.int64)
    # a plane cut out of a volume has an origin in three dimensions and is one voxel deep
    extent = (1,) * (origins.shape[1] - patches.dims) + tuple(patches.images.shape[2:])
    return Relation(alone, group_index(patches.table["image"].to_numpy())[1], origins, extent)


def related(patches: PatchSet) -> Relation:
    """Relate samples that must not be compared with one another: of one group, or with shared pixels."""
    places = overlapping(patches)
    return Relation(group_index(patches.groups)[1], places.images, places.origins, places.extent)
