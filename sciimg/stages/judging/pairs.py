"""Images that ought to agree pixel by pixel, and the mark that is to be found in them."""

from typing import Any

import numpy as np

from sciimg.records import Metric
from sciimg.stages.judging.case import Case, Found
from sciimg.types import PatchSet
from sciimg.validation import gallery
from sciimg.validation.material import synthetic_set
from sciimg.validation.outcome import faults_of


def pairs(case: Case) -> Found:
    """Compare samples with the real images whose condition they were given, and what an autoencoder keeps with what it saw."""
    from sciimg.validation.pair import OF_IMAGES, pair_metrics

    metrics: list[Metric] = []
    arrays: dict[str, Any] = {}
    for name, test in (("paired", case.paired), ("reconstruction", case.reconstruction)):
        if test is None:
            continue
        real = case.real.at(test)
        found = pair_metrics(real, test, _data_range(real), metrics=OF_IMAGES, rounds=case.rounds, key=(*case.key, name))
        metrics += [m.model_copy(update={"name": f"{name}_{m.name}"}) for m in found]
        if real.images.shape == test.images.shape and not faults_of(test, name):
            arrays |= gallery.pairs(name, real, test, case.key)
    return metrics, arrays


def watermark(case: Case) -> Found:
    """Say whether the mark is found again, and what it cost."""
    from sciimg.validation.watermark import watermark_metrics

    before = synthetic_set(case.study, case.unmarked_path)
    about: dict[str, Any] = {"rounds": case.rounds, "key": (*case.key, "watermark")}
    return watermark_metrics(case.synthetic, before, case.segmenter, case.study.digest, **about), {}


def _data_range(real: PatchSet) -> float:
    """Return the width of the scale on which pairs are compared: 0.1 to 99.9 % of the real intensities, widest channel."""
    axes = (0, *range(2, real.images.ndim))
    low, high = np.quantile(real.images, [0.001, 0.999], axis=axes)
    return float(np.max(high - low)) or 1.0
