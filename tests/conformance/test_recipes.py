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
from sciimg.errors import InputError

IDS = [f"{name}-{dims}d" for name, dims in ROWS]


@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_trains_and_samples_whatever_the_company(name: str, dims: int, tmp_path: Path) -> None:
    shape, channels = ((18, 13), ("a", "b")) if dims == 2 else ((9, 6, 11), ("a",))
    source = Textures(shape, channels)
    key = ("conformance", name)
    recipe = shrunk(get_recipe(name, {}, dims))
    fit(recipe, source, Textures(shape, channels, "calibration"), CONDITIONS, key=key, out=tmp_path / "model", provenance={})
    model = Augmenter.load(tmp_path / "model")
    told = source.draw(("told",), range(9))
    table = told.table
    for scalar in model.conditions.scalars:
        table = table.assign(**{scalar.name: table[scalar.name].clip(scalar.low, scalar.high)})
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
    whole = model.sample(told.labels, table, key=key, indices=range(9), steps=2)
    assert whole.shape == (9, len(channels), *shape) and whole.dtype == np.uint16
    for rows in ([3], [0, 1, 2], [8, 5]):
        got = model.sample(told.labels[rows], table.iloc[rows], key=key, indices=rows, steps=2, workers=2)
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
