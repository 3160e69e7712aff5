"""Gibbs ringing: oscillation at the scale of a pixel that runs away from strong edges, across them and not along them."""

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import truncated
from sciimg.validation.physics.per_sample import PerSample

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_NEAR, _FAR = 3, 6  # pixels from an edge between which ringing is looked for
_EDGE = 0.95  # quantile of the real gradient from which an edge is strong
_LEAST = 100  # pixels near edges in a sample


class Ringing(PerSample):
    """Distance between distributions over samples of the logarithm of oscillation across edges over that along them."""

    name = "ringing"
    estimator = (
        "per channel and sample: pixels 3 to 6 away, along an axis, from a gradient along that axis above the real 95 % quantile, and 3 or "
        "more from every such gradient along any axis; ln of the mean square of the second difference [1, -2, 1] / 4 (1 at the Nyquist "
        "frequency) along that axis over that along the other axes; 0 for isotropic noise"
    )
    unit = "natural logarithm of a ratio of energies"
    source = (
        "Oscillation beside edges after truncation of k-space: Kellner et al. 2016, doi:10.1002/mrm.26054; "
        "Veraart et al. 2016, doi:10.1002/mrm.25866"
    )
    controls = (Control("truncation-0.6", truncated(0.6)),)

    def undefined(self, real: PatchSet) -> str:
        return f"needs at least 16 pixels a side, got {real.images.shape[2:]}" if min(real.images.shape[2:]) < 16 else ""

    def basis(self, real: PatchSet) -> tuple[float, ...]:
        cuts = []
        for j in range(len(real.channels)):
            images = real.images[:, j].astype(np.float64)
            slopes = [np.abs(gradient(images, axis)).ravel() for axis in range(1, images.ndim)]
            cuts.append(max(float(np.quantile(np.concatenate(slopes), _EDGE)), np.finfo(np.float64).tiny))
        return tuple(cuts)

    def values(self, patches: PatchSet, basis: tuple[float, ...]) -> dict[str, Array]:
        return {
            f"{channel}:oscillation": np.array([_oscillation(image.astype(np.float64), basis[j]) for image in patches.images[:, j]])
            for j, channel in enumerate(patches.channels)
        }

    def smallest(self, name: str) -> float:
        return 0.05


def gradient(images: Array, axis: int) -> Array:
    """Return the central difference along an axis, 0 at its ends."""
    out = np.zeros_like(images)
    inner = [slice(None)] * images.ndim
    before, after = list(inner), list(inner)
    inner[axis], before[axis], after[axis] = slice(1, -1), slice(0, -2), slice(2, None)
    out[tuple(inner)] = (images[tuple(after)] - images[tuple(before)]) / 2
    return out


def near_edges(image: Array, axis: int, cut: float) -> Mask:
    """Return the pixels at which ringing from edges across ``axis`` is looked for."""
    strong = [np.abs(gradient(image, a)) > cut for a in range(image.ndim)]
    close = np.any([_spread(edges, a, _NEAR - 1) for a, edges in enumerate(strong)], axis=0)
    inside = np.zeros(image.shape, bool)
    inside[(slice(1, -1),) * image.ndim] = True
    return np.asarray(_spread(strong[axis], axis, _FAR) & ~close & inside, dtype=bool)


def energies(image: Array, cut: float) -> tuple[float, float, int]:
    """Return the sums of squared second differences across edges and along them (mean over the other axes), and the number of pixels."""
    second = [_second(image, axis) ** 2 for axis in range(image.ndim)]
    across, along, number = 0.0, 0.0, 0
    for axis in range(image.ndim):
        where = near_edges(image, axis, cut)
        across += float(second[axis][where].sum())
        along += float(np.mean([second[a][where].sum() for a in range(image.ndim) if a != axis]))
        number += int(where.sum())
    return across, along, number


def _oscillation(image: Array, cut: float) -> float:
    across, along, number = energies(image, cut)
    return float(np.log(across / along)) if number >= _LEAST and across > 0 and along > 0 else np.nan


def _second(image: Array, axis: int) -> Array:
    out = np.zeros_like(image)
    inner, before, after = ([slice(None)] * image.ndim for _ in range(3))
    inner[axis], before[axis], after[axis] = slice(1, -1), slice(0, -2), slice(2, None)
    out[tuple(inner)] = (image[tuple(before)] - 2 * image[tuple(inner)] + image[tuple(after)]) / 4
    return out


def _spread(mask: Mask, axis: int, reach: int) -> Mask:
    """Return the pixels up to ``reach`` away from the mask along an axis."""
    out = mask.copy()
    for step in range(1, reach + 1):
        head, tail = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        head[axis], tail[axis] = slice(None, -step), slice(step, None)
        out[tuple(head)] |= mask[tuple(tail)]
        out[tuple(tail)] |= mask[tuple(head)]
    return out
