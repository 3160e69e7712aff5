"""Measures of text: whether images answer their captions, by a probe on image statistics that knows nothing of the networks."""

from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.captions import TextSchema, filled, learn_text
from sciimg.augmenters.conditioning.encoder import numbered
from sciimg.augmenters.system import Condition, Noise
from sciimg.protocol.data import TextCondition
from sciimg.types import PatchSet

from .common import features
from .subject import Answerer, Measure, Subject, asked

_MORE = 128  # unseen images for what needs no samples: of 32 a share is known to a tenth only


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


def retrieval(answerer: Answerer, subject: Subject) -> float | None:
    """Share of unseen real images whose caption is the nearest of all captions, over that of the best single answer to all (chance)."""
    if answerer.model is None:
        return None
    text = answerer.model.conditions.text
    told = subject.data.unseen.draw(("retrieval",), range(_MORE))
    captions = text.captions(told.table)
    known = sorted({*captions, *text.captions(subject.training.table)})
    right = np.array([known.index(caption) for caption in captions])
    images = answerer.model.features(subject.made_of(told))
    words = _embedded(answerer.model.system.process.towers, text, known)
    chance = np.bincount(right).max() / len(right)
    return float(((images @ words.T).argmax(1) == right).mean() / chance)


def prior_cosine(answerer: Answerer, subject: Subject) -> float | None:
    """Cosine of an image's embedding with what the prior draws for its caption, beyond two others; means over unseen images.

    The others: the embedding of the caption itself, and what the prior draws for the caption of another image. The larger one counts.
    """
    if answerer.model is None:
        return None
    process, text = answerer.model.system.process, answerer.model.conditions.text
    told = subject.data.unseen.draw(("prior",), range(_MORE))
    tokens = torch.from_numpy(numbered(text, text.captions(told.table)))
    n = len(tokens)
    condition = Condition(torch.zeros(n, 0, 1, 1), torch.zeros(n, 0), torch.ones(n, 1), tokens=tokens)
    pixels = torch.from_numpy(answerer.model.card.intensity.forward(subject.made_of(told)))
    with torch.no_grad():
        seen = process.towers.images(answerer.model.system.pad(pixels))
        read = process.towers.captions(condition)
        drawn = process.imagined(condition, Noise(("prior",), range(n)), answerer.model.sampler()) * process.std + process.mean
    drawn = torch.nn.functional.normalize(drawn, dim=1)
    cosines = (seen @ drawn.T).numpy()
    different = (tokens[:, None] != tokens[None]).any(2).numpy()
    return float(np.diag(cosines).mean() - max(float((seen * read).sum(1).mean()), float(cosines[different].mean())))


def linear_probe(answerer: Answerer, subject: Subject) -> float | None:
    """R² on unseen images of a linear probe of patch features, beyond that of random features.

    One patch of every block of two a side is seen, and the probe tells from its features how much of the hidden ones around it is
    foreground (of a volume: is of the class with the largest number): what is seen itself, random features keep as well. It is a ridge
    regression whose strength is chosen inside the training part. Random features: the mean over three networks of the same shape that have
    learned nothing.
    """
    if answerer.model is None:
        return None
    card = answerer.model.card
    random = []
    for seed in range(3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            system = build(card.recipe, card.conditions, card.shape, card.spacing[-(len(card.shape) - 1) :])
        random.append(_probed(Augmenter(card, system.eval(), answerer.model.digest), subject))
    return _probed(answerer.model, subject) - float(np.mean(random))


def _probed(model: Augmenter, subject: Subject) -> float:
    network, pad = model.system.process.network, model.system.pad
    whole = tuple(slice(0, n // 2 * 2) for n in network.grid)  # blocks that lie inside
    seen = torch.arange(network.count).reshape(network.grid)[whole][(slice(None, None, 2),) * len(whole)].flatten()

    def read(patches: PatchSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mask = patches.labels > 0 if patches.label_kind == "instances" else patches.labels == patches.labels.max()
        images = torch.from_numpy(model.card.intensity.forward(subject.made_of(patches)))
        with torch.no_grad():
            found = torch.cat([network(network.patches(pad(part)), seen.expand(len(part), -1)) for part in images.split(16)])
            share = network.patches(pad(torch.from_numpy(mask[:, None].astype(np.float32)))).mean(2).double().numpy()
        return found.flatten(0, 1).double().numpy(), _hidden(share.reshape(-1, *network.grid)[(slice(None), *whole)]).ravel()

    x, y = read(subject.training)
    z, goal = read(subject.told)
    folds = np.arange(len(x)) * 4 // len(x)  # whole images together

    def missed(strength: float) -> float:
        return float(sum(np.square(_ridge(x[folds != f], y[folds != f], x[folds == f], strength) - y[folds == f]).sum() for f in range(4)))

    best = min((0.0001, 0.001, 0.01, 0.1, 1.0), key=missed)
    return float(1 - np.square(goal - _ridge(x, y, z, best)).mean() / goal.var())


def _hidden(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each block of two a side, without its first member."""
    dims = values.ndim - 1
    members = [values[(slice(None), *(slice(first, None, 2) for first in offset))] for offset in product((0, 1), repeat=dims)]
    return np.asarray(np.mean(members[1:], axis=0))


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
    """Return what a regression on standardised x says of z."""
    mean, scale = x.mean(0), x.std(0) + 1e-9
    x, z = (x - mean) / scale, (z - mean) / scale
    weights = np.linalg.solve(x.T @ x + strength * len(x) * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    return np.asarray(y.mean() + z @ weights)


def _embedded(towers: Any, text: TextSchema, captions: list[str]) -> NDArray[np.float32]:
    tokens = torch.from_numpy(numbered(text, captions))
    n = len(tokens)
    with torch.no_grad():
        found = towers.captions(Condition(torch.zeros(n, 0, 1, 1), torch.zeros(n, 0), torch.ones(n, 1), tokens=tokens))
    return np.asarray(found.numpy())


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


MEASURES: dict[str, Measure] = {
    "caption-score": text_image_score,
    "retrieval": retrieval,
    "prior-cosine": prior_cosine,
    "linear-probe": linear_probe,
}
