"""The pyramid: orthonormal, exact both ways, and spreads that agree with closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciimg.augmenters.backbones.pyramid import (
    band_spreads,
    block_means,
    coarser_means,
    divided,
    doubled,
    from_haar_pyramid,
    haar_pyramid,
    spreads,
)

TWICE = ((2, 2), (2, 2))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20)
@given(dims=st.sampled_from([2, 3]), channels=st.integers(1, 3), levels=st.integers(1, 3), seed=st.integers(0, 99))
def test_round_trip_and_energy(dims: int, channels: int, levels: int, seed: int) -> None:
    x = noise(2, channels, *(2**levels * (2 + axis) for axis in range(dims)), seed=seed)
    steps = ((2,) * dims,) * levels
    pyramid = haar_pyramid(x, steps)
    assert [p.shape[1] for p in pyramid] == [channels * (2**dims - 1)] * (levels - 1) + [channels * 2**dims]
    torch.testing.assert_close(from_haar_pyramid(pyramid, channels, steps), x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sum(p.square().sum() for p in pyramid), x.square().sum())


def test_a_constant_image_has_no_details() -> None:
    pyramid = haar_pyramid(torch.full((1, 1, 8, 8), 3.0), TWICE)
    assert torch.equal(pyramid[0], torch.zeros(1, 3, 4, 4))
    torch.testing.assert_close(pyramid[1][:, 0], torch.full((1, 2, 2), 3.0 * 4))  # each level multiplies the mean by the root of 4


def test_bfloat16_autocast_does_not_touch_it() -> None:
    x = noise(2, 2, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = haar_pyramid(x, TWICE)
    assert all(torch.equal(a, b) for a, b in zip(inside, haar_pyramid(x, TWICE), strict=True))


@pytest.mark.parametrize("dims", [2, 3])
def test_spreads_of_white_noise(dims: int) -> None:
    """Orthonormal coefficients of white noise are white; a mean over 2^dims samples has 2^(-dims/2) of the spread."""
    x = 5.0 * noise(64, 1, *([16] * dims))
    for spread in spreads(haar_pyramid(x, ((2,) * dims,) * 2)):
        torch.testing.assert_close(spread, torch.full_like(spread, 5.0), rtol=0.05, atol=0)
    bands = band_spreads(x, ((2,) * dims,) * 2)
    torch.testing.assert_close(bands[-1], torch.tensor([5.0 * 2**-dims]), rtol=0.06, atol=0)
    assert bands[0] > bands[1] > bands[2]


def test_divided_parts_have_unit_spread() -> None:
    parts = haar_pyramid(noise(32, 2, 16, 16).cumsum(-1), TWICE)
    for part in divided(parts, spreads(parts)):
        torch.testing.assert_close(part.std((0, 2, 3)), torch.ones(part.shape[1]))


def test_means_go_down_to_the_whole_sample() -> None:
    x = noise(3, 2, 8, 16)
    means = coarser_means(x)
    assert [tuple(m.shape[2:]) for m in means] == [(4, 8), (2, 4), (1, 2)]
    torch.testing.assert_close(means[-1].mean(3), block_means(x, 8).mean((2, 3))[:, :, None])


def test_doubling_keeps_a_ramp_straight() -> None:
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    fine = doubled(ramp)
    torch.testing.assert_close(torch.diff(fine[0, 0, 4, 1:-1]), torch.full((13,), 0.5))
