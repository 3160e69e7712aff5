"""The report says what the run holds: the verdict first, failures loudest, and whatever is missing by name."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from report_run import STUDY, densities, make_run

from sciimg.errors import InputError
from sciimg.files import write_json
from sciimg.protocol import parse_study
from sciimg.records import Check, Metric, Rehearsal
from sciimg.report.build import plan_of_study, report_of_evidence, report_of_run
from sciimg.report.evidence import Evidence, RecipeEvidence, read_run
from sciimg.report.sections.curves import _ratio_panel
from sciimg.report.sections.done import group_numbers
from sciimg.report.sections.judged import effect_notice
from sciimg.report.sections.training import losses
from sciimg.review.statistics import binomial_interval


def blocks(section):
    yield from section.blocks
    for part in section.parts:
        yield from blocks(part)


def section(report, name):
    return next(s for s in report.sections if s.name == name)


def every(report, kind):
    return [b for s in report.sections for b in blocks(s) if b.kind == kind]


def all_text(report):
    return json.dumps(report.as_json(), ensure_ascii=False)


# ---------------------------------------------------------------- verdict and gates


def test_a_refused_run_says_so_first_and_why(refused):
    assert (refused.verdict.word, refused.verdict.tone) == ("Refused", "bad")
    assert "2 gate results failed" in refused.verdict.sentence
    assert any("power-spectrum_effect" in reason for reason in refused.verdict.reasons)


def test_an_accepted_run_names_what_is_released(accepted):
    assert (accepted.verdict.word, accepted.verdict.tone) == ("Accepted", "good")
    assert "recipe ldm" in accepted.verdict.sentence


def test_every_gate_has_its_outcome_rule_estimate_null_and_reason(refused, refused_run):
    decision = json.loads((refused_run / "decide/decision.json").read_text())
    lines = [line for gates in every(refused, "gates") for line in gates.lines]
    assert len(lines) == len(decision["gates"])
    for line in lines:
        assert line.outcome in ("passed", "failed", "inconclusive")
        assert line.rule and line.reason and line.why and line.estimate and line.null
    spectrum = next(line for line in lines if line.gate == "spectrum" and line.recipe == "ldm")
    assert (spectrum.outcome, spectrum.rule) == ("failed", "95 % interval ≤ 1")
    assert (spectrum.estimate, spectrum.null) == ("1.50 [1.10, 1.90]", "0.60 [0.30, 1.00]")
    assert spectrum.ruler is not None and "estimate 1.50 [1.10, 1.90]" in spectrum.ruler.alt


def test_failed_gates_come_before_passed_ones(refused):
    for gates in every(refused, "gates"):
        order = [["failed", "inconclusive", "passed"].index(line.outcome) for line in gates.lines]
        assert order == sorted(order)


def rehearsed(folder, run, **changes):
    """Return the blocks under Gates of a copy of a run to which a rehearsal was added."""
    shutil.copytree(run, folder / "run")
    noise = {"gate": "noise", "recipe": None, "metric": "noise-law_effect", "rule": "95 % interval of noise-law_effect <= 1"}
    failed = {"outcome": "failed", "value": 1.8, "ci95": (1.4, 2.2), "concern": "failed"}
    failed["reason"] = "noise-law_effect is 1.8 [1.4, 2.2]; required is at most 1"
    passed = {"outcome": "passed", "value": 0.5, "ci95": (0.2, 0.8), "concern": ""}
    passed["reason"] = "intensity-law_effect is 0.5 [0.2, 0.8]; at most 1 as required"
    gates = (noise | failed, noise | passed | {"gate": "intensity", "metric": "intensity-law_effect"})
    about = {"study": "sha256:0", "images": "the real calibration part", "patches": 64, "groups": 8, "gates": gates}
    rehearsal = Rehearsal.model_validate(about | changes)
    write_json(folder / "run/baseline/rehearsal.json", rehearsal.as_json())
    return section(report_of_run(folder / "run"), "gates").blocks


def test_what_real_images_got_stands_below_the_gates(refused_run, tmp_path):
    *_, said, table = rehearsed(tmp_path, refused_run)
    assert (said.kind, table.kind) == ("prose", "table")
    for words in ("calibration part (64 patches in 8 groups)", "only so many groups", "slightly favourable", "Nothing was decided"):
        assert words in said.text
    assert table.rows == (
        ("failed", "noise", "95 % interval ≤ 1", "1.80 [1.40, 2.20]", "Required is at most 1."),
        ("passed", "intensity", "95 % interval ≤ 1", "0.50 [0.20, 0.80]", "–"),
    )
    assert table.marks == ("failed", "passed")


def test_a_rehearsal_without_images_says_why(refused_run, tmp_path):
    blocks = rehearsed(tmp_path, refused_run, missing="the calibration part has 1 group; 2 or more are needed", gates=())
    assert blocks[-1].kind == "prose" and "the calibration part has 1 group" in blocks[-1].text


def test_a_run_from_before_rehearsals_is_reported_as_it_was(refused, refused_run):
    assert not (refused_run / "baseline/rehearsal.json").exists()
    assert {b.kind for b in section(refused, "gates").blocks} == {"gates"}
    assert "rehears" not in all_text(refused)


def test_a_rehearsal_that_cannot_be_read_is_named(refused_run, tmp_path):
    shutil.copytree(refused_run, tmp_path / "run")
    write_json(tmp_path / "run/baseline/rehearsal.json", {"patches": "many"})
    evidence = read_run(tmp_path / "run")
    assert evidence.rehearsal is None and "rehearsal on real images" in [a.what for a in evidence.absent]


# ---------------------------------------------------------------- what was asked and done


def test_uses_limits_and_bars_stand_before_any_result(refused):
    names = [s.name for s in refused.sections]
    assert names.index("question") < names.index("gates")
    notices = {b.title: b.text for b in section(refused, "question").blocks if b.kind == "notice"}
    assert "Any conclusion about anything." in notices["Not to be used for"]
    assert "Every number in this report was invented." in notices["Limits stated before any result"]


def test_quarantined_inputs_are_listed_with_their_fault(refused):
    table = next(b for b in every(refused, "table") if b.caption == "Quarantined inputs")
    assert table.rows == (("cut.png", "truncated", "The file ends before its image does. Copy it again."),)


def test_groups_are_counted_as_the_split_counts_them(refused_run):
    assert group_numbers(read_run(refused_run)) == {"train": 8 * 4, "calibration": 8 * 1, "holdout": 8 * 2}


def test_losses_run_over_the_steps_that_were_taken():
    curves = {"space": {"model.loss": [3, 2, 1], "model.gradient": [9, 9, 9], "held-out": [4, 2], "held-out.step": [15, 30]}}
    curves["gan"] = {"generator.loss": [1, 2], "discriminator.loss": [2, 1]}
    found = losses(curves, {"space": 30})
    assert list(found) == ["space", "gan, generator", "gan, discriminator"]
    assert found["space"][0].x.tolist() == [5, 15, 25]
    assert (found["space"][1].x.tolist(), found["space"][1].held_out) == ([15, 30], True)


def test_the_map_of_the_split_shows_the_image(refused):
    plate = next(b for b in every(refused, "plate") if b.title == "Map of the split")
    height, width = (side // 2 for side in densities().shape[1:])
    assert (plate.rows[0].picture.width, plate.rows[0].picture.height) == (width, height)


# ---------------------------------------------------------------- pictures


def test_real_and_synthetic_stand_together_for_each_recipe(refused):
    plate = next(b for b in every(refused, "plate") if b.title == "Real and synthetic")
    assert [row.label for row in plate.rows] == ["Real", "Synthetic: ldm", "Synthetic: gan"]
    assert len({(row.picture.width, row.picture.height) for row in plate.rows}) == 1


def test_every_kind_of_evidence_has_its_picture(refused):
    titles = [b.title for b in every(refused, "plate")] + [b.title for b in every(refused, "plot")]
    for title in (
        "Made for the conditions of a real image", "Masks asked for and masks found", "Worst cases", "Through the autoencoder and back",
        "Nearest neighbours: ldm", "Nearest neighbours: gan", "Training", "Intensity law", "Noise law", "Power spectrum",
    ):  # fmt: skip
        assert title in titles
    assert every(refused, "missing") == []


def test_equal_real_images_give_equal_pictures_in_both_recipes(refused):
    plates = [b for b in every(refused, "plate") if b.title == "Made for the conditions of a real image"]
    assert plates[0].rows[0].picture.data == plates[1].rows[0].picture.data
    assert plates[0].rows[1].picture.data != plates[1].rows[1].picture.data


# ---------------------------------------------------------------- harm, and what cannot be concluded


@pytest.mark.parametrize(
    ("ci", "tone", "word"), [((-0.05, -0.03), "bad", "harm"), ((0.01, 0.05), "good", "gain"), ((-0.01, 0.01), "open", "no difference")]
)
def test_harm_is_said_as_loudly_as_gain(ci, tone, word):
    notice = effect_notice("gan", Metric(name="downstream_gain_over_real", value=sum(ci) / 2, ci95=ci))
    assert notice.tone == tone
    assert word in notice.title


def test_harm_of_the_fixture_is_in_the_report(refused):
    assert any(b.tone == "bad" and b.title == "gan: harm" for b in blocks(section(refused, "use")) if b.kind == "notice")


def test_students_that_a_study_asked_for_have_a_curve_and_their_harm_is_said():
    study = parse_study(
        STUDY.replace("annotated_images: 8}", "annotated_images: 8, synthetic_only: true, ratios: [4, 1]}").encode(), "s.yaml"
    ).study

    def gain(arm, value):
        return Metric(name=f"downstream_gain_{arm}_over_real", value=value, ci95=(value - 0.01, value + 0.01), higher_is_better=True)

    found = (gain("synthetic-only", -0.3), gain("ratio-1", 0.02), gain("ratio-4", -0.05))
    recipe = RecipeEvidence(plan=study.recipes[0], metrics=found)
    use = section(report_of_evidence(Evidence(study=study, recipes=(recipe,))), "use")
    notices = {(b.title, b.tone) for b in blocks(use) if b.kind == "notice"}
    assert {("ldm: harm", "bad"), ("ldm: gain", "good")} <= notices
    assert sum(b.kind == "notice" and b.tone == "bad" for b in blocks(use)) == 2
    (plot,) = [b for b in blocks(use) if b.kind == "plot"]
    assert plot.key[0] == ("ink", "real annotated images alone") and "gain over real" in plot.panels[0].data
    (panel,) = [_ratio_panel(Evidence(study=study, recipes=(recipe,)), (1, 4), "", "Dice")]
    assert panel.curves[1].x.tolist() == [0, 1, 4] and panel.curves[1].y.tolist() == [0, 0.02, -0.05]
    assert panel.curves[1].band[0].tolist() == pytest.approx([0, 0.01, -0.06])


def test_one_image_is_said_to_be_one(refused):
    notice = next(b for b in blocks(section(refused, "conclusions")) if b.kind == "notice")
    assert "n is 1" in notice.title
    points = next(b for b in blocks(section(refused, "conclusions")) if b.kind == "bullets").items
    assert any("another slide, patient or microscope" in p for p in points)
    assert any(f"{binomial_interval(0, 16, 0.9)[1]:.0%}" in p for p in points)
    assert binomial_interval(0, 16, 0.9)[1] == pytest.approx(1 - 0.05 ** (1 / 16))  # closed form of the one-sided bound


def test_what_is_undefined_is_listed_with_its_reason(refused):
    assert "no independent segmenter was trained" in json.dumps(section(refused, "limits").as_json())


# ---------------------------------------------------------------- missing and broken evidence


@pytest.fixture
def copy(refused_run, tmp_path):
    return shutil.copytree(refused_run, tmp_path / "run")


def test_an_unfinished_run_is_reported_as_undecided(copy):
    for name in ("decide", "validate-gan", "verify", "ingest"):
        shutil.rmtree(copy / name)
    report = report_of_run(copy)
    assert report.verdict.word == "Undecided"
    missing = {b.what for b in every(report, "missing")}
    assert {"the real images", "synthetic images of gan", "nearest training images (gan)", "closed-form tests"} <= missing
    assert all(line.outcome == "open" for gates in every(report, "gates") for line in gates.lines)
    assert "Measurements of gan" in json.dumps(section(report, "limits").as_json())


def test_broken_files_are_named_and_do_not_stop_the_report(copy):
    (copy / "validate-ldm/gallery.npz").write_bytes(b"PK\x03\x04 not a zip")
    (copy / "validate-ldm/evidence.json").write_text("{")
    (copy / "train-gan/model/curves.json").write_text("[1, 2]")
    limits = json.dumps(section(report_of_run(copy), "limits").as_json())
    assert "Pictures of ldm: It cannot be read" in limits
    assert "Measurements of ldm: It cannot be read" in limits


def test_a_study_with_nothing_run_still_has_a_report():
    report = report_of_evidence(Evidence(study=parse_study(STUDY.encode(), "s.yaml").study))
    assert report.verdict.word == "Undecided"
    assert len(every(report, "missing")) >= 5


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="A run folder holds"):
        report_of_run(tmp_path)


# ---------------------------------------------------------------- plan


def test_the_plan_shows_every_bar_and_no_result():
    report = plan_of_study(parse_study(STUDY.encode(), "s.yaml").study)
    assert report.kind == "plan"
    table = next(b for b in every(report, "table") if b.caption == "Gates")
    assert [row[0] for row in table.rows] == ["verified", "noise", "spectrum", "intensity"]
    assert all(len(row[3]) > 10 for row in table.rows)
    assert every(report, "plate") == every(report, "gates") == []


def test_report_holds_no_clock_and_no_path_of_this_machine(refused_run, refused):
    text = all_text(refused)
    assert str(refused_run) not in text
    assert "timings" not in text


def test_volumes_are_shown(tmp_path):
    run = make_run(tmp_path / "run", volumes=True)
    report = report_of_run(run)
    assert "three planes" in all_text(report)
    plate = next(b for b in every(report, "plate") if b.title == "Real and synthetic")
    assert plate.rows[0].picture.height == 3 * 16 + 4
    assert np.isfinite(plate.rows[0].picture.width)


# ---------------------------------------------------------------- groups of measurements


def test_every_group_begins_with_its_verdict_and_the_overview_counts_it(refused, refused_run):
    decision = json.loads((refused_run / "decide/decision.json").read_text())
    measured = section(refused, "measured")
    (overview,) = [b for b in measured.blocks if b.kind == "table"]
    worst = {row[1]: mark for row, mark in zip(overview.rows, overview.marks, strict=True)}
    spectra = [g["outcome"] for g in decision["gates"] if g["metric"] == "power-spectrum_effect"]
    assert "failed" in spectra and worst["Physics and morphology"] == "failed"
    for part in measured.parts:
        assert part.name == "measured-controls" or part.blocks[0].kind == "notice"
    physics = next(p for p in measured.parts if p.name == "measured-physics").blocks[0]
    assert physics.tone == "bad" and "spectrum (ldm)" in physics.title
    unread = [row for row in overview.rows if row[0] == "no gate"]
    assert all(set(row[2:-2]) == {"–"} for row in unread)
    counted = sum(int(n) for row in overview.rows for n in row[-2:] if n != "–")
    assert counted == sum(len(json.loads(p.read_text())["metrics"]) for p in refused_run.glob("validate-*/evidence.json"))


def test_subgroups_are_a_group_of_their_own(refused_evidence):
    worst = Metric(name="kid_effect_texture_worst-site", value=2.0, ci95=(1.0, 3.0), features="texture", higher_is_better=False)
    recipes = tuple(replace(r, metrics=(*r.metrics, worst)) for r in refused_evidence.recipes)
    report = report_of_evidence(replace(refused_evidence, recipes=recipes))
    part = next(p for p in section(report, "measured").parts if p.name == "measured-subgroups")
    assert part.blocks[0].title == "No gate"
    assert "KID, effect (texture), in the worst subgroup of site" in json.dumps([b.as_json() for b in part.blocks])


def test_what_no_recipe_has_is_said_once_for_each_reason(refused_evidence):
    few = [Metric.undefined(f"fd_infinity_{s}", "32 samples are needed", features=s) for s in ("texture", "encoder")]
    recipes = tuple(replace(r, metrics=(*r.metrics, *few)) for r in refused_evidence.recipes)
    appendix = section(report_of_evidence(replace(refused_evidence, recipes=recipes)), "appendix")
    (table,) = [b for b in appendix.blocks if b.kind == "table" and b.caption.startswith("Undefined for every recipe: Likeness")]
    assert table.rows == (("FD, followed to infinite n (texture) and FD, followed to infinite n (encoder)", "32 samples are needed"),)


def test_short_trainings_stand_apart_from_closed_forms(refused_evidence):
    band = Check(name="benchmark-flow-kid", expected=1, got=2, tolerance=3, passed=True, source="eight seeds")
    appendix = section(report_of_evidence(replace(refused_evidence, checks=(*refused_evidence.checks, band))), "appendix")
    tables = {b.caption: b for b in appendix.blocks if b.kind == "table"}
    assert [row[1] for row in tables["Short trainings held against recorded bands"].rows] == ["benchmark-flow-kid"]
    assert all("benchmark" not in row[1] for row in tables["Tests against closed forms"].rows)


@pytest.fixture(scope="module")
def refused_evidence(refused_run) -> Evidence:
    return read_run(refused_run)
