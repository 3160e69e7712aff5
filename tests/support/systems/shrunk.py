"""Any recipe made tiny, so that a few steps of it run in a second: what the quick rows train."""

from typing import Any

from sciimg.augmenters.recipe import Recipe

STEPS = {"steps": 2, "batch": 2, "warmup": 1, "checkpoint_every": 1, "held_out_every": 2}
SMALL = {
    "features": 16,
    "width": 16,
    "held_out_patches": 2,
    "penalty_batch": 2,
    "prior_width": 16,
    "words_width": 8,
    "embedding": 8,
    "depth": 1,
}  # never more than this
WIDTHS = ("widths", "generator", "discriminator")  # one width a level


def shrunk(recipe: Recipe, steps: int = 2) -> Recipe:
    """Return the recipe with few steps, narrow layers and one block a level; the number of levels stays."""
    return Recipe.model_validate(_small(recipe.model_dump(), steps))


def _small(data: Any, steps: int) -> Any:
    if not isinstance(data, dict):
        return data
    out = {key: _small(value, steps) for key, value in data.items()}
    if "learning_rate" in out:
        out |= STEPS | {"steps": steps}
    for key, value in out.items():
        if key in SMALL and isinstance(value, int):
            out[key] = min(value, SMALL[key])
        elif key in WIDTHS:
            out[key] = [8] * len(value)
        elif "blocks" in key and isinstance(value, list | tuple):
            out[key] = [1] * len(value)
    return out
