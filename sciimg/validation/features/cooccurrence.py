"""Radiomics of a whole image, without a mask: first-order statistics and those of grey levels that lie side by side.

Definitions are those of the Image Biomarker Standardisation Initiative: grey levels of fixed bin width, one symmetric co-occurrence matrix
of all directions at a distance of one pixel (its methods "2D, merged" in a plane and "3D, merged" in space).

References
----------
Haralick RM, Shanmugam K, Dinstein I (1973) Textural features for image classification. doi:10.1109/TSMC.1973.4309314
Zwanenburg A et al. (2020) The Image Biomarker Standardization Initiative. Radiology 295, doi:10.1148/radiol.2020191145
"""

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Single = NDArray[np.float32]

LEVELS = 32
LOW, WIDTH = -3.0, 0.25  # in standard deviations of a channel: grey levels from -3 to 5
_TINY = 1e-12
TEXTURES = (
    "joint-maximum", "joint-average", "joint-variance", "joint-entropy", "difference-average", "difference-entropy", "sum-entropy",
    "angular-second-moment", "contrast", "inverse-difference-moment", "correlation", "cluster-shade", "cluster-prominence",
)  # fmt: skip


def cooccurrence(images: Single) -> Array:
    """Return statistics of images (N, C, [Z,] Y, X), whose channels have unit scale: shape (N, C · 19).

    Per channel: mean, log standard deviation, skewness, excess kurtosis, 10 % and 90 % quantile; then ``TEXTURES``. Third and fourth
    moments are taken as cube and fourth roots, so that one wild image is not all there is.
    """
    flat = images.reshape(-1, *images.shape[2:])
    table = np.concatenate([_first_order(flat), _tempered(textures(matrices(grey_levels(flat))))], axis=1)
    return table.reshape(len(images), -1)


def grey_levels(images: Single) -> NDArray[np.intp]:
    """Return grey levels from 0 to 31 of fixed width; what lies outside has the first or last."""
    return np.asarray(np.clip(np.floor((images - LOW) / WIDTH), 0, LEVELS - 1), np.intp)


def neighbours(dims: int) -> list[tuple[int, ...]]:
    """Return one of each pair of opposite steps to a neighbour: 4 in the plane, 13 in space."""
    return [step for step in itertools.product((-1, 0, 1), repeat=dims) if step > (0,) * dims]


def matrices(levels: NDArray[np.intp]) -> Array:
    """Return the share of every ordered pair of grey levels among neighbouring pixels of images (N, [Z,] Y, X), shape (N, 32, 32)."""
    shape = levels.shape[1:]
    first = np.arange(len(levels)).reshape(-1, *(1,) * len(shape)) * LEVELS**2
    counts = np.zeros(len(levels) * LEVELS**2)
    for step in neighbours(len(shape)):
        here = (slice(None), *(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, shape, strict=True)))
        there = (slice(None), *(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, shape, strict=True)))
        counts += np.bincount((first + levels[here] * LEVELS + levels[there]).ravel(), minlength=len(counts))
    table = counts.reshape(-1, LEVELS, LEVELS)
    table = table + table.transpose(0, 2, 1)
    total = table.sum(axis=(1, 2), keepdims=True)
    return np.asarray(table / np.where(total > 0, total, 1.0))


def textures(shares: Array) -> Array:
    """Return the statistics ``TEXTURES`` of symmetric co-occurrence matrices (N, L, L) of grey levels 1 to L, shape (N, 13).

    The correlation of an image of one grey level, which does not exist, is 1.
    """
    level = np.arange(1.0, shares.shape[1] + 1)
    i, j = level[:, None], level[None]
    marginal = shares.sum(axis=2)
    mean = marginal @ level
    variance = marginal @ level**2 - mean**2
    apart = _by(shares, np.abs(i - j).astype(np.intp))
    together = _by(shares, (i + j - 2).astype(np.intp))
    centred = (i + j) - 2 * mean[:, None, None]
    product = np.einsum("nij,ij->n", shares, i * j) - mean**2
    flat = variance <= _TINY
    columns = [
        shares.max(axis=(1, 2)),
        mean,
        variance,
        _entropy(shares.reshape(len(shares), -1)),
        apart @ np.arange(apart.shape[1]),
        _entropy(apart),
        _entropy(together),
        np.sum(shares**2, axis=(1, 2)),
        np.einsum("nij,ij->n", shares, (i - j) ** 2),
        np.einsum("nij,ij->n", shares, 1 / (1 + (i - j) ** 2)),
        np.where(flat, 1.0, product / np.where(flat, 1.0, variance)),
        np.sum(shares * centred**3, axis=(1, 2)),
        np.sum(shares * centred**4, axis=(1, 2)),
    ]
    return np.stack(columns, axis=1)


def _by(shares: Array, kind: NDArray[np.intp]) -> Array:
    """Return sums over the pairs of each kind, shape (N, kinds)."""
    return np.stack([shares[:, kind == k].sum(axis=1) for k in range(int(kind.max()) + 1)], axis=1)


def _entropy(shares: Array) -> Array:
    """Return the entropy of each row, in bits."""
    return np.asarray(-np.sum(shares * np.log2(np.where(shares > 0, shares, 1.0)), axis=1))


def _tempered(table: Array) -> Array:
    shade, prominence = TEXTURES.index("cluster-shade"), TEXTURES.index("cluster-prominence")
    table[:, shade] = np.cbrt(table[:, shade])
    table[:, prominence] **= 0.25
    return table


def _first_order(flat: Single) -> Array:
    values = flat.reshape(len(flat), -1).astype(np.float64)
    mean = values.mean(axis=1, keepdims=True)
    centred = values - mean
    spread = np.sqrt(np.mean(centred**2, axis=1))
    unit = centred / np.maximum(spread, _TINY)[:, None]
    low, high = np.quantile(values, [0.1, 0.9], axis=1)
    skewness, kurtosis = np.mean(unit**3, axis=1), np.mean(unit**4, axis=1)
    return np.stack([mean[:, 0], np.log(spread + 0.01), np.cbrt(skewness), kurtosis**0.25, low, high], axis=1)
