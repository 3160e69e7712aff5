"""Steps 6 to 8: the decision derived anew, what may lie in the dataset, and the reports on it."""

import io
import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sciimg.decision import REVIEW_STAGE, collect, decide
from sciimg.errors import AuditError, Problem
from sciimg.files import read_plain
from sciimg.provenance.attest import REPORTS, heads_of
from sciimg.provenance.auditing.case import DATASET, Audit, Case, Outcome, need
from sciimg.provenance.pades import count_signatures
from sciimg.records import Decision, digest_file

_NOT_EVIDENCE = ("evidence/decision.", "evidence/stages.", "evidence/environment.")


def decided(case: Case, result: Audit) -> Outcome:
    study = need(case.study)
    where = f"{DATASET}/evidence/decision.json"
    try:
        recorded = Decision.model_validate_json(case.signed("evidence/decision.json"))
        stages = [n for n in need(case.digests) if re.fullmatch(r"evidence/[a-z0-9._-]+\.json", n) and not n.startswith(_NOT_EVIDENCE)]
        evidence = {n.removeprefix("evidence/").removesuffix(".json"): json.loads(case.signed(n)) for n in stages}
        derived = decide(study, *collect(evidence))
    except (ValidationError, ValueError, AttributeError, TypeError, RecursionError) as error:
        message = f"Evidence and decision are JSON records; these cannot be read ({str(error).splitlines()[0]}). Refuse the release."
        raise AuditError(Problem(where, "malformed-evidence", message)) from None
    problems = _readings(case, {stage: own for stage, own in evidence.items() if stage.startswith(REVIEW_STAGE)})
    if recorded.study != study.digest:
        message = f"It is the decision of study {recorded.study}; the dataset was made under {study.digest}. Refuse the release."
        problems.append(Problem(where, "other-study", message))
    if derived != recorded:
        message = f"The evidence gives {_short(derived)}; recorded is {_short(recorded)}. Refuse the release."
        problems.append(Problem(where, "decision-does-not-follow", message))
    for attestation in case.attestations or []:
        said = (attestation.said.get("decision"), attestation.said.get("released"))
        if said != (derived.decision, derived.released):
            message = f"Signed is {said[0]} (released: {said[1]}); the evidence gives {_short(derived)}. Refuse the release."
            problems.append(Problem(attestation.bundle.where, "decision-does-not-follow", message))
    case.decision = recorded
    return f"{len(evidence)} stages of evidence, {len(derived.gates)} gates met, {_short(derived)}", problems


def _readings(case: Case, evidence: dict[str, Any]) -> list[Problem]:
    """Return where the numbers of a reader study do not follow from its readings, or where others than these answers were attested."""
    from sciimg.review.evidence import contradictions

    problems = []
    for stage, own in evidence.items():
        where = f"{DATASET}/evidence/{stage}.json"
        try:
            found = contradictions(own, need(case.study).review)
            problems += [Problem(where, "review-does-not-follow", f"{said}. Refuse the release.") for said in found]
        except (ValueError, AttributeError, TypeError, LookupError, ArithmeticError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            message = f"Readings say who said what about which image; these cannot be scored ({why}). Refuse the release."
            problems.append(Problem(where, "malformed-evidence", message))
    heads = heads_of(evidence.values())
    for attestation in case.attestations or []:
        if attestation.role == "review" and attestation.said.get("sessions", []) != heads:
            message = "The answers that were attested are not those of this dataset's readers. Refuse the release."
            problems.append(Problem(attestation.bundle.where, "other-answers", message))
    return problems


def _short(decision: Decision) -> str:
    outcomes = [g.outcome for g in decision.gates]
    counts = ", ".join(f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "inconclusive") if o in outcomes)
    return f"{decision.decision} ({counts})" if counts else decision.decision


def held(case: Case, result: Audit) -> Outcome:
    import pandas as pd

    decision, digests = need(case.decision), need(case.digests)
    images = {n.split("/")[1] for n in digests if n.startswith("images/")}
    if decision.decision != "accepted":
        message = f"A study that is {decision.decision} releases no images; {len(images)} are here. Refuse the release."
        return f"no images, because the study is {decision.decision}", [
            Problem(f"{DATASET}/images", "images-not-allowed", message)
        ] if images else []
    where = f"{DATASET}/catalogue.parquet"
    try:
        catalogue = pd.read_parquet(io.BytesIO(case.signed("catalogue.parquet")))
        listed = {Path(p).parts[1] for p in catalogue["path"]}
        marked = bool(catalogue["synthetic"].eq(True).all())
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        message = f"A catalogue is a parquet file with a row for each image; this cannot be read ({error}). Refuse the release."
        raise AuditError(Problem(where, "malformed-catalogue", message)) from None
    problems = []
    if listed != images or not images:
        odd = sorted(listed ^ images)[:3]
        message = f"The catalogue lists {len(listed)} images and {len(images)} are here; e.g. {odd} differ. Refuse the release."
        problems.append(Problem(where, "catalogue-differs", message))
    if not marked:
        message = "Every image of a release is marked synthetic; some are not. Refuse the release."
        problems.append(Problem(where, "not-marked-synthetic", message))
    return f"{len(images)} images, all catalogued and marked synthetic", problems


def reported(case: Case, result: Audit) -> Outcome:
    payload = need(case.bundle).payload_digest
    here = {name: digest_file(case.release / name) for name in REPORTS if (case.release / name).is_file()}
    attestations = need(case.attestations)
    named = {name for a in attestations if a.role == "decision" for name in a.bundle.subjects}
    problems = []
    for attestation in attestations:
        for name in set(attestation.bundle.subjects) & set(REPORTS):
            if name not in here and case.partial:
                result.unchecked += 1
                continue
            if name not in here:
                message = f"This report was signed ({attestation.bundle.where}) and is not here. Get the whole release."
                problems.append(Problem(name, "missing", message))
            elif here[name] != attestation.bundle.subjects[name]:
                message = f"It is not the report that was signed ({attestation.bundle.where}). Get the release again from its source."
                problems.append(Problem(name, "changed", message))
    for name in sorted(set(here) - named):
        message = "The signed decision does not name this report: anybody may have written it. Remove it, or render before signing."
        problems.append(Problem(name, "unsigned-report", message))
    for name, cited in (("report.html", _cited_in_page), ("report.pdf", _cited_in_keywords)):
        if name in here and cited(case.release / name) != {payload.removeprefix("sha256:")}:
            message = f"It does not cite the payload of this dataset ({payload}), or cites another. It belongs to another release."
            problems.append(Problem(name, "cites-another-digest", message))
    inside = count_signatures(read_plain(case.release / "report.pdf")) if "report.pdf" in here else 0
    more = f"; {inside} inside the PDF, for a PDF reader to check" if inside else ""
    return (", ".join(here) or "there is none") + more, problems


def _cited_in_page(page: Path) -> set[str]:
    """Return every digest that a page calls the payload, as a reader sees it: a long digest may be broken where the line ends."""
    seen = re.sub(r"<[^>]*>", " ", re.sub(r"<wbr\s*/?>", "", read_plain(page).decode(errors="replace")))
    return set(re.findall(r"payload\b.{0,40}?(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])", seen, re.IGNORECASE | re.DOTALL))


def _cited_in_keywords(pdf: Path) -> set[str]:
    """Return every digest that a PDF holds without compression: the payload that a report cites is one of its keywords."""
    return set(re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", read_plain(pdf).decode("latin-1")))
