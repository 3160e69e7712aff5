"""What a reviewer is promised to find stands in the report, each thing where it is looked for: none of it may drop out unseen."""

import datetime
import json
import shutil
from dataclasses import replace

import pytest
import releases
from report_run import STUDY

from sciimg.protocol import parse_study
from sciimg.protocol.data import ClassCondition
from sciimg.protocol.models import Risk
from sciimg.provenance.attest import attest
from sciimg.provenance.keys import make_key
from sciimg.records import Check, Metric, Null
from sciimg.report.build import plan_of_study, report_of_evidence, report_of_run
from sciimg.report.evidence import read_run
from sciimg.report.html import render


@pytest.fixture(scope="module")
def evidence(refused_run):
    return read_run(refused_run)


def within(report, *names):
    """Return the text of a section, or of a part of one, as JSON."""
    found = next(s for s in report.sections if s.name == names[0])
    for name in names[1:]:
        found = next(part for part in found.parts if part.name == name)
    return json.dumps(found.as_json(), ensure_ascii=False)


def changed(evidence, **parts):
    return replace(evidence, study=evidence.study.model_copy(update=parts))


def with_metric(evidence, *metrics):
    first, *others = evidence.recipes
    return replace(evidence, recipes=(replace(first, metrics=(*first.metrics, *metrics)), *others))


def test_question_context_excluded_uses_risk_and_expiry(evidence):
    release = evidence.study.release.model_copy(update={"expires": datetime.date(2031, 5, 17)})
    risk = Risk(influence="high", consequence="low", because="A person looks at every result")
    told = changed(evidence, risk=risk, release=release)
    said = within(report_of_evidence(told), "question")
    for words in (
        "Does the report show everything that a made-up run holds?",
        "Tests of the report.",
        "Any conclusion about anything.",
        "Every number in this report was invented.",
        "high influence on decisions, low consequence",
        "A person looks at every result.",
        "2031-05-17",
        told.study.digest,
    ):
        assert words in said
    assert "Risk was not judged" in within(report_of_evidence(evidence), "question")


def test_what_was_registered_is_told_after_the_run_too(evidence):
    said = within(report_of_evidence(evidence), "registered")
    for words in (
        "strips of each image along x, 16 px apart",
        "64 samples a recipe",
        "32 real holdout and synthetic samples",
        "none was asked",
    ):
        assert words in said
    for gate in evidence.study.gates:
        assert gate.why in within(report_of_evidence(evidence), "gates")


def test_data_are_told_with_citation_licence_and_coverage(evidence):
    said = within(report_of_evidence(evidence), "done", "data")
    assert "Human Protein Atlas image as shipped in scikit-image" in said and "CC0-1.0" in said
    site = ClassCondition(kind="class", name="site", column="site")
    images = tuple({"id": f"i{n}", "site": "north" if n < 3 else "south"} for n in range(4))
    regions = tuple(
        {"image": f"i{n}", "part": part, "group": f"g{n // 2}", "start": "[0, 0]", "stop": "[64, 64]", "cell": None}
        for n, part in enumerate(("train", "train", "holdout", "holdout"))
    )
    told = replace(changed(evidence, conditions=(site,)), images=images, regions=regions, collection=None)
    split = next(p for s in report_of_evidence(told).sections if s.name == "done" for p in s.parts if p.name == "split")
    (table,) = [b for b in split.blocks if b.kind == "table" and b.caption == "Images (groups) of each site"]
    assert [c.title for c in table.columns] == ["Site", "train", "calibration", "holdout"]
    assert table.rows == (("north", "2 (1)", "0 (0)", "1 (1)"), ("south", "0 (0)", "0 (0)", "1 (1)"))


def test_a_failed_test_of_the_machinery_is_shown_first(evidence):
    wrong = Check(name="posterior-variance", expected=0.25, got=0.5, tolerance=1e-6, passed=False, source="closed form")
    said = within(report_of_evidence(replace(evidence, checks=(*evidence.checks, wrong))), "machinery")
    assert "1 test failed" in said and "posterior-variance" in said and "0.25" in said
    assert "failed" not in within(report_of_evidence(evidence), "machinery").replace("none failed", "")


def test_numbers_on_copies_and_privacy_are_told(evidence):
    auc = Metric(name="membership-auc-scattering", value=0.531, ci95=(0.487, 0.575), null=Null(value=0.5, ci95=(0.45, 0.55)), n=16)
    said = within(report_of_evidence(with_metric(evidence, auc)), "measured")
    assert "Membership inference (AUC), features: scattering" in said and "0.531 [0.487, 0.575]" in said
    assert "1.02 [0.90, 1.10]" in said  # memorisation of the fixture


def test_what_a_watermark_costs_is_told(evidence):
    cost = Metric(name="watermark-psnr", value=66.2, ci95=(65.9, 66.5), n=32)
    assert "66.20 [65.90, 66.50]" in json.dumps(report_of_evidence(with_metric(evidence, cost)).as_json(), ensure_ascii=False)


def test_what_failed_and_how_the_judges_were_tried_is_told(evidence):
    planted = Metric(name="ghosting_effect", value=0.4, ci95=(0.2, 0.6), detail={"controls": {"ghost": 4.0, "faint ghost": 0.7}})
    costs = {"train-ldm": {"attempts": 3, "cpu_s": 5.0}, "verify": {"attempts": 1, "cpu_s": 1.0}}
    said = within(report_of_evidence(replace(with_metric(evidence, planted), costs=costs)), "limits", "failures")
    failed = [g.gate for g in evidence.decision.gates if g.outcome == "failed" and g.recipe == "ldm"]
    assert failed and all(gate in said for gate in failed)
    assert "of 4 physics checks" in said and "missed some of their own" in said
    assert "Stages that took more than one attempt: train-ldm" in said
    assert "more than one attempt" not in within(report_of_evidence(replace(evidence, costs=None)), "limits", "failures")


def test_environment_and_bill_of_materials_stand_in_the_appendix(evidence):
    said = within(report_of_evidence(replace(evidence, environments={"verify": {"python": "3.11.9", "torch": "2.13.0"}})), "appendix")
    assert "python 3.11.9 and torch 2.13.0" in said and "sbom.cdx.json" in said


def test_signers_stand_beside_the_verdict(refused_run, tmp_path):
    run = shutil.copytree(refused_run, tmp_path / "run")
    key = make_key("Ada Example", tmp_path / "keys")
    (run / "release").mkdir()
    shutil.move(releases.release(tmp_path / "made", key, "refused"), run / "release/release")
    attest(run / "release/release", key, "review", "I have looked at every image.", time=releases.TIME)
    said = dict(report_of_run(run).verdict.summary)["Signed by"]
    assert said.startswith("Ada Example (decision, 2026-06-01): This decision follows")
    assert said.endswith("; Ada Example (review, 2026-06-01): I have looked at every image.")
    for path in (run / "release/release/attestations").iterdir():
        path.unlink()
    said = dict(report_of_run(run, signer="Ada Example").verdict.summary)["Signed by"]  # as a report is that is signed with the rest
    assert said == f"Ada Example, key {key.id[:8]}; who attests it since stands in attestations/"


def test_a_plan_can_be_signed_on_paper_and_names_its_digest():
    study = parse_study(STUDY.encode(), "s").study
    approval = next(s for s in plan_of_study(study).sections if s.name == "approval")
    (table,) = approval.blocks
    assert [c.title for c in table.columns] == ["Name", "Role", "Date", "Signature"] and len(table.rows) == 3
    assert study.digest in approval.lead


def test_a_crosswalk_is_by_analogy_and_never_compliance(refused):
    page = render(refused).decode().lower()
    assert "by analogy" in page and "compliant" not in page.replace("not compliant", "")


def test_a_report_of_a_run_is_small_enough_to_send(refused_run):
    assert len(render(report_of_run(refused_run))) < 5e6
