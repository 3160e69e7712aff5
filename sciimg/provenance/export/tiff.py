"""OME-TIFF: planes and volumes, all channels in one file, every common type of number; the mark is an XMP packet and OME's description.

References
----------
OME-TIFF, OME model 2016-06; XMP in TIFF: tag 700, XMP part 3, 1.1.6.
"""

import io
import uuid
from typing import Any

import numpy as np

from sciimg.errors import Problem
from sciimg.provenance.export.content import Content, Picture, refused, sentence
from sciimg.provenance.export.xmp import packet

NAME = "tiff"
SUFFIX = ".ome.tiff"
_XMP = 700
_BYTE = 1
_HELD = {np.dtype(t) for t in ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8")}
_UNITS = {"nanometer": "nm", "micrometer": "µm", "millimeter": "mm"}


def together(content: Content) -> bool:
    """Whether the channels go into one file."""
    return True


def obstacles(content: Content) -> list[Problem]:
    """Return what OME-TIFF cannot hold exactly."""
    odd = [d.name for d in content.dtypes if d not in _HELD]
    return [refused(NAME, "OME-TIFF holds numbers of up to 32 bits and floats", ", ".join(odd), "nifti")] if odd else []


def encode(picture: Picture) -> bytes:
    """Return the bytes of the file of a picture."""
    import tifffile

    about = picture.about
    metadata: dict[str, Any] = {
        "axes": picture.axes.upper(),
        "Name": picture.name,
        "Description": sentence(about),
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{about['payload']}/{about['image']}/{about['part']}/{'/'.join(picture.channels)}")),
        "Creator": f"sciimg, recipe {about['recipe']}",
    }
    if picture.spacing.unit != "pixel":
        for axis, value in zip(picture.axes.replace("c", "").upper(), picture.spacing.values, strict=True):
            metadata |= {f"PhysicalSize{axis}": value, f"PhysicalSize{axis}Unit": _UNITS[picture.spacing.unit]}
    if picture.channels:
        metadata["Channel"] = {"Name": list(picture.channels)}
    mark, file = packet(about), io.BytesIO()
    tifffile.imwrite(
        file,
        picture.pixels,
        ome=True,
        metadata=metadata,
        photometric="minisblack",
        compression="zlib",
        extratags=[(_XMP, _BYTE, len(mark), mark, True)],
    )
    return file.getvalue()
