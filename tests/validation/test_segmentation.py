"""The judges' own segmenter: learns, repeats to the bit, keeps to its samples, survives its file."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tissue
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from patchsets import images_2d

from sciimg.errors import InputError
from sciimg.types import PatchSet
from sciimg.validation.augment import augmented
from sciimg.validation.scores import f1, object_counts, overlap_counts
from sciimg.validation.segmentation import Segmenter, Training, train_segmenter
from sciimg.validation.targets import BORDER, INTERIOR, class_count, to_classes, to_labels
from sciimg.validation.unet import new_unet

SHORT = Training(steps=60, width=8)


def discs(count: int, side: int, seed: int, radius: int = 5) -> PatchSet:
    """Bright discs on a noisy ground, two or three a patch, apart from one another."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    images, labels = rng.normal(100, 10, (count, 1, side, side)), np.zeros((count, side, side), np.int32)
    for i in range(count):
        corners = rng.permutation([(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)])[: rng.integers(2, 4)]
        for n, (cy, cx) in enumerate(corners, start=1):
            labels[i][(y - cy * side) ** 2 + (x - cx * side) ** 2 <= radius**2] = n
        images[i, 0][labels[i] > 0] += 60
    return images_2d(np.rint(images).astype(np.uint16), labels)


@cache
def trained() -> Segmenter:
    return train_segmenter(discs(24, 32, 0), SHORT, key=("t",))


def score(segmenter: Segmenter, patches: PatchSet) -> tuple[float, float]:
    found, truth = segmenter.segment(patches).labels, patches.labels
    assert found is not None and truth is not None
    return float(f1(overlap_counts(found, truth, "instances", 3).sum(0))), float(f1(object_counts(found, truth).sum(0)))


def test_it_learns_discs_from_real_images() -> None:
    dice, objects = score(trained(), discs(8, 32, 1))
    assert dice > 0.9 and objects > 0.9


def test_same_key_same_bits_whatever_was_drawn_before() -> None:
    torch.rand(17)
    again = train_segmenter(discs(24, 32, 0), replace(SHORT, steps=5), key=("t",))
    torch.manual_seed(99)
    other = train_segmenter(discs(24, 32, 0), replace(SHORT, steps=5), key=("t",))
    assert all(torch.equal(a, b) for a, b in zip(again.network.state_dict().values(), other.network.state_dict().values(), strict=True))


def test_another_key_gives_another_segmenter() -> None:
    first, second = (train_segmenter(discs(8, 32, 0), replace(SHORT, steps=2), key=("t", n)) for n in range(2))
    assert not torch.equal(first.network.head.weight, second.network.head.weight)


def test_training_leaves_the_global_random_state_and_threads_alone() -> None:
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train_segmenter(discs(8, 32, 0), replace(SHORT, steps=2), key=("t",))
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads


def test_a_sample_is_read_alike_alone_and_among_others() -> None:
    images = discs(5, 32, 2).images
    whole = trained().probabilities(images)
    assert np.array_equal(whole[3:4], trained().probabilities(images[3:4]))


def test_the_file_gives_back_the_same_segmenter(tmp_path: Path) -> None:
    trained().save(tmp_path / "s.safetensors")
    again = Segmenter.load(tmp_path / "s.safetensors")
    images = discs(3, 32, 2).images
    assert np.array_equal(again.probabilities(images), trained().probabilities(images))
    again.save(tmp_path / "t.safetensors")
    assert (tmp_path / "s.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()


def test_odd_sizes_keep_their_shape() -> None:
    patches = discs(8, 31, 0)
    segmenter = train_segmenter(patches, replace(SHORT, steps=3), key=("t",))
    found = segmenter.segment(patches).labels
    assert found is not None and patches.labels is not None and found.shape == patches.labels.shape


def test_it_learns_tissue_classes_in_3d() -> None:
    segmenter = train_segmenter(tissue.brain(6, 16), Training(steps=50, width=8, augmentation="none"), key=("t",))
    patches = tissue.brain(3, 16, seed=4)
    found = segmenter.segment(patches).labels
    assert found is not None and patches.labels is not None
    assert segmenter.classes == 4
    assert f1(overlap_counts(found, patches.labels, "classes", 4).sum(0)) > 0.85


@pytest.mark.parametrize("part", ["images", "labels", "finite"])
def test_what_cannot_be_learnt_from_is_refused(part: str) -> None:
    patches = discs(4, 32, 0)
    bad = {
        "images": patches.take([]),
        "labels": replace(patches, labels=None),
        "finite": replace(patches, images=np.full(patches.images.shape, np.nan)),
    }[part]
    with pytest.raises(InputError):
        train_segmenter(bad, SHORT, key=("t",))


def test_added_images_enter_the_batches() -> None:
    patches = discs(8, 32, 0)
    wrong = replace(patches, labels=np.zeros_like(patches.labels))
    without = train_segmenter(patches, SHORT, key=("t",))
    harmed = train_segmenter(patches, SHORT, key=("t",), added=wrong, share=0.9)
    assert score(harmed, discs(8, 32, 1))[0] < score(without, discs(8, 32, 1))[0] - 0.3


# ---------------------------------------------------------------- parts


def test_initial_weights_follow_he() -> None:
    network = new_unet(2, 3, 2, 16, 1)
    weight = network.middle.layers[3].weight.detach()
    assert float(weight.std()) == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.05)
    assert all(torch.isfinite(p).all() for p in network.parameters())


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_instances_survive_the_way_through_classes(seed: int) -> None:
    """Objects that do not touch come back as they were, from perfect probabilities."""
    patches = discs(2, 32, seed)
    assert patches.labels is not None
    classes = to_classes(patches.labels, "instances")
    perfect = np.stack([classes == k for k in range(3)], axis=1).astype(np.float32)
    back = to_labels(perfect, "instances")
    assert f1(object_counts(back, patches.labels).sum(0)) == 1 and np.array_equal(back > 0, patches.labels > 0)


def test_borders_lie_inside_and_part_touching_objects() -> None:
    labels = np.zeros((1, 8, 8), np.int32)
    labels[0, 1:7, 1:4], labels[0, 1:7, 4:7] = 1, 2
    classes = to_classes(labels, "instances")
    assert set(np.unique(classes[labels > 0])) == {INTERIOR, BORDER}
    assert np.all(classes[0, 1:7, 3:5] == BORDER) and np.all(classes[labels == 0] == 0)
    assert class_count(labels, "instances") == 3


def test_classes_pass_through() -> None:
    labels = np.array([[[0, 1], [2, 0]]], np.int32)
    assert np.array_equal(to_classes(labels, "classes"), labels) and class_count(labels, "classes") == 3
    assert np.array_equal(to_labels(np.eye(3, dtype=np.float32)[labels].transpose(0, 3, 1, 2), "classes"), labels)


@pytest.mark.parametrize("kind", ["none", "symmetries", "classical"])
@pytest.mark.parametrize("dims", [2, 3])
def test_augmentation_moves_labels_with_images(kind: str, dims: int) -> None:
    rng = np.random.default_rng(0)
    classes = torch.from_numpy((np.add.reduce(np.square(np.indices((24,) * dims) - 9)) < 30).astype(np.int64))[None]
    images, labels = augmented(classes[:, None].float() * 10, classes, kind, rng)  # type: ignore[arg-type]
    assert images.shape[2:] == labels.shape[1:] == classes.shape[1:]
    inside = images[:, 0][labels == 1].mean() - images[:, 0][labels == 0].mean()
    assert float(inside) > 6  # gain may be 0.8, and edges are interpolated


def test_anatomy_is_neither_flipped_nor_turned_over() -> None:
    """The marker at the head stays at the head."""
    rng = np.random.default_rng(0)
    classes = torch.zeros((1, 24, 24), dtype=torch.int64)
    classes[0, 2:8, 9:15] = 1
    for kind in ("symmetries", "classical"):
        for _ in range(20):
            _, labels = augmented(classes[:, None].float(), classes, kind, rng, oriented=True)  # type: ignore[arg-type]
            assert labels[0, :12].sum() > 20 and labels[0, 14:].sum() == 0


def test_a_turned_disc_is_a_disc_on_any_shape() -> None:
    y, x = np.mgrid[:48, :24]
    classes = torch.from_numpy(((y - 23.5) ** 2 + (x - 11.5) ** 2 <= 36).astype(np.int64))[None]
    rng = np.random.default_rng(0)
    for _ in range(10):
        _, labels = augmented(classes[:, None].float(), classes, "classical", rng)
        middle = labels[0, 14:34]  # beyond, the mirrored border shows the disc again
        rows, columns = (int(middle.any(dim=axis).sum()) for axis in (1, 0))
        assert abs(rows - columns) <= 1


# ---------------------------------------------------------------- scores


def test_counts_by_hand() -> None:
    truth, found = np.zeros((1, 4, 4), np.int32), np.zeros((1, 4, 4), np.int32)
    truth[0, :2, :2], found[0, :2, :3] = 1, 5
    assert overlap_counts(found, truth, "instances", 3).tolist() == [[[4.0, 2.0, 0.0]]]
    assert f1(np.array([[4.0, 2.0, 0.0]])) == pytest.approx(8 / 10)
    assert object_counts(found, truth).tolist() == [[[1.0, 0.0, 0.0]]]  # intersection over union 4/6


def test_objects_match_above_one_half_only() -> None:
    truth, found = np.zeros((1, 4, 4), np.int32), np.zeros((1, 4, 4), np.int32)
    truth[0, 0, :2], found[0, 0, 1:3] = 1, 1
    found[0, 3] = 2
    assert object_counts(found, truth).tolist() == [[[0.0, 2.0, 1.0]]]


def test_nothing_to_find_and_nothing_found_is_no_score() -> None:
    empty = np.zeros((2, 4, 4), np.int32)
    assert np.isnan(f1(overlap_counts(empty, empty, "instances", 3).sum(0)))
    assert object_counts(empty, empty).sum() == 0


def test_classes_that_do_not_occur_do_not_count() -> None:
    counts = np.array([[5.0, 0.0, 0.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0]])
    assert f1(counts) == pytest.approx((1 + 0.5) / 2)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_dice_agrees_with_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found, truth = (rng.integers(0, 3, (2, 6, 6)).astype(np.int32) for _ in range(2))
    got = f1(overlap_counts(found, truth, "classes", 3).sum(0))
    expected = np.mean([2 * np.sum((found == k) & (truth == k)) / (np.sum(found == k) + np.sum(truth == k)) for k in (1, 2)])
    assert got == pytest.approx(expected)
