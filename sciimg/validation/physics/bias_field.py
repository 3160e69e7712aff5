"""Bias field: how much brightness drifts across each sample, whatever tissue is where."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.air import brightness_cut
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import biased
from sciimg.validation.physics.per_sample import PerSample
from sciimg.validation.physics.tissues import class_numbers

Array = NDArray[np.float64]

_LEAST = 300  # voxels of the subject in a sample
_MOST = 8000  # more do not make a field of a dozen terms any clearer; every k-th is taken
_TUKEY = 4.685  # biweight: 95 % efficient for normal residuals
_ROUNDS = 3


@dataclass(frozen=True)
class _Basis:
    cuts: tuple[float, ...]  # between air and subject, per channel
    classes: dict[str, int]


class BiasField(PerSample):
    """Distance between distributions over samples of the strength of the low-order field in the logarithm of intensity."""

    name = "bias-field"
    estimator = (
        "per channel and sample with 300 or more voxels above Otsu's threshold: ln intensity = a constant for each class (and for what has "
        "none) + polynomial of order 2 in the coordinates, robust least squares (biweight); strength: ln of the polynomial's standard "
        "deviation over those voxels"
    )
    unit = "natural logarithm of a ratio of relative standard deviations of the field"
    source = (
        "Multiplicative low-order field: Meyer et al. 1995, doi:10.1109/42.370398; Van Leemput et al. 1999, doi:10.1109/42.811268; "
        "its place in quality control (inu): Esteban et al. 2017, doi:10.1371/journal.pone.0184661"
    )
    controls = (Control("field-1.5", biased(1.5)),)

    def undefined(self, real: PatchSet) -> str:
        return f"needs at least 8 pixels a side, got {real.images.shape[2:]}" if min(real.images.shape[2:]) < 8 else ""

    def basis(self, real: PatchSet) -> _Basis:
        cuts = tuple(brightness_cut(real.images[:, j].astype(np.float64)) for j in range(len(real.channels)))
        return _Basis(cuts, class_numbers(real))

    def values(self, patches: PatchSet, basis: _Basis) -> dict[str, Array]:
        terms = polynomial(patches.images.shape[2:])
        no_tissue = np.zeros(patches.images.shape[2:], np.int32)
        out = {}
        for j, channel in enumerate(patches.channels):
            rows = []
            for i, image in enumerate(patches.images[:, j]):
                values = image.astype(np.float64)
                tissue = no_tissue if patches.labels is None or not basis.classes else patches.labels[i]
                rows.append(_strength(values, tissue, values > max(basis.cuts[j], 0.0), terms))
            out[f"{channel}:strength"] = np.array(rows)
        return out

    def smallest(self, name: str) -> float:
        return 0.1


def polynomial(shape: tuple[int, ...]) -> Array:
    """Return the terms of order 1 and 2 in coordinates from -1 to 1, shape (terms, *shape)."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    pairs = combinations_with_replacement(range(len(axes)), 2)
    return np.stack([*axes, *(axes[a] * axes[b] for a, b in pairs)])


def field(values: Array, tissue: NDArray[np.int32], where: NDArray[np.bool_], terms: Array) -> Array:
    """Return the low-order field of one image in natural logarithms, mean 0, at the voxels of ``where``: shape (n,)."""
    classes = np.unique(tissue[where])
    constants = (tissue[where][:, None] == classes[None]).astype(np.float64)
    design = np.concatenate([constants, terms[:, where].T], axis=1)
    log = np.log(values[where])
    weight = np.ones(len(log))
    for _ in range(_ROUNDS):
        weighed = design * weight[:, None]
        found = np.linalg.lstsq(weighed.T @ design, weighed.T @ log, rcond=None)[0]  # normal equations: a dozen well-scaled terms
        away = log - design @ found
        spread = float(np.median(np.abs(away))) / 0.6744897501960817
        if spread <= 1e-12 * max(1.0, float(np.abs(log).max())):
            break
        weight = np.clip(1 - (away / (_TUKEY * spread)) ** 2, 0, 1) ** 2
    drift: Array = design[:, len(classes) :] @ found[len(classes) :]
    return np.asarray(drift - drift.mean())


def _strength(values: Array, tissue: NDArray[np.int32], where: NDArray[np.bool_], terms: Array) -> float:
    if where.sum() < _LEAST:
        return np.nan
    thinned = np.zeros(where.size, bool)
    thinned[np.flatnonzero(where)[:: -(-int(where.sum()) // _MOST)]] = True
    return float(np.log(max(field(values, tissue, thinned.reshape(where.shape), terms).std(), 1e-6)))
