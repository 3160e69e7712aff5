"""One small recipe of each family, trained and judged on real images: an installation must reach what others reached.

Closed forms test parts; a training tests the whole. What it scores is no exact number: another processor rounds differently, and a training
amplifies rounding until it is another run, like one of another seed. So it is held against runs of several seeds (:mod:`.bands`).

Cost is processor time over that of a fixed piece of work done just before and after, so that it says something of the code and little of
the machine; that the machine itself is slow has a check of its own.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.training import fit
from sciimg.errors import TrainingFailedError
from sciimg.protocol.data import Condition, ImageCondition
from sciimg.records import Check
from sciimg.types import Part, PatchSet
from sciimg.validation.distance import kid
from sciimg.validation.features.named import FIXED
from sciimg.validation.features.space import FeatureSpace, fit_space
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.pair import ncc, psnr
from sciimg.verification.bands import held, recorded, slow
from sciimg.verification.bundled import CONDITIONS, part_of, tissue

Array = NDArray[np.float64]
Scores = dict[str, float]

_LEARNED: tuple[Part, Part] = ("train", "calibration")
_HELD_OUT = 48  # patches that are judged
_DAB = (ImageCondition(kind="image", channels=("haematoxylin",)),)  # what a translation is given; it makes the other stain


@dataclass(frozen=True)
class Real:
    """The bundled images: where they lie, the held-out patches, and their features in the space in which sets are compared."""

    path: Path
    told: PatchSet
    space: FeatureSpace
    vectors: Array

    @classmethod
    def made_in(cls, folder: Path) -> "Real":
        """Ingest the section into an empty folder."""
        path = tissue(folder)
        told = part_of(path, "holdout").grid(limit=_HELD_OUT)
        space = fit_space("scattering", FIXED["scattering"], part_of(path, "train").grid(limit=256))
        return cls(path, told, space, space.transform(told))


@dataclass(frozen=True)
class Benchmark:
    """A recipe with a budget of some seconds, and what is measured of it.

    Parameters
    ----------
    recipe : str
    options : mapping
        Dotted settings.
    judge : callable
        Trained model and real images to named scores.
    conditions : tuple of Condition
    """

    recipe: str
    options: Mapping[str, Any]
    judge: Callable[[Augmenter, Real], Scores]
    conditions: tuple[Condition, ...] = CONDITIONS


def measured(benchmark: Benchmark, real: Real, key: tuple[str, ...]) -> Scores:
    """Train, judge, return the scores: none where the training fails, NaN where a score cannot be had."""
    recipe = get_recipe(benchmark.recipe, dict(benchmark.options))
    with tempfile.TemporaryDirectory() as folder:
        model, train, unseen = (
            Path(folder) / "model",
            *(part_of(real.path, part, benchmark.conditions) for part in ("train", "calibration")),
        )
        try:
            fit(recipe, train, unseen, benchmark.conditions, key=key, out=model, provenance={}, device="cpu")
        except TrainingFailedError:
            return {}
        return benchmark.judge(Augmenter.load(model, device="cpu"), real)


# ---------------------------------------------------------------- what is measured


def _drawn(model: Augmenter, real: Real) -> NDArray[Any]:
    """Return samples for the held-out conditions, numbers brought into the range that was learned."""
    told = real.told
    table = told.table.assign(**{s.name: told.table[s.name].clip(s.low, s.high) for s in model.conditions.scalars})
    given = told.images[:, :1] if model.conditions.image else None
    return model.sample(told.labels, table, given, key=("benchmark",), indices=range(len(told)))


def _of_samples(model: Augmenter, real: Real) -> Scores:
    """How far samples are from real images, and how far they follow the masks."""
    images = _drawn(model, real)
    assert real.told.labels is not None
    return {
        "kid": kid(real.vectors, real.space.transform(replace(real.told, images=images))),
        "mask-correlation": _mean(ncc, images[:, 0], real.told.labels > 0),
    }


def _of_autoencoder(model: Augmenter, real: Real) -> Scores:
    """What is left of unseen images after the way through the latent; the peak is the range of the real ones."""
    back = model.reconstruct(real.told.images)
    assert back is not None
    peaks = np.ptp(real.told.images, axis=(0, 2, 3))
    channels = [_mean(partial(psnr, data_range=float(p)), real.told.images[:, c], back[:, c]) for c, p in enumerate(peaks)]
    return {"psnr": float(np.mean(channels))}


def _of_tokens(model: Augmenter, real: Real) -> Scores:
    """What codes keep of unseen images, and how far samples follow the masks; untrained codes, principal components, look real already."""
    return {**_of_autoencoder(model, real), "mask-correlation": _of_samples(model, real)["mask-correlation"]}


def _of_translation(model: Augmenter, real: Real) -> Scores:
    """How well the other stain is told from the given one, over all pixels of all patches."""
    return {"correlation": _alike(real.told.images[:, 1], _drawn(model, real)[:, 0])}


def _of_encoder(model: Augmenter, real: Real) -> Scores:
    """How well each part of an image is told from the others, over all pixels of all patches."""
    filled = model.reconstruct(real.told.images)
    assert filled is not None
    return {"correlation": _alike(real.told.images[:, 1], filled[:, 1])}


def _alike(first: NDArray[Any], second: NDArray[Any]) -> float:
    try:
        return ncc(first, second)
    except UndefinedError:
        return math.nan


def _mean(score: Callable[..., float], first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the mean over pairs of images; NaN where one is undefined."""
    try:
        return float(np.mean([score(a, b) for a, b in zip(first, second, strict=True)]))
    except UndefinedError:
        return math.nan


_FULL = {  # bf16 is fast on some processors alone
    "training.precision": "fp32",
    "training.batch": 16,
    "training.warmup": 10,
    "training.ema": 0.9,
    "training.held_out_patches": 16,
}
_SPACE = {"space.training.precision": "fp32", "space.training.batch": 16, "space.training.warmup": 10}

BENCHMARKS: MappingProxyType[str, Benchmark] = MappingProxyType(
    {
        "flow": Benchmark(
            "pixel-flow",
            _FULL
            | {"training.steps": 120, "training.learning_rate": 3e-3, "backbone.widths": [16, 32], "backbone.blocks": [1, 1]}
            | {"sampler.steps": 6},
            _of_samples,
        ),
        "adversarial": Benchmark(
            "gan",
            _FULL
            | {"training.steps": 60, "training.learning_rate": 2e-3, "process.penalty_batch": 4}
            | {"backbone.generator": [32, 24], "backbone.generator_blocks": [1, 1]}
            | {"backbone.discriminator": [24, 32], "backbone.discriminator_blocks": [1, 1]},
            _of_samples,
        ),
        "autoencoder": Benchmark(
            "vae",
            _SPACE | {"training.held_out_patches": 16, "space.training.steps": 100, "space.training.ema": 0.9, "space.widths": [16, 24]},
            _of_autoencoder,
        ),
        "tokens": Benchmark(
            "make-a-scene",
            _FULL
            | _SPACE
            | {"space.training.steps": 60, "space.widths": [16, 24], "space.codes": 64}
            | {"training.steps": 80, "backbone.width": 48, "backbone.depth": 2},
            _of_tokens,
        ),
        "translation": Benchmark(
            "pix2pix",
            _FULL | {"training.steps": 100, "backbone.widths": [16, 24], "backbone.critic": [16, 24]},
            _of_translation,
            _DAB,
        ),
        "encoder": Benchmark(
            "mae", _FULL | {"training.steps": 200, "backbone.halvings": 2, "backbone.width": 48, "backbone.depth": 2}, _of_encoder
        ),
    }
)


# ---------------------------------------------------------------- what it costs


def fixed_work() -> float:
    """Return the processor seconds of a fixed number of convolutions, forward and back, on one thread: the unit of cost."""
    rng = torch.Generator().manual_seed(0)
    images, weights = torch.randn(16, 24, 32, 32, generator=rng), torch.randn(24, 24, 3, 3, generator=rng, requires_grad=True)
    start = time.process_time()
    for _ in range(12):
        torch.nn.functional.conv2d(images, weights, padding=1).square().mean().backward()
    return time.process_time() - start


# ---------------------------------------------------------------- the whole


def checks(progress: Callable[[str], None] | None = None, families: Sequence[str] = tuple(BENCHMARKS)) -> Iterator[Check]:
    """Train and judge one recipe of each family; a check a score, one a cost, and one for the speed of the machine."""
    bands, units = recorded(), []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            real = Real.made_in(Path(folder))
            for family in families:
                if progress:
                    progress(f"benchmark-{family}: training")
                scores, cost, unit = run(family, real)
                units.append(unit)
                yield from held(family, BENCHMARKS[family].recipe, scores, cost, bands)
    finally:
        torch.set_num_threads(before)
    yield slow(min(units), bands)


def run(family: str, real: Real, seed: int = 0, benchmark: Benchmark | None = None) -> tuple[Scores, float, float]:
    """Return the scores of one family, its cost in units of the fixed work, and that unit in seconds."""
    unit = fixed_work()
    start = time.process_time()
    scores = measured(benchmark or BENCHMARKS[family], real, ("benchmark", family, str(seed)))
    spent = time.process_time() - start
    unit = (unit + fixed_work()) / 2
    return scores, spent / unit, unit
