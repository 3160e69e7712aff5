"""A score as evidence: what gates may name is what is recorded, and what n does not allow says why."""

import pytest
from readers import PLAN, reading, readings

from sciimg.protocol.vocabulary import metrics as vocabulary
from sciimg.protocol.vocabulary import review_metrics
from sciimg.review.evidence import metrics
from sciimg.review.match import Reading
from sciimg.review.score import ReviewScore, score
from sciimg.review.statistics import binomial_interval
from sciimg.review.telling import lines

pytestmark = pytest.mark.usefixtures("few_rounds")


def by_name(found):
    return {m.name: m for m in found}


def test_every_metric_of_a_review_is_in_the_vocabulary_and_the_other_way_round():
    assert [m.name for m in metrics(score(readings(), plan=PLAN))] == review_metrics(PLAN)
    assert set(review_metrics(PLAN)) <= set(vocabulary((), (), PLAN))
    assert "review-difference_sharpness" not in vocabulary(())


def test_numbers_carry_interval_n_and_source():
    scored = score(readings(), plan=PLAN)
    found = by_name(metrics(scored))
    assert found["review-accuracy"].ci95 == binomial_interval(24, 36) and found["review-accuracy"].n == 36
    assert found["review-accuracy-clustered"].detail == {"resampled": "readers and images"}
    assert found["review-difference_sharpness"].value == 1  # synthetic images got 3, real ones 2
    assert (found["review-catches"].value, found["review-catches"].n, found["review-catches"].ci95) == (2 / 3, 3, binomial_interval(2, 3))
    assert found["review-margin"].value == scored.equivalence["smallest_margin"]
    assert all(m.source and m.unit_of_n for m in found.values())


def test_what_n_does_not_allow_is_undefined_with_a_reason():
    alone = [r for r in readings(("ada",)) if r.role == "main" and r.truth == "real"]
    found = by_name(metrics(score(alone, plan=PLAN)))
    reasons = {name: m.reason for name, m in found.items() if m.status == "undefined"}
    assert set(reasons) == {
        "review-d-prime", "review-agreement", "review-repeatability", "review-catches", "review-artefact_blur",
        "review-difference_sharpness", "review-superiority_sharpness",
    }  # fmt: skip
    assert "two readers" in reasons["review-agreement"] and "repeated" in reasons["review-repeatability"]
    assert "only one kind" in reasons["review-d-prime"] and "real and of synthetic" in reasons["review-artefact_blur"]


def test_a_score_comes_back_from_its_json_and_can_be_told():
    scored = score(readings(), plan=PLAN)
    assert ReviewScore.model_validate(scored.summary()).summary() == scored.summary()
    told = "\n".join(lines(scored.summary()))
    for said in (
        "accuracy             0.667",
        "readers and images resampled",
        "catches              2 of 3 seen",
        "sharpness",
        "blur",
        "ben",
    ):
        assert said in told
    assert all(f"Note: {note}" in told for note in scored.notes)


def test_an_older_score_is_still_read():
    scored = score(readings(), plan=PLAN).as_json()
    kept = ("readers", "items", "trials", "correct", "accuracy", "ci95", "p_value", "d_prime", "agreement", "agreement_reasons")
    older = {name: scored[name] for name in (*kept, "equivalence", "notes")} | {"per_reader": []}
    assert ReviewScore.model_validate(older).criteria == ()


def test_notes_name_the_hasty_and_the_inattentive():
    notes = score(readings(), plan=PLAN).notes
    assert "ben missed 1 catch item: was the task understood?" in notes
    assert "ada answered 3 items in less than 3 s." in notes
    assert any("3 readers" in note and "too narrow" in note for note in notes)


def test_equivalence_that_rests_on_two_opposite_readers_is_not_rested_on():
    """Half of 160 answers are right, but one pair of readers always is and the other never: no next reader is known to guess."""
    opposed = [reading(r, i, right=r in ("ada", "ben")) for r in ("ada", "ben", "chi", "dan") for i in range(40)]
    scored = score(opposed, plan=PLAN)
    assert scored.equivalence["equivalent"] and scored.clustered["equivalent"] is False
    assert any("do not rest on it" in note for note in scored.notes)


def test_confidence_tells_how_often_the_sure_are_right():
    scored = score(readings(), plan=PLAN)
    assert [c["confidence"] for c in scored.confidence] == [1, 2, 3, 4, 5]
    assert sum(c["n"] for c in scored.confidence) == scored.trials and sum(c["correct"] for c in scored.confidence) == scored.correct


@pytest.mark.parametrize(("task", "d"), [("yes-no", 2.0), ("2afc", 2.0 / 2**0.5)])
def test_pairs_are_the_easier_task(task, d):
    """The same rates of 'a' and of 'synthetic' mean a smaller d' where two images could be compared."""
    names = {"yes-no": ("synthetic", "real"), "2afc": ("a", "b")}[task]
    made = [
        Reading("r", f"{side}{i}", names[side], names[said], "main", names[said])
        for side, right in ((0, 841), (1, 841))
        for i in range(1000)
        for said in [side if i < right else 1 - side]
    ]
    assert score(made).d_prime == pytest.approx(d, abs=0.01)
