"""Measures that suit any conditional system: obedience to masks and scalars, spectra, distance of feature distributions."""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sciimg.types import PatchSet
from sciimg.validation.distance import kid as squared_mmd

from .subject import Answerer, Measure, Subject, asked

EQUAL = 1.1  # times another's KID that still counts as equal
_MANY = 128  # patches; a distance of distributions from fewer is noise
_NOISE = 1.0  # the kernel's own size about the centre; less is noise of the estimate


def mask_obedience(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation of the first channel with what the mask says, over that of the real images of the same masks."""
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    assert told.labels is not None
    return _read_back(images, told.labels, told.label_kind) / _read_back(told.images, told.labels, told.label_kind)


def scalar_obedience(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation of the level that was asked for with the level measured in the last channel."""
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    level = images[:, -1].reshape(len(images), -1).mean(1, dtype=np.float64)
    return float(np.corrcoef(level, told.table["level"])[0, 1]) if np.ptp(level) else 0.0


def kid(answerer: Answerer, subject: Subject) -> float | None:
    """How far samples are from unseen real images: 0 no farther than real training images are, 1 as far as the blurred mean.

    On a logarithmic scale, because squared distances span six orders of magnitude between the two. The distance is the squared MMD
    (unbiased, cubic kernel; Binkowski et al. 2018, arXiv:1801.01401) of wavelet features.
    """
    made = asked(answerer, subject)
    if made is None:
        return None
    unseen, training = subject.made_of(subject.told), subject.made_of(subject.training)
    mean = np.broadcast_to(training.mean(0), made[0].shape)
    worthless = over_real(mean, unseen, training)
    return float(np.log(over_real(made[0], unseen, training)) / np.log(worthless)) if worthless > 1 else None


def kid_over_real(answerer: Answerer, subject: Subject, told: PatchSet | None = None) -> float | None:
    """KID from unseen images, in units of that of the training images: 1 is as good as real ones of another place, and the least."""
    told = subject.told if told is None else told
    made = asked(answerer, subject, told)
    return None if made is None else over_real(made[0], subject.made_of(told), subject.made_of(subject.training))


def kid_ratio(answerer: Answerer, other: Answerer, subject: Subject) -> float | None:
    """KID over that of another answerer, of as many unseen images as there are: 1 is equal.

    Neither counts as less than what real training images reach.
    """
    own = kid_over_real(answerer, subject, many(subject))
    theirs = None if own is None else kid_of_reference(other, subject)
    return None if own is None or theirs is None else own / theirs


@lru_cache(maxsize=4)
def kid_of_reference(other: Answerer, subject: Subject) -> float | None:
    """Return the KID of one with whom all answerers of a row are compared; measured once."""
    return kid_over_real(other, subject, many(subject))


def many(subject: Subject) -> PatchSet:
    """Return more unseen patches, for what cannot be told from a few."""
    return subject.data.unseen.draw(("many",), range(_MANY))


def over_real(images: NDArray[Any], real: NDArray[Any], training: NDArray[Any]) -> float:
    """Distance of images from real ones in units of what real training images reach, and never below 1.

    The estimate is unbiased, so of sets that are nearly alike it may be 0 or less, of which no ratio says anything.
    """
    least = max(distance(real, training), _NOISE)
    return max(distance(real, images), least) / least


def distance(real: NDArray[Any], others: NDArray[Any]) -> float:
    """Squared MMD of the features of two sets of images, each feature in units of its spread in the first."""
    own = features(real)
    scale = own.std(0) + 1e-9
    return _mmd(own / scale, features(others) / scale)


def features(images: NDArray[Any]) -> NDArray[np.float64]:
    """Log energy, by scale and channel, of differences of Gaussian blurs; mean and spread of intensities; rank correlation of channels."""
    axes = tuple(range(2, images.ndim))
    x = images.astype(np.float64)
    blurs = [ndimage.gaussian_filter(x, (0, 0, *(sigma,) * len(axes))) if sigma else x for sigma in (0, 1, 2, 4)]
    bands = [np.log(np.abs(a - b).mean(axes) + 1e-3) for a, b in pairwise(blurs)]
    peaks = [np.log(np.square(a - b).mean(axes) + 1e-3) for a, b in pairwise(blurs)]
    return np.concatenate([x.mean(axes), x.std(axes), *bands, *peaks], axis=1)


def _mmd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    centre = a.mean(0)
    return squared_mmd(a - centre, b - centre)


def _read_back(images: NDArray[Any], labels: NDArray[np.int32], kind: str | None) -> float:
    smooth = ndimage.gaussian_filter(images[:, 0].astype(float), (0, *(1.0,) * (images.ndim - 2)))
    pairs = []
    for image, label in zip(smooth, labels, strict=True):
        # classes of tissue: only inside, because where air is is the same in every block
        inside = np.ones(label.shape, bool) if kind == "instances" else label > 0
        pairs.append((image[inside], (label > 0)[inside] if kind == "instances" else label[inside]))
    return float(np.mean([np.corrcoef(s, m)[0, 1] if np.ptp(s) else 0.0 for s, m in pairs if np.ptp(m.astype(float))]))


MEASURES: dict[str, Measure] = {
    "mask-obedience": mask_obedience,
    "scalar-obedience": scalar_obedience,
    "kid": kid,
    "kid-over-real": kid_over_real,
}
