from dataclasses import replace

import numpy as np
import pytest
from patchsets import images_2d
from tissue import patches

from sciimg.records import canonical_json
from sciimg.types import PatchSet
from sciimg.validation.distribution import DERIVED, FAULTS, SET_METRICS, obstacle, set_metrics
from sciimg.validation.features.space import fit_space
from sciimg.validation.features.texture import texture
from sciimg.validation.physics.controls import blurred, noisier
from sciimg.validation.relations import overlapping, related, same_group


@pytest.fixture(scope="module")
def real():
    return patches("holdout", 32)


@pytest.fixture(scope="module")
def space():
    return fit_space("texture", texture, patches("train", 32))


def independent(samples: PatchSet, prefix: str = "s") -> PatchSet:
    return replace(samples, groups=np.array([f"{prefix}{i}" for i in range(len(samples))]))


def judged(real, synthetic, space, rounds=40):
    return {m.name.removesuffix("_texture"): m for m in set_metrics(real, synthetic, [space], rounds=rounds)}


@pytest.fixture(scope="module")
def good(real, space):
    return judged(real, independent(patches("train", 64)), space)


def test_every_name_is_there_once_with_what_a_reader_needs(good, real):
    assert set(good) == {*SET_METRICS, *DERIVED, *(f"control_{f}" for f in FAULTS)}
    missing = {"authenticity": "no training images", "ct": "no training images", "fd_infinity": "64 are needed"}
    for name, reason in missing.items():
        assert good[name].status == "undefined" and reason in good[name].reason
    for name in SET_METRICS.keys() - missing.keys():
        metric = good[name]
        assert metric.status == "ok" and metric.n_real == len(real) and metric.n_synthetic == 24
        assert metric.features == "texture" and metric.higher_is_better is SET_METRICS[name].higher_is_better
        assert metric.ci95[0] <= metric.value <= metric.ci95[1]
        assert metric.null.ci95[0] <= metric.null.value <= metric.null.ci95[1]
        assert metric.detail["samples_on_each_side"] <= 12 and metric.source


def test_derived_metrics_are_what_they_say(good):
    assert good["coverage_ratio"].value == pytest.approx(good["coverage"].value / good["coverage"].null.value)
    assert good["kid_effect"].value == pytest.approx(good["kid"].value / good["kid_effect"].detail["divisor"])
    assert good["kid_per_blur"].value == pytest.approx(good["kid"].value / good["kid"].detail["faults"]["blurred"])
    assert good["kid_per_blur"].detail["faults"]["blurred"] == pytest.approx(1)  # in the unit of the metric, as a gate reads it
    assert good["kid_effect"].detail["faults"]["noisier"] == pytest.approx(good["control_noisier"].value)


def test_planted_faults_are_flagged_and_reported(good):
    assert "kid" in good["control_blurred"].detail["flagged_by"] and "kid" in good["control_noisier"].detail["flagged_by"]
    assert {"recall", "coverage"} & set(good["control_mode-dropped"].detail["flagged_by"])
    assert "recall" in good["control_duplicated"].detail["flagged_by"]


def test_every_metric_shows_what_it_says_on_planted_faults(good):
    seen = {name: good[name].detail["faults"] | {"real": good[name].null.value} for name in ("mmd", "swd", "vendi")}
    for name in ("mmd", "swd"):
        assert min(seen[name]["blurred"], seen[name]["noisier"], seen[name]["mode-dropped"]) > 1.5 * seen[name]["real"]
    assert seen["vendi"]["duplicated"] < seen["vendi"]["real"] and seen["vendi"]["mode-dropped"] < seen["vendi"]["real"]
    assert good["vendi_ratio"].value == pytest.approx(good["vendi"].value / good["vendi"].null.value)
    assert good["mmd"].detail["bandwidth"] > 0


def test_copies_of_training_images_are_nearer_than_real_ones(real, space):
    train = patches("train", 32)
    rng = np.random.default_rng(0)
    copies = replace(train, images=np.clip(train.images + rng.normal(0, 20, train.images.shape), 0, 65535).astype(train.images.dtype))
    for synthetic, copied in ((independent(copies), True), (patches("calibration", 16), False)):
        found = set_metrics(real, synthetic, [space], train=train, rounds=40)
        metrics = {m.name.removesuffix("_texture"): m for m in found}
        authentic, ct = metrics["authenticity"], metrics["ct"]
        assert authentic.detail["training_images"] == len(train)
        assert not authentic.detail["faults"]  # none of them is a copy
        assert (authentic.ci95[1] < authentic.null.ci95[0]) is copied
        assert (ct.ci95[1] < min(ct.null.ci95[0], -2)) is copied
    other = replace(train, images=train.images.astype(np.float32))
    undefined = {m.name: m for m in set_metrics(real, independent(copies), [space], train=other, rounds=10)}
    assert "training ones" not in undefined["kid_texture"].reason and "float32" in undefined["ct_texture"].reason


def test_a_large_set_is_compared_piece_by_piece():
    """1,200 images: every split takes 512 a side, and faults are planted in 1,024 of them."""
    small = (1, 10, 10)
    real, alike = noise(1200, shape=small), images_2d(np.random.default_rng(3).integers(0, 200, (1200, *small)).astype("uint8"))
    flat = fit_space("flat", lambda images: images.reshape(len(images), -1)[:, :12].astype(np.float64), noise(50, shape=small))
    found = {m.name: m for m in set_metrics(real, alike, [flat], rounds=8)}
    assert found["control_blurred_flat"].n_real == 1200
    assert found["kid_flat"].status == "ok" or "do not tell" in found["kid_flat"].reason
    detail = found["kid_flat"].detail
    assert detail["samples_on_each_side"] == 512 and detail["real_pairs_not_compared"] == pytest.approx(1 / 1200)


def test_worse_images_are_worse(good, real, space):
    rng = np.random.default_rng(0)
    source = patches("train", 64)
    for plant in (blurred(1.0), noisier(0.5)):
        worse = judged(real, independent(plant(source, rng)), space)
        assert worse["kid_effect"].ci95[0] > max(2, good["kid_effect"].ci95[1])
        assert worse["fd"].value > good["fd"].value
        assert worse["coverage_ratio"].value < good["coverage_ratio"].value
    few = judged(real, independent(source.take(list(range(3)) * 8)), space)
    assert few["recall"].value < 0.1


def test_the_same_key_gives_the_same_numbers(good, real, space):
    assert judged(real, independent(patches("train", 64)), space) == good


def test_a_blind_space_may_not_judge(real):
    blind = fit_space("blind", lambda images: images.mean(axis=(2, 3), dtype=np.float64), patches("train", 32))
    metrics = {m.name: m for m in set_metrics(real, independent(patches("train", 64)), [blind], rounds=20)}
    assert metrics["kid_blind"].status == "undefined" and "blurred" in metrics["kid_blind"].reason
    assert metrics["kid_effect_blind"].status == metrics["coverage_blind"].status == "undefined"
    assert metrics["control_blurred_blind"].status == "ok"


def noise(n, dtype="uint8", shape=(1, 24, 24)):
    return images_2d(np.random.default_rng(n).integers(0, 200, (n, *shape)).astype(dtype))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (noise(0), noise(30), "no real images"),
        (noise(30), noise(0), "no synthetic images"),
        (noise(30), images_2d(np.full((30, 1, 24, 24), np.nan)), "30 of 30 synthetic images hold NaN"),
        (images_2d(np.full((30, 1, 24, 24), 7, np.uint8)), noise(30), "all real images are constant: every pixel is 7"),
        (noise(30), images_2d(np.zeros((30, 1, 24, 24), np.uint8)), "all synthetic images are constant"),
        (noise(30), noise(30, "float32"), "share an intensity scale"),
        (noise(30), noise(30, shape=(1, 24, 25)), "(1, 24, 25)"),
        (noise(30), noise(30, shape=(2, 24, 24)), "(2, 24, 24)"),
        (noise(1), noise(30), "1 independent groups of real"),
        (noise(30), noise(7), "7 independent groups of synthetic"),
    ],
)
def test_an_outcome_with_a_reason_instead_of_a_crash(first, second, said):
    some = fit_space("texture", texture, noise(40))
    metrics = set_metrics(first, second, [some], rounds=10)
    assert len(metrics) == len(SET_METRICS) + len(DERIVED) + len(FAULTS)
    assert all(m.status == "undefined" and said in m.reason for m in metrics)
    few = "independent groups" in said  # more data would help here, and nowhere else
    assert {m.shortage and m.shortage.needed for m in metrics} == {8 if few else None}


def test_groups_decide_what_is_independent():
    few = replace(noise(40), groups=np.repeat(["a", "b", "c", "d"], 10))
    assert "4 independent groups of real" in obstacle(few, noise(40))


def test_relations_of_patches():
    samples = patches("holdout", 32)
    rows = np.arange(len(samples))
    shared = overlapping(samples)(rows, rows)
    origins = np.array([eval(o) for o in samples.table["origin"]])
    for i, j in [(0, 1), (0, 5), (10, 40)]:
        boxes = [np.zeros((512, 512), bool) for _ in range(2)]
        for box, (y, x) in zip(boxes, origins[[i, j]], strict=True):
            box[y : y + 64, x : x + 64] = True
        assert shared[i, j] == (boxes[0] & boxes[1]).any()
    everything = related(samples)
    assert (everything(rows, rows) == (shared | same_group(samples)(rows, rows))).all()
    assert (everything(rows[3:20], rows[::2]) == everything(rows, rows)[3:20, ::2]).all()
    assert (everything.take(rows[::3])(np.arange(5), np.arange(5)) == everything(rows[:15:3], rows[:15:3])).all()
    assert (overlapping(noise(5))(np.arange(5), np.arange(5)) == np.eye(5, dtype=bool)).all()


def test_few_images_still_have_a_kernel_distance():
    """Eight images a side leave four in each half: no five nearest neighbours, but a KID with its null."""
    metrics = {m.name: m for m in set_metrics(noise(9), noise(8), [fit_space("texture", texture, noise(40))], rounds=30)}
    assert metrics["coverage_texture"].status == metrics["coverage_ratio_texture"].status == "undefined"
    assert "too few for 5 nearest" in metrics["coverage_texture"].reason or "do not tell" in metrics["coverage_texture"].reason
    if not metrics["kid_texture"].reason:
        assert metrics["kid_texture"].null is not None
    for metric in metrics.values():
        canonical_json(metric.as_json())  # no NaN anywhere
