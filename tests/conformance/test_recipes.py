"""What every recipe must do. A new recipe adds nothing here: the rows are those of ``RECIPES``.

The quick rows hold for a few steps of training. The slow row trains a shortened recipe on real tissue (2D) or the brain template (3D) and
asks for what ``reach`` says; an untrained network, a blurred training mean and a replay of the training set must fail the same question.
"""

from pathlib import Path

import numpy as np
import pytest
from systems.rows import ROWS, run
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipes import RECIPES, get_recipe, summaries
from sciimg.augmenters.training import fit
from sciimg.protocol.models import ImageCondition

IDS = [f"{name}-{dims}d" for name, dims in ROWS]


@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_trains_and_samples_whatever_the_company(name: str, dims: int, tmp_path: Path) -> None:
    recipe = shrunk(get_recipe(name, {}, dims))
    translates = "image" in recipe.conditioning.needs
    shape, channels = ((18, 13), ("a", "b")) if dims == 2 else ((9, 6, 11), ("a", "b") if translates else ("a",))
    conditions = (*CONDITIONS, ImageCondition(kind="image", channels=("b",))) if translates else CONDITIONS
    source = Textures(shape, channels)
    key = ("conformance", name)
    fit(recipe, source, Textures(shape, channels, "calibration"), conditions, key=key, out=tmp_path / "model", provenance={})
    model = Augmenter.load(tmp_path / "model")
    told = source.draw(("told",), range(9))
    table = told.table
    for scalar in model.conditions.scalars:
        table = table.assign(level=table["level"].clip(scalar.low, scalar.high))
    given = told.images[:, 1:] if translates else None
    whole = model.sample(told.labels, table, given, key=key, indices=range(9), steps=2)
    assert whole.shape == (9, 1 if translates else len(channels), *shape) and whole.dtype == np.uint16
    for rows in ([3], [0, 1, 2], [8, 5]):
        own = None if given is None else given[rows]
        got = model.sample(told.labels[rows], table.iloc[rows], own, key=key, indices=rows, steps=2, workers=2)
        assert np.array_equal(got, whole[rows])


def test_every_recipe_is_described() -> None:
    for row in summaries():
        assert set(row) == {"name", "systems", "dims", "space", "process", "backbone", "conditioning", "sampler", "cites"}
        assert row["systems"] and row["cites"] and RECIPES[row["name"]].reach.measure
        for dims in row["dims"]:
            assert get_recipe(row["name"], {}, dims).name == row["name"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_reaches_what_trivial_answers_do_not(name: str, dims: int, tmp_path: Path) -> None:
    row = run(name, dims, tmp_path)
    if row is None:
        pytest.skip("nilearn, which holds the brain template, is not installed")
    assert row.passed, row
