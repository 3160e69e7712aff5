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
from sciimg.patches.regions import from_table
from sciimg.protocol.models import SplitByBlocks
from sciimg.types import PARTS

NAMES = st.lists(st.text("abcdefgh0123456789", min_size=1, max_size=4), min_size=3, max_size=40, unique=True)


def by_blocks(**options: Any) -> SplitByBlocks:
    return SplitByBlocks(by="blocks", axis="y", cell=(10, None), **options)


@settings(max_examples=25, deadline=None)
@given(NAMES, st.integers(3, 9), st.integers(1, 3))
def test_folds_never_share_a_group_and_hold_each_out_once(names: list[str], folds: int, images: int) -> None:
    folds = min(folds, len(names))
    tables = make_folds(listed(names * images), by_column(), (8, 8), folds)
    assert len(tables) == folds
    held: Counter[str] = Counter()
    for table in tables:
        parts = table.groupby("group")["part"].unique()
        assert (parts.str.len() == 1).all()  # a group is on one side
        assert set(table["part"]) == set(PARTS)
        assert set(table["group"]) == set(names)  # and every group takes part
        held.update(table.loc[table["part"] == "holdout", "group"].unique())
    assert held == Counter(dict.fromkeys(names, 1))


@settings(max_examples=40, deadline=None)
@given(NAMES, st.integers(3, 9), st.data())
def test_shares_are_even_overall_and_inside_every_stratum(names: list[str], folds: int, data: st.DataObject) -> None:
    strata = {name: data.draw(st.sampled_from("xyz")) for name in names}
    shares = shares_of_groups(names, folds, strata)
    for stratum in ("", *"xyz"):
        own = [share for name, share in shares.items() if not stratum or strata[name] == stratum]
        counts = [own.count(share) for share in range(folds)]
        assert max(counts) - min(counts) <= 1


def test_leaving_one_out_holds_out_every_group_by_itself() -> None:
    tables = make_folds(listed(["a", "b", "c", "d", "a", "d"]), by_column(), (8, 8), None)
    held = [set(t.loc[t["part"] == "holdout", "group"]) for t in tables]
    assert sorted(map(sorted, held)) == [["a"], ["b"], ["c"], ["d"]]


def test_folds_depend_on_names_and_not_on_the_order_of_images() -> None:
    names = [f"g{i}" for i in range(11)]
    first, second = (make_folds(listed(order), by_column(), (8, 8), 4) for order in (names, names[::-1]))
    for a, b in zip(first, second, strict=True):
        assert dict(zip(a["group"], a["part"], strict=True)) == dict(zip(b["group"], b["part"], strict=True))
    assert len({tuple(t["part"]) for t in first}) == 4


def test_strata_come_from_the_study() -> None:
    groups = [f"g{i:02d}" for i in range(18)]
    strata = ["rare" if i < 3 else "usual" for i in range(18)]
    for table in make_folds(listed(groups, strata), by_column(stratify="phenotype"), (8, 8), 3):
        held = set(table.loc[table["part"] == "holdout", "group"])
        assert len(held & set(groups[:3])) == 1


@settings(deadline=None)
@given(st.integers(60, 400), st.integers(3, 6), st.integers(0, 8))
def test_strips_keep_their_guard_and_leave_nothing_else_out(length: int, folds: int, guard: int) -> None:
    found = fold_strips(length, folds, guard)
    assert found[0][0] == 0 and found[-1][1] == length
    assert all(b[0] - a[1] == guard for a, b in pairwise(found))
    sizes = [b - a for a, b in found]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) > 0


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 6), st.integers(0, 5))
def test_strips_of_one_image_are_held_out_once_each_and_name_their_cells_apart(folds: int, guard: int) -> None:
    tables = make_folds(listed(["only"]), by_blocks(guard_px=guard), (2, 2), folds) if guard * folds < 20 else []
    held = []
    for table in tables:
        regions = from_table(table)
        held += [(r.start, r.stop) for r in regions if r.part == "holdout"]
        assert {r.part for r in regions} == set(PARTS)
        groups = [r.group_of(PatchLocation(r.image, r.start, (1, 1))) for r in regions]
        assert len(set(groups)) == len(regions)  # no two strips share a statistical group
    assert len(set(held)) == len(held) == (folds if tables else 0)


def test_a_share_changes_its_part_from_fold_to_fold() -> None:
    table = pd.DataFrame([[part_of(share, fold, 4) for share in range(4)] for fold in range(4)])
    for line in (*table.to_numpy(), *table.to_numpy().T):
        assert Counter(line) == {"holdout": 1, "calibration": 1, "train": 2}


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: make_folds(listed(["a", "b"]), by_column(), (8, 8), None), "too-few-groups"),
        (lambda: make_folds(listed(["a", "b", "c"]), by_column(), (8, 8), 4), "too-few-groups"),
        (lambda: make_folds(listed(["a"]), by_blocks(), (8, 8), None), "no-groups"),
        (lambda: make_folds(listed(["a"]), by_blocks(guard_px=16), (8, 8), 3), "too-small"),
        (lambda: make_folds(listed(["a"], axes="zyx"), by_blocks(), (8, 8, 8), 3), "axes"),
        (lambda: make_folds(listed(["a"] * 4), by_column(stratify="species"), (8, 8), 3), "unknown-column"),
        (lambda: make_folds(listed(["a"] * 4), by_column(), (8, 8, 8), 3), "dimensions"),
    ],
)
def test_what_cannot_be_folded_is_refused(make: Any, kind: str) -> None:
    with pytest.raises(InputError) as refused:
        make()
    assert {p.kind for p in refused.value.problems} == {kind}
