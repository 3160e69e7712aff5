"""What editing must show on unseen real images: no seam, no identity, monotone ways from one image or value to another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from sciimg.augmenters.augmenter import Augmenter
from sciimg.generation.completion import known_part
from sciimg.generation.editing import Editor
from sciimg.types import PatchSet

from .common import _mmd, _read_back, features
from .subject import FEWEST, Answerer, Measure, Subject, missing

KEY = ("conformance", "editing")
_FEW = 16  # images a task that is asked several times of each
_WORST_MIDDLE = 0.5  # KID of images half way, in units of the blurred mean's
_MIXTURE = 0.9  # share of the variance of images half way that a double exposure of their ends explains


def _unseen(answerer: Answerer, subject: Subject, n: int | None = None) -> PatchSet:
    """Return unseen real patches; scalars are clipped to what a model has seen."""
    told = subject.told.take(range(n or len(subject.told.images)))  # type: ignore[arg-type]
    table = told.table.copy()
    for scalar in answerer.model.conditions.scalars if answerer.model else ():
        table[scalar.name] = table[scalar.name].clip(scalar.low, scalar.high)
    return PatchSet(told.images, told.labels, told.groups, table, told.spacing, told.channels, told.label_kind)


def _mask(model: Augmenter, labels: NDArray[np.int32] | None) -> NDArray[np.int32] | None:
    return labels if model.conditions.mask is not None else None


def _original(images: NDArray[Any], subject: Subject) -> bool:
    fresh = subject.fresh(images)
    if fresh.mean() < FEWEST:
        missing(f"{(~fresh).sum()} of {len(fresh)} images are copies of training images")
    return bool(fresh.mean() >= FEWEST)


def edited(answerer: Answerer, subject: Subject, n: int = 8) -> NDArray[Any]:
    """Return what the task makes of ``n`` unseen real patches: between first and last a way in steps, of an attribute its extremes."""
    model, task, told = answerer.model, subject.recipe.sampler.task, _unseen(answerer, subject, n)
    assert model is not None
    labels, editor, how = _mask(model, told.labels), Editor(model), {"key": KEY, "indices": range(n)}
    if task in ("inpaint", "outpaint"):
        keep = np.broadcast_to(known_part(None, task, told.images.shape[2:]), (n, *told.images.shape[2:]))
        return editor.complete(told.images, keep, labels, told.table, **how)  # type: ignore[arg-type]
    if task == "copy":
        return editor.copy(told.images, labels, told.table, **how)  # type: ignore[arg-type]
    if task == "interpolate":
        ends = [told.take([end] * n) for end in (0, n - 1)]
        between = (ends[0].images, ends[1].images, np.linspace(0, 1, n), None if labels is None else ends[0].labels)
        return editor.interpolate(*between, (ends[0].table, ends[1].table), **how)  # type: ignore[arg-type]
    low, high = np.quantile(subject.training.table["level"], [0.1, 0.9])
    wanted = told.table.assign(level=np.where(np.arange(n) % 2, low, high))
    return editor.change(told.images, labels, told.table, wanted, **how)  # type: ignore[arg-type]


def seam_of_known(answerer: Answerer, subject: Subject) -> float | None:
    """How far the mean gradient across the border of what was known is from that of the real images at the same places, as a share.

    Impostors' answers are pasted into what is known.
    """
    told = _unseen(answerer, subject)
    task = subject.recipe.sampler.task
    keep = np.broadcast_to(known_part(None, task, told.images.shape[2:]), (len(told.images), *told.images.shape[2:]))  # type: ignore[arg-type]
    if answerer.model is None:
        answer = answerer.sample(told.labels, told.table)
        made = np.where(keep[:, None], told.images, answer)
    else:
        labels = _mask(answerer.model, told.labels)
        answer = made = Editor(answerer.model).complete(told.images, keep, labels, told.table, key=KEY, indices=range(len(keep)))
    known = np.broadcast_to(keep[:, None], made.shape)
    if not np.array_equal(made[known], told.images[known]):
        return missing("known pixels have changed")
    if not _original(answer, subject):
        return None
    ratios = [_across(made[:, c], keep) / _across(told.images[:, c], keep) for c in range(made.shape[1])]
    return float(abs(np.mean(ratios) - 1))


def _across(images: NDArray[Any], keep: NDArray[np.bool_]) -> float:
    """Return the mean absolute difference of neighbours of which one is known and one is not; both (N, [Z,] Y, X)."""
    steps = [
        np.abs(np.diff(images.astype(np.float64), axis=axis))[np.diff(keep.astype(np.int8), axis=axis) != 0] for axis in range(1, keep.ndim)
    ]
    return float(np.concatenate(steps).mean())


def anonymous_copy(answerer: Answerer, subject: Subject) -> float | None:
    """Obedience of copies to the masks of their sources, over that of the sources; None where a copy can be traced to its source.

    Each copy is matched to the most similar source after what the mask explains is taken out of both. More right matches than 97.5 % of
    guesses would have is a trace; and the match must find copies of which nothing was redrawn, or it proves nothing.
    """
    told = _unseen(answerer, subject)
    n = len(told.images)
    if answerer.model is None:
        made = answerer.sample(told.labels, told.table)
    else:
        labels, how = _mask(answerer.model, told.labels), {"key": KEY, "indices": range(n)}
        made = Editor(answerer.model).copy(told.images, labels, told.table, **how)  # type: ignore[arg-type]
        plain = Editor(answerer.model, strength=0.0).copy(told.images, labels, told.table, **how)  # type: ignore[arg-type]
        traced = {who: matches(images, told) for who, images in (("plain", plain), ("made", made))}
        if traced["plain"] < 0.8:
            return missing(f"of copies of which nothing was redrawn, {traced['plain']:.2f} are matched to their sources")
        if traced["made"] * n > stats.binom.ppf(0.975, n, 1 / n):
            return missing(f"{traced['made']:.2f} of copies are matched to their sources")
    if not _original(made, subject):
        return None
    assert told.labels is not None
    return _read_back(made, told.labels, told.label_kind) / _read_back(told.images, told.labels, told.label_kind)


def matches(made: NDArray[Any], told: PatchSet) -> float:
    """Return the share of images whose most similar source is their own, without what the mask explains."""
    assert told.labels is not None
    own, sources = (np.stack([_unexplained(image, mask) for image, mask in zip(x, told.labels, strict=True)]) for x in (made, told.images))
    return float(np.mean((own @ sources.T).argmax(1) == np.arange(len(made))))


def _unexplained(image: NDArray[Any], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return what is left of an image (C, [Z,] Y, X) after regression on its mask at several widths; smoothed, of unit length."""
    classes = [labels == number for number in range(1, int(labels.max()) + 1)] if labels.max() <= 3 else [labels > 0]
    maps = [ndimage.gaussian_filter(own.astype(float), sigma) for own in classes for sigma in (0, 1, 2, 4)]
    design = np.stack([np.ones(labels.size), *(m.ravel() for m in maps)], axis=1)
    parts = []
    for channel in image:
        smooth = ndimage.gaussian_filter(channel.astype(float), 1).ravel()
        rest = smooth - design @ np.linalg.lstsq(design, smooth, rcond=None)[0]
        parts.append(rest / max(float(np.linalg.norm(rest)), 1e-12))
    whole = np.concatenate(parts)
    return np.asarray(whole / max(float(np.linalg.norm(whole)), 1e-12))


def passage(answerer: Answerer, subject: Subject) -> float | None:
    """Rank correlation of the way between two real images with the way that was asked for; None where what lies between looks like neither.

    Two images laid over each other are not between them: a network that does nothing makes those. The way is measured by the projection of
    each image on the line between its ends, and by the level; the smaller counts.
    """
    told = _unseen(answerer, subject, 2 * _FEW)
    first, second = told.take(range(_FEW)), told.take(range(_FEW, 2 * _FEW))  # type: ignore[arg-type]
    shares, ways, levels, middle = np.linspace(0, 1, 5), [], [], None
    for share in shares:
        if answerer.model is None:
            table = first.table.assign(level=(1 - share) * first.table["level"] + share * second.table["level"])
            made = answerer.sample(first.labels, table)
        else:
            labels = _mask(answerer.model, first.labels)
            made = Editor(answerer.model).interpolate(
                first.images,
                second.images,
                np.full(_FEW, share),
                labels,
                (first.table.reset_index(drop=True), second.table.reset_index(drop=True)),
                key=KEY,
                indices=range(_FEW),
            )
        a, b, x = (
            ndimage.gaussian_filter(v.astype(float), (0, 0, *(1,) * (v.ndim - 2))).reshape(_FEW, -1)
            for v in (first.images, second.images, made)
        )
        ways.append(((x - a) * (b - a)).sum(1) / np.square(b - a).sum(1))
        levels.append(made[:, -1].reshape(_FEW, -1).mean(1, dtype=np.float64))
        middle = made if share == 0.5 else middle
    assert middle is not None
    if not _original(middle, subject):
        return None
    if (distance := _kid(middle, subject)) > _WORST_MIDDLE:
        return missing(f"the KID half way is {distance:.2f} of the blurred mean's")
    if (mixture := _mixed(middle, first.images, second.images)) > _MIXTURE:
        return missing(f"double exposures explain {mixture:.2f} of the variance half way")
    gap = np.abs(first.table["level"].to_numpy() - second.table["level"].to_numpy())
    far = gap >= np.median(gap)  # where the ends have one level, there is no way
    sign = np.sign(second.table["level"].to_numpy() - first.table["level"].to_numpy())
    way = np.mean([_rank(shares, column) for column in np.stack(ways, 1)])
    level = np.mean([_rank(shares, s * column) for s, column in zip(sign[far], np.stack(levels, 1)[far], strict=True)])
    return float(min(way, level))


def _mixed(images: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the mean share of the variance of images (N, C, [Z,] Y, X) that the best mixture of the two others has."""
    shares = []
    for image, a, b in zip(*(x.astype(np.float64).reshape(len(x), -1) for x in (images, first, second)), strict=True):
        design = np.stack([a, b, np.ones_like(a)], axis=1)
        rest = image - design @ np.linalg.lstsq(design, image, rcond=None)[0]
        shares.append(1 - rest.var() / image.var())
    return float(np.mean(shares))


def _kid(images: NDArray[Any], subject: Subject) -> float:
    real = features(subject.made_of(subject.told))
    scale = real.std(0) + 1e-9
    mean = np.broadcast_to(subject.made_of(subject.training).mean(0), images.shape)
    return float(_mmd(real / scale, features(images) / scale) / _mmd(real / scale, features(mean) / scale))


def attribute(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation of the levels that real images were changed to with what the changed images have; None where more than that changed.

    Each image is changed to a low, a middle and a high level of the trained range; its finest structure must go on to belong to it.
    """
    told = _unseen(answerer, subject, _FEW)
    low, high = np.quantile(subject.training.table["level"], [0.1, 0.9])
    asked, got, kept, made = [], [], [], told.images
    for level in np.linspace(low, high, 3):
        wanted = told.table.assign(level=float(level))
        if answerer.model is None:
            made = answerer.sample(told.labels, wanted)
        else:
            labels = _mask(answerer.model, told.labels)
            made = Editor(answerer.model).change(told.images, labels, told.table, wanted, key=KEY, indices=range(_FEW))
            kept.append(matches(made, told))
        if not _original(made, subject):
            return None
        asked.append(np.full(_FEW, level))
        got.append(made[:, -1].reshape(_FEW, -1).mean(1, dtype=np.float64))
    if kept and np.mean(kept) < 0.5:
        return missing(f"{np.mean(kept):.2f} of changed images are matched to their sources")
    measured = np.concatenate(got)
    return float(np.corrcoef(np.concatenate(asked), measured)[0, 1]) if np.ptp(measured) else 0.0


def _rank(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(stats.spearmanr(a, b).statistic) if np.ptp(b) else 0.0


MEASURES: dict[str, Measure] = {
    "seam-of-known": seam_of_known,
    "anonymous-copy": anonymous_copy,
    "passage": passage,
    "attribute": attribute,
}
