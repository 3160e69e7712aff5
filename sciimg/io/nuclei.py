"""A classical, deterministic segmentation of nuclei in one channel, 2D or 3D.

1. Each channel is put on its own scale: 0 at its 1st, 1 at its 99.8th percentile; a weighted second channel may be subtracted.
2. Foreground: smoothed intensity above its Gaussian-weighted local mean, and the channel itself above a floor, so that the edge of a
   bright region does not count where there is no nucleus; holes filled, opened.
3. Landscape: distance to the background in px, plus smoothed intensity. Its peaks, where they rise above the saddle to the next peak by
   ``split_depth``, are nuclei (h-maxima); watershed divides the foreground among them.
4. Every nucleus is opened by a disk; small ones are dropped.

References
----------
Meyer 1994, Topographic distance and watershed lines, Signal Processing 38(1), doi:10.1016/0165-1684(94)90060-4.
Soille 2003, Morphological Image Analysis, 6.3.6 (h-maxima).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.protocol.data import SegmentNuclei

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
RANGE = (1.0, 99.8)  # percentiles that count as 0 and 1
_PEAK_SIGMA_PX = 2.0  # intensity detail finer than this is chromatin, not another nucleus
_DISTANCE_SIGMA_PX = 1.0


def segment_nuclei(channel: NDArray[Any], subtract: NDArray[Any] | None, plan: SegmentNuclei) -> NDArray[np.int32]:
    """Return nuclei as objects 1 … n, 0 elsewhere.

    Parameters
    ----------
    channel : array, shape ([Z,] Y, X)
        Bright where nuclei are.
    subtract : array of the same shape, optional
        Bright around nuclei.
    plan : SegmentNuclei
        Its numbers.

    Returns
    -------
    array of int32, same shape
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    own = on_own_scale(channel)
    contrast = own if subtract is None else own - plan.subtract_weight * on_own_scale(subtract)
    foreground = _foreground(own, contrast, plan)
    landscape = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), _DISTANCE_SIGMA_PX)
    landscape += plan.split_intensity * ndimage.gaussian_filter(contrast, _PEAK_SIGMA_PX)
    objects = watershed(-landscape, _peaks(landscape, foreground, plan.split_depth), mask=foreground)
    return _rounded(objects, plan.smooth_px, plan.min_area_px)


def on_own_scale(channel: NDArray[Any]) -> Float:
    """Return intensities between a channel's low and high percentile as 0 … 1, unclipped; a flat channel gives 0."""
    low, high = np.percentile(channel, RANGE)
    scaled: Float = (channel.astype(np.float64) - low) / (high - low if high > low else 1.0)
    return scaled


def _foreground(own: Float, contrast: Float, plan: SegmentNuclei) -> Bool:
    from scipy import ndimage
    from skimage.filters import threshold_local
    from skimage.morphology import remove_small_objects

    smooth = ndimage.gaussian_filter(contrast, plan.sigma_px)
    window = plan.window_px + (plan.window_px + 1) % 2
    bright = smooth > threshold_local(smooth, window, method="gaussian") + plan.offset
    bright &= ndimage.gaussian_filter(own, plan.sigma_px) > plan.floor
    opened = ndimage.binary_opening(bright, _ball(plan.smooth_px, own.ndim))
    kept: Bool = remove_small_objects(ndimage.binary_fill_holes(opened), max_size=plan.min_area_px - 1)
    return kept


def _peaks(landscape: Float, foreground: Bool, depth: float) -> NDArray[np.int32]:
    """Return the numbered h-maxima of the landscape inside the foreground."""
    from scipy import ndimage
    from skimage.morphology import local_maxima, reconstruction

    inside = np.where(foreground, landscape, landscape.min())
    flattened = reconstruction(inside - depth, inside) if depth > 0 else inside
    everywhere = np.ones((3,) * landscape.ndim)
    peaks: NDArray[np.int32] = ndimage.label(local_maxima(flattened) & foreground, everywhere)[0]
    return peaks


def _rounded(objects: NDArray[Any], radius: int, smallest: int) -> NDArray[np.int32]:
    """Return every object opened by a disk, its largest piece kept, small ones dropped, numbered in order of appearance."""
    from scipy import ndimage

    disk, out, count = _ball(radius, objects.ndim), np.zeros(objects.shape, np.int32), 0
    for number, box in enumerate(ndimage.find_objects(objects), 1):
        if box is None:
            continue
        piece = _largest(_opened(objects[box] == number, disk, radius))
        if np.count_nonzero(piece) >= smallest:
            count += 1
            out[box][piece] = count
    return out


def _opened(mask: Bool, disk: Bool, radius: int) -> Bool:
    """Return the opening of a mask that may touch the sides of its box."""
    from scipy import ndimage

    padded = np.pad(mask, radius)
    opened: Bool = ndimage.binary_opening(padded, disk)[(slice(radius, -radius or None),) * mask.ndim]
    return opened


def _largest(mask: Bool) -> Bool:
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    return np.asarray(pieces == 1 + int(np.argmax(sizes[1:])))


def _ball(radius: int, dims: int) -> Bool:
    grid = np.indices((2 * radius + 1,) * dims) - radius
    return np.asarray((grid**2).sum(0) <= radius**2)
