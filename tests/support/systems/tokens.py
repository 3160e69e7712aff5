"""Measures of systems that work with codes: books, likelihoods, speed at equal quality, choice among candidates."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.processes.tokens import TokenProcess
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.spaces.tokens import TokenSpace, split_levels

from .common import EQUAL, kid_ratio, mask_obedience
from .siblings import sibling
from .subject import Answerer, Measure, Subject, Trained, asked, missing

_USED = 0.5  # share of the book that van den Oord's and Razavi's rows ask for
_OBEYS = 0.5  # least obedience to masks: without it the distance alone could be met by noise of the right spectrum
_AS_WELL = 0.9  # share of the reference's obedience


def codebook_psnr(answerer: Answerer, subject: Subject) -> float | None:
    """PSNR of unseen images after a way through the codes, if every book is used to a half on them."""
    real = subject.made_of(subject.told)
    back = answerer.reconstruct(real)
    if back is None:
        return None
    if answerer.model is not None and (use := min(book_use(answerer.model, real))) < _USED:
        return missing(f"{use:.2f} of a book is used")
    fresh = subject.fresh(back)
    if not fresh.all():  # the nearest training image is no reconstruction
        return missing(f"{(~fresh).sum()} of {len(fresh)} reconstructions are training images")
    error = np.square(back.astype(np.float64) - real).mean((0, *range(2, real.ndim)))
    peak = subject.made_of(subject.training).max((0, *range(2, real.ndim))).astype(np.float64)
    return float(np.mean(10 * np.log10(peak**2 / error)))


def book_use(model: Augmenter, images: NDArray[Any]) -> list[float]:
    """Return the share of codes that occur in images (N, C, [Z,] Y, X), level by level."""
    system = model.system
    assert isinstance(system.space, TokenSpace)
    codes = system.space.encode(system.pad(torch.from_numpy(model.card.intensity.forward(images))))
    levels = split_levels(codes, system.space.grids(system.padded_shape))
    return [len(level.unique()) / system.space.vocabulary for level in levels]


def bits_over_independent(answerer: Answerer, subject: Subject) -> float | None:
    """Bits a dimension of unseen images over those of the best law of independent pixels: the entropy of their own histogram."""
    model = answerer.model
    if model is None or not isinstance(model.system.process, TokenProcess):
        return None
    system, told = model.system, subject.told
    assert isinstance(system.space, TokenSpace)
    images = system.pad(torch.from_numpy(model.card.intensity.forward(subject.made_of(told))))
    table = told.table.copy()
    for scalar in model.conditions.scalars:
        table[scalar.name] = table[scalar.name].clip(scalar.low, scalar.high)
    condition = system.pad_condition(encode_condition(model.conditions, told.labels, table, told.images.shape[2:]))
    bits = float(model.system.process.bits(images, condition).double().mean())
    planes = split_levels(system.space.encode(images), system.space.grids(system.padded_shape))
    shares = [np.bincount(plane.flatten().numpy()) / plane.numel() for plane in planes]
    return bits / float(np.mean([-(p[p > 0] * np.log2(p[p > 0])).sum() for p in shares]))


def speed_over_next_token(answerer: Answerer, subject: Subject) -> float | None:
    """Time that a next-token model needs over the time of this one, if their KIDs are equal, and this one obeys as well.

    The reference is recipe ``vq-vae``, trained for as many steps on the same images. Equal is a ratio of at most 1.1.
    """
    reference = sibling(subject, _next_token(subject.recipe, subject.dims))
    ratio = kid_ratio(answerer, reference, subject)
    if ratio is None:
        return None
    if ratio > EQUAL:
        return missing(f"its KID is {ratio:.2f} times that of the next-token model")
    obeyed, obeys = mask_obedience(reference, subject), mask_obedience(answerer, subject)
    if obeyed is None or obeys is None:
        return None
    if obeys < max(_OBEYS, _AS_WELL * obeyed):
        return missing(f"it obeys masks to {obeys:.2f}, the next-token model to {obeyed:.2f}")
    return _seconds(reference, subject) / _seconds(answerer, subject)


def reranked_caption_obedience(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation of the stain that captions name with the stain of samples, if choosing among candidates raises it.

    Every caption is asked for, as often as any other.
    """
    chosen = _caption_obedience(answerer, subject)
    if chosen is None or answerer.model is None:
        return chosen
    single = _caption_obedience(_single(answerer.model), subject)
    if single is None or chosen > single:
        return None if single is None else chosen
    return missing(f"without a choice it is {single:.2f}, with one {chosen:.2f}")


def _caption_obedience(answerer: Answerer, subject: Subject) -> float | None:
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    level = images[:, -1].reshape(len(images), -1).mean(1, dtype=np.float64)
    return float(np.corrcoef(level, told.table["stain"])[0, 1]) if np.ptp(level) else 0.0


def _single(model: Augmenter) -> Trained:
    """Return the same model without a choice."""
    recipe = model.card.recipe
    sampler = recipe.sampler.model_copy(update={"candidates": 1})
    card = model.card.model_copy(update={"recipe": recipe.model_copy(update={"sampler": sampler})})
    return Trained(Augmenter(card, model.system, model.digest))


def _next_token(recipe: Recipe, dims: int) -> Recipe:
    """Return the next-token recipe with the budget of ``recipe``."""
    assert dims in (2, 3)
    return get_recipe("vq-vae", recipe.reach.budget(dims), dims)  # type: ignore[arg-type]


def _seconds(answerer: Answerer, subject: Subject) -> float:
    """Return the processor's time, which other programs do not lengthen."""
    begun = time.process_time()
    answerer.sample(subject.told.labels, subject.told.table, subject.given_of(subject.told))
    return time.process_time() - begun


MEASURES: dict[str, Measure] = {
    "codebook-psnr": codebook_psnr,
    "bits-over-independent": bits_over_independent,
    "speed-over-next-token": speed_over_next_token,
    "reranked-caption-obedience": reranked_caption_obedience,
}
