"""What the ``zarr.json`` of an OME-Zarr 0.5 image says, read once and checked: sciimg's own images and those of others."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.records import Digest
from sciimg.types import AXES, Channel, LabelKind, Spacing

NAMESPACE = "sciimg"
_LENGTHS = ("nanometer", "micrometer", "millimeter")


@dataclass(frozen=True)
class Header:
    """The metadata of an image; ``described`` is all that its content digest covers, empty for images of others."""

    ome: dict[str, Any]
    paths: tuple[str, ...]
    axes: str
    spacing: Spacing | None
    channel_names: tuple[str | None, ...]
    channels: tuple[Channel, ...] | None = None
    affine: NDArray[np.float64] | None = None
    acquisition: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    label_kind: LabelKind | None = None
    label_max: int = 0
    digest: Digest | None = None
    described: dict[str, Any] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Return the header of an image.

    Raises
    ------
    InputError
        Kind ``not-ome-zarr``.
    """
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
        ome = attributes["ome"]
        scales = ome["multiscales"][0]
        axes = _axes(scales)
        common = {
            "ome": ome,
            "paths": tuple(_inside(d["path"]) for d in scales["datasets"]),
            "axes": axes,
            "channel_names": tuple(c.get("label") for c in ome.get("omero", {}).get("channels", ())),
        }
        own = attributes.get(NAMESPACE)
        return Header(**common, **_own(own)) if own else Header(**common, spacing=_declared_spacing(scales))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        message = f"An OME-Zarr 0.5 image is a folder with a zarr.json that describes multiscales; {type(error).__name__}: {error}."
        raise InputError(Problem(str(path), "not-ome-zarr", message)) from error


def _axes(scales: dict[str, Any]) -> str:
    axes = "".join(str(a["name"]) for a in scales["axes"])
    if axes != "".join(a for a in AXES if a in axes) or not axes.endswith("yx"):
        raise ValueError(f"axes must be letters of {AXES!r} in that order, with y and x; got {axes!r}")
    return axes


def _inside(path: Any) -> str:
    """Refuse a path that leads out of the image."""
    if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"a dataset lies inside its image; got the path {path!r}")
    return path


def _own(own: dict[str, Any]) -> dict[str, Any]:
    kind, affine = own["label_kind"], own["affine_ras_mm"]
    if kind is not None and kind not in get_args(LabelKind):
        raise ValueError(f"label_kind must be one of {', '.join(get_args(LabelKind))}; got {kind!r}")
    return {
        "spacing": Spacing(tuple(float(v) for v in own["spacing"]["values"]), own["spacing"]["unit"]),
        "channels": tuple(Channel(c["name"], c["wavelength_nm"]) for c in own["channels"]),
        "affine": None if affine is None else np.array(affine, dtype=np.float64).reshape(4, 4),
        "acquisition": dict(own["acquisition"]),
        "attributes": dict(own["attributes"]),
        "label_kind": kind,
        "label_max": int(own["label_max"]),
        "digest": own.get("digest"),
        "described": {k: v for k, v in own.items() if k != "digest"},
    }


def _declared_spacing(scales: dict[str, Any]) -> Spacing | None:
    """Return the spacing that OME metadata alone give: None without a scale or a known unit of length."""
    spatial = [i for i, a in enumerate(scales["axes"]) if a.get("type") == "space"]
    units = {scales["axes"][i].get("unit") for i in spatial}
    steps = scales["datasets"][0].get("coordinateTransformations", ())
    scale = next((s["scale"] for s in steps if s["type"] == "scale"), None)
    if scale is None or len(units) != 1 or not units <= set(_LENGTHS):
        return None
    return Spacing(tuple(float(scale[i]) for i in spatial), units.pop())
