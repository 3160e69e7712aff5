"""Distances between two sets of feature vectors: KID and MMD, Fréchet distance, sliced Wasserstein, and precision to coverage.

Each takes plain arrays (n, d); kernel and neighbour metrics also take matrices or radii, which a caller may use again. ``related`` masks
name pairs that must not be compared (two patches of one subject, or patches that share pixels): they say nothing about how alike
independent images are.

References
----------
Bińkowski M et al. (2018) Demystifying MMD GANs. ICLR, arXiv:1801.01401
Bonneel N, Rabin J, Peyré G, Pfister H (2015) Sliced and Radon Wasserstein barycenters of measures. doi:10.1007/s10851-014-0506-3
Chong MJ, Forsyth D (2020) Effectively unbiased FID and Inception Score and where to find them. CVPR, arXiv:1911.07023
Gretton A et al. (2012) A kernel two-sample test. JMLR 13, 723-773
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
    base = x @ y.T / x.shape[1] + 1
    return np.asarray(base * base * base)  # a power of an array takes twenty times as long


def gaussian_kernel(distance: Array, bandwidth: float) -> Array:
    """Return exp(-|x - y|² / (2 bandwidth²)) of distances (n, m)."""
    return np.asarray(np.exp(distance * distance / (-2 * bandwidth**2)))


def median_distance(x: Array, related: Mask | None = None) -> float:
    """Return the median distance of unrelated pairs of one set: the usual bandwidth of a Gaussian kernel (Gretton 2012, section 8)."""
    kept = np.triu(np.ones((len(x), len(x)), bool), 1)
    if related is not None and (kept & ~related).any():
        kept &= ~related
    return float(np.median(distances(x, x)[kept])) if kept.any() else math.nan


def kid(x: Array, y: Array) -> float:
    """Return the kernel distance of two sets (n, d), (m, d): the unbiased estimate of the squared MMD with the polynomial kernel."""
    return squared_mmd(polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y))


def mmd(x: Array, y: Array, bandwidth: float) -> float:
    """Return the unbiased squared MMD of two sets (n, d), (m, d) with the Gaussian kernel."""
    return squared_mmd(*(gaussian_kernel(distances(a, b), bandwidth) for a, b in ((x, x), (y, y), (x, y))))


def squared_mmd(xx: Array, yy: Array, xy: Array) -> float:
    """Return the unbiased squared MMD from kernel matrices (Bińkowski 2018, eq. 4)."""
    return unrelated_mean(xx, np.eye(len(xx), dtype=bool)) + unrelated_mean(yy, np.eye(len(yy), dtype=bool)) - 2 * float(xy.mean())


def unrelated_mean(values: Array, related: Mask) -> float:
    """Return the mean over pairs that are not related, NaN where there is none."""
    count = related.size - np.count_nonzero(related)
    return float(np.sum(values, where=~related) / count) if count else math.nan


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


def frechet_infinity(x: Array, y: Array, order: NDArray[np.intp], steps: int = 5) -> float:
    """Return the Fréchet distance that infinitely many samples would have (Chong & Forsyth 2020).

    The bias at small n falls as 1/n, so a line in 1/n through the distances of growing parts of both sets, n/2 to n, is followed to 0.

    Parameters
    ----------
    order : array of int, shape (n,)
        A random order of the rows of both sets, which have one size: parts are its first rows.
    """
    sizes = np.linspace(len(order) / 2, len(order), steps).round().astype(np.intp)
    values = [frechet(x[order[:n]], y[order[:n]]) for n in sizes]
    return float(np.polynomial.polynomial.polyfit(1 / sizes, values, 1)[0])


def directions(rng: np.random.Generator, dimensions: int, count: int) -> Array:
    """Return random unit vectors, evenly spread over the sphere, shape (dimensions, count)."""
    drawn = rng.normal(size=(dimensions, count))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=0))


def sliced_wasserstein(x: Array, y: Array, along: Array) -> float:
    """Return the sliced 2-Wasserstein distance of two sets of one size (Bonneel 2015), a root mean square over the columns of ``along``.

    Along one direction the distance is between sorted projections. Biased upwards at small n: compare it only with a real-versus-real
    value at the same n.
    """
    gaps = np.sort(x @ along, axis=0) - np.sort(y @ along, axis=0)
    return float(np.sqrt(np.mean(gaps**2)))


def vendi(x: Array) -> float:
    """Return the Vendi score of one set (n, d): how many different samples it holds in effect, from 1 to the smaller of n and d.

    The exponential of the entropy of the eigenvalues of the cosine similarities over n (Friedman & Dieng 2023, arXiv:2210.02410), which
    are those of the d x d second moments of the unit vectors.
    """
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit = x / np.where(length > 0, length, 1.0)
    shares = np.linalg.eigvalsh(unit.T @ unit)
    shares = shares[shares > 0] / np.trace(unit.T @ unit) if length.any() else np.ones(1)
    return float(np.exp(-np.sum(shares * np.log(shares))))


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
    of_real, of_synthetic = (radii(distances(x, x), np.eye(len(x), dtype=bool), nearest) for x in (real, synthetic))
    return manifold(of_real, of_synthetic, distances(real, synthetic), nearest)


def manifold(real_radii: Array, synthetic_radii: Array, between: Array, nearest: int = NEAREST) -> Manifold:
    """Return the metrics from the :func:`radii` of both sets and the distances between them, shape (n, m); infinity is never near.

    A sample with fewer than ``nearest`` unrelated samples on its side has no neighbourhood and is left out.
    """
    known = np.isfinite(real_radii)
    if not known.any() or not np.isfinite(synthetic_radii).any():
        return Manifold(math.nan, math.nan, math.nan, math.nan)
    in_real = between[known] < real_radii[known, None]
    return Manifold(
        precision=float(in_real.any(axis=0).mean()),
        recall=float((between < synthetic_radii[None]).any(axis=1).mean()),
        density=float(in_real.sum(axis=0).mean() / nearest * len(known) / known.sum()),
        coverage=float(in_real.any(axis=1).mean()),
    )


def radii(distance: Array, related: Mask, nearest: int = NEAREST) -> Array:
    """Return the distance (n, n) of each sample to its k-th nearest unrelated one of the same set, NaN where there is none."""
    if distance.shape[1] < nearest:
        return np.full(len(distance), np.nan)
    found = np.partition(np.where(related, np.inf, distance), nearest - 1, axis=1)[:, nearest - 1]
    return np.where(np.isfinite(found), found, np.nan)


def coverage_ceiling(n: int, m: int, nearest: int = NEAREST) -> float:
    """Return the expected coverage of two samples of one distribution (Naeem 2020, eq. 9): below 1, and lower when m < n."""
    steps = np.arange(1, nearest + 1)
    return float(1 - np.prod((n - steps) / (m + n - steps)))
