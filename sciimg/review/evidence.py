"""A reader study as evidence: every reading, and the metrics that gates may name (:func:`sciimg.protocol.vocabulary.review_metrics`).

The metrics follow from the readings, so that whoever audits a release derives them again, and anybody can score the readings with other
programs. Comments of readers stay behind: they are free text.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from sciimg.protocol.validation import ReviewPlan
from sciimg.records import Digest, Metric
from sciimg.review.key import Role
from sciimg.review.match import Reading
from sciimg.review.score import ReviewScore, score
from sciimg.review.statistics import binomial_interval
from sciimg.review.table import Value

SOURCE = "sciimg review score"
_READINGS = TypeAdapter(list[Reading])
_TOLERANCE = 1e-6  # relative: sums of other machines end in other bits


def as_evidence(
    readings: Sequence[Reading], plan: ReviewPlan, sessions: Sequence[Digest] = (), notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the JSON that is signed: ``metrics``, ``readings``, ``notes`` on them, and heads of the chains of answers (``sessions``)."""
    lines = [_line(reading) for reading in readings]
    found = [m.as_json() for m in metrics(score(readings, plan=plan))]
    return {"metrics": found, "readings": lines, "notes": list(notes), **({"sessions": list(sessions)} if sessions else {})}


def score_of(evidence: Mapping[str, Any], plan: ReviewPlan) -> ReviewScore:
    """Return the score of the readings in evidence.

    Raises
    ------
    ValueError
        If they are no readings.
    """
    readings = _READINGS.validate_python(evidence.get("readings"))
    if not any(reading.role == "main" for reading in readings):
        raise ValueError("it holds no reading")
    return score(readings, plan=plan, notes=evidence.get("notes", ())).model_copy(update={"sessions": tuple(evidence.get("sessions", ()))})


def contradictions(evidence: Mapping[str, Any], plan: ReviewPlan) -> list[str]:
    """Return what in the evidence of a reader study does not follow from its own readings, or was not asked for by the plan.

    Raises
    ------
    ValueError
        If its readings cannot be read.
    """
    again = [m.as_json() for m in metrics(score_of(evidence, plan))]
    told = {m.get("name"): m for m in evidence["metrics"]}
    found = [f"{m['name']} does not follow from the readings" for m in again if not _alike(told.pop(m["name"], None), m)]
    found += [f"{name} is nothing that readings give" for name in told]
    readings = _READINGS.validate_python(evidence["readings"])
    items = {reader: Counter(r.role for r in readings if r.reader == reader) for reader in {r.reader for r in readings}}
    asked: dict[Role, int] = {"main": plan.items, "catch": plan.catch_pairs}
    for reader, shown in sorted(items.items()):
        found += [f"{reader} has {shown[role]} {role} items and not the {n} of the study" for role, n in asked.items() if shown[role] != n]
    return found


def _line(reading: Reading) -> dict[str, Any]:
    line = asdict(reading)
    return line | {"seen": [seen | {"artefacts": sorted(seen["artefacts"])} for seen in line["seen"]]}


def _alike(one: Any, other: Any) -> bool:
    """Whether two pieces of JSON are the same but for the last bits of their numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-9)
    return bool(one == other)


def metrics(score: ReviewScore) -> list[Metric]:
    """Return the metrics of a scored reader study; what its n does not allow is undefined, with the reason.

    ``review-readers`` counts those who noticed at least half of the catch items. ``review-accuracy`` has the exact interval of independent
    readings, ``review-accuracy-clustered`` and ``review-d-prime`` the one that resamples readers and images. ``review-margin`` is the
    tightest margin around guessing that the answers support (exact tests).
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
    sensitivity = Value(value=score.d_prime, ci95=clustered["d_prime_ci95"], n=score.trials, reason=clustered["d_prime_reason"])
    found = [
        Metric(
            name="review-readers",
            value=sum(r.looked for r in score.per_reader),
            n=score.readers,
            unit_of_n="readers",
            higher_is_better=True,
            source=SOURCE,
        ),
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
