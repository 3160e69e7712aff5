"""The same values through every reader of Zarr 3, and axes that say where they lead."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from stores import image_of

from sciimg.io.image import Image
from sciimg.store import Volume, write_volume
from sciimg.store.metadata import multiscales
from sciimg.types import Spacing

CASES = [
    ("czyx", (2, 70, 600, 130), "uint16"),
    ("zyx", (40, 300, 200), "float32"),
    ("yx", (2500, 1100), "uint8"),
    ("tyx", (3, 700, 500), "int16"),
]


@pytest.fixture(params=CASES, ids=[c[0] for c in CASES])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Volume]:
    axes, shape, dtype = request.param
    pixels = np.random.default_rng(8).integers(0, 120, shape).astype(dtype)
    pixels[..., : shape[-1] // 2] = 0  # chunks of zeros are left out
    write_volume(tmp_path / "a.zarr", image_of(pixels, axes), attributes={})
    volume = Volume(tmp_path / "a.zarr")
    assert volume.read().tobytes() == pixels.tobytes()
    return tmp_path / "a.zarr", volume


def by_tensorstore(path: Path) -> Any:
    tensorstore = pytest.importorskip("tensorstore")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(spec, read=True).result().read().result()


def by_zarrs(path: Path) -> Any:
    pytest.importorskip("zarrs")
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return zarr.open_array(path, mode="r")[...]


@pytest.mark.parametrize("read", [lambda path: zarr.open_array(path, mode="r")[...], by_tensorstore, by_zarrs], ids=["zarr", "ts", "zarrs"])
def test_every_level_reads_the_same(written: tuple[Path, Volume], read: Any) -> None:
    path, volume = written
    assert volume.levels > 1
    for level in range(volume.levels):
        assert np.array_equal(np.asarray(read(path / str(level))), volume.read(level=level))


# Rows of RAS: +x is left to right, +y posterior to anterior, +z inferior to superior (NGFF RFC 4; nibabel's "RAS").
@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        (np.diag([1.0, 1, 1, 1]), {"x": "left-to-right", "y": "posterior-to-anterior", "z": "inferior-to-superior"}),
        (np.diag([-2.0, -1, 3, 1]), {"x": "right-to-left", "y": "anterior-to-posterior", "z": "inferior-to-superior"}),
        (
            np.array([[0, 0, 1.0, 0], [1, 0.2, 0, 0], [0.1, -1, 0, 0], [0, 0, 0, 1]]),
            {"x": "posterior-to-anterior", "y": "superior-to-inferior", "z": "left-to-right"},
        ),
    ],
)
def test_axes_say_their_anatomical_direction(affine: Any, expected: dict[str, str]) -> None:
    from sciimg.store.layout import pyramid

    levels = pyramid("zyx", (4, 4, 4), (1.0, 1.0, 1.0))
    axes = multiscales("a", "zyx", levels, Spacing((1.0, 1.0, 1.0), "millimeter"), "mean", affine)[0]["axes"]
    assert {a["name"]: a["orientation"]["value"] for a in axes} == expected
    nibabel = pytest.importorskip("nibabel")
    letters = {"left-to-right": "R", "right-to-left": "L", "posterior-to-anterior": "A", "anterior-to-posterior": "P"}
    letters |= {"inferior-to-superior": "S", "superior-to-inferior": "I"}
    assert tuple(letters[expected[a]] for a in "xyz") == nibabel.aff2axcodes(affine)


def test_without_an_affine_no_direction_is_claimed(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.zarr", Image.from_array(np.zeros((4, 4), np.uint8), "yx", Spacing((1.0, 1.0), "pixel")), attributes={})
    assert all("orientation" not in axis for axis in Volume(tmp_path / "a.zarr").ome["multiscales"][0]["axes"])
