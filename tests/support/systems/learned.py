"""Training for a row: on the training part alone."""

from pathlib import Path

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.loop import Progress
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.training import fit

from .subject import Dataset, Trained


def trained(recipe: Recipe, data: Dataset, key: tuple[str, ...], out: Path, progress: Progress | None = None) -> Trained:
    """Return a recipe trained on real data.

    The weights that are kept are chosen by their loss on further boxes of the training part: the unseen part is for the measure alone.
    """
    fit(recipe, data.train, data.train, data.conditions, key=key, out=out, provenance={}, progress=progress)
    return Trained(Augmenter.load(out))
