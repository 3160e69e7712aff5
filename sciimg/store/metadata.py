"""OME-Zarr 0.5 metadata: what other programs read. What OME-Zarr has no place for goes into the group attribute ``sciimg``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.records import canonical_json
from sciimg.store.layout import Level
from sciimg.store.shards import make_folders
from sciimg.types import SPATIAL, Channel, Spacing

VERSION = "0.5"
_METHODS = {
    "mean": "Exact mean of up to 2 samples along each spatial axis; halves of integers are rounded up.",
    "nearest": "First of up to 2 samples along each spatial axis: labels are never mixed.",
}
_DIRECTIONS = (  # negative, positive along the world's x, y, z (RAS)
    ("right-to-left", "left-to-right"),
    ("anterior-to-posterior", "posterior-to-anterior"),
    ("superior-to-inferior", "inferior-to-superior"),
)
_TYPES = {"t": "time", "c": "channel"}
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
_KNOWN_COLOURS = {
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "dapi": "0000FF",
    "hoechst": "0000FF",
    "haematoxylin": "4040FF",
    "dab": "A0522D",
}


def write_group(path: Path, attributes: dict[str, Any]) -> None:
    """Write the ``zarr.json`` of a group; the folder is made where it is missing."""
    make_folders(path)
    (path / "zarr.json").write_bytes(canonical_json({"zarr_format": 3, "node_type": "group", "attributes": attributes}))


def multiscales(
    name: str, axes: str, levels: Sequence[Level], spacing: Spacing, method: str, affine: NDArray[np.float64] | None = None
) -> list[dict[str, Any]]:
    """Return the ``multiscales`` entry of an image; coarser levels are shifted by the half pixels that averaging moves them.

    With an affine (voxel x, y, z to RAS mm), spatial axes say into which direction of the body they run (NGFF RFC 4).
    """
    towards = {} if affine is None else _orientations(affine)
    return [
        {
            "name": name,
            "axes": [_axis(a, spacing, towards) for a in axes],
            "datasets": [{"path": str(i), "coordinateTransformations": _transformations(axes, v, spacing)} for i, v in enumerate(levels)],
            "type": method,
            "metadata": {"description": _METHODS[method]},
        }
    ]


def _axis(name: str, spacing: Spacing, towards: dict[str, str]) -> dict[str, Any]:
    axis: dict[str, Any] = {"name": name, "type": _TYPES.get(name, "space")}
    if name in SPATIAL and spacing.unit != "pixel":  # "pixel" is no unit of length; viewers refuse it
        axis["unit"] = spacing.unit
    if name in towards:
        axis["orientation"] = {"type": "anatomical", "value": towards[name]}
    return axis


def left_right_axis(affine: NDArray[np.float64] | None) -> str | None:
    """Return which of x, y, z runs between left and right, to within 10 degrees; None where nothing says so."""
    if affine is None:
        return None
    cosines = np.abs(affine[0, :3]) / np.linalg.norm(affine[:3, :3], axis=0)
    voxel = int(np.argmax(cosines))
    return "xyz"[voxel] if cosines[voxel] >= np.cos(np.deg2rad(10)) else None


def _orientations(affine: NDArray[np.float64]) -> dict[str, str]:
    """Return, for each of x, y, z, the anatomical direction of RFC 4 that it is closest to; each direction is used once."""
    left = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    found = {}
    for _ in range(3):
        world, voxel = np.unravel_index(int(np.argmax(left)), left.shape)
        found["xyz"[voxel]] = _DIRECTIONS[world][int(affine[world, voxel] > 0)]
        left[world, :] = left[:, voxel] = -1.0
    return found


def _transformations(axes: str, level: Level, spacing: Spacing) -> list[dict[str, Any]]:
    values = iter(spacing.values)
    scale = [next(values) * f if a in SPATIAL else 1.0 for a, f in zip(axes, level.total, strict=True)]
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if max(level.total) > 1:
        shift = [s / f * (f - 1) / 2 for s, f in zip(scale, level.total, strict=True)]
        steps.append({"type": "translation", "translation": shift})
    return steps


def omero(channels: Sequence[Channel], windows: Sequence[tuple[float, float, float, float]]) -> dict[str, Any]:
    """Return display settings.

    Parameters
    ----------
    channels : sequence of Channel
    windows : sequence of (min, max, start, end)
        Range of the values in the image and the part of it to show, a channel.
    """
    settings = [
        {
            "label": channel.name,
            "color": _KNOWN_COLOURS.get(channel.name.lower(), _COLOURS[i % len(_COLOURS)]),
            "active": True,
            "window": {"min": low, "max": high, "start": start, "end": end},
        }
        for i, (channel, (low, high, start, end)) in enumerate(zip(channels, windows, strict=True))
    ]
    return {"version": VERSION, "channels": settings, "rdefs": {"model": "greyscale" if len(settings) == 1 else "color"}}
