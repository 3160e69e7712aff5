"""Metrics of any two images or sets, for the command line."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.records import Metric
from sciimg.types import PatchSet

_GROUPS = {"prdc": ("precision", "recall", "density", "coverage")}


def pair(reference: Path, test: Path, *, metrics: Sequence[str], data_range: float | None) -> dict[str, Any]:
    """Compare images one by one; folders are matched by the names of their files.

    Raises
    ------
    InputError
        Kinds ``unknown-metric`` and ``unmatched``, and whatever reading the images raises.
    """
    from sciimg.validation.folders import load_patchset
    from sciimg.validation.pair import PAIR_METRICS, pair_metrics

    metrics = _spelt(metrics)
    _known(metrics, PAIR_METRICS)
    if data_range is not None and not (math.isfinite(data_range) and data_range > 0):
        raise InputError(Problem("--data-range", "bad-value", f"The data range is a number above 0, e.g. 255; got {data_range}."))
    first, second = load_patchset(reference), load_patchset(test)
    if len(first) > 1 or len(second) > 1:
        first, second = _matched(first, second, reference, test)
    return {"metrics": [m.as_json() for m in pair_metrics(first, second, data_range, metrics=metrics)]}


def compare_sets(real: Path, synthetic: Path, *, train: Path | None, metrics: Sequence[str]) -> dict[str, Any]:
    """Compare two sets of images in feature spaces that need no download; with ``train`` also search for copies and infer membership.

    Raises
    ------
    InputError
        Kind ``unknown-metric``, and whatever reading the images raises.
    """
    from sciimg.validation.distribution import DERIVED, SET_METRICS, set_metrics
    from sciimg.validation.features.space import fit_space
    from sciimg.validation.features.texture import texture
    from sciimg.validation.features.wavelets import scattering
    from sciimg.validation.folders import load_patchset
    from sciimg.validation.membership import membership_metrics
    from sciimg.validation.memorisation import copies
    from sciimg.validation.nearness import Training
    from sciimg.validation.outcome import UndefinedError

    names = [name for metric in _spelt(metrics) for name in _GROUPS.get(metric, (metric,))]
    _known(names, {**SET_METRICS, **DERIVED}, extra=tuple(_GROUPS))
    first, second = load_patchset(real), load_patchset(synthetic)
    known = None if train is None else load_patchset(train)
    reference = known or first
    found: list[Metric] = []
    for space, embed in (("scattering", scattering), ("texture", texture)):
        wanted = {f"{name}_{space}" for name in names}
        try:
            fitted = fit_space(space, embed, reference)
            measured = set_metrics(first, second, [fitted])
        except UndefinedError as error:  # reference images that do not differ from one another make no space
            found += [Metric.undefined(name, str(error), higher_is_better=None, n_real=len(first)) for name in sorted(wanted)]
            continue
        found += [m for m in measured if m.name in wanted or m.name.startswith("control_")]
        if known is not None:
            found += membership_metrics(known, first, second, [fitted])
    if known is not None:
        training = Training(list(known.images), known.images.shape[2:], list(known.table["name"]), list(known.groups))
        found += copies(training, known, first, second, key=("metrics",))[0]
    return {"metrics": [m.as_json() for m in found]}


def _spelt(names: Sequence[str]) -> list[str]:
    """Accept ``MS-SSIM`` for ``ms_ssim``."""
    return [name.lower().replace("-", "_") for name in names]


def _known(names: Sequence[str], known: Any, extra: Sequence[str] = ()) -> None:
    problems = [
        Problem("--metric", "unknown-metric", f"There is no metric {name!r}; there are: {', '.join([*known, *extra])}.")
        for name in names
        if name not in known
    ]
    if problems or not names:
        raise InputError(problems or Problem("--metric", "unknown-metric", f"Name at least one of: {', '.join([*known, *extra])}."))


def _matched(first: PatchSet, second: PatchSet, reference: Path, test: Path) -> tuple[PatchSet, PatchSet]:
    here, there = list(first.table["name"]), list(second.table["name"])
    alone = [*(f"{n} (only in {reference})" for n in here if n not in there), *(f"{n} (only in {test})" for n in there if n not in here)]
    if alone:
        message = f"Images of two folders are matched by name; without a partner: {', '.join(alone[:6])}. Name partners alike."
        raise InputError(Problem(str(test), "unmatched", message))
    return first, second.take([there.index(n) for n in here])
