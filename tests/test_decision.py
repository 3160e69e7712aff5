"""A gate meeting evidence, in every way it can; the decision over several recipes."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from least_study import least_study

from sciimg.decision import REVIEW_GATE, REVIEW_METRIC, collect, decide
from sciimg.errors import InputError
from sciimg.protocol.models import RecipePlan, Study
from sciimg.protocol.validation import Gate, ReviewPlan
from sciimg.records import Decision, Metric, Shortage, TooFew, canonical_json

WHY = "Derived for this test."


def study(gates: list[dict[str, Any]], recipes: tuple[str, ...] = ("ldm",), comparators: tuple[str, ...] = (), readers: int = 0) -> Study:
    """Return a study as far as a decision looks at it."""
    return least_study(
        recipes=[{"name": r, "recipe": r, "role": "comparator" if r in comparators else "candidate"} for r in recipes],
        generate={"count": 128},
        gates=[{"name": f"g{i}", "why": WHY, **g} for i, g in enumerate(gates)],
        review=ReviewPlan(readers=readers),
    )


def metric(value: float, low: float | None = None, high: float | None = None, name: str = "m") -> Metric:
    return Metric(name=name, value=value, ci95=None if low is None or high is None else (low, high))


def judged(gate: dict[str, Any], *metrics: Metric) -> Decision:
    return decide(study([{"metric": "m", **gate}]), {"ldm": list(metrics)}, [])


def test_a_bar_that_the_checks_own_controls_meet_judges_nothing() -> None:
    """A check notices a planted fault beyond 1; at a bar of 2 a fault of 1.5 would pass, so passing says nothing."""
    seen = metric(0.5, 0.2, 0.9).model_copy(update={"detail": {"controls": {"blur": 1.5, "noise": 7.0}}})
    assert judged({"at_most": 1.4}, seen).decision == "accepted"
    unknown = judged({"at_most": 2}, seen)
    assert unknown.decision == "inconclusive"
    assert "faults planted in real images meet too: blur (1.5)" in unknown.gates[0].reason
    beyond = metric(5.0, 3.0, 7.0).model_copy(update={"detail": {"controls": {"blur": 1.5}}})
    assert judged({"at_most": 2}, beyond).decision == "refused"  # farther than the bar is far, whatever the controls say
    assert judged({"at_least": 0.1}, seen).decision == "accepted"


def test_a_bar_that_every_fault_planted_for_a_set_meets_judges_nothing() -> None:
    """Recall tells no blur, so one fault may meet its bar; a bar that all of them meet, lost modes too, would pass anything."""
    seen = metric(0.9, 0.8, 1.0).model_copy(update={"detail": {"faults": {"blurred": 0.95, "mode-dropped": 0.4, "duplicated": 0.5}}})
    assert judged({"at_least": 0.6}, seen).decision == "accepted"
    unknown = judged({"at_least": 0.4}, seen)
    assert unknown.decision == "inconclusive"
    assert "meet too: blurred (0.95), mode-dropped (0.4), duplicated (0.5)" in unknown.gates[0].reason
    assert judged({"at_least": 0.4, "at_most": 0.93}, seen).decision == "inconclusive"  # the interval straddles its upper bar
    assert judged({"at_most": 2}, seen).decision == "inconclusive"
    assert judged({"at_most": 2}, seen.model_copy(update={"detail": {"faults": {}}})).decision == "accepted"  # none was planted for it


@pytest.mark.parametrize(
    ("gate", "evidence", "expected"),
    [
        ({"at_least": 0.8}, metric(0.9, 0.8, 0.95), "accepted"),  # the conservative end stands exactly on the bar
        ({"at_least": 0.8}, metric(0.9, 0.79, 0.95), "inconclusive"),
        ({"at_least": 0.8}, metric(0.7, 0.6, 0.8), "inconclusive"),  # the favourable end touches the bar: not wholly on the wrong side
        ({"at_least": 0.8}, metric(0.7, 0.6, 0.79), "refused"),
        ({"at_most": 0.1}, metric(0.05, 0.0, 0.1), "accepted"),
        ({"at_most": 0.1}, metric(0.05, 0.0, 0.11), "inconclusive"),
        ({"at_most": 0.1}, metric(0.2, 0.11, 0.3), "refused"),
        ({"at_least": 0.4, "at_most": 0.6}, metric(0.5, 0.4, 0.6), "accepted"),
        ({"at_least": 0.4, "at_most": 0.6}, metric(0.5, 0.3, 0.7), "inconclusive"),
        ({"at_least": 0.4, "at_most": 0.6}, metric(0.8, 0.7, 0.9), "refused"),
        ({"at_least": 0.8}, metric(0.9), "refused"),  # no interval
        ({"at_least": 0.8}, metric(0.9, 0.95, 0.85), "refused"),  # an interval that ends before it begins
        ({"at_least": 0.8, "judged_on": "value"}, metric(0.8), "accepted"),
        ({"at_least": 0.8, "judged_on": "value"}, metric(0.8, 0.1, 0.9), "accepted"),
        ({"at_least": 0.8, "judged_on": "value"}, metric(0.79, 0.7, 0.9), "refused"),
        ({"at_most": 0, "judged_on": "value"}, metric(0.0), "accepted"),
        ({"at_most": 0, "judged_on": "value"}, metric(1.0), "refused"),
        ({"at_least": 0.8}, Metric.undefined("m", "no noise to measure"), "refused"),
    ],
)
def test_a_gate_meets_its_evidence(gate: dict[str, Any], evidence: Metric, expected: str) -> None:
    assert judged(gate, evidence).decision == expected


def test_an_undefined_metric_fails_with_its_own_reason() -> None:
    decision = judged({"at_least": 0.8}, Metric.undefined("m", "no noise to measure"))
    assert "no noise to measure" in decision.gates[0].reason
    assert any("no noise to measure" in r for r in decision.reasons)


def test_a_missing_metric_fails_closed() -> None:
    decision = judged({"at_least": 0.8}, metric(1.0, 0.9, 1.0, name="other"))
    assert decision.decision == "refused"
    assert "not in the evidence" in decision.gates[0].reason


def test_a_metric_reported_twice_fails_closed() -> None:
    assert judged({"at_least": 0.8}, metric(1.0, 0.9, 1.0), metric(0.9, 0.9, 1.0)).decision == "refused"


def test_a_metric_of_recipe_and_study_is_ambiguous() -> None:
    both = metric(1.0, 0.9, 1.0)
    assert decide(study([{"metric": "m", "at_least": 0.8}]), {"ldm": [both]}, [both]).decision == "refused"


def test_no_gate_refuses() -> None:
    empty = study([{"metric": "m", "at_least": 0}]).model_copy(update={"gates": ()})
    assert decide(empty, {"ldm": [metric(1.0)]}, []).decision == "refused"


def test_a_gate_without_a_bar_fails() -> None:
    gate = Gate(name="g", metric="m", why=WHY)
    barless = study([{"metric": "m", "at_least": 0}]).model_copy(update={"gates": (gate,)})
    assert decide(barless, {"ldm": [metric(1.0, 0.9, 1.0)]}, []).decision == "refused"


def test_a_recipe_without_evidence_is_refused() -> None:
    assert decide(study([{"metric": "m", "at_least": 0}]), {}, []).per_recipe == {"ldm": "refused"}


def test_evidence_of_a_stranger_is_an_error() -> None:
    with pytest.raises(InputError, match="gna"):
        decide(study([{"metric": "m", "at_least": 0}]), {"gna": []}, [])


GOOD, BAD, UNSURE = metric(0.9, 0.85, 0.95), metric(0.1, 0.05, 0.2), metric(0.8, 0.7, 0.9)


@pytest.mark.parametrize(
    ("first", "second", "decision", "released"),
    [
        (GOOD, GOOD, "accepted", "ldm"),
        (BAD, GOOD, "accepted", "gan"),
        (UNSURE, GOOD, "accepted", "gan"),
        (GOOD, BAD, "accepted", "ldm"),
        (BAD, UNSURE, "inconclusive", None),
        (UNSURE, BAD, "inconclusive", None),
        (BAD, BAD, "refused", None),
    ],
)
def test_the_first_accepted_candidate_is_released(first: Metric, second: Metric, decision: str, released: str | None) -> None:
    came = decide(study([{"metric": "m", "at_least": 0.8}], ("ldm", "gan")), {"gan": [second], "ldm": [first]}, [])
    assert (came.decision, came.released) == (decision, released)


def test_a_comparator_is_judged_and_never_released() -> None:
    came = decide(study([{"metric": "m", "at_least": 0.8}], ("gan", "ldm"), comparators=("gan",)), {"gan": [GOOD], "ldm": [BAD]}, [])
    assert (came.decision, came.released) == ("refused", None)
    assert came.per_recipe == {"gan": "accepted", "ldm": "refused"}


def test_a_common_failure_refuses_every_recipe() -> None:
    gates = [{"metric": "m", "at_least": 0.8}, {"metric": "verification-failures", "at_most": 0, "judged_on": "value"}]
    evidence = {"ldm": [GOOD], "gan": [GOOD]}
    came = decide(study(gates, ("ldm", "gan")), evidence, [metric(1.0, name="verification-failures")])
    assert set(came.per_recipe.values()) == {"refused"}
    assert [g.recipe for g in came.gates] == [None, "ldm", "gan"]
    assert decide(study(gates, ("ldm", "gan")), evidence, [metric(0.0, name="verification-failures")]).released == "ldm"


@pytest.mark.parametrize(
    ("read", "expected"),
    [([], "inconclusive"), ([metric(2, name=REVIEW_METRIC)], "inconclusive"), ([metric(3, name=REVIEW_METRIC)], "accepted")],
)
def test_a_planned_review_is_waited_for(read: list[Metric], expected: str) -> None:
    assert decide(study([{"metric": "m", "at_least": 0.8}], readers=3), {"ldm": [GOOD, *read]}, []).decision == expected


def test_what_readers_say_about_one_recipe_says_nothing_about_another() -> None:
    gates = [{"metric": "m", "at_least": 0.8}, {"metric": "review-accuracy", "at_most": 0.65}]
    read = {"metrics": [metric(3, name=REVIEW_METRIC).as_json(), metric(0.5, 0.4, 0.6, name="review-accuracy").as_json()]}
    recipes, common = collect(
        {"review-ldm": read, "validate-ldm": {"metrics": [BAD.as_json()]}, "validate-gan": {"metrics": [GOOD.as_json()]}}
    )
    came = decide(study(gates, ("ldm", "gan"), readers=3), recipes, common)
    assert (came.per_recipe, came.released) == ({"ldm": "refused", "gan": "inconclusive"}, None)
    assert {g.gate: g.outcome for g in came.gates if g.recipe == "gan"}[REVIEW_GATE] == "inconclusive"


def test_an_unanswered_review_does_not_save_what_failed() -> None:
    assert decide(study([{"metric": "m", "at_least": 0.8}], readers=3), {"ldm": [BAD]}, []).decision == "refused"


def test_a_gate_on_answers_waits_for_them() -> None:
    gates = [{"metric": "m", "at_least": 0.8}, {"metric": "review-accuracy", "at_most": 0.65}]
    assert decide(study(gates, readers=3), {"ldm": [GOOD]}, []).decision == "inconclusive"
    assert decide(study(gates, readers=0), {"ldm": [GOOD]}, []).decision == "refused"


numbers = st.floats(-10, 10).map(lambda x: round(x, 2))


@given(bar=numbers, ends=st.tuples(numbers, numbers), least=st.booleans())
def test_a_gate_is_the_three_way_comparison(bar: float, ends: tuple[float, float], least: bool) -> None:
    low, high = sorted(ends)
    decision = judged({"at_least" if least else "at_most": bar}, metric((low + high) / 2, low, high)).decision
    conservative, favourable = (low, high) if least else (-high, -low)
    edge = bar if least else -bar
    assert decision == ("accepted" if conservative >= edge else "refused" if favourable < edge else "inconclusive")


@given(bar=numbers, ends=st.tuples(numbers, numbers), shift=st.floats(0, 5))
def test_better_evidence_never_gives_a_worse_decision(bar: float, ends: tuple[float, float], shift: float) -> None:
    low, high = sorted(ends)
    order = ["refused", "inconclusive", "accepted"]
    worse = judged({"at_least": bar}, metric(low, low, high)).decision
    better = judged({"at_least": bar}, metric(low + shift, low + shift, high + shift)).decision
    assert order.index(better) >= order.index(worse)


@pytest.mark.parametrize("verdicts", list(itertools.product([GOOD, BAD, UNSURE], repeat=2)))
def test_the_decision_does_not_depend_on_the_order_of_evidence(verdicts: tuple[Metric, Metric]) -> None:
    two = study([{"metric": "m", "at_least": 0.8}], ("ldm", "gan"))
    forward = decide(two, {"ldm": [verdicts[0]], "gan": [verdicts[1]]}, [])
    assert decide(two, {"gan": [verdicts[1]], "ldm": [verdicts[0]]}, []) == forward


def test_recipe_plan_is_a_candidate_by_default() -> None:
    assert RecipePlan(name="ldm", recipe="ldm").role == "candidate"


def test_a_leak_is_refused_with_the_pairs_named() -> None:
    pairs = [{"image": f"h{i}", "train": f"t{i}", "at": [0, i], "turn": 1, "correlation": 0.99} for i in range(7)]
    leak = metric(7, name="m").model_copy(update={"detail": {"pairs": pairs}})
    found = judged({"at_most": 0, "judged_on": "value"}, leak)
    assert found.decision == "refused"
    said = found.gates[0].reason
    assert "h0 = t0 [0, 0]; h1 = t1 [0, 1]" in said and "h4 = t4" in said and "h5" not in said and "…" in said


# ---------------------------------------------------------------- too few


def short(found: int = 3, needed: int = 8) -> Metric:
    return Metric.undefined("m", TooFew.of(f"{found} independent groups; {needed} are needed", found, needed))


def test_too_few_groups_are_inconclusive_and_say_how_many_are_needed() -> None:
    decision = judged({"at_most": 1}, short())
    assert (decision.decision, decision.gates[0].outcome) == ("inconclusive", "inconclusive")
    assert decision.gates[0].reason.startswith("8 groups needed, 3 there; m is undefined")
    assert any("is inconclusive: 8 groups needed" in line for line in decision.reasons)


def test_too_few_groups_release_nothing_and_excuse_no_other_gate() -> None:
    two = study([{"metric": "m", "at_most": 1}, {"metric": "other", "at_most": 1}])
    assert decide(two, {"ldm": [short(), metric(0.5, 0.4, 0.6, "other")]}, []).released is None
    assert decide(two, {"ldm": [short(), metric(2.5, 2.4, 2.6, "other")]}, []).decision == "refused"
    assert decide(two, {"ldm": [short(), Metric.undefined("other", "3 groups; 8 are needed")]}, []).decision == "refused"


def test_words_alone_are_no_shortage_nor_is_nothing_at_all_or_enough() -> None:
    for reason in ("3 groups; 8 groups are needed", TooFew.of("no images", 0, 8), TooFew.of("enough", 8, 8)):
        assert judged({"at_most": 1}, Metric.undefined("m", reason)).decision == "refused"


def test_a_shortage_survives_the_record_and_is_not_written_where_there_is_none() -> None:
    recipes, _ = collect({"validate-ldm": {"metrics": [short().as_json()]}})
    assert recipes["ldm"][0].shortage == Shortage(found=3, needed=8, of="groups")
    assert "shortage" not in metric(1.0).as_json() and "shortage" not in Metric.undefined("m", "no noise").as_json()
    before = Metric.undefined("m", "no noise").as_json()
    assert Metric.model_validate_json(canonical_json(before)).as_json() == before


def test_a_shortage_that_is_none_is_no_record() -> None:
    with pytest.raises(ValueError, match="no shortage"):
        Shortage(found=8, needed=8, of="groups")
    with pytest.raises(ValueError, match="nothing was short"):
        Metric(name="m", value=1.0, shortage=Shortage(found=3, needed=8, of="groups"))
