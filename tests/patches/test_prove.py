"""The proof of a split must hold where nothing crosses, and fail for every way of crossing: groups, files, gaps, and turned copies."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from stores import collection_of, texture

from sciimg.patches.duplicates import (
    THRESHOLD,
    Finder,
    cross_correlation,
    fine_detail,
    orientations,
    telling_pixels,
    tile_shape,
    turn,
)
from sciimg.patches.location import PatchLocation
from sciimg.patches.prove import evidence_json, prove_split
from sciimg.patches.regions import Region, to_table
from sciimg.patches.split import make_split
from sciimg.protocol.data import SplitByBlocks, SplitByColumn
from sciimg.records import Check, Metric
from sciimg.store import Collection

FIELDS = SplitByColumn(by="column", column="field", unit="field", calibration=0.2, holdout=0.3)


def checks(evidence: list[Metric | Check]) -> dict[str, Check]:
    return {e.name: e for e in evidence if isinstance(e, Check)}


def failed(evidence: list[Metric | Check]) -> set[str]:
    return {name for name, check in checks(evidence).items() if not check.passed}


def fields(path: Path, images: dict[str, Any]) -> tuple[Collection, pd.DataFrame]:
    collection = collection_of(path, images, "yx", field={id: id for id in images})
    return collection, make_split(collection, FIELDS, (32, 32))


def of_part(regions: pd.DataFrame, part: str) -> str:
    return str(regions.loc[regions["part"] == part, "image"].iloc[0])


@pytest.fixture
def images() -> dict[str, Any]:
    return {f"i{n}": texture(n, (110, 96)) for n in range(8)}


def test_different_textures_are_apart(tmp_path: Path, images: dict[str, Any]) -> None:
    collection, regions = fields(tmp_path / "c", images)
    evidence = prove_split(collection, regions, (32, 32))
    assert failed(evidence) == set()
    assert set(checks(evidence)) == {
        "split-groups-crossing",
        "split-files-crossing",
        "split-pairs-searched",
        "split-near-duplicates",
        "split-planted-copies-found",
    }
    (closest,) = (e for e in evidence if isinstance(e, Metric))
    assert closest.value is not None
    assert closest.value < 0.8
    assert closest.detail["orientations"] == 8
    assert evidence_json(evidence) == evidence_json(prove_split(collection, regions, (32, 32)))
    json.dumps(evidence_json(evidence))


@pytest.mark.parametrize("orientation", orientations((64, 64), (1.0, 1.0)))
def test_a_turned_noisy_copy_across_parts_is_found(tmp_path: Path, images: dict[str, Any], orientation: Any) -> None:
    _, regions = fields(tmp_path / "before", images)
    train, holdout = of_part(regions, "train"), of_part(regions, "holdout")
    copy = turn(images[train][5:77, 9:81], orientation)  # one and a half tiles: wherever it lies, it holds one
    noise = 0.1 * fine_detail(copy).std() * np.random.default_rng(0).normal(size=copy.shape)
    images[holdout][20:92, 3:75] = 0.7 * copy + 11 + noise
    collection, regions = fields(tmp_path / "after", images)
    evidence = prove_split(collection, regions, (32, 32))
    assert failed(evidence) == {"split-near-duplicates"}
    (closest,) = (e for e in evidence if isinstance(e, Metric))
    assert {closest.detail["closest"][0][k][0] for k in ("tile", "match")} == {train, holdout}


def test_the_same_image_under_two_names_is_found(tmp_path: Path, images: dict[str, Any]) -> None:
    _, regions = fields(tmp_path / "before", images)
    images[of_part(regions, "calibration")] = images[of_part(regions, "train")]
    collection, regions = fields(tmp_path / "after", images)
    assert failed(prove_split(collection, regions, (32, 32))) == {"split-files-crossing", "split-near-duplicates"}


def test_a_group_in_two_parts_is_found(tmp_path: Path, images: dict[str, Any]) -> None:
    collection, regions = fields(tmp_path / "c", images)
    regions.loc[regions["image"].isin([of_part(regions, "train"), of_part(regions, "holdout")]), "group"] = "same"
    assert failed(prove_split(collection, regions, (32, 32))) == {"split-groups-crossing"}


@pytest.mark.parametrize(("gap", "passes"), [(8, True), (7, False), (-20, False)])
def test_the_gap_between_strips_is_measured(tmp_path: Path, gap: int, passes: bool) -> None:
    collection = collection_of(tmp_path / "c", {"a": texture(0, (96, 240))}, "yx")
    ends = {"train": (0, 90), "calibration": (90 + gap, 150), "holdout": (160, 240)}
    regions = to_table(Region("a", part, "", (0, a), (96, b), (32, 32)) for part, (a, b) in ends.items())  # type: ignore[arg-type]
    guard = checks(prove_split(collection, regions, (32, 32), guard_px=8))["split-guard-px"]
    assert (guard.got, guard.passed) == (gap, passes)


def test_images_that_show_nothing_prove_nothing(tmp_path: Path) -> None:
    collection, regions = fields(tmp_path / "c", {f"i{n}": np.full((64, 64), n, np.uint8) for n in range(6)})
    evidence = prove_split(collection, regions, (32, 32))
    assert failed(evidence) == {"split-pairs-searched", "split-planted-copies-found"}
    (closest,) = (e for e in evidence if isinstance(e, Metric))
    assert closest.status == "undefined"


def test_strips_of_a_mirrored_volume_leak_across_the_mirror_and_not_along_it(tmp_path: Path) -> None:
    half = texture(3, (24, 90, 45))
    collection = collection_of(tmp_path / "c", {"a": np.concatenate([half, half[:, :, ::-1]], axis=2)}, "zyx")
    found = {}
    for axis in "xy":
        split = SplitByBlocks(by="blocks", axis=axis, calibration=0.3, holdout=0.35, guard_px=4, cell=(20, 20, 20))
        found[axis] = failed(prove_split(collection, make_split(collection, split, (16, 16, 16)), (16, 16, 16), guard_px=4))
    assert found == {"x": {"split-near-duplicates"}, "y": set()}


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """The symmetric T1 template that ships in nilearn, every second voxel of the middle."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None or spec.origin is None:
        pytest.skip("nilearn, which ships the symmetric brain template, is not installed (extra `demo`)")
    import nibabel

    file = Path(spec.origin).parent / "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    volume = np.asarray(nibabel.load(file).dataobj).T  # z, y, x
    halved = ndimage.uniform_filter(volume.astype(np.float32), 3)[20:160:2, 8:230:2, ::2]
    assert np.array_equal(halved, halved[:, :, ::-1])
    return collection_of(tmp_path_factory.mktemp("brain") / "c", {"icbm": halved}, "zyx")


@pytest.mark.parametrize(("axis", "leaks"), [("x", True), ("y", False)])
def test_the_symmetric_brain_may_be_cut_along_y_and_not_along_x(brain: Collection, axis: Any, leaks: bool) -> None:
    split = SplitByBlocks(by="blocks", axis=axis, calibration=0.25, holdout=0.3, guard_px=4, cell=(20, 20, None))
    evidence = prove_split(brain, make_split(brain, split, (20, 20, 20)), (20, 20, 20), guard_px=4)
    assert failed(evidence) == ({"split-near-duplicates"} if leaks else set())


# ---------------------------------------------------------------- the parts of the search


def test_cross_correlation_is_the_correlation_coefficient_of_every_window() -> None:
    rng = np.random.default_rng(0)
    for shape, tile in [((9, 11), (4, 5)), ((7, 8, 9), (3, 8, 4))]:
        image, template = rng.normal(size=shape), rng.normal(size=tile)
        found = cross_correlation(image, template)
        for place in np.ndindex(*found.shape):
            window = image[tuple(slice(p, p + t) for p, t in zip(place, tile, strict=True))]
            assert found[place] == pytest.approx(np.corrcoef(window.ravel(), template.ravel())[0, 1], abs=1e-9)


def test_cross_correlation_of_nothing_is_nothing() -> None:
    image = np.zeros((20, 20))
    image[15:, 15:] = 1e4 * np.random.default_rng(0).normal(size=(5, 5))
    found = cross_correlation(image, np.random.default_rng(1).normal(size=(6, 6)))
    assert (found[:9, :9] == 0).all()
    assert (cross_correlation(image, np.ones((6, 6))) == 0).all()


def test_a_square_has_8_orientations_and_a_cube_48() -> None:
    for shape, spacing, count in [
        ((8, 8), (1.0, 1.0), 8),
        ((8, 12), (1.0, 1.0), 4),
        ((8, 8), (1.0, 2.0), 4),
        ((8, 8, 8), (1.0, 1.0, 1.0), 48),
        ((8, 8, 8), (3.0, 1.0, 1.0), 16),
        ((1, 8, 8), (3.0, 1.0, 1.0), 8),
    ]:
        found = orientations(shape, spacing)
        image = np.random.default_rng(0).normal(size=shape)
        assert len({turn(image, o).tobytes() for o in found}) == len(found) == count


@pytest.mark.parametrize(
    ("patch", "extents", "expected"),
    [
        ((64, 64), [(512, 264), (512, 134)], (64, 64)),
        ((128, 128), [(512, 264)], (64, 64)),
        ((32, 48), [(100, 100)], (64, 64)),
        ((64, 64), [(512, 50)], (48, 48)),
        ((1, 64, 64), [(5, 100, 100)], (1, 64, 64)),
        ((32, 48, 32), [(35, 66, 35), (30, 70, 40)], (28, 64, 32)),
        ((32, 48, 32), [(35, 51, 35), (30, 60, 40)], (28, 28, 28)),
        ((32, 64, 64), [(6, 200, 200)], (4, 64, 64)),
        ((32, 32), [(20, 500)], (20, 64)),
    ],
)
def test_tiles_fit_into_the_shortest_region(patch: Any, extents: Any, expected: Any) -> None:
    assert tile_shape(patch, extents, 64) == expected


def test_detail_in_few_pixels_is_told_from_detail_everywhere() -> None:
    speck = np.zeros((32, 32))
    speck[4, 5] = 1
    assert telling_pixels(speck) == pytest.approx(1)
    assert telling_pixels(np.random.default_rng(0).normal(size=(256, 256))) == pytest.approx(256**2 / 3, rel=0.05)
    assert telling_pixels(np.zeros((4, 4))) == 0


@pytest.mark.parametrize("shape", [(64, 64), (48, 48), (24, 24, 24), (1, 48, 48)])
def test_a_copy_is_found_wherever_it_lies(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    finder = Finder(shape, (1.0,) * len(shape), contrast=20.0)
    found = 0
    for trial in range(20):
        pixels = texture(trial, tuple(n + 40 if n > 1 else 3 for n in shape))
        tile = finder.tile(PatchLocation("q", (0,) * len(shape), shape), texture(100 + trial, shape))
        assert tile is not None
        origin = tuple(int(rng.integers(0, n - e + 1)) for n, e in zip(pixels.shape, shape, strict=True))
        orientation = finder.orientations[int(rng.integers(len(finder.orientations)))]
        pixels[tuple(slice(o, o + e) for o, e in zip(origin, shape, strict=True))] = turn(tile.pixels, orientation)
        piece = PatchLocation("p", (7,) * len(shape), pixels.shape), pixels
        matches = [finder.fine(tile, *candidate, piece) for candidate in finder.coarse([tile], [piece])[0]]
        best = max(matches, key=lambda m: m.correlation)
        found += best.correlation > THRESHOLD and best.window.origin == tuple(o + 7 for o in origin)
    assert found >= 19
