"""The report of a cross-validation: every fold, what it comes to, and loudly whether the folds were apart."""

import json
import shutil

from report_run import STUDY

from sciimg.decision import collect, decide
from sciimg.files import write_json
from sciimg.protocol import parse_study
from sciimg.records import Check, Metric
from sciimg.report import html
from sciimg.report.build import plan_of_study, report_of_run
from sciimg.report.evidence import read_run
from sciimg.report.sections.folds import sections
from sciimg.validation.crossvalidation import pooled

FOLDED = STUDY.replace("validation:\n", "validation:\n  cross_validation: {folds: 3, recipes: [ldm]}\n").replace(
    "release:",
    "  - {name: noise-again, metric: noise-law_effect_folds, at_most: 1, why: It must hold for other data of this kind too.}\nrelease:",
)
VALUES = (0.5, 0.6, 0.9)


def folded_run(whole, folder, *, passed=True, named=()):
    """Return a copy of a made-up run whose study asks for folds, with invented evidence of them."""
    run = shutil.copytree(whole, folder / "run")
    (run / "study.yaml").write_text(FOLDED)
    found = [[Metric(name="noise-law_effect", value=v, higher_is_better=False, source="fixture")] for v in VALUES]
    for metrics, value in zip(found, (0.1, None, 0.3), strict=True):
        about = {"features": "scattering", "source": "fixture"}
        metrics.insert(
            0,
            Metric.undefined("kid_per_blur_scattering", "too few groups", **about)
            if value is None
            else Metric(name="kid_per_blur_scattering", value=value, **about),
        )
    check = Check(name="folds-in-holdout", expected=0, got=0 if passed else 2, tolerance=0, passed=passed, source="fixture")
    folds = [{"fold": i, "held_out": list(named), "train": 1, "calibration": 1, "holdout": 1} for i in (1, 2, 3)]
    metrics = pooled(found, 1.0, obstacle="" if passed else "the folds are not apart: folds-in-holdout")
    evidence = {"metrics": [m.as_json() for m in metrics], "checks": [check.as_json()], "folds": folds}
    write_json(run / "folds-ldm/evidence.json", evidence)
    stages = {name: json.loads((run / name / "evidence.json").read_text()) for name in ("validate-ldm", "validate-gan", "folds-ldm")}
    write_json(run / "decide/decision.json", decide(parse_study(FOLDED.encode(), "s").study, *collect(stages)).as_json())
    return run


def blocks(run, kind):
    (section,) = sections(read_run(run))
    return [block for block in section.blocks if block.kind == kind]


def test_every_fold_and_the_pool_stand_side_by_side(refused_run, tmp_path):
    run = folded_run(refused_run, tmp_path)
    folds, measured = blocks(run, "table")
    assert measured.rows[0][0] == "Noise law ↓"  # a gate reads it
    assert folds.rows[1] == ("2", "strip 2 of each image", "1", "1", "1")
    rows = {row[0]: row[1:] for row in measured.rows}
    each, mean, spread, own = rows["Noise law ↓"]
    assert each == "0.5 · 0.6 · 0.9"
    assert (mean, spread, own) == ("0.7 [−0.4, 1.7]", "0.208", "1.20 [1.00, 1.40]")
    told = rows["KID in units of a 1 px blur (scattering)"]
    assert told == ("0.1 · – · 0.3", "undefined: fold 2: too few groups", "–", "not measured")
    assert [b.tone for b in blocks(run, "notice")] == ["good"]


def test_the_report_shows_a_gate_over_folds_as_any_other_and_keeps_folds_apart(refused_run, tmp_path):
    report = report_of_run(folded_run(refused_run, tmp_path))
    lines = [line for s in report.sections for b in s.blocks if b.kind == "gates" for line in b.lines if line.gate == "noise-again"]
    assert {line.recipe: line.outcome for line in lines} == {"ldm": "inconclusive", "gan": "failed"}
    ours = next(line for line in lines if line.recipe == "ldm")
    assert ours.measures.endswith("over folds") and ours.ruler is not None
    measured = next(s for s in report.sections if s.name == "measured")
    assert "over folds" not in json.dumps(measured.as_json())
    page = html.render(report).decode()
    assert "Cross-validation" in page and "0.5 · 0.6 · 0.9" in page


def test_folds_that_cross_are_said_before_any_number(refused_run, tmp_path):
    run = folded_run(refused_run, tmp_path, passed=False)
    (notice,) = blocks(run, "notice")
    assert notice.tone == "bad" and "not apart" in notice.title
    assert all("undefined: the folds are not apart" in row[2] for row in blocks(run, "table")[-1].rows)


def test_many_groups_are_named_in_part(refused_run, tmp_path):
    folds = blocks(folded_run(refused_run, tmp_path, named=[f"s{i}" for i in range(9)]), "table")[0]
    assert folds.rows[0][1] == "s0, s1, s2, s3 and 5 more"
    assert folds.columns[2].title == "Blocks held out"


def test_folds_that_are_not_there_are_missing_by_name(refused_run, tmp_path):
    run = folded_run(refused_run, tmp_path)
    shutil.rmtree(run / "folds-ldm")
    assert [(b.what, b.why) for b in blocks(run, "missing")] == [("cross-validation of ldm", "folds-ldm/evidence.json is not in the run.")]


def test_a_study_without_folds_has_no_such_section(refused_run):
    assert sections(read_run(refused_run)) == []


def test_the_plan_says_what_is_planned():
    said = json.dumps(plan_of_study(parse_study(FOLDED.encode(), "s").study).as_json())
    assert "cross-validation of ldm in 3 folds, apart from the holdout" in said
