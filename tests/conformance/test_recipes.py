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
from textures import CAPTION, CONDITIONS, Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import learn_schema
from sciimg.augmenters.conditioning.symmetry import symmetry_group
from sciimg.augmenters.feed import Feed
from sciimg.augmenters.intensity import learn_scale
from sciimg.augmenters.recipes import RECIPES, get_recipe, summaries
from sciimg.augmenters.system import Noise
from sciimg.augmenters.training import fit
from sciimg.protocol.models import ImageCondition

IDS = [f"{name}-{dims}d" for name, dims in ROWS]


@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_trains_and_samples_whatever_the_company(name: str, dims: int, tmp_path: Path) -> None:
    shape, channels = ((18, 13), ("a", "b")) if dims == 2 else ((9, 6, 11), ("a",))
    source = Textures(shape, channels)
    key = ("conformance", name)
    recipe = shrunk(get_recipe(name, {}, dims))
    itself = (ImageCondition(kind="image", channels=channels, made=True),) if "image" in recipe.conditioning.needs else ()
    held_out = Textures(shape, channels, "calibration")
    fit(recipe, source, held_out, (*CONDITIONS, CAPTION, *itself), key=key, out=tmp_path / "model", provenance={})
    model = Augmenter.load(tmp_path / "model")
    told = source.draw(("told",), range(9))
    table = told.table.assign(**{s.name: told.table[s.name].clip(s.low, s.high) for s in model.conditions.scalars})
    given = told.images if model.conditions.image is not None else None
    whole = model.sample(told.labels, table, given, key=key, indices=range(9), steps=2)
    assert whole.shape == (9, len(channels), *shape) and whole.dtype == np.uint16
    for rows in ([3], [0, 1, 2], [8, 5]):
        own = None if given is None else given[rows]
        got = model.sample(told.labels[rows], table.iloc[rows], own, key=key, indices=rows, steps=2, workers=2)
        assert np.array_equal(got, whole[rows])


@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_a_training_that_is_killed_at_every_step_gives_the_same_bytes(name: str, dims: int, tmp_path: Path) -> None:
    shape, channels = ((16, 16), ("a", "b")) if dims == 2 else ((8, 8, 8), ("a",))
    recipe, parts = shrunk(get_recipe(name, {}, dims)), (Textures(shape, channels), Textures(shape, channels, "calibration"))
    key = ("killed", name)
    fit(recipe, *parts, CONDITIONS, key=key, out=tmp_path / "whole", provenance={})

    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if step not in survived[phase]:
            survived[phase].add(step)
            raise KeyboardInterrupt

    survived: dict[str, set[int]] = defaultdict(set)
    for _ in range(50):
        try:
            fit(recipe, *parts, CONDITIONS, key=key, out=tmp_path / "killed", provenance={}, progress=kill)
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
    shape, channels = ((16, 16), ("a", "b")) if dims == 2 else ((8, 8, 8), ("a",))
    source, recipe = Textures(shape, channels), shrunk(get_recipe(name, {}, dims))
    survey = source.draw(("survey",), range(64))
    schema = learn_schema(survey, CONDITIONS, 0, 0, recipe.conditioning.uses)
    system = build(recipe, schema, survey.images.shape[1:])
    scale, elements = learn_scale(survey.images, survey.channels), symmetry_group("none", shape, (1.0,) * dims)
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
        images = system.sample(batch.condition, Noise(("k",), range(4)), recipe.sampler.model_copy(update={"steps": 2}))
    assert images.device.type == "cpu" and images.shape[0] == 4
