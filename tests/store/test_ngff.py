"""OME-Zarr 0.5 as its specification and an independent validator see it."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from stores import image_of

from sciimg.io.image import Image
from sciimg.store import Volume, write_volume
from sciimg.store.metadata import multiscales
from sciimg.types import Spacing

models = pytest.importorskip("ome_zarr_models.v05")


@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "czyx", "tyx", "tczyx"])
def test_the_independent_validator_accepts_image_and_labels(tmp_path: Path, axes: str) -> None:
    from ome_zarr_models.v05.image import Image as Model
    from ome_zarr_models.v05.labels import Labels

    shape = {"t": 2, "c": 2, "z": 5, "y": 300, "x": 40}
    pixels = np.random.default_rng(0).integers(0, 99, [shape[a] for a in axes]).astype(np.uint16)
    labels = pixels.max(axis=axes.index("c")) if "c" in axes else pixels
    write_volume(tmp_path / "a.zarr", image_of(pixels, axes), labels=labels, label_kind="instances", attributes={})
    model = Model.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    assert len(model.attributes.ome.multiscales[0].datasets) == Volume(tmp_path / "a.zarr").levels
    assert Labels.from_zarr(zarr.open_group(tmp_path / "a.zarr/labels", mode="r")).label_paths == ["mask"]


def test_the_independent_validator_accepts_anatomical_directions(tmp_path: Path) -> None:
    from ome_zarr_models.v05.image import Image as Model

    affine = np.array([[-0.5, 0.1, 0, 3], [0.1, 0.5, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1.0]])
    image = Image.from_array(np.zeros((3, 4, 5), np.int16), "zyx", Spacing((2.0, 0.51, 0.51), "millimeter"), affine=affine)
    write_volume(tmp_path / "a.zarr", image, attributes={})
    Model.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    volume = Volume(tmp_path / "a.zarr")
    assert [a["orientation"]["value"] for a in volume.ome["multiscales"][0]["axes"]] == [
        "inferior-to-superior",
        "posterior-to-anterior",
        "right-to-left",
    ]
    assert np.array_equal(volume.affine, affine)


def test_units_and_half_pixels(tmp_path: Path) -> None:
    """Coarse sample i covers fine samples 2i and 2i + 1; its centre lies half a fine sample after that of 2i."""
    write_volume(tmp_path / "a.zarr", image_of(np.zeros((3, 4, 600, 600), np.uint8), "czyx", (2.0, 0.5, 0.5)), attributes={})
    scales = Volume(tmp_path / "a.zarr").ome["multiscales"][0]
    assert [a.get("unit") for a in scales["axes"]] == [None, "micrometer", "micrometer", "micrometer"]
    steps = [d["coordinateTransformations"] for d in scales["datasets"]]
    assert steps[0] == [{"type": "scale", "scale": [1.0, 2.0, 0.5, 0.5]}]
    assert steps[1] == [{"type": "scale", "scale": [1.0, 2.0, 1.0, 1.0]}, {"type": "translation", "translation": [0.0, 0.0, 0.25, 0.25]}]
    assert steps[2][1]["translation"] == [0.0, 0.0, 0.75, 0.75]


def test_a_ramp_lies_where_the_metadata_say(tmp_path: Path) -> None:
    """Values equal their position, so scale and translation of a level must give its values back."""
    ramp = np.broadcast_to(np.arange(1024, dtype=np.float64) * 0.5, (1024, 1024))
    write_volume(tmp_path / "a.zarr", image_of(ramp, "yx", (0.5, 0.5)), attributes={})
    volume = Volume(tmp_path / "a.zarr")
    for level, dataset in enumerate(volume.ome["multiscales"][0]["datasets"]):
        scale, *shift = dataset["coordinateTransformations"]
        offset = shift[0]["translation"][1] if shift else 0.0
        values = volume.read(level=level)[0]
        assert np.allclose(values, np.arange(len(values)) * scale["scale"][1] + offset)


def test_pixels_are_no_unit() -> None:
    axes = multiscales("a", "yx", [], Spacing((1.0, 1.0), "pixel"), "mean")[0]["axes"]
    assert axes == [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]


def test_windows_fit_the_values(tmp_path: Path) -> None:
    pixels = np.zeros((2, 100, 100), np.uint16)
    pixels[0] = np.arange(10000).reshape(100, 100)
    image = Image.from_array(pixels, "cyx", Spacing((1, 1), "pixel"), ("dapi", "empty"))
    write_volume(tmp_path / "a.zarr", image, attributes={})
    dapi, empty = Volume(tmp_path / "a.zarr").ome["omero"]["channels"]
    assert dapi["label"] == "dapi"
    assert (dapi["window"]["min"], dapi["window"]["max"]) == (0.0, 9999.0)
    assert 0 < dapi["window"]["start"] < 20
    assert 9980 < dapi["window"]["end"] < 9999
    assert empty["window"]["end"] > empty["window"]["start"]
