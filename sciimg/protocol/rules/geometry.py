"""Shapes, spacing and the split."""

import math
from collections.abc import Iterator

from sciimg.protocol.data import SplitByBlocks
from sciimg.protocol.rules.parts import Fault, Parts


def shapes_are_positive(parts: Parts) -> Iterator[Fault]:
    for i, size in enumerate(parts.patches.shape if parts.patches else ()):
        if size < 1:
            yield ("patches", "shape", i), "bad-value", f"A patch has at least 1 pixel along each axis; got {size}. Change patches.shape."
    cell = parts.split.cell if isinstance(parts.split, SplitByBlocks) else ()
    for i, length in enumerate(cell):
        if length is not None and length < 1:
            message = f"A cell has at least 1 pixel along each axis, or null; got {length}. Change split.cell."
            yield ("split", "cell", i), "bad-value", message


def spacing_fits_axes(parts: Parts) -> Iterator[Fault]:
    for i, source in parts.sources:
        place = ("sources", i)
        if (source.spacing is None) != (source.unit is None):
            missing = "unit" if source.unit is None else "spacing"
            message = f"spacing and unit come together; {missing} is missing. Add it (`unit: pixel`: no physical size is known)."
            yield (*place, "unit" if source.spacing is None else "spacing"), "spacing-without-unit", message
        if source.spacing is None:
            continue
        for axis, value in enumerate(source.spacing):
            if not (math.isfinite(value) and value > 0):
                yield (*place, "spacing", axis), "bad-value", f"Spacing is > 0 on every axis; got {value}. Change sources[{i}].spacing."
        if parts.dims is not None and len(source.spacing) != parts.dims:
            axes = "z, y, x" if parts.dims == 3 else "y, x"
            message = (
                f"Spacing has one value for each spatial axis of a patch ({axes}); got {len(source.spacing)} for "
                f"{parts.dims}D patches. Change sources[{i}].spacing or patches.shape."
            )
            yield (*place, "spacing"), "spacing-length", message


def blocks_fit_axes(parts: Parts) -> Iterator[Fault]:
    split = parts.split
    if not isinstance(split, SplitByBlocks) or parts.dims is None:
        return
    if len(split.cell) != parts.dims:
        message = (
            f"A cell has one size for each spatial axis of a patch; got {len(split.cell)} for {parts.dims}D patches. "
            f"Give {parts.dims} sizes; null spans the image."
        )
        yield ("split", "cell"), "cell-length", message
    if split.axis == "z" and parts.dims == 2:
        yield ("split", "axis"), "no-such-axis", "2D patches come from images with the axes y and x; got a split along z. Use y or x."


def split_leaves_training_data(parts: Parts) -> Iterator[Fault]:
    if parts.split and parts.split.calibration + parts.split.holdout >= 1:
        held = parts.split.calibration + parts.split.holdout
        message = f"calibration + holdout is below 1, so that training data remain; got {held:g}. Lower one of them."
        yield ("split", "holdout"), "no-training-part", message
