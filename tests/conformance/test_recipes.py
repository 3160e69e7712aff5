"""What every recipe must do. A new recipe adds nothing here: the rows are those of ``RECIPES``.

These rows hold for a few steps of training. What a trained recipe must reach on real images, and trivial answers must not, is asked by
``all_systems.py`` (``make conformance``).
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from systems.rows import ROWS
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import learn_schema
from sciimg.augmenters.conditioning.symmetry import symmetry_group
from sciimg.augmenters.feed import Feed, split_channels
from sciimg.augmenters.intensity import learn_scale
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import RECIPES, get_recipe, summaries
from sciimg.augmenters.system import Noise
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from sciimg.protocol.data import Condition, ImageCondition

IDS = [f"{name}-{dims}d" for name, dims in ROWS]


def given(recipe: Recipe, dims: int, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[Textures, Textures, tuple[Condition, ...]]:
    """Return data in two parts, and the conditions under which a recipe makes sense: every kind that it may listen to."""
    looks = "image" in recipe.conditioning.needs
    shape, channels = shapes[dims - 2], ("a", "b") if dims == 2 or looks else ("a",)
    image: tuple[Condition, ...] = ()
    if looks and recipe.reach.data == "its-own-reference":
        image = (ImageCondition(kind="image", channels=channels, made=True),)
    elif looks:
        image = (ImageCondition(kind="image", channels=("b",)),)
    return Textures(shape, channels), Textures(shape, channels, "calibration"), (*CONDITIONS, *image)


@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_trains_and_samples_whatever_the_company(name: str, dims: int, tmp_path: Path) -> None:
    recipe = shrunk(get_recipe(name, {}, dims))
    source, unseen, conditions = given(recipe, dims, ((18, 13), (9, 6, 11)))
    key = ("conformance", name)
    fit(recipe, source, unseen, conditions, key=key, out=tmp_path / "model", provenance={})
    model = Augmenter.load(tmp_path / "model")
    told = source.draw(("told",), range(9))
    table = told.table.assign(**{s.name: told.table[s.name].clip(s.low, s.high) for s in model.conditions.scalars})
    if not recipe.draws:
        whole = model.features(told.images)
        assert len(whole) == 9 and np.isfinite(whole).all() and np.ptp(whole, axis=0).any()
        for rows in ([3], [0, 1, 2], [8, 5]):
            at_their_places = told.images[:8].copy()
            at_their_places[[row % 8 for row in rows]] = told.images[rows]
            got = model.features(at_their_places)[[row % 8 for row in rows]]
            assert np.array_equal(got, whole[rows])
        with pytest.raises(InputError, match="draws-nothing"):
            model.sample(told.labels, table, key=key, indices=range(9))
        return
    image = split_channels(told, model.conditions)[1]
    whole = model.sample(told.labels, table, image, key=key, indices=range(9), steps=2)
    assert whole.shape == (9, *model.card.shape) and whole.dtype == np.uint16
    for rows in ([3], [0, 1, 2], [8, 5]):
        own = None if image is None else image[rows]
        got = model.sample(told.labels[rows], table.iloc[rows], own, key=key, indices=rows, steps=2, workers=2)
        assert np.array_equal(got, whole[rows])


@pytest.mark.parametrize(("name", "dims"), [(name, recipe.dims[0]) for name, recipe in RECIPES.items()])
def test_a_training_that_is_killed_at_every_step_gives_the_same_bytes(name: str, dims: int, tmp_path: Path) -> None:
    recipe = shrunk(get_recipe(name, {}, dims))
    *parts, conditions = given(recipe, dims, ((16, 16), (8, 8, 8)))
    key = ("killed", name)
    fit(recipe, *parts, conditions, key=key, out=tmp_path / "whole", provenance={})

    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if step not in survived[phase]:
            survived[phase].add(step)
            raise KeyboardInterrupt

    survived: dict[str, set[int]] = defaultdict(set)
    for _ in range(50):
        try:
            fit(recipe, *parts, conditions, key=key, out=tmp_path / "killed", provenance={}, progress=kill)
            break
        except KeyboardInterrupt:
            continue
    for file in ("model.safetensors", "model.json", "curves.json"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_every_recipe_is_described() -> None:
    for row in summaries():
        assert set(row) == {"name", "systems", "dims", "space", "process", "backbone", "conditioning", "sampler", "cites"}
        assert row["systems"] and row["cites"] and RECIPES[row["name"]].reach.measure
        for dims in row["dims"]:
            assert get_recipe(row["name"], {}, dims).name == row["name"]


@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_nothing_assumes_the_cpu(name: str, dims: int) -> None:
    """With another default device, a tensor that is made without saying where lands there, and meeting the others it fails."""
    recipe = shrunk(get_recipe(name, {}, dims))
    source, _, conditions = given(recipe, dims, ((16, 16), (8, 8, 8)))
    survey = source.draw(("survey",), range(64))
    schema = learn_schema(survey, conditions, 0, 0, recipe.conditioning.uses)
    targets, _ = split_channels(survey, schema)
    system = build(recipe, schema, targets.shape[1:])
    scale, elements = learn_scale(targets, source.channels[: targets.shape[1]]), symmetry_group("none", source.patch_shape, (1.0,) * dims)
    feed = Feed(source, schema, scale, system, elements, False, ("k",))
    batch = feed.batch("x", 0, 2, 4)
    with torch.device("meta"):
        for phase in system.phases():
            with torch.no_grad():
                phase.prepare(batch)
            for player in phase.players():
                phase.loss(player.name, batch)["loss"].backward()
            with torch.no_grad():
                phase.held_out(batch)
                phase.finish(batch)
        if recipe.draws:
            made = system.sample(batch.condition, Noise(("k",), range(4)), recipe.sampler.model_copy(update={"steps": 2}))
        else:
            made = system.features(batch.images)
    assert made.device.type == "cpu" and made.shape[0] == 4
