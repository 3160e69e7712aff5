"""The same seed gives the same bits, whatever the company: an untrained network drawn one by one, in threes and in eights."""

from collections.abc import Iterator

import numpy as np
import torch

from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Condition, Noise
from sciimg.randomness import generator, seed_of
from sciimg.records import Check
from sciimg.verification.checks import check

_KEY = ("verify", "determinism")


def checks() -> Iterator[Check]:
    """Noise belongs to samples; seeds are stable; sampling does not mix samples."""
    yield check("seed-is-stable", 8765964862012961195, seed_of("sciimg", 1), 0, "first 63 bits of SHA-256 of the canonical JSON of the key")
    yield check("generator-repeats", 0, float(generator("a", 1).random() - generator("a", 1).random()), 0, "Philox, counter-based")
    whole = Noise(_KEY, range(8)).normal((2, 4))
    alone = torch.cat([Noise(_KEY, [i]).normal((2, 4)) for i in range(8)])
    yield check("noise-belongs-to-samples", 0, float((whole != alone).sum()), 0, "one generator a sample")
    yield check(
        "samples-do-not-mix", 0, float(np.count_nonzero(_sample(1.0) != _sample(-1.0))), 0, "a neighbour's condition changes nothing"
    )


def _sample(neighbour: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return sample 0 of a chunk of two, whose other member is given another condition."""
    recipe = get_recipe("ldm", {"backbone.widths": [16, 16], "backbone.blocks": [1, 1], "space.widths": [8]})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build(recipe, ConditionSchema(symmetry=1), (2, 16, 16)).eval()
    condition = Condition(torch.zeros(2, 0, 16, 16), torch.tensor([[0.5], [neighbour]]), torch.ones(2, 1))
    settings = recipe.sampler.model_copy(update={"steps": 3})
    return np.asarray(system.sample(condition, Noise(_KEY, range(2)), settings)[0].numpy())
