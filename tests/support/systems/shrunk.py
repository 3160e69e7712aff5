"""Any recipe made tiny, so that a few steps of it run in a second: what the quick rows train."""

from typing import Any

from sciimg.augmenters.recipe import Recipe

STEPS = {"steps": 2, "batch": 2, "warmup": 1, "checkpoint_every": 1, "held_out_every": 2}
SMALL = {  # never more than this
    "features": 16,
    "width": 16,
    "refine": 16,
    "noise_vector": 16,
    "held_out_patches": 2,
    "penalty_batch": 2,
    "codes": 16,
    "depth": 2,
    "residual_blocks": 1,
    "prior_width": 16,
    "words_width": 8,
    "embedding": 8,
}
WIDTHS = ("widths", "generator", "discriminator", "top", "critic")  # one width a level


def shrunk(recipe: Recipe, steps: int = 2) -> Recipe:
    """Return the recipe with few steps, narrow layers and one block a level; the number of levels stays."""
    return Recipe.model_validate(_small(recipe.model_dump(), steps))


def _small(data: Any, steps: int) -> Any:
    if not isinstance(data, dict):
        return data
    out = {key: _small(value, steps) for key, value in data.items()}
    if "learning_rate" in out:
        out |= STEPS | {"steps": steps}
    if out.get("kind") == "camera":
        out |= {"gain": 2.0, "offset": 0.0, "read_noise": 1.0}  # images that no camera took show no photons
    for key, value in out.items():
        if key in SMALL and isinstance(value, int):
            out[key] = min(value, SMALL[key])
        elif key in WIDTHS:
            out[key] = [8] * len(value)
        elif "blocks" in key and isinstance(value, list | tuple):
            out[key] = [1] * len(value)
        elif "blocks" in key and isinstance(value, int):
            out[key] = 1
    return out
