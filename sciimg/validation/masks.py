"""Agreement of two masks of one image: overlap, objects found, distance of the surfaces.

A mask numbers its objects (``kind="instances"``) or its classes (``"classes"``); 0 is background. A mask of one value needs no kind: it is
foreground, and its objects are its connected pieces (pieces that touch at a corner are one).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sciimg.types import LabelKind
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.scores import f1, object_counts

Mask = NDArray[Any]  # shape ([Z,] Y, X)
Bool = NDArray[np.bool_]

CLASSES = 32  # more different values than this are numbered objects or intensities, not classes


def dice(reference: Mask, test: Mask, kind: LabelKind | None = None) -> float:
    """Return the Dice overlap of the foreground; for classes the mean over the classes of the reference.

    Raises
    ------
    UndefinedError
        If the images are intensities, if nothing says what their values are, or if the reference has no foreground.

    References
    ----------
    Dice LR (1945) Measures of the amount of ecologic association between species. doi:10.2307/1932409
    """
    pairs = _regions(reference, test, kind)
    return float(np.mean([2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)) for a, b in pairs]))


def object_f1(reference: Mask, test: Mask, kind: LabelKind | None = None) -> float:
    """Return 2 TP / (2 TP + FP + FN) over objects, matched where their intersection over union is above one half.

    Raises
    ------
    UndefinedError
        If the values are intensities or classes, or neither mask holds an object.

    References
    ----------
    Caicedo JC et al. (2019) Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl. doi:10.1038/s41592-019-0612-7
    """
    if kind == "classes":
        raise UndefinedError("the masks number classes: objects are not told apart")
    _refuse_unclear(reference, test, kind)
    counts = object_counts(_objects(test, kind)[None], _objects(reference, kind)[None])
    if not counts.any():
        raise UndefinedError("neither mask holds an object")
    return float(f1(counts[0]))


def hausdorff(reference: Mask, test: Mask, kind: LabelKind | None = None, *, spacing: tuple[float, ...], percentile: float = 100) -> float:
    """Return the Hausdorff distance of the surfaces of the foreground; for classes the mean over the classes of the reference.

    Parameters
    ----------
    spacing : tuple of float
        z, y, x distance of pixels; the result has its unit.
    percentile : float
        Of the distances from each surface to the other; the larger of the two directions counts. 100 gives the distance of Hausdorff, 95
        the variant that a few stray pixels do not decide.

    Notes
    -----
    A surface is the pixels of a mask with a face on its outside, the border of the image included.

    Raises
    ------
    UndefinedError
        As for :func:`dice`, and if one of two regions is empty.

    References
    ----------
    Taha AA, Hanbury A (2015) Metrics for evaluating 3D medical image segmentation. doi:10.1186/s12880-015-0068-x
    Maier-Hein L et al. (2024) Metrics reloaded. doi:10.1038/s41592-023-02151-z
    """
    pairs = _regions(reference, test, kind)
    if not all(b.any() for _, b in pairs):
        raise UndefinedError("a region of the reference is empty in the test mask: there is no distance to it")
    return float(np.mean([_surface_distance(a, b, spacing, percentile) for a, b in pairs]))


def _surface_distance(first: Bool, second: Bool, spacing: tuple[float, ...], percentile: float) -> float:
    (box,) = ndimage.find_objects((first | second).astype(np.uint8))
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (first[box], second[box])]
    to_second, to_first = (ndimage.distance_transform_edt(~surface, sampling=spacing) for surface in reversed(surfaces))
    return max(float(np.percentile(d[s], percentile)) for d, s in zip((to_second, to_first), surfaces, strict=True))


def _regions(reference: Mask, test: Mask, kind: LabelKind | None) -> list[tuple[Bool, Bool]]:
    """Return the pairs of regions to compare: the foreground of both, or each class of the reference."""
    _refuse_unclear(reference, test, kind)
    if kind == "classes" and max(len(_values(mask)) for mask in (reference, test)) > 1:
        classes = _values(reference)
        pairs = [(reference == c, test == c) for c in classes]
    else:  # 0 and 255 on one side may meet 0 and 1 on the other
        pairs = [(reference != 0, test != 0)]
    if not pairs or not pairs[0][0].any():
        raise UndefinedError("the reference mask is empty")
    return pairs


def _objects(mask: Mask, kind: LabelKind | None) -> NDArray[np.int32]:
    if kind == "instances":
        return mask.astype(np.int32)
    return np.asarray(ndimage.label(mask != 0, np.ones((3,) * mask.ndim))[0], dtype=np.int32)


def _refuse_unclear(reference: Mask, test: Mask, kind: LabelKind | None) -> None:
    for mask in (reference, test):
        if mask.dtype.kind == "f" and not np.array_equal(mask, np.rint(mask)):
            raise UndefinedError("masks hold whole numbers; these are intensities")
        if mask.dtype.kind != "b" and mask.min() < 0:
            raise UndefinedError("masks hold no number below 0; these are intensities")
    most = max(len(_values(mask)) for mask in (reference, test))
    if kind is None and most > 1:
        raise UndefinedError(
            f"a mask holds {most} values: say whether they number objects or classes (--label-kind); if neither, these are intensities"
        )
    if kind == "classes" and most > CLASSES:
        raise UndefinedError(f"masks of classes hold at most {CLASSES}; these are {most}: numbered objects or intensities")


def _values(mask: Mask) -> NDArray[Any]:
    values = np.unique(mask)
    return np.asarray(values[values != 0])
