"""Each rule of a study has one broken study; the message names file, line and key path and says what to do."""

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sciimg.errors import Problem, StudyError
from sciimg.protocol import Study, built_in_studies, load_study, parse_study
from sciimg.protocol.data import Detector, Optics
from sciimg.protocol.models import Risk, Watermark
from sciimg.protocol.validation import Criterion, CrossValidation, VerificationPlan, WeightsFile
from sciimg.records import digest_of

ROOT = Path(__file__).parents[2]
TISSUE = (ROOT / "protocols/tissue-demo.yaml").read_text()
STUDIES = sorted((ROOT / "protocols").glob("*.yaml"))


def problems(text: str | bytes) -> list[Problem]:
    with pytest.raises(StudyError) as caught:
        parse_study(text if isinstance(text, bytes) else text.encode(), "s.yaml")
    return list(caught.value.problems)


def edited(old: str, new: str, text: str = TISSUE) -> str:
    assert old in text, old
    return text.replace(old, new, 1)


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_the_ready_studies_load(path: Path) -> None:
    loaded = load_study(path, judging=True)
    assert loaded.study.name == path.stem and loaded.only_judges == (path.stem == "judge-a-folder")
    assert loaded.folder == path.parent
    assert loaded.text == path.read_text()


def test_formatting_and_comments_do_not_change_the_digest() -> None:
    plain = yaml.safe_dump(yaml.safe_load(TISSUE), sort_keys=False)
    assert parse_study(plain.encode(), "s").study.digest == parse_study(TISSUE.encode(), "s").study.digest
    changed = edited("at_most: 0", "at_most: 1")
    assert parse_study(changed.encode(), "s").study.digest != parse_study(TISSUE.encode(), "s").study.digest


# one line each: what is edited, the kind of the problem, its key path, a part of the message
BROKEN: list[tuple[str, str, str, str, str]] = [
    ("sciimg: 1", "sciimg: 2", "unknown-value", "sciimg", "Expected 1"),
    ("name: tissue-demo", "name: Tissue Demo", "bad-value", "name", "a-z, 0-9"),
    ("registered: 2026-11-21", "registered: 2026-13-21", "bad-value", "registered", "YYYY-MM-DD"),
    ("question: >", "questoin: >", "unknown-key", "questoin", "Did you mean 'question'?"),
    (
        "    licence: No known copyright restrictions\n    citation",
        "    license: CC0-1.0\n    citation",
        "unknown-key",
        "sources[0].license",
        "'licence'",
    ),
    (
        "    licence: No known copyright restrictions\n    citation",
        "    licence: ' '\n    citation",
        "blank",
        "sources[0].licence",
        "Fill it in",
    ),
    ("modality: brightfield", "modality: brightfeld", "unknown-value", "sources[0].modality", "Did you mean 'brightfield'?"),
    ("modality: brightfield", "modality: mri", "wrong-modality", "sources[0].prepare[0]", "brightfield"),
    ("spacing: [1, 1]", "spacing: [1, 1, 1]", "spacing-length", "sources[0].spacing", "y, x"),
    ("spacing: [1, 1]", "spacing: [0, 1]", "bad-value", "sources[0].spacing[0]", "> 0"),
    ("spacing: [1, 1]", "spacing: 1", "bad-value", "sources[0].spacing", "Write a list"),
    ("    unit: pixel\n", "", "spacing-without-unit", "sources[0].spacing", "unit is missing"),
    ("kind: stain-separation", "kind: stain-separaton", "unknown-value", "sources[0].prepare[0]", "Did you mean 'stain-separation'?"),
    ("stains: [haematoxylin, dab]", "stains: [haematoxylin, haematoxylin]", "duplicate-name", "sources[0].prepare[0].stains", "once"),
    ("kind: segment-nuclei\n", "sort: segment-nuclei\n", "missing-key", "sources[0].labels", "'kind' is required"),
    ("      channel: haematoxylin", "      channel: haematoxilin", "unknown-channel", "sources[0].labels.channel", "'haematoxylin'?"),
    ("measure: channel-mean, channel: dab", "measure: channel-mean", "missing-key", "conditions[1]", "'channel'"),
    ("channel: dab}", "channel: dab, column: c}", "unused-key", "conditions[1].column", "Remove"),
    ("measure: channel-mean, channel: dab", "measure: column, column: c", "needs-table", "conditions[1].column", "'ihc'"),
    ("{kind: mask, name: mask}", "{kind: class, name: k, column: c}", "needs-table", "conditions[0].column", "Add `table:`"),
    ("{kind: mask, name: mask}", "{kind: text, template: dark}", "no-field", "conditions[0].template", "name what differs in braces"),
    ("{kind: mask, name: mask}", "{kind: text, template: '{dark'}", "bad-template", "conditions[0].template", "Close the braces"),
    ("{kind: mask, name: mask}", "{kind: text, template: '{a:.2f}'}", "bad-template", "conditions[0].template", "and no more"),
    ("{kind: mask, name: mask}", "{kind: text, template: '{caption}'}", "unknown-field", "conditions[0].template", "of kind text"),
    ("{kind: mask, name: mask}", "{kind: text, template: '{dab-leve}'}", "needs-table", "conditions[0].template", "'dab-level'?"),
    ("{kind: scalar, name: dab-level", "{kind: scalar, name: mask", "duplicate-name", "conditions[1].name", "unique"),
    ("{kind: mask, name: mask}", "{kind: image, channels: [eosin]}", "unknown-channel", "conditions[0].channels", "haematoxylin, dab"),
    ("{kind: mask, name: mask}", "{kind: image, channels: [dab, haematoxylin]}", "nothing-to-make", "conditions[0].channels", "Leave out"),
    ("{kind: mask, name: mask}", "{kind: image, channels: [dab, dab]}", "duplicate-name", "conditions[0].channels", "named once"),
    (
        "{kind: mask, name: mask}",
        "{kind: image, channels: [dab]}\n  - {kind: image, name: more, channels: [dab]}",
        "two-images",
        "conditions[1]",
        "List them there",
    ),
    ("by: blocks", "by: block", "unknown-value", "split", "Did you mean 'blocks'?"),
    ("axis: x", "axis: z", "no-such-axis", "split.axis", "y or x"),
    ("axis: x", "axis: x\n  axis: y", "duplicate-key", "split.axis", "Remove one"),
    ("holdout: 0.28", "holdout: 0.9", "no-training-part", "split.holdout", "below 1"),
    ("guard_px: 16", 'guard_px: "16"', "bad-value", "split.guard_px", "without quotes"),
    ("cell: [64, 64]", "cell: [64]", "cell-length", "split.cell", "2 sizes"),
    ("cell: [64, 64]", "cell: [64, 0]", "bad-value", "split.cell[1]", "at least 1"),
    ("shape: [64, 64]", "shape: [64, 0]", "bad-value", "patches.shape[1]", "at least 1"),
    ("shape: [64, 64]", "shape: [64]", "bad-value", "patches.shape", "at least 2"),
    ("shape: [64, 64]", "shape: [64.5, 64]", "bad-value", "patches.shape[0]", "integer"),
    ("recipe: gan, options: {}", "recipe: gan, options: {a: .nan}", "not-finite", "recipes[1].options.a", "finite"),
    ("name: gan", "name: ldm", "duplicate-name", "recipes[1].name", "recipes[0]"),
    ("count: 256", "count: true", "bad-value", "generate.count", "integer"),
    ("count: 256", "count: 100", "too-few-samples", "generate.count", "128"),
    ("count: 256", "count: 256\n  guidance: yes", "bad-value", "generate.guidance", "number"),
    ("intensity-law,", "intensty-law,", "unknown-check", "validation.physics[0]", "'intensity-law'?"),
    ("intensity-law,", "snr,", "wrong-modality", "validation.physics[0]", "brightfield"),
    ("intensity-law,", "noise-law,", "duplicate-name", "validation.physics[1]", "twice"),
    ("metric: verification-failures", "metric: verification-failure", "unknown-metric", "gates[0].metric", "'verification-failures'?"),
    ("metric: verification-failures", "metric: snr_effect", "metric-not-computed", "gates[0].metric", "validation.physics"),
    (
        "metric: verification-failures",
        "metric: condition_dab-level_slop",
        "unknown-metric",
        "gates[0].metric",
        "condition_dab-level_slope'?",
    ),
    ("metric: verification-failures", "metric: kid_spectrum", "metric-not-computed", "gates[0].metric", "validation.features"),
    ("metric: verification-failures", "metric: mmd_effect_weights_paired", "metric-not-computed", "gates[0].metric", "validation.weights"),
    ("metric: verification-failures", "metric: inception_score_texture", "metric-not-computed", "gates[0].metric", "of kind class"),
    ("metric: verification-failures", "metric: watermark-z", "metric-not-computed", "gates[0].metric", "release.watermark"),
    ("metric: verification-failures", "metric: review-readers", "metric-not-computed", "gates[0].metric", "review.readers"),
    (
        "  readers: 0",
        "  readers: 0\n  criteria: [{name: a, question: b}]\n  artefacts: [seams, a]",
        "duplicate-name",
        "review.artefacts[1]",
        "criteria[0]",
    ),
    ("  readers: 0", "  readers: 0\n  artefacts: [comment]", "duplicate-name", "review.artefacts[0]", "every sheet"),
    ("metric: verification-failures", "metric: review-difference_x", "unknown-metric", "gates[0].metric", "review-readers"),
    ("metric: verification-failures", "metric: xyzzy", "unknown-metric", "gates[0].metric", "sciimg schema"),
    ("    at_most: 0\n", "", "no-bar", "gates[0]", "at_least or at_most"),
    ("    at_most: 0\n", "    at_most: 0\n    at_least: 1\n", "impossible-bar", "gates[0]", "never be passed"),
    ("why: Every", "why: x # Every", "bad-value", "gates[0].why", "at least 10"),
    ("version: 1.0.0", "version: 1.0", "bad-value", "release.version", "quotes"),
    ("  creator: sciimg demo\n", "", "missing-key", "release.creator", "Add it"),
    ("sciimg: 1", "sciimg: 1\n? [a]\n: 1", "key-not-text", "", "plain text"),
    ("title: Synthetic", "title: !!python/name:os.system Synthetic", "yaml-tag", "title", "no YAML tags"),
]


@pytest.mark.parametrize(("old", "new", "kind", "path", "said"), BROKEN, ids=[f"{b[2]}-{b[3]}-{i}" for i, b in enumerate(BROKEN)])
def test_every_rule_names_its_place(old: str, new: str, kind: str, path: str, said: str) -> None:
    text = edited(old, new)
    found = [p for p in problems(text) if p.kind == kind and said in p.message]
    assert found, problems(text)
    file, line, *rest = found[0].where.split(":")
    assert file == "s.yaml"
    assert "".join(rest).strip() == path
    assert 1 <= int(line) <= text.count("\n") + 1


def test_a_caption_may_name_conditions_and_what_the_files_tell() -> None:
    text = edited("{kind: mask, name: mask}", "{kind: text, template: '{dab-level} at {acquisition.magnification}'}")
    assert [p for p in problems_or_none(text) if "template" in p.where] == []


def problems_or_none(text: str) -> list[Problem]:
    try:
        parse_study(text.encode(), "s.yaml")
    except StudyError as error:
        return list(error.problems)
    return []


def test_a_line_is_the_line_of_the_key() -> None:
    text = edited("guard_px: 16", "guard_px: -1")
    line = text[: text.index("guard_px")].count("\n") + 1
    assert [p.where for p in problems(text)] == [f"s.yaml:{line}: split.guard_px"]


def test_five_mistakes_are_five_problems_in_the_order_of_the_file() -> None:
    text = edited("modality: brightfield", "modality: brightfeld")
    text = edited("axis: x", "axis: z", text)
    text = edited("count: 256", "count: 0", text)
    text = edited("    at_most: 0\n", "", text)
    text = edited("  creator: sciimg demo\n", "  creater: sciimg demo\n", text)
    found = problems(text)
    assert [p.kind for p in found] == ["unknown-value", "no-such-axis", "bad-value", "no-bar", "unknown-key"]
    lines = [int(p.where.split(":")[1]) for p in found]
    assert lines == sorted(lines)


def test_a_misspelt_required_key_is_one_problem_not_two() -> None:
    assert [p.kind for p in problems(edited("question: >", "questoin: >"))] == ["unknown-key"]


def test_a_comparator_alone_is_no_study() -> None:
    text = edited("recipe: ldm,", "recipe: ldm, role: comparator,")
    text = edited("recipe: gan,", "recipe: gan, role: comparator,", text)
    assert [p.kind for p in problems(text)] == ["no-candidate"]


def test_labels_are_asked_for_where_they_are_needed() -> None:
    text = edited(TISSUE[TISSUE.index("    labels:\n") : TISSUE.index("split:\n")], "")
    text = edited("  shape: [64, 64]\nconditions", "  shape: [64, 64]\n  min_foreground: 0.1\nconditions", text)
    places = [p.where.split(": ", 1)[1] for p in problems(text) if p.kind == "needs-labels"]
    assert places == ["patches.min_foreground", "conditions[0]", "validation.physics[3]", "validation.downstream"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "not-a-study"),
        (b"- a\n- b\n", "not-a-study"),
        (b"a: [1, 2\nb: 3\n", "yaml-syntax"),
        (b"a: 1\n\tb: 2\n", "yaml-syntax"),
        (b"a: 1\n---\nb: 2\n", "yaml-syntax"),
        (b"a: \x00\n", "yaml-syntax"),
        (b"title: caf\xe9\n", "not-utf-8"),
        (b"a: &x 1\nb: *x\n", "yaml-alias"),
        (b"a: " + b"[" * 2000 + b"]" * 2000, "too-deep"),
        (b"a: " + b"[" * 60 + b"]" * 60, "too-deep"),
        (b"#" * (1 << 20) + b"#", "too-large"),
    ],
)
def test_what_is_no_study_at_all(data: bytes, kind: str) -> None:
    found = problems(data)
    assert kind in {p.kind for p in found}
    assert all(p.where.startswith("s.yaml") for p in found)


def test_a_syntax_error_has_its_line() -> None:
    line = TISSUE[: TISSUE.index("conditions:")].count("\n") + 1
    assert problems(edited("conditions:", "conditions: ["))[0].where in {f"s.yaml:{n}" for n in range(line, line + 3)}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda c: st.lists(c, max_size=4)))
def test_no_value_in_a_study_escapes_as_another_error(value: Any) -> None:
    text = TISSUE.replace("count: 256", "count: " + yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n"))
    try:
        parse_study(text.encode(), "s.yaml")
    except StudyError as error:
        assert error.problems


def test_a_missing_file_says_which_studies_there_are(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"Did you mean 'tissue-demo\.yaml'\?"):
        load_study(tmp_path / "tisue-demo.yaml")
    with pytest.raises(StudyError, match="folder"):
        load_study(tmp_path)


def test_the_ready_studies_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(built_in_studies()) >= {"tissue-demo.yaml", "brain-demo.yaml"}
    assert load_study(Path("protocols/tissue-demo.yaml")).study.name == "tissue-demo"
    assert load_study(Path("tissue-demo")).folder.name == "protocols"


def test_a_folder_may_be_given(tmp_path: Path) -> None:
    assert load_study(ROOT / "protocols/tissue-demo.yaml", folder=tmp_path).folder == tmp_path


LATER = [
    ("", "risk", Risk(influence="low", consequence="high", because="A reason.")),
    ("release", "expires", datetime.date(2030, 1, 1)),
    ("generate", "masks", "recombined"),
    ("patches", "balance", "group"),
    ("validation", "features", ("spectrum",)),
    ("validation", "weights", WeightsFile(path="n.pt", sha256="0" * 64)),
    ("validation", "subgroups", ("site",)),
    ("validation", "cross_validation", CrossValidation(folds=5)),
    ("review", "task", "2afc"),
    ("review", "criteria", (Criterion(name="sharpness", question="How sharp?"),)),
    ("review", "artefacts", ("seams",)),
    ("review", "confidence", False),
    ("review", "minimum_seconds", 2.0),
    ("review", "margin", 0.1),
    ("validation", "dose", "dab-level"),
    ("release", "watermark", Watermark(alpha=0.02)),
]


@pytest.mark.parametrize(("part", "key", "value"), LATER)
def test_a_key_of_a_later_version_counts_where_it_is_used(part: str, key: str, value: object) -> None:
    """What was registered before the key existed keeps its digest; asking for it makes another study."""
    plain = parse_study(TISSUE.encode(), "s").study.model_copy(update={"risk": None})
    data = plain.model_dump(mode="json")
    for of, name, _ in LATER:
        del (data[of] if of else data)[name]
    wishes = data["validation"]["downstream"]
    assert wishes.pop("synthetic_only") is False and wishes.pop("ratios") is None
    assert data.pop("verification") is None
    assert all(source.pop(key) is None for source in data["sources"] for key in ("optics", "detector"))
    assert plain.digest == digest_of(data)
    own = getattr(plain, part) if part else plain

    def told(to: object) -> Study:
        changed = own.model_copy(update={key: to})
        return plain.model_copy(update={part: changed}) if part else changed

    assert told(type(own).model_fields[key].default).digest == plain.digest != told(value).digest


def test_a_release_expires_after_its_registration() -> None:
    text = TISSUE.replace("version: 1.0.0", "version: 1.0.0\n  expires: 2020-01-01")
    with pytest.raises(StudyError, match="expires after its study is registered"):
        parse_study(text.encode(), "s.yaml")
    later = parse_study(text.replace("2020-01-01", "2031-01-01").encode(), "s.yaml").study
    assert later.release.expires == datetime.date(2031, 1, 1)


def test_later_keys_of_sources_and_of_the_study_count_where_they_are_used() -> None:
    plain = parse_study(TISSUE.encode(), "s").study
    seen = plain.sources[0].model_copy(update={"optics": Optics(numerical_aperture=0.8)})
    asked = parse_study((TISSUE + "verification: {benchmarks: true}\n").encode(), "s").study
    assert asked.verification == VerificationPlan(benchmarks=True)
    read = plain.sources[0].model_copy(update={"detector": Detector(offset={"dab": 100})})
    others = [plain.model_copy(update={"sources": (source,)}).digest for source in (seen, read)]
    assert len({plain.digest, *others, asked.digest}) == 4


@pytest.mark.parametrize("offset", [".nan", "-.inf", "dark"])
def test_an_offset_that_is_no_number_is_refused(offset: str) -> None:
    found = problems(edited("    licence:", f"    detector: {{offset: {{dab: {offset}}}}}\n    licence:"))
    assert len(found) == 1 and found[0].where.endswith("sources[0].detector.offset.dab") and "number" in found[0].message


def test_more_students_are_another_study_and_none_is_the_same() -> None:
    plain = parse_study(TISSUE.encode(), "s").study

    def told(**keys: object) -> Study:
        assert plain.validation.downstream is not None
        plan = plain.validation.downstream.model_copy(update=keys)
        return plain.model_copy(update={"validation": plain.validation.model_copy(update={"downstream": plan})})

    assert told(synthetic_only=False, ratios=None).digest == plain.digest
    assert len({plain.digest, told(synthetic_only=True).digest, told(ratios=(1, 2)).digest}) == 3
    none = plain.model_copy(update={"validation": plain.validation.model_copy(update={"downstream": None})})
    assert none.digest != plain.digest


def test_ratios_and_gates_on_them_are_checked() -> None:
    plan = "downstream: {seeds: 3, steps: 200, annotated_images: 8}"
    gates = """gates:
  - {name: far, metric: downstream_gain_ratio-2_over_real, at_least: 0, why: A ratio that is not asked for.}
  - {name: alone, metric: downstream_score_synthetic-only, at_least: 0, why: A student that is not asked for.}
"""
    asked = edited(plan, plan.replace("}", ", ratios: [1, 4, 4]}"))
    said = " ".join(p.message for p in problems(edited("gates:\n", gates, asked)))
    assert "4 stands twice" in said
    assert "needs 2 in validation.downstream.ratios" in said and "needs validation.downstream.synthetic_only: true" in said
    few = edited(plan, "downstream: {annotated_images: 100, ratios: [1, 3]}")
    assert [(p.kind, "are 300; generate.count is only 256" in p.message) for p in problems(few)] == [("too-few-samples", True)]
    right = edited(plan, plan.replace("}", ", ratios: [1, 2, 4], synthetic_only: true}"))
    assert problems_or_none(edited("gates:\n", gates, right)) == []


def test_the_dose_is_a_condition_of_the_study() -> None:
    with pytest.raises(StudyError, match="no-dose"):
        parse_study(TISSUE.replace("physics: [", "physics: [dose-linearity, ").encode(), "s")
    with pytest.raises(StudyError, match=r"one of the scalar conditions \(dab-level\); got 'exposure'"):
        parse_study(TISSUE.replace("validation:\n", "validation:\n  dose: exposure\n").encode(), "s")
    asked = TISSUE.replace("validation:\n", "validation:\n  dose: dab-level\n")
    assert parse_study(asked.encode(), "s").study.validation.dose == "dab-level"


def test_a_study_that_only_judges_has_ten_lines_and_is_none_that_runs() -> None:
    text = (ROOT / "protocols/judge-a-folder.yaml").read_text()
    assert sum(not line.startswith("#") for line in text.splitlines()) <= 10
    with pytest.raises(StudyError, match="recipes"):
        parse_study(text.encode(), "s.yaml")
    loaded = parse_study(text.encode(), "s.yaml", judging=True)
    assert loaded.study.digest != parse_study(text.replace("[64, 64]", "[32, 32]").encode(), "s.yaml", judging=True).study.digest


def test_a_study_that_only_judges_keeps_every_rule() -> None:
    text = (ROOT / "protocols/judge-a-folder.yaml").read_text()
    wrong = (
        text.replace("noise-law_effect", "nose-law_effect").replace("modality: fluorescence", "modality: mri").replace("patches:", "patch:")
    )
    with pytest.raises(StudyError) as caught:
        parse_study(wrong.encode(), "s.yaml", judging=True)
    assert {p.kind for p in caught.value.problems} == {"unknown-metric", "wrong-modality", "unknown-key"}
    assert all(p.where.startswith("s.yaml:") for p in caught.value.problems)
