"""Distances between two sets of feature vectors: KID, Fréchet distance, precision, recall, density, coverage.

Each takes plain arrays (n, d), or precomputed matrices so that hundreds of resamples cost little. ``related`` masks name pairs that must
not be compared (two patches of one subject, or patches that share pixels): they say nothing about how alike independent images are.

References
----------
Bińkowski M et al. (2018) Demystifying MMD GANs. ICLR, arXiv:1801.01401
Heusel M et al. (2017) GANs trained by a two time-scale update rule. NeurIPS, arXiv:1706.08500
Kynkäänniemi T et al. (2019) Improved precision and recall metric for assessing generative models. NeurIPS, arXiv:1904.06991
Naeem MF et al. (2020) Reliable fidelity and diversity metrics for generative models. ICML, arXiv:2002.09797
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NEAREST = 5  # k of the nearest-neighbour metrics (Naeem 2020, section 5)


def polynomial_kernel(x: Array, y: Array) -> Array:
    """Return (x·y / d + 1)³, shape (n, m) (Bińkowski 2018, section 4)."""
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def kid(x: Array, y: Array) -> float:
    """Return the kernel distance of two sets (n, d), (m, d): the unbiased estimate of the squared MMD with the polynomial kernel."""
    return kid_of_kernels(polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y))


def kid_of_kernels(xx: Array, yy: Array, xy: Array, related: "Related | None" = None) -> float:
    """Return the unbiased squared MMD from kernel matrices (Bińkowski 2018, eq. 4); a mean over unrelated pairs only."""
    related = related or Related.itself(*xy.shape)
    return _mean(xx, ~related.first) + _mean(yy, ~related.second) - 2 * _mean(xy, ~related.between)


def _mean(values: Array, mask: Mask) -> float:
    count = np.count_nonzero(mask)
    return float(np.sum(values, where=mask) / count) if count else math.nan


def frechet(x: Array, y: Array) -> float:
    """Return the Fréchet distance of Gaussians fitted to two sets (Heusel 2017): |μx - μy|² + tr(Σx + Σy - 2 (Σx Σy)^½).

    Biased upwards at small n: compare it only with a real-versus-real value at the same n.
    """
    sx, sy = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    values, vectors = np.linalg.eigh(sx)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # tr (Σx Σy)^½ = sum of roots of the eigenvalues of Σx^½ Σy Σx^½, which is symmetric: no complex square root of a matrix
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ sy @ root), 0)).sum()
    return float(np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.trace(sx) + np.trace(sy) - 2 * cross)


@dataclass(frozen=True, slots=True)
class Related:
    """Which pairs must not be compared: within the first set (n, n), within the second (m, m), between them (n, m)."""

    first: Mask
    second: Mask
    between: Mask

    @classmethod
    def itself(cls, n: int, m: int) -> "Related":
        """Every sample is related to itself and to nothing else."""
        return cls(np.eye(n, dtype=bool), np.eye(m, dtype=bool), np.zeros((n, m), bool))


@dataclass(frozen=True, slots=True)
class Manifold:
    """Precision and recall (Kynkäänniemi 2019), density and coverage (Naeem 2020)."""

    precision: float
    recall: float
    density: float
    coverage: float


def distances(x: Array, y: Array) -> Array:
    """Return Euclidean distances, shape (n, m)."""
    squared = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1)[None] - 2 * x @ y.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def prdc(real: Array, synthetic: Array, *, nearest: int = NEAREST) -> Manifold:
    """Return the nearest-neighbour metrics of two sets (n, d), (m, d)."""
    return prdc_of_distances(distances(real, real), distances(synthetic, synthetic), distances(real, synthetic), nearest=nearest)


def prdc_of_distances(xx: Array, yy: Array, xy: Array, related: Related | None = None, *, nearest: int = NEAREST) -> Manifold:
    """Return the metrics from distance matrices: real-real (n, n), synthetic-synthetic (m, m), real-synthetic (n, m).

    A sample with fewer than ``nearest`` unrelated samples on its side has no neighbourhood and is left out.
    """
    related = related or Related.itself(*xy.shape)
    real_radius = _radii(np.where(related.first, np.inf, xx), nearest)
    synthetic_radius = _radii(np.where(related.second, np.inf, yy), nearest)
    between = np.where(related.between, np.inf, xy)
    known = np.isfinite(real_radius)
    if not known.any() or not np.isfinite(synthetic_radius).any():
        return Manifold(math.nan, math.nan, math.nan, math.nan)
    in_real = between[known] < real_radius[known, None]
    return Manifold(
        precision=float(in_real.any(axis=0).mean()),
        recall=float((between < synthetic_radius[None]).any(axis=1).mean()),
        density=float(in_real.sum(axis=0).mean() / nearest * len(known) / known.sum()),
        coverage=float(in_real.any(axis=1).mean()),
    )


def _radii(distance: Array, nearest: int) -> Array:
    """Return the distance to the k-th nearest unrelated sample of the same set, NaN where there is none."""
    if distance.shape[1] < nearest:
        return np.full(len(distance), np.nan)
    radii = np.partition(distance, nearest - 1, axis=1)[:, nearest - 1]
    return np.where(np.isfinite(radii), radii, np.nan)


def coverage_ceiling(n: int, m: int, nearest: int = NEAREST) -> float:
    """Return the expected coverage of two samples of one distribution (Naeem 2020, eq. 9): below 1, and lower when m < n."""
    steps = np.arange(1, nearest + 1)
    return float(1 - np.prod((n - steps) / (m + n - steps)))
