"""Patches are what lies at their place, wherever and whenever they are drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import collection_of, image_of, texture

from sciimg.errors import InputError
from sciimg.patches import cache
from sciimg.patches.location import PatchLocation
from sciimg.patches.places import Places
from sciimg.patches.regions import Region, to_table
from sciimg.patches.source import PatchSource
from sciimg.patches.split import make_split
from sciimg.protocol.data import ClassCondition, MaskCondition, ScalarCondition, SplitByBlocks
from sciimg.store import Collection, CollectionWriter

KEY = ("sha256:0", "train")
CONDITIONS = (
    MaskCondition(kind="mask"),
    ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel="channel-1"),
    ScalarCondition(kind="scalar", name="full", measure="foreground-fraction"),
    ScalarCondition(kind="scalar", name="age", measure="column", column="age"),
    ClassCondition(kind="class", name="kind", column="kind"),
)


@pytest.fixture(scope="module")
def images() -> dict[str, Any]:
    return {f"i{n}": np.stack([texture(n, (90, 70 + 10 * n)), texture(9 + n, (90, 70 + 10 * n))]) for n in range(3)}


@pytest.fixture(scope="module")
def collection(images: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Collection:
    columns = {"age": {"i0": 30, "i1": 40, "i2": 50}, "kind": {"i0": "a", "i1": "b", "i2": "a"}}
    return collection_of(tmp_path_factory.mktemp("patches") / "c", images, "cyx", **columns)


def whole(collection: Collection, part: str = "train") -> pd.DataFrame:
    """Every image a group of its own."""
    rows = zip(collection.catalogue["id"], collection.catalogue["axes"], collection.catalogue["shape"], strict=True)
    spatial = [(id, tuple(n for a, n in zip(axes, json.loads(shape), strict=True) if a in "zyx")) for id, axes, shape in rows]
    return to_table(Region(id, part, id, (0,) * len(shape), shape) for id, shape in spatial)  # type: ignore[arg-type]


def test_a_patch_is_what_lies_at_its_place(collection: Collection, images: dict[str, Any]) -> None:
    drawn = PatchSource(collection, whole(collection), "train", (16, 24), CONDITIONS).draw(KEY, range(40))
    assert drawn.images.shape == (40, 2, 16, 24)
    for n in range(40):
        row = drawn.table.iloc[n]
        y, x = json.loads(row["origin"])
        pixels = images[row["image"]][:, y : y + 16, x : x + 24]
        mask = images[row["image"]].mean(0) > images[row["image"]].mean(0).mean()
        assert np.array_equal(drawn.images[n], pixels)
        assert drawn.labels is not None
        assert np.array_equal(drawn.labels[n], mask[y : y + 16, x : x + 24])
        assert row["level"] == pytest.approx(pixels[1].mean(dtype=np.float64))
        assert row["full"] == pytest.approx(mask[y : y + 16, x : x + 24].mean())
        assert (row["age"], row["kind"]) == ({"i0": 30.0, "i1": 40.0, "i2": 50.0}[row["image"]], {"i1": "b"}.get(row["image"], "a"))
        assert row["padded"] == 0
        assert drawn.groups[n] == row["image"]
    assert "mask" not in drawn.table


@settings(max_examples=20)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=12), st.floats(0, 0.9))
def test_a_patch_depends_on_key_and_index_alone(collection: Collection, indices: list[int], least: float) -> None:
    regions = whole(collection)
    together = PatchSource(collection, regions, "train", (16, 16), min_foreground=least).draw(KEY, indices)
    for n, index in enumerate(indices):
        alone = PatchSource(collection, regions, "train", (16, 16), min_foreground=least)
        assert np.array_equal(alone.draw(KEY, [index]).images[0], together.images[n])
        assert json.loads(together.table["origin"][n]) == list(alone.location(KEY, index).origin)


def test_other_keys_draw_other_patches(collection: Collection) -> None:
    source = PatchSource(collection, whole(collection), "train", (16, 16))
    places = {source.location(key, i) for key in (KEY, ("sha256:0", "validate"), ("sha256:1", "train")) for i in range(20)}
    assert len(places) > 55


def test_every_position_of_every_region_is_drawn_evenly() -> None:
    """Chi-square against the rule: regions by size, positions with equal chance."""
    from scipy import stats

    regions = [Region("a", "train", "a", (0, 0), (6, 5)), Region("b", "train", "b", (2, 2), (12, 8))]
    places = Places(regions, (4, 4))
    count = 6000
    drawn = [places.random(("k",), i)[1] for i in range(count)]
    expected = {PatchLocation("a", (y, x), (4, 4)): 30 / 90 / 6 for y in range(3) for x in range(2)}
    expected |= {PatchLocation("b", (2 + y, 2 + x), (4, 4)): 60 / 90 / 21 for y in range(7) for x in range(3)}
    observed = [drawn.count(place) for place in expected]
    assert sum(observed) == count
    assert stats.chisquare(observed, [count * p for p in expected.values()]).pvalue > 0.001


def test_patches_stay_inside_their_part(collection: Collection) -> None:
    split = SplitByBlocks(by="blocks", axis="x", guard_px=6, calibration=0.3, holdout=0.35, cell=(16, 16))
    regions = make_split(collection, split, (16, 16))
    columns: dict[str, dict[str, set[int]]] = {}
    for part in ("train", "calibration", "holdout"):
        source = PatchSource(collection, regions, part, (16, 16))
        for patches in (source.draw(KEY, range(200)), source.grid()):
            for image, origin in zip(patches.table["image"], patches.table["origin"], strict=True):
                x = json.loads(origin)[1]
                columns.setdefault(image, {}).setdefault(part, set()).update(range(x, x + 16))
    for parts in columns.values():
        for a in parts:
            for b in parts:
                assert a == b or min(abs(i - j) for i in parts[a] for j in parts[b]) > 6


@pytest.mark.parametrize("limit", [5, 12, 40])
def test_a_grid_spreads_over_groups(collection: Collection, limit: int) -> None:
    source = PatchSource(collection, whole(collection), "train", (16, 16))
    grid = source.grid(limit)
    assert len(grid) == limit
    counts = pd.Series(grid.groups).value_counts()
    assert counts.max() - counts.min() <= 1
    again = PatchSource(collection, whole(collection), "train", (16, 16)).grid(limit)
    assert grid.table.equals(again.table)
    assert not grid.table.equals(source.grid(limit, seed_key=("other",)).table)


def test_a_grid_does_not_overlap_unless_more_is_asked_for(collection: Collection, images: dict[str, Any]) -> None:
    source = PatchSource(collection, whole(collection), "train", (16, 16))
    grid = source.grid()
    count = {id: np.zeros(pixels.shape[1:], int) for id, pixels in images.items()}
    for image, origin in zip(grid.table["image"], grid.table["origin"], strict=True):
        y, x = json.loads(origin)
        count[image][y : y + 16, x : x + 16] += 1
    assert max(c.max() for c in count.values()) == 1
    assert len(grid) == sum((90 // 16) * (p.shape[2] // 16) for p in images.values())
    assert len(source.grid(limit=3 * len(grid))) == 3 * len(grid)
    assert set(source.groups) == {"i0", "i1", "i2"}
    tiles = source.grid(stride=(30, 30))
    assert {tuple(np.subtract(json.loads(o), json.loads(tiles.table["origin"][0])) % 30) for o in tiles.table["origin"][:6]} == {(0, 0)}


def test_foreground_is_found_where_there_is_some(tmp_path: Path) -> None:
    pixels = np.zeros((100, 100), np.uint8)
    pixels[10:40, 10:40] = 200
    collection = collection_of(tmp_path / "c", {"a": pixels}, "yx")
    source = PatchSource(collection, whole(collection), "train", (20, 20), min_foreground=0.5)
    drawn, plain = source.draw(KEY, range(200)), PatchSource(collection, whole(collection), "train", (20, 20)).draw(KEY, range(200))
    assert drawn.labels is not None
    assert plain.labels is not None
    enough = (drawn.labels.reshape(200, -1).mean(1) >= 0.5).mean()
    by_chance = (plain.labels.reshape(200, -1).mean(1) >= 0.5).mean()
    # 16 tries find it with probability 1 - (1 - p)^16, where p is the chance of one
    assert enough == pytest.approx(1 - (1 - by_chance) ** 16, abs=0.08)
    grid = source.grid(limit=100)
    assert grid.labels is not None
    assert (grid.labels.reshape(len(grid), -1).mean(1) >= 0.5).all()


def test_an_unreachable_foreground_is_an_error_of_the_grid(tmp_path: Path) -> None:
    collection = collection_of(tmp_path / "c", {"a": np.zeros((40, 40), np.uint8)}, "yx")
    source = PatchSource(collection, whole(collection), "train", (16, 16), min_foreground=0.01)
    with pytest.raises(InputError, match="no-patches"):
        source.grid()
    assert len(source.draw(KEY, range(3))) == 3  # a random patch always comes


def test_small_images_are_mirrored_and_say_so(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (10, 12, 7)).astype(np.uint8)
    collection = collection_of(tmp_path / "c", {"a": pixels, "b": np.tile(pixels, (2, 2, 3))}, "zyx")
    source = PatchSource(collection, whole(collection), "train", (8, 16, 16))
    grid = source.grid()
    by_image = {image: n for n, image in enumerate(grid.table["image"])}
    padded = grid.images[by_image["a"], 0]
    origin = json.loads(grid.table["origin"][by_image["a"]])
    assert origin[1:] == [-2, -4]
    assert grid.table["padded"][by_image["a"]] == pytest.approx(1 - (12 * 7) / (16 * 16))
    assert grid.table["padded"][by_image["b"]] == 0
    expected = np.pad(pixels, [(0, 0), (2, 2), (4, 5)], mode="symmetric")[origin[0] : origin[0] + 8]
    assert np.array_equal(padded, expected)
    assert grid.labels is not None
    assert grid.labels[by_image["a"]].shape == (8, 16, 16)
    again = source.at([PatchLocation("a", tuple(origin), (8, 16, 16))])
    assert np.array_equal(again.images[0, 0], padded)


def test_planes_are_cut_from_volumes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (2, 5, 40, 30)).astype(np.uint16)
    collection = collection_of(tmp_path / "c", {"a": pixels}, "czyx")
    source = PatchSource(collection, whole(collection), "train", (16, 16))
    drawn = source.draw(KEY, range(10))
    assert drawn.images.shape == (10, 2, 16, 16)
    assert len(drawn.spacing.values) == 2
    z, y, x = json.loads(drawn.table["origin"][3])
    assert np.array_equal(drawn.images[3], pixels[:, z, y : y + 16, x : x + 16])


@settings(max_examples=15)
@given(st.integers(2000, 40000), st.integers(0, 1000))
def test_a_small_cache_gives_the_same_patches(large: tuple[Collection, Any], limit: int, first: int) -> None:
    collection, pixels = large
    source = PatchSource(collection, whole(collection), "train", (20, 30), cache_bytes=limit)
    drawn = source.draw(KEY, range(first, first + 6))
    for n, origin in enumerate(drawn.table["origin"]):
        y, x = json.loads(origin)
        assert np.array_equal(drawn.images[n, 0], pixels[y : y + 20, x : x + 30])
    assert source._cache._bytes <= max(limit, 64 * 64 * 6 * 4)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An image that is read in blocks of two chunks."""
    patch = pytest.MonkeyPatch()
    patch.setattr(cache, "_WHOLE_BYTES", 1000)
    patch.setattr("sciimg.store.layout._ONE_CHUNK_BYTES", 1000)
    patch.setattr("sciimg.store.layout._chunk_edges", lambda axes, shape, dims: {"y": 32, "x": 32})
    pixels = np.random.default_rng(0).integers(0, 999, (150, 200)).astype(np.uint16)
    yield collection_of(tmp_path_factory.mktemp("large") / "c", {"a": pixels}, "yx"), pixels
    patch.undo()


def test_threads_may_draw_from_one_source(large: tuple[Collection, Any]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    source = PatchSource(large[0], whole(large[0]), "train", (20, 30), cache_bytes=30000)
    expected = [source.draw(KEY, [i]).images for i in range(24)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: source.draw(KEY, [i]).images, range(24)))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_places_outside_a_part_are_refused(collection: Collection) -> None:
    source = PatchSource(collection, whole(collection), "train", (16, 16))
    for image, origin, shape in [
        ("i0", (80, 0), (16, 16)),
        ("nobody", (0, 0), (16, 16)),
        ("i0", (0, 0), (8, 8)),
        ("i0", (-1, 0), (16, 16)),
    ]:
        with pytest.raises(InputError, match="outside"):
            source.at([PatchLocation(image, origin, shape)])


def test_all_problems_of_conditions_are_told(collection: Collection) -> None:
    wrong = (
        ScalarCondition(kind="scalar", name="a", measure="channel-mean", channel="dapi"),
        ScalarCondition(kind="scalar", name="b", measure="column", column="kind"),
        ClassCondition(kind="class", name="c", column="nothing"),
    )
    with pytest.raises(InputError) as error:
        PatchSource(collection, whole(collection), "train", (16, 16), wrong)
    assert [p.kind for p in error.value.problems] == ["unknown-channel", "no-value", "unknown-column"]


def test_images_that_differ_are_refused(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        writer.add("a", image_of(np.zeros((20, 20), np.uint8), "yx"), group="a")
        writer.add("b", image_of(np.zeros((20, 20), np.uint16), "yx", (2.0, 2.0)), group="b")
        writer.add("c", image_of(np.zeros((4, 20, 20), np.uint16), "tyx"), group="c")
    collection = Collection(tmp_path / "c")
    with pytest.raises(InputError) as error:
        PatchSource(collection, whole(collection), "train", (16, 16), (MaskCondition(kind="mask"),), 0.5)
    assert [p.kind for p in error.value.problems] == ["dimensions", "mixed-images", "mixed-images"]
    same = whole(collection).iloc[:1]
    with pytest.raises(InputError) as error:
        PatchSource(collection, same, "train", (16, 16), (MaskCondition(kind="mask"),), 0.5)
    assert [p.kind for p in error.value.problems] == ["no-labels", "no-labels"]
    with pytest.raises(InputError, match="empty-part"):
        PatchSource(collection, same, "holdout", (16, 16))
