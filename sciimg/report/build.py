"""From a run, or from a study alone, to the report as data."""

from dataclasses import replace
from pathlib import Path

from sciimg.protocol import Study
from sciimg.report.evidence import Evidence, Release, read_run
from sciimg.report.model import ReportModel, Section, Tone, Verdict
from sciimg.report.sections import asked, closing, crosswalk, done, expert, folds, judged, pictures
from sciimg.report.words import count, listed, sentence, text

REASONS = 8  # reasons of the decision that stand beside the verdict; the rest is in the section on gates


def report_of_run(run: Path, release: Path | None = None, *, costs: bool = True, signer: str = "") -> ReportModel:
    """Return the audit report of a run folder, finished or not.

    Parameters
    ----------
    run : Path
        ``runs/<study>-<digest8>``.
    release : Path, optional
        Release folder whose signature is cited; default: the run's own.
    costs : bool
        Whether the appendix says what the run cost. A report that is released does not: equal runs give equal bytes.
    signer : str
        Whose key has just signed the dataset, while nobody has attested it yet.
    """
    evidence = read_run(run, release, costs=costs)
    if evidence.release is not None:
        evidence = replace(evidence, release=replace(evidence.release, signer=signer))
    return report_of_evidence(evidence)


def report_of_evidence(evidence: Evidence) -> ReportModel:
    """Return the audit report of evidence, wherever it came from."""
    study, show = evidence.study, pictures.show_of(evidence)
    measured = judged.measurements(
        evidence,
        {
            "controls": lambda: judged.feature_spaces(evidence),
            "physics": lambda: judged.physics(evidence),
            "copies": lambda: [pictures.neighbours(recipe, show) for recipe in evidence.recipes],
        },
    )
    sections: tuple[Section, ...] = (
        asked.question(study),
        asked.registered(study),
        done.section(evidence, show),
        pictures.section(evidence, show),
        judged.gates(evidence),
        Section(name="measured", title="What was measured", blocks=judged.overview(evidence), parts=tuple(measured)),
        judged.use(evidence),
        *folds.sections(evidence),
        closing.machinery(evidence),
        expert.review(evidence),
        closing.conclusions(evidence),
        closing.limits(evidence),
        closing.checking(evidence),
        closing.appendix(evidence),
    )
    sections = (*sections, crosswalk.section(_titles(sections)))
    return ReportModel(
        kind="report",
        title=study.title,
        subtitle=sentence(study.question),
        study=study.name,
        digest=study.digest,
        date=study.registered,
        verdict=verdict(evidence),
        sections=sections,
        colophon=text("colophon"),
    )


def _titles(sections: tuple[Section, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for own in sections:
        found |= {own.name: own.title} | _titles(own.parts)
    return found


def plan_of_study(study: Study) -> ReportModel:
    """Return the study itself as the document that is registered before any run."""
    release, recipes, gates = study.release, listed(r.name for r in study.recipes), count(len(study.gates), "gate")
    return ReportModel(
        kind="plan",
        title=study.title,
        subtitle=sentence(study.question),
        study=study.name,
        digest=study.digest,
        date=study.registered,
        verdict=Verdict(
            word="Registered, not run",
            tone="note",
            sentence=f"This plan fixes the data, the split, {recipes} and {gates} before any result exists.",
            reasons=(),
            summary=(("Dataset", f"{release.dataset_id} {release.version}"), ("Licence", release.licence), ("Creator", release.creator)),
        ),
        sections=(asked.question(study), asked.method(study), asked.bars(study), asked.approval(study)),
        colophon=text("plan-colophon"),
    )


def verdict(evidence: Evidence) -> Verdict:
    """Return the verdict in one sentence, with the reasons that the decision gave."""
    study, decision = evidence.study, evidence.decision
    release = study.release
    summary = [("Dataset", f"{release.dataset_id} {release.version}"), ("Licence", release.licence), ("Creator", release.creator)]
    if decision is None:
        said = "This run has not come to a decision: what follows is what is known so far, and nothing may be released."
        return Verdict(word="Undecided", tone="open", sentence=said, reasons=(), summary=tuple(summary))
    failed, unclear = (sum(r.outcome == o for r in decision.gates) for o in ("failed", "inconclusive"))
    gates = f"every gate of the study ({len(study.gates)})"
    summary += [("Gate results", judged.tally(evidence)), *_holdout(evidence)]
    if evidence.release:
        summary += [("Signed payload, SHA-256", evidence.release.payload_digest), ("Signed by", _signers(evidence.release))]
    tone: Tone
    match decision.decision:
        case "accepted":
            tone = "good"
            said = f"Samples of recipe {decision.released} met {gates}. They may be used for what the study names, and for nothing else."
        case "refused":
            tone = "bad"
            said = f"No recipe met {gates}: {count(failed, 'gate result')} failed. No image is released."
        case "inconclusive":
            tone = "open"
            open_ = f"{count(unclear, 'gate result')} {'is' if unclear == 1 else 'are'} inconclusive"
            said = f"The evidence does not decide: {open_}. No image is released."
    reasons = list(decision.reasons[:REASONS])
    if more := len(decision.reasons) - len(reasons):
        reasons.append(f"… and {more} more, under Gates.")
    return Verdict(word=decision.decision.capitalize(), tone=tone, sentence=said, reasons=tuple(reasons), summary=tuple(summary))


def _signers(release: Release) -> str:
    """Return who has signed, for what and when. A released report is older than the signatures that vouch for it."""
    if release.signers:
        return "; ".join(release.signers)
    return f"{release.signer or 'its holder'}, key {release.signing_key[:8]}; who attests it since stands in attestations/"


def _holdout(evidence: Evidence) -> list[tuple[str, str]]:
    """Return what the verdict rests on, so that it is never read without."""
    if not evidence.regions:
        return []
    images = count(len(evidence.images), "image")
    return [("Holdout", f"{count(done.group_numbers(evidence)['holdout'], evidence.study.split.unit)} of {images}")]


def write_report(report: ReportModel, out: Path) -> list[Path]:
    """Write ``report.html`` and ``report.pdf`` (of a plan, ``plan.*``; of several runs, ``runs.*``) into a folder; return their paths."""
    from sciimg.files import write_bytes
    from sciimg.report import html, pdf

    stem = report.kind
    paths = [out / f"{stem}.html", out / f"{stem}.pdf"]
    write_bytes(paths[0], html.render(report))
    write_bytes(paths[1], pdf.render(report))
    return paths
