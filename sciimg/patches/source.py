"""Patches straight from a collection: random ones for training, a grid for judges.

A random patch is a function of (key, index) alone, whatever batch it is drawn in and whatever was drawn before.
"""

import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.patches.alike import SAME, alike_problems
from sciimg.patches.cache import CACHE_BYTES, PixelCache, Pixels
from sciimg.patches.conditions import columns_of, condition_problems, measure, with_acquisition
from sciimg.patches.location import PatchLocation
from sciimg.patches.places import Key, Place, Places
from sciimg.patches.regions import Region, from_table
from sciimg.protocol.data import ACQUISITION, Condition
from sciimg.store import Collection
from sciimg.types import LabelKind, Part, PatchSet, Spacing

_FINEST_STRIDE = 4  # a grid that must give more patches is refined down to this fraction of the patch


class PatchSource:
    """Patches of one part of a collection.

    Parameters
    ----------
    collection : Collection
        Of images with the same channels, dtype, spacing and kind of labels.
    regions : DataFrame
        As made by :func:`sciimg.patches.make_split`.
    part : {"train", "calibration", "holdout"}
    patch_shape : tuple of int
        Along the spatial axes; two numbers cut single planes out of volumes. Images that are shorter along an axis are centred and
        mirrored beyond their edges; column ``padded`` of the table gives the fraction of a patch that is such padding.
    conditions : sequence of Condition
    min_foreground : float
        Least fraction of labelled pixels of a patch. A random patch tries 16 places and takes the fullest where none has enough.
    cache_bytes : int
        Bound of the decoded pixels that are kept.

    Raises
    ------
    InputError
        Kinds ``empty-part``, ``dimensions``, ``mixed-images``, ``no-labels``, and those of the conditions.
    """

    def __init__(
        self,
        collection: Collection,
        regions: pd.DataFrame,
        part: Part,
        patch_shape: tuple[int, ...],
        conditions: Sequence[Condition] = (),
        min_foreground: float = 0.0,
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.collection = collection
        self.part = part
        self.patch_shape = tuple(patch_shape)
        self.conditions = tuple(conditions)
        self.min_foreground = min_foreground
        self.regions: list[Region] = from_table(regions, part)
        used = sorted({r.image for r in self.regions})
        read = [name for name in columns_of(self.conditions) if not name.startswith(ACQUISITION)]
        rows = collection.columns("id", "axes", *SAME, *read)
        rows = (collection.catalogue if set(read) - set(rows) else rows).set_index("id", drop=False).loc[used]  # a message names them all
        self._rows = with_acquisition(rows, self.conditions, lambda name: collection.volume(name).acquisition)
        if not used:
            raise InputError(Problem(part, "empty-part", f"Every part needs images; {part} has none. Add images or change the fractions."))
        if problems := alike_problems(self._rows, self.patch_shape):
            raise InputError(problems)
        first = collection.volume(used[0])
        spacing = first.spacing
        assert spacing is not None  # the writer of a collection sees to it
        self.channels: tuple[str, ...] = tuple(c.name for c in first.channels)
        self.spacing = Spacing(spacing.values[-len(self.patch_shape) :], spacing.unit)
        self.dtype: np.dtype[Any] = first.dtype
        self.label_kind: LabelKind | None = first.label_kind
        self._check_conditions()
        self._shape = (1,) * (len(spacing.values) - len(self.patch_shape)) + self.patch_shape
        self._fits = [region.holds(self._shape) for region in self.regions]
        self._cache = PixelCache(collection, cache_bytes)
        self._padded: dict[int, tuple[tuple[int, ...], Pixels]] = {}
        self._places = Places(self.regions, self._shape, self._foreground, min_foreground)
        self._columns = {c: dict(zip(used, self._rows[c].tolist(), strict=True)) for c in columns_of(self.conditions)}

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of a patch along the spatial axes of the images."""
        return self._shape

    @property
    def pixel_bytes(self) -> int:
        """Decoded bytes of all channels and the label of one pixel."""
        return len(self.channels) * self.dtype.itemsize + 4 * (self.label_kind is not None)

    @property
    def decoded_bytes(self) -> int:
        """Of all regions of the part."""
        return self.pixel_bytes * sum(math.prod(region.extent) for region in self.regions)

    @cached_property
    def classes(self) -> int:
        """Largest class number in the whole collection; 0 where labels are not classes."""
        return int(self.collection.columns("label_max")["label_max"].max()) if self.label_kind == "classes" else 0

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Acquisition metadata of the first image."""
        return self.collection.volume(self.regions[0].image).acquisition

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The statistical groups that a grid of patches side by side has, sorted."""
        return tuple(sorted({self._places.group(place) for place in self._places.grid(self._shape)}))

    def location(self, seed_key: Key, index: int) -> PatchLocation:
        """Return the place of random patch ``index``."""
        return self._places.random(seed_key, index)[1]

    def draw(self, seed_key: Key, indices: Sequence[int]) -> PatchSet:
        """Return random patches.

        Parameters
        ----------
        seed_key : tuple of str or int
            What the draw is for, e.g. (study digest, "train", recipe).
        indices : sequence of int
            Number of each patch.
        """
        return self._patches([self._places.random(seed_key, int(i)) for i in indices])

    def at(self, locations: Sequence[PatchLocation]) -> PatchSet:
        """Return the patches at given places, each inside a region of this part.

        Raises
        ------
        InputError
            Kind ``outside``.
        """
        return self._patches([(self._region_of(location), location) for location in locations])

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None, seed_key: Key = ("grid",)) -> PatchSet:
        """Return patches on a regular grid with enough foreground, spread evenly over the groups.

        Parameters
        ----------
        limit : int, optional
            At most this many.
        stride : tuple of int, optional
            Distance of patches along the spatial axes. By default the patch's shape, so that patches do not overlap, halved down to a
            quarter of it while there are fewer than ``limit``.
        seed_key : tuple
            Decides which patches are kept when there are more than ``limit``.

        Raises
        ------
        InputError
            Kind ``no-patches``.
        """
        places = self._grid(limit) if stride is None else self._places.grid((1,) * (len(self._shape) - len(stride)) + tuple(stride))
        if not places:
            message = (
                f"The {self.part} part must hold a patch with {self.min_foreground:.1%} foreground; there is none. Lower min_foreground."
            )
            raise InputError(Problem(self.part, "no-patches", message))
        if limit is not None and len(places) > limit:
            places = self._places.evenly(places, limit, seed_key)
        return self._patches(places)

    def _grid(self, limit: int | None) -> list[Place]:
        places: list[Place] = []
        divisor = 1
        while divisor <= _FINEST_STRIDE and (not places or len(places) < (limit or 0)):
            places = self._places.grid(tuple(max(1, n // divisor) for n in self._shape))
            divisor *= 2
        return places

    def _region_of(self, location: PatchLocation) -> int:
        for number, region in enumerate(self.regions):
            if region.image == location.image and location.shape == self._shape and _inside(location, region):
                return number
        message = f"A patch must lie inside a region of the part {self.part}; {location.shape} at {location.origin} does not."
        raise InputError(Problem(location.image, "outside", message))

    def _patches(self, places: Sequence[Place]) -> PatchSet:
        images = np.empty((len(places), len(self.channels), *self._shape), self.dtype)
        labels = np.empty((len(places), *self._shape), np.int32) if self.label_kind else None
        for i, place in enumerate(places):
            pixels, mask = self._read(place)
            images[i] = pixels
            if labels is not None and mask is not None:
                labels[i] = mask
        images = images.reshape(len(places), len(self.channels), *self.patch_shape)
        labels = None if labels is None else labels.reshape(len(places), *self.patch_shape)
        return self.described(images, labels, places)

    def described(self, images: NDArray[Any], labels: NDArray[np.int32] | None, places: Sequence[Place]) -> PatchSet:
        """Return pixels that were read at some places with all that is known of these."""
        groups = np.array([self._places.group(place) for place in places], dtype=object)
        table = self._table(places, images, labels)
        return PatchSet(images, labels, groups, table, self.spacing, self.channels, self.label_kind, self.attributes)

    def _table(self, places: Sequence[Place], images: NDArray[Any], labels: NDArray[np.int32] | None) -> pd.DataFrame:
        names = [location.image for _, location in places]
        looked_up = {column: [values[name] for name in names] for column, values in self._columns.items()}
        return pd.DataFrame(
            {
                "image": names,
                "origin": [json.dumps(location.origin) for _, location in places],
                "padded": [0.0 if self._fits[number] else _padding(location, self.regions[number]) for number, location in places],
                **measure(images, labels, self.channels, self.conditions, looked_up),
            }
        )

    def _foreground(self, place: Place) -> float:
        labels = self._read(place)[1]
        assert labels is not None
        return float(np.count_nonzero(labels)) / labels.size

    def _read(self, place: Place) -> Pixels:
        number, location = place
        if not self._fits[number]:
            first, (pixels, labels) = self._padded.get(number) or self._pad(number)
            box = tuple(slice(o - f, o - f + n) for o, f, n in zip(location.origin, first, self._shape, strict=True))
            return pixels[(slice(None), *box)], None if labels is None else labels[box]
        return self._cache.read(location.image, location.box)

    def _pad(self, number: int) -> tuple[tuple[int, ...], Pixels]:
        """Return where a mirrored region begins, and its pixels; such regions are smaller than a patch along some axis, so all are kept."""
        region = self.regions[number]
        pixels, labels = self._cache.read(region.image, tuple(slice(a, b) for a, b in zip(region.start, region.stop, strict=True)))
        short = [max(0, p - e) for p, e in zip(self._shape, region.extent, strict=True)]
        pad = [(n // 2, n - n // 2) for n in short]
        wide = np.pad(pixels, [(0, 0), *pad], mode="symmetric")
        mask = None if labels is None else np.pad(labels, pad, mode="symmetric")
        self._padded[number] = tuple(s - before for s, (before, _) in zip(region.start, pad, strict=True)), (wide, mask)
        return self._padded[number]

    def _check_conditions(self) -> None:
        problems = condition_problems(self.conditions, self.channels, self.label_kind is not None, self._rows)
        if self.min_foreground > 0 and self.label_kind is None:
            message = "A least foreground is measured on label images, and the collection has none. Set patches.min_foreground to 0."
            problems.append(Problem("patches.min_foreground", "no-labels", message))
        if problems:
            raise InputError(problems)


def _inside(location: PatchLocation, region: Region) -> bool:
    """Whether a patch lies in the region; along an axis where the region is shorter, whether it is centred there."""
    ends = zip(location.origin, location.shape, region.start, region.extent, strict=True)
    return all(s <= o and o + n <= s + e if e >= n else o == s - (n - e) // 2 for o, n, s, e in ends)


def _padding(location: PatchLocation, region: Region) -> float:
    return 1.0 - float(np.prod([min(n, e) / n for n, e in zip(location.shape, region.extent, strict=True)]))
