"""The mark: an exact null, the score that theory gives, and found again after what happens to images."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sciimg.protocol.vocabulary import metrics
from sciimg.randomness import generator
from sciimg.records import digest_of
from sciimg.types import PatchSet, Spacing
from sciimg.validation.watermark import eight_bit, noisier, watermark_metrics
from sciimg.watermark import Match, embed, local_noise, pattern, score, whitened

STUDY = digest_of("a study")


def image(shape: tuple[int, ...], *key: str, dtype: Any = np.uint16) -> NDArray[Any]:
    """Return smooth structure under white noise, as a camera sees it."""
    rng = generator("test", "watermark", *key)
    smooth = np.stack([gaussian_filter(rng.normal(size=shape[1:]), 4, mode="wrap") * 4000 for _ in range(shape[0])])
    return (8000 + smooth + 60 * rng.normal(size=shape)).astype(dtype)


def z_of(pixels: NDArray[Any], id: str, study: str = STUDY) -> float:
    match = score(whitened(pixels), pattern(study, id, pixels.shape))
    assert match is not None
    return match.z


@pytest.mark.parametrize("shape", [(2, 48, 40), (1, 16, 14, 18)])
def test_chance_has_mean_0_and_variance_1_whatever_the_image(shape: tuple[int, ...]) -> None:
    white = whitened(image(shape, "null"))
    scores = np.array([float(np.vdot(pattern(STUDY, f"i{i}", shape), white)) for i in range(600)])
    assert abs(scores.mean()) < 4 / math.sqrt(600)
    assert scores.var() == pytest.approx(1, abs=4 * math.sqrt(2 / 600))
    assert all(np.mean(scores >= t) <= math.exp(-t * t / 2) for t in (1, 2, 3))  # Hoeffding's bound


@pytest.mark.parametrize("shape", [(1, 400, 400), (2, 40, 44, 48)])
def test_the_score_in_white_noise_is_that_of_the_matched_filter(shape: tuple[int, ...]) -> None:
    """In white noise the matched filter is no filter at all: alpha times the root of the number of voxels, give or take 1."""
    pixels = generator("test", "white").normal(size=shape) * 100
    assert z_of(embed(pixels, STUDY, "a", 0.05), "a") == pytest.approx(0.05 * math.sqrt(pixels.size), abs=4)


def test_a_piece_is_found_where_it_was_cut() -> None:
    marked = embed(image((1, 260, 250), "crop"), STUDY, "a", 0.05)
    match = score(whitened(marked[:, 31:231, 7:227]), pattern(STUDY, "a", marked.shape))
    assert match is not None and match.offset == (31, 7) and match.places == 61 * 31
    assert match.chance(256) < 1e-6
    other = score(whitened(marked[:, 31:231, 7:227]), pattern(STUDY, "b", marked.shape))
    assert other is not None and other.chance() > 1e-3


def test_the_mark_survives_8_bits_and_noise_and_names_one_image_of_one_study() -> None:
    marked = embed(image((2, 96, 96), "attacks"), STUDY, "a", 0.05)
    clean = z_of(marked, "a")
    assert clean > 6
    assert z_of(eight_bit(marked), "a") > 0.8 * clean
    assert z_of(noisier(marked, ("noise",)), "a") == pytest.approx(clean / math.sqrt(2), abs=2)
    assert abs(z_of(marked, "b")) < 4.5 and abs(z_of(marked, "a", digest_of("another study"))) < 4.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_type_range_and_flat_places_stay(dtype: Any) -> None:
    pixels = np.zeros((1, 40, 40), dtype)
    pixels[:, 20:] = image((1, 20, 40), "edge", dtype=np.float64) % 250
    marked = embed(pixels, STUDY, "a", 0.1)
    assert marked.dtype == pixels.dtype and marked.shape == pixels.shape
    assert np.array_equal(marked[:, :16], pixels[:, :16]), "air stays air"
    assert np.array_equal(marked, embed(pixels, STUDY, "a", 0.1)) and not np.array_equal(marked, pixels)
    full = np.full((1, 9, 9), np.iinfo(np.uint8).max, np.uint8)
    assert np.array_equal(embed(full, STUDY, "a", 0.1), full)


def test_a_mark_below_one_grey_level_is_found() -> None:
    """Rounding at random keeps the mean of what is added; plain rounding would lose it."""
    pixels = np.rint(generator("test", "faint").normal(100, 3, (1, 400, 400))).astype(np.uint8)
    marked = embed(pixels, STUDY, "a", 0.05)  # 0.15 grey levels
    assert np.abs(marked.astype(int) - pixels).max() == 1
    assert z_of(marked, "a") > 9


def test_local_noise_is_the_standard_deviation_of_white_noise() -> None:
    noise = generator("test", "level").normal(size=(200, 200)) * 25
    assert np.sqrt((local_noise(noise) ** 2).mean()) == pytest.approx(25, rel=0.02)


def test_chance_counts_what_was_looked_at() -> None:
    assert Match(8.0, (0, 0), 100).chance(5) == pytest.approx(500 * math.exp(-32))
    assert Match(-3.0, (0, 0), 1).chance() == 1.0


def patches(images: NDArray[Any]) -> PatchSet:
    n = len(images)
    table = pd.DataFrame({"id": [f"ldm-{i:06d}" for i in range(n)]})
    groups = np.array([f"g{i // 2}" for i in range(n)], dtype=object)
    return PatchSet(images, None, groups, table, Spacing((1.0, 1.0), "pixel"), ("a",))


def test_metrics_say_what_was_found_and_what_it_cost() -> None:
    before = np.stack([image((1, 64, 64), str(i)) for i in range(8)])
    after = np.stack([embed(x, STUDY, f"ldm-{i:06d}", 0.05) for i, x in enumerate(before)])
    about: dict[str, Any] = {"rounds": 50, "key": ("test",)}
    found = {m.name: m for m in watermark_metrics(patches(after), patches(before[:6]), None, STUDY, **about)}
    scores = {
        name: found[f"watermark-z{name}"].value or 0.0 for name in ("", "_unmarked", "_cropped", "_eight-bit", "_noisier", "_together")
    }
    assert scores["_together"] == pytest.approx(scores[""] * math.sqrt(6))
    assert abs(scores["_unmarked"]) < 4 / math.sqrt(6) < scores["_cropped"] < scores[""]
    assert found["watermark-z"].n == 3 and found["watermark-z"].ci95 is not None
    error = np.sqrt(np.mean((after[:6].astype(float) - before[:6]) ** 2))
    assert found["watermark-psnr"].detail["psnr_over_the_range_of_the_type_db"] == pytest.approx(20 * math.log10(65535 / error))
    assert 0.999 < (found["watermark-ssim"].value or 0) < 1
    assert found["watermark-dice-change"].status == "undefined"
    none = watermark_metrics(None, None, None, STUDY, **about)
    assert set(found) <= set(metrics(())), "gates may name them"
    assert {m.name for m in none} == set(found) and all(m.reason for m in none)
