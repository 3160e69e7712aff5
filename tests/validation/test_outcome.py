"""What makes two sets incomparable: pixels of another size, said in any unit."""

from dataclasses import replace

import numpy as np
import pytest
from patchsets import images_2d

from sciimg.types import Spacing, Unit
from sciimg.validation.outcome import mismatch, spacings_differ
from sciimg.validation.physics import obstacle_between


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        (((1.0, 1.0), "millimeter"), ((1.0, 1.0), "millimeter"), False),
        (((1.0, 1.0), "millimeter"), ((1.0, 1.5), "millimeter"), True),
        (((0.667, 0.7), "millimeter"), ((0.6667, 0.7), "millimeter"), False),  # headers round
        (((0.5, 0.1), "micrometer"), ((500.0, 100.0), "nanometer"), False),
        (((0.5, 0.1), "micrometer"), ((0.5, 0.1), "nanometer"), True),
        (((1.0, 1.0), "pixel"), ((0.5, 0.5), "micrometer"), False),  # one side knows none
        (((1.0, 1.0), "pixel"), ((2.0, 2.0), "pixel"), True),
        (((3.0, 1.0, 1.0), "millimeter"), ((1.0, 1.0), "millimeter"), False),  # a plane has the axes that come last
    ],
)
def test_spacings(first: tuple[tuple[float, ...], Unit], second: tuple[tuple[float, ...], Unit], differ: bool) -> None:
    assert spacings_differ(Spacing(*first), Spacing(*second)) is differ
    assert spacings_differ(Spacing(*second), Spacing(*first)) is differ


def test_a_set_with_other_pixels_is_not_compared_and_both_sizes_are_said() -> None:
    real = images_2d(np.random.default_rng(0).normal(size=(4, 1, 8, 8)))
    wrong = replace(real, spacing=Spacing((0.2, 0.2), "micrometer"))
    right = replace(real, spacing=Spacing((0.1, 0.1), "micrometer"))
    assert mismatch(right, right, ("real", "synthetic")) == mismatch(real, wrong, ("real", "synthetic")) == ""
    reason = obstacle_between(right, wrong)
    assert reason == "synthetic images have pixels of 0.2 x 0.2 micrometer, real ones of 0.1 x 0.1 micrometer: one object has two sizes"
