"""OME-Zarr of other programs: both versions, any order of axes, sharded or not; what is absent, damaged or leads elsewhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.io.labels import PIXELS
from sciimg.types import Spacing

VOLUME = np.random.default_rng(3).integers(1, 60000, (2, 3, 20, 24), dtype=np.uint16)  # c, z, y, x


def written(path: Path, array: np.ndarray, axes: list[dict[str, Any]], scale: list[float], *, version: str, **options: Any) -> Path:
    """Write an image with zarr-python, metadata by hand."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=array, **options)
    scene = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]}
    about = {"multiscales": [scene], "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}}
    group.attrs.update(about if version == "0.4" else {"ome": {"version": "0.5", **about}})
    return path


def space(letters: str, unit: str = "micrometer") -> list[dict[str, Any]]:
    return [{"name": a, "type": "channel"} if a == "c" else {"name": a, "type": "space", "unit": unit} for a in letters]


@pytest.mark.parametrize(
    ("version", "options"), [("0.4", {"chunks": (1, 2, 8, 8)}), ("0.5", {"chunks": (1, 1, 5, 6), "shards": (2, 3, 20, 24)})]
)
def test_values_axes_spacing_and_channels_are_kept(tmp_path: Path, version: str, options: dict[str, Any]) -> None:
    path = written(tmp_path / "a.ome.zarr", VOLUME, space("czyx"), [1, 2.0, 0.5, 0.25], version=version, **options)
    image = open_image(path)
    assert (image.axes, image.shape, image.dtype) == ("czyx", VOLUME.shape, np.uint16)
    assert image.spacing == Spacing((2.0, 0.5, 0.25), "micrometer") and image.channel_names == ("DAPI", "GFP")
    np.testing.assert_array_equal(image.read(), VOLUME)
    box = (slice(1, 2), slice(0, 2), slice(3, 17), slice(5, 6))
    np.testing.assert_array_equal(image.read(box), VOLUME[box])
    assert image.problems == () and image.sha256 == open_image(path).sha256


def test_axes_in_another_order_are_turned(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", VOLUME.T.copy(), space("xyzc"), [0.25, 0.5, 2.0, 1], version="0.4", chunks=(8, 8, 3, 2))
    image = open_image(path)
    assert image.axes == "czyx" and image.spacing == Spacing((2.0, 0.5, 0.25), "micrometer")
    np.testing.assert_array_equal(image.read(), VOLUME)


def test_scales_of_image_and_level_multiply(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", VOLUME[0, 0], space("yx", "millimeter"), [0.5, 0.5], version="0.5", chunks=(8, 8))
    group = zarr.open_group(path)
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [2.0, 4.0]}]
    group.attrs["ome"] = ome
    assert open_image(path).spacing == Spacing((1.0, 2.0), "millimeter")


def test_spacing_without_a_unit_is_asked_for(tmp_path: Path) -> None:
    axes = [{"name": a, "type": "space"} for a in "yx"]
    path = written(tmp_path / "a.zarr", VOLUME[0, 0], axes, [0.5, 0.5], version="0.4", chunks=(8, 8))
    with pytest.raises(InputError, match="unknown-spacing"):
        open_image(path)


def test_a_plain_array_needs_its_axes(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "plain.zarr", data=VOLUME[0], chunks=(3, 8, 8))
    with pytest.raises(InputError, match="unknown-axes"):
        open_image(tmp_path / "plain.zarr", spacing=PIXELS)
    np.testing.assert_array_equal(open_image(tmp_path / "plain.zarr", spacing=PIXELS, axes="zyx").read(), VOLUME[0])


def test_images_in_numbered_groups(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    written(tmp_path / "a.zarr" / "0", VOLUME[0], space("zyx"), [2.0, 0.5, 0.5], version="0.4", chunks=(3, 8, 8))
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read(), VOLUME[0])


def test_absent_chunks_are_counted_and_damaged_ones_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", VOLUME[0, 0], space("yx"), [0.5, 0.5], version="0.4", chunks=(10, 24))
    chunk = path / "0" / "1.0"
    whole = chunk.read_bytes()
    chunk.unlink()
    image = open_image(path)
    assert [p.kind for p in image.problems] == ["absent-chunks"] and "1 of 2" in image.problems[0].message
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated"):
        open_image(path)


def test_a_chunk_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", VOLUME[0, 0], space("yx"), [0.5, 0.5], version="0.5", chunks=(10, 24))
    chunk = path / "0" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    with pytest.raises(InputError, match="corrupt"):
        open_image(path).read()


@pytest.mark.parametrize("inside", ["../b.zarr/0", "/etc"])
def test_a_level_outside_of_its_image(tmp_path: Path, inside: str) -> None:
    path = written(tmp_path / "a.zarr", VOLUME[0, 0], space("yx"), [0.5, 0.5], version="0.4", chunks=(8, 8))
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"][0]["path"] = inside
    (path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(InputError, match="path-escape"):
        open_image(path)


@pytest.mark.parametrize("text", ["{", "[]", '{"multiscales": [{}]}', '{"multiscales": 3}', "{}"])
def test_metadata_that_say_nothing(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "a.zarr", VOLUME[0, 0], space("yx"), [0.5, 0.5], version="0.4", chunks=(8, 8))
    (path / ".zattrs").write_text(text)
    with pytest.raises(InputError, match=r"corrupt|not-ome-zarr"):
        open_image(path)


def test_huge_chunks_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", VOLUME[0, 0], space("yx"), [0.5, 0.5], version="0.4", chunks=(20, 24))
    with pytest.raises(InputError, match="too-large"):
        open_image(path, memory_limit=100)
