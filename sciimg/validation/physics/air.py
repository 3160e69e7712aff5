"""Air around the subject of a magnetic-resonance image: where it is, and whether it still holds the scanner's noise.

A masked, zeroed or defaced background was written by a program and not measured. Those voxels are left out; where too few others remain,
whatever rests on air is undefined: no background.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from sciimg.types import PatchSet

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST = 1000  # voxels of air in a set


def brightness_cut(images: Array) -> float:
    """Return Otsu's threshold between air and subject, for the images of one channel."""
    low, high = float(images.min()), float(images.max())
    return float(threshold_otsu(images)) if high > low else high


def air_and_signal(images: Array, labels: NDArray[np.int32] | None, cut: float) -> tuple[Mask, Mask]:
    """Return masks of air and of signal for the images of one channel, (N, [Z,] Y, X).

    Air is unlabelled, three or more voxels from any voxel brighter than ``cut``, and was not written by a program (:func:`written`).
    Signal is what is labelled, or, in an image without labels, what is brighter than ``cut``.
    """
    bright = images > cut
    near = ndimage.maximum_filter(bright, (1, *(5,) * (images.ndim - 1)), mode="constant")
    air = ~near & ~written(images)
    if labels is None:
        return air, bright
    inside = labels > 0
    labelled = np.any(inside, axis=tuple(range(1, inside.ndim)), keepdims=True)
    return air & ~inside, np.where(labelled, inside, bright)


def written(images: Array) -> Mask:
    """Return which voxels lie in a block of 3 voxels a side that holds one value, as no measured noise does; images (N, [Z,] Y, X)."""
    size = (1, *(3,) * (images.ndim - 1))
    flat = ndimage.maximum_filter(images, size, mode="nearest") == ndimage.minimum_filter(images, size, mode="nearest")
    return np.asarray(ndimage.maximum_filter(flat, size, mode="constant"), dtype=bool)


def no_air(patches: PatchSet) -> str:
    """Return why these images show no air that holds noise, or ``""``."""
    for index, name in enumerate(patches.channels):
        images = patches.images[:, index].astype(np.float64)
        cut = brightness_cut(images)
        air, signal = air_and_signal(images, patches.labels, cut)
        values = images[air]
        blank = int(np.sum(written(images) & (images <= cut)))
        if blank > max(values.size, LEAST):
            share = blank / (blank + values.size)
            return f"no background: {share:.0%} of the air in channel {name!r} has one value (masked or zeroed), so it holds no noise"
        if values.size < LEAST:
            return f"no background: {values.size} voxels of air in channel {name!r}, {LEAST} are needed"
        common = np.unique(values, return_counts=True)[1].max() / values.size
        if common > 0.5:
            return f"no background: {common:.0%} of the air in channel {name!r} has one value (masked or zeroed), so it holds no noise"
        if not np.any(signal) or np.median(values) > 0.25 * np.median(images[signal]):
            return f"no background: the dark voxels of channel {name!r} are not dark enough to be air"
    return ""
