"""What a store writes against the JSON schemas that are published with OME-NGFF 0.5 (https://ngff.openmicroscopy.org/0.5/schemas)."""

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import image_of

from sciimg.io.image import Image
from sciimg.store import Collection, CollectionWriter
from sciimg.types import AXES, SPATIAL, Channel, Spacing

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema, which checks metadata against a schema, is not installed here")


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    """The published schemas by name, as ome-zarr-io ships them; found without importing it."""
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012

    package = importlib.util.find_spec("ome_zarr_io")
    if package is None or package.origin is None:
        pytest.skip("ome-zarr-io, in which the published schemas ship, is not installed here")
    folder = Path(package.origin).parent / "spec/0.5/schemas"
    schemas = {path.stem: json.loads(path.read_bytes()) for path in folder.glob("*.schema")}
    registry = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema, default_specification=DRAFT202012)) for schema in schemas.values()
    )
    return {name: jsonschema.Draft202012Validator(schema, registry=registry) for name, schema in schemas.items()}


def attributes(path: Path) -> dict[str, Any]:
    group = json.loads((path / "zarr.json").read_bytes())
    assert (group["zarr_format"], group["node_type"]) == (3, "group")
    found: dict[str, Any] = group["attributes"]
    return found


def errors(validator: Any, metadata: dict[str, Any]) -> list[str]:
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(metadata)]


@st.composite
def collections(draw: st.DrawFn) -> tuple[Image, Any]:
    axes = "".join(a for a in AXES if a in "yx" or draw(st.booleans()))
    lengths = {a: draw(st.integers(1, 40 if a in SPATIAL else 3)) for a in axes}
    pixels = np.full(list(lengths.values()), draw(st.integers(0, 200)), draw(st.sampled_from(["u1", "i8", "f4", "f8"])))
    spacing = tuple(draw(st.floats(1e-6, 1e6)) for a in axes if a in SPATIAL)
    names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    channels = tuple(Channel(draw(names), draw(st.none() | st.floats(300, 900))) for _ in range(lengths.get("c", 1)))
    affine = draw(st.sampled_from([None, np.diag([-1.0, 2.0, 3.0, 1.0])]))
    unit = draw(st.sampled_from(["nanometer", "micrometer", "millimeter", "pixel"]))
    labels = pixels.max(axis=axes.index("c")) if "c" in axes else pixels
    return Image.from_array(pixels, axes, Spacing(spacing, unit), channels, affine), labels.astype(np.int32)


@settings(max_examples=30, derandomize=True, suppress_health_check=list(HealthCheck))
@given(collections())
def test_every_image_and_label_image_is_valid(
    validators: dict[str, Any], small_pieces: int, tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Image, Any]
) -> None:
    image, labels = drawn
    place = tmp_path_factory.mktemp("schemas") / "c"
    with CollectionWriter(place, synthetic=False) as writer:
        writer.add("a", image, group="g", labels=labels, label_kind="instances")
    written = Collection(place).volume("a").path
    for schema in ("image", "strict_image", "ome_zarr"):
        assert errors(validators[schema], attributes(written)) == []
    for schema in ("image", "strict_image", "label", "ome_zarr"):
        assert errors(validators[schema], attributes(written / "labels/mask")) == []
    assert attributes(written / "labels")["ome"] == {"version": "0.5", "labels": ["mask"]}  # no schema is published for this group


def broken(change: Any) -> Any:
    def apply(metadata: dict[str, Any]) -> dict[str, Any]:
        spoilt = copy.deepcopy(metadata)
        change(spoilt["ome"])
        return spoilt

    return apply


@pytest.mark.parametrize(
    "spoil",
    [
        broken(lambda ome: ome.update(version="0.4")),
        broken(lambda ome: ome.pop("multiscales")),
        broken(lambda ome: ome["multiscales"][0].pop("axes")),
        broken(lambda ome: ome["multiscales"][0]["axes"][0].update(type=3)),
        broken(lambda ome: ome["multiscales"][0]["datasets"][0].pop("coordinateTransformations")),
        broken(lambda ome: ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0].update(scale="1")),
        broken(lambda ome: ome["omero"]["channels"][0]["window"].pop("start")),
    ],
)
def test_a_broken_store_is_not_valid(validators: dict[str, Any], tmp_path: Path, spoil: Any) -> None:
    """The schemas can say no."""
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        writer.add("a", image_of(np.zeros((4, 5, 6), np.uint8), "zyx"), group="g")
    sound = attributes(Collection(tmp_path / "c").volume("a").path)
    assert errors(validators["image"], sound) == []
    assert errors(validators["image"], spoil(sound))
