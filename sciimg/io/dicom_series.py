"""From the slices of a DICOM series to a stack over time and space, with every reason why they do not make one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.io.dicom_header import Frame
from sciimg.io.faults import refuse

SAME_PLACE_MM = 1e-2  # headers carry five or six digits of positions of some hundred mm
UNEVEN = 0.05  # relative difference between slice distances that is still one distance
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Geometry:
    """Where a stack lies: spacing along the spatial axes it knows, and voxel index (x, y, z, 1) to RAS mm."""

    spacing_mm: Mapping[str, float]
    affine: NDArray[np.float64] | None


def arrange(frames: Sequence[Frame], where: Path) -> tuple[list[list[Frame]], Geometry, tuple[Problem, ...]]:
    """Return frames by time and place, their geometry, and what is worth noting.

    Frames at one place follow one another in time; every place must have as many. Places must follow one another along the normal of
    the slices at one distance.

    Raises
    ------
    InputError
        Kinds ``mixed-series``, ``duplicate-slices``, ``missing-slices``, ``slice-gap``, ``uneven-slices``, ``no-position``.
    """
    _refuse_mixed(frames, where)
    first = frames[0]
    in_plane = {"y": first.pixel_mm[0], "x": first.pixel_mm[1]} if first.pixel_mm else {}
    if first.orientation is None or any(f.position is None for f in frames):
        if len(frames) > 1:
            raise refuse(where, "no-position", "Slices of a series must say where they lie; these have no ImagePositionPatient.")
        return [list(frames)], Geometry(in_plane, None), ()
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    places = _places(frames, normal)
    _refuse_duplicates(places, where)
    _refuse_missing(places, where)
    stack = [list(row) for row in zip(*places, strict=True)]
    step, notes = _step(places, normal, where)
    spacing = in_plane | ({"z": float(np.linalg.norm(step))} if len(places) > 1 else {})
    return stack, Geometry(spacing, _affine(stack[0][0], step)), notes


def _refuse_mixed(frames: Sequence[Frame], where: Path) -> None:
    if not frames:
        raise refuse(where, "empty-folder", "A series needs at least one DICOM file; the folder holds none.")
    series = Counter(f.series for f in frames)
    if len(series) > 1:
        examples = ", ".join(next(f.path.name for f in frames if f.series == s) for s in list(series)[:4])
        message = f"One folder must hold one series; this one holds {len(series)} (e.g. {examples}). Put each into a folder of its own."
        raise refuse(where, "mixed-series", message)
    formats = Counter(f.format_key for f in frames)
    turned = [f for f in frames if not _same_direction(f, frames[0])]
    if len(formats) > 1 or turned:
        odd = turned[0] if turned else next(f for f in frames if f.format_key != formats.most_common(1)[0][0])
        message = (
            "All slices of a volume must share size, pixel spacing, orientation, pixel format, echo time and kind (magnitude, phase); "
            f"{odd.path.name} differs from the others. Put different images into folders of their own."
        )
        raise refuse(where, "mixed-series", message)


def _same_direction(frame: Frame, other: Frame) -> bool:
    if frame.orientation is None or other.orientation is None:
        return frame.orientation is other.orientation
    return bool(np.allclose(frame.orientation, other.orientation, atol=1e-3))


def _places(frames: Sequence[Frame], normal: NDArray[np.float64]) -> list[list[Frame]]:
    """Return the frames grouped by place along the normal, each group in order of time."""
    ordered = sorted(frames, key=lambda f: (float(_position(f) @ normal), f.time_key, f.path.name))
    places: list[list[Frame]] = []
    for frame in ordered:
        if places and (_position(frame) - _position(places[-1][0])) @ normal < SAME_PLACE_MM:
            places[-1].append(frame)
        else:
            places.append([frame])
    return [sorted(place, key=lambda f: (f.time_key, f.path.name)) for place in places]


def _refuse_duplicates(places: Sequence[Sequence[Frame]], where: Path) -> None:
    twins = []
    for place in places:
        for one, other in pairwise(place):
            same = one.path != other.path and one.instance == other.instance and one.instance
            if same or one.time_key == other.time_key:
                twins.append(f"{one.path.name} = {other.path.name}")
    if twins:
        message = f"Every slice must be there once; {len(twins)} are there again: {', '.join(twins[:4])}. Remove the copies."
        raise refuse(where, "duplicate-slices", message)


def _refuse_missing(places: Sequence[Sequence[Frame]], where: Path) -> None:
    counts = Counter(len(place) for place in places)
    if len(counts) > 1:
        full = max(counts)
        short = [n for n, place in enumerate(places) if len(place) < full]
        message = f"Every place must have as many time points; {full} are at most places, fewer at slice {short[:5]}. Get the whole series."
        raise refuse(where, "missing-slices", message)


def _step(places: Sequence[Sequence[Frame]], normal: NDArray[np.float64], where: Path) -> tuple[NDArray[np.float64], tuple[Problem, ...]]:
    """Return the vector from slice to slice."""
    first = places[0][0]
    declared = first.millimetres("SpacingBetweenSlices")
    if len(places) == 1:
        return normal * (declared or first.millimetres("SliceThickness") or 1.0), ()
    positions = np.stack([_position(place[0]) for place in places])
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    distance = float(np.median(along))
    problems = [p for n, d in enumerate(along) if (p := _uneven(d / distance, places[n][0], places[n + 1][0], distance, where))]
    if np.linalg.norm(steps - np.outer(along, normal), axis=1).max() > UNEVEN * distance:
        problems.append(Problem(str(where), "sheared", "Slices must lie straight above one another (no gantry tilt). Resample the series."))
    if problems:
        raise InputError(problems)
    step = (positions[-1] - positions[0]) / (len(places) - 1)
    if declared and abs(distance / declared - 1) > UNEVEN:
        message = f"SpacingBetweenSlices says {declared:g} mm, the positions {distance:g} mm. The positions are used; are slices missing?"
        return step, (Problem(where.name, "slice-distance", message),)
    return step, ()


def _uneven(ratio: float, one: Frame, other: Frame, distance: float, where: Path) -> Problem | None:
    if abs(ratio - 1) <= UNEVEN:
        return None
    missing = round(ratio) - 1
    between = f"between {one.path.name} and {other.path.name}"
    if missing >= 1 and abs(ratio - round(ratio)) <= UNEVEN * ratio:
        message = f"Slices must follow one another every {distance:.4g} mm; {missing} missing {between}. Get the whole series."
        return Problem(str(where), "slice-gap", message)
    message = f"Slices must follow one another every {distance:.4g} mm; {between} it is {ratio * distance:.4g} mm. Resample the series."
    return Problem(str(where), "uneven-slices", message)


def _affine(first: Frame, step: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """DICOM PS3.3, C.7.6.2.1.1, turned from LPS to RAS."""
    if first.pixel_mm is None or first.orientation is None:
        return None
    columns = (first.orientation[:3] * first.pixel_mm[1], first.orientation[3:] * first.pixel_mm[0], step, _position(first))
    affine = np.eye(4)
    affine[:3] = np.stack(columns, axis=1)
    turned: NDArray[np.float64] = LPS_TO_RAS @ affine
    return turned


def _position(frame: Frame) -> NDArray[np.float64]:
    assert frame.position is not None  # checked on the way in
    return frame.position
