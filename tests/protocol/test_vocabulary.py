"""The words of the contract are the words of the judges: neither knows one that the other does not."""

import pytest

from sciimg.protocol.data import ClassCondition, MaskCondition, ScalarCondition
from sciimg.protocol.validation import LARGEST_RATIO, DownstreamPlan
from sciimg.protocol.vocabulary import PHYSICS, SPACES, metrics, ratio_of
from sciimg.validation import downstream, pair
from sciimg.validation.distribution import DERIVED, FAULTS, SET_METRICS
from sciimg.validation.inception import NAME as INCEPTION
from sciimg.validation.membership import NAMES as MEMBERSHIP
from sciimg.validation.obedience import SCALAR_PARTS, undefined_class
from sciimg.validation.physics import CHECKS

KNOWN = metrics(
    (
        MaskCondition(kind="mask"),
        ScalarCondition(kind="scalar", name="level", measure="foreground-fraction"),
        ClassCondition(kind="class", name="type", column="type"),
    )
)


def test_physics_checks() -> None:
    assert set(PHYSICS) == set(CHECKS)


def starting(*stems: str) -> set[str]:
    return {name for name in KNOWN if name.startswith(stems)}


def test_set_metrics() -> None:
    stems = (*SET_METRICS, *DERIVED, *MEMBERSHIP, *(f"control_{f}" for f in FAULTS), INCEPTION)
    expected = {f"{stem}_{space}" for space in SPACES for stem in stems}
    assert {n for n in KNOWN if n.endswith(SPACES)} == expected


def test_pair_metrics() -> None:
    assert starting("paired_", "reconstruction_") == {f"{side}_{n}" for side in ("paired", "reconstruction") for n in pair.OF_IMAGES}


def test_downstream_metrics() -> None:
    whole = DownstreamPlan(synthetic_only=True, ratios=tuple(range(1, LARGEST_RATIO + 1)))
    assert starting("downstream_") == set(downstream.names("instances", whole))
    assert {n for n, needs in KNOWN.items() if needs == ("downstream",)} == set(downstream.names("classes", DownstreamPlan()))
    usual = set(downstream.names("instances", DownstreamPlan()))
    alone = set(downstream.names("instances", DownstreamPlan(synthetic_only=True))) - usual
    assert {n for n, needs in KNOWN.items() if "synthetic-only" in needs} == alone
    threefold = set(downstream.names("instances", DownstreamPlan(ratios=(3,)))) - usual
    assert {n for n, needs in KNOWN.items() if "ratio" in needs and ratio_of(n) == 3} == threefold


def test_metrics_of_conditions() -> None:
    by_class = {m.name for m in undefined_class("type", "a test")}
    assert starting("condition_") == by_class | {f"condition_level_{part}" for part in SCALAR_PARTS}


@pytest.mark.parametrize("kind", ["instances", "classes"])
def test_mask_metrics(kind: str) -> None:
    from types import SimpleNamespace
    from typing import Any, cast

    from sciimg.validation.fidelity import mask_fidelity

    holdout = cast("Any", SimpleNamespace(label_kind=kind))
    found = {m.name for suffix in ("", "_paired") for m in mask_fidelity(None, holdout, None, key=("k",), suffix=suffix)}
    assert found == {n for n in starting("mask-") if kind == "instances" or "instances" not in KNOWN[n]}
