"""Folds for cross-validation: every group, or every strip of an image, is the holdout once. The holdout of the study is in none of them.

What a study trains and calibrates on falls into k shares that have no group in common. In fold i share i is the holdout, the share after
it is the calibration part and the others are trained on, so that each share is held out exactly once and calibrates exactly once. Leaving
one group out is as many folds as there are groups.

References
----------
Stone M (1974) Cross-validatory choice and assessment of statistical predictions. doi:10.1111/j.2517-6161.1974.tb00994.x
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import pandas as pd

from sciimg.errors import InputError, Problem
from sciimg.patches.regions import Region, from_table, to_table
from sciimg.patches.split import strata_of
from sciimg.protocol.data import SplitByBlocks, SplitByColumn
from sciimg.randomness import generator
from sciimg.store import Collection
from sciimg.types import SPATIAL, Part

FEWEST = 3  # holdout, calibration, training
WHERE = "validation.cross_validation"


def make_folds(
    collection: Collection, regions: pd.DataFrame, split: SplitByColumn | SplitByBlocks, patch_shape: tuple[int, ...], folds: int | None
) -> list[pd.DataFrame]:
    """Return the regions of every fold.

    Parameters
    ----------
    collection : Collection
    regions : DataFrame
        As made by :func:`sciimg.patches.split.make_split` from the same collection and split; its holdout is left alone.
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
        Kinds ``too-few-groups``, ``no-groups``, ``too-small``.
    """
    own = [region for region in from_table(regions) if region.part != "holdout"]
    match split:
        case SplitByColumn():
            found = _by_column(collection, own, split, folds)
        case SplitByBlocks():
            found = _by_blocks(collection, own, split, patch_shape, folds)
    return [to_table(fold) for fold in found]


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


def fold_strips(first: int, last: int, folds: int, guard_px: int) -> list[tuple[int, int]]:
    """Return [start, stop) of each share of [first, last); neighbours lie ``guard_px`` apart and together they leave nothing else out."""
    usable = last - first - (folds - 1) * guard_px
    marks = [first + i * usable // folds for i in range(folds + 1)]
    return [(a + i * guard_px, b + i * guard_px) for i, (a, b) in enumerate(pairwise(marks))]


def _by_column(collection: Collection, own: Sequence[Region], split: SplitByColumn, folds: int | None) -> list[list[Region]]:
    names = sorted({region.group for region in own})
    count = len(names) if folds is None else folds
    if len(names) < max(count, FEWEST):
        message = (
            f"A fold holds out whole {split.unit}s, calibrates on others, trains on the rest and leaves the holdout of the study alone: "
            f"{max(count, FEWEST)} folds need as many outside that holdout; there are {len(names)}. Add images, lower split.holdout, ask "
            f"for fewer folds (at least {FEWEST}), or split by blocks."
        )
        raise InputError(Problem(WHERE, "too-few-groups", message))
    strata = None
    if split.stratify is not None:
        table = collection.columns("id", split.stratify).set_index("id").loc[[region.image for region in own]]
        strata = strata_of(pd.Series([region.group for region in own], index=table.index), table[split.stratify].astype(str))
    shares = shares_of_groups(names, count, strata, key=split.column)
    return [[replace(region, part=part_of(shares[region.group], fold, count)) for region in own] for fold in range(count)]


def _by_blocks(
    collection: Collection, own: Sequence[Region], split: SplitByBlocks, patch_shape: tuple[int, ...], folds: int | None
) -> list[list[Region]]:
    if folds is None:
        message = "A split by blocks has no groups that could be left out one at a time. Ask for a number of folds."
        raise InputError(Problem(WHERE, "no-groups", message))
    table = collection.columns("id", "axes")
    axes = dict(zip(table["id"], table["axes"], strict=True))
    by_image: dict[str, list[Region]] = defaultdict(list)
    for region in own:
        by_image[region.image].append(region)
    found: list[list[Region]] = [[] for _ in range(folds)]
    thinnest: dict[int, str] = {}
    for id, parts in by_image.items():
        spatial = [a for a in axes[id] if a in SPATIAL]
        along = spatial.index(split.axis)
        first, last = min(r.start[along] for r in parts), max(r.stop[along] for r in parts)
        strips = fold_strips(first, last, folds, split.guard_px)
        width = min(b - a for a, b in strips)
        if width < ((1,) * (len(spatial) - len(patch_shape)) + patch_shape)[along]:
            thinnest.setdefault(width, id)
        for fold in range(folds):
            found[fold] += [_strip(parts[0], along, strips, share, part_of(share, fold, folds), split) for share in range(folds)]
    if thinnest:
        width = min(thinnest)
        message = (
            f"Every strip must hold a patch of {list(patch_shape)} pixels; {folds} folds cut what lies outside the holdout of "
            f"{thinnest[width]} into strips of {max(width, 0)} along {split.axis}. Ask for fewer folds (at least {FEWEST}), or use smaller "
            "patches, a smaller guard or a smaller holdout."
        )
        raise InputError(Problem(WHERE, "too-small", message))
    return found


def _strip(whole: Region, along: int, strips: Sequence[tuple[int, int]], share: int, part: Part, split: SplitByBlocks) -> Region:
    """Return a share of an image: like a region of it across the axis of the split."""
    first, last = strips[share]
    start = tuple(first if i == along else a for i, a in enumerate(whole.start))
    stop = tuple(last if i == along else b for i, b in enumerate(whole.stop))
    cell = tuple(b - a if c is None else min(c, max(1, b - a)) for c, a, b in zip(split.cell, start, stop, strict=True))
    return Region(whole.image, part, f"share-{share}", start, stop, cell)
