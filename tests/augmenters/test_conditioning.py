import numpy as np
import pandas as pd
import pytest
import torch
from patchsets import images_2d
from textures import CONDITIONS, Textures

from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.conditioning.maps import condition_maps
from sciimg.augmenters.conditioning.schema import MaskSchema, learn_schema
from sciimg.augmenters.conditioning.symmetry import label_length, labels_of, symmetry_group
from sciimg.augmenters.system import Condition
from sciimg.errors import InputError
from sciimg.protocol.data import MaskCondition


def test_touching_objects_stay_apart_in_the_maps() -> None:
    labels = np.zeros((1, 4, 6), np.int32)
    labels[0, 1:3, 1:3], labels[0, 1:3, 3:5] = 7, 9
    background, foreground, boundary = condition_maps(labels, MaskSchema(name="mask", kind="instances"))[0]
    assert foreground.sum() == 8 and np.array_equal(background, 1 - foreground)
    assert boundary[1:3, 2:4].all()  # both sides of the seam
    renumbered = np.where(labels == 7, 1, np.where(labels == 9, 2, 0)).astype(np.int32)
    assert np.array_equal(condition_maps(renumbered, MaskSchema(name="m", kind="instances"))[0], [background, foreground, boundary])


def test_classes_become_one_channel_each() -> None:
    labels = np.array([[[0, 1], [2, 3]]], np.int32)
    maps = condition_maps(labels, MaskSchema(name="mask", kind="classes", classes=3))
    assert np.array_equal(maps[0].argmax(0), labels[0]) and maps.shape[1] == 4 and maps.sum() == 4


def schema_of_textures():
    return learn_schema(Textures().draw(("s",), range(32)), CONDITIONS, 0, 0)


def test_schema_learns_ranges_and_categories() -> None:
    survey = Textures().draw(("s",), range(32))
    schema = learn_schema(survey, CONDITIONS, 0, 3)
    assert schema.classes[0].values == ("bright", "dim")
    assert schema.scalars[0].low == survey.table["level"].min() and schema.scalars[0].high == survey.table["level"].max()
    assert schema.maps == 3 and schema.vector == 1 + 2 + 3


def test_what_was_never_seen_is_refused_all_at_once() -> None:
    schema = schema_of_textures()
    with pytest.raises(InputError) as caught:
        schema.check(None, pd.DataFrame({"level": [1e6], "kind": ["neon"]}))
    assert {p.kind for p in caught.value.problems} == {"no-mask", "out-of-range", "unseen-class"}
    with pytest.raises(InputError) as caught:
        schema.check(np.zeros((1, 16, 16), np.int32), pd.DataFrame(index=range(1)))
    assert [p.kind for p in caught.value.problems] == ["missing-condition", "missing-condition"]
    with pytest.raises(InputError):
        schema.check(np.zeros((1, 16, 16), np.int32), pd.DataFrame({"level": [np.nan], "kind": ["dim"]}))


def test_a_class_map_with_an_unknown_class_is_refused() -> None:
    labels = np.full((4, 8, 8), 2, np.int32)
    schema = learn_schema(images_2d(np.zeros((4, 1, 8, 8), np.uint8), labels, "classes"), (MaskCondition(kind="mask"),), 2, 0)
    schema.check(labels, pd.DataFrame(index=range(4)))
    with pytest.raises(InputError, match="class 3"):
        schema.check(labels + 1, pd.DataFrame(index=range(4)))


def test_a_constant_scalar_is_refused() -> None:
    survey = Textures().draw(("s",), range(8))
    survey.table["level"] = 1.0
    with pytest.raises(InputError, match="constant-condition"):
        learn_schema(survey, CONDITIONS, 0, 0)


def test_encoded_condition_and_its_withdrawal() -> None:
    schema, patches = schema_of_textures(), Textures().draw(("t",), range(6))
    told = encode_condition(schema, patches.labels, patches.table, (16, 16))
    assert told.maps.shape == (6, 3, 16, 16) and told.vector.shape == (6, 3)
    assert torch.equal(told.vector[:, 1:].sum(1), torch.ones(6))
    kept = told.dropped(0.5, torch.Generator().manual_seed(0)).keep.flatten()
    assert 0 < kept.sum() < 6
    gone = told.withheld()
    assert not gone.maps.any() and not gone.vector.any() and not gone.keep.any()


def test_resized_maps_lose_nothing() -> None:
    maps = torch.rand(2, 2, 8, 8)
    small = Condition(maps, torch.zeros(2, 0), torch.ones(2, 1)).resized((4, 4))
    assert small.maps.shape == (2, 8, 4, 4)
    assert torch.equal(small.maps.flatten().sort().values, maps.flatten().sort().values)


@pytest.mark.parametrize(
    ("kind", "shape", "spacing", "n"),
    [
        ("none", (8, 8), (1, 1), 1),
        ("flips", (8, 8), (1, 1), 4),
        ("all", (8, 8), (1, 1), 8),
        ("all", (8, 6), (1, 1), 4),
        ("all", (8, 8), (1, 2), 4),
        ("all", (8, 8, 8), (1, 1, 1), 48),
        ("all", (4, 8, 8), (3, 1, 1), 16),
    ],
)
def test_symmetry_groups(kind, shape, spacing, n) -> None:
    elements = symmetry_group(kind, shape, spacing)
    image = np.random.default_rng(0).random((1, *shape))
    results = {elements[i].apply(image).tobytes() for i in range(n)}
    assert len(elements) == n == len(results)
    assert np.array_equal(elements[0].apply(image), image)
    assert all(e.apply(image).shape == image.shape for e in elements)
    assert label_length(elements, told=False) == 0 and label_length(elements, told=True) == n - 1
    labels = labels_of(np.arange(n), elements, told=True)
    assert not labels[0].any() and np.array_equal(labels[1:], np.eye(n - 1, dtype=np.float32))
