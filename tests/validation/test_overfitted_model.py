"""A model that has learned eight images by heart is flagged by its samples, and one of a whole section is not."""

from pathlib import Path

import numpy as np
import pytest
import tissue
from systems.datasets import default

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.feed import Patches
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.training import fit
from sciimg.records import Metric
from sciimg.types import PatchSet
from sciimg.validation.memorisation import copies
from sciimg.validation.nearness import Training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SAMPLES = 32
# tokens of a small book, predicted one after another: of all recipes the one that learns few images by heart soonest
SMALL = {
    "space.training.steps": 400,
    "space.training.batch": 8,
    "training.batch": 8,
    "backbone.depth": 2,
    "backbone.width": 96,
    "conditioning.uses": [],
}


class Eight:
    """Eight images, the same ones over and over."""

    def __init__(self, images: PatchSet) -> None:
        self.images, self.patch_shape, self.classes = images, images.images.shape[2:], 0

    def draw(self, seed_key: tuple[str | int, ...], indices: "range | list[int]") -> PatchSet:
        return self.images.take(np.asarray(indices) % len(self.images))

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self.images


def sampled(source: Patches, options: dict[str, object], folder: Path) -> PatchSet:
    fit(get_recipe("vq-vae", SMALL | options), source, source, (), key=("by-heart",), out=folder / "model", provenance={})
    model = Augmenter.load(folder / "model")
    real = tissue.patches("holdout").take(np.arange(SAMPLES))
    made = model.sample(None, real.table, key=("by-heart",), indices=range(SAMPLES))
    return PatchSet(made, None, np.arange(SAMPLES).astype(str), real.table, real.spacing, real.channels)


def judged(pieces: list[np.ndarray], draws: PatchSet, made: PatchSet) -> Metric:
    metrics, _ = copies(Training(pieces, (64, 64)), draws, tissue.patches("holdout"), made, key=("by-heart",))
    return next(m for m in metrics if m.name == "copy-rate")


def test_eight_images_learned_by_heart_are_flagged(tmp_path: Path) -> None:
    every = tissue.patches("train", stride=64)
    eight = every.take(np.linspace(0, len(every) - 1, 8).round().astype(int))
    made = sampled(Eight(eight), {"training.steps": 800, "training.symmetries": "none"}, tmp_path)
    rate = judged(list(eight.images), eight.take(np.arange(64) % 8), made)
    assert rate.value is not None and rate.value > 0.5, rate.reason
    assert rate.ci95 is not None and rate.ci95[0] > 0.01  # more than the one in a hundred that a study lets pass, with certainty


def test_a_model_of_the_whole_section_is_not(tmp_path: Path) -> None:
    data = default(2)
    assert data is not None
    made = sampled(data.train, {"training.steps": 400}, tmp_path)
    low, high = tissue.PARTS["train"]
    rate = judged([tissue.section()[0][..., low:high]], tissue.patches("train"), made)
    assert rate.value == 0, rate.reason
