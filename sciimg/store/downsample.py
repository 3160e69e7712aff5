"""Halving: the exact mean for images, the nearest sample for labels.

An odd axis ends in a window that reaches one sample beyond the image; that sample repeats the last one, so nothing is dropped.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUM_DTYPE = {1: np.uint16, 2: np.uint32, 4: np.uint64}  # wide enough for the sum of 8


def halve_mean(image: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """Return the mean over windows of ``factors`` samples.

    Integers: the exact mean, halves rounded up. Floating point: summed in double precision, in a fixed order.

    Parameters
    ----------
    image : array, any axes
    factors : tuple of int
        1 or 2 for each axis.
    """
    windows = _windows(image, factors)
    count = len(windows)
    bits = count.bit_length() - 1
    if image.dtype.kind == "f":
        total = windows[0].astype(np.float64)
        for window in windows[1:]:
            total += window
        return (total / count).astype(image.dtype)
    if image.dtype.itemsize == 8:
        return _mean_of_widest(windows, bits)
    dtype = np.dtype(_SUM_DTYPE[image.dtype.itemsize])
    wide = dtype if image.dtype.kind == "u" else np.dtype(f"i{dtype.itemsize}")
    sums = windows[0].astype(wide)
    for window in windows[1:]:
        np.add(sums, window, out=sums, casting="unsafe")
    sums += wide.type(count // 2)
    sums >>= wide.type(bits)
    return sums.astype(image.dtype)


def _mean_of_widest(windows: list[NDArray[Any]], bits: int) -> NDArray[Any]:
    """Return the rounded mean of 64-bit integers without overflow: quotients and remainders are summed apart."""
    one = windows[0].dtype.type
    mask = one((1 << bits) - 1)
    quotient = sum((w >> one(bits) for w in windows[1:]), windows[0] >> one(bits))
    remainder = sum((w & mask for w in windows[1:]), windows[0] & mask)
    return np.asarray(quotient + ((remainder + one((1 << bits) // 2)) >> one(bits)))


def halve_nearest(labels: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """Return the first sample of each window: a label is never mixed with another."""
    return labels[tuple(slice(None, None, f) for f in factors)]


def _windows(image: NDArray[Any], factors: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return one view a corner of the window, all of the same shape."""
    odd = [(0, n % f) for n, f in zip(image.shape, factors, strict=True)]
    if any(after for _, after in odd):
        image = np.pad(image, odd, mode="edge")
    corners = product(*(range(f) for f in factors))
    return [image[tuple(slice(i, None, f) for i, f in zip(corner, factors, strict=True))] for corner in corners]
