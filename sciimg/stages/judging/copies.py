"""Whether training images came back."""

from typing import Any

from sciimg.records import Metric
from sciimg.stages.judging.case import Case, Found

_PLANTED = 80  # training patches, most of which are planted as copies that the search must find


def copies(case: Case) -> Found:
    """Search every sample that may leave for training images, and training images planted among them."""
    from sciimg.validation import memorisation
    from sciimg.validation.nearness import Training

    pieces, draws = case.real.train_pieces, case.real.train_draws(_PLANTED, "planted")
    if draws is None or not pieces:
        reason = "there is no real training image as large as a sample"
        return [Metric.undefined(name, reason, higher_is_better=False, source=memorisation.SOURCE) for name in memorisation.NAMES], {}
    regions = case.real.train_regions
    named = {"names": [r.image for r in regions], "groups": [r.group if r.cell is None else r.image for r in regions]}
    training = Training(pieces, case.study.patches.shape, **named)
    every = case.synthetic  # that may leave
    return memorisation.copies(training, draws, case.real.holdout, every, apart=case.real.calibration, key=(*case.key, "copies"))


def membership(case: Case) -> Found:
    """Ask whether samples betray which real images were trained on."""
    from sciimg.validation.membership import membership_metrics

    about: dict[str, Any] = {"rounds": case.rounds, "key": (*case.key, "membership")}
    return membership_metrics(case.real.train, case.real.holdout, case.synthetic, case.spaces, **about), {}
