"""The worst subgroup decides, and one that cannot be judged leaves nothing to say."""

from typing import Any

import numpy as np
import pytest
from patchsets import images_2d

from sciimg.protocol.vocabulary import metrics
from sciimg.records import Metric, Shortage, TooFew
from sciimg.validation.subgroups import MOST_LEVELS, obstacle, of_value, values_of, worst


def metric(name: str, value: float | None, better: bool | None) -> Metric:
    about: dict[str, Any] = {"higher_is_better": better}
    return Metric.undefined(name, "3 groups", **about) if value is None else Metric(name=name, value=value, n=9, ci95=(-9, 9), **about)


def test_the_worst_is_the_lowest_or_the_highest_as_the_metric_says() -> None:
    sites = {
        "a": [metric("recall_x", 0.9, True), metric("kid_x", 0.1, False)],
        "b": [metric("recall_x", 0.4, True), metric("kid_x", 0.0, False)],
    }
    recall, kid = worst("Site", sites)
    assert (recall.name, recall.value, recall.detail["worst"]) == ("recall_x_worst-site", 0.4, "b")
    assert (kid.name, kid.value, kid.detail["worst"]) == ("kid_x_worst-site", 0.1, "a")
    assert {v: s["value"] for v, s in kid.detail["subgroups"].items()} == {"a": 0.1, "b": 0.0}
    assert kid.ci95 == (-9, 9) and kid.n == 9


def test_a_subgroup_that_cannot_be_judged_may_be_the_worst() -> None:
    (found,) = worst("site", {"a": [metric("recall_x", 0.9, True)], "rare": [metric("recall_x", None, True)]})
    assert found.status == "undefined" and found.reason == "in 1 of 2 subgroups of site; rare: 3 groups"
    assert found.detail["subgroups"]["a"]["value"] == 0.9 and found.detail["subgroups"]["rare"] == {"reason": "3 groups"}


def test_the_worst_is_short_of_data_only_where_every_blank_subgroup_is() -> None:
    few = Metric.undefined("m", TooFew.of("3 groups", 3, 8), higher_is_better=True)
    fewer, bad = few.model_copy(update={"shortage": Shortage(found=1, needed=8, of="groups")}), metric("m", None, True)
    assert worst("site", {"a": [few], "b": [metric("m", 1, True)], "c": [fewer]})[0].shortage == fewer.shortage
    assert worst("site", {"a": [few], "b": [bad]})[0].shortage is None


def test_what_has_no_direction_has_no_worst() -> None:
    assert worst("site", {"a": [metric("n", 1, None)], "b": [metric("n", 2, None)]}) == []


def test_images_are_divided_by_the_text_of_a_column() -> None:
    patches = images_2d(np.arange(4.0).reshape(4, 1, 1, 1))
    assert values_of(patches, "site") is None and values_of(None, "site") is None
    table = patches.table.assign(site=[1, 2, 1, 2])
    sited = type(patches)(patches.images, None, patches.groups, table, patches.spacing, patches.channels)
    values = values_of(sited, "site")
    some = of_value(sited, values, "2")
    assert some is not None and some.images.ravel().tolist() == [1, 3] and len(some.table) == 2
    assert of_value(sited, None, "2") is None


@pytest.mark.parametrize(
    ("real", "made", "said"),
    [
        (None, ["a"], "real images do not say which site"),
        (["a"], None, "synthetic images do not say which site"),
        ([str(i) for i in range(MOST_LEVELS + 1)], ["a"], "13 values"),
        ([], ["a"], "no holdout images"),
        (["a"], ["b"], ""),  # nothing was made for a subgroup: its own metrics say so
    ],
)
def test_an_obstacle_is_named(real: list[str] | None, made: list[str] | None, said: str) -> None:
    values = [None if v is None else np.array(v, dtype=object) for v in (real, made)]
    found = obstacle(*values, "site")
    assert said in found and bool(found) == bool(said)


def test_a_gate_may_name_the_worst() -> None:
    known = metrics((), ("Cell type",))
    assert {"kid_effect_scattering_worst-cell-type", "membership-auc_texture_worst-cell-type"} <= set(known)
    assert known["noise-law_effect_worst-cell-type"] == ("physics",)
    assert not any("_worst-" in name for name in metrics(()))
