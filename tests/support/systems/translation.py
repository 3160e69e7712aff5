"""Measures of image-to-image translation: nearness to the true counterpart, in units of what is won over not translating at all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.types import PatchSet

from .subject import Answerer, BlurredMean, Measure, Subject, asked

Images = NDArray[Any]
WORST_CYCLE = 0.6  # of the source's own spread; who loses the source keeps about 0.8 (a normal distribution's mean absolute deviation)


def translation(answerer: Answerer, subject: Subject) -> float | None:
    """SSIM with the true counterpart above that of the better of two who do not translate: the source itself, and the training mean.

    The source is given in the made channels' mean and spread. PSNR must be above the source's too, or nothing is reached.
    """
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    truth, copied = subject.made_of(told), copied_source(subject, told)
    if psnr(images, truth) <= psnr(copied, truth):
        return -1.0
    return _gain(images, told, subject, ssim)


def unpaired_translation(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation with the true counterpart above the better of those two; a model must also find its way back to the source."""
    made = asked(answerer, subject)
    if made is None:
        return None
    if answerer.model is not None and cycle_error(answerer, subject) > WORST_CYCLE:
        return -1.0
    return _gain(*made, subject, correlation)


def cycle_error(answerer: Answerer, subject: Subject) -> float:
    """Mean absolute difference of unseen sources from what returns of them, in standard deviations of the training part."""
    model, given = answerer.model, subject.given_of(subject.told)
    assert model is not None and given is not None
    told = encode_condition(model.conditions, None, subject.told.table, model.card.shape[1:], source=given)
    told = model.system.pad_condition(told)
    assert told.image is not None
    with torch.no_grad():
        back = model.system.process.there_and_back(told.image, told)  # type: ignore[operator]
    return float((back - told.image).abs().mean())


def copied_source(subject: Subject, told: PatchSet) -> Images:
    """Return the first given channel, brought to the mean and spread of each made one over the training part."""
    given, train = subject.given_of(told), subject.given_of(subject.training)
    made = subject.made_of(subject.training)
    assert given is not None and train is not None
    standard = (given[:, :1].astype(float) - train[:, :1].mean()) / train[:, :1].std()
    axes = (0, *range(2, made.ndim))
    return np.asarray(standard * made.std(axes, keepdims=True) + made.mean(axes, keepdims=True, dtype=float))


def ssim(images: Images, truth: Images) -> float:
    """Mean structural similarity over pairs and channels on the 0.1 to 99.9 % range of the truth (Wang et al. 2004)."""
    return _over_pairs(lambda a, b, width: structural_similarity(b, a, data_range=width), images, truth)


def psnr(images: Images, truth: Images) -> float:
    return _over_pairs(lambda a, b, width: peak_signal_noise_ratio(b, a, data_range=width), images, truth)


def correlation(images: Images, truth: Images) -> float:
    return _over_pairs(lambda a, b, _: float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0, images, truth)


def _over_pairs(of: Callable[[Images, Images, float], float], images: Images, truth: Images) -> float:
    widths = [float(np.ptp(np.quantile(truth[:, c], [0.001, 0.999]))) for c in range(truth.shape[1])]
    values = [of(a[c].astype(float), b[c].astype(float), widths[c]) for a, b in zip(images, truth, strict=True) for c in range(len(widths))]
    return float(np.mean(values))


def _gain(images: Images, told: PatchSet, subject: Subject, score: Callable[[Images, Images], float]) -> float:
    truth = subject.made_of(told)
    mean = BlurredMean(subject.made_of(subject.training)).sample(None, told.table)
    return score(images, truth) - max(score(copied_source(subject, told), truth), score(mean, truth))


MEASURES: dict[str, Measure] = {"translation": translation, "unpaired-translation": unpaired_translation}
