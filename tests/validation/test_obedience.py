"""Scalars and classes read back from images, against numpy and against answers that are known."""

import numpy as np
import pytest

from sciimg.validation.obedience import class_obedience, scalar_obedience

KEY = ("test",)

# ---------------------------------------------------------------- scalars


def scalars(requested: np.ndarray, measured: np.ndarray) -> dict[str, float | None]:
    groups = np.array([f"g{i}" for i in range(len(requested))])
    found = scalar_obedience("dose", requested, measured, groups, real_spread=2.0, bootstrap=200, key=KEY)
    return {m.name.removeprefix("condition_dose_"): m.value for m in found}


def test_scalars_against_numpy() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(1e6, 3, 80)  # a large common offset costs no precision
    y = 0.5 * (x - 1e6) + 1e6 + rng.normal(0, 1, 80)
    got = scalars(x, y)
    assert got["correlation"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    assert got["slope"] == pytest.approx(np.polyfit(x - x.mean(), y, 1)[0], abs=1e-9)
    assert got["error"] == pytest.approx(np.sqrt(np.mean((x - y) ** 2)) / 2, abs=1e-9)


def test_the_slope_interval_covers_the_truth() -> None:
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 1, 60)
        found = scalar_obedience(
            "d", x, 0.7 * x + rng.normal(0, 1, 60), np.arange(60), real_spread=1.0, bootstrap=200, key=("t", str(seed))
        )
        interval = next(m.ci95 for m in found if m.name.endswith("slope"))
        hits += interval is not None and interval[0] <= 0.7 <= interval[1]
    assert hits >= 34


@pytest.mark.parametrize(
    ("requested", "measured", "reason"),
    [
        (np.ones(10), np.arange(10.0), "the same for all"),
        (np.arange(10.0), np.full(10, np.nan), "not finite"),
        (np.arange(2.0), np.arange(2.0), "three are needed"),
    ],
)
def test_scalars_without_meaning_have_a_reason(requested: np.ndarray, measured: np.ndarray, reason: str) -> None:
    found = scalar_obedience("d", requested, measured, np.arange(len(requested)), real_spread=1.0, bootstrap=50, key=KEY)
    assert len(found) == 3 and all(reason in m.reason for m in found)


def test_constant_output_has_an_error_but_no_correlation() -> None:
    got = scalars(np.arange(10.0), np.full(10, 4.5))
    assert got["correlation"] is None and got["slope"] == pytest.approx(0) and got["error"] == pytest.approx(np.arange(10.0).std() / 2)


# ---------------------------------------------------------------- classes


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n)
    return rng.normal(0, 1, (n, 5)) + 3 * np.eye(3, 5)[classes], np.array(["a", "b", "c"])[classes]


def read_classes(synthetic: tuple[np.ndarray, np.ndarray]) -> list[float | None]:
    groups = [np.array([f"g{i // 3}" for i in range(n)]) for n in (60, len(synthetic[1]))]
    found = class_obedience(
        "kind",
        train=blobs(120, 0),
        holdout=(*blobs(60, 1), groups[0]),
        synthetic=(*synthetic, groups[1]),
        features="f",
        bootstrap=100,
        key=KEY,
    )
    assert [m.name for m in found] == ["condition_kind_accuracy", "condition_kind_accuracy-ratio"]
    return [m.value for m in found]


def test_classes_that_are_what_they_were_asked_to_be() -> None:
    accuracy, ratio = read_classes(blobs(60, 2))
    assert accuracy is not None and accuracy > 0.85 and ratio == pytest.approx(1, abs=0.1)


def test_classes_at_random_are_read_at_chance() -> None:
    features, classes = blobs(90, 2)
    accuracy, ratio = read_classes((features, np.random.default_rng(0).permutation(classes)))
    assert accuracy is not None and ratio is not None
    assert accuracy == pytest.approx(1 / 3, abs=0.15) and ratio < 0.6


@pytest.mark.parametrize("groups", [1, 5])
def test_classes_that_are_all_read_right_are_not_certain(groups: int) -> None:
    """The intervals of accuracy and of its ratio were [1, 1], of one group too."""
    features, classes = blobs(60, 1)
    apart = features + 50 * np.eye(3, 5)[np.searchsorted(["a", "b", "c"], classes)]
    side = (apart, classes, np.array([f"g{i % groups}" for i in range(60)]))
    accuracy, ratio = class_obedience("k", train=side[:2], holdout=side, synthetic=side, features="f", bootstrap=50, key=KEY)
    share = 0.025 ** (1 / groups)
    assert accuracy.value == 1 and accuracy.ci95 == pytest.approx((share, 1)) and accuracy.null.ci95 == accuracy.ci95
    assert ratio.value == 1 and ratio.ci95 == pytest.approx((share, 1 / share))


def test_one_class_cannot_be_judged() -> None:
    x, _ = blobs(20, 0)
    one = np.full(20, "a")
    found = class_obedience("kind", train=(x, one), holdout=(x, one, one), synthetic=(x, one, one), features="f", bootstrap=50, key=KEY)
    assert all("two are needed" in m.reason for m in found)


def test_the_unit_of_requests_is_the_unit_of_all_and_real_images_say_what_can_be_had() -> None:
    rng = np.random.default_rng(1)
    x, real = rng.normal(0, 1, 40), rng.normal(0, 1, 30)
    y, read = 0.5 * x + rng.normal(0, 1, 40), real + rng.normal(0, 0.3, 30)
    for unit in (1.0, 1e-3):
        found = scalar_obedience(
            "d", unit * x, unit * y, np.arange(40), real_spread=unit, bootstrap=20, key=KEY, on_real=(unit * real, unit * read)
        )
        by_name = {m.name.removeprefix("condition_d_"): m for m in found}
        truth = {
            "correlation": (np.corrcoef(x, y)[0, 1], np.corrcoef(real, read)[0, 1]),
            "slope": (np.polyfit(x, y, 1)[0], np.polyfit(real, read, 1)[0]),
            "error": (np.sqrt(np.mean((x - y) ** 2)), np.sqrt(np.mean((real - read) ** 2))),
        }
        assert [m.higher_is_better for m in found] == [True, None, False]
        assert {name: (m.value, m.null.value) for name, m in by_name.items()} == {k: pytest.approx(v) for k, v in truth.items()}
    bare = scalar_obedience("d", x, y, np.arange(40), real_spread=0.0, bootstrap=20, key=KEY)[-1]  # real values that do not differ: no unit
    assert bare.value == pytest.approx(np.sqrt(np.mean((x - y) ** 2))) and bare.null is None
    few = scalar_obedience("d", x[:2], y[:2], np.arange(2), real_spread=1.0, bootstrap=20, key=KEY)[0]
    assert few.shortage is not None and (few.shortage.found, few.shortage.needed) == (2, 3)


def test_the_discriminant_is_scikit_learns_ridge_regression_of_the_classes_each_as_heavy_as_any_other() -> None:
    """Few images, features that go together and a rare class, so that penalty and weights decide; where features lie does not matter."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    mix = rng.normal(0, 1, (6, 6))
    y = np.repeat([0, 1, 2], [12, 5, 1])
    x, other = (rng.normal(0, 1, (n, 6)) @ mix for n in (len(y), 4000))
    x = x + 0.8 * np.eye(3, 6)[y] @ mix
    unit, spread = x.mean(axis=0), x.std(axis=0)
    z, weight = (x - unit) / spread, 1 / np.array([12, 5, 1])[y]
    strength = 3 / len(y) * np.mean(weight @ z**2)  # classes over images of the mean weighted power of a feature
    ridge = linear_model.Ridge(alpha=strength, fit_intercept=False).fit(z, np.eye(3)[y] - 1 / 3, sample_weight=weight)
    names = np.array(["a", "b", "c"])
    expected = names[ridge.predict((other - unit) / spread).argmax(axis=1)]
    side = (other - 1e3, expected, np.arange(len(other)))
    accuracy, _ = class_obedience("k", train=(x - 1e3, names[y]), holdout=side, synthetic=side, features="f", bootstrap=5, key=KEY)
    assert accuracy.value == 1


def test_the_ratio_of_classes_read_is_as_uncertain_as_what_it_is_divided_by() -> None:
    """Synthetic classes are all read right, so the ratio is 1 / r for a real accuracy r, and its interval that of r over r squared."""
    features, classes = blobs(120, 0)
    clear = (features + 50 * np.eye(3, 5)[np.searchsorted(["a", "b", "c"], classes)], classes)
    wrong = np.where(np.random.default_rng(0).random(120) < 0.5, classes, "a")
    groups = np.arange(120)
    accuracy, ratio = class_obedience(
        "k", train=clear, holdout=(clear[0], wrong, groups), synthetic=(*clear, groups), features="f", bootstrap=300, key=KEY
    )
    real = accuracy.null
    assert accuracy.value == 1 and 0.4 < real.value < 0.9 and ratio.value == pytest.approx(1 / real.value)
    assert ratio.ci95[1] - ratio.ci95[0] == pytest.approx((real.ci95[1] - real.ci95[0]) / real.value**2, rel=0.25)


def test_rounds_that_draw_one_request_alone_have_no_slope() -> None:
    """Two groups of one request each: every round with both of them has the slope 2, the others none."""
    x, groups = np.array([0.0, 0, 1, 1]), np.array(["a", "a", "b", "b"])
    _, slope, _ = scalar_obedience("d", x, 2 * x, groups, real_spread=1.0, bootstrap=50, key=KEY)
    assert slope.value == pytest.approx(2) and slope.ci95 is None and "no_interval" in slope.detail


def test_a_classifier_that_cannot_read_real_images_gives_no_ratio() -> None:
    features, classes = blobs(90, 0)
    groups = np.arange(90)
    shuffled = np.random.default_rng(0).permutation(classes)
    accuracy, ratio = class_obedience(
        "k", train=(features, classes), holdout=(features, shuffled, groups), synthetic=(features, classes, groups),
        features="f", bootstrap=20, key=KEY,
    )  # fmt: skip
    assert accuracy.value is not None and accuracy.null is not None and accuracy.null.value < 0.4
    assert ratio.status == "undefined" and "it cannot judge" in ratio.reason
