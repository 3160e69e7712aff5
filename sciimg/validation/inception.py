"""Inception score: how sure a classifier is of each synthetic image, and how evenly its answers fall on the classes.

The classifier is a multinomial logistic regression on standardised features of real training images, as the obedience of a class condition
needs no network from elsewhere either. The score is the mean over random splits, and that of as many real holdout images is its null.

It is reported because readers ask for it, and it is a poor judge: it never looks at how real images are distributed, a set of one image for
each class, repeated or not, gets the best score, and another classifier gives another number.

References
----------
Salimans T et al. (2016) Improved techniques for training GANs. NeurIPS, arXiv:1606.03498
Barratt S, Sharma R (2018) A note on the inception score. arXiv:1801.01973
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, xlogy

from sciimg.randomness import generator
from sciimg.records import Metric, Null, TooFew
from sciimg.types import PatchSet
from sciimg.validation.c2st import RIDGE
from sciimg.validation.distribution import MIN_GROUPS, obstacle
from sciimg.validation.features.space import FeatureSpace
from sciimg.validation.outcome import faults_of, mismatch
from sciimg.validation.resampling import HalfSplit, group_index, half_interval, half_splits, spread_of_mean

Array = NDArray[np.float64]
Index = NDArray[np.intp]

NAME = "inception_score"
SOURCE = "Salimans et al. 2016, arXiv:1606.03498; logistic regression on features of real training images"
CAVEAT = (
    "never looks at how real images are distributed; one perfect image for each class gets the best score; another classifier gives "
    "another number (Barratt & Sharma 2018, arXiv:1801.01973)"
)


def inception_score(probabilities: Array) -> float:
    """Return exp of the mean over images of the divergence of p(y|x) from the mean p(y): 1 to the number of classes.

    Parameters
    ----------
    probabilities : array, shape (N, K)
        p(y|x) of each image; rows add up to 1.
    """
    marginal = probabilities.mean(axis=0)
    divergence = xlogy(probabilities, probabilities).sum(axis=1).mean() - xlogy(marginal, marginal).sum()
    return float(np.clip(np.exp(divergence), 1, len(marginal)))  # rounding leaves neither end


def classifier(x: Array, y: Index, ridge: float = RIDGE) -> Callable[[Array], Array]:
    """Return a function from features, shape (n, d), to probabilities of the classes, shape (n, K).

    Parameters
    ----------
    x : array, shape (N, d)
    y : array of int, shape (N,)
        Numbers of the classes, 0 to K - 1.
    ridge : float
        Half of it times the squared weights of standardised features is taken from the log-likelihood; intercepts are free.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def design(values: Array) -> Array:
        return np.column_stack([np.ones(len(values)), (values - centre) / spread])

    a, truth = design(x), np.eye(int(y.max()) + 1)[y]
    shape = (a.shape[1], truth.shape[1])

    def loss(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(shape)
        logs = log_softmax(a @ weights, axis=1)
        penalised = np.concatenate([np.zeros((1, shape[1])), weights[1:]])
        value = ridge / 2 * (penalised**2).sum() - (truth * logs).sum()
        return float(value), (a.T @ (np.exp(logs) - truth) + ridge * penalised).ravel()

    best = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-4, "ftol": 1e-12})
    return lambda values: np.asarray(np.exp(log_softmax(design(values) @ best.x.reshape(shape), axis=1)))


@dataclass(frozen=True)
class _Setting:
    """What the score shares in all feature spaces."""

    condition: str
    train: PatchSet
    holdout: PatchSet
    synthetic: PatchSet
    classes: list[str]
    splits: list[HalfSplit]
    groups: int  # of the synthetic images


def inception_metrics(
    condition: str,
    train: PatchSet | None,
    holdout: PatchSet,
    synthetic: PatchSet | None,
    spaces: Sequence[FeatureSpace],
    *,
    rounds: int,
    key: tuple[str | int, ...],
) -> list[Metric]:
    """Score a synthetic set by the classes of a condition, in every feature space.

    Parameters
    ----------
    condition : str
        Column of the tables that holds the class.
    train, holdout : PatchSet or None, PatchSet
        Real images from which the classes are learned, and real images that it never saw.
    rounds : int
        Random splits.

    Returns
    -------
    list of Metric
        ``inception_score_SPACE``: mean over splits, interval over groups of synthetic images, and the null of as many real holdout images.
    """
    setting = _set_up(condition, train, holdout, synthetic, rounds, key)
    return [_in_space(setting, space, holdout, synthetic) for space in spaces]


def _set_up(
    condition: str, train: PatchSet | None, holdout: PatchSet, synthetic: PatchSet | None, rounds: int, key: tuple[str | int, ...]
) -> _Setting | str:
    """Return what the score needs, or why there is none."""
    if train is None or synthetic is None:
        return "there are no real training images" if train is None else "no synthetic images"
    reason = obstacle(holdout, synthetic) or faults_of(train, "training") or mismatch(holdout, train, ("real", "training"))
    if reason:
        return reason
    if condition not in synthetic.table:
        return f"the synthetic images do not say which {condition} they were asked for"
    classes = sorted(set(train.table[condition].astype(str)))
    if len(classes) < 2:
        return f"the real training images have {len(classes)} class; two are needed"
    splits = half_splits(holdout.groups, synthetic.groups, generator(*key, "splits"), rounds=rounds)
    side, least = len(splits[0].real), MIN_GROUPS // 2
    if side < least:
        return TooFew.of(f"{side} real images at a time; {least} are needed", side, least, "real images at a time")
    return _Setting(condition, train, holdout, synthetic, classes, splits, len(group_index(synthetic.groups)[0]))


def _in_space(setting: _Setting | str, space: FeatureSpace, holdout: PatchSet, synthetic: PatchSet | None) -> Metric:
    about: dict[str, Any] = {
        "name": f"{NAME}_{space.name}",
        "n_real": len(holdout),
        "n_synthetic": 0 if synthetic is None else len(synthetic),
        "features": space.name,
        "higher_is_better": True,
        "unit": "classes",
        "source": SOURCE,
    }
    if isinstance(setting, str):
        return Metric.undefined(reason=setting, detail={"caveat": CAVEAT}, **about)
    numbers, splits = {c: i for i, c in enumerate(setting.classes)}, setting.splits
    asked = setting.train.table[setting.condition].astype(str)
    read = classifier(space.transform(setting.train), np.array([numbers[c] for c in asked], np.intp))
    real, made = read(space.transform(setting.holdout)), read(space.transform(setting.synthetic))
    values = np.array([inception_score(made[s.synthetic]) for s in splits])
    null = np.array([inception_score(real[s.real]) for s in splits])
    drawn = len(np.unique(group_index(setting.synthetic.groups)[1][splits[0].synthetic]))
    spread = spread_of_mean(drawn, setting.groups, len(splits))
    right = setting.holdout.table[setting.condition].astype(str).map(numbers).to_numpy(float) == real.argmax(axis=1)
    low, high = np.quantile(null, [0.025, 0.975])
    return Metric(
        value=float(values.mean()),
        ci95=half_interval(values, setting.groups, lowest=1.0, highest=float(len(numbers)), spread=spread),
        null=Null(value=float(null.mean()), ci95=(float(low), float(high))),
        n=setting.groups,
        unit_of_n="groups",
        detail={
            "condition": setting.condition,
            "classes": setting.classes,
            "training_images": len(setting.train),
            "samples_at_a_time": len(splits[0].synthetic),
            "splits": len(splits),
            "real_read_right": float(right.mean()),
            "caveat": CAVEAT,
        },
        **about,
    )
