"""Samplers against data whose exact predictor is known: x_0 ~ N(m, s^2)."""

import math

import pytest
import torch

from sciimg.augmenters.processes.paths import CosinePath, LinearPath, Path
from sciimg.augmenters.samplers.solvers import SAMPLERS, time_grid

MEAN, STD = 0.7, 0.4
PATHS = [LinearPath(), CosinePath()]


def exact(path: Path):
    """E[x_0 | x_t] of a Gaussian, by linear regression: both are jointly normal."""

    def predict(x: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        a, s = path.alpha(t), path.sigma(t)
        variance = a * a * STD**2 + s * s
        data = MEAN + a * STD**2 / variance * (x - a * MEAN)
        noise = s / variance * (x - a * MEAN)
        return data, noise

    return predict


def no_noise(shape):
    raise AssertionError("a deterministic sampler drew noise")


def error(name: str, path: Path, steps: int) -> float:
    """Distance from the exact flow map x_0 = m + s x_1, at one point."""
    x = torch.tensor([[1.3]], dtype=torch.float64)
    got = SAMPLERS[name](exact(path), path, x, time_grid(steps), no_noise)
    return abs(float(got) - (MEAN + STD * 1.3))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ddim", 1), ("heun", 2)])
def test_order_of_convergence(name: str, order: int, path: Path) -> None:
    coarse, fine = error(name, path, 200), error(name, path, 400)
    assert fine < coarse
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def ancestral_moments(path: Path, steps: int) -> tuple[float, float]:
    """Exact mean and variance: the sampler is affine in its noise, so unit noise in one draw at a time gives every coefficient."""
    rows = steps + 1  # row 0: no noise at all; row 1: the start; row k: the draw of step k - 1
    x = torch.zeros(rows, 1, dtype=torch.float64)
    x[1] = 1.0
    draws = iter(range(2, rows + 1))

    def unit(shape) -> torch.Tensor:
        out = torch.zeros(rows, *shape, dtype=torch.float64)
        row = next(draws)
        if row < rows:
            out[row] = 1.0
        return out

    got = SAMPLERS["ancestral"](exact(path), path, x, time_grid(steps), unit).flatten()
    return float(got[0]), float(((got[1:] - got[0]) ** 2).sum())


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_ancestral_sampling_converges_to_the_data_distribution(path: Path) -> None:
    (mean, coarse), (_, fine) = ancestral_moments(path, 200), ancestral_moments(path, 400)
    assert mean == pytest.approx(MEAN, abs=1e-9)
    assert (STD**2 - coarse) / (STD**2 - fine) == pytest.approx(2, abs=0.1)  # first order
    assert fine == pytest.approx(STD**2, rel=0.05)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_paths_split_what_they_join(path: Path, t: float) -> None:
    data, noise = torch.tensor([0.3, -2.0]).double(), torch.tensor([1.1, 0.4]).double()
    x = path.alpha(t) * data + path.sigma(t) * noise
    for target, output in (("velocity", path.velocity(t, data, noise)), ("epsilon", noise)):
        got = path.split(t, x, output, target)
        assert torch.allclose(got[0], data) and torch.allclose(got[1], noise)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_slopes_are_derivatives(path: Path) -> None:
    for t in (0.2, 0.7):
        h = 1e-6
        da, ds = path.slopes(t)
        assert da == pytest.approx((path.alpha(t + h) - path.alpha(t - h)) / (2 * h), rel=1e-6)
        assert ds == pytest.approx((path.sigma(t + h) - path.sigma(t - h)) / (2 * h), rel=1e-6)


def test_ends_of_paths() -> None:
    for path in PATHS:
        assert path.alpha(0) == 1 and path.sigma(0) == 0
        assert path.alpha(1) == pytest.approx(0, abs=1e-15) and path.sigma(1) == 1
    assert time_grid(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
