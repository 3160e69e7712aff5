"""Measures of variational autoencoders: what they keep, what it costs, whether the decoder listens."""

import numpy as np
import torch
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.kl import KLAutoencoder, divergence
from sciimg.augmenters.spaces.settings import KLSpace
from sciimg.types import PatchSet

from .common import features, kid
from .siblings import sibling
from .subject import FEWEST, Answerer, Measure, Subject, asked, missing

_NEAR = 0.95  # KID of samples: half of the blurred mean's, on a scale of six orders of magnitude


def reconstruction(answerer: Answerer, subject: Subject) -> float | None:
    """PSNR of unseen images after the way through the latent, in dB; the peak is the range of the real ones.

    Nothing where half of what came back are training images, or where samples of the prior are not clearly nearer to real images than a
    blurred mean.
    """
    real = subject.made_of(subject.told)
    back = answerer.reconstruct(real)
    if back is None or subject.fresh(back).mean() < FEWEST:
        return None
    if (distance := kid(answerer, subject)) is None or distance > _NEAR:
        return missing(f"the KID of samples is {distance:.2f} of the blurred mean's") if distance is not None else None
    return float(10 * np.log10(_range(real) ** 2 / _error(back, real)))


def rate_saved(answerer: Answerer, subject: Subject) -> float | None:
    """Share of the latent's information (KL divergence from the prior, unseen images) that beta saves against the same training at beta 1.

    Nothing unless it is paid for as in the paper, with a larger error, and unless what is kept still explains a fifth of the variance.
    """
    if answerer.model is None:
        return None
    other = sibling(subject, _at_beta_one(subject.recipe))
    assert other.model is not None
    real = subject.made_of(subject.told)
    errors = [_error(model.reconstruct(real), real) for model in (answerer.model, other.model)]
    explained = 1 - errors[0] / _error(np.broadcast_to(real.mean((0, *range(2, real.ndim)), keepdims=True), real.shape), real)
    if errors[0] <= errors[1]:
        return missing(f"the squared error is {errors[0] / errors[1]:.2f} times that at beta 1: nothing is paid")
    if explained < 0.2:
        return missing(f"what is kept explains {explained:.2f} of the variance")
    return 1 - rate(answerer.model, subject.told, real) / rate(other.model, subject.told, real)


def scalar_recovered(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation of the level that was asked for with what a ridge regressor, fitted on real training images, reads from the samples.

    In units of the same on the real images of those conditions.
    """
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    read = _regressor(features(subject.made_of(subject.training)), subject.training.table["level"].to_numpy(float))
    level = told.table["level"].to_numpy(float)

    def obedience(some: NDArray[np.float64]) -> float:
        return float(np.corrcoef(read(some), level)[0, 1]) if np.ptp(some, axis=0).any() else 0.0

    return obedience(features(images)) / obedience(features(told.images))


@torch.no_grad()
def rate(model: Augmenter, patches: PatchSet, images: NDArray[np.generic]) -> float:
    """Return the mean KL divergence of the posterior from the prior, in nats an image."""
    space = model.system.space
    assert isinstance(space, KLAutoencoder)
    x = model.system.pad(torch.from_numpy(model.card.intensity.forward(images)))
    return float(divergence(*space.posterior(x)).sum()) / len(images)


def _at_beta_one(recipe: Recipe) -> Recipe:
    space = recipe.space
    assert isinstance(space, KLSpace) and space.elbo is not None
    plain = space.model_copy(update={"elbo": space.elbo.model_copy(update={"beta": 1.0})})
    return recipe.model_copy(update={"space": plain, "name": f"{recipe.name} at 1"})


def _regressor(x: NDArray[np.float64], y: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    """Ridge regression on standardised features."""
    mean, std = x.mean(0), x.std(0) + 1e-9
    z = (x - mean) / std
    weights = np.linalg.solve(z.T @ z + len(z) * 0.1 * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    return lambda some: (some - mean) / std @ weights


def _error(images: NDArray[np.generic] | None, real: NDArray[np.generic]) -> float:
    assert images is not None
    return float(np.square(images.astype(np.float64) - real.astype(np.float64)).mean())


def _range(real: NDArray[np.generic]) -> float:
    return float(real.max()) - float(real.min())


MEASURES: dict[str, Measure] = {"reconstruction": reconstruction, "rate-saved": rate_saved, "scalar-recovered": scalar_recovered}
