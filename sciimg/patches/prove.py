"""Proof that a split separates: no group and no file in two parts, the guard distance kept, no copy on both sides, and the search that
says so able to find one. The same of the folds of a cross-validation, but for the search: judges look for leaks in every fold.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import pandas as pd

from sciimg.patches.cache import PixelCache
from sciimg.patches.duplicates import THRESHOLD, Candidate, Finder, Grey, Match, Piece, Tile, fine_detail, tile_shape, turn
from sciimg.patches.location import PatchLocation
from sciimg.patches.places import Key, Place, Places
from sciimg.patches.regions import Region, from_table
from sciimg.randomness import generator
from sciimg.records import Check, Metric
from sciimg.store import Collection
from sciimg.types import PARTS, Part

_PAIRS: tuple[tuple[Part, Part], ...] = (("holdout", "train"), ("calibration", "train"), ("holdout", "calibration"))  # asked, searched
_TILE_EDGE = {2: 48, 3: 32}  # tiles lie half of it apart, so that a copy of one and a half edges holds a whole tile
_TILES = 128  # asked a pair of parts
_PLANTED = 8  # half of them must be found (measured: 93 to 100 of 100), for a real leak shows in several tiles
_PIECE_PIXELS = 2**24  # looked at in one go
_MOST_WINDOWS = 2_000_000  # of a part; beyond that a seeded choice of pieces is searched and the fraction is reported
_SAMPLED = 8  # training images from which contrast is measured
_SHOWN = 5

Evidence = list[Metric | Check]


def prove_split(
    collection: Collection, regions: pd.DataFrame, patch_shape: tuple[int, ...], *, guard_px: int = 0, key: Key = ("prove-split",)
) -> Evidence:
    """Return the evidence that parts do not share what they must not share.

    Parameters
    ----------
    collection : Collection
    regions : DataFrame
        As made by :func:`sciimg.patches.split.make_split`.
    patch_shape : tuple of int
        Along the last spatial axes.
    guard_px : int
        Distance that patches of different parts of one image keep along some axis.
    key : tuple
        Seeds which tiles are asked about where there are more than can be.

    Returns
    -------
    list of Metric and Check
        ``split-groups-crossing``, ``split-files-crossing``, ``split-guard-px`` (where parts share an image), ``split-pairs-searched``,
        ``split-near-duplicates``, ``split-planted-copies-found`` as checks; ``split-closest-match`` as metric.
    """
    found = from_table(regions)
    evidence: Evidence = [_groups_crossing(found), _files_crossing(collection, found)]
    evidence += _guard(found, guard_px)
    return evidence + _Search(collection, found, patch_shape, key).evidence()


def prove_folds(collection: Collection, regions: pd.DataFrame, folds: Sequence[pd.DataFrame], *, guard_px: int = 0) -> list[Check]:
    """Return the evidence that folds cross neither each other nor the holdout of the study.

    Parameters
    ----------
    regions : DataFrame
        The split of the study.
    folds : sequence of DataFrame
        Regions of every fold, as made by :func:`sciimg.patches.folds.make_folds`.

    Returns
    -------
    list of Check
        ``folds-groups-crossing``, ``folds-files-crossing``, ``folds-guard-px`` (where parts share an image): between the parts of each
        fold. ``folds-in-holdout``: groups, files and boxes of folds that are in the holdout of the study. ``folds-not-held-out-once``:
        boxes that are not held out in exactly one fold.
    """
    tables = [from_table(fold) for fold in folds]
    holdout = from_table(regions, "holdout")
    beside = [[*(replace(r, part="train") for r in table), *holdout] for table in tables]
    gaps = [gap for sides in (*tables, *beside) if (gap := _least_gap(sides)) is not None]
    in_holdout = sum(_groups_in_two(sides) + _files_in_two(collection, sides) for sides in beside)
    in_holdout += sum((_least_gap(sides) or 0) < 0 for sides in beside)
    held = Counter((r.image, r.start, r.stop) for table in tables for r in table if r.part == "holdout")
    boxes = {(r.image, r.start, r.stop) for table in tables for r in table}
    return [
        _zero("folds-groups-crossing", sum(map(_groups_in_two, tables)), "in each fold a group belongs to one part"),
        _zero("folds-files-crossing", sum(_files_in_two(collection, t) for t in tables), "in each fold a file belongs to one part"),
        *([_at_least("folds-guard-px", guard_px, min(gaps))] if gaps else []),
        _zero("folds-in-holdout", in_holdout, "the holdout of the study takes no part in a fold"),
        _zero("folds-not-held-out-once", sum(held[box] != 1 for box in boxes), "every share is held out in exactly one fold"),
    ]


def _groups_crossing(regions: Sequence[Region]) -> Check:
    return _zero("split-groups-crossing", _groups_in_two(regions), "a group belongs to one part")


def _groups_in_two(regions: Sequence[Region]) -> int:
    parts: dict[str, set[str]] = defaultdict(set)
    for region in regions:
        if region.cell is None:
            parts[region.group].add(region.part)
    return sum(len(p) > 1 for p in parts.values())


def _files_crossing(collection: Collection, regions: Sequence[Region]) -> Check:
    return _zero("split-files-crossing", _files_in_two(collection, regions), "a file belongs to one part, under whatever names it appears")


def _files_in_two(collection: Collection, regions: Sequence[Region]) -> int:
    """Count contents that different images of different parts share, byte for byte in the source or pixel for pixel in the store."""
    table = collection.columns("id", "sha256", "digest")
    contents = {id: set(digests) for id, *digests in zip(table["id"], table["sha256"], table["digest"], strict=True)}
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    for region in regions:
        for digest in contents[region.image]:
            parts[digest][region.image] = region.part
    return sum(len(set(images.values())) > 1 for images in parts.values())


def _guard(regions: Sequence[Region], guard_px: int) -> Evidence:
    least = _least_gap(regions)
    return [] if least is None else [_at_least("split-guard-px", guard_px, least)]


def _least_gap(regions: Sequence[Region]) -> int | None:
    """Return the smallest distance in pixels between regions of different parts of one image; None where no image is in two parts."""
    by_image: dict[str, list[Region]] = defaultdict(list)
    for region in regions:
        by_image[region.image].append(region)
    gaps = (_gap(a, b) for own in by_image.values() for a, b in combinations(own, 2) if a.part != b.part)
    return min(gaps, default=None)


def _at_least(name: str, guard_px: int, least: int) -> Check:
    source = "patches stay inside regions; regions of different parts of one image keep the guard distance along some axis"
    return Check(name=name, expected=guard_px, got=least, tolerance=0, passed=least >= guard_px, source=source)


def _gap(a: Region, b: Region) -> int:
    """Return the number of pixels between two boxes along the axis that separates them best; negative where they overlap."""
    ends = zip(a.start, a.stop, b.start, b.stop, strict=True)
    return max(max(b_first - a_last, a_first - b_last) for a_first, a_last, b_first, b_last in ends)


def _zero(name: str, got: int, source: str) -> Check:
    return Check(name=name, expected=0, got=got, tolerance=0, passed=got == 0, source=source)


class _Search:
    """The search for copies between the parts of one split."""

    def __init__(self, collection: Collection, regions: Sequence[Region], patch_shape: tuple[int, ...], key: Key) -> None:
        self._regions = regions
        self._key = key
        self._cache = PixelCache(collection)
        first = collection.volume(regions[0].image)
        spacing = first.spacing.values if first.spacing else (1.0,) * len(regions[0].start)
        full = (1,) * (len(spacing) - len(patch_shape)) + tuple(patch_shape)
        self._shape = tile_shape(full, [r.extent for r in regions], _TILE_EDGE[len(patch_shape)])
        some = _spread(self._boxes["train"], _SAMPLED)
        variance = np.mean([[np.var(c, dtype=np.float64) for c in self._cache.read(b.image, b.box)[0]] for b in some], axis=0)
        self._weights = [1.0 / np.sqrt(v) if v > 0 else 0.0 for v in variance]
        contrast = float(np.sqrt(np.mean([np.var(self._grey(b), dtype=np.float64) for b in some])))
        self._finder = Finder(self._shape, spacing, contrast)

    def evidence(self) -> Evidence:
        tiles: dict[Part, list[Tile]] = {"holdout": self._tiles("holdout"), "calibration": self._tiles("calibration")}
        matches = {pair: self._closest(tiles[pair[0]], pair[1]) for pair in _PAIRS}
        every = sorted((m for found in matches.values() for m in found), key=lambda m: (-m.correlation, str(m.tile), str(m.window)))
        searched = sum(bool(tiles[asked]) for asked, _ in _PAIRS)
        source = "each pair of parts has tiles with enough detail to be recognised"
        evidence: Evidence = [
            Check(
                name="split-pairs-searched",
                expected=len(_PAIRS),
                got=searched,
                tolerance=0,
                passed=searched == len(_PAIRS),
                source=source,
            ),
            _zero(
                "split-near-duplicates",
                sum(m.correlation >= THRESHOLD for m in every),
                f"fine detail correlates with less than {THRESHOLD}",
            ),
            self._control(tiles["holdout"]),
        ]
        return [*evidence, self._metric(every, tiles)]

    def _metric(self, every: Sequence[Match], tiles: dict[Part, list[Tile]]) -> Metric:
        name = "split-closest-match"
        if not every:
            return Metric.undefined(name, "no tile shows enough detail to be recognised", higher_is_better=False)
        detail: dict[str, Any] = {
            "threshold": THRESHOLD,
            "tile": list(self._shape),
            "orientations": len(self._finder.orientations),
            "step_px": list(self._finder.stride),
            "tiles": {part: len(found) for part, found in tiles.items()},
            "searched": {part: self._searched(part) for part in ("train", "calibration")},
            "closest": [
                {
                    "tile": [m.tile.image, list(m.tile.origin)],
                    "match": [m.window.image, list(m.window.origin)],
                    "orientation": m.orientation,
                    "correlation": round(m.correlation, 4),
                }
                for m in every[:_SHOWN]
            ],
        }
        source = "Normalised cross-correlation of fine detail, Lewis 1995"
        return Metric(
            name=name,
            value=round(every[0].correlation, 6),
            n=len(every),
            unit_of_n="tiles",
            higher_is_better=False,
            source=source,
            detail=detail,
        )

    def _control(self, tiles: Sequence[Tile]) -> Check:
        """Plant turned copies of holdout tiles, with other contrast and noise, in training pixels, and count those that are found."""
        chosen = _spread(tiles, _PLANTED)
        pieces = self._pieces("train")
        found = 0
        for number, tile in enumerate(chosen):
            rng = generator(*self._key, "planted", number)
            where, pixels = pieces[number % len(pieces)]()
            orientation = self._finder.orientations[1 + int(rng.integers(len(self._finder.orientations) - 1))]
            copy = turn(tile.pixels, orientation)
            noise = rng.normal(0.0, 0.1 * float(fine_detail(copy).std()), copy.shape)
            origin = tuple(int(rng.integers(0, n - e + 1)) for n, e in zip(pixels.shape, self._shape, strict=True))
            planted = pixels.copy()
            planted[tuple(slice(o, o + e) for o, e in zip(origin, self._shape, strict=True))] = 1.2 * copy + 0.5 + noise
            match = self._best(tile, self._finder.coarse([tile], [(where, planted)])[0], _always((where, planted)))
            found += match is not None and match.correlation >= THRESHOLD
        return Check(
            name="split-planted-copies-found",
            expected=len(chosen),
            got=found,
            tolerance=len(chosen) // 2,
            passed=bool(chosen) and found >= len(chosen) - len(chosen) // 2,
            source="turned copies with 1.2 times the contrast and noise of a tenth of their fine detail, planted in training images",
        )

    def _closest(self, tiles: Sequence[Tile], part: Part) -> list[Match]:
        """Return the closest match of each tile in a part."""
        if not tiles:
            return []
        windows = self._finder.coarse(tiles, (piece() for piece in self._pieces(part)))
        found = (self._best(tile, near, lambda w: self._around(w, part)) for tile, near in zip(tiles, windows, strict=True))
        return [match for match in found if match is not None]

    def _best(self, tile: Tile, windows: Sequence[Candidate], piece: Callable[[PatchLocation], Piece]) -> Match | None:
        matches = [self._finder.fine(tile, window, orientation, piece(window)) for window, orientation in windows]
        return max(matches, key=lambda m: m.correlation, default=None)

    # ------------------------------------------------------------ pixels

    def _of(self, part: Part) -> list[Region]:
        return [r for r in self._regions if r.part == part]

    def _tiles(self, part: Part) -> list[Tile]:
        """Return tiles that can be recognised, half a tile apart or more, spread over the groups of a part."""
        regions = self._of(part)
        places = Places(regions, self._shape)
        grid = places.grid(tuple(max(1, n // 2) for n in self._shape))
        some: Sequence[Place] = grid if len(grid) <= 2 * _TILES else places.evenly(grid, 2 * _TILES, (*self._key, part))
        tiles = [self._finder.tile(location, self._grey(location)) for _, location in some]
        return _spread([tile for tile in tiles if tile is not None], _TILES)

    @cached_property
    def _boxes(self) -> dict[Part, list[PatchLocation]]:
        """Pieces of each part that are searched."""
        return {part: self._choose([box for r in self._of(part) for box in _pieces_of(r, self._shape)], part) for part in PARTS}

    def _choose(self, boxes: list[PatchLocation], part: Part) -> list[PatchLocation]:
        order = generator(*self._key, "pieces", part).permutation(len(boxes))
        total = 0
        kept: list[int] = []
        for i in order:
            total += self._windows(boxes[i])
            if kept and total > _MOST_WINDOWS:
                break
            kept.append(int(i))
        return [boxes[i] for i in sorted(kept)]

    def _windows(self, box: PatchLocation) -> int:
        stride = (max(1, n // 8) for n in self._shape)
        return int(np.prod([(n - e) // s + 1 for n, e, s in zip(box.shape, self._shape, stride, strict=True)]))

    def _searched(self, part: Part) -> float:
        pixels = sum(int(np.prod(r.extent)) for r in self._of(part))
        return round(min(1.0, sum(int(np.prod(box.shape)) for box in self._boxes[part]) / pixels), 4)

    def _pieces(self, part: Part) -> list[Callable[[], Piece]]:
        """Return what reads each piece of a part."""
        return [lambda box=box: (box, self._grey(box)) for box in self._boxes[part]]  # type: ignore[misc]

    def _around(self, window: PatchLocation, part: Part) -> Piece:
        """Return what lies around a window, inside its region."""
        region = next(r for r in self._of(part) if r.image == window.image and _contains(r, window))
        start = tuple(max(s, o - r) for s, o, r in zip(region.start, window.origin, self._finder.reach, strict=True))
        stop = tuple(min(e, o + n + r) for e, o, n, r in zip(region.stop, window.origin, window.shape, self._finder.reach, strict=True))
        box = PatchLocation(window.image, start, tuple(b - a for a, b in zip(start, stop, strict=True)))
        return box, self._grey(box)

    def _grey(self, box: PatchLocation) -> Grey:
        """Return the sum of the channels, each in units of its spread inside training images."""
        pixels = self._cache.read(box.image, box.box)[0]
        return np.asarray(sum(w * channel.astype(np.float32) for w, channel in zip(self._weights, pixels, strict=True)), np.float32)


def _always(piece: Piece) -> Callable[[PatchLocation], Piece]:
    return lambda _: piece


def _contains(region: Region, window: PatchLocation) -> bool:
    return all(s <= o and o + n <= e for s, e, o, n in zip(region.start, region.stop, window.origin, window.shape, strict=True))


def _pieces_of(region: Region, shape: tuple[int, ...]) -> Iterator[PatchLocation]:
    """Yield boxes that cover a region and overlap by a tile, so that every window lies in one of them."""
    edge = max(int(_PIECE_PIXELS ** (1 / sum(n > 1 for n in shape))), 2 * max(shape))
    cuts = []
    for start, stop, tile in zip(region.start, region.stop, shape, strict=True):
        marks = [*range(start, max(start + 1, stop - tile), max(1, edge - tile)), stop]
        cuts.append([(a, min(stop, b + tile)) for a, b in pairwise(marks)])
    for ends in product(*cuts):
        yield PatchLocation(region.image, tuple(a for a, _ in ends), tuple(b - a for a, b in ends))


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """Return at most ``count`` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def evidence_json(evidence: Evidence) -> dict[str, Any]:
    """Return evidence as the JSON that stages leave behind."""
    return {
        "metrics": [e.as_json() for e in evidence if isinstance(e, Metric)],
        "checks": [e.as_json() for e in evidence if isinstance(e, Check)],
    }
