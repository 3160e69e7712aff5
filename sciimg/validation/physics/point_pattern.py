"""Point pattern: do objects keep their distance, gather, or lie at random; Ripley's L and the pair correlation of their centres."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import pdist

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import repeated

Array = NDArray[np.float64]

_BINS = 10
_LEAST_PAIRS = 20  # within reach, each counted once
_REACH = 1 / 3  # of the window's shortest side
_LEVEL = 0.05  # of the test of one image against the real envelope
_LEAST_SPREAD = 0.01  # of the largest distance, where no two real curves differ


@dataclass(frozen=True)
class _Frame:
    margin: tuple[float, ...]  # pixels at each border in which no centre counts: half an object, as what is cut off has its centre moved
    spacing: tuple[float, ...]
    edges: Array  # of distance, in units of the spacing
    volumes: Array  # of the shell of each bin
    centre: Array  # mean L(r) - r of real images
    spread: Array  # its standard deviation between them
    critical: float  # how many of them the farthest place of a curve may lie from the centre


class PointPattern(Check):
    """Distance between L functions and between pair correlations of object centres, and between shares of images outside an envelope.

    The envelope holds the whole L function of 95 % of the real images, each group as heavy as any other: an image is outside where the
    largest studentised deviation of its own L from their mean is beyond the 95 % quantile of theirs (Myllymaki et al. 2017). One test an
    image for all distances, of nominal level for images like the real ones; an image with fewer than two objects has no curve.
    """

    name = "point-pattern"
    estimator = (
        "centres of the objects that the segmenter trained on the real training part finds, half an object or more from the border; "
        "pairs by distance, weighted for the frame's border (translation correction), over the square of the number in the same sample, "
        "pooled; largest difference of L(r), and root mean square difference of g(r), up to a third of the shortest side; "
        "share of images whose own L(r) leaves the global envelope of real ones (studentised maximum absolute deviation, level 0.05)"
    )
    unit = "L: fraction of the largest distance; g: 1 (a random pattern has g = 1); outside-envelope: share of images"
    source = (
        "Ripley 1977, doi:10.1111/j.2517-6161.1977.tb01615.x; translation correction: Ohser 1983; pooling over frames: Baddeley et al. "
        "1993, doi:10.2307/2986181; global envelope: Myllymaki et al. 2017, doi:10.1111/rssb.12172"
    )
    labels = "segmented"
    controls = (Control("repeated-fifth", repeated(1 / 5)),)

    def obstacle(self, real: PatchSet) -> str:
        if real.label_kind != "instances" or real.labels is None:
            return "objects need instance labels; these labels are classes" if real.label_kind else "the real images have no labels"
        frame = self.frame(real)
        if len(frame.edges) < 2:
            return "objects are as wide as the images: no distance between them fits"
        pairs = int(sum(len(_distances(_centres(label, frame.margin), frame)) for label in real.labels))
        return f"{pairs} pairs of objects in the real holdout are near enough; {_LEAST_PAIRS} are needed" if pairs < _LEAST_PAIRS else ""

    def frame(self, real: PatchSet) -> _Frame:
        assert real.labels is not None  # the engine has segmented them
        shape = real.labels.shape[1:]
        spacing = real.spacing.values[-len(shape) :]
        widths = [_half_widths(label) for label in real.labels]
        half = np.concatenate(widths) if any(len(w) for w in widths) else np.zeros((1, len(shape)))
        margin = tuple(float(np.ceil(m)) for m in np.median(half, axis=0))
        sides = [(n - 2 * m) * s for n, m, s in zip(shape, margin, spacing, strict=True)]
        reach = min(sides) * _REACH
        if reach <= 0:
            return _Frame(margin, spacing, np.zeros(1), np.zeros(0), np.zeros(0), np.zeros(0), np.inf)
        edges = np.linspace(0, reach, _BINS + 1)
        frame = _Frame(margin, spacing, edges, np.diff(_ball(edges, len(shape))), np.zeros(_BINS), np.ones(_BINS), np.inf)
        level = _curves(_pairs(real.labels, frame), frame)[0]
        known = np.isfinite(level[:, 0])
        return _with_envelope(frame, level[known], np.asarray(real.groups, dtype=str)[known]) if known.any() else frame

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        """Return, per sample: pairs in each bin, pairs at any distance, whether its curve is outside the envelope, whether it has one."""
        assert patches.labels is not None
        rows = _pairs(patches.labels, frame)
        farthest = _farthest(_curves(rows, frame)[0], frame)
        return np.column_stack([rows, farthest > frame.critical, np.isfinite(farthest)])

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        a, b = (_curves(rows[:, :-2], frame) for rows in (first, second))
        return {
            "l-function": np.abs(a[0] - b[0]).max(axis=-1) / frame.edges[-1],
            "pair-correlation": np.sqrt(((a[1] - b[1]) ** 2).mean(axis=-1)),
            "outside-envelope": np.abs(_outside(first) - _outside(second)),
        }

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {"l-function": 0.01, "pair-correlation": 0.05, "outside-envelope": 0.05}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        level, pair = _curves(total[None, :-2], frame)
        return {
            "l-distance": frame.edges[1:],
            "l-minus-r": np.nan_to_num(level[0]),
            "g-distance": (frame.edges[1:] + frame.edges[:-1]) / 2,
            "g": np.nan_to_num(pair[0]),
            "outside-envelope": np.nan_to_num(_outside(total[None])),
        }


def pair_counts(points: Array, window: tuple[float, ...], edges: Array) -> Array:
    """Count ordered pairs of points (n, D) by distance; each counts the window's volume over that of its overlap with itself, shifted.

    This is Ohser's translation correction: with it, the expected count at distances in a shell is the square of the intensity times the
    volumes of window and shell, whatever the shape of the window.
    """
    if len(points) < 2:
        return np.zeros(len(edges) - 1)
    distance = pdist(points)
    near = distance < edges[-1]
    upper = np.triu_indices(len(points), 1)
    away = np.abs(points[upper[0][near]] - points[upper[1][near]])
    weight = 1 / np.prod(1 - away / np.asarray(window), axis=1)
    counted: Array = 2 * np.histogram(distance[near], edges, weights=weight)[0]
    return counted


def _pairs(labels: NDArray[np.int32], frame: _Frame) -> Array:
    """Return, per sample: weighted pairs in each bin of distance, and ordered pairs at any distance over the window's volume."""
    window = _window(labels.shape[1:], frame)
    out = np.zeros((len(labels), len(frame.volumes) + 1))
    for i, label in enumerate(labels):
        centres = _centres(label, frame.margin)
        out[i, :-1] = pair_counts(centres * frame.spacing, window, frame.edges)
        out[i, -1] = len(centres) * (len(centres) - 1) / np.prod(window)
    return out


def _with_envelope(frame: _Frame, level: Array, groups: NDArray[np.str_]) -> _Frame:
    """Return the frame with the envelope of real curves (N, K): no group counts more for having more images."""
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weight = 1 / sizes[index] / len(sizes)
    centre = weight @ level
    spread = np.sqrt(weight @ (level - centre) ** 2)
    made = replace(frame, centre=centre, spread=np.maximum(spread, _LEAST_SPREAD * frame.edges[-1]))
    farthest = _farthest(level, made)
    order = np.argsort(farthest)
    place = np.searchsorted(np.cumsum(weight[order]), 1 - _LEVEL - 1e-9)
    return replace(made, critical=float(farthest[order][place]))


def _farthest(level: Array, frame: _Frame) -> Array:
    """Return the largest studentised deviation of curves (N, K) from the centre; NaN for those that are not known."""
    deviation: Array = (np.abs(level - frame.centre) / frame.spread).max(axis=-1)
    return deviation


def _outside(rows: Array) -> Array:
    """Return the share of images with a curve whose curve is outside, of pooled statistics (B, K + 3)."""
    share: Array = rows[:, -2] / np.where(rows[:, -1] > 0, rows[:, -1], np.nan)
    return share


def _curves(rows: Array, frame: _Frame) -> tuple[Array, Array]:
    """Return L(r) - r at the outer edge of each bin, and g(r) in each bin, both (B, K); NaN where there is no pair at all."""
    squared = np.where(rows[:, -1:] > 0, rows[:, -1:], np.nan)  # intensity squared times volume
    within = rows[:, :-1] / squared
    dims = len(frame.margin)
    unit = float(_ball(np.ones(1), dims)[0])
    level = (np.cumsum(within, axis=-1) / unit) ** (1 / dims) - frame.edges[1:]
    return level, within / frame.volumes


def _ball(radius: Array, dims: int) -> Array:
    volume: Array = np.pi * radius**2 if dims == 2 else 4 / 3 * np.pi * radius**3
    return volume


def _window(shape: tuple[int, ...], frame: _Frame) -> tuple[float, ...]:
    return tuple((n - 2 * m) * s for n, m, s in zip(shape, frame.margin, frame.spacing, strict=True))


def _half_widths(label: NDArray[np.int32]) -> Array:
    boxes = [box for box in ndimage.find_objects(label) if box is not None]
    return np.array([[(side.stop - side.start) / 2 for side in box] for box in boxes]).reshape(-1, label.ndim)


def _centres(label: NDArray[np.int32], margin: tuple[float, ...]) -> Array:
    """Return the centres of objects, (n, D) in pixels, that lie inside the margin."""
    numbers = np.unique(label[label > 0])
    if numbers.size == 0:
        return np.zeros((0, label.ndim))
    found = np.array(ndimage.center_of_mass(label > 0, label, numbers)) + 0.5  # the first pixel reaches from 0 to 1
    inside = np.all((found >= margin) & (found < np.array(label.shape) - margin), axis=1)
    centres: Array = found[inside]
    return centres


def _distances(centres: Array, frame: _Frame) -> Array:
    if len(centres) < 2:
        return np.zeros(0)
    distance: Array = pdist(centres * frame.spacing)
    return np.asarray(distance[distance < frame.edges[-1]])
