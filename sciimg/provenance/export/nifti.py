"""NIfTI-1: planes and volumes, one channel a file, never with a slope; the mark is ``descrip``, a comment extension and a JSON sidecar.

References
----------
NIfTI-1.1 header, nifti1.h: units (xyzt_units), orientation methods 1 and 3, extension code 6 (comment).
"""

import gzip
import json
from typing import Any

import numpy as np

from sciimg.errors import Problem
from sciimg.provenance.export.content import Content, Picture, refused

NAME = "nifti"
SUFFIX = ".nii.gz"
_COMMENT = 6
_LABEL = 1002  # NIFTI_INTENT_LABEL
_IN_MM = {"nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0}
_LARGEST = 32767  # dim is of 16 bits


def together(content: Content) -> bool:
    """Whether the channels go into one file: programs disagree on which axis they would be."""
    return False


def obstacles(content: Content) -> list[Problem]:
    """Return what NIfTI-1 cannot hold exactly."""
    found = []
    if odd := content.axes - {"yx", "zyx"}:
        found.append(refused(NAME, "The NIfTI export holds planes and volumes", ", ".join(sorted(odd)), "tiff"))
    if long := [row["shape"] for row in content.rows if max(json.loads(row["shape"])) > _LARGEST]:
        found.append(refused(NAME, f"NIfTI-1 holds up to {_LARGEST} voxels along an axis", f"images of {long[0]}", "tiff"))
    return found


def encode(picture: Picture) -> bytes:
    """Return the bytes of the gzipped file of a picture, axes yx or zyx; in the file x runs fastest, as NIfTI has it."""
    import nibabel

    voxels = np.ascontiguousarray(picture.pixels).T
    image: Any = nibabel.Nifti1Image(voxels, None, dtype=voxels.dtype)
    header = image.header
    sizes, unit = _sizes(picture)
    header.set_zooms(sizes)
    header.set_xyzt_units(unit)
    if picture.affine is not None:
        header.set_sform(picture.affine, code="scanner")
        header.set_qform(None, code=0)
    header["descrip"] = f"SYNTHETIC (trainedAlgorithmicMedia) {picture.about['dataset']} {picture.about['payload']}".encode()[:79]
    if picture.part == "mask":
        header.set_intent(_LABEL, name="mask")
    header.extensions.append(nibabel.nifti1.Nifti1Extension(_COMMENT, json.dumps(dict(picture.about), sort_keys=True).encode()))
    return gzip.compress(image.to_bytes(), 6, mtime=0)


def _sizes(picture: Picture) -> tuple[tuple[float, ...], str]:
    """Return sizes along x, y, z and their unit: the image's own; mm where it is placed in space, micrometres for nanometres."""
    spacing = picture.spacing
    values = tuple(reversed(spacing.values))
    if picture.affine is not None and spacing.unit != "pixel":
        return tuple(v * _IN_MM[spacing.unit] for v in values), "mm"
    match spacing.unit:
        case "millimeter":
            return values, "mm"
        case "micrometer":
            return values, "micron"
        case "nanometer":
            return tuple(v / 1000 for v in values), "micron"
        case _:
            return values, "unknown"
