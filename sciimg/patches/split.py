"""Train, calibration and holdout: by whole groups, or by strips of each image with a guard gap."""

import json
import math
from collections.abc import Sequence

import pandas as pd

from sciimg.errors import InputError, Problem
from sciimg.patches.alike import SAME, alike_problems
from sciimg.patches.location import PatchLocation
from sciimg.patches.regions import Region, to_table
from sciimg.protocol.data import Split, SplitByBlocks, SplitByColumn
from sciimg.randomness import generator
from sciimg.store import Collection
from sciimg.types import PARTS, SPATIAL, Part


def make_split(collection: Collection, split: Split, patch_shape: tuple[int, ...]) -> pd.DataFrame:
    """Assign boxes of images to parts.

    Parameters
    ----------
    collection : Collection
    split : Split
        As in the study; the assignment depends on it and on the names of the groups, on nothing else.
    patch_shape : tuple of int
        Along the last spatial axes. Every strip must hold a patch; by columns, images that are smaller are padded when they are read.

    Returns
    -------
    DataFrame
        Regions as in :mod:`sciimg.patches.regions`.

    Raises
    ------
    InputError
        Kinds ``dimensions``, ``mixed-images``, ``unknown-column``, ``no-group``, ``too-few-groups``, ``axes``, ``too-small``.
    """
    if problems := alike_problems(collection.columns("id", "axes", *SAME), patch_shape):
        raise InputError(problems)
    match split:
        case SplitByColumn():
            return to_table(_by_column(collection, split))
        case SplitByBlocks():
            return to_table(_by_blocks(collection, split, patch_shape))


def group_of(region: Region, location: PatchLocation) -> str:
    """Return the statistical group of a patch of a region."""
    return region.group_of(location)


# ---------------------------------------------------------------- by column


def _by_column(collection: Collection, split: SplitByColumn) -> list[Region]:
    check_columns(collection, split)
    table = collection.columns("id", "axes", "shape", split.column, *([split.stratify] if split.stratify else []))
    groups = table[split.column].astype(str)
    parts = _parts_of_groups(groups, table[split.stratify].astype(str) if split.stratify else None, split)
    if missing := [part for part in PARTS if part not in parts.values()]:
        message = (
            f"Every part needs a whole {split.unit}, and three parts need at least 3; there are {len(parts)}, and none is left "
            f"for {', '.join(missing)}. Add images, or split by blocks."
        )
        raise InputError(Problem(str(collection.path), "too-few-groups", message))
    extents = [extent_of(axes, shape) for axes, shape in zip(table["axes"], table["shape"], strict=True)]
    return [
        Region(id, parts[group], group, (0,) * len(extent), extent) for id, group, extent in zip(table["id"], groups, extents, strict=True)
    ]


def check_columns(collection: Collection, split: SplitByColumn) -> None:
    """Refuse a catalogue that lacks a column which the split reads, or has images without a value there."""
    table = collection.columns("id", split.column, *([split.stratify] if split.stratify else []))
    problems = []
    for name in (split.column, split.stratify):
        if name is None:
            continue
        if name not in table:
            known = ", ".join(collection.select().columns)
            message = f"The split needs a column {name!r}; the catalogue has {known}. Give it in the source's table."
            problems.append(Problem("split", "unknown-column", message))
        elif table[name].isna().any():
            empty = ", ".join(table.loc[table[name].isna(), "id"].head(5))
            message = f"Every image needs a value in column {name!r}, which the split reads; these have none: {empty}. Fill it in."
            problems.append(Problem("split", "no-group", message))
    if problems:
        raise InputError(problems)


def _parts_of_groups(groups: "pd.Series[str]", strata: "pd.Series[str] | None", split: SplitByColumn) -> dict[str, Part]:
    """Return the part of every group; inside each stratum (that of most of a group's images) the fractions are kept."""
    if strata is None:
        return _assign(sorted(groups.unique()), split, "")
    usual = strata_of(groups, strata)
    parts: dict[str, Part] = {}
    for stratum in sorted(set(usual.values())):
        parts |= _assign(sorted(g for g, s in usual.items() if s == stratum), split, stratum)
    return parts


def strata_of(groups: "pd.Series[str]", strata: "pd.Series[str]") -> dict[str, str]:
    """Return the stratum of every group: that of most of its images, the first by name where two are as frequent."""
    return {str(group): sorted(same.mode())[0] for group, same in strata.groupby(groups)}


def _assign(groups: Sequence[str], split: SplitByColumn, stratum: str) -> dict[str, Part]:
    order = generator("split", split.column, stratum, json.dumps(list(groups))).permutation(len(groups))
    holdout = max(1, round(split.holdout * len(groups))) if len(groups) > 1 else 0
    calibration = max(1, round(split.calibration * len(groups))) if len(groups) > 2 else 0
    named: list[Part] = [*["holdout"] * holdout, *["calibration"] * calibration]  # type: ignore[list-item]
    named = named[: len(groups) - 1]  # the training part is never empty
    return dict(zip([groups[i] for i in order], [*named, *["train"] * (len(groups) - len(named))], strict=True))


# ---------------------------------------------------------------- by blocks


def _by_blocks(collection: Collection, split: SplitByBlocks, patch_shape: tuple[int, ...]) -> list[Region]:
    regions: list[Region] = []
    problems: list[Problem] = []
    table = collection.columns("id", "axes", "shape")
    for id, axes, shape in zip(table["id"], table["axes"], table["shape"], strict=True):
        spatial = "".join(a for a in axes if a in SPATIAL)
        if split.axis not in spatial or len(split.cell) != len(spatial):
            message = f"A split along {split.axis!r} with {len(split.cell)} edges of a cell needs such axes; the image has {spatial}."
            problems.append(Problem(id, "axes", message))
            continue
        found = _image_strips(id, extent_of(axes, shape), spatial.index(split.axis), split)
        problems += too_small(found, patch_shape)
        regions += found
    if problems:
        raise InputError(problems)
    return regions


def _image_strips(id: str, extent: tuple[int, ...], along: int, split: SplitByBlocks) -> list[Region]:
    regions = []
    for part, (first, last) in strips(extent[along], split).items():
        start = tuple(first if i == along else 0 for i in range(len(extent)))
        stop = tuple(last if i == along else n for i, n in enumerate(extent))
        cell = tuple(b - a if c is None else min(c, b - a) for c, a, b in zip(split.cell, start, stop, strict=True))
        regions.append(Region(id, part, "", start, stop, cell))
    return regions


def strips(length: int, split: SplitByBlocks) -> dict[Part, tuple[int, int]]:
    """Return [start, stop) of each part along the axis: train, gap, calibration, gap, holdout."""
    usable = length - 2 * split.guard_px
    holdout, calibration = math.floor(usable * split.holdout), math.floor(usable * split.calibration)
    train = usable - holdout - calibration
    first = train + split.guard_px
    return {"train": (0, train), "calibration": (first, first + calibration), "holdout": (length - holdout, length)}


def too_small(regions: Sequence[Region], patch_shape: tuple[int, ...]) -> list[Problem]:
    """Return the strips in which no patch fits."""
    problems = []
    for region in regions:
        if not all(e >= p for e, p in zip(region.extent[-len(patch_shape) :], patch_shape, strict=True)):
            message = (
                f"Every strip must hold a patch of {list(patch_shape)} pixels; the {region.part} strip is {list(region.extent)}. Use "
                "smaller patches, a smaller guard, or larger fractions."
            )
            problems.append(Problem(region.image, "too-small", message))
    return problems


def extent_of(axes: str, shape: str) -> tuple[int, ...]:
    """Return the spatial shape of an image from its row of the catalogue."""
    return tuple(int(n) for a, n in zip(axes, json.loads(shape), strict=True) if a in SPATIAL)
