"""What holds for every metric, of pairs and of sets. A new metric joins by being in its registry."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from patchsets import images_2d
from scipy import ndimage

from sciimg.errors import InputError
from sciimg.protocol.vocabulary import metrics as vocabulary
from sciimg.records import canonical_json
from sciimg.stages.metrics import compare_sets, pair
from sciimg.types import PatchSet
from sciimg.validation.distribution import DERIVED, FAULTS, SET_METRICS, set_metrics
from sciimg.validation.features.named import FIXED
from sciimg.validation.features.space import FeatureSpace, fit_space
from sciimg.validation.features.texture import texture
from sciimg.validation.membership import NAMES as MEMBERSHIP
from sciimg.validation.pair import OF_IMAGES, PAIR_METRICS, pair_metrics

PAIR_KEYS = {"name", "value", "status", "reason", "n", "data_range", "higher_is_better"}
SET_KEYS = PAIR_KEYS | {"ci95", "null", "n_real", "n_synthetic", "features"}


def grains(n: int, seed: int, shape: tuple[int, ...] = (32, 32), channels: int = 1) -> PatchSet:
    """Textures of varying grain, contrast and level in 12 bits."""
    rng = np.random.default_rng(seed)
    images = np.empty((n, channels, *shape))
    for i, c in np.ndindex(n, channels):
        smooth = ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(0.8, 2.5))
        images[i, c] = rng.uniform(0.6, 1.6) * smooth / smooth.std() + 0.1 * rng.standard_normal(shape) + 0.5 * rng.standard_normal()
    patches = images_2d(np.clip(2000 + 250 * images, 0, 4095).astype(np.uint16))
    return replace(patches, spacing=type(patches.spacing)((1.0,) * len(shape), "pixel"))


def masks(patches: PatchSet) -> PatchSet:
    return replace(patches, images=(patches.images > 2000).astype(np.uint8))


def noisy(patches: PatchSet, spread: float) -> PatchSet:
    added = patches.images + np.random.default_rng(9).normal(0, spread, patches.images.shape)
    return replace(patches, images=np.clip(np.rint(added), 0, 4095).astype(np.uint16))


# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize("shape", [(64, 64), (16, 20, 24)], ids=["2d", "3d"])
@pytest.mark.parametrize("name", [name for name, metric in PAIR_METRICS.items() if not metric.of_acquisitions])
def test_a_worse_image_has_a_worse_value(name: str, shape: tuple[int, ...]) -> None:
    reference = grains(3, 0, shape, channels=2)
    prepare = masks if PAIR_METRICS[name].of_masks else lambda p: p
    values = [pair_metrics(prepare(reference), prepare(noisy(reference, s)), metrics=[name])[0] for s in (10, 100, 400)]
    assert all(v.status == "ok" and v.higher_is_better is not None and v.source for v in values)
    sign = 1 if values[0].higher_is_better else -1
    assert sign * values[0].value > sign * values[1].value > sign * values[2].value
    assert values[0].ci95[0] <= values[0].value <= values[0].ci95[1]


@pytest.mark.parametrize("name", PAIR_METRICS)
@pytest.mark.parametrize("bad", ["empty", "nan", "shape", "zero", "constant", "tiny"])
def test_no_pair_crashes_or_gives_a_number_that_means_nothing(name: str, bad: str) -> None:
    good = grains(2, 0)
    match bad:
        case "empty":
            first, second = good.take([]), good.take([])
        case "nan":
            first, second = good, replace(good, images=np.full(good.images.shape, np.nan))
        case "shape":
            first, second = good, grains(2, 0, (32, 40))
        case "tiny":
            first = second = grains(2, 0, (3, 3))
        case _:
            level = 0 if bad == "zero" else 7
            first = second = replace(good, images=np.full_like(good.images, level))
    (metric,) = pair_metrics(first, second, metrics=[name])
    canonical_json(metric.as_json())
    if bad in ("empty", "nan", "shape"):
        assert metric.status == "undefined" and metric.reason
    elif metric.status == "ok":  # identical images, defined however flat they are
        assert metric.value in (pytest.approx(1), pytest.approx(0))


# ---------------------------------------------------------------- sets


@pytest.fixture(scope="module")
def space() -> FeatureSpace:
    return fit_space("texture", texture, grains(60, 1))


@pytest.fixture(scope="module")
def cases(space: FeatureSpace) -> dict[str, dict[str, float]]:
    real, alike, train = grains(130, 2), grains(130, 3), grains(60, 1)
    blurred = replace(alike, images=ndimage.gaussian_filter(alike.images.astype(float), (0, 0, 1, 1)).astype(np.uint16))
    few = alike.take((list(range(3)) * 44)[:130])
    few = replace(few, groups=np.array([f"s{i}" for i in range(len(few))]))
    copied = replace(alike, images=np.concatenate([train.images, train.images, train.images[:10]]))
    sets = {"alike": alike, "blurred": blurred, "few": few, "copied": copied}
    judged = {name: set_metrics(real, patches, [space], train=train, rounds=24) for name, patches in sets.items()}
    return {name: {m.name: m for m in metrics} for name, metrics in judged.items()}


@pytest.mark.parametrize("name", [*SET_METRICS, *DERIVED])
def test_a_worse_set_has_a_worse_value(name: str, cases: dict) -> None:
    family = name.partition("_")[0]
    fault = {"recall": "few", "vendi": "few", "authenticity": "copied", "ct": "copied"}.get(family, "blurred")
    alike, worse = (cases[case][f"{name}_texture"] for case in ("alike", fault))
    assert alike.status == "ok" and alike.null is not None and alike.features == "texture"
    assert alike.n_real == alike.n_synthetic == 130 and alike.source
    sign = 1 if alike.higher_is_better else -1
    assert sign * alike.value > sign * worse.value
    assert alike.null.ci95[0] - 1e-9 <= alike.null.value <= alike.null.ci95[1] + 1e-9
    canonical_json(alike.as_json())


def test_the_vocabulary_of_studies_knows_every_metric_of_sets() -> None:
    known = vocabulary([])
    for space in (*FIXED, "encoder", "weights"):
        names = [*SET_METRICS, *DERIVED, *(f"control_{fault}" for fault in FAULTS)]
        assert {f"{name}_{space}" for name in names} <= set(known)
    assert {f"paired_{name}" for name in OF_IMAGES} <= set(known)


@pytest.mark.parametrize("compute", FIXED.values(), ids=FIXED)
def test_sets_of_volumes(compute) -> None:
    """A space whose distances are defined has told every planted fault from real volumes."""
    real, alike = grains(32, 4, (16, 16, 16)), grains(32, 5, (16, 16, 16))
    found = {m.name: m for m in set_metrics(real, alike, [fit_space("x", compute, grains(32, 6, (16, 16, 16)))], rounds=20)}
    assert found["kid_x"].status == "ok"
    assert found["kid_effect_x"].ci95[0] < 1


# ---------------------------------------------------------------- as the command line gives them


def written(folder: Path, patches: PatchSet) -> Path:
    folder.mkdir()
    for i, image in enumerate(patches.images):
        tifffile.imwrite(folder / f"p{i:02d}.tif", image[0])
    return folder


def test_pair_of_folders(tmp_path: Path) -> None:
    reference = grains(3, 0)
    value = pair(
        written(tmp_path / "a", reference),
        written(tmp_path / "b", noisy(reference, 50)),
        metrics=["ssim", "ms-ssim", "psnr"],
        data_range=None,
    )
    json.dumps(value, allow_nan=False)
    assert [m["name"] for m in value["metrics"]] == ["ssim", "ms_ssim", "psnr"]
    for metric in value["metrics"]:
        assert set(metric) >= PAIR_KEYS and metric["status"] == "ok"
        assert metric["n"] == 3 and metric["data_range"] == 4095 and metric["higher_is_better"] is True
    given = pair(tmp_path / "a/p00.tif", tmp_path / "b/p00.tif", metrics=["psnr"], data_range=255.0)["metrics"][0]
    assert given["data_range"] == 255 and given["value"] < value["metrics"][2]["value"]


def test_sets_of_folders_with_training_images(tmp_path: Path) -> None:
    real, synthetic, train = (written(tmp_path / name, grains(16, seed)) for name, seed in (("r", 1), ("s", 2), ("t", 3)))
    value = compare_sets(real, synthetic, train=train, metrics=["kid", "prdc"])
    json.dumps(value, allow_nan=False)
    found = {m["name"]: m for m in value["metrics"]}
    names = ("kid", "precision", "recall", "density", "coverage")
    assert {f"{n}_{s}" for n in (*names, *MEMBERSHIP) for s in ("scattering", "texture")} | {"copy-rate", "copy-control"} <= set(found)
    for metric in value["metrics"]:
        assert set(metric) >= SET_KEYS
    kid = found["kid_texture"]
    assert kid["status"] == "ok" and kid["n_real"] == kid["n_synthetic"] == 16 and set(kid["null"]) == {"value", "ci95"}
    copied = compare_sets(real, train, train=train, metrics=["kid"])
    assert next(m for m in copied["metrics"] if m["name"] == "copy-rate")["value"] == 1


@pytest.mark.parametrize(
    "call", [lambda p: pair(p, p, metrics=["x", "y"], data_range=None), lambda p: compare_sets(p, p, train=None, metrics=["x", "y"])]
)
def test_every_unknown_metric_is_named(tmp_path: Path, call) -> None:
    with pytest.raises(InputError) as error:
        call(tmp_path)
    assert [p.kind for p in error.value.problems] == ["unknown-metric"] * 2
