"""The metadata of OME-Zarr 0.5 as plain functions: https://ngff.openmicroscopy.org/0.5."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.types import SPATIAL, Channel, Spacing

VERSION = "0.5"
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
_KIND = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@dataclass(frozen=True)
class Grid:
    """One resolution level: its shape, its spacing along the spatial axes, and the step from the level below it along each axis."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    step: tuple[int, ...]
    offset: tuple[float, ...]


def pyramid(axes: str, shape: tuple[int, ...], spacing: tuple[float, ...], levels: int | None, *, coarsest: int) -> list[Grid]:
    """Return the levels: each halves the finest spatial axes (within a factor of √2), so that spacing becomes more even.

    Parameters
    ----------
    axes, shape : str, tuple of int
        Of level 0.
    spacing : tuple of float
        Along the spatial axes.
    levels : int or None
        How many; None goes on until the longest spatial axis has at most ``coarsest`` samples.
    coarsest : int
        See ``levels``.
    """
    grids = [Grid(shape, spacing, (1,) * len(shape), (0.0,) * len(spacing))]
    spatial = [i for i, a in enumerate(axes) if a in SPATIAL]
    while len(grids) != levels and (levels is not None or max(grids[-1].shape[i] for i in spatial) > coarsest):
        last = grids[-1]
        finest = min(last.spacing)
        halved = [last.shape[i] > 1 and s <= finest * 2**0.5 for i, s in zip(spatial, last.spacing, strict=True)]
        if not any(halved):
            break
        step = [1] * len(shape)
        for i, half in zip(spatial, halved, strict=True):
            step[i] = 2 if half else 1
        grids.append(
            Grid(
                tuple(-(-n // s) for n, s in zip(last.shape, step, strict=True)),
                tuple(s * (2 if half else 1) for s, half in zip(last.spacing, halved, strict=True)),
                tuple(step),
                # the centre of a coarse pixel lies half a fine pixel further than the centre of its first fine pixel
                tuple(o + (s / 2 if half else 0.0) for o, s, half in zip(last.offset, last.spacing, halved, strict=True)),
            )
        )
    return grids


def halve(values: NDArray[Any], step: Sequence[int]) -> NDArray[Any]:
    """Return the exact mean over blocks of ``step``; at an odd edge the mean of what is there; integers are rounded half to even."""
    total = values.astype(np.float64)
    for axis, factor in enumerate(step):
        if factor == 1:
            continue
        if total.shape[axis] % 2:
            total = np.concatenate([total, np.take(total, [-1], axis=axis)], axis=axis)
        first = total[(slice(None),) * axis + (slice(0, None, 2),)]
        second = total[(slice(None),) * axis + (slice(1, None, 2),)]
        total = (first + second) / 2  # exact: sums of at most 8 integers below 2**50
    return (np.rint(total) if values.dtype.kind in "iu" else total).astype(values.dtype)


def multiscale(axes: str, spacing: Spacing, grids: list[Grid], method: str) -> dict[str, Any]:
    """Return the ``multiscales`` entry: axes with units, and scale and translation of every level."""

    def axis(name: str) -> dict[str, str]:
        unit = {"unit": spacing.unit} if name in SPATIAL and spacing.unit != "pixel" else {}  # "pixel" is no unit of the standard
        return {"name": name, "type": _KIND[name]} | unit

    def spread(values: tuple[float, ...], other: float) -> list[float]:
        along = iter(values)
        return [next(along) if a in SPATIAL else other for a in axes]

    return {
        "name": "image",
        "axes": [axis(a) for a in axes],
        "type": method,
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": spread(grid.spacing, 1.0)},
                    {"type": "translation", "translation": spread(grid.offset, 0.0)},
                ],
            }
            for level, grid in enumerate(grids)
        ],
    }


def omero(channels: tuple[Channel, ...], dtype: np.dtype[Any], low: float, high: float) -> dict[str, Any]:
    """Return display settings: a window over the values that occur, within the range that the type allows."""
    least, most = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype.kind in "iu" else (low, high)
    window = {"min": least, "max": most, "start": low, "end": high if high > low else low + 1.0}
    return {
        "channels": [
            {"label": c.name, "color": _COLOURS[i % len(_COLOURS)] if len(channels) > 1 else _COLOURS[0], "active": True, "window": window}
            for i, c in enumerate(channels)
        ]
    }
