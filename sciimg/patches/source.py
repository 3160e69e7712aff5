"""Patches straight from a collection: random ones for training, a grid for judges.

A random patch is a function of (key, index) alone, whatever batch it is drawn in. Regions are decoded once and kept, up to a bound.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.patches.conditions import condition_table
from sciimg.patches.location import PatchLocation
from sciimg.patches.regions import Region, from_table
from sciimg.protocol.models import Condition
from sciimg.randomness import generator
from sciimg.store import Collection
from sciimg.types import SPATIAL, LabelKind, Part, PatchSet, Spacing

_CACHE_BYTES = 2**30
_TRIES = 16  # random positions looked at for one patch with enough foreground; the fullest wins where none has enough

Key = tuple[str | int, ...]
Pixels = tuple[NDArray[Any], NDArray[np.int32] | None]


class PatchSource:
    """Patches of one part of a collection.

    Parameters
    ----------
    collection : Collection
        Of images with equal channels, spacing and dtype.
    regions : DataFrame
        As made by :func:`sciimg.patches.split.make_split`.
    part : {"train", "calibration", "holdout"}
    patch_shape : tuple of int
        Along the spatial axes. Images that are smaller along an axis are padded there by reflection.
    conditions : sequence of Condition
    min_foreground : float
        Least fraction of labelled pixels of a patch, as far as 16 random positions give it.

    Raises
    ------
    InputError
        Kinds ``empty-part``, ``dimensions``, ``mixed-images``.
    """

    def __init__(
        self,
        collection: Collection,
        regions: pd.DataFrame,
        part: Part,
        patch_shape: tuple[int, ...],
        conditions: Sequence[Condition] = (),
        min_foreground: float = 0.0,
    ) -> None:
        self.collection = collection
        self.part = part
        self.patch_shape = patch_shape
        self.conditions = tuple(conditions)
        self.min_foreground = min_foreground
        self.regions = from_table(regions, part)
        self._rows = collection.catalogue.set_index("id", drop=False)
        self._check()
        first = collection.volume(self.regions[0].image)
        self.channels: tuple[str, ...] = tuple(c.name for c in first.channels)
        self.spacing: Spacing = first.spacing
        self.dtype: np.dtype[Any] = first.dtype
        self.label_kind: LabelKind | None = first.label_kind
        self._cache: OrderedDict[int, Pixels] = OrderedDict()
        self._cached_bytes = 0

    @cached_property
    def classes(self) -> int:
        """Largest class number in the whole collection (0 without classes)."""
        return int(self._rows["label_max"].max()) if self.label_kind == "classes" else 0

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What the first image says of itself beyond its pixels (stains, acquisition)."""
        return self.collection.volume(self.regions[0].image).acquisition

    @cached_property
    def _positions(self) -> NDArray[np.float64]:
        """Cumulative share of possible patch positions by region: every position is equally likely."""
        counts = [math.prod(max(1, e - p + 1) for e, p in zip(r.extent, self.patch_shape, strict=True)) for r in self.regions]
        return np.asarray(np.cumsum(counts) / np.sum(counts))

    def location(self, key: Key, index: int) -> PatchLocation:
        """Return the place of random patch ``index``; depends on key and index alone."""
        return self._random(key, index)[1]

    def draw(self, key: Key, indices: Sequence[int]) -> PatchSet:
        """Return random patches.

        Parameters
        ----------
        key : tuple of str or int
            What the draw is for, e.g. (study digest, "train", recipe).
        indices : sequence of int
            Number of each patch.
        """
        return self._patches([self._random(key, i) for i in indices])

    def at(self, locations: Sequence[PatchLocation]) -> PatchSet:
        """Return the patches at given places, each inside a region of this part."""
        return self._patches([(self._region_of(location), location) for location in locations])

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None, key: Key = ("grid",)) -> PatchSet:
        """Return patches on a regular grid, spread evenly over groups.

        Parameters
        ----------
        limit : int, optional
            At most this many; the stride is halved (down to a quarter of the patch) until there are as many.
        stride : tuple of int, optional
            Default: the patch's shape, so that patches do not overlap.
        key : tuple
            Decides which patches of a group are kept when there are more than ``limit``.
        """
        step = stride or self.patch_shape
        places = self._grid(step)
        while stride is None and limit is not None and len(places) < limit and all(s >= p / 2 for s, p in zip(step, self.patch_shape, strict=True)):
            step = tuple(max(1, s // 2) for s in step)
            places = self._grid(step)
        if not places:
            message = f"No patch of {self.patch_shape} with {self.min_foreground:.0%} foreground fits into {self.part}. Lower min_foreground."
            raise InputError(Problem(self.part, "no-patches", message))
        if limit is not None and len(places) > limit:
            places = self._evenly(places, limit, key)
        return self._patches(places)

    def groups(self) -> list[str]:
        """Return the statistical groups of this part, as the grid sees them."""
        return sorted({self.regions[n].group_of(place) for n, place in self._grid(self.patch_shape)})

    # ------------------------------------------------------------ places

    def _random(self, key: Key, index: int) -> tuple[int, PatchLocation]:
        rng = generator(*key, index)
        best: tuple[float, int, PatchLocation] | None = None
        for _ in range(_TRIES if self.min_foreground > 0 else 1):
            number = int(np.searchsorted(self._positions, rng.random(), side="right"))
            number = min(number, len(self.regions) - 1)
            region = self.regions[number]
            room = [max(0, e - p) for e, p in zip(region.extent, self.patch_shape, strict=True)]
            origin = tuple(s + int(rng.integers(0, r + 1)) for s, r in zip(region.start, room, strict=True))
            place = PatchLocation(region.image, origin, self.patch_shape)
            full = self._foreground(number, place) if self.min_foreground > 0 else 1.0
            if best is None or full > best[0]:
                best = (full, number, place)
            if full >= self.min_foreground:
                break
        assert best is not None
        return best[1], best[2]

    def _grid(self, step: tuple[int, ...]) -> list[tuple[int, PatchLocation]]:
        places = []
        for number, region in enumerate(self.regions):
            starts = []
            for first, extent, patch, stride in zip(region.start, region.extent, self.patch_shape, step, strict=True):
                room = max(0, extent - patch)
                starts.append(sorted({*range(first, first + room + 1, stride)}))
            for corner in np.ndindex(*(len(s) for s in starts)):
                place = PatchLocation(region.image, tuple(s[i] for s, i in zip(starts, corner, strict=True)), self.patch_shape)
                if self.min_foreground <= 0 or self._foreground(number, place) >= self.min_foreground:
                    places.append((number, place))
        return places

    def _evenly(self, places: list[tuple[int, PatchLocation]], limit: int, key: Key) -> list[tuple[int, PatchLocation]]:
        """Take one patch a group in turn until there are ``limit``."""
        by_group: dict[str, list[int]] = {}
        for i, (number, place) in enumerate(places):
            by_group.setdefault(self.regions[number].group_of(place), []).append(i)
        queues = [[members[j] for j in generator(*key, g).permutation(len(members))] for g, members in sorted(by_group.items())]
        chosen: list[int] = []
        depth = 0
        while len(chosen) < limit:
            layer = [queue[depth] for queue in queues if depth < len(queue)]
            if len(layer) > limit - len(chosen):  # a part of a layer: choose the groups by the key, not by name
                keep = generator(*key, "last").permutation(len(layer))[: limit - len(chosen)]
                layer = [layer[i] for i in sorted(keep)]
            chosen += layer
            depth += 1
        return [places[i] for i in sorted(chosen)]

    def _region_of(self, location: PatchLocation) -> int:
        for number, region in enumerate(self.regions):
            inside = all(
                s <= o and (o + n <= t or o == s)
                for o, n, s, t in zip(location.origin, location.shape, region.start, region.stop, strict=True)
            )
            if region.image == location.image and inside:
                return number
        message = f"The patch at {location.origin} is not inside a region of {self.part}."
        raise InputError(Problem(location.image, "outside", message))

    # ------------------------------------------------------------ pixels

    def _patches(self, places: Sequence[tuple[int, PatchLocation]]) -> PatchSet:
        pixels = [self._read(number, place) for number, place in places]
        images = np.stack([image for image, _ in pixels])
        labels = np.stack([label for _, label in pixels if label is not None]) if self.label_kind is not None else None
        rows = self._rows.loc[[place.image for _, place in places]].reset_index(drop=True)
        table = condition_table(images, labels, self.channels, rows, self.conditions)
        table.insert(0, "image", [place.image for _, place in places])
        table.insert(1, "origin", [json.dumps(place.origin) for _, place in places])
        groups = np.array([self.regions[number].group_of(place) for number, place in places])
        return PatchSet(images, labels, groups, table, self.spacing, self.channels, self.label_kind, self.attributes)

    def _foreground(self, number: int, place: PatchLocation) -> float:
        labels = self._read(number, place)[1]
        return 1.0 if labels is None else float(np.count_nonzero(labels) / labels.size)

    def _read(self, number: int, place: PatchLocation) -> Pixels:
        images, labels = self._region(number)
        start = self.regions[number].start
        box = tuple(slice(o - s, o - s + n) for o, s, n in zip(place.origin, start, place.shape, strict=True))
        return images[(slice(None), *box)], None if labels is None else labels[box]

    def _region(self, number: int) -> Pixels:
        """Return a region's pixels as (C, [Z,] Y, X), padded to hold a patch; decoded once while it stays in the cache."""
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        region = self.regions[number]
        volume = self.collection.volume(region.image)
        box = tuple(slice(a, b) for a, b in zip(region.start, region.stop, strict=True))
        images = volume.read((slice(None), *box)) if "c" in volume.axes else volume.read(box)[None]
        labels = volume.read_labels(box)
        short = [max(0, p - e) for p, e in zip(self.patch_shape, region.extent, strict=True)]
        if any(short):
            images = np.pad(images, [(0, 0), *((0, n) for n in short)], mode="symmetric")
            labels = None if labels is None else np.pad(labels, [(0, n) for n in short], mode="symmetric")
        self._cache[number] = (images, labels)
        self._cached_bytes += _size((images, labels))
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= _size(self._cache.popitem(last=False)[1])
        return images, labels

    def _check(self) -> None:
        if not self.regions:
            raise InputError(Problem(self.part, "empty-part", f"The split puts nothing into {self.part}. Add images or change the fractions."))
        used = self._rows.loc[sorted({r.image for r in self.regions})]
        problems = []
        for axes in used["axes"].unique():
            spatial = [a for a in axes if a in SPATIAL]
            if "t" in axes or len(spatial) != len(self.patch_shape):
                message = f"Patches of {len(self.patch_shape)} dimensions cannot be cut from images with axes {axes!r}. Change patches.shape."
                problems.append(Problem(str(used.loc[used["axes"] == axes, "id"].iloc[0]), "dimensions", message))
        for column in ("channels", "dtype", "spacing", "unit"):
            if used[column].nunique() > 1:
                values = "; ".join(f"{v} ({n})" for v, n in used[column].value_counts().items())
                message = f"All images must have the same {column}; there are {values}. Use `prepare`, or one source a kind."
                problems.append(Problem(str(self.collection.path), "mixed-images", message))
        if used["label_kind"].isna().any() and used["label_kind"].notna().any():
            problems.append(Problem(str(self.collection.path), "mixed-images", "Some images have labels and some have none."))
        if problems:
            raise InputError(problems)


def _size(pixels: Pixels) -> int:
    return pixels[0].nbytes + (0 if pixels[1] is None else pixels[1].nbytes)
