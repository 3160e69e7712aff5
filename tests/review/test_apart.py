"""Real images that show parts of one another give themselves away: they are avoided, and where they cannot be, it is said."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sciimg.protocol.validation import ReviewPlan
from sciimg.review.items import draw_session, overlapping
from sciimg.types import PatchSet, Spacing

SIDE = 16


def patches(starts, name="a"):
    """Return patches of 16 x 16 of one image, cut at these places."""
    pixels = np.random.default_rng(3).integers(0, 999, (len(starts), 1, SIDE, SIDE)).astype(np.uint16)
    table = pd.DataFrame({"image": [name] * len(starts), "origin": [json.dumps(list(start)) for start in starts]})
    return PatchSet(pixels, None, np.array([f"g{i}" for i in range(len(starts))]), table, Spacing((1.0, 1.0), "pixel"), ("grey",))


def drawn(real, items):
    plan = ReviewPlan(readers=1, items=items, catch_pairs=1, repeats=0.1)
    return draw_session(real, patches([(0, 0)] * 20, "made"), plan, ["reader-1"], ("key",)).key


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([(0, 0), (0, 16), (16, 0)], 0),  # side by side
        ([(0, 0), (0, 15), (40, 40)], 2),  # one column of pixels in common
        ([(0, 0), (8, 8), (15, 15)], 3),
        ([(0, 0), (0, 0)], 2),
    ],
)
def test_patches_that_overlap_are_counted(starts, expected):
    assert overlapping(patches(starts)) == expected


def test_patches_of_different_images_do_not_overlap():
    one, other = patches([(0, 0)]), patches([(0, 0)], "b")
    both = replace(one, images=np.concatenate([one.images] * 2), groups=np.array(["g", "h"]), table=pd.concat([one.table, other.table]))
    assert overlapping(both) == 0


def test_real_images_apart_are_drawn_where_there_are_enough():
    grid = [(y, x) for y in range(0, 64, 16) for x in range(0, 64, 16)]  # 16 that touch nowhere
    real = patches(grid + [(y + 5, x + 7) for y, x in grid if y < 48 and x < 48])  # and some that lie across them
    for items in (6, 10):
        key = drawn(real, items)
        assert key.overlapping == 0 and key.cautions == []
    many = drawn(real, 40)
    assert 2 <= many.overlapping <= 20 and "no synthetic image does" in many.cautions[0]


def test_where_no_place_is_known_nothing_is_claimed():
    real = patches([(0, 0)] * 6)
    assert overlapping(replace(real, table=real.table.drop(columns="origin"))) == 0
