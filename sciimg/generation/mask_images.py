"""Masks as images, so that any recipe can learn to make them, and back again.

Instances become one channel: the distance to the border of their own object, above zero inside, below outside, and saturated. Objects that
touch are apart there by a valley at zero, and a watershed finds them again. Classes become a channel each.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from sciimg.augmenters.feed import Patches
from sciimg.types import LabelKind, PatchSet

Key = tuple[str | int, ...]
_REACH_PX = 6.0  # beyond this far from a border, nothing more is said
_CORE = 1.5  # a core is where the distance, smoothed, stands this much above its surroundings' saddle


def mask_to_image(labels: NDArray[np.int32], kind: LabelKind, classes: int) -> NDArray[np.float32]:
    """Return channels (N, C, [Z,] Y, X) for masks (N, [Z,] Y, X)."""
    if kind == "classes":
        return np.stack([labels == number for number in range(classes + 1)], axis=1).astype(np.float32)
    return np.stack([_distance(mask) for mask in labels])[:, None]


def image_to_mask(images: NDArray[np.floating], kind: LabelKind) -> NDArray[np.int32]:
    """Return masks (N, [Z,] Y, X) of channels (N, C, [Z,] Y, X)."""
    if kind == "classes":
        return np.asarray(images.argmax(1), np.int32)
    return np.stack([_objects(image[0].astype(np.float64)) for image in images])


def _distance(mask: NDArray[np.int32]) -> NDArray[np.float32]:
    """Signed distance in pixels; the border of an object is where its number ends, at a neighbour as well."""
    inside = np.zeros(mask.shape)
    for number, place in enumerate(ndimage.find_objects(mask), start=1):
        if place is None:
            continue
        wide = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in place)
        own = mask[wide] == number
        # what lies beyond the patch is unknown, and no border: the distance transform counts none there either
        depth = np.full(own.shape, _REACH_PX) if own.all() else ndimage.distance_transform_edt(own) - 0.5
        inside[wide] = np.where(own, depth, inside[wide])
    outside = ndimage.distance_transform_edt(mask == 0) - 0.5 if (mask > 0).any() else np.full(mask.shape, _REACH_PX)
    return np.clip(np.where(mask > 0, inside, -outside), -_REACH_PX, _REACH_PX).astype(np.float32)


def _objects(distance: NDArray[np.float64]) -> NDArray[np.int32]:
    """Every place above zero belongs to a core; cores are peaks that stand above the saddles between them, small objects have one too."""
    smooth = ndimage.gaussian_filter(distance, 0.5)
    above = distance > 0
    saturated = np.minimum(smooth, _REACH_PX - 0.5)
    cores, _ = ndimage.label(h_maxima(saturated, _CORE) & above, np.ones((3,) * distance.ndim))
    parts, _ = ndimage.label(above)
    without = np.setdiff1d(np.unique(parts[above]), np.unique(parts[cores > 0]))  # too small to have a core: each is one object
    for part in without:
        cores[parts == part] = cores.max() + 1
    return np.asarray(watershed(-smooth, cores, mask=above), np.int32)


class MaskImages:
    """A patch source whose images are the masks of another one; it has no conditions."""

    def __init__(self, source: Patches, kind: LabelKind) -> None:
        self._source, self._kind = source, kind

    @property
    def patch_shape(self) -> tuple[int, ...]:
        return self._source.patch_shape

    @property
    def classes(self) -> int:
        return 0

    def draw(self, seed_key: Key, indices: Sequence[int]) -> PatchSet:
        return self._as_images(self._source.draw(seed_key, indices))

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self._as_images(self._source.grid(limit, stride))

    def _as_images(self, patches: PatchSet) -> PatchSet:
        assert patches.labels is not None
        images = mask_to_image(patches.labels, self._kind, self._source.classes)
        names = ("distance",) if self._kind == "instances" else tuple(f"class-{i}" for i in range(images.shape[1]))
        return replace(patches, images=images, labels=None, channels=names, label_kind=None)
