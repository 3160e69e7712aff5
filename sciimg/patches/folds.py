"""Folds for cross-validation: every group, or every strip of an image, is the holdout once.

With k folds the data fall into k shares that have no group in common. In fold i share i is the holdout, the share after it is the
calibration part and the others are trained on, so that each share is held out exactly once and calibrates exactly once. Leaving one group
out is as many folds as there are groups.

References
----------
Stone M (1974) Cross-validatory choice and assessment of statistical predictions. doi:10.1111/j.2517-6161.1974.tb00994.x
"""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from sciimg.errors import InputError, Problem
from sciimg.patches.alike import alike_problems
from sciimg.patches.regions import Region, to_table
from sciimg.patches.split import check_columns, extent_of, strata_of, too_small
from sciimg.protocol.models import SplitByBlocks, SplitByColumn
from sciimg.randomness import generator
from sciimg.store import Collection
from sciimg.types import SPATIAL, Part

FEWEST = 3  # holdout, calibration, training


def make_folds(
    collection: Collection, split: SplitByColumn | SplitByBlocks, patch_shape: tuple[int, ...], folds: int | None
) -> list[pd.DataFrame]:
    """Return the regions of every fold.

    Parameters
    ----------
    collection : Collection
    split : SplitByColumn or SplitByBlocks
        As in the study: its column and strata, or its axis, guard and cells. Its fractions do not count; a share is 1 / ``folds``.
    patch_shape : tuple of int
        Along the last spatial axes.
    folds : int or None
        How many, at least 3; None leaves one group out at a time.

    Returns
    -------
    list of DataFrame
        Regions as in :mod:`sciimg.patches.regions`, one table a fold.

    Raises
    ------
    InputError
        Kinds ``dimensions``, ``mixed-images``, ``unknown-column``, ``no-group``, ``too-few-groups``, ``no-groups``, ``axes``,
        ``too-small``.
    """
    if problems := alike_problems(collection.catalogue, patch_shape):
        raise InputError(problems)
    match split:
        case SplitByColumn():
            return [to_table(regions) for regions in _by_column(collection, split, folds)]
        case SplitByBlocks():
            return [to_table(regions) for regions in _by_blocks(collection, split, patch_shape, folds)]


def shares_of_groups(groups: Sequence[str], folds: int, strata: Mapping[str, str] | None = None, *, key: str = "") -> dict[str, int]:
    """Deal groups out into shares 0 ... folds - 1, in an order that depends on ``key`` and on their names alone.

    Shares differ by one group at most; those of one stratum are dealt one after another, so that inside it the shares differ by one at
    most as well.
    """
    stratum_of = strata or {}
    dealt: list[str] = []
    for stratum in sorted({stratum_of.get(g, "") for g in groups}):
        own = sorted(g for g in groups if stratum_of.get(g, "") == stratum)
        order = generator("folds", key, stratum, json.dumps(own)).permutation(len(own))
        dealt += [own[i] for i in order]
    return {group: place % folds for place, group in enumerate(dealt)}


def part_of(share: int, fold: int, folds: int) -> Part:
    """Return what a share is in a fold."""
    match (share - fold) % folds:
        case 0:
            return "holdout"
        case 1:
            return "calibration"
        case _:
            return "train"


def fold_strips(length: int, folds: int, guard_px: int) -> list[tuple[int, int]]:
    """Return [start, stop) of each share along an axis; neighbours lie ``guard_px`` apart and together they leave nothing else out."""
    usable = length - (folds - 1) * guard_px
    marks = [i * usable // folds for i in range(folds + 1)]
    return [(a + i * guard_px, b + i * guard_px) for i, (a, b) in enumerate(pairwise(marks))]


def _by_column(collection: Collection, split: SplitByColumn, folds: int | None) -> list[list[Region]]:
    check_columns(collection, split)
    table = collection.catalogue
    groups = table[split.column].astype(str)
    names = sorted(groups.unique())
    count = len(names) if folds is None else folds
    if len(names) < max(count, FEWEST):
        message = (
            f"Every fold holds out a whole {split.unit}, calibrates on others and trains on the rest: {max(count, FEWEST)} folds need as "
            f"many; there are {len(names)}. Add images, ask for fewer folds (at least {FEWEST}), or split by blocks."
        )
        raise InputError(Problem(str(collection.path), "too-few-groups", message))
    strata = strata_of(groups, table[split.stratify].astype(str)) if split.stratify else None
    shares = shares_of_groups(names, count, strata, key=split.column)
    images = [
        (id, group, extent_of(axes, shape))
        for id, group, axes, shape in zip(table["id"], groups, table["axes"], table["shape"], strict=True)
    ]
    return [
        [Region(id, part_of(shares[group], fold, count), group, (0,) * len(extent), extent) for id, group, extent in images]
        for fold in range(count)
    ]


def _by_blocks(collection: Collection, split: SplitByBlocks, patch_shape: tuple[int, ...], folds: int | None) -> list[list[Region]]:
    if folds is None:
        message = "A split by blocks has no groups that could be left out one at a time. Ask for a number of folds."
        raise InputError(Problem("validation.cross_validation", "no-groups", message))
    found: list[list[Region]] = [[] for _ in range(folds)]
    problems: list[Problem] = []
    table = collection.catalogue
    for id, axes, shape in zip(table["id"], table["axes"], table["shape"], strict=True):
        spatial, extent = "".join(a for a in axes if a in SPATIAL), extent_of(axes, shape)
        if split.axis not in spatial or len(split.cell) != len(spatial):
            message = f"A split along {split.axis!r} with {len(split.cell)} edges of a cell needs such axes; the image has {spatial}."
            problems.append(Problem(id, "axes", message))
            continue
        along = spatial.index(split.axis)
        strips = fold_strips(extent[along], folds, split.guard_px)
        problems += too_small([_strip(id, extent, along, strips, i, "holdout", split) for i in range(folds)], patch_shape)
        for fold in range(folds):
            found[fold] += [_strip(id, extent, along, strips, i, part_of(i, fold, folds), split) for i in range(folds)]
    if problems:
        raise InputError(problems)
    return found


def _strip(
    id: str, extent: tuple[int, ...], along: int, strips: Sequence[tuple[int, int]], share: int, part: Part, split: SplitByBlocks
) -> Region:
    first, last = strips[share]
    start = tuple(first if i == along else 0 for i in range(len(extent)))
    stop = tuple(last if i == along else n for i, n in enumerate(extent))
    cell = tuple(b - a if c is None else min(c, max(1, b - a)) for c, a, b in zip(split.cell, start, stop, strict=True))
    return Region(id, part, f"share-{share}", start, stop, cell)
