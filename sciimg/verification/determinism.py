"""The same seed gives the same bits, whatever the company: an untrained network drawn one by one, in threes and in eights."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.intensity import learn_scale
from sciimg.augmenters.model_file import ModelCard
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Condition, Noise
from sciimg.randomness import generator, seed_of
from sciimg.records import Check, digest_of
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
    yield from _batches()


def _batches() -> Iterator[Check]:
    """Ten samples at once by one worker, by two, and in parts: the same bits."""
    whole = _draw(range(10), 1)
    source = "a sample has its own noise and its own place in a chunk of eight"
    yield check("workers-change-nothing", 0, float(np.count_nonzero(whole != _draw(range(10), 2))), 0, source)
    parts = np.concatenate([_draw(range(a, b), 1) for a, b in ((0, 3), (3, 9), (9, 10))])
    yield check("batches-change-nothing", 0, float(np.count_nonzero(whole != parts)), 0, source)
    differ = float(np.mean(whole[0] != whole[1]))
    yield check("samples-differ", 1, differ, 0.5, "another number is another sample")


def _draw(indices: Sequence[int], workers: int) -> NDArray[Any]:
    """Draw samples of an untrained model by their numbers."""
    recipe = get_recipe("ldm", {"backbone.widths": [16, 16], "backbone.blocks": [1, 1], "space.widths": [8]})
    told = ConditionSchema()
    shape = (1, 16, 16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build(recipe, told, shape).eval()
    scale = learn_scale(np.arange(4096, dtype=np.uint16).reshape(16, 1, 16, 16), ("a",))
    card = ModelCard(
        recipe=recipe, shape=shape, conditions=told, intensity=scale, spacing=(1.0, 1.0), unit="pixel", label_kind=None,
        provenance={}, versions={},
    )  # fmt: skip
    augmenter = Augmenter(card, system, digest_of({}))
    table = pd.DataFrame(index=range(len(indices)))
    return augmenter.sample(None, table, key=_KEY, indices=list(indices), steps=2, workers=workers)


def _sample(neighbour: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return sample 0 of a chunk of two, whose other member is given another condition."""
    recipe = get_recipe("ldm", {"backbone.widths": [16, 16], "backbone.blocks": [1, 1], "space.widths": [8]})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build(recipe, ConditionSchema(symmetry=1), (2, 16, 16)).eval()
    condition = Condition(torch.zeros(2, 0, 16, 16), torch.tensor([[0.5], [neighbour]]), torch.ones(2, 1))
    settings = recipe.sampler.model_copy(update={"steps": 3})
    return np.asarray(system.sample(condition, Noise(_KEY, range(2)), settings)[0].numpy())
