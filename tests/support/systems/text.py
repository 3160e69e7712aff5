"""Measures of text: whether images answer their captions, by a probe on image statistics that knows nothing of the networks."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.augmenters.conditioning.captions import TextSchema, filled, learn_text
from sciimg.protocol.models import TextCondition

from .common import features
from .subject import Answerer, Measure, Subject, asked


def text_image_score(answerer: Answerer, subject: Subject) -> float | None:
    """Share of pairs of samples that fit their own captions better than each other's, over that of real images; 0.5 of both is chance.

    In units in which 0 is what shuffled captions reach and 1 what real unseen images do.
    """
    made = asked(answerer, subject)
    if made is None:
        return None
    images, told = made
    text = _text(subject)
    probe = _probe(subject, text)
    score = _won(probe(images), text.captions(told.table))
    real = _won(probe(subject.made_of(told)), text.captions(told.table))
    return None if score is None or real is None or real <= 0.5 else (score - 0.5) / (real - 0.5)


def _text(subject: Subject) -> TextSchema:
    condition = next(c for c in subject.data.conditions if isinstance(c, TextCondition))
    return learn_text(condition.name, condition.template, subject.training.table)


def _probe(subject: Subject, text: TextSchema) -> Any:
    """Return a function from images to scores of captions: ridge regression of said words on image statistics of the training part."""
    x, y = features(subject.made_of(subject.training)), _said(text, text.captions(subject.training.table))
    mean, scale = x.mean(0), x.std(0) + 1e-9
    z = (x - mean) / scale
    weights = np.linalg.solve(z.T @ z + len(z) * 0.03 * np.eye(z.shape[1]), z.T @ (y - y.mean(0)))

    def scores(images: NDArray[Any]) -> Any:
        words = (features(images) - mean) / scale @ weights
        return lambda captions: words @ _said(text, captions).T

    return scores


def _said(text: TextSchema, captions: list[str]) -> NDArray[np.float64]:
    """Return which clause of a caption says what: (N, clauses); a word may stand for two things at two places."""
    clauses = sorted({(place, clause) for caption in _all(text) for place, clause in enumerate(caption.split(", "))})
    return np.array([[clause in enumerate(caption.split(", ")) for clause in clauses] for caption in captions], dtype=float)


def _all(text: TextSchema) -> list[str]:
    names = [field.name for field in text.fields]
    return [filled(text.template, dict(zip(names, values, strict=True))) for values in product(*(field.values for field in text.fields))]


def _won(scores: Any, captions: list[str]) -> float | None:
    """Return how often s_ii + s_jj > s_ij + s_ji over pairs with different captions; a tie is half."""
    s = scores(captions)
    gain = np.add.outer(np.diag(s), np.diag(s)) - s - s.T
    different = np.array([[a != b for b in captions] for a in captions])
    return float(np.where(np.abs(gain) < 1e-9, 0.5, gain > 0)[different].mean()) if different.any() else None


MEASURES: dict[str, Measure] = {"text-image-score": text_image_score}
