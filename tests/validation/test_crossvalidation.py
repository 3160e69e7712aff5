"""Folds are pooled to a mean whose interval is right for correlated folds; what one fold cannot give, the pool does not give."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sciimg.records import Metric, Null, Shortage, TooFew
from sciimg.validation.crossvalidation import corrected_interval, pooled


def metric(value: float | None, name: str = "kid", **fields: Any) -> Metric:
    if value is None:
        return Metric.undefined(name, "too few groups", **fields)
    return Metric(name=name, value=value, **fields)


def pool(values: list[float | None], ratio: float = 1 / 3, **fields: Any) -> Metric:
    (found,) = pooled([[metric(v, **fields)] for v in values], ratio)
    return found


def test_the_interval_is_that_of_a_hand_computation() -> None:
    # mean 3, s² = 2.5, five folds, one held out for three that train: half-width t(0.975, 4) sqrt(2.5 (1/5 + 1/3)); t from a printed table
    half = 2.776445 * math.sqrt(2.5 * (0.2 + 1 / 3))
    found = pool([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.name, found.value, found.n, found.unit_of_n) == ("kid_folds", 3.0, 5, "folds")
    assert found.ci95 == pytest.approx((3 - half, 3 + half), abs=1e-5)
    assert found.detail["spread"] == pytest.approx(math.sqrt(2.5))
    assert [fold["value"] for fold in found.detail["folds"]] == [1, 2, 3, 4, 5]


def test_without_overlap_of_training_it_is_the_interval_of_student() -> None:
    values = [0.3, 0.1, 0.7, 0.2]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert corrected_interval(values, 0.0) == pytest.approx(expected)


@pytest.mark.parametrize(("folds", "ratio"), [(3, 1.0), (10, 1 / 8)])
def test_it_covers_in_95_of_100_cross_validations_whose_folds_are_as_correlated_as_they_share_data(folds: int, ratio: float) -> None:
    """Equally correlated normal values with rho = n2 / (n1 + n2) are those for which the correction is exact (Nadeau & Bengio 2003)."""
    rng, trials = np.random.default_rng(5), 600
    rho = ratio / (1 + ratio)
    shared, own = rng.normal(size=(trials, 1)), rng.normal(size=(trials, folds))
    values = 7 + math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    intervals = [corrected_interval(row.tolist(), ratio) for row in values]
    covered = np.mean([low <= 7 <= high for low, high in intervals])  # type: ignore[misc]
    naive = np.mean([low <= 7 <= high for low, high in (corrected_interval(row.tolist(), 0.0) for row in values)])  # type: ignore[misc]
    error = math.sqrt(0.95 * 0.05 / trials)
    assert abs(covered - 0.95) < 4 * error
    assert naive < 0.95 - 8 * error  # what the correction is for


@settings(max_examples=40)
@given(st.lists(st.integers(-999, 999).map(lambda n: n / 7), min_size=3, max_size=12), st.floats(0, 2))
def test_the_mean_lies_inside_and_more_overlap_makes_it_wider(values: list[float], ratio: float) -> None:
    found, wider = corrected_interval(values, ratio), corrected_interval(values, ratio + 1)
    if found is None or wider is None:
        assert min(values) == max(values)
        return
    assert found[0] <= np.mean(values) <= found[1]
    assert wider[0] <= found[0] and found[1] <= wider[1]


def test_folds_that_do_not_differ_keep_their_own_uncertainty() -> None:
    none_found = [metric(0.0, "copy-rate", ci95=(0.0, high)) for high in (0.1, 0.2, 0.3)]
    (found,) = pooled([[m] for m in none_found], 1.0)
    assert (found.value, found.ci95, found.detail["spread"]) == (0, pytest.approx((0.0, 0.2)), 0)
    assert pool([0.1, 0.1, 0.1]).ci95 is None
    assert pool([0.1, 0.1, 0.1]).detail["spread"] == 0  # though the mean of three times 0.1 is not exactly 0.1


def test_one_fold_without_a_number_leaves_the_pool_without() -> None:
    found = pool([0.1, None, 0.3])
    assert (found.value, found.reason) == (None, "fold 2: too few groups")
    assert [f.get("value") for f in found.detail["folds"]] == [0.1, None, 0.3]
    missing = pooled([[metric(0.1)], [], [metric(0.2)]], 1.0)
    assert missing[0].reason == "fold 2: not measured"


def test_fewer_than_three_folds_are_no_cross_validation() -> None:
    assert pool([0.1, 0.3]).reason == "too few folds"


def test_a_pool_is_short_where_folds_lack_nothing_but_data() -> None:
    few, bad = Metric.undefined("kid", TooFew.of("3 groups", 3, 8)), Metric.undefined("kid", "no background")
    found = [
        pooled([[m] for m in folds], 0.5)[0].shortage for folds in ((metric(1), few, few), (few, bad, metric(1)), (metric(1), metric(2)))
    ]
    assert found == [Shortage(found=3, needed=8, of="groups"), None, Shortage(found=2, needed=3, of="folds")]
    assert pooled([[few], [], [metric(1)]], 0.5)[0].shortage is None  # what was not measured is not short of groups
    assert pooled([[few], [few], [few]], 0.5, obstacle="folds are not apart")[0].shortage is None


def test_an_obstacle_takes_every_number_away() -> None:
    found = pooled([[metric(v), metric(v, "fd")] for v in (0.1, 0.2, 0.3)], 1.0, obstacle="the folds are not apart")
    assert [(m.name, m.value, m.reason) for m in found] == [(n, None, "the folds are not apart") for n in ("kid_folds", "fd_folds")]


def test_what_a_metric_says_of_itself_and_its_null_are_kept() -> None:
    folds = [
        metric(v, higher_is_better=False, features="scattering", unit="dB", null=Null(value=v / 10, ci95=(0, v)), ci95=(v - 1, v + 1), n=8)
        for v in (1.0, 2.0, 6.0)
    ]
    (found,) = pooled([[m] for m in folds], 1.0)
    assert (found.higher_is_better, found.features, found.unit) == (False, "scattering", "dB")
    assert found.null is not None and found.null.value == pytest.approx(0.3)
    assert found.null.ci95 == pytest.approx(corrected_interval([0.1, 0.2, 0.6], 1.0))
    assert found.detail["folds"][2] == {"value": 6.0, "ci95": (5.0, 7.0), "n": 8, "unit_of_n": "samples"}
    assert Metric.model_validate_json(found.model_dump_json()).detail["folds"][2]["ci95"] == [5.0, 7.0]
    assert pooled([[m] for m in (*folds[:2], metric(6.0))], 1.0)[0].null is None
