"""Whole groups, in the fractions asked for, or strips with a gap; the same for the same names."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import collection_of

from sciimg.errors import InputError
from sciimg.patches.location import PatchLocation
from sciimg.patches.regions import Region, from_table, table_bytes, to_table
from sciimg.patches.split import group_of, make_split, strips
from sciimg.protocol.data import SplitByBlocks, SplitByColumn
from sciimg.types import PARTS


class Listed:
    """A collection as far as a split looks at it."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.catalogue = pd.DataFrame(rows)
        self.path = Path("collection")

    def columns(self, *names):
        return self.catalogue[[name for name in dict.fromkeys(names) if name in self.catalogue]]

    def select(self):
        return SimpleNamespace(columns=list(self.catalogue.columns))


def listed(groups: list[str], strata: list[str] | None = None, axes: str = "yx") -> Any:
    shape = json.dumps([40] * len(axes))
    same = {"channels": "[]", "dtype": "uint8", "spacing": "[1,1]", "unit": "pixel", "label_kind": None}
    rows = [{"id": f"i{n}", "field": g, "axes": axes, "shape": shape} | same for n, g in enumerate(groups)]
    for row, stratum in zip(rows, strata or [], strict=False):
        row["phenotype"] = stratum
    return Listed(rows)


def by_column(**options: Any) -> SplitByColumn:
    return SplitByColumn(by="column", column="field", unit="field", **options)


@given(st.lists(st.sampled_from([f"g{i}" for i in range(12)]), min_size=12, max_size=60), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_no_group_is_in_two_parts_and_every_part_has_one(groups: list[str], calibration: float, holdout: float) -> None:
    if len(set(groups)) < 3:
        return
    regions = make_split(listed(groups), by_column(calibration=calibration, holdout=holdout), (8, 8))
    assert set(regions["part"]) == set(PARTS)
    assert (regions.groupby("group")["part"].nunique() == 1).all()
    assert list(regions["group"]) == groups
    number = len(set(groups))
    parts = regions.drop_duplicates("group")["part"].value_counts()
    assert abs(parts["holdout"] - max(1, holdout * number)) <= 1
    assert abs(parts["calibration"] - max(1, calibration * number)) <= 1


def test_the_split_depends_on_names_and_not_on_order_or_global_state() -> None:
    groups = [f"g{i % 9}" for i in range(30)]
    regions = make_split(listed(groups), by_column(), (8, 8))
    np.random.seed(3)  # noqa: NPY002
    order = np.random.default_rng(0).permutation(30)
    again = make_split(listed([groups[i] for i in order]), by_column(), (8, 8))
    parts = dict(zip(regions["group"], regions["part"], strict=True))
    assert parts == dict(zip(again["group"], again["part"], strict=True))


def test_strata_keep_the_fractions() -> None:
    groups = [f"g{i}" for i in range(40)]
    strata = ["large" if i < 10 else "small" for i in range(40)]
    regions = make_split(listed(groups, strata), by_column(holdout=0.3, calibration=0.2, stratify="phenotype"), (8, 8))
    regions["stratum"] = strata
    counts = regions.groupby(["stratum", "part"]).size()
    assert (counts["large", "holdout"], counts["large", "calibration"], counts["large", "train"]) == (3, 2, 5)
    assert (counts["small", "holdout"], counts["small", "calibration"], counts["small", "train"]) == (9, 6, 15)


@pytest.mark.parametrize(
    ("groups", "strata", "options", "kind"),
    [
        (["a", "b"], None, {}, "too-few-groups"),
        (["a", "b", "c"], None, {"stratify": "phenotype"}, "unknown-column"),
        (["a", "b", None], None, {}, "no-group"),
        (["a", "b", "c"], ["x", "y", None], {"stratify": "phenotype"}, "no-group"),
    ],
)
def test_what_cannot_be_split_by_column(groups: list[Any], strata: list[Any] | None, options: dict[str, Any], kind: str) -> None:
    with pytest.raises(InputError) as error:
        make_split(listed(groups, strata), by_column(**options), (8, 8))
    assert [p.kind for p in error.value.problems] == [kind]


@given(st.integers(100, 700), st.floats(0.1, 0.4), st.floats(0.1, 0.4), st.integers(0, 20))
def test_strips_cover_the_axis_but_for_two_gaps(length: int, calibration: float, holdout: float, guard: int) -> None:
    split = SplitByBlocks(by="blocks", axis="x", calibration=calibration, holdout=holdout, guard_px=guard, cell=(8, 8))
    found = strips(length, split)
    assert found["train"][0] == 0
    assert found["holdout"][1] == length
    assert found["calibration"][0] - found["train"][1] == guard
    assert found["holdout"][0] - found["calibration"][1] == guard
    assert found["holdout"][1] - found["holdout"][0] == pytest.approx(holdout * (length - 2 * guard), abs=1)


def test_strips_that_hold_no_patch_are_refused_with_all_problems() -> None:
    split = SplitByBlocks(by="blocks", axis="x", guard_px=2, cell=(8, 8))
    with pytest.raises(InputError) as error:
        make_split(listed(["a", "b"]), split, (16, 16))
    assert [p.kind for p in error.value.problems] == ["too-small"] * 4  # calibration and holdout of both images


def test_an_axis_that_an_image_lacks_is_told() -> None:
    with pytest.raises(InputError, match="axes"):
        make_split(listed(["a"]), SplitByBlocks(by="blocks", axis="z", cell=(8, 8)), (4, 4))


@given(
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.integers(20, 90), st.integers(20, 90)),
    st.tuples(st.integers(5, 40), st.integers(5, 40)),
    st.data(),
)
def test_cells_group_patches_by_centre(start: Any, extent: Any, cell: Any, data: st.DataObject) -> None:
    stop = tuple(a + e for a, e in zip(start, extent, strict=True))
    region = Region("i", "train", "", start, stop, tuple(min(c, e) for c, e in zip(cell, extent, strict=True)))
    origin = tuple(data.draw(st.integers(a, b - 4)) for a, b in zip(start, stop, strict=True))
    name = group_of(region, PatchLocation("i", origin, (4, 4)))
    index = [int(i) for i in name.removeprefix("i/train/").split(".")]
    for i, o, s, c, e in zip(index, origin, start, region.cell or (), extent, strict=True):
        centre, last = o + 2 - s, max(1, e // c) - 1
        assert 0 <= i <= last
        assert i * c <= centre
        assert i == last or centre < (i + 1) * c


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"axes": "tyx"}, ["dimensions"]),
        ({"axes": "zyx"}, ["mixed-images"]),
        ({"dtype": "uint16", "spacing": "[2,2]"}, ["mixed-images", "mixed-images"]),
        ({"label_kind": "classes"}, ["mixed-images"]),
    ],
)
def test_images_that_differ_are_refused(change: dict[str, str], kinds: list[str]) -> None:
    collection = listed(["a", "b", "c"])
    for column, value in change.items():
        collection.catalogue.loc[1, column] = value
    with pytest.raises(InputError) as error:
        make_split(collection, by_column(), (8, 8))
    assert [p.kind for p in error.value.problems] == kinds


def test_regions_are_kept_in_a_table_whose_bytes_repeat(tmp_path: Path) -> None:
    regions = [Region("a", "train", "g", (0, 0), (5, 6)), Region("b", "holdout", "", (0, 3), (5, 9), (5, 2))]
    data = table_bytes(to_table(regions))
    assert data == table_bytes(to_table(regions))
    (tmp_path / "regions.parquet").write_bytes(data)
    assert from_table(pd.read_parquet(tmp_path / "regions.parquet")) == regions
    assert from_table(pd.read_parquet(tmp_path / "regions.parquet"), "holdout") == regions[1:]


def test_a_stored_collection_is_split(tmp_path: Path) -> None:
    images = {f"i{n}": np.random.default_rng(n).integers(0, 99, (30, 20 + n)).astype(np.uint8) for n in range(6)}
    collection = collection_of(tmp_path / "c", images, "yx", field={id: f"f{int(id[1]) // 2}" for id in images})
    regions = make_split(collection, by_column(), (16, 16))
    assert [json.loads(s) for s in regions["stop"]] == [[30, 20 + n] for n in range(6)]
