"""Samplers against data whose exact predictor is known: x_0 ~ N(m, s^2)."""

import math
from itertools import pairwise

import pytest
import torch

from sciimg.augmenters.processes.parameterisations import Epsilon, Preconditioned, V, Velocity
from sciimg.augmenters.processes.paths import CosinePath, LinearPath, NoiseLevelPath, Path, VarianceExplodingPath, VariancePreservingPath
from sciimg.augmenters.samplers.likelihood import log_likelihood
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import SAMPLERS, ddim_inversion, heun, solver_of
from sciimg.augmenters.samplers.times import HIGHEST, LOWEST, time_grid, times_of

MEAN, STD = 0.7, 0.4
PATHS = [LinearPath(), CosinePath()]
EVERY = [*PATHS, VariancePreservingPath(), VarianceExplodingPath(), NoiseLevelPath()]
STRAIGHT = [name for name in SAMPLERS if name not in ("ancestral", "predictor-corrector")]


def named(path: Path) -> str:
    return type(path).__name__


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


def between(path: Path, steps: int) -> list[float]:
    """Times alike in log-SNR, from noise level 20 to 0.05: the variable in which the multistep solvers are polynomial."""
    return [path.time_of(20.0 * (0.05 / 20.0) ** (i / steps)) for i in range(steps + 1)]


def error(name: str, path: Path, times: list[float]) -> float:
    """Distance from the exact flow map, which keeps the standardised value, at one point."""
    x = torch.tensor([[1.3]], dtype=torch.float64)
    first, last = (math.hypot(path.alpha(t) * STD, path.sigma(t)) for t in (times[0], times[-1]))
    z = (1.3 - path.alpha(times[0]) * MEAN) / first
    got = SAMPLERS[name](exact(path), path, x, times, no_noise)
    return abs(float(got) - (path.alpha(times[-1]) * MEAN + last * z))


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ddim", 1), ("heun", 2)])
def test_order_of_convergence_from_noise_to_data(name: str, order: int, path: Path) -> None:
    coarse, fine = error(name, path, time_grid(200)), error(name, path, time_grid(400))
    assert fine < coarse
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("path", EVERY, ids=named)
@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("ddim", 1), ("heun", 2), ("dpm-solver++", 2), ("unipc-2", 2), ("unipc-3", 3)])
def test_order_of_convergence_between_noise_levels(name: str, order: int, path: Path) -> None:
    coarse, fine = error(name, path, between(path, 160)), error(name, path, between(path, 320))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_solvers_of_higher_order_need_fewer_steps(path: Path) -> None:
    errors = [error(name, path, time_grid(20)) for name in ("ddim", "dpm-solver++", "unipc-3")]
    assert errors[0] > 2 * errors[1] and errors[0] > 2 * errors[2]


@pytest.mark.parametrize("name", STRAIGHT)
@pytest.mark.parametrize("path", EVERY, ids=named)
def test_pure_noise_and_pure_data_are_legal_ends(name: str, path: Path) -> None:
    x = path.spread(path.end) * torch.tensor([[0.4]], dtype=torch.float64)
    for steps in (1, 2, 3, 30):
        got = SAMPLERS[name](exact(path), path, x, times_of("karras", path, steps, path.end), no_noise)
        assert torch.isfinite(got).all()
    assert float(got) == pytest.approx(MEAN + STD * 0.4, abs=0.1)
    if not isinstance(path, NoiseLevelPath):  # there, equal steps of noise level miss the data
        assert torch.isfinite(SAMPLERS[name](exact(path), path, x, time_grid(3, path.end), no_noise)).all()


def moments(name: str, path: Path, steps: int) -> tuple[float, float]:
    """Exact mean and variance: the sampler is affine in its noise, so unit noise in one draw at a time gives every coefficient."""
    rows = 2 * steps + 1  # row 0: no noise at all; row 1: the start; each further row: one draw
    x = torch.zeros(rows, 1, dtype=torch.float64)
    x[1] = path.spread(path.end)
    draws = iter(range(2, rows))

    def unit(shape) -> torch.Tensor:
        out = torch.zeros(rows, *shape, dtype=torch.float64)
        out[next(draws)] = 1.0
        return out

    got = SAMPLERS[name](exact(path), path, x, time_grid(steps, path.end), unit).flatten()
    return float(got[0]), float(((got[1:] - got[0]) ** 2).sum())


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_ancestral_sampling_converges_to_the_data_distribution(path: Path) -> None:
    (mean, coarse), (_, fine) = moments("ancestral", path, 200), moments("ancestral", path, 400)
    assert mean == pytest.approx(MEAN, abs=1e-9)
    assert (STD**2 - coarse) / (STD**2 - fine) == pytest.approx(2, abs=0.1)  # first order
    assert fine == pytest.approx(STD**2, rel=0.05)


@pytest.mark.parametrize("path", EVERY[:4], ids=named)
def test_the_corrector_brings_samples_nearer_to_the_data_distribution(path: Path) -> None:
    (_, plain), (mean, corrected) = moments("ancestral", path, 60), moments("predictor-corrector", path, 60)
    assert mean == pytest.approx(MEAN, abs=0.01)
    assert abs(corrected - STD**2) < abs(plain - STD**2)


def test_churn_keeps_the_distribution_and_moves_samples() -> None:
    path, times = NoiseLevelPath(), times_of("karras", NoiseLevelPath(), 160, 80.0)
    generator = torch.Generator().manual_seed(0)
    x = path.spread(80.0) * torch.randn(10_000, 1, generator=generator, dtype=torch.float64)
    drawn = []

    def normal(shape) -> torch.Tensor:
        drawn.append(shape)
        return torch.randn(len(x), *shape, generator=generator, dtype=torch.float64)

    got = solver_of(SamplerSettings(name="heun", steps=160, churn=40.0))(exact(path), path, x, times, normal)
    assert drawn and float(got.std()) == pytest.approx(STD, rel=0.03) and float(got.mean()) == pytest.approx(MEAN, abs=0.02)
    still = heun(exact(path), path, x, times, no_noise)
    assert abs(float(torch.corrcoef(torch.stack([got[:, 0], still[:, 0]]))[0, 1])) < 0.9


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_inversion_is_undone_by_ddim_and_better_with_more_rounds(path: Path) -> None:
    times, x = time_grid(20), torch.linspace(-1, 2, 7, dtype=torch.float64).view(-1, 1)

    def missed(rounds: int) -> float:
        code = ddim_inversion(exact(path), path, x, times[::-1], rounds)
        return float((SAMPLERS["ddim"](exact(path), path, code, times, no_noise) - x).abs().max())

    assert missed(1) > 10 * missed(3) > 100 * missed(12)
    assert missed(60) < 1e-9


COVARIANCE = torch.tensor([[0.64, 0.32, -0.24], [0.32, 0.52, 0.0], [-0.24, 0.0, 0.38]], dtype=torch.float64)


def correlated(path: Path):
    """The exact predictor of N(0, COVARIANCE): its divergence has off-diagonal company, which random signs must average away."""

    def predict(x: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        a, s = path.alpha(t), path.sigma(t)
        whitened = x @ torch.linalg.inv(a * a * COVARIANCE + s * s * torch.eye(3).double())
        return a * whitened @ COVARIANCE, s * whitened

    return predict


def drawn_and_known() -> tuple[torch.Tensor, torch.Tensor]:
    truth = torch.distributions.MultivariateNormal(torch.zeros(3).double(), COVARIANCE)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64) @ torch.linalg.cholesky(COVARIANCE).T
    return x, truth.log_prob(x)


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_likelihood_of_correlated_data(path: Path) -> None:
    x, truth = drawn_and_known()
    got = log_likelihood(correlated(path), path, x, times_of("karras", path, 80, path.end)[-2::-1])
    assert torch.allclose(got, truth, rtol=0.01, atol=0.01)


def test_random_signs_estimate_the_divergence() -> None:
    x, truth = drawn_and_known()
    path, generator = LinearPath(), torch.Generator().manual_seed(4)
    probes = torch.randint(0, 2, (16, *x.shape), generator=generator).double() * 2 - 1
    one, many = (log_likelihood(correlated(path), path, x, times_of("karras", path, 30, 1.0)[-2::-1], own) for own in (probes[:1], probes))
    assert (one - truth).abs().mean() > (many - truth).abs().mean()
    assert torch.allclose(many, truth, atol=0.6)


@pytest.mark.parametrize("path", EVERY, ids=named)
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_parameterisations_split_what_they_join(path: Path, t: float) -> None:
    data, noise = torch.tensor([0.3, -2.0]).double(), torch.tensor([1.1, 0.4]).double()
    x = path.alpha(t) * data + path.sigma(t) * noise
    kinds = [Epsilon(), Velocity(), Preconditioned(), Preconditioned(0.5)]
    for kind in [*kinds, V()] if path.spread(t) == pytest.approx(1) else kinds:
        p, q = kind.target(path, t)
        got = kind.split(path, t, x, p * data + q * noise)
        assert torch.allclose(got[0], data) and torch.allclose(got[1], noise)


@pytest.mark.parametrize("t", [0.01, 0.5, 5.0, 70.0])
def test_preconditioned_input_and_target_have_unit_variance(t: float) -> None:
    path, own = NoiseLevelPath(), Preconditioned(0.5)
    p, q = own.target(path, t)
    assert math.hypot(p * 0.5, q) == pytest.approx(1)
    assert own.scale(path, t) * math.hypot(0.5, t) == pytest.approx(1)


@pytest.mark.parametrize("path", EVERY, ids=named)
def test_slopes_are_derivatives_and_levels_name_times(path: Path) -> None:
    for t in (0.2, 0.7):
        h = 1e-6
        da, ds = path.slopes(t)
        assert da == pytest.approx((path.alpha(t + h) - path.alpha(t - h)) / (2 * h), rel=1e-6, abs=1e-9)
        assert ds == pytest.approx((path.sigma(t + h) - path.sigma(t - h)) / (2 * h), rel=1e-6)
        assert path.time_of(path.level(t)) == pytest.approx(t, rel=1e-12)


def test_ends_of_paths() -> None:
    for path in PATHS:
        assert path.alpha(0) == 1 and path.sigma(0) == 0
        assert path.alpha(1) == pytest.approx(0, abs=1e-15) and path.sigma(1) == 1
    for path in EVERY:
        assert path.alpha(0) == 1 and path.sigma(0) == 0
    assert time_grid(4) == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("path", EVERY, ids=named)
@pytest.mark.parametrize("grid", ["uniform", "karras", "logsnr"])
def test_grids_fall_from_the_start_to_data(grid: str, path: Path) -> None:
    times = times_of(grid, path, 12, path.end)
    assert len(times) == 13 and times[-1] == 0 and all(a > b for a, b in pairwise(times))
    if grid != "uniform":
        assert path.level(times[0]) == pytest.approx(min(HIGHEST, path.level(path.end)))
        assert path.level(times[-2]) == pytest.approx(LOWEST)
        levels = [path.level(t) for t in times[:-1]]
        even = [math.log(v) if grid == "logsnr" else v ** (1 / 7) for v in levels]
        gaps = [a - b for a, b in pairwise(even)]
        assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-6)


def test_an_interval_must_rise() -> None:
    with pytest.raises(ValueError, match="two rising noise levels"):
        SamplerSettings(guidance_interval=(5.0, 0.2))
