"""Numbers as people read them; every metric that a gate may use has words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciimg.protocol.data import ClassCondition, MaskCondition, ScalarCondition
from sciimg.protocol.vocabulary import metrics
from sciimg.records import Metric
from sciimg.report import words

RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"), (3.0, "3"), (-0.04, "−0.04"), (0.12345, "0.123"), (12.345, "12.3"), (1234.5, "1234"), (99999.4, "99999"),
        (1.5e-5, "1.5 × 10⁻⁵"), (-2e-9, "−2 × 10⁻⁹"), (2.5e7, "2.5 × 10⁷"), (None, "none"),
    ],
)  # fmt: skip
def test_number(value, said):
    assert words.number(value) == said


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_a_number_reads_back_within_its_digits(value):
    said = words.number(value).translate(RAISED).replace(" × 10", "e")
    assert math.isclose(float(said), value, rel_tol=6e-3, abs_tol=0)


def test_lists_counts_and_sentences():
    assert words.listed([]) == ""
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.count(1, "image") == "1 image"
    assert words.count(12345, "image").replace("\N{THIN SPACE}", " ") == "12 345 images"
    assert words.sentence("what  is\nthis?") == "What is this?"
    assert words.sentence("it is") == "It is."


def test_an_undefined_metric_says_why():
    assert words.estimate(Metric.undefined("x", "no labels")) == "undefined: no labels"
    assert words.estimate(Metric(name="x", value=0.5, ci95=(0.25, 0.75))) == "0.50 [0.25, 0.75]"


@pytest.mark.parametrize(
    ("value", "ci", "said"),
    [
        (0.01714, (0.000977, 0.03291), "0.017 [0.001, 0.033]"), (148.2, (135.9, 161.4), "148 [136, 161]"),
        (0.0077, (-0.559, 0.79), "0.0 [−0.6, 0.8]"), (-0.001, (-0.2, 0.2), "0.00 [−0.20, 0.20]"), (2.0, (2.0, 2.0), "2 [2, 2]"),
        (3.0, None, "3"), (0.0173, (-0.000434, 0.0345), "0.0173 [−0.0004, 0.0345]"), (0.1, (0.0, 0.4), "0.10 [0.00, 0.40]"),
    ],
)  # fmt: skip
def test_decimals_follow_the_width_of_the_interval(value, ci, said):
    assert words.with_interval(value, ci) == said


def test_every_metric_that_a_gate_may_use_has_a_title_and_a_family():
    conditions = (
        MaskCondition(kind="mask"),
        ScalarCondition(kind="scalar", name="dab-level", measure="channel-mean", channel="dab"),
        ClassCondition(kind="class", name="phenotype", column="phenotype"),
    )
    captions = {name: words.caption(name) for name in metrics(conditions)}
    assert [name for name, c in captions.items() if c.family == "other" or c.title in ("", name) or not c.says] == []
    assert {c.family for c in captions.values()} <= {name for name, *_ in words.families()}
    titles = [c.title for c in captions.values()]
    assert sorted({t for t in titles if titles.count(t) > 1}) == []  # two metrics are never called the same


def test_a_metric_on_conditions_of_the_holdout_says_so():
    assert words.caption("noise-law_effect_paired").title == "Noise law, on conditions of the holdout"
    assert words.caption("something-new").family == "other"


def test_texts_fill_in_their_names():
    assert "7 tests" in words.text("tests-lead", tests="7 tests", failed="none")
    with pytest.raises(KeyError):
        words.text("tests-lead")
