"""What cannot be learned from is refused before training, in a message that says what to change."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures

from sciimg.augmenters.device import enough_memory
from sciimg.augmenters.recipes import RECIPES, get_recipe, too_small
from sciimg.augmenters.training import fit
from sciimg.errors import InputError, TrainingFailedError


def train(source: Textures, out: Path) -> None:
    fit(shrunk(get_recipe("pixel-flow")), source, source, CONDITIONS, key=("bad",), out=out, provenance={})


def test_one_class_only(tmp_path: Path) -> None:
    class Bright(Textures):
        def draw(self, seed_key, indices):
            patches = super().draw(seed_key, indices)
            return replace(patches, table=patches.table.assign(kind="bright"))

    with pytest.raises(InputError, match=r"Every training image is of class 'bright'.*one-class"):
        train(Bright(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_masks_without_anything(tmp_path: Path) -> None:
    class Empty(Textures):
        def draw(self, seed_key, indices):
            patches = super().draw(seed_key, indices)
            return replace(patches, labels=np.zeros_like(patches.labels))

    with pytest.raises(InputError, match="empty-masks"):
        train(Empty(), tmp_path / "model")


def test_a_budget_that_ends_before_the_learning_rate_has_risen() -> None:
    (problem,) = too_small(get_recipe("ldm", {"training.steps": 20}))
    assert problem.kind == "budget-too-small" and "training.warmup" in problem.message
    assert too_small(get_recipe("ldm", {"training.steps": 20, "training.warmup": 5})) == []
    (problem,) = too_small(get_recipe("rectified-flow", {"process.reflow.training.steps": 2}))
    assert "process.reflow.training.warmup" in problem.message
    assert not any(too_small(get_recipe(name, {}, dims)) for name, recipe in RECIPES.items() for dims in recipe.dims)


def test_no_memory_is_said_and_other_faults_are_not_hidden() -> None:
    with (
        pytest.raises(TrainingFailedError, match=r"not enough memory for a step.*Lower training.batch"),
        enough_memory("a step", "Lower training.batch."),
    ):
        torch.empty(2**50)
    with pytest.raises(RuntimeError, match="shapes"), enough_memory("a step", ""):
        raise RuntimeError("shapes differ")
