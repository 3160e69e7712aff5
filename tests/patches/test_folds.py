"""Folds share no group: each is held out once, calibrates once, and is never on two sides of one fold."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split import by_column, listed

from sciimg.errors import InputError
from sciimg.patches.folds import fold_strips, make_folds, part_of, shares_of_groups
from sciimg.patches.location import PatchLocation
from sciimg.patches.prove import prove_folds
from sciimg.patches.regions import Region, from_table, to_table
from sciimg.patches.split import make_split
from sciimg.protocol.data import SplitByBlocks, SplitByColumn
from sciimg.types import PARTS

NAMES = st.lists(st.text("abcdefgh0123456789", min_size=1, max_size=4), min_size=4, max_size=40, unique=True)
Tables = list[pd.DataFrame]


def by_blocks(**options: Any) -> SplitByBlocks:
    return SplitByBlocks(by="blocks", axis="y", cell=(10, None), **options)


def folded(collection: Any, split: SplitByColumn | SplitByBlocks, shape: tuple[int, ...], folds: int | None) -> tuple[pd.DataFrame, Tables]:
    """Return the split of a study and its folds."""
    regions = make_split(collection, split, shape)
    return regions, make_folds(collection, regions, split, shape, folds)


def outside(regions: pd.DataFrame) -> set[str]:
    return set(regions.loc[regions["part"] != "holdout", "group"])


@settings(max_examples=12)
@given(NAMES, st.integers(3, 9), st.integers(1, 3))
def test_folds_never_share_a_group_and_hold_each_out_once(names: list[str], folds: int, images: int) -> None:
    collection = listed(names * images)
    regions = make_split(collection, by_column(), (8, 8))
    own = outside(regions)
    folds = min(folds, len(own))
    tables = make_folds(collection, regions, by_column(), (8, 8), folds)
    assert len(tables) == folds
    held: Counter[str] = Counter()
    for table in tables:
        parts = table.groupby("group")["part"].unique()
        assert (parts.str.len() == 1).all()  # a group is on one side
        assert set(table["part"]) == set(PARTS)
        assert set(table["group"]) == own  # every group takes part, and none of the study's holdout
        assert set(table["image"]) == set(regions.loc[regions["part"] != "holdout", "image"])
        held.update(table.loc[table["part"] == "holdout", "group"].unique())
    assert held == Counter(dict.fromkeys(own, 1))


@settings(max_examples=40)
@given(NAMES, st.integers(3, 9), st.data())
def test_shares_are_even_overall_and_inside_every_stratum(names: list[str], folds: int, data: st.DataObject) -> None:
    strata = {name: data.draw(st.sampled_from("xyz")) for name in names}
    shares = shares_of_groups(names, folds, strata)
    for stratum in ("", *"xyz"):
        own = [share for name, share in shares.items() if not stratum or strata[name] == stratum]
        counts = [own.count(share) for share in range(folds)]
        assert max(counts) - min(counts) <= 1


def test_leaving_one_out_holds_out_every_group_by_itself() -> None:
    regions, tables = folded(listed(["a", "b", "c", "d", "a", "d", "e"]), by_column(), (8, 8), None)
    held = [set(t.loc[t["part"] == "holdout", "group"]) for t in tables]
    assert sorted(map(sorted, held)) == [[name] for name in sorted(outside(regions))]


def test_folds_depend_on_names_and_not_on_the_order_of_images() -> None:
    names = [f"g{i}" for i in range(11)]
    (_, first), (_, second) = (folded(listed(order), by_column(), (8, 8), 4) for order in (names, names[::-1]))
    for a, b in zip(first, second, strict=True):
        assert dict(zip(a["group"], a["part"], strict=True)) == dict(zip(b["group"], b["part"], strict=True))
    assert len({tuple(t["part"]) for t in first}) == 4


def test_strata_come_from_the_study() -> None:
    groups = [f"g{i:02d}" for i in range(18)]
    strata = ["rare" if i < 3 else "usual" for i in range(18)]
    split = by_column(stratify="phenotype", holdout=0.1)
    regions, tables = folded(listed([*groups, "g98"], [*strata, "rare"]), split, (8, 8), 3)
    rare = outside(regions) & {*groups[:3], "g98"}
    assert len(rare) == 3  # the other one is held out from the study
    for table in tables:
        assert len(set(table.loc[table["part"] == "holdout", "group"]) & rare) == 1


@given(st.integers(0, 99), st.integers(60, 400), st.integers(3, 6), st.integers(0, 8))
def test_strips_keep_their_guard_and_leave_nothing_else_out(first: int, length: int, folds: int, guard: int) -> None:
    found = fold_strips(first, first + length, folds, guard)
    assert found[0][0] == first and found[-1][1] == first + length
    assert all(b[0] - a[1] == guard for a, b in pairwise(found))
    sizes = [b - a for a, b in found]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) > 0


@settings(max_examples=25)
@given(st.integers(3, 6), st.integers(0, 3))
def test_strips_of_one_image_are_held_out_once_each_and_name_their_cells_apart(folds: int, guard: int) -> None:
    collection = listed(["only"])
    if guard * folds >= 15:
        return
    whole, tables = folded(collection, by_blocks(guard_px=guard), (2, 2), folds)
    begins = next(r for r in from_table(whole) if r.part == "holdout").start[0]
    assert all(c.passed for c in prove_folds(Stored(["i0"]), whole, tables, guard_px=guard))
    held = []
    for table in tables:
        regions = from_table(table)
        held += [(r.start, r.stop) for r in regions if r.part == "holdout"]
        assert {r.part for r in regions} == set(PARTS)
        assert max(r.stop[0] for r in regions) == begins - guard  # up to the holdout, and no nearer than its guard
        groups = [r.group_of(PatchLocation(r.image, r.start, (1, 1))) for r in regions]
        assert len(set(groups)) == len(regions)  # no two strips share a statistical group
    assert len(set(held)) == len(held) == folds


def test_a_share_changes_its_part_from_fold_to_fold() -> None:
    table = pd.DataFrame([[part_of(share, fold, 4) for share in range(4)] for fold in range(4)])
    for line in (*table.to_numpy(), *table.to_numpy().T):
        assert Counter(line) == {"holdout": 1, "calibration": 1, "train": 2}


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: folded(listed(["a", "b", "c"]), by_column(), (8, 8), None), "too-few-groups"),  # one is the holdout of the study
        (lambda: folded(listed(["a", "b", "c", "d"]), by_column(), (8, 8), 4), "too-few-groups"),
        (lambda: folded(listed(["a"]), by_blocks(guard_px=0), (4, 4), None), "no-groups"),
        (lambda: folded(listed(["a"]), by_blocks(guard_px=1), (6, 6), 5), "too-small"),
        (lambda: folded(listed(["a", "b"]), by_blocks(guard_px=3), (2, 2), 12), "too-small"),
    ],
)
def test_what_cannot_be_folded_is_refused(make: Any, kind: str) -> None:
    with pytest.raises(InputError) as refused:
        make()
    (problem,) = refused.value.problems
    assert problem.kind == kind and problem.where == "validation.cross_validation"


# ---------------------------------------------------------------- the proof, and faults planted for it


class Stored:
    """A collection as far as the proof looks at it."""

    def __init__(self, images: list[str]) -> None:
        self.catalogue = pd.DataFrame({"id": images, "sha256": [f"s{i}" for i in images], "digest": [f"d{i}" for i in images]})

    def columns(self, *names: str) -> pd.DataFrame:
        return self.catalogue[list(names)]


def planted(tables: Tables, fold: int, row: int, **changes: Any) -> Tables:
    """Return the folds with one region of one fold changed."""
    regions = from_table(tables[fold])
    regions[row] = Region(**{name: changes.get(name, getattr(regions[row], name)) for name in Region.__slots__})
    return [to_table(regions) if i == fold else table for i, table in enumerate(tables)]


@pytest.fixture
def proved() -> tuple[Any, pd.DataFrame, Tables]:
    names = [f"g{i}" for i in range(9)]
    regions, tables = folded(listed(names * 2), by_column(), (8, 8), 3)
    return Stored([f"i{i}" for i in range(18)]), regions, tables


def failures(collection: Any, regions: pd.DataFrame, tables: Tables) -> set[str]:
    return {c.name for c in prove_folds(collection, regions, tables) if not c.passed}


def test_sound_folds_are_proved(proved: tuple[Any, pd.DataFrame, Tables]) -> None:
    assert failures(*proved) == set()
    assert len(prove_folds(*proved)) == 4  # no image is in two parts: there is no distance to keep


def test_a_group_on_two_sides_of_a_fold_is_found(proved: tuple[Any, pd.DataFrame, Tables]) -> None:
    collection, regions, tables = proved
    row = next(i for i, r in enumerate(from_table(tables[1])) if r.part == "holdout")
    found = failures(collection, regions, planted(tables, 1, row, part="train"))
    assert found == {"folds-groups-crossing", "folds-not-held-out-once"}


def test_a_group_of_the_holdout_in_a_fold_is_found(proved: tuple[Any, pd.DataFrame, Tables]) -> None:
    collection, regions, tables = proved
    secret = next(r for r in from_table(regions) if r.part == "holdout")
    row = next(i for i, r in enumerate(from_table(tables[2])) if r.part == "train")
    assert "folds-in-holdout" in failures(collection, regions, planted(tables, 2, row, group=secret.group, image=secret.image))


def test_a_file_under_two_names_is_found(proved: tuple[Any, pd.DataFrame, Tables]) -> None:
    collection, regions, tables = proved
    sides = {r.part: r.image for r in from_table(tables[0])}
    collection.catalogue.loc[collection.catalogue["id"] == sides["holdout"], "sha256"] = f"s{sides['train']}"
    assert "folds-files-crossing" in failures(collection, regions, tables)


def test_strips_that_come_too_near_are_found() -> None:
    collection = listed(["only"])
    regions, tables = folded(collection, by_blocks(guard_px=2), (2, 2), 3)
    first = from_table(tables[0])[0]
    near = planted(tables, 0, 0, stop=(first.stop[0] + 1, first.stop[1]))
    into = planted(tables, 0, 2, stop=(39, 40))  # reaches into the strip that the study holds out
    for tampered, name in ((near, "folds-guard-px"), (into, "folds-in-holdout")):
        assert name in {c.name for c in prove_folds(Stored(["i0"]), regions, tampered, guard_px=2) if not c.passed}
