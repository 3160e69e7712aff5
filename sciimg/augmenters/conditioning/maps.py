"""Label images as channels that a network can read."""

import numpy as np
from numpy.typing import NDArray

from sciimg.augmenters.conditioning.schema import MaskSchema


def condition_maps(labels: NDArray[np.int32], schema: MaskSchema) -> NDArray[np.float32]:
    """Return the channels of label images.

    Parameters
    ----------
    labels : array, shape (N, [Z,] Y, X)
    schema : MaskSchema

    Returns
    -------
    array, shape (N, M, [Z,] Y, X)
        Instances: background, foreground, and the pixels of an object that touch something else (so that touching objects stay apart).
        Classes: one channel a class, background first.

    Notes
    -----
    Background is a channel because a place where nothing is must differ from one of which nothing is told: networks that learn with
    withheld conditions otherwise put objects into empty places.
    """
    if schema.kind == "classes":
        return np.stack([labels == number for number in range(schema.classes + 1)], axis=1).astype(np.float32)
    foreground = labels > 0
    return np.stack([~foreground, foreground, foreground & _touches_other(labels)], axis=1).astype(np.float32)


def _touches_other(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    out = np.zeros(labels.shape, dtype=bool)
    for axis in range(1, labels.ndim):
        near = (slice(None),) * axis
        before, after = (*near, slice(None, -1)), (*near, slice(1, None))
        different = labels[before] != labels[after]
        out[before] |= different
        out[after] |= different
    return out
