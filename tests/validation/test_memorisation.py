"""The search for copies: planted copies are found, other real images are not, and a blind check says so."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sciimg.types import PatchSet, Spacing
from sciimg.validation.memorisation import Training, copies, planted, symmetries


def texture(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2).astype(np.float32) * 1000


def cut(images: list[NDArray[np.float32]], size: tuple[int, ...], n: int, seed: int) -> PatchSet:
    rng = np.random.default_rng(seed)
    patches = []
    for i in range(n):
        image = images[i % len(images)]
        first = [int(rng.integers(0, a - b + 1)) for a, b in zip(image.shape[1:], size, strict=True)]
        patches.append(image[(slice(None), *(slice(f, f + s) for f, s in zip(first, size, strict=True)))])
    groups = np.array([f"g{i % 8}" for i in range(n)])
    return PatchSet(np.stack(patches), None, groups, pd.DataFrame(index=range(n)), Spacing((1.0,) * len(size), "pixel"), ("c",))


@pytest.fixture(params=[((160, 150), (32, 32)), ((48, 48, 40), (16, 16, 16))], ids=["2d", "3d"])
def case(request: pytest.FixtureRequest) -> tuple[Training, PatchSet, PatchSet, PatchSet]:
    shape, size = request.param
    train = [texture(s, (1, *shape)) for s in (1, 2)]
    other = [texture(s, (1, *shape)) for s in (3, 4)]
    return Training(train, size), cut(train, size, 32, 0), cut(other, size, 64, 1), cut(other, size, 48, 2)


def values(case: tuple[Training, PatchSet, PatchSet, PatchSet], judged: PatchSet | None) -> dict[str, float | None]:
    training, draws, holdout, _ = case
    metrics, _ = copies(training, draws, holdout, judged, key=("test",))
    return {m.name: m.value for m in metrics}


def test_real_images_are_no_copies(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    found = values(case, case[3])
    assert found["copy-control"] == 1
    assert found["copy-rate"] is not None
    assert found["copy-rate"] <= 0.05


def test_training_patches_are_copies(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    assert values(case, case[1])["copy-rate"] == 1


def test_turned_brightened_noisy_copies_are_found(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    draws = case[1]
    disguised = PatchSet(planted(draws, ("x",)), None, draws.groups, draws.table, draws.spacing, draws.channels)
    rate = values(case, disguised)["copy-rate"]
    assert rate is not None
    assert rate >= 0.95


def test_the_nearest_window_is_the_place_that_was_copied(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    training, draws, _, _ = case
    nearest = training.nearest(draws.images[:4])
    for n in range(4):
        window = training.window(nearest, n).astype(np.float64)
        turned = max(np.corrcoef(v.ravel(), window.ravel())[0, 1] for v in symmetries(draws.images[n]) if v.shape == window.shape)
        assert turned > 0.5  # within the averaging of a few pixels


def test_images_without_detail_make_the_check_blind() -> None:
    flat = [np.ones((1, 96, 96), np.float32) + np.linspace(0, 1e-3, 96, dtype=np.float32)]
    patches = cut(flat, (32, 32), 32, 0)
    metrics, _ = copies(Training(flat, (32, 32)), patches, patches, patches, key=("test",))
    by_name = {m.name: m for m in metrics}
    assert by_name["copy-rate"].status == "undefined"


def test_no_synthetic_images_is_undefined(case: tuple[Training, PatchSet, PatchSet, PatchSet]) -> None:
    assert values(case, None)["copy-rate"] is None
