"""What a study may say of a cross-validation, and what of it is wrong before anything is run."""

from pathlib import Path

import pytest

from sciimg.errors import StudyError
from sciimg.protocol import parse_study
from sciimg.protocol.models import Study
from sciimg.protocol.vocabulary import metrics, over_folds, review_metrics

ROOT = Path(__file__).parents[2]
TISSUE = (ROOT / "protocols/tissue-demo.yaml").read_text()
NUCLEI = (ROOT / "protocols/nuclei.yaml").read_text()


def asking(plan: str, gate: str = "", text: str = TISSUE) -> str:
    """Return a study that asks for a cross-validation and has one more gate."""
    named = f"  - {{name: again, metric: {gate}, at_most: 2, why: It must hold over folds too.}}\nre" if gate else "re"
    text = text.replace("validation:\n", f"validation:\n  cross_validation: {plan}\n", 1)
    for end in ("\nreview:", "\nrelease:"):
        if end in text:
            return text.replace(end, "\n" + named + end[3:], 1)
    raise AssertionError


def study(text: str) -> Study:
    return parse_study(text.encode(), "s.yaml").study


def refusals(text: str, *, judging: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(StudyError) as caught:
        parse_study(text.encode(), "s.yaml", judging=judging)
    return [(p.kind, p.message) for p in caught.value.problems]


def test_a_study_may_ask_for_folds_or_leave_groups_out() -> None:
    assert [r.name for r in study(asking("{folds: 5}", "noise-law_effect_folds")).folded] == ["ldm", "gan"]
    assert [r.name for r in study(asking("{folds: 3, recipes: [gan]}")).folded] == ["gan"]
    left = study(asking("{leave_one_out: true}", text=NUCLEI)).validation.cross_validation
    assert left is not None and (left.leave_one_out, left.folds) == (True, None)
    assert study(TISSUE).folded == ()


@pytest.mark.parametrize(
    ("plan", "kind", "said"),
    [
        ("{folds: 2}", "bad-value", "greater than or equal to 3"),
        ("{}", "folds", "got neither"),
        ("{leave_one_out: false}", "folds", "got neither"),
        ("{folds: 3, leave_one_out: true}", "folds", "got both"),
        ("{leave_one_out: true}", "no-groups", "Ask for `folds: K`"),
        ("{folds: 3, recipes: [gann]}", "unknown-recipe", "Did you mean 'gan'?"),
        ("{folds: 3, recipes: [gan, gan]}", "duplicate-name", "stands twice"),
        ("{folds: 3, recipes: []}", "bad-value", "at least 1 item"),
        ("{fold: 3}", "unknown-key", "Did you mean 'folds'?"),
        ("5", "bad-value", "Change validation.cross_validation"),
    ],
)
def test_a_cross_validation_that_cannot_be_made_is_refused(plan: str, kind: str, said: str) -> None:
    found = refusals(asking(plan))
    assert any(k == kind and said in message for k, message in found), found


@pytest.mark.parametrize(
    ("plan", "gate", "said"),
    [
        (None, "noise-law_effect_folds", "needs validation.cross_validation"),
        (None, "folds-failures", "needs validation.cross_validation"),
        ("{folds: 3}", "photon-transfer_effect_folds", "needs 'photon-transfer' in validation.physics"),
        ("{folds: 3}", "kid_spectrum_folds", "needs 'spectrum' in validation.features"),
        ("{folds: 3, recipes: [gan]}", "noise-law_effect_folds", "needs candidate 'ldm' in validation.cross_validation.recipes"),
        ("{folds: 3}", "noise-law_efect_folds", "Did you mean 'noise-law_effect_folds'?"),
        ("{folds: 3}", "verification-failures_folds", "No check reports"),
        ("{folds: 3}", "split-failures_folds", "No check reports"),
    ],
)
def test_a_gate_over_folds_that_could_only_refuse_is_found(plan: str | None, gate: str, said: str) -> None:
    text = asking(plan, gate) if plan else asking("X", gate).replace("  cross_validation: X\n", "")
    assert any(said in message for _, message in refusals(text))


def test_a_comparator_need_not_be_cross_validated() -> None:
    text = asking("{folds: 3, recipes: [ldm]}", "noise-law_effect_folds")
    assert study(text.replace("{name: gan, recipe: gan, options: {}}", "{name: gan, recipe: gan, role: comparator}")).folded


def test_where_none_is_asked_for_no_hint_speaks_of_folds() -> None:
    text = asking("X", "noise-law_efect").replace("  cross_validation: X\n", "")
    ((_, message),) = refusals(text)
    assert "noise-law_effect" in message and "_folds" not in message


def test_every_metric_of_a_recipe_has_its_pool_and_no_other() -> None:
    plain, folded = metrics(()), over_folds(())
    assert {name.removesuffix("_folds") for name in folded} < set(plain)
    assert set(plain) - {name.removesuffix("_folds") for name in folded} == {
        "verification-failures", "split-failures", "split-closest-match", "folds-failures", *review_metrics(None),
    }  # fmt: skip
    assert all("folds" in needs for needs in folded.values())


def test_a_study_that_only_judges_has_nothing_to_train() -> None:
    text = (ROOT / "protocols/judge-a-folder.yaml").read_text()
    folded = text.replace("validation: {", "validation: {cross_validation: {folds: 3}, ")
    assert [kind for kind, _ in refusals(folded, judging=True)] == ["nothing-to-train"]
