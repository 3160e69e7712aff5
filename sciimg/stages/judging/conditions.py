"""Whether the samples show what they were asked to show."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.patches.conditions import condition_table
from sciimg.protocol.data import ClassCondition, ImageCondition, MaskCondition, ScalarCondition, TextCondition
from sciimg.records import Metric
from sciimg.stages.judging.case import Case, Found
from sciimg.types import PatchSet
from sciimg.validation.physics import obstacle_between


def fidelity(case: Case) -> Found:
    """Read masks back with a segmenter that never saw a synthetic image."""
    from sciimg.validation.fidelity import mask_fidelity

    if not any(isinstance(c, MaskCondition) for c in case.study.conditions):
        return [], {}
    about: dict[str, Any] = {"bootstrap": case.rounds, "key": (*case.key, "fidelity")}
    metrics = mask_fidelity(case.segmenter, case.real.holdout, case.judged, **about)
    if case.paired is not None:
        metrics += mask_fidelity(case.segmenter, case.real.holdout, case.paired, suffix="_paired", **about)
    return metrics, {}


def conditions(case: Case) -> Found:
    """Read scalars and classes back."""
    metrics: list[Metric] = []
    for condition in case.study.conditions:
        match condition:
            case MaskCondition() | ImageCondition() | TextCondition():
                continue
            case ScalarCondition():
                metrics += _scalar(case, condition)
            case ClassCondition():
                metrics += _class(case, condition)
    return metrics, {}


def inception(case: Case) -> Found:
    """Score the set by the classes of the study's first class condition."""
    from sciimg.validation.inception import inception_metrics

    asked = next((c.name for c in case.study.conditions if isinstance(c, ClassCondition)), None)
    if asked is None:
        return [], {}
    about: dict[str, Any] = {"rounds": case.rounds, "key": (*case.key, "inception")}
    return inception_metrics(asked, case.real.train_tiles, case.real.holdout, case.judged, case.spaces, **about), {}


def _scalar(case: Case, condition: ScalarCondition) -> list[Metric]:
    from sciimg.validation.obedience import scalar_obedience, undefined_scalar

    name, judged, holdout = condition.name, case.judged, case.real.holdout
    if condition.measure == "column":
        return undefined_scalar(name, "a value from a table cannot be measured on an image")
    if condition.measure == "channel-mean" and condition.channel not in holdout.channels:
        return undefined_scalar(name, f"channel {condition.channel} is given, not made")
    if judged is None or (reason := obstacle_between(holdout, judged)):
        return undefined_scalar(name, "no synthetic images" if judged is None else reason)
    if name not in judged.table:
        return undefined_scalar(name, f"the synthetic images do not say which {name} they were asked for")
    if condition.measure == "foreground-fraction" and case.segmenter is None:
        return undefined_scalar(name, "no independent segmenter was trained for this study")
    on_real = (holdout.table[name].to_numpy(float), _measured(case, condition, holdout))
    requested = judged.table[name].to_numpy(float)
    spread = float(on_real[0].std())
    about: dict[str, Any] = {"real_spread": spread, "bootstrap": case.rounds, "key": (*case.key, "condition"), "on_real": on_real}
    return scalar_obedience(name, requested, _measured(case, condition, judged), judged.groups, **about)


def _class(case: Case, condition: ClassCondition) -> list[Metric]:
    from sciimg.validation.obedience import class_obedience, undefined_class

    name, judged, train, holdout = condition.name, case.judged, case.real.train_tiles, case.real.holdout
    if train is None:
        return undefined_class(name, "there are no real training images")
    if judged is None or (reason := obstacle_between(holdout, judged)):
        return undefined_class(name, "no synthetic images" if judged is None else reason)
    if not case.spaces:
        return undefined_class(name, "the real training images do not differ from one another")
    if name not in judged.table:
        return undefined_class(name, f"the synthetic images do not say which {name} they were asked for")
    read = [(_described(case, p), p.table[name].astype(str).to_numpy(dtype=object)) for p in (train, holdout, judged)]
    features = f"{case.spaces[0].name}, segmented fractions" if case.segmenter is not None else case.spaces[0].name
    about: dict[str, Any] = {"features": features, "bootstrap": case.rounds, "key": (*case.key, "condition")}
    return class_obedience(name, train=read[0], holdout=(*read[1], holdout.groups), synthetic=(*read[2], judged.groups), **about)


def _described(case: Case, patches: PatchSet) -> NDArray[np.float64]:
    """Return features from which a class is read: texture, and how much of each segmented class there is."""
    vectors = case.spaces[0].transform(patches)
    if case.segmenter is None:
        return vectors
    shares = case.segmenter.probabilities(patches.images).mean(axis=tuple(range(2, patches.images.ndim)), dtype=np.float64)
    return np.concatenate([vectors, shares], axis=1)


def _measured(case: Case, condition: ScalarCondition, patches: PatchSet) -> NDArray[np.float64]:
    """Measure a scalar as the study defines it; a fraction of foreground is that which the independent segmenter finds."""
    seen = case.segmenter.segment(patches) if condition.measure == "foreground-fraction" else patches
    table = condition_table(seen, (condition,), seen.table)
    return table[condition.name].to_numpy(float)
