"""Pictures for the report: no metric, no gate."""

from typing import Any

from sciimg.stages.judging.case import Case, Found
from sciimg.validation import gallery
from sciimg.validation.outcome import faults_of
from sciimg.validation.physics import obstacle_between


def pictures(case: Case) -> Found:
    """Show some real images and some samples, with what the segmenter finds in them."""
    arrays: dict[str, Any] = dict(gallery.describe(case.real.holdout))
    for name, patches in (("real", case.real.holdout), ("synthetic", case.judged)):
        if patches is None or faults_of(patches, name):
            continue
        shown = patches.take(gallery.chosen(patches, (*case.key, name)))
        read_back = case.segmenter.segment(shown) if case.segmenter is not None else None
        arrays |= gallery.samples(name, shown, read_back)
    return [], arrays


def worst(case: Case) -> Found:
    """Show the samples least like any real one."""
    from scipy.spatial.distance import cdist

    if not case.spaces or case.judged is None or obstacle_between(case.real.holdout, case.judged):
        return [], {}
    space = case.spaces[0]
    return [], gallery.farthest(case.judged, cdist(space.transform(case.judged), space.transform(case.real.holdout)))
