"""Copies: synthetic images that are training images in disguise, and holdout images that lie in the training part.

Nearness is the score of :mod:`sciimg.validation.nearness`. What is near enough to be a copy is said by real images, which cannot be copies.
The largest of many correlations follows an extreme-value law, so the bar is the 99.97 % quantile of a Gumbel law fitted to the holdout (and
never below its largest): an empirical 99 % quantile of a hundred images is so uncertain that it called half of all ideal generators
doubtful when this was simulated on tissue. Training patches planted as copies, in every disguise, must be found, or the check says nothing.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric, Null, TooFew
from sciimg.types import PatchSet
from sciimg.validation.disguises import DISGUISES, disguised, span_of
from sciimg.validation.nearness import Nearest, Training
from sciimg.validation.outcome import faults_of, mismatch
from sciimg.validation.resampling import half_splits, percentile_interval, proportion_interval

Scores = NDArray[np.float64]

SOURCE = (
    "nearest neighbour against train-versus-holdout: Meehan et al. 2020, arXiv:2004.05675; nearest beside the next nearest: Carlini et al. "
    "2023, arXiv:2301.13188; normalised cross-correlation: Lewis 1995; extreme-value law: Gumbel 1958"
)
NAMES = ("copy-rate", "copy-control", "nearest-correlation", "leaked-holdout")
QUANTILE = 0.9997
FOUND = 0.95  # share of planted copies that must be found
MIN_IMAGES = 8  # of the holdout that show enough to be recognised
MIN_APART = 20  # real images that say how near real ones come: fewer fit no law
_PLANTED = 60
_SPLITS = 200
_NAMED = 20
_DUPLICATE = 0.99  # images correlated beyond this are the same, whatever the law of others says


def planted(draws: PatchSet, key: tuple[str | int, ...]) -> tuple[NDArray[np.float32], list[str]]:
    """Return training patches as a copying generator would hand them out, each in one disguise, in turn; and which."""
    names = [list(DISGUISES)[i % len(DISGUISES)] for i in range(len(draws))]
    scale = span_of(draws.images)
    rngs = [generator(*key, "planted", i) for i in range(len(draws))]
    copies = [disguised(image, name, scale, rng) for image, name, rng in zip(draws.images, names, rngs, strict=True)]
    return np.stack(copies), names


def extreme(scores: Scores) -> float:
    """Return the score that a real image does not reach by chance: the Gumbel law's 99.97 % quantile (moment fit), or the largest seen."""
    scale = float(scores.std()) * math.sqrt(6) / math.pi
    location = float(scores.mean()) - np.euler_gamma * scale
    return max(location - scale * math.log(-math.log(QUANTILE)), float(scores.max()))


def false_alarms(scores: Scores, groups: NDArray[Any], key: tuple[str | int, ...]) -> Null | None:
    """Return how many real images a bar from other real images calls copies, over random halves of the groups; None with one group."""
    if len(np.unique(groups)) < 2:
        return None
    splits = half_splits(groups, groups, generator(*key, "false-alarms"), rounds=_SPLITS)
    rates = np.array([float((scores[s.real] > extreme(scores[s.reference])).mean()) for s in splits])
    return Null(value=float(np.median(rates)), ci95=percentile_interval(rates))  # inside its interval, which a mean need not be


def copies(
    training: Training,
    draws: PatchSet,
    holdout: PatchSet,
    synthetic: PatchSet | None,
    *,
    apart: PatchSet | None = None,
    key: tuple[str | int, ...],
) -> tuple[list[Metric], dict[str, NDArray[Any]]]:
    """Return the metrics of :data:`NAMES` and the pictures of the nearest pairs.

    Parameters
    ----------
    training : Training
    draws : PatchSet
        Random training patches; the first 60 that show enough are planted as copies.
    holdout : PatchSet
        Real images that ought to be no copies; those that lie in the training part are reported and set no bar.
    synthetic : PatchSet or None
        What is judged.
    apart : PatchSet, optional
        Real images of a third part, which say how near real images come; without them the training images do, each searched for in those of
        other groups.
    key : tuple of str or int
    """
    about: dict[str, Any] = {"higher_is_better": False, "source": SOURCE, "n_real": len(holdout)}
    if reason := faults_of(holdout, "holdout"):
        return [Metric.undefined(name, reason, **about) for name in NAMES], {}
    held = training.nearest(holdout.images)
    leaked, leak = _leaked(training, held, holdout, draws, apart, about)
    reason = "there are no synthetic images" if synthetic is None else mismatch(holdout, synthetic, ("real", "synthetic"))
    kept = held.told & ~leaked
    if not reason and kept.sum() < MIN_IMAGES:
        usable = int(kept.sum())
        reason = f"{usable} of {len(holdout)} holdout images show enough to be recognised and lie apart; {MIN_IMAGES} are needed"
        reason = TooFew.of(reason, usable, MIN_IMAGES, "such holdout images")
    if synthetic is None or reason or (reason := faults_of(synthetic, "synthetic")):
        return [*(Metric.undefined(name, reason, **about) for name in NAMES if name != leak.name), leak], {}
    made, scores = training.nearest(synthetic.images), held.score[kept]
    bar = extreme(scores)
    control = _control(training, draws, bar, key, about)
    shown = _pictures(training, synthetic, made, "nearest.synthetic", "nearest.train", "nearest.distance")
    shown |= _pictures(training, holdout, held, "nearest.holdout", "nearest.holdout-train", "nearest.holdout-distance")
    told = int(made.told.sum())
    if control.value is None or control.value < FOUND or not told:
        reason = control.reason or f"{control.value:.0%} of the planted copies were found; the check is blind on these images"
        reason = reason if told else f"none of {len(synthetic)} synthetic images shows enough to be recognised"
        blind = [Metric.undefined(name, reason, **about) for name in ("copy-rate", "nearest-correlation")]
        return [blind[0], control, blind[1], leak], shown
    found = made.score > bar
    count = int(found.sum())
    rate = Metric(
        name="copy-rate",
        value=count / told,
        ci95=proportion_interval(count, told),
        n=told,
        n_synthetic=len(synthetic),
        null=false_alarms(scores, holdout.groups[kept], key),
        detail={
            "bar": bar,
            "copies": count,
            "too_plain_to_tell": len(synthetic) - told,
            "largest_of_holdout": float(scores.max()),
            "pairs": _pairs(training, synthetic, made, found),
        },
        **about,
    )
    median = Metric(
        name="nearest-correlation",
        value=float(np.median(made.correlation[made.told])),
        n=told,
        n_synthetic=len(synthetic),
        null=Null(value=float(np.median(held.correlation[kept]))),
        **about,
    )
    return [rate, control, median, leak], shown


def _control(training: Training, draws: PatchSet, bar: float, key: tuple[str | int, ...], about: dict[str, Any]) -> Metric:
    """Return the share of planted training patches that the bar finds, with the share of each disguise."""
    described = about | {"higher_is_better": True}
    rows = np.flatnonzero(training.tells(draws.images))[:_PLANTED]
    if not len(rows):
        return Metric.undefined("copy-control", f"none of {len(draws)} training patches shows enough to be recognised", **described)
    images, names = planted(draws.take(rows), key)
    score = training.nearest(images).score
    by = {name: float(np.mean([s > bar for s, n in zip(score, names, strict=True) if n == name])) for name in dict.fromkeys(names)}
    found = int((score > bar).sum())
    return Metric(
        name="copy-control",
        value=found / len(rows),
        ci95=proportion_interval(found, len(rows)),
        n=len(rows),
        detail={"bar": bar, "averaged_over_px": training.factor, "found": by},
        **described,
    )


def _leaked(
    training: Training, held: Nearest, holdout: PatchSet, draws: PatchSet, apart: PatchSet | None, about: dict[str, Any]
) -> tuple[NDArray[np.bool_], Metric]:
    """Return which holdout images lie in the training part, and the metric that counts them and names the pairs."""
    if apart is not None and not faults_of(apart, "calibration") and not mismatch(holdout, apart, ("holdout", "calibration")):
        near, of = training.nearest(apart.images), "the calibration part"
    else:
        near, of = training.nearest(draws.images, leave_out=training.own(draws)), "training images against those of other groups"
    score = near.score[near.told & (near.correlation < _DUPLICATE)]  # copies among these set no bar either
    name, described = "leaked-holdout", about | {"unit_of_n": "images"}
    told = int(held.told.sum())
    if len(score) < MIN_APART or not told:
        reason = f"{len(score)} images of {of} and {told} holdout images show enough to be recognised; {MIN_APART} are needed"
        reason = TooFew.of(reason, len(score) if told else 0, MIN_APART, "real images to compare with")
        return held.correlation >= _DUPLICATE, Metric.undefined(name, reason, **described)
    bar = extreme(score)
    leaked = (held.score > bar) | (held.correlation >= _DUPLICATE)
    count = int(leaked.sum())
    low, high = proportion_interval(count, told)
    detail = {"bar": bar, "real_from": of, "told": told, "pairs": _pairs(training, holdout, held, leaked)}
    return leaked, Metric(name=name, value=count, ci95=(low * told, high * told), n=told, detail=detail, **described)


def _pairs(training: Training, patches: PatchSet, nearest: Nearest, which: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return who is a copy of what, nearest first."""
    rows = sorted(np.flatnonzero(which), key=lambda r: -nearest.score[r])[:_NAMED]
    return [
        {
            "image": _name(patches, int(r)),
            "train": training.names[int(nearest.piece[r])],
            "at": nearest.origin[r].tolist(),
            "turn": int(nearest.turn[r]),
            "correlation": round(float(nearest.correlation[r]), 4),
        }
        for r in rows
    ]


def _name(patches: PatchSet, row: int) -> str:
    """Return what an image is called: its name or id; for a patch of an image also where it lies."""
    table = patches.table
    if "image" in table.columns and "origin" in table.columns:
        return f"{table['image'].iloc[row]} {table['origin'].iloc[row]}"
    column = next((c for c in ("name", "id") if c in table.columns), None)
    return str(row) if column is None else str(table[column].iloc[row])


def _pictures(training: Training, patches: PatchSet, nearest: Nearest, own: str, other: str, distance: str) -> dict[str, NDArray[Any]]:
    """Return the images that come nearest to training windows, nearest first, with those windows."""
    rows = np.argsort(-nearest.score, kind="stable")[:6]
    return {
        own: patches.images[rows],
        other: np.stack([training.window(nearest, int(r)) for r in rows]),
        distance: np.asarray(1.0 - nearest.correlation[rows], np.float64),
    }
