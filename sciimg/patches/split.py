"""Train, calibration and holdout, by whole groups or by strips of one image with a guard gap."""

import json
import math

import numpy as np
import pandas as pd

from sciimg.errors import InputError, Problem
from sciimg.patches.regions import Region, to_table
from sciimg.protocol.models import Split, SplitByBlocks, SplitByColumn
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
        Every region must hold at least one patch (by columns: smaller images are padded when they are read).

    Returns
    -------
    DataFrame
        Regions as in :mod:`sciimg.patches.regions`.

    Raises
    ------
    InputError
        Kinds ``unknown-column``, ``no-group``, ``too-few-groups``, ``too-small``.
    """
    match split:
        case SplitByColumn():
            return to_table(_by_column(collection, split))
        case SplitByBlocks():
            return to_table(_by_blocks(collection, split, patch_shape))


def _by_column(collection: Collection, split: SplitByColumn) -> list[Region]:
    table = collection.catalogue
    for name in (split.column, split.stratify):
        if name is not None and name not in table:
            message = f"The split needs a column {name!r}; the catalogue has: {', '.join(table.columns)}. Give it in the source's table."
            raise InputError(Problem(str(collection.path), "unknown-column", message))
    if table[split.column].isna().any():
        missing = ", ".join(table.loc[table[split.column].isna(), "id"].head(5))
        message = f"Every image needs a {split.unit} in column {split.column!r}; these have none: {missing}."
        raise InputError(Problem(str(collection.path), "no-group", message))
    parts: dict[str, Part] = {}
    strata = table[split.stratify].astype(str) if split.stratify else pd.Series("", index=table.index)
    groups = table[split.column].astype(str)
    majority = strata.groupby(groups).agg(lambda s: sorted(s.mode())[0])
    for stratum in sorted(majority.unique()):
        parts |= _assign(sorted(majority.index[majority == stratum]), split, str(stratum))
    if missing_parts := set(PARTS) - set(parts.values()):
        message = f"{len(parts)} groups are too few for three parts (no {', '.join(sorted(missing_parts))}); at least 3 are needed."
        raise InputError(Problem(str(collection.path), "too-few-groups", message))
    regions = []
    for row, group in zip(table.itertuples(), groups, strict=True):
        extent = _extent(str(row.axes), str(row.shape))
        regions.append(Region(str(row.id), parts[group], group, (0,) * len(extent), extent))
    return regions


def _assign(groups: list[str], split: SplitByColumn, stratum: str) -> dict[str, Part]:
    order = generator("split", split.column, stratum, json.dumps(groups)).permutation(len(groups))
    shuffled = [groups[i] for i in order]
    holdout = max(1, round(split.holdout * len(groups))) if len(groups) > 1 else 0
    calibration = max(1, round(split.calibration * len(groups))) if len(groups) > 2 else 0
    named: list[Part] = ["holdout"] * holdout + ["calibration"] * calibration
    return dict(zip(shuffled, named + ["train"] * (len(groups) - len(named)), strict=True))


def _by_blocks(collection: Collection, split: SplitByBlocks, patch_shape: tuple[int, ...]) -> list[Region]:
    regions: list[Region] = []
    problems: list[Problem] = []
    for row in collection.catalogue.itertuples():
        spatial = [a for a in str(row.axes) if a in SPATIAL]
        extent = _extent(str(row.axes), str(row.shape))
        if split.axis not in spatial or len(split.cell) != len(spatial):
            message = f"The split is along {split.axis!r} with cells {split.cell}; this image has the axes {''.join(spatial)}."
            problems.append(Problem(str(row.id), "axes", message))
            continue
        along = spatial.index(split.axis)
        cell = tuple(n if c is None else c for c, n in zip(split.cell, extent, strict=True))
        for part, (first, last) in strips(extent[along], split).items():
            start, stop = [0] * len(extent), list(extent)
            start[along], stop[along] = first, last
            if any(b - a < p for a, b, p in zip(start, stop, patch_shape, strict=True)):
                size = [b - a for a, b in zip(start, stop, strict=True)]
                message = f"The {part} strip is {size} pixels; a patch of {patch_shape} does not fit. Use smaller patches or larger fractions."
                problems.append(Problem(str(row.id), "too-small", message))
            local = tuple(min(c, b - a) for c, a, b in zip(cell, start, stop, strict=True))
            regions.append(Region(str(row.id), part, "", tuple(start), tuple(stop), local))
    if problems:
        raise InputError(problems)
    return regions


def strips(length: int, split: SplitByBlocks) -> dict[Part, tuple[int, int]]:
    """Return [start, stop) of each part along the axis: train, gap, calibration, gap, holdout."""
    usable = length - 2 * split.guard_px
    holdout, calibration = math.floor(usable * split.holdout), math.floor(usable * split.calibration)
    train = usable - holdout - calibration
    first = train + split.guard_px
    return {
        "train": (0, train),
        "calibration": (first, first + calibration),
        "holdout": (first + calibration + split.guard_px, length),
    }


def _extent(axes: str, shape: str) -> tuple[int, ...]:
    return tuple(int(n) for a, n in zip(axes, json.loads(shape), strict=True) if a in SPATIAL)


def part_fractions(regions: pd.DataFrame) -> dict[str, float]:
    """Return the share of pixels of each part."""
    size = {part: 0.0 for part in PARTS}
    for row in regions.itertuples():
        size[str(row.part)] += float(np.prod(np.subtract(json.loads(str(row.stop)), json.loads(str(row.start)))))
    total = sum(size.values())
    return {part: value / total for part, value in size.items()}
