"""Single steps of every solver against their formulas, written out from the papers with another predictor than the exact one."""

import math
from collections.abc import Sequence

import pytest
import torch
from scipy.integrate import quad

from sciimg.augmenters.processes.paths import CosinePath, LinearPath, Path, VariancePreservingPath
from sciimg.augmenters.samplers.inversion import invert
from sciimg.augmenters.samplers.likelihood import log_likelihood
from sciimg.augmenters.samplers.multistep import _correction, dpm_solver, unipc
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import SAMPLERS, ddim_inversion, heun, predictor_corrector, solver_of, step_of
from sciimg.augmenters.samplers.times import time_grid, times_of

PATHS = [LinearPath(), CosinePath(), VariancePreservingPath()]
X = torch.tensor([[1.3], [-0.4]], dtype=torch.float64)


def predict(x: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A predictor that depends on both of its arguments and keeps no law."""
    return 0.3 * x + 0.2 * t, 0.7 * x - 0.5 * t * t


def no_noise(shape: Sequence[int]) -> torch.Tensor:
    raise AssertionError("a deterministic sampler drew noise")


class Drawn:
    """Noise that is known, and how often it was asked for."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []

    def __call__(self, shape: Sequence[int]) -> torch.Tensor:
        assert tuple(shape) == (1,)
        self.values.append(torch.tensor([[0.8], [-1.1]], dtype=torch.float64) / (1 + len(self.values)))
        return self.values[-1]


def named(path: Path) -> str:
    return type(path).__name__


def velocity(path: Path, x: torch.Tensor, t: float) -> torch.Tensor:
    (data, noise), (da, ds) = predict(x, t), path.slopes(t)
    return da * data + ds * noise


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_steps_of_the_deterministic_solvers(path: Path) -> None:
    now, then = 0.7, 0.45
    slope = velocity(path, X, now)
    ahead = X + (then - now) * slope
    assert close(SAMPLERS["euler"](predict, path, X, [now, then], no_noise), ahead)
    trapezoid = X + (then - now) * (slope + velocity(path, ahead, then)) / 2
    assert close(SAMPLERS["heun"](predict, path, X, [now, then], no_noise), trapezoid)
    assert close(SAMPLERS["heun"](predict, path, X, [now, 0.0], no_noise), X - now * slope)  # the last step is Euler's
    data, noise = predict(X, now)
    ddim = path.alpha(then) * data + path.sigma(then) * noise
    assert close(SAMPLERS["ddim"](predict, path, X, [now, then], no_noise), ddim)
    up = X + (now - then) * velocity(path, X, then)
    assert close(invert(predict, path, X, [now, then]), X + (now - then) * (velocity(path, X, then) + velocity(path, up, now)) / 2)


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_a_step_back_of_ddim_is_solved_by_iteration(path: Path) -> None:
    a, s = path.alpha(0.6) - path.alpha(0.3), path.sigma(0.6) - path.sigma(0.3)
    once = X + a * predict(X, 0.6)[0] + s * predict(X, 0.6)[1]
    assert close(ddim_inversion(predict, path, X, [0.3, 0.6], 1), once)
    twice = X + a * predict(once, 0.6)[0] + s * predict(once, 0.6)[1]
    assert close(ddim_inversion(predict, path, X, [0.3, 0.6], 2), twice)
    three = X + a * predict(twice, 0.6)[0] + s * predict(twice, 0.6)[1]
    assert close(ddim_inversion(predict, path, X, [0.3, 0.6]), three)


def posterior(path: Path, x: torch.Tensor, data: torch.Tensor, t: float, s: float, noise: torch.Tensor) -> torch.Tensor:
    """Draw x_s given x_t and x_0 by conditioning of their joint Gaussian: cov(x_s, x_t) = (alpha_t / alpha_s) sigma_s²."""
    covariance = path.alpha(t) / path.alpha(s) * path.sigma(s) ** 2
    gain = covariance / path.sigma(t) ** 2
    mean = path.alpha(s) * data + gain * (x - path.alpha(t) * data)
    return mean + math.sqrt(path.sigma(s) ** 2 - gain * covariance) * noise


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_a_stochastic_step_draws_from_the_posterior_and_the_last_is_the_prediction(path: Path) -> None:
    drawn = Drawn()
    got = SAMPLERS["ancestral"](predict, path, X, [0.8, 0.5, 0.0], drawn)
    half = posterior(path, X, predict(X, 0.8)[0], 0.8, 0.5, drawn.values[0])
    assert close(got, predict(half, 0.5)[0]) and len(drawn.values) == 1


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_the_corrector_takes_a_langevin_step_except_at_the_end(path: Path) -> None:
    drawn = Drawn()
    got = predictor_corrector(predict, path, X, [0.8, 0.5, 0.0], drawn, snr=0.2)
    half = posterior(path, X, predict(X, 0.8)[0], 0.8, 0.5, drawn.values[0])
    length = 2 * (0.2 * path.sigma(0.5)) ** 2
    moved = half - length * predict(half, 0.5)[1] / path.sigma(0.5) + math.sqrt(2 * length) * drawn.values[1]
    assert close(got, predict(moved, 0.5)[0]) and len(drawn.values) == 2
    usual = SAMPLERS["predictor-corrector"](predict, path, X, [0.8, 0.5, 0.0], Drawn())
    own = solver_of(SamplerSettings(name="predictor-corrector", corrector_snr=0.2))(predict, path, X, [0.8, 0.5, 0.0], Drawn())
    assert close(own, got) and not close(usual, got)
    assert close(usual, predictor_corrector(predict, path, X, [0.8, 0.5, 0.0], Drawn(), snr=0.16))


def test_nothing_of_pure_noise_is_kept_but_its_prediction() -> None:
    """At alpha = 0 what x holds says nothing of x_0: q(x_s | x_T, x_0) is the marginal at s."""
    drawn, path = Drawn(), LinearPath()
    got = SAMPLERS["ancestral"](predict, path, X, [1.0, 0.5], drawn)
    assert close(got, 0.5 * predict(X, 1.0)[0] + 0.5 * drawn.values[0])


@pytest.mark.parametrize(("churn", "gain"), [(0.3, 0.1), (90.0, math.sqrt(2) - 1)])
def test_churn_goes_back_up_before_each_step_between_its_noise_levels(churn: float, gain: float) -> None:
    """Karras et al. 2022, algorithm 2: gamma = S_churn / N, of the steps of the whole grid, and sqrt(2) - 1 at most."""
    path, drawn = LinearPath(), Drawn()
    times = [0.99, 0.8, 0.04, 0.0]  # noise levels 99, 4 and 0.042: only the one in the middle is churned
    got = solver_of(SamplerSettings(name="heun", steps=3, churn=churn))(predict, path, X, times, drawn)
    x = heun(predict, path, X, times[:2], no_noise)
    back = 4 * (1 + gain) / (1 + 4 * (1 + gain))  # the time at which sigma / alpha = t / (1 - t) is that
    ratio = (1 - back) / (1 - 0.8)
    x = ratio * x + math.sqrt(back**2 - (ratio * 0.8) ** 2) * drawn.values[0]
    x = heun(predict, path, x, [back, 0.04], no_noise)
    assert close(got, heun(predict, path, x, [0.04, 0.0], no_noise)) and len(drawn.values) == 1
    assert close(heun(predict, path, X, times, Drawn(), gain=gain), got)


def test_churn_never_leaves_the_path() -> None:
    class Short(LinearPath):
        end = 0.81

    drawn = Drawn()
    heun(predict, Short(), X, [0.8, 0.5], drawn, gain=0.4)
    x = heun(
        predict, LinearPath(), (0.19 / 0.2) * X + math.sqrt(0.81**2 - (0.19 / 0.2 * 0.8) ** 2) * drawn.values[0], [0.81, 0.5], no_noise
    )
    assert close(heun(predict, Short(), X, [0.8, 0.5], Drawn(), gain=0.4), x)


@pytest.mark.parametrize(("level", "times"), [(0.05, 1), (50.0, 1), (0.0499, 0), (50.1, 0)])
def test_the_ends_of_churn_belong_to_it(level: float, times: int) -> None:
    class Direct(LinearPath):
        def level(self, t: float) -> float:
            return level

        def time_of(self, level: float) -> float:
            return 0.6

    drawn = Drawn()
    heun(predict, Direct(), X, [0.5, 0.2], drawn, gain=0.1)
    assert len(drawn.values) == times


# ---------------------------------------------------------------- multistep


def half_log_snr(path: Path, t: float) -> float:
    return math.log(path.alpha(t) / path.sigma(t))


@pytest.mark.parametrize("path", PATHS, ids=named)
def test_dpm_solver_as_printed(path: Path) -> None:
    """Lu et al. 2022, arXiv:2211.01095, algorithm 2, with uneven steps and a last step to pure data."""
    times = [0.9, 0.6, 0.45, 0.0]
    x, older, h_before = X, None, 0.0
    for now, then in ((0.9, 0.6), (0.6, 0.45)):
        h = half_log_snr(path, then) - half_log_snr(path, now)
        data = predict(x, now)[0]
        r = h_before / h
        mixed = data if older is None else (1 + 1 / (2 * r)) * data - older / (2 * r)
        x = path.sigma(then) / path.sigma(now) * x - path.alpha(then) * math.expm1(-h) * mixed
        older, h_before = data, h
    assert close(dpm_solver(predict, path, X, times[:3]), x)
    assert close(dpm_solver(predict, path, X, times), predict(x, 0.45)[0])


def test_a_prediction_from_pure_noise_is_not_extrapolated() -> None:
    path = LinearPath()
    first = 0.6 * X + 0.4 * predict(X, 1.0)[0]
    second = 0.3 / 0.6 * first + (0.7 - 0.3 / 0.6 * 0.4) * predict(first, 0.6)[0]
    assert close(dpm_solver(predict, path, X, [1.0, 0.6, 0.3]), second)


@pytest.mark.parametrize(("step", "back"), [(0.3, 1.0), (0.7, 0.5), (0.2, 2.5)])
def test_the_corrector_integrates_parabolas_exactly(step: float, back: float) -> None:
    """Between the earlier, this and the found prediction lies a parabola g; UniC-2 gives the mean of exp(u - h) g over the step."""
    values = [0.7, -0.2, 1.1]  # before, data, found, at -h / back, 0 and h
    place = -step / back

    def parabola(u: float) -> float:
        earlier, later = values[0] - values[1], values[2] - values[1]
        return earlier * u * (u - step) / (place * (place - step)) + later * u * (u - place) / (step * (step - place))

    exact = quad(lambda u: math.exp(u - step) * parabola(u), 0, step)[0] / (1 - math.exp(-step))
    before, data, found = (torch.tensor([v], dtype=torch.float64) for v in values)
    assert float(_correction(data, before, found, step, back)) == pytest.approx(exact, rel=1e-7)
    for missing in ((None, 1.0), (before, None), (before, 0.0)):  # without an earlier prediction: half the difference
        assert float(_correction(data, missing[0], found, step, missing[1])) == pytest.approx(0.5 * (1.1 + 0.2))


@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize("order", [1, 2])
def test_unipc_step_by_step(path: Path, order: int) -> None:
    times = [0.9, 0.6, 0.45, 0.2]
    x, data, older, h_before = X, predict(X, 0.9)[0], None, 0.0
    for now, then in ((0.9, 0.6), (0.6, 0.45), (0.45, 0.2)):
        h = half_log_snr(path, then) - half_log_snr(path, now)
        line = path.sigma(then) / path.sigma(now) * x - path.alpha(then) * math.expm1(-h) * data
        weight, back = -path.alpha(then) * math.expm1(-h), None if older is None or order == 1 else h / h_before
        ahead = line if back is None else line + weight * 0.5 * back * (data - older)
        if then == 0.2:
            break
        found = predict(ahead, then)[0]
        x = line + weight * _correction(data, older, found, h, back)
        older, h_before, data = data, h, found
    assert close(unipc(predict, path, X, times, order), ahead)
    assert close(SAMPLERS[f"unipc-{order + 1}"](predict, path, X, times, no_noise), ahead)
    ends = unipc(predict, path, X, [0.9, 0.6, 0.0], order)
    assert torch.isfinite(ends).all()
    assert close(unipc(predict, path, X, [0.6, 0.0], order), predict(X, 0.6)[0])
    assert close(unipc(predict, path, X, [0.6, 0.3]), unipc(predict, path, X, [0.6, 0.3], 2))


@pytest.mark.parametrize("churn", [0.0, 0.6])
@pytest.mark.parametrize("path", PATHS, ids=named)
@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_one_by_one_are_the_whole_way(name: str, path: Path, churn: float) -> None:
    """What is carried from step to step is all that a solver remembers."""
    settings, times = SamplerSettings(name=name, steps=5, churn=churn), [0.95, 0.8, 0.6, 0.4, 0.1, 0.0]
    step, carried, drawn = step_of(settings), (X,), Drawn()
    for at in range(5):
        carried = tuple(part.clone() for part in step(predict, path, carried, times, at, drawn))
    assert torch.equal(carried[0], solver_of(settings)(predict, path, X, times, Drawn()))


# ---------------------------------------------------------------- times and likelihood


def test_grids_by_hand() -> None:
    path = LinearPath()
    assert time_grid(4, 0.8) == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert time_grid(2) == [1.0, 0.5, 0.0]
    high = 0.75 / 0.25
    levels = [(high ** (1 / 7) + i / 2 * (0.002 ** (1 / 7) - high ** (1 / 7))) ** 7 for i in range(3)]  # Karras 2022, eq. 5
    assert times_of("karras", path, 3, 0.75) == pytest.approx([*(v / (1 + v) for v in levels), 0.0])
    even = [math.exp(math.log(high) + i / 2 * (math.log(0.002) - math.log(high))) for i in range(3)]
    assert times_of("logsnr", path, 3, 0.75) == pytest.approx([*(v / (1 + v) for v in even), 0.0])
    for grid in ("karras", "logsnr"):
        assert times_of(grid, path, 1, 1.0) == pytest.approx([80 / 81, 0.0])  # from level 80, where the path has more
        assert times_of(grid, path, 2, 1.0) == pytest.approx([80 / 81, 0.002 / 1.002, 0.0])
    assert times_of("uniform", path, 2, 0.9) == pytest.approx([0.9, 0.45, 0.0])


def test_one_step_of_the_likelihood_by_hand() -> None:
    """Heun's step of x and of its divergence, then the density of noise of the path's spread."""
    path, now, then = CosinePath(), 0.4, 0.9
    (da, ds), (db, dt) = path.slopes(now), path.slopes(then)
    x = torch.tensor([[0.5, -0.3, 0.2]], dtype=torch.float64)
    slope = velocity(path, x, now)
    end = velocity(path, x + 0.5 * slope, then)
    moved = x + 0.25 * (slope + end)
    gained = 0.25 * 3 * ((0.3 * da + 0.7 * ds) + (0.3 * db + 0.7 * dt))  # each of three values gains d velocity / dx
    prior = torch.distributions.Normal(0.0, path.spread(then)).log_prob(moved).sum()
    for probes in (None, torch.ones(2, 1, 3), torch.tensor([[[1.0, -1.0, 1.0]]])):
        got = log_likelihood(predict, path, x, [now, then], probes)
        assert got.shape == (1,) and float(got) == pytest.approx(float(prior) + gained, rel=1e-9)
    wide = log_likelihood(predict, VariancePreservingPath(), 2 * x, [0.5, 0.5])  # no way: the prior alone
    assert float(wide) == pytest.approx(float(torch.distributions.Normal(0.0, 1.0).log_prob(2 * x).sum()))


def test_the_prior_has_the_spread_of_the_path() -> None:
    x = torch.tensor([[0.5, -0.3]], dtype=torch.float64)
    path = LinearPath()
    assert path.spread(0.5) == pytest.approx(math.sqrt(0.5))
    got = log_likelihood(predict, path, x, [0.5])
    assert float(got) == pytest.approx(float(torch.distributions.Normal(0.0, math.sqrt(0.5)).log_prob(x).sum()))
