"""Measures of what a space or a network changes beside the same recipe with the plain one: sharpness of a decoder, transformer for UNet."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import CHUNK, Augmenter
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Noise

from .common import kid_ratio
from .siblings import sibling_of_equal_time
from .subject import FEWEST, Answerer, Measure, Subject


def sharpness(answerer: Answerer, subject: Subject) -> float | None:
    """Share of the fine power missing in the plain decoder's mean (on a logarithmic scale) that the drawn decoding gives back.

    On unseen images. Fine is above half the Nyquist frequency. Nothing where most answers are training images, or where the drawn images
    are farther from the real ones than independent texture of the right power would make them (twice the error of the mean).
    """
    real = subject.made_of(subject.told)
    mean = answerer.reconstruct(real)
    assert mean is not None
    drawn = mean if answerer.model is None else _drawn(answerer.model, real)
    if subject.fresh(drawn).mean() < FEWEST or _error(drawn, real) > 2.2 * _error(mean, real):
        return None
    gap, left = (abs(_fine_power(some) - _fine_power(real)) for some in (mean, drawn))
    return float(1 - left / gap)


def kid_beside_unet(answerer: Answerer, subject: Subject) -> float | None:
    """KID over that of the same recipe with a UNet, trained on the same data for the same processor time (:func:`.common.kid_ratio`)."""
    return kid_ratio(answerer, sibling_of_equal_time(subject, _with_unet(subject.recipe, subject.dims)), subject)


def _drawn(model: Augmenter, images: NDArray[Any]) -> NDArray[Any]:
    """Return images after a way through the latent, with what the decoder draws."""
    system, out = model.system, []
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        noise = Noise(("conformance", "drawn"), range(start, start + len(part)))
        with torch.no_grad():
            points = system.space.encode(system.pad(torch.from_numpy(model.card.intensity.forward(part))))
            out.append(model.card.intensity.inverse(system.crop(system.space.decode(points, noise)).numpy()))
    return np.concatenate(out)


def _fine_power(images: NDArray[Any]) -> float:
    """Logarithm of the power above half the Nyquist frequency of images (N, C, [Z,] Y, X), mean over channels."""
    axes = tuple(range(2, images.ndim))
    power = np.square(np.abs(np.fft.fftn(images.astype(np.float64), axes=axes)))
    radius = np.sqrt(sum(np.square(f) for f in np.meshgrid(*(np.fft.fftfreq(n) for n in images.shape[2:]), indexing="ij")))
    return float(np.log(power[..., (radius > 0.25) & (radius <= 0.5)].mean((0, 2))).mean())


def _error(images: NDArray[Any], real: NDArray[Any]) -> float:
    return float(np.square(images.astype(np.float64) - real.astype(np.float64)).mean())


def _with_unet(recipe: Recipe, dims: int) -> Recipe:
    other = get_recipe("ldm", {}, 3 if dims == 3 else 2)
    return recipe.model_copy(update={"backbone": other.backbone, "name": f"{recipe.name} with a unet"})


MEASURES: dict[str, Measure] = {"sharpness": sharpness, "kid-beside-unet": kid_beside_unet}
