"""A feature space: images in, comparable vectors out. Fixed on reference images (the training part) before a synthetic one is seen.

Raw statistics of a bank, a texture or an encoder have different scales and are strongly correlated. They are standardised, turned to
their principal axes on the reference, and brought to equal spread, except for axes that hardly vary, which are damped: without the first
step one coefficient would decide, without the damping noise would.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.outcome import UndefinedError, faults_of
from sciimg.validation.stack import on_disk, rows_of
from sciimg.workers import HERE, Workers

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Embed = Callable[[Single], Array]

REFERENCE = 256  # images; more would cost time and change little
AXES_KEPT = 64  # and at most half as many as there are reference images: more would fit the reference itself
DAMPING = 0.1  # in variances of one standardised statistic
SCALED_ON = 2048  # images
_BATCH_VOXELS = 2**20  # that are normalised at once, or by a worker: some seconds of work
_LIMIT = 8.0  # in standard deviations of the reference: an all-zero image is far away, not infinitely far
_RADIUS = 3.0  # times the root of the number of axes; a reference image has about 1: one wild image must not decide a cubic kernel


@dataclass(frozen=True)
class Scale:
    """Location and scale of each channel of the reference, shapes (C,)."""

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, reference: PatchSet) -> "Scale":
        """Return the scale of the reference, of evenly spaced images of it where there are many.

        Raises
        ------
        UndefinedError
            If the reference is empty or not made of finite numbers.
        """
        if fault := faults_of(reference, "reference", constant=True):
            raise UndefinedError(fault)
        images = reference.images
        if len(images) > SCALED_ON:
            images = images[np.linspace(0, len(images) - 1, SCALED_ON).round().astype(np.intp)]
        axes = (0, *range(2, images.ndim))
        mean = images.mean(axis=axes, dtype=np.float64)
        spread = images.std(axis=axes, dtype=np.float64)
        return cls(mean.astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32))

    def apply(self, images: NDArray[Any]) -> Single:
        """Return images (N, C, [Z,] Y, X) with channels of zero mean and unit scale on the reference."""
        shape = (1, -1, *(1,) * (images.ndim - 2))
        return np.asarray((images.astype(np.float32) - self.mean.reshape(shape)) / self.spread.reshape(shape))


@dataclass(frozen=True)
class FeatureSpace:
    """Features with a name; the same images always have the same vectors.

    Parameters
    ----------
    name : str
        What metrics carry as ``features``.
    scale : Scale
        Brings images to the units that ``embed`` expects.
    embed : callable
        Normalised images (N, C, [Z,] Y, X) to raw statistics (N, D).
    centre, spread : array, shape (D,)
        Standardise the raw statistics.
    axes : array, shape (D, d)
        Principal axes, divided by their damped spread.
    workers : Workers
        Where images are embedded; changes no bit.
    """

    name: str
    scale: Scale
    embed: Embed
    centre: Array
    spread: Array
    axes: Array
    workers: Workers = HERE

    def transform(self, patches: PatchSet) -> Array:
        """Return the feature vectors, shape (N, d); images are read, normalised and embedded in batches."""
        size = max(1, _BATCH_VOXELS // max(1, math.prod(patches.images.shape[1:])))
        starts = range(0, len(patches), size)
        with ExitStack() as stack:
            if self.workers.several and len(starts) > 1:
                file = stack.enter_context(on_disk(patches.images))
                raw = self.workers.map(partial(_embedded, self.embed, self.scale, file, size), starts)
            else:
                raw = (self.embed(self.scale.apply(patches.images[i : i + size])) for i in starts)
            return np.concatenate([np.empty((0, self.axes.shape[1])), *map(self._of, raw)])

    def _of(self, raw: Array) -> Array:
        vectors = np.clip((raw - self.centre) / self.spread, -_LIMIT, _LIMIT) @ self.axes
        length = np.linalg.norm(vectors, axis=1, keepdims=True) / np.sqrt(vectors.shape[1])
        return np.asarray(vectors / np.maximum(length / _RADIUS, 1.0))


def _embedded(embed: Embed, scale: Scale, file: Path, size: int, start: int) -> Array:
    """Embed one batch of the images in a file, on a worker; its processor may round products of matrices otherwise, so these are left."""
    return embed(scale.apply(rows_of(file, start, start + size)))


def fit_space(name: str, embed: Embed, reference: PatchSet, scale: Scale | None = None, workers: Workers = HERE) -> FeatureSpace:
    """Fix a feature space on reference images.

    Parameters
    ----------
    workers : Workers
        Where images will be embedded; ``embed`` must be such that it can be sent there.

    Raises
    ------
    UndefinedError
        If the reference images do not differ from one another.
    """
    scale = scale or Scale.of(reference)
    rows = np.linspace(0, len(reference) - 1, min(len(reference), REFERENCE)).round().astype(np.intp)
    raw = embed(scale.apply(reference.images[rows]))
    centre, spread = raw.mean(axis=0), raw.std(axis=0)
    varied = spread > 1e-6
    if len(raw) < 3 or not varied.any():
        raise UndefinedError(f"features {name}: the {len(raw)} reference images do not differ from one another")
    spread = np.where(varied, spread, np.inf)  # a statistic that never varies on the reference says nothing
    values, vectors = np.linalg.eigh(np.cov(((raw - centre) / spread).T))
    kept = np.argsort(values)[::-1][: min(AXES_KEPT, max(2, len(raw) // 2))]
    values, vectors = np.maximum(values[kept], 0), vectors[:, kept]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(kept))])
    return FeatureSpace(name, scale, embed, centre, spread, vectors * signs / np.sqrt(values + DAMPING), workers)
