"""From directions and an origin as formats write them to one affine: voxel (x, y, z) → RAS mm."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import refuse

LPS = np.diag([-1.0, -1.0, 1.0])  # DICOM, ITK → RAS
LAS = np.diag([-1.0, 1.0, 1.0])
RAS = np.eye(3)
_SQUARE = 1e-3  # cosine between two axes; headers round directions to three digits or more


def placed(columns: NDArray[np.float64], origin: NDArray[np.float64], where: Path) -> tuple[NDArray[np.float64], tuple[Problem, ...]]:
    """Return the affine, with a note when its axes are not at right angles.

    Parameters
    ----------
    columns : array (3, 3)
        Column i is the step in mm (RAS) of one sample along x, y, z. A third column of zeros (one plane in space) becomes the unit normal.
    origin : array (3,)
        Centre of the first sample, RAS mm.
    where : Path
        For messages.

    Raises
    ------
    InputError
        Kind ``singular-affine``.
    """
    columns = np.array(columns, np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if not columns[:, 2].any():
            normal = np.cross(columns[:, 0], columns[:, 1])
            columns[:, 2] = normal / np.linalg.norm(normal)
        unit = columns / np.linalg.norm(columns, axis=0)
        sound = np.isfinite(unit).all() and np.isfinite(columns).all() and np.isfinite(origin).all() and abs(np.linalg.det(unit)) > 1e-6
    if not sound:
        message = (
            f"Directions and origin must place every sample in space; the matrix {columns.tolist()} with origin "
            f"{np.asarray(origin).tolist()} is singular or not finite. Repair the header."
        )
        raise refuse(where, "singular-affine", message)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    cosine = float(np.abs(np.triu(unit.T @ unit, 1)).max())
    if cosine <= _SQUARE:
        return affine, ()
    angle = np.degrees(np.arccos(min(cosine, 1.0)))
    message = (
        f"The axes are not at right angles (two of them meet at {angle:.2f} degrees); the affine is kept, spacing runs along the axes."
    )
    return affine, (Problem(where.name, "not-orthogonal", message),)


def in_mm_by_custom(where: Path, format: str) -> Problem:
    """Return the note for lengths without a unit in a format whose readers all take them as mm."""
    message = f"The header names no unit but places the image in space, which readers of {format} take as mm; so does sciimg."
    return Problem(where.name, "unit-not-stated", message)
