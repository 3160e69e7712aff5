"""New masks: small objects stay, objects do not overlap, shapes lie between their parents, and a recipe's images become masks again."""

import numpy as np
import pandas as pd
import pytest
import tissue
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label
from systems.shrunk import shrunk
from textures import Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.training import fit
from sciimg.generation.conditions import draw_conditions
from sciimg.generation.mask_images import MaskImages, image_to_mask, mask_to_image
from sciimg.generation.masks import bending, perturbed, recombined

RNG = np.random.default_rng


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), dims=st.sampled_from([2, 3]))
def test_small_objects_survive_bending(seed: int, dims: int) -> None:
    rng = RNG(seed)
    mask = np.zeros((24,) * dims, np.int32)
    for number in range(1, 8):  # single pixels
        mask[tuple(rng.integers(0, 24, dims))] = number
    bent = perturbed(mask, bending(mask.shape, RNG(seed + 1), turn=True))
    # two that fall onto one pixel cannot both stay
    assert len(np.setdiff1d(np.unique(mask), np.unique(bent))) <= 1


def test_bending_as_before_where_nothing_is_lost() -> None:
    masks = Textures((32, 32)).draw(("m",), range(8)).labels
    kept = [
        np.count_nonzero(perturbed(mask, bending(mask.shape, RNG(i), turn=False))) / max(1, np.count_nonzero(mask))
        for i, mask in enumerate(masks)
    ]
    assert 0.85 < np.mean(kept) < 1.2


def test_scattered_objects_are_real_ones_without_overlap() -> None:
    masks = list(tissue.patches("train").labels[:40])
    sizes = {int(n) for mask in masks for n in np.bincount(label(mask).ravel())[1:]} | {
        int(n) for mask in masks for n in np.bincount(mask.ravel())[1:]
    }
    made = [recombined(masks[i : i + 4], "instances", RNG(i), turn=True) for i in range(0, 36, 4)]
    for i, mask in zip(range(0, 36, 4), made, strict=True):
        own = np.bincount(mask.ravel())[1:]
        assert set(own[own > 0].tolist()) <= sizes
        wanted = len(np.unique(masks[i])) - 1
        assert 0.8 * wanted <= (own > 0).sum() <= wanted
        assert not any(np.array_equal(mask > 0, other > 0) for other in masks)


def test_objects_that_a_border_cuts_stay_at_it() -> None:
    mask = np.zeros((20, 20), np.int32)
    mask[0:5, 7:12] = 1
    mask[10:13, 18:20] = 2
    made = recombined([mask], "instances", RNG(0), turn=True)
    for number in (1, 2):
        size = (mask == number).sum()
        found = [n for n in np.unique(made)[1:] if (made == n).sum() == size]
        for n in found:
            places = np.nonzero(made == n)
            assert places[0].min() == 0 if number == 1 else places[1].max() == 19


def test_shapes_between_two_balls() -> None:
    grid = np.indices((31, 31, 31))
    small, large = (((grid - 15) ** 2).sum(0) < r**2 for r in (5, 11))
    volumes = [(recombined([small.astype(np.int32), large.astype(np.int32)], "classes", RNG(i), turn=False) > 0).sum() for i in range(12)]
    assert small.sum() < min(volumes) and max(volumes) < large.sum()


@pytest.mark.parametrize("kind", ["instances", "classes"])
def test_masks_become_images_and_masks_again(kind: str) -> None:
    if kind == "classes":
        masks = tissue.brain(4).labels
        images = mask_to_image(masks, "classes", 3)
        assert images.shape == (4, 4, 24, 24, 24) and np.array_equal(image_to_mask(images, "classes"), masks)
        return
    masks = tissue.patches("train").labels[:40]
    back = image_to_mask(mask_to_image(masks, "instances", 0), "instances")
    assert ((back > 0) == (masks > 0)).mean() > 0.995
    before, after = (np.array([len(np.unique(m)) - 1 for m in part]) for part in (masks, back))
    assert abs(before.sum() - after.sum()) < 0.1 * before.sum()


def test_a_source_of_masks_has_no_conditions() -> None:
    source = MaskImages(Textures((16, 16)), "instances")
    patches = source.draw(("m",), range(3))
    assert patches.labels is None and patches.channels == ("distance",) and patches.images.shape == (3, 1, 16, 16)
    assert np.isfinite(patches.images).all()
    assert MaskImages(Textures((8, 8, 8), ("a",)), "classes").draw(("m",), range(2)).images.shape[2:] == (8, 8, 8)


def test_recombined_conditions_depend_on_their_index_alone() -> None:
    source, key = Textures((24, 24)), ("study", "generate")
    whole = draw_conditions(source, range(6), key, masks="recombined")
    part = draw_conditions(source, [4, 1], key, masks="recombined")
    assert np.array_equal(part.labels, whole.labels[[4, 1]])
    touching = ndimage.binary_dilation(whole.labels[0] > 0)
    assert touching.any()


def test_a_recipe_learns_masks_and_draws_new_ones(tmp_path) -> None:
    source = MaskImages(Textures((16, 16)), "instances")
    fit(shrunk(get_recipe("pixel-flow")), source, source, (), key=("masks",), out=tmp_path / "model", provenance={})
    made = Augmenter.load(tmp_path / "model").sample(None, pd.DataFrame(index=range(3)), key=("k",), indices=range(3), steps=2)
    masks = image_to_mask(made, "instances")
    assert masks.shape == (3, 16, 16) and masks.dtype == np.int32
