"""Counts of pixels and of objects, and the scores from pooled counts, by hand."""

import numpy as np
import pytest

from sciimg.validation.scores import f1, object_counts, overlap_counts

TRUTH = np.array([[[1, 1, 0, 2], [1, 1, 0, 2], [0, 0, 0, 2]]], np.int32)
FOUND = np.array([[[1, 1, 2, 0], [1, 0, 0, 1], [0, 0, 0, 2]]], np.int32)


def test_pixels_of_each_class() -> None:
    counts = overlap_counts(FOUND, TRUTH, "classes", 3)
    assert counts.dtype == np.float64
    assert counts.tolist() == [[[3, 1, 1], [1, 1, 2]]]  # class 1: hit, spurious, missed; class 2


def test_pixels_of_any_object() -> None:
    assert overlap_counts(FOUND, TRUTH, "instances", 7).tolist() == [[[5, 1, 2]]]
    assert overlap_counts(FOUND, TRUTH, "classes", 0).tolist() == [[[3, 1, 1]]]  # one class at least
    assert overlap_counts(FOUND, TRUTH, "classes", 2).tolist() == [[[3, 1, 1]]]


def test_every_image_and_volume_has_its_own_counts() -> None:
    both = overlap_counts(np.concatenate([FOUND, TRUTH]), np.concatenate([TRUTH, TRUTH]), "classes", 3)
    assert both.tolist() == [[[3, 1, 1], [1, 1, 2]], [[4, 0, 0], [3, 0, 0]]]
    assert overlap_counts(FOUND[None], TRUTH[None], "instances", 0).tolist() == [[[5, 1, 2]]]


def test_objects_match_above_half_an_overlap() -> None:
    truth = np.array([[[1, 1, 1, 0, 2, 2, 0, 3, 3]]], np.int32)
    found = np.array([[[4, 4, 0, 0, 5, 0, 9, 0, 0]]], np.int32)  # overlaps 2/3 and exactly 1/2; one spurious, one missed
    assert object_counts(found, truth).tolist() == [[[1, 2, 2]]]
    assert object_counts(found, truth, threshold=0.49).tolist() == [[[2, 1, 1]]]
    assert object_counts(found, truth, threshold=2 / 3).tolist() == [[[0, 3, 3]]]
    assert object_counts(truth, truth).tolist() == [[[3, 0, 0]]]
    with pytest.raises(ValueError, match="shorter"):
        object_counts(np.concatenate([found, found]), truth)
    assert object_counts(np.concatenate([found, truth]), np.concatenate([truth, truth])).shape == (2, 1, 3)


def test_images_without_objects_count_what_is_there() -> None:
    empty = np.zeros((1, 3, 3), np.int32)
    one = empty.copy()
    one[0, 0, 0] = 6
    assert object_counts(empty, empty).tolist() == [[[0, 0, 0]]]
    assert object_counts(one, empty).tolist() == [[[0, 1, 0]]]
    assert object_counts(empty, one).tolist() == [[[0, 0, 1]]]
    assert object_counts(np.ones_like(one), one).tolist() == [[[0, 1, 1]]]  # one object that covers all


def test_dice_from_counts_is_the_mean_of_the_classes_that_occur() -> None:
    assert f1(np.array([[3.0, 1, 1], [1, 1, 2]])) == pytest.approx((6 / 8 + 2 / 5) / 2)
    assert f1(np.array([[3.0, 1, 1], [0, 0, 0]])) == pytest.approx(6 / 8)
    assert f1(np.array([[0.0, 1, 0], [3, 1, 1]])) == pytest.approx(6 / 8 / 2)  # a class that is only spurious occurs
    assert np.isnan(f1(np.array([[0.0, 0, 0]])))
    several = f1(np.array([[[3.0, 1, 1]], [[0, 0, 0]], [[2, 0, 0]]]))
    assert several[[0, 2]] == pytest.approx([6 / 8, 1.0]) and np.isnan(several[1])
