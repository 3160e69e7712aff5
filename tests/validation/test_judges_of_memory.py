"""The calibration of the judges of memory, small: real sets are not flagged, eight canaries are, leaks are found in every disguise."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.data import immunohistochemistry

from sciimg.validation.disguises import DISGUISES, disguised, span_of

ROOT = Path(__file__).resolve().parents[1]


def test_rates_on_real_tissue() -> None:
    spec = importlib.util.spec_from_file_location("judges_memory", ROOT / "benchmarks" / "judges_memory.py")
    assert spec is not None and spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules["judges_memory"] = bench
    spec.loader.exec_module(bench)
    image = immunohistochemistry()[..., 1].astype(np.float32)
    side = bench.SIDE + 2 * bench.RIM
    images = np.stack([image[y : y + side, x : x + side] for y in range(0, 437, 72) for x in range(0, 437, 72)])[:, None]
    found = bench.measure(images, 2 * bench.RIM, trials=100, key="tissue")
    assert found["told"] == len(images) == 49
    assert found["honest_images_called_copies"] <= 0.01 and found["honest_sets_flagged"]["rate"] <= 0.05
    assert found["canary_sets_flagged"]["rate"] >= 0.95 and found["leaking_splits_found"]["rate"] >= 0.95
    assert min(found["copies_found"].values()) >= 0.95 and min(found["leaks_found"].values()) >= 0.95
    assert found["holdout_images_called_leaked"] <= 0.01


@pytest.mark.parametrize("name", DISGUISES)
@pytest.mark.parametrize("shape", [(2, 24, 24), (1, 12, 14, 16)])
def test_a_disguise_keeps_the_shape_and_changes_the_image(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(100, 4000, shape).astype(np.uint16)
    copy = disguised(image, name, span_of(image[None]), rng)
    assert copy.shape == image.shape and copy.dtype == np.float32
    assert np.isfinite(copy).all() and not np.array_equal(copy, image)
    if name == "recompressed":
        assert np.abs(copy - image).mean() < 0.2 * image.std()
