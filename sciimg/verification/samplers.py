"""Samplers on Gaussian data, where the flow from noise to data is known."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import CosinePath, LinearPath, NoiseLevelPath, Path, VarianceExplodingPath, VariancePreservingPath
from sciimg.augmenters.samplers.inversion import invert
from sciimg.augmenters.samplers.likelihood import log_likelihood
from sciimg.augmenters.samplers.solvers import SAMPLERS, ddim_inversion
from sciimg.augmenters.samplers.times import time_grid, times_of
from sciimg.records import Check
from sciimg.verification.checks import check
from sciimg.verification.gaussian import GaussianData, grid

_PATHS = (("linear", LinearPath()), ("cosine", CosinePath()))
_ORDERS = {
    "euler": (1, "explicit Euler has global order 1"),
    "heun": (2, "Heun has global order 2; Karras et al. 2022, arXiv:2206.00364, section 3"),
    "ddim": (1, "DDIM is a first-order exponential integrator; Lu et al. 2022, arXiv:2206.00927, section 3"),
    "dpm-solver++": (2, "two earlier predictions, order 2; Lu et al. 2022, arXiv:2211.01095, section 4"),
    "unipc-2": (2, "UniP-1 with UniC-1: order p + 1 = 2; Zhao et al. 2023, arXiv:2302.04867, corollary 3.2"),
    "unipc-3": (3, "UniP-2 with UniC-2: order p + 1 = 3; Zhao et al. 2023, arXiv:2302.04867, corollary 3.2"),
}
Times = Callable[[Path, int], Sequence[float]]


def checks() -> Iterator[Check]:
    """Order of each solver, stochastic steps and their moments, the probability-flow map, its inverse and its likelihood."""
    yield from _orders()
    yield from _ancestral()
    yield from _moments()
    yield from _flow()
    yield from _inversion()
    yield from _likelihood()


def _orders() -> Iterator[Check]:
    for name, (order, source) in _ORDERS.items():
        for label, path in _PATHS:
            yield check(f"order-{name}-{label}", order, measured_order(name, path), 0.1, source)


def measured_order(name: str, path: Path, steps: Sequence[int] = (80, 160, 320)) -> float:
    """Return the slope of log(error) against log(step size) at time 0.05, away from the last step that every solver treats apart.

    Solvers of x_0 take steps alike in log-SNR, the variable in which they are polynomial, from noise level 20; the others in time, from 1.
    """
    data, x = GaussianData(), grid()
    times = _in_log_snr if name.startswith(("dpm", "unipc")) else _in_time
    errors = []
    for n in steps:
        own = times(path, n)
        got = SAMPLERS[name](data.predict(path), path, x, own, _no_noise)
        errors.append(math.log(float((got - data.flow(path, x, own[0], own[-1])).abs().max())))
    logs = [math.log(1 / n) for n in steps]
    mean_l, mean_e = sum(logs) / len(logs), sum(errors) / len(errors)
    rise = sum((a - mean_l) * (b - mean_e) for a, b in zip(logs, errors, strict=True))
    return rise / sum((a - mean_l) ** 2 for a in logs)


def _in_time(path: Path, n: int) -> list[float]:
    return [1 - (1 - 0.05) * i / n for i in range(n + 1)]


def _in_log_snr(path: Path, n: int) -> list[float]:
    low, high = math.log(path.level(0.05)), math.log(20.0)
    return [path.time_of(math.exp(high + (low - high) * i / n)) for i in range(n + 1)]


def _ancestral() -> Iterator[Check]:
    """A step from t to s with the true x_0: it is Bayes' posterior, and it lands on the marginal at s, N(alpha_s x_0, sigma_s²)."""
    source, bayes = "Ho et al. 2020, arXiv:2006.11239, eqs. 6 and 7", "precisions add: q(x_s | x_0) q(x_t | x_s); Ho et al. 2020, eq. 7"
    for label, path in (*_PATHS, ("vp", VariancePreservingPath()), ("ve", VarianceExplodingPath())):
        t, s, truth = 0.8, 0.55, 0.6
        a, sigma = path.alpha(t), path.sigma(t)

        def step(x: Tensor, noise: float, path: Path = path, t: float = t, s: float = s, truth: float = truth) -> float:
            def predict(x: Tensor, time: float) -> tuple[Tensor, Tensor]:
                return torch.full_like(x, truth), x

            def normal(shape: Sequence[int]) -> Tensor:
                return torch.full((1, *shape), noise, dtype=torch.float64)

            return float(SAMPLERS["ancestral"](predict, path, x, [t, s], normal))

        mean_in = torch.full((1, 1), a * truth, dtype=torch.float64)
        mean = step(mean_in, 0.0)
        from_x, from_noise = step(mean_in + sigma, 0.0) - mean, step(mean_in, 1.0) - mean
        yield check(f"ancestral-mean-{label}", path.alpha(s) * truth, mean, 1e-12, source)
        yield check(f"ancestral-variance-{label}", path.sigma(s) ** 2, from_x**2 + from_noise**2, 1e-12, source)
        kept = a / path.alpha(s)  # x_t given x_s is N(kept x_s, added)
        added = sigma**2 - (kept * path.sigma(s)) ** 2
        variance = 1 / (1 / path.sigma(s) ** 2 + kept**2 / added)
        yield check(f"posterior-variance-{label}", variance, from_noise**2, 1e-12, bayes)
        yield check(f"posterior-weight-{label}", variance * kept / added, from_x / sigma, 1e-12, bayes)


def _moments() -> Iterator[Check]:
    """Many stochastic steps with the exact score end in the distribution of the data: both moments, as steps are affine in their noise."""
    data, steps = GaussianData(), 300
    rows = 2 * steps + 1  # row 0: no noise; row 1: the start; each further row: one draw
    sources = {
        "ancestral": "the exact score reverses the diffusion; Ho et al. 2020, arXiv:2006.11239, eq. 11",
        "predictor-corrector": "Langevin steps keep the marginal; Song et al. 2021, arXiv:2011.13456, section 4.2",
    }
    for name, (label, path) in product(sources, (*_PATHS, ("vp", VariancePreservingPath()))):
        x = torch.zeros(rows, 1, dtype=torch.float64)
        x[1] = 1.0
        draws = iter(range(2, rows + 1))

        def unit(shape: Sequence[int], draws: Iterator[int] = draws) -> Tensor:
            out = torch.zeros(rows, *shape, dtype=torch.float64)
            out[next(draws)] = 1.0
            return out

        got = SAMPLERS[name](data.predict(path), path, x, time_grid(steps), unit).flatten()
        yield check(f"{name}-moments-mean-{label}", data.mean, float(got[0]), 0.01, sources[name])
        variance = float((got[1:] - got[0]).square().sum())
        yield check(f"{name}-moments-variance-{label}", 1, variance / data.std**2, 0.06, sources[name])


def _flow() -> Iterator[Check]:
    """Solvers reach the exact probability-flow map, from noise to data and back; on straight paths DDIM is Euler."""
    data, source = GaussianData(), "the flow keeps standardised values; Song et al. 2021, arXiv:2011.13456, section 4.3"
    for label, path in _PATHS:
        ends = time_grid(200)
        got = SAMPLERS["heun"](data.predict(path), path, grid(), ends, _no_noise)
        yield check(f"flow-map-{label}", 0, float((got - data.flow(path, grid(), 1.0, 0.0)).abs().max()), 1e-3, source)
        back = invert(data.predict(path), path, grid(), ends)
        exact = data.flow(path, grid(), 0.0, 1.0)
        yield check(f"flow-map-inverted-{label}", 0, float((back - exact).abs().max() / exact.abs().max()), 1e-3, source)
    path = LinearPath()
    pair = [SAMPLERS[s](data.predict(path), path, grid(), time_grid(9), _no_noise) for s in ("euler", "ddim")]
    yield check("ddim-is-euler-on-straight-paths", 0, float((pair[0] - pair[1]).abs().max()), 1e-12, "alpha and sigma are linear in t")


def _inversion() -> Iterator[Check]:
    """DDIM undoes its inversion to rounding when the steps are solved to the end, and the code is the noise of the exact flow."""
    data, source = GaussianData(), "Song et al. 2021, arXiv:2010.02502, section 4.3; Pan et al. 2023, arXiv:2309.04907"
    for label, path in _PATHS:
        times, x = time_grid(40), grid()
        code = ddim_inversion(data.predict(path), path, x, times[::-1], rounds=60)
        back = SAMPLERS["ddim"](data.predict(path), path, code, times, _no_noise)
        yield check(f"ddim-inversion-round-trip-{label}", 0, float((back - x).abs().max()), 1e-9, source)
        exact = data.flow(path, x, 0.0, 1.0)
        yield check(f"ddim-inversion-code-{label}", 0, float((code - exact).abs().max() / exact.abs().max()), 0.05, source)


def _likelihood() -> Iterator[Check]:
    """Log density along the probability-flow ODE, with the exact divergence and with random signs, of independent Gaussian values."""
    data, source = GaussianData(mean=0.2, std=0.7), "Song et al. 2021, arXiv:2011.13456, eq. 39"
    x = data.mean + data.std * torch.randn(8, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    truth = float(data.log_density(x).sum(1).mean())
    signs = torch.randint(0, 2, (2, *x.shape), generator=torch.Generator().manual_seed(6), dtype=torch.float64) * 2 - 1
    for label, path in (*_PATHS, ("vp", VariancePreservingPath()), ("ve", VarianceExplodingPath()), ("edm", NoiseLevelPath())):
        times = times_of("karras", path, 100, path.end)[-2::-1]
        for kind, probes in (("exact", None), ("hutchinson", signs)):
            got = log_likelihood(data.predict(path), path, x, times, probes)
            yield check(f"likelihood-{kind}-{label}", 1, float(got.mean()) / truth, 0.01, source)


def _no_noise(shape: Sequence[int]) -> Tensor:
    raise AssertionError("A deterministic sampler asked for noise.")
