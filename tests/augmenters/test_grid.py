"""How grids get coarser: anisotropic voxels become cubes, thin axes keep their samples, and recipes take any size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from textures import Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.grid import halvings, product
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.training import fit
from sciimg.types import PatchSet, Spacing


def test_planes_are_halved_before_thick_slices() -> None:
    assert halvings((24, 128, 96), (3.0, 0.7, 0.7), 3) == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert halvings((64, 64), (1.0, 1.0), 2) == ((2, 2), (2, 2))
    assert halvings((1, 64, 64), (1.0, 1.0, 1.0), 2) == ((1, 2, 2), (1, 2, 2))  # one slice stays one slice


@given(
    shape=st.lists(st.integers(2, 200), min_size=2, max_size=3),
    data=st.data(),
    count=st.integers(1, 5),
)
def test_every_step_halves_something_and_voxels_come_nearer_to_cubes(shape: list[int], data: st.DataObject, count: int) -> None:
    spacing = [data.draw(st.floats(0.1, 10)) for _ in shape]
    steps = halvings(shape, spacing, count)
    assert len(steps) == count and all(set(step) <= {1, 2} and 2 in step for step in steps)
    roomy = halvings([2**30] * len(shape), spacing, 12)
    after = [s * f for s, f in zip(spacing, product(roomy, len(shape)), strict=True)]
    assert max(after) / min(after) <= 2 * (1 + 1e-6)


def test_unequal_factors_fold_exactly() -> None:
    x = torch.arange(2 * 3 * 4 * 6 * 8.0).view(2, 3, 4, 6, 8)
    folded = space_to_depth(x, (1, 2, 4))
    assert folded.shape == (2, 24, 4, 3, 2)
    assert torch.equal(depth_to_space(folded, (1, 2, 4)), x)


class Slices(Textures):
    """Thick slices: z is four times as coarse."""

    def draw(self, seed_key, indices) -> PatchSet:
        patches = super().draw(seed_key, indices)
        return PatchSet(
            patches.images,
            patches.labels,
            patches.groups,
            patches.table,
            Spacing((3.0, 0.7, 0.7), "millimeter"),
            patches.channels,
            "instances",
        )


@pytest.mark.parametrize("name", ["ldm", "gan", "pixel-flow"])
def test_thick_slices_train_and_sample(name: str, tmp_path: Path) -> None:
    small = {
        "training.steps": 1,
        "training.batch": 2,
        "training.held_out_patches": 2,
        "space.training.steps": 1,
        "space.training.batch": 2,
        "backbone.widths": [8, 8, 8],
        "backbone.generator": [8, 8, 8],
        "backbone.discriminator": [8, 8, 8],
    }
    own = get_recipe(name).model_dump()
    has = {path: v for path, v in small.items() if (path.split(".")[1] in own[path.split(".")[0]])}
    source = Slices((5, 13, 11), ("a",))
    fit(get_recipe(name, has, 3), source, source, Textures.conditions, key=("g", name), out=tmp_path / "m", provenance={})
    model = Augmenter.load(tmp_path / "m")
    assert model.system.padded_shape[1] <= 6 and all(size % 4 == 0 for size in model.system.padded_shape[2:])  # z is halved last
    told = source.draw(("t",), range(2))
    scalar = model.conditions.scalars[0]
    table = told.table.assign(level=told.table["level"].clip(scalar.low, scalar.high))
    images = model.sample(told.labels, table, key=("k",), indices=range(2), **({} if name == "gan" else {"steps": 1}))
    assert images.shape == (2, 1, 5, 13, 11) and np.isfinite(images).all()


@pytest.mark.parametrize(("shape", "latent"), [((1, 8, 8), 4), ((2, 8, 8), 6), ((1, 8, 8, 8), 6)])
def test_a_latent_has_no_more_values_than_its_block(shape: tuple[int, ...], latent: int) -> None:
    system = build(get_recipe("ldm", {"backbone.widths": [8, 8, 8]}, len(shape) - 1), ConditionSchema(), shape)
    assert system.space.shape(system.padded_shape)[0] == latent
