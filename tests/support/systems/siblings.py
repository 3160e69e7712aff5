"""Another recipe trained on the same data for comparison; once a process, however many answerers are measured against it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.training import fit

from .datasets import DATASETS
from .subject import Subject, Trained


def sibling(subject: Subject, recipe: Recipe) -> Trained:
    """Return ``recipe`` trained on what the subject was trained on."""
    return _trained(recipe.model_dump_json(), subject.recipe.reach.data, subject.dims)


@cache
def _trained(recipe: str, data: str, dims: int) -> Trained:
    own, found = Recipe.model_validate_json(recipe), DATASETS[data](dims)
    assert found is not None
    with TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        fit(own, found.train, found.unseen, found.conditions, key=("conformance", "sibling", own.name), out=out, provenance={})
        return Trained(Augmenter.load(out))
