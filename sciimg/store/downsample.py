"""Halving: the exact mean for images, the nearest sample for labels.

An odd axis ends in a window that reaches one sample beyond the image; that sample repeats the last one, so nothing is dropped.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIECE_BYTES = 2**20  # measured on 64 planes of 1024 x 1024 uint16: half the time of doing all at once
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
    out = np.empty(tuple(-(-n // f) for n, f in zip(image.shape, factors, strict=True)), image.dtype)
    mean_into(image, factors, out)
    return out


def mean_into(image: NDArray[Any], factors: tuple[int, ...], out: NDArray[Any]) -> None:
    """Halve piece by piece: what fits into the cache of the processor is read from memory once instead of once a window corner."""
    axis = next((i for i, n in enumerate(out.shape) if n > 1), None)
    if image.nbytes <= _PIECE_BYTES or axis is None:
        out[...] = _mean_of_pairs(image, factors) if _packs(image, factors) else _mean(_windows(image, factors))
        return
    cut = out.shape[axis] // 2
    before, after = (slice(None),) * axis, cut * factors[axis]
    mean_into(image[(*before, slice(None, after))], factors, out[(*before, slice(None, cut))])
    mean_into(image[(*before, slice(after, None))], factors, out[(*before, slice(cut, None))])


def _packs(image: NDArray[Any], factors: tuple[int, ...]) -> bool:
    """Whether two neighbours along the last axis can be taken as one number: small unsigned integers in even rows."""
    small = image.dtype.kind == "u" and image.itemsize <= 2 and image.dtype.isnative
    return small and factors[-1] == 2 and image.shape[-1] % 2 == 0 and image.strides[-1] == image.itemsize


def _mean_of_pairs(image: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """Return what :func:`_mean` returns, in half the time: neighbours are read as the halves of a number twice as wide."""
    wide = np.dtype(f"u{2 * image.itemsize}").type
    bits, low = wide(8 * image.itemsize), wide((1 << 8 * image.itemsize) - 1)
    first, *others = _windows(image.view(wide), (*factors[:-1], 1))
    sums: NDArray[Any] = first & low
    part = first >> bits
    sums += part
    for other in others:
        sums += np.bitwise_and(other, low, out=part)
        sums += np.right_shift(other, bits, out=part)
    count = 2 * (1 + len(others))
    sums += wide(count // 2)
    sums >>= wide(count.bit_length() - 1)
    return sums


def _mean(windows: list[NDArray[Any]]) -> NDArray[Any]:
    count, dtype = len(windows), windows[0].dtype
    bits = count.bit_length() - 1
    if dtype.kind == "f":
        mean = windows[0].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            for window in windows[1:]:
                mean += window
        mean /= count
        if dtype.itemsize == 8 and not (finite := np.isfinite(mean)).all():  # sums beyond the range of doubles, whose mean lies within
            mean = np.where(finite, mean, sum(window / count for window in windows))
        return mean.astype(dtype)
    if dtype.itemsize == 8:
        return _mean_of_widest(windows, bits)
    unsigned = np.dtype(_SUM_DTYPE[dtype.itemsize])
    wide = unsigned if dtype.kind == "u" else np.dtype(f"i{unsigned.itemsize}")
    sums = windows[0].astype(wide)
    for window in windows[1:]:
        np.add(sums, window, out=sums)
    sums += wide.type(count // 2)
    sums >>= wide.type(bits)
    return sums.astype(dtype)


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


def nearest_into(labels: NDArray[Any], factors: tuple[int, ...], out: NDArray[Any]) -> None:
    """Write the first sample of each window."""
    out[...] = halve_nearest(labels, factors)


def _windows(image: NDArray[Any], factors: tuple[int, ...]) -> list[NDArray[Any]]:
    """Return one view a corner of the window, all of the same shape."""
    odd = [(0, n % f) for n, f in zip(image.shape, factors, strict=True)]
    if any(after for _, after in odd):
        image = np.pad(image, odd, mode="edge")
    corners = product(*(range(f) for f in factors))
    return [image[tuple(slice(i, None, f) for i, f in zip(corner, factors, strict=True))] for corner in corners]
