"""Membership inference from the synthetic images alone: whether one who holds a real image can tell that the generator learned from it.

The attack needs no access to the generator: an image to which some synthetic image comes near is taken for a member. Some images have near
neighbours everywhere, so the distance to the nearest synthetic image is measured against that to the nearest training image of another
group (difficulty calibration). Two questions are asked in every feature space: how well are training images told from holdout images (AUC,
and how many are betrayed when one holdout image in a hundred may be accused), and whether synthetic images lie nearer to the training part
than to as many holdout images.

Of large sets 2,048 members, as many others and as many samples are asked, so that cost grows with the number of samples alone; the nearest
sample is sought among all.

A generator that knows nothing but the distribution of the training part gives an AUC of 0.5, also where training and holdout come from
other places: its images and other training images are then equally near to an image of either part. Measured against a third real part
instead, an honest generator was accused for the difference in place (an AUC of 0.8 where two groups of Gaussian points lay as far apart as
they are wide). ``nearer-train`` has no such measure: it sees a difference in place as well. What chance does to both is shown by exchanging
whole groups between the two parts.

References
----------
Hayes J et al. (2019) LOGAN: membership inference attacks against generative models. PoPETs, arXiv:1705.07663
Carlini N et al. (2022) Membership inference attacks from first principles. IEEE S&P, arXiv:2112.03570 (TPR at low FPR)
Watson L et al. (2022) On the importance of difficulty calibration in membership inference attacks. ICLR, arXiv:2111.08440
Platzer M, Reutterer T (2021) Holdout-based empirical assessment of mixed-type synthetic data. doi:10.3389/fdata.2021.679939
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sciimg.randomness import generator
from sciimg.records import Metric, Null, TooFew
from sciimg.types import PatchSet
from sciimg.validation.distance import distances
from sciimg.validation.features.space import FeatureSpace
from sciimg.validation.nearest import nearest_of
from sciimg.validation.outcome import UndefinedError, faults_of, measured, mismatch
from sciimg.validation.resampling import group_index, half_interval, percentile_interval, unless_degenerate

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Key = tuple[str | int, ...]

NAMES = ("membership-auc", "membership-tpr", "nearer-train")
MIN_GROUPS = 4  # on each side: fewer can hardly be exchanged
FPR = 0.01
MIN_NONMEMBERS = 100  # one of them is the hundredth that may be accused
_TINY = 1e-9
_ASKED = 2**11  # images of a side, drawn by the key: what is asked of all pairs would grow with the square

SOURCES = {
    "membership-auc": "Hayes et al. 2019, arXiv:1705.07663; calibrated as Watson et al. 2022, arXiv:2111.08440",
    "membership-tpr": f"Carlini et al. 2022, arXiv:2112.03570; at a false-positive rate of {FPR:.0%}",
    "nearer-train": "Platzer & Reutterer 2021, doi:10.3389/fdata.2021.679939",
}


def membership_metrics(
    train: PatchSet | None,
    holdout: PatchSet,
    synthetic: PatchSet | None,
    spaces: Sequence[FeatureSpace],
    *,
    rounds: int = 200,
    key: Key = ("membership",),
) -> list[Metric]:
    """Attack a synthetic set in every feature space.

    Parameters
    ----------
    train, holdout : PatchSet
        Members and non-members, of one kind.
    synthetic : PatchSet or None
    rounds : int
        Of the bootstrap of groups, and of their exchange.

    Returns
    -------
    list of Metric
        ``membership-auc_SPACE``, ``membership-tpr_SPACE`` and ``nearer-train_SPACE``, each with its interval and with what exchanged groups
        give.
    """
    found: list[Metric] = []
    reason = _obstacle(train, holdout, synthetic)
    train, holdout = None if train is None else _some(train, (*key, "members")), _some(holdout, (*key, "others"))
    for space in spaces:
        about: dict[str, Any] = {"features": space.name, "higher_is_better": False, "n_real": len(holdout)}
        if reason or train is None or synthetic is None:
            found += [Metric.undefined(f"{name}_{space.name}", reason, source=SOURCES[name], **about) for name in NAMES]
            continue
        about |= {"n_synthetic": len(synthetic), "n": min(len(group_index(p.groups)[0]) for p in (train, holdout)), "unit_of_n": "groups"}
        vectors = {"train": space.transform(train), "holdout": space.transform(holdout), "synthetic": space.transform(synthetic)}
        groups = (train.groups, holdout.groups)
        scores = _scores(vectors, groups)
        detail = {"calibrated_by": "the nearest training image of another group", "members": len(train)}
        for name, statistic in (("membership-auc", auc), ("membership-tpr", tpr)):
            fields = about | {"source": SOURCES[name], "detail": detail}
            own = (*key, space.name, name)
            whole = f"{name}_{space.name}"
            found.append(
                measured(whole, lambda: _two_sample(whole, statistic, scores, groups, rounds, own, fields), **fields)  # noqa: B023
            )
        rows = _rows(len(synthetic), (*key, "samples"))
        some = vectors | {"synthetic": vectors["synthetic"][rows]}
        nearer = _nearer(some, (train.groups, holdout.groups, synthetic.groups[rows]), rounds, (*key, space.name, "nearer"))
        value, interval, null, p = nearer
        name = "nearer-train"
        fields = about | {"source": SOURCES[name], "detail": {"p_value": p}}
        found.append(Metric(name=f"{name}_{space.name}", value=value, ci95=interval, null=null, **fields))
    return found


def _some(patches: PatchSet, key: Key) -> PatchSet:
    return patches if len(patches) <= _ASKED else patches.take(_rows(len(patches), key))


def _rows(count: int, key: Key) -> Index:
    """Return all rows, or as many as are asked, drawn by the key, in their own order."""
    return np.arange(count) if count <= _ASKED else np.sort(generator(*key).permutation(count)[:_ASKED])


def auc(members: Array, others: Array) -> float:
    """Return the probability that a member has the higher score, ties counting half (Mann-Whitney)."""
    ranks = stats.rankdata(np.concatenate([members, others]))
    n = len(members)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(others)))


def tpr(members: Array, others: Array, fpr: float = FPR) -> float:
    """Return the share of members above the score that at most ``fpr`` of the others exceed."""
    if len(others) < MIN_NONMEMBERS:
        reason = f"{len(others)} holdout images; a false-positive rate of {fpr:.0%} needs {MIN_NONMEMBERS}"
        raise UndefinedError(TooFew.of(reason, len(others), MIN_NONMEMBERS, "holdout images"))
    allowed = int(fpr * len(others))
    return float(np.mean(members > np.sort(others)[::-1][allowed]))


def _obstacle(train: PatchSet | None, holdout: PatchSet, synthetic: PatchSet | None) -> str:
    """Return why members cannot be told from non-members, or ``""``."""
    if train is None or synthetic is None:
        return "there are no real training images" if train is None else "there are no synthetic images"
    sets = {"training": train, "holdout": holdout, "synthetic": synthetic}
    reason = next((r for what, p in sets.items() if (r := faults_of(p, what))), "")
    reason = reason or mismatch(holdout, train, ("holdout", "training")) or mismatch(holdout, synthetic, ("real", "synthetic"))
    if reason:
        return reason
    few = {what: n for what, p in sets.items() if (n := len(group_index(p.groups)[0])) < MIN_GROUPS}
    reason = "; ".join(f"{n} independent groups of {what} images, {MIN_GROUPS} are needed" for what, n in few.items())
    return TooFew.of(reason, min(few.values(), default=0), MIN_GROUPS)


def _scores(vectors: dict[str, Array], groups: tuple[NDArray[Any], NDArray[Any]]) -> list[Array]:
    """Return how much nearer a synthetic image comes than a training image of another group, logarithms, for training and holdout images.

    Every holdout group is denied one training group as well, in turn, so that both parts search among as many images.
    """
    members, others = (group_index(g)[1] for g in groups)
    denied = (members, others % (members.max() + 1))
    scores = []
    for part, group in zip(("train", "holdout"), denied, strict=True):
        known = distances(vectors[part], vectors["train"])
        known[group[:, None] == members[None]] = np.inf
        made = nearest_of(vectors[part], vectors["synthetic"])[0]
        scores.append(np.asarray(np.log(known.min(axis=1) + _TINY) - np.log(made + _TINY)))
    return scores


def _two_sample(
    name: str,
    statistic: Callable[[Array, Array], float],
    scores: Sequence[Array],
    groups: tuple[NDArray[Any], NDArray[Any]],
    rounds: int,
    key: Key,
    fields: dict[str, Any],
) -> Metric:
    """Return a statistic of member and non-member scores with its bootstrap interval and its law under exchange of groups."""
    value = statistic(*scores)
    index = [group_index(g)[1] for g in groups]
    members = [[np.flatnonzero(i == g) for g in range(i.max() + 1)] for i in index]
    rng = generator(*key, "bootstrap")
    replicates = []
    for _ in range(rounds):
        chosen = [np.concatenate([m[g] for g in rng.integers(0, len(m), len(m))]) for m in members]
        chosen[1] = np.resize(chosen[1], len(scores[1]))  # small groups drawn often must not leave too few
        replicates.append(statistic(scores[0][chosen[0]], scores[1][chosen[1]]))
    low, high = percentile_interval(np.array(replicates))
    interval = unless_degenerate((min(low, value), max(high, value)), min(map(len, members)), (0.0, 1.0))
    null = _exchanged(statistic, scores, members, rounds, generator(*key, "exchange"))
    p = (int(np.sum(null >= value)) + 1) / (len(null) + 1)
    detail = fields["detail"] | {"p_value": p}
    ends = percentile_interval(null)
    law = Null(value=float(np.clip(null.mean(), *ends)), ci95=ends)
    return Metric(name=name, value=value, ci95=interval, null=law, **(fields | {"detail": detail}))


def _exchanged(
    statistic: Callable[[Array, Array], float], scores: Sequence[Array], members: list[list[Index]], rounds: int, rng: np.random.Generator
) -> Array:
    """Return the statistic with whole groups exchanged at random between members and non-members."""
    pooled = np.concatenate(scores)
    units = [*members[0], *(rows + len(scores[0]) for rows in members[1])]
    found = []
    for _ in range(rounds):
        order = rng.permutation(len(units))
        rows = np.concatenate([units[o] for o in order])
        cut = len(scores[0])  # a group may be cut in two where sizes differ: as many members as there are
        found.append(statistic(pooled[rows[:cut]], pooled[rows[cut:]]))
    return np.array(found)


def _nearer(
    vectors: dict[str, Array], groups: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], rounds: int, key: Key
) -> tuple[float, tuple[float, float], Null, float]:
    """Return the share of synthetic images nearer to training than to as many holdout images, its interval, its null, and p."""
    train, holdout = distances(vectors["synthetic"], vectors["train"]), distances(vectors["synthetic"], vectors["holdout"])
    both = np.concatenate([train, holdout], axis=1)
    index = [group_index(g)[1] for g in groups]
    rng = generator(*key)
    size = min(train.shape[1], holdout.shape[1])
    rows = np.arange(len(both))

    def share(a: Index, b: Index, of: Index) -> float:
        n = min(len(a), len(b))
        near, far = (both[np.ix_(of, rng.permutation(side)[:n])].min(axis=1) for side in (a, b))
        return float(np.mean((near < far) + 0.5 * (near == far)))

    first, second = np.arange(train.shape[1]), train.shape[1] + np.arange(holdout.shape[1])
    value = float(np.mean([share(first, second, rows) for _ in range(10 if train.shape[1] != holdout.shape[1] else 1)]))
    halves = [share(*(p[_half(i, rng)] for p, i in zip((first, second, rows), index, strict=True))) for _ in range(rounds)]
    replicates = np.array(halves) - np.mean(halves) + value  # half as many neighbours: the spread counts, not the place
    least = min(int(i.max()) + 1 for i in index[:2])
    units = np.concatenate([index[0], index[0].max() + 1 + index[1]])
    null = []
    for _ in range(rounds):
        order = np.argsort(rng.permutation(units.max() + 1)[units], kind="stable")
        null.append(share(order[:size], order[-size:], rows))
    ends = percentile_interval(np.array(null))
    p = (int(np.sum(np.array(null) >= value)) + 1) / (rounds + 1)
    law = Null(value=float(np.clip(np.mean(null), *ends)), ci95=ends)
    low, high = half_interval(replicates, least, lowest=0.0, highest=1.0, samples=max(least, min(len(rows), size)))
    # a few central images may be nearest to everything, which halves do not show: at least as wide as exchanged groups spread
    low, high = min(low, value - (law.value - ends[0])), max(high, value + (ends[1] - law.value))
    return value, (max(low, 0.0), min(high, 1.0)), law, p


def _half(index: Index, rng: np.random.Generator) -> Index:
    """Return the rows of a random half of the groups."""
    count = int(index.max()) + 1
    return np.flatnonzero(np.isin(index, rng.permutation(count)[: max(1, count // 2)]))
