"""Rows of a catalogue found on disk are those that pandas finds in memory."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sciimg.errors import InputError
from sciimg.store.select import Selection

ROWS = 500


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame({
        "id": [f"i{n:04}" for n in range(ROWS)],
        "group": rng.choice(["g-b", "g-a", "g-c"], ROWS, p=[0.6, 0.39, 0.01]),
        "depth": rng.integers(0, 50, ROWS),
        "level": np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(size=ROWS)),
        "synthetic": rng.random(ROWS) < 0.5,
        "stain": rng.choice(np.array(["dab", "h & e", None], dtype=object), ROWS),
    })  # fmt: skip


@pytest.fixture(scope="module")
def catalogue(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "catalogue.parquet"
    table.to_parquet(path, row_group_size=64)
    return path


@pytest.mark.parametrize(
    ("where", "query"),
    [
        ((), "index >= 0"),
        (("stain=dab",), "stain == 'dab'"),
        (("stain = h & e", "depth<=20"), "stain == 'h & e' and depth <= 20"),
        (("depth!=7",), "depth != 7"),
        (("level>0.25", "level < 1"), "level > 0.25 and level < 1"),
        (("synthetic=true", "group=g-a"), "synthetic and group == 'g-a'"),
        (("depth>=1000",), "depth >= 1000"),
    ],
)
def test_rows_are_those_that_pandas_finds(catalogue: Path, table: pd.DataFrame, where: tuple[str, ...], query: str) -> None:
    selection, expected = Selection(catalogue, where), table.query(query).reset_index(drop=True)
    assert len(selection) == len(expected)
    pd.testing.assert_frame_equal(selection.read(), pd.read_parquet(catalogue).query(query).reset_index(drop=True))
    assert list(selection.read(["depth", "id"]).columns) == ["depth", "id"]
    assert selection.values("group") == expected["group"].value_counts().sort_index().to_dict()


def test_a_part_of_a_split_is_a_condition_too(catalogue: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    regions = pd.DataFrame({"image": table["id"], "part": np.where(table["group"] == "g-a", "holdout", "train")})
    regions.to_parquet(tmp_path / "regions.parquet")
    found = Selection(catalogue, ["depth<10"], regions=tmp_path / "regions.parquet", part="holdout").read(["id"])["id"]
    assert list(found) == list(table.query("depth < 10 and group == 'g-a'")["id"])


def test_a_sample_is_drawn_by_its_key_from_the_rows_that_are_wanted(catalogue: Path, table: pd.DataFrame) -> None:
    wanted = table.query("depth < 25")
    sample = Selection(catalogue, ["depth<25"]).sample(40, ("k", 1))
    again = Selection(catalogue, ["depth<25"]).sample(40, ("k", 1), ["id"])["id"]
    other = Selection(catalogue, ["depth<25"]).sample(40, ("k", 2), ["id"])["id"]
    assert len(sample) == 40 and sample["id"].is_monotonic_increasing and sample["id"].is_unique and set(sample["id"]) <= set(wanted["id"])
    assert list(again) == list(sample["id"]) != list(other)
    merged = sample.merge(pd.read_parquet(catalogue), on="id", suffixes=("", "_own"))
    assert (merged["depth"] == merged["depth_own"]).all()
    assert list(Selection(catalogue, ["depth<25"]).sample(10_000, ("k",))["id"]) == list(wanted["id"])


def test_every_row_is_drawn_as_often_as_any_other(catalogue: Path) -> None:
    selection, times = Selection(catalogue, ["depth<5"]), 400
    drawn = pd.concat([selection.sample(10, ("even", n), ["id"]) for n in range(times)])["id"].value_counts()
    expected = times * 10 / len(selection)
    assert len(drawn) == len(selection) and np.abs(drawn - expected).max() < 5 * np.sqrt(expected)


def test_so_many_of_each_group(catalogue: Path, table: pd.DataFrame) -> None:
    found = Selection(catalogue, ["depth>=5"]).sample(6, ("each",), ["id", "group"], each="group")
    sizes = table.query("depth >= 5")["group"].value_counts()
    assert found["group"].value_counts().to_dict() == sizes.clip(upper=6).to_dict() and found["id"].is_monotonic_increasing
    assert list(found["id"]) == list(Selection(catalogue, ["depth>=5"]).sample(6, ("each",), ["id"], each="group")["id"])


@pytest.mark.parametrize(
    ("where", "kind"),
    [("depth", "bad-condition"), ("depth=deep", "bad-condition"), ("synthetic=maybe", "bad-condition"), ("x=1", "unknown-column")],
)
def test_what_makes_no_sense_is_refused(catalogue: Path, where: str, kind: str) -> None:
    with pytest.raises(InputError) as caught:
        Selection(catalogue, [where])
    assert [p.kind for p in caught.value.problems] == [kind]


def test_a_damaged_catalogue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalogue.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError) as caught:
        len(Selection(tmp_path / "catalogue.parquet"))
    assert [p.kind for p in caught.value.problems] == ["corrupt"]
