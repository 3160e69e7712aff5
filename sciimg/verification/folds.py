"""Cross-validation: no group is on two sides of a fold, none is forgotten, strips keep their distance; the pool is wide enough."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from sciimg.patches.folds import fold_strips, part_of, shares_of_groups
from sciimg.records import Check
from sciimg.validation.crossvalidation import corrected_interval
from sciimg.verification.checks import check

_GROUPS = [f"subject-{i:02d}" for i in range(23)]
_FOLDS = 5


def checks() -> Iterator[Check]:
    """Crossings, turns and balance of 23 groups in 5 folds, of leaving one out, and of strips; the interval of five pooled values."""
    source = "each group is predicted once, by models that have not seen it; Stone 1974, doi:10.1111/j.2517-6161.1974.tb00994.x"
    strata = {group: "rare" if i < 6 else "usual" for i, group in enumerate(_GROUPS)}
    for name, folds in (("folds", _FOLDS), ("leave-one-out", len(_GROUPS))):
        shares = shares_of_groups(_GROUPS, folds, strata)
        parts = [{group: part_of(share, fold, folds) for group, share in shares.items()} for fold in range(folds)]
        sides = [{p: {g for g, own in fold.items() if own == p} for p in ("train", "calibration", "holdout")} for fold in parts]
        crossing = sum(
            len(s["train"] & s["holdout"]) + len(s["train"] & s["calibration"]) + len(s["calibration"] & s["holdout"]) for s in sides
        )
        missing = sum(len(_GROUPS) - sum(map(len, s.values())) for s in sides)
        yield check(f"{name}-groups-crossing", 0, crossing + abs(missing), 0, source)
        held = Counter(group for s in sides for group in s["holdout"])
        yield check(f"{name}-not-held-out-once", 0, sum(held[group] != 1 for group in _GROUPS), 0, source)
    rare = Counter(share for group, share in shares_of_groups(_GROUPS, _FOLDS, strata).items() if strata[group] == "rare")
    uneven = max(rare[i] for i in range(_FOLDS)) - min(rare[i] for i in range(_FOLDS))
    yield check("folds-rare-stratum-uneven", 1, uneven, 0, "6 groups in 5 folds: one fold has two")
    strips = fold_strips(0, 1000, _FOLDS, 16)
    gaps = [b[0] - a[1] for a, b in pairwise(strips)]
    yield check("folds-strips-guard", 16, min(gaps), 0, "strips of an image keep the guard distance")
    yield check("folds-strips-cover", 1000 - 4 * 16, sum(b - a for a, b in strips), 0, "nothing but the guards is left out")
    low, high = corrected_interval([1, 2, 3, 4, 5], 1 / 3) or (0.0, 0.0)
    expected = 2.7764451051978 * math.sqrt(4 / 3)  # t(0.975, 4) and s² = 5/2
    source = "t sqrt(s² (1/5 + 1/3)); Nadeau & Bengio 2003, doi:10.1023/A:1024068626366"
    yield check("folds-pooled-half-width", expected, (high - low) / 2, 1e-9, source)
