"""Classifier two-sample test: how often a classifier that has learned two sets apart is right about images it has not seen.

The classifier is a logistic regression on standardised features, cross-fitted by group: what it is asked about shares no group and no pixel
with what it learned from. Half of the answers are right when the sets are alike; what a given number of images does to that is shown by two
sets of real images of the same size.

References
----------
Lopez-Paz D, Oquab M (2017) Revisiting classifier two-sample tests. ICLR, arXiv:1610.06545
Phipson B, Smyth GK (2010) Permutation p-values should never be zero. doi:10.2202/1544-6115.1585
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sciimg.validation.comparison import Candidate, Comparison
from sciimg.validation.resampling import group_index

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

SPLITS = 40  # of the real groups
FOLDS = 5
_MOST_FOLDS = 24  # where patches of different groups share pixels: the smaller a fold, the fewer samples lie beside it
RIDGE = 1.0  # a penalty of one squared unit of every weight: separable sets have no largest likelihood
_STEPS = 25


def logistic(x: Array, y: NDArray[np.bool_], ridge: float = RIDGE) -> Array:
    """Return weights (d + 1,), the intercept first, that maximise the log-likelihood minus ``ridge`` / 2 times their squares.

    Parameters
    ----------
    x : array, shape (n, d)
    y : array of bool, shape (n,)

    Notes
    -----
    Newton's method; the intercept is not penalised.
    """
    design = np.column_stack([np.ones(len(x)), x])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-9
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = 0.5 * (1 + np.tanh(0.5 * (design @ weights)))  # the logistic function, which does not overflow
        gradient = design.T @ (y - p) - penalty * weights
        curvature = (design * (p * (1 - p) + 1e-9)[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def cross_fitted_accuracy(x: Array, y: NDArray[np.bool_], folds: Index, blocked: Mask) -> float:
    """Return the mean over both classes of the share of right answers, NaN where a fold leaves fewer than two samples of a class.

    Parameters
    ----------
    x : array, shape (n, d)
    y : array of bool, shape (n,)
        Which samples are of the second set.
    folds : array of int, shape (n,)
    blocked : array of bool, shape (n, n)
        Pairs that must not be on both sides of a fold.
    """
    right = np.zeros(len(x))
    for fold in np.unique(folds):
        asked = folds == fold
        learned = ~asked & ~blocked[asked].any(axis=0)
        if min(np.count_nonzero(learned & y), np.count_nonzero(learned & ~y)) < 2:
            return float("nan")
        centre, spread = x[learned].mean(axis=0), x[learned].std(axis=0)
        unit = (x - centre) / np.where(spread > 0, spread, 1.0)
        weights = logistic(unit[learned], y[learned])
        # sides of different size would move the intercept: the answer is where the class is likelier than its share among the learned
        margin = unit[asked] @ weights[1:] + weights[0] - np.log(y[learned].mean() / (1 - y[learned].mean()))
        right[asked] = np.where(margin == 0, 0.5, (margin > 0) == y[asked])
    return float((right[y].mean() + right[~y].mean()) / 2)


def accuracies(
    comparison: Comparison, candidate: Candidate, rows: Sequence[Index], real_groups: NDArray[np.object_], groups: NDArray[np.object_]
) -> Array:
    """Return the accuracy for each of the first splits, the reference half against the candidate's rows, shape (at most ``SPLITS``,).

    Parameters
    ----------
    rows : sequence of arrays
        Rows of the candidate in each split.
    real_groups, groups : arrays of str
        Of all real samples, and of the candidate's.
    """
    found = []
    for split, b in zip(comparison.splits[:SPLITS], rows, strict=False):
        a = split.reference
        within = np.eye(len(b), dtype=bool) if candidate.within is None else candidate.within(b, b)
        across = np.zeros((len(a), len(b)), bool) if candidate.across is None else candidate.across(a, b)
        blocked = np.block([[comparison.relation(a, a), across], [across.T, within]])
        first, second = group_index(real_groups[a])[1], group_index(groups[b])[1]
        same = np.block(
            [
                [first[:, None] == first[None], np.zeros((len(a), len(b)), bool)],
                [np.zeros((len(b), len(a)), bool), second[:, None] == second[None]],
            ]
        )
        most = _MOST_FOLDS if (blocked & ~same).any() else FOLDS
        count = max(2, min(most, first.max() + 1, second.max() + 1))
        y = np.repeat([False, True], [len(a), len(b)])
        folds = np.concatenate([first % count, second % count])
        found.append(cross_fitted_accuracy(np.concatenate([comparison.vectors[a], candidate.vectors[b]]), y, folds, blocked))
    return np.array(found)


def p_value(values: Array, null: Array) -> float:
    """Return how rarely two real sets are told apart as well as the candidate is on average: (b + 1) / (B + 1)."""
    return (int(np.sum(null >= values.mean())) + 1) / (len(null) + 1)
