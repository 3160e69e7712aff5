"""What every recipe must do. A new recipe adds nothing here: the rows are those of ``RECIPES``.

The quick rows hold for a few steps of training. The slow row trains a shortened recipe on real tissue (2D) or the brain template (3D) and
asks for what ``reach`` says; the same questions must be failed by an untrained network, a blurred training mean and a replay of the
training set.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tissue
from numpy.typing import NDArray
from scipy import ndimage
from textures import CONDITIONS, Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipes import RECIPES, get_recipe, summaries
from sciimg.augmenters.training import fit
from sciimg.protocol.models import MaskCondition, ScalarCondition
from sciimg.randomness import generator
from sciimg.types import PatchSet
from sciimg.validation.physics.power_spectrum import PowerSpectrum

ROWS = [(name, dims) for name, recipe in RECIPES.items() for dims in recipe.dims]
IDS = [f"{name}-{dims}d" for name, dims in ROWS]
FEW = {
    "training.steps": 2,
    "training.batch": 2,
    "training.held_out_patches": 2,
    "space.training.steps": 2,
    "space.training.batch": 2,
    "space.widths": [8],
    "backbone.widths": [8, 8],
    "backbone.blocks": [1, 1],
    "backbone.features": 16,
    "backbone.generator": [8, 8],
    "backbone.generator_blocks": [1, 1],
    "backbone.discriminator": [8, 8],
    "backbone.discriminator_blocks": [1, 1],
}


def known(name: str, options: dict[str, object]) -> dict[str, object]:
    """Return the options that a recipe has."""
    data = RECIPES[name].model_dump()

    def has(path: str) -> bool:
        place = data
        for part in path.split("."):
            place = place.get(part) if isinstance(place, dict) else None
        return place is not None

    return {path: value for path, value in options.items() if has(path)}


@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_trains_and_samples_whatever_the_company(name: str, dims: int, tmp_path: Path) -> None:
    shape, channels = ((18, 13), ("a", "b")) if dims == 2 else ((9, 6, 11), ("a",))
    source = Textures(shape, channels)
    key = ("conformance", name)
    recipe = get_recipe(name, known(name, FEW), dims)
    fit(recipe, source, Textures(shape, channels, "calibration"), CONDITIONS, key=key, out=tmp_path / "model", provenance={})
    model = Augmenter.load(tmp_path / "model")
    told = source.draw(("told",), range(9))
    scalar = model.conditions.scalars[0]
    table = told.table.assign(level=told.table["level"].clip(scalar.low, scalar.high))
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


# ---------------------------------------------------------------- what a trained recipe must reach


class Tissue:
    """Real patches of the colon section with the protocol of a patch source."""

    patch_shape, classes = (tissue.SIDE,) * 2, 0
    conditions = (MaskCondition(kind="mask"), ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel="dab"))

    def __init__(self, part: str) -> None:
        self.part = part

    def draw(self, seed_key: tuple[str | int, ...], indices: Sequence[int]) -> PatchSet:
        image, nuclei = tissue.section()
        low, high = tissue.PARTS[self.part]
        places = []
        for index in indices:
            rng = generator(*seed_key, self.part, int(index))
            places.append((int(rng.integers(0, 512 - tissue.SIDE + 1)), int(rng.integers(low, high - tissue.SIDE + 1))))
        cut = [(slice(y, y + tissue.SIDE), slice(x, x + tissue.SIDE)) for y, x in places]
        images = np.stack([image[:, a, b] for a, b in cut])
        known = tissue.patches(self.part)
        table = pd.DataFrame({"level": images[:, 1].mean((1, 2))})
        return PatchSet(
            images, np.stack([nuclei[a, b] for a, b in cut]), np.array(["g"] * len(cut)), table, known.spacing, known.channels, "instances"
        )

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self.draw(("grid",), range(limit or 32))


class Brain:
    """Blocks of a magnetic-resonance phantom with three tissues."""

    patch_shape, classes = (24,) * 3, 3
    conditions = (MaskCondition(kind="mask"),)

    def __init__(self, part: str) -> None:
        self.patches = tissue.brain(48, 24, seed={"train": 1, "calibration": 2}[part], group=part)

    def draw(self, seed_key: tuple[str | int, ...], indices: Sequence[int]) -> PatchSet:
        return self.patches.take([int(generator(*seed_key, int(i)).integers(len(self.patches))) for i in indices])

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self.patches.take(list(range(min(len(self.patches), limit or 48))))


BUDGET = {
    2: {"training.steps": 500, "training.batch": 16, "space.training.steps": 120},
    3: {"training.steps": 150, "training.batch": 4, "space.training.steps": 60, "space.training.batch": 4},
}


def read_back(images: NDArray[np.generic], labels: NDArray[np.int32]) -> float:
    """Correlation of the first channel with what the mask says, the mean over samples: a mask that is ignored gives 0."""
    smooth = ndimage.gaussian_filter(images[:, 0].astype(float), (0, *(1.0,) * (images.ndim - 2)))
    pairs = []
    for image, label in zip(smooth, labels, strict=True):
        told = (label > 0).astype(int).ravel() if images.ndim == 4 else label[label > 0]  # where air is is the same in every block
        pairs.append((image.ravel() if images.ndim == 4 else image[label > 0], told))
    return float(np.mean([np.corrcoef(s, m)[0, 1] if np.ptp(s) else 0.0 for s, m in pairs if np.ptp(m)]))


def nearest(images: NDArray[np.generic], training: NDArray[np.generic]) -> NDArray[np.float64]:
    """Largest correlation of each image with a training image."""

    def unit(x: NDArray[np.generic]) -> NDArray[np.float64]:
        flat = x.reshape(len(x), -1).astype(np.float64)
        flat = flat - flat.mean(1, keepdims=True)
        return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))

    return np.asarray((unit(images) @ unit(training).T).max(1))


def faults(images: NDArray[np.generic], told: PatchSet, training: PatchSet) -> set[str]:
    """Return which questions a set of samples fails, made for the conditions of ``told`` (real, unseen)."""
    wrong = set()
    check = PowerSpectrum()
    frame = check.frame(told)
    gaps = check.distance(*(check.measure(p, frame).sum(0)[None] for p in (training, replace(told, images=images))), frame)
    if max(float(gap[0]) for name, gap in gaps.items() if name.endswith("spectrum")) > 3.0:
        wrong.add("spectrum")
    if read_back(images, told.labels) < 0.7 * read_back(told.images, told.labels):
        wrong.add("mask")
    if "level" in told.table and np.corrcoef(images[:, 1].mean((1, 2)), told.table["level"])[0, 1] < 0.8:
        wrong.add("scalar")
    if np.mean(nearest(images, training.images) > 0.98) > 0.05:
        wrong.add("copies")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dims"), ROWS, ids=IDS)
def test_reaches_what_trivial_answers_do_not(name: str, dims: int, tmp_path: Path) -> None:
    made_of: Callable[[str], Tissue | Brain] = Tissue if dims == 2 else Brain
    source, unseen = made_of("train"), made_of("calibration")
    budget = known(name, BUDGET[dims])
    told, training = unseen.draw(("told",), range(24)), source.draw(("training",), range(96))

    def answer(options: dict[str, object], where: str) -> NDArray[np.generic]:
        recipe = get_recipe(name, budget | options, dims)
        fit(recipe, source, unseen, source.conditions, key=("conformance", name), out=tmp_path / where, provenance={})
        model = Augmenter.load(tmp_path / where)
        table = told.table.copy()
        for scalar in model.conditions.scalars:
            table[scalar.name] = table[scalar.name].clip(scalar.low, scalar.high)
        return model.sample(told.labels, table, key=("conformance",), indices=range(len(told)))

    assert faults(answer({"training.steps": 1, "training.learning_rate": 1e-9}, "untrained"), told, training)
    mean = np.broadcast_to(training.images.mean(0), (len(told), *training.images.shape[1:]))
    assert faults(mean, told, training) >= {"spectrum", "mask"}
    assert faults(training.images[: len(told)], told, training) >= {"copies", "mask"}
    assert not faults(answer({}, "trained"), told, training)
