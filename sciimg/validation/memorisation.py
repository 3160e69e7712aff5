"""Copies of training data: how near a sample comes to any window of any training image, turned or mirrored in any way.

Nearness is the largest normalised cross-correlation of band-passed pixels, over every offset and symmetry; brightness, contrast and a
little noise do not change it. What is near enough to be a copy is said by real holdout images, which cannot be copies. The largest of many
correlations follows an extreme-value law, so the bar is the 99.9 % quantile of a Gumbel law fitted to the holdout (and never below its
largest): an empirical 99 % quantile of a hundred images is so uncertain that it called half of all ideal generators doubtful when this was
simulated on tissue. Training patches planted as copies must be found, or the check says nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from sciimg.randomness import generator
from sciimg.records import Metric, Null
from sciimg.types import PatchSet
from sciimg.validation.outcome import faults_of, mismatch
from sciimg.validation.resampling import half_splits, percentile_interval, proportion_interval

Array = NDArray[np.float32]

SOURCE = (
    "nearest neighbour against train-versus-holdout: Meehan et al. 2020, arXiv:2004.05675; normalised cross-correlation: Lewis 1995; "
    "extreme-value law: Gumbel 1958, moment estimates"
)
NAMES = ("copy-rate", "copy-control", "nearest-correlation")
QUANTILE = 0.999
FOUND = 0.95  # share of planted copies that must be found
_PLANTED = 32
_MIDDLE = 0.75  # of every side, where training images are no larger than the image that is searched for
_SPLITS = 200
_MOST_VOXELS = 2**20  # of the training part, after averaging blocks
_FINE, _COARSE = 0.7, 2.0  # standard deviations of the band-pass, in averaged pixels


@dataclass(frozen=True)
class Nearest:
    """The nearest training window of each of N images.

    Parameters
    ----------
    correlation : array, shape (N,)
    piece : array of int, shape (N,)
        Number of the training image.
    origin : array of int, shape (N, dims)
        Where the window begins, in pixels of that image.
    turn : array of int, shape (N,)
        Which of the :func:`symmetries` of the image the window looks like.
    """

    correlation: Array
    piece: NDArray[np.int64]
    origin: NDArray[np.int64]
    turn: NDArray[np.int64]


class Training:
    """Training images, prepared to be searched.

    Where they are no larger than the images that will be asked about, the middle of an image is searched for, so that it may lie at other
    offsets too.

    Parameters
    ----------
    pieces : sequence of arrays, each of shape (C, [Z,] Y, X)
        Whole training regions.
    patch_shape : tuple of int
        Of the images that will be asked about, along the spatial axes.
    """

    def __init__(self, pieces: Sequence[NDArray[Any]], patch_shape: tuple[int, ...]) -> None:
        self.pieces = list(pieces)
        self.patch_shape = patch_shape
        voxels = sum(p[0].size for p in self.pieces)
        self.factor = 1
        while voxels / self.factor ** len(patch_shape) > _MOST_VOXELS and min(patch_shape) // (2 * self.factor) >= 6:
            self.factor *= 2
        self.factor = max(self.factor, 2 if min(patch_shape) >= 24 else 1)
        roomy = any(n > p for piece in self.pieces for n, p in zip(piece.shape[1:], patch_shape, strict=True))
        share = 1.0 if roomy else _MIDDLE
        self._tile = tuple(max(1, round(share * (p // self.factor))) for p in patch_shape)
        self._margin = tuple((p // self.factor - t) // 2 for p, t in zip(patch_shape, self._tile, strict=True))
        self._stacks = self._prepare()

    def nearest(self, images: NDArray[Any]) -> Nearest:
        """Search every image (N, C, [Z,] Y, X) under every symmetry at every offset."""
        best = np.full(len(images), -1.0, np.float32)
        piece = np.zeros(len(images), np.int64)
        origin = np.zeros((len(images), len(self.patch_shape)), np.int64)
        turn = np.zeros(len(images), np.int64)
        middle = (slice(None), *(slice(m, m + t) for m, t in zip(self._margin, self._tile, strict=True)))
        for n, image in enumerate(images):
            for number, turned in enumerate(symmetries(self._detail(image)[middle])):
                for numbers, spectrum, energy, shape in self._stacks:
                    if turned.shape[1:] != self._tile:
                        continue
                    score, at = _correlate(turned, spectrum, energy, shape)
                    if score > best[n]:
                        best[n], piece[n], turn[n] = score, numbers[at[0]], number
                        origin[n] = (np.array(at[1:]) - self._margin) * self.factor
        return Nearest(best, piece, origin, turn)

    def window(self, nearest: Nearest, n: int) -> NDArray[Any]:
        """Return the training pixels that are nearest to image ``n``, turned as that image is, shape (C, [Z,] Y, X)."""
        piece = self.pieces[int(nearest.piece[n])]
        first = [max(0, min(int(o), size - p)) for o, size, p in zip(nearest.origin[n], piece.shape[1:], self.patch_shape, strict=True)]
        window = piece[(slice(None), *(slice(f, f + p) for f, p in zip(first, self.patch_shape, strict=True)))]
        return turned_back(window, int(nearest.turn[n]))

    def _detail(self, image: NDArray[Any]) -> Array:
        small = _averaged(image.astype(np.float32), self.factor)
        sigma = [(0.0, *([s] * (small.ndim - 1))) for s in (_FINE, _COARSE)]
        return np.asarray(gaussian_filter(small, sigma[0]) - gaussian_filter(small, sigma[1]), np.float32)

    def _prepare(self) -> list[tuple[list[int], NDArray[np.complex64], Array, tuple[int, ...]]]:
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for number, piece in enumerate(self.pieces):
            if all(n >= p for n, p in zip(piece.shape[1:], self.patch_shape, strict=True)):
                by_shape.setdefault(piece.shape, []).append(number)
        stacks = []
        box = np.ones(self._tile, np.float32)
        for numbers in by_shape.values():
            detail = np.stack([self._detail(self.pieces[i]) for i in numbers])
            shape = detail.shape[2:]
            axes = tuple(range(2, detail.ndim))
            valid = (slice(None), *(slice(0, n - b + 1) for n, b in zip(shape, box.shape, strict=True)))
            squares = fft.rfftn((detail**2).sum(1), axes=tuple(range(1, detail.ndim - 1)))
            kernel = np.conj(fft.rfftn(box, s=shape))
            energy = fft.irfftn(squares * kernel, s=shape, axes=tuple(range(1, detail.ndim - 1)))[valid]
            floor = 1e-3 * float(energy.max())  # flat windows have no detail to copy
            spectrum = fft.rfftn(detail, axes=axes).astype(np.complex64)
            stacks.append((numbers, spectrum, np.maximum(energy, floor).astype(np.float32), shape))
        return stacks


def symmetries(image: Array) -> list[Array]:
    """Return (C, …) arrays under all flips and, where axes are equally long in 2D, quarter turns: 8 versions."""
    spatial = image.ndim - 1
    flips = [tuple(a + 1 for a, flip in enumerate(which) if flip) for which in product((False, True), repeat=spatial)]
    versions = [np.flip(image, axes) for axes in flips]
    if spatial == 2 and image.shape[1] == image.shape[2]:
        versions += [np.swapaxes(v, 1, 2) for v in versions]
    return [np.ascontiguousarray(v) for v in versions]


def turned_back(image: NDArray[Any], number: int) -> NDArray[Any]:
    """Undo symmetry ``number`` of :func:`symmetries`."""
    spatial = image.ndim - 1
    which = list(product((False, True), repeat=spatial))[number % 2**spatial]
    plain = np.swapaxes(image, 1, 2) if number >= 2**spatial else image
    return np.flip(plain, tuple(a + 1 for a, flip in enumerate(which) if flip))


def _correlate(tile: Array, spectrum: NDArray[np.complex64], energy: Array, shape: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
    """Return the largest correlation of a tile with the windows of a stack, and (image, *origin) where it is."""
    axes = tuple(range(1, tile.ndim))
    kernel = np.conj(fft.rfftn(tile, s=shape, axes=axes)).astype(np.complex64)
    product_ = (spectrum * kernel[None]).sum(1)
    overlap = fft.irfftn(product_, s=shape, axes=tuple(range(1, tile.ndim)))
    valid = (slice(None), *(slice(0, n) for n in energy.shape[1:]))
    score = overlap[valid] / np.sqrt(energy * max(float((tile**2).sum()), 1e-12))
    at = np.unravel_index(int(np.argmax(score)), score.shape)
    return float(score[at]), tuple(int(i) for i in at)


def _averaged(image: Array, factor: int) -> Array:
    """Return means over blocks; a remainder at the far edge is left out."""
    if factor == 1:
        return image
    kept = [n // factor * factor for n in image.shape[1:]]
    cut = image[(slice(None), *(slice(0, k) for k in kept))]
    split = cut.reshape(cut.shape[0], *(v for k in kept for v in (k // factor, factor)))
    return np.asarray(split.mean(axis=tuple(range(2, split.ndim, 2))), np.float32)


def planted(draws: PatchSet, key: tuple[str | int, ...]) -> NDArray[np.float32]:
    """Return training patches as a copying generator would hand them out: turned, brightened, with noise of a tenth of their spread."""
    rng = generator(*key, "planted")
    copies = []
    for image in draws.images.astype(np.float32):
        versions = symmetries(image)
        turned = versions[int(rng.integers(len(versions)))] if len({v.shape for v in versions}) == 1 else image
        spread = image.reshape(len(image), -1).std(1).reshape(-1, *([1] * (image.ndim - 1)))
        copies.append(turned * rng.uniform(0.8, 1.2) + rng.normal(size=image.shape).astype(np.float32) * 0.1 * spread)
    return np.stack(copies)


def extreme(correlations: Array) -> float:
    """Return the correlation that a real image does not reach by chance: the Gumbel law's 99.9 % quantile, or the largest seen.

    Correlations are first spread over the whole axis by Fisher's transformation.
    """
    z = np.arctanh(np.clip(correlations.astype(np.float64), -0.9999, 0.9999))
    scale = float(z.std()) * math.sqrt(6) / math.pi
    location = float(z.mean()) - np.euler_gamma * scale
    return max(math.tanh(location - scale * math.log(-math.log(QUANTILE))), float(correlations.max()))


def false_alarms(correlations: Array, groups: NDArray[Any], key: tuple[str | int, ...]) -> Null | None:
    """Return how many real images a bar from other real images calls copies, over random halves of the groups; None with one group."""
    if len(np.unique(groups)) < 2:
        return None
    splits = half_splits(groups, groups, generator(*key, "false-alarms"), rounds=_SPLITS)
    rates = np.array([float((correlations[s.real] > extreme(correlations[s.reference])).mean()) for s in splits])
    return Null(value=float(np.median(rates)), ci95=percentile_interval(rates))  # inside its interval, which a mean need not be


def copies(
    training: Training, draws: PatchSet, holdout: PatchSet, synthetic: PatchSet | None, *, key: tuple[str | int, ...]
) -> tuple[list[Metric], dict[str, NDArray[Any]]]:
    """Return the metrics of :data:`NAMES` and the pictures of the nearest pairs.

    Parameters
    ----------
    training : Training
    draws : PatchSet
        Random training patches; the first 32 are planted as copies.
    holdout : PatchSet
        Real images that are no copies.
    synthetic : PatchSet or None
        What is judged.
    key : tuple of str or int
    """
    about: dict[str, Any] = {"higher_is_better": False, "source": SOURCE, "n_real": len(holdout)}
    reason = "there are no synthetic images" if synthetic is None else mismatch(holdout, synthetic, ("real", "synthetic"))
    if synthetic is None or reason or (reason := faults_of(synthetic, "synthetic")):
        return [Metric.undefined(name, reason, **about) for name in NAMES], {}
    held, made = training.nearest(holdout.images), training.nearest(synthetic.images)
    bar = extreme(held.correlation)
    trap = training.nearest(planted(draws.take(np.arange(min(_PLANTED, len(draws)))), key))
    found = int((trap.correlation > bar).sum())
    control = Metric(
        name="copy-control",
        value=found / len(trap.correlation),
        ci95=proportion_interval(found, len(trap.correlation)),
        n=len(trap.correlation),
        **(about | {"higher_is_better": True}),
        detail={"bar": bar, "averaged_over_px": training.factor},
    )
    shown = _pictures(training, synthetic, made, "nearest.synthetic", "nearest.train", "nearest.distance")
    shown |= _pictures(training, holdout, held, "nearest.holdout", "nearest.holdout-train", "nearest.holdout-distance")
    if control.value is None or control.value < FOUND:
        reason = f"only {found} of {len(trap.correlation)} planted copies were found; the check is blind on these images"
        return [Metric.undefined("copy-rate", reason, **about), control, Metric.undefined("nearest-correlation", reason, **about)], shown
    count = int((made.correlation > bar).sum())
    rate = Metric(
        name="copy-rate",
        value=count / len(synthetic),
        ci95=proportion_interval(count, len(synthetic)),
        n=len(synthetic),
        n_synthetic=len(synthetic),
        null=false_alarms(held.correlation, holdout.groups, key),
        detail={"bar": bar, "copies": count, "largest_of_holdout": float(held.correlation.max())},
        **about,
    )
    median = Metric(
        name="nearest-correlation",
        value=float(np.median(made.correlation)),
        n=len(synthetic),
        n_synthetic=len(synthetic),
        null=Null(value=float(np.median(held.correlation))),
        **about,
    )
    return [rate, control, median], shown


def _pictures(training: Training, patches: PatchSet, nearest: Nearest, own: str, other: str, distance: str) -> dict[str, NDArray[Any]]:
    """Return the images that come nearest to training windows, nearest first, with those windows."""
    rows = np.argsort(-nearest.correlation, kind="stable")[:6]
    return {
        own: patches.images[rows],
        other: np.stack([training.window(nearest, int(r)) for r in rows]),
        distance: np.asarray(1.0 - nearest.correlation[rows], np.float64),
    }
