"""A scored reader study as evidence: the metrics that gates may name, as :func:`sciimg.protocol.vocabulary.review_metrics` lists them."""

from typing import Any

from sciimg.records import Metric
from sciimg.review.score import ReviewScore
from sciimg.review.statistics import binomial_interval
from sciimg.review.table import Value

SOURCE = "sciimg review score"


def metrics(score: ReviewScore) -> list[Metric]:
    """Return the metrics of a scored reader study; what its n does not allow is undefined, with the reason.

    ``review-accuracy`` has the exact interval of independent readings, ``review-accuracy-clustered`` and ``review-d-prime`` the one that
    resamples readers and images. ``review-margin`` is the tightest margin around guessing that the answers support (exact tests).
    """
    readings: dict[str, Any] = {"n": score.trials, "unit_of_n": "readings", "source": SOURCE}
    clustered = score.clustered
    again, catches = score.repeatability["answers"], score.catches
    seen = Value(n=0, reason="no catch item was shown")
    if catches["shown"]:
        interval = binomial_interval(catches["seen"], catches["shown"])
        seen = Value(value=catches["seen"] / catches["shown"], ci95=interval, n=catches["shown"])
    agreement = Value(
        value=score.agreement["gwet_ac1"],
        ci95=score.agreement_ci95.get("gwet_ac1"),
        n=score.items,
        reason=score.agreement_reasons.get("gwet_ac1", ""),
    )
    sensitivity = Value(value=score.d_prime, ci95=clustered["d_prime_ci95"], n=score.trials, reason="only one kind of image was shown")
    found = [
        Metric(name="review-readers", value=score.readers, n=score.readers, unit_of_n="readers", higher_is_better=True, source=SOURCE),
        Metric(name="review-accuracy", value=score.accuracy, ci95=score.ci95, higher_is_better=False, **readings),
        Metric(
            name="review-accuracy-clustered",
            value=score.accuracy,
            ci95=clustered["ci95"],
            higher_is_better=False,
            detail={"resampled": clustered["resampled"]},
            **readings,
        ),
        _metric("review-d-prime", sensitivity, "readings", higher_is_better=False),
        Metric(name="review-margin", value=score.equivalence["smallest_margin"], higher_is_better=False, **readings),
        _metric("review-agreement", agreement, "items", higher_is_better=True),
        _metric("review-repeatability", again, "repeated items", higher_is_better=True),
        _metric("review-catches", seen, "catch items", higher_is_better=True),
    ]
    for c in score.criteria:
        found += [
            _metric(f"review-difference_{c.name}", c.difference, "ratings"),
            _metric(f"review-superiority_{c.name}", c.superiority, "ratings"),
        ]
    return found + [_metric(f"review-artefact_{a.name}", a.difference, "readings", higher_is_better=False) for a in score.artefacts]


def _metric(name: str, of: Value, unit_of_n: str, *, higher_is_better: bool | None = None) -> Metric:
    about: dict[str, Any] = {"n": of.n, "unit_of_n": unit_of_n, "higher_is_better": higher_is_better, "source": SOURCE}
    if of.value is None:
        return Metric.undefined(name, of.reason, **about)
    return Metric(name=name, value=of.value, ci95=of.ci95, **about)
