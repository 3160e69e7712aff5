"""Edges of structural similarity: the smallest image of every scale, halves by hand, and what opposite images are worth."""

import numpy as np
import pytest

from sciimg.validation.outcome import UndefinedError
from sciimg.validation.similarity import _halved, ms_ssim, ms_ssim_scales, ssim, ssim_map


@pytest.mark.parametrize(
    ("side", "scales"), [(11, 1), (21, 1), (22, 2), (43, 2), (44, 3), (88, 4), (175, 4), (176, 5), (352, 5), (5000, 5)]
)
def test_an_image_is_compared_at_as_many_scales_as_fit(side: int, scales: int) -> None:
    assert ms_ssim_scales((side + 3, side)) == ms_ssim_scales((side, 900)) == scales


@pytest.mark.parametrize(("window", "least"), [("gaussian", 11), ("uniform", 7)])
def test_the_shortest_side_holds_the_window(window: str, least: int) -> None:
    image = np.random.default_rng(0).normal(size=(least, 40))
    assert ssim(image, image, data_range=1.0, window=window) == pytest.approx(1)  # type: ignore[arg-type]
    for compared in (ssim, ssim_map):
        with pytest.raises(UndefinedError, match=f"is {least - 1} px.*needs {least}"):
            compared(image[1:], image[1:], data_range=1.0, window=window)  # type: ignore[operator]
    with pytest.raises(UndefinedError, match=r"is 10 px.*needs 11"):
        ms_ssim_scales((10, 90))


def test_halves_are_means_of_blocks_and_drop_an_odd_last_row() -> None:
    image = np.arange(15.0).reshape(3, 5)
    assert _halved(image).tolist() == [[3.0, 5.0]]  # of 0 1 5 6 and 2 3 7 8
    volume = np.arange(8.0).reshape(2, 2, 2)
    assert _halved(volume).tolist() == [[[3.5]]]


def test_opposite_images_are_worth_nothing_and_not_a_root_of_a_negative_number() -> None:
    image = np.random.default_rng(1).normal(size=(48, 48))
    assert ms_ssim(20 + image, 20 - image, data_range=1.0) == 0
    assert ssim(20 + image, 20 - image, data_range=1.0) < -0.9


def test_a_constant_image_differs_by_luminance_alone() -> None:
    """Wang 2004, eq. 6: (2 a b + C1) / (a² + b² + C1), with C1 = (0.01 R)²."""
    a, b = np.full((16, 16), 3.0), np.full((16, 16), 5.0)
    expected = (2 * 15 + 0.01) / (9 + 25 + 0.01)
    for window in ("gaussian", "uniform"):
        assert ssim(a, b, data_range=10.0, window=window) == pytest.approx(expected)  # type: ignore[arg-type]
    assert ms_ssim(a, b, data_range=10.0) == pytest.approx(expected)  # one scale
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]  # Wang 2003, section 3.2; luminance counts at the last scale alone
    for scales, side in ((2, 24), (3, 44), (4, 88), (5, 176)):
        wide_a, wide_b = np.full((side, side), 3.0), np.full((side, side), 5.0)
        share = weights[scales - 1] / sum(weights[:scales])
        assert ms_ssim(wide_a, wide_b, data_range=10.0) == pytest.approx(expected**share)
