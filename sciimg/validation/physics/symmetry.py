"""Left-right symmetry: how like every sample is to its mirror image across the plane between the hemispheres."""

import numpy as np
from numpy.typing import NDArray

from sciimg.types import SPATIAL, PatchSet
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import half_shifted
from sciimg.validation.physics.per_sample import PerSample

Array = NDArray[np.float64]

_REACH = 0.1  # of a side: how far from the middle of a sample the plane is looked for
_LIKE = 0.6  # correlation with the mirror image from which real samples hold the plane
_ENDS = 0.25  # of real samples may find the plane where the search ends
_LARGEST = 1 - 1e-6  # correlation: a perfect mirror image has no infinite distance


class Symmetry(PerSample):
    """Distance between distributions over samples of the correlation with the mirror image."""

    name = "symmetry"
    estimator = (
        "per channel and sample: largest correlation of the sample with its mirror image along the left-right axis (attribute `left_right` "
        "of the real images, from their affines), over planes up to a tenth of the side from the middle; Fisher's z = artanh"
    )
    unit = "Fisher's z of a correlation"
    source = (
        "Mid-sagittal plane as that of largest correlation: Ardekani et al. 1997, doi:10.1109/42.650890; Fisher's z: Fisher 1915, "
        "doi:10.1093/biomet/10.4.507"
    )
    controls = (Control("one-half-moved-3px", half_shifted(3)),)

    def undefined(self, real: PatchSet) -> str:
        axis = real.attributes.get("left_right")
        if axis is None:
            return "the images do not say, all alike, which axis runs from left to right (affine missing, oblique, or not the same in all)"
        if axis not in SPATIAL[-real.dims :]:
            return f"left and right lie along {axis}, and the samples are planes across it"
        if real.images.shape[2 + _place(axis, real.dims)] < 8:
            return f"needs at least 8 pixels along {axis}, got {real.images.shape[2:]}"
        for j, name in enumerate(real.channels):
            found = np.array([mirrored(image.astype(np.float64), _place(axis, real.dims)) for image in real.images[:, j]])
            likeness, at_end = float(np.nanmedian(found[:, 0])) if np.isfinite(found[:, 0]).any() else 0.0, float(np.mean(found[:, 1]))
            if likeness < _LIKE or at_end > _ENDS:
                return (
                    f"the samples do not hold the plane between left and right near their middle (channel {name!r}: median correlation "
                    f"with the mirror image {likeness:.2f}, plane at the end of the search in {at_end:.0%})"
                )
        return ""

    def basis(self, real: PatchSet) -> int:
        return _place(str(real.attributes["left_right"]), real.dims)

    def values(self, patches: PatchSet, basis: int) -> dict[str, Array]:
        out = {}
        for j, channel in enumerate(patches.channels):
            found = np.array([mirrored(image.astype(np.float64), basis)[0] for image in patches.images[:, j]], dtype=np.float64)
            out[f"{channel}:likeness"] = np.arctanh(np.clip(found, -_LARGEST, _LARGEST))
        return out

    def smallest(self, name: str) -> float:
        return 0.05


def mirrored(image: Array, axis: int) -> tuple[float, bool]:
    """Return the largest correlation of an image with its mirror image along an axis, and whether its plane lies where the search ends.

    Planes lie on pixels and between them; the correlation is that of the largest window around the plane, NaN for a constant one.
    """
    image = np.moveaxis(image, axis, 0)
    n = len(image)
    reach = max(1, round(_REACH * n))
    sums = range(n - 1 - 2 * reach, n + 2 * reach)  # first + last index of the window: twice the plane's place
    found = []
    for total in sums:
        first, last = max(0, total - n + 1), min(n - 1, total)
        window = image[first : last + 1]
        found.append(_correlation(window, window[::-1]))
    if not np.isfinite(found).any():
        return np.nan, True
    best = int(np.nanargmax(found))
    return float(found[best]), best in (0, len(found) - 1)


def _correlation(first: Array, second: Array) -> float:
    away, other = first - first.mean(), second - second.mean()
    power = float(np.sqrt(np.sum(away**2) * np.sum(other**2)))
    return float(np.sum(away * other)) / power if power > 0 else np.nan


def _place(axis: str, dims: int) -> int:
    return SPATIAL[-dims:].index(axis)
