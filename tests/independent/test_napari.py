"""What napari shows of our stores, through its own plugin for OME-Zarr; no window is opened. Needs `pip install --group napari`."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciimg.io.image import Image
from sciimg.store import Volume, write_volume
from sciimg.types import SPATIAL, Channel, Spacing

pytestmark = pytest.mark.filterwarnings("ignore")  # those of napari and of its libraries


@pytest.fixture(scope="module")
def viewer() -> Any:
    """A function from a store to the layers that napari makes of it."""
    reason = "napari and napari-ome-zarr are not installed here (pip install --group napari)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plugin = pytest.importorskip("napari_ome_zarr", reason=reason)
        components = pytest.importorskip("napari.components", reason=reason)

    def layers(path: Path) -> list[Any]:
        model = components.ViewerModel()
        for data, about, kind in plugin.napari_get_reader(str(path))(str(path)):
            getattr(model, f"add_{kind}")(data, **about)
        return list(model.layers)

    return layers


LENGTHS = {"t": 2, "c": 2, "z": 12, "y": 150, "x": 300}


@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "czyx", "tyx", "tczyx"])
@pytest.mark.parametrize("unit", ["nanometer", "micrometer", "millimeter", "pixel"])
def test_layers_are_the_channels_and_the_labels(viewer: Any, tmp_path: Path, axes: str, unit: Any) -> None:
    pixels = np.random.default_rng(4).integers(0, 60000, [LENGTHS[a] for a in axes]).astype(np.uint16)
    planes = np.moveaxis(pixels, axes.index("c"), 0) if "c" in axes else pixels[np.newaxis]
    labels = (planes[0] > 30000).astype(np.int32)
    steps = {"z": 2.0, "y": 0.5, "x": 0.25}
    channels = (Channel("DAPI", 460.0), Channel("GFP", 510.0))[: len(planes)]
    image = Image.from_array(pixels, axes, Spacing(tuple(steps[a] for a in axes if a in SPATIAL), unit), channels)
    write_volume(tmp_path / "cell.zarr", image, labels=labels, label_kind="instances", attributes={})
    *shown, mask = viewer(tmp_path / "cell.zarr")
    assert [layer.name for layer in shown] == [f"cell: {c.name}" for c in channels]
    seen = axes.replace("c", "")
    for layer, channel, plane in zip(shown, range(len(planes)), planes, strict=True):
        assert len(layer.data) == Volume(tmp_path / "cell.zarr").levels > 1
        assert np.array_equal(np.asarray(layer.data[0]), plane)
        start, end = layer.contrast_limits
        assert plane.min() <= start < end <= plane.max(), channel
    assert type(mask).__name__ == "Labels"
    assert np.array_equal(np.asarray(mask.data[0]), labels)
    for layer in (*shown, mask):
        assert tuple(layer.axis_labels) == tuple(seen)
        assert np.allclose(layer.scale, [steps.get(a, 1.0) for a in seen])
        # A voxel lies where its index and the spacing say: half a field is half a field at every resolution.
        corner = layer.data_to_world([n - 1 for n in layer.data[0].shape])
        assert np.allclose(corner, [(n - 1) * steps.get(a, 1.0) for n, a in zip(layer.data[0].shape, seen, strict=True)])
        assert [str(u) for u, a in zip(layer.units, seen, strict=True) if a in SPATIAL] == [unit] * sum(a in SPATIAL for a in seen)


def test_an_oriented_volume_opens(viewer: Any, tmp_path: Path) -> None:
    """The anatomical directions of RFC 4 are no obstacle."""
    image = Image.from_array(np.ones((3, 4, 5), np.float32), "zyx", Spacing((2.0, 1.0, 1.0), "millimeter"), affine=np.diag([-1.0, 1, 2, 1]))
    write_volume(tmp_path / "brain.zarr", image, attributes={})
    (layer,) = viewer(tmp_path / "brain.zarr")
    assert np.array_equal(np.asarray(layer.data), image.read())
    assert np.allclose(layer.scale, [2.0, 1.0, 1.0])
