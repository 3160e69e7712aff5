"""The noise law of an autoencoder's residual: what is planted is found again, and what is drawn has the measured law."""

import math

import pytest
import torch
from torch import Tensor

from sciimg.augmenters.spaces.residual import ResidualNoise
from sciimg.augmenters.system import Noise

SHAPE = (2, 32, 32)


def planted(n: int, burst: float, correlation: float, seed: int) -> Tensor:
    """Unit-power texture (n, 2, 32, 32): smoothed along y, correlated between channels, in bursts over about two pixels."""
    rng = torch.Generator().manual_seed(seed)
    white = torch.randn(n, *SHAPE, generator=rng)
    smooth = (white + torch.roll(white, 1, dims=2)) / math.sqrt(2)
    second = correlation * smooth[:, 0] + math.sqrt(1 - correlation**2) * smooth[:, 1]
    texture = torch.stack([smooth[:, 0], second], dim=1)
    slow = ResidualNoise(SHAPE).slow
    u = torch.fft.irfft2(torch.fft.rfft2(torch.randn(n, 1, 32, 32, generator=rng).double()) * slow, s=(32, 32)).float()
    return texture * (burst * u - burst**2).exp()


def calibrated(residual: Tensor, spread: float = 20.0) -> tuple[ResidualNoise, Tensor, Tensor]:
    decoded = torch.linspace(0, 500, 32).expand(residual.shape).contiguous()
    log_spread = torch.full_like(residual, math.log(spread))
    noise = ResidualNoise(SHAPE)
    noise.calibrate(decoded + spread * residual, decoded, log_spread, torch.Generator().manual_seed(9))
    return noise, decoded, log_spread


def drawn(noise: ResidualNoise, decoded: Tensor, log_spread: Tensor) -> Tensor:
    return noise(decoded, log_spread, Noise(("draw",), range(len(decoded)))) - decoded


@pytest.mark.parametrize("burst", [0.0, 0.3, 0.5])
def test_the_burst_is_found_again(burst: float) -> None:
    noise, *_ = calibrated(planted(128, burst, 0.6, seed=1))
    assert noise.burst.tolist() == pytest.approx([burst, burst], abs=0.12)


@pytest.mark.parametrize("burst", [0.0, 0.5])
def test_what_is_drawn_has_the_law_that_was_measured(burst: float) -> None:
    real = 20 * planted(128, burst, 0.6, seed=2)
    made = drawn(*calibrated(real / 20))
    assert not torch.equal(made, real)
    for channel in range(2):
        fine_real, fine_made = (x[:, channel].diff(n=2, dim=1).diff(n=2, dim=2).abs() for x in (real, made))
        assert float(fine_made.median() / fine_real.median()) == pytest.approx(1, abs=0.04)
        # a Gaussian of the same median would miss the tail of a bursty residual by a third
        assert float(fine_made.quantile(0.99) / fine_real.quantile(0.99)) == pytest.approx(1, abs=0.15)
        assert float(made[:, channel].std() / real[:, channel].std()) == pytest.approx(1, abs=0.1)
    along = [float((x[:, :, 1:] * x[:, :, :-1]).mean() / x.square().mean()) for x in (real, made)]
    across = [float((x[..., 1:] * x[..., :-1]).mean() / x.square().mean()) for x in (real, made)]
    between = [float(torch.corrcoef(x.transpose(0, 1).flatten(1))[0, 1]) for x in (real, made)]
    assert along[1] == pytest.approx(along[0], abs=0.05) and across[1] == pytest.approx(across[0], abs=0.05)
    assert between[1] == pytest.approx(between[0], abs=0.05)


def test_an_exact_autoencoder_adds_nothing() -> None:
    made = drawn(*calibrated(torch.zeros(8, *SHAPE)))
    assert float(made.abs().max()) == 0
