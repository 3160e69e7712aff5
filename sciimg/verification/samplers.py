"""Samplers on Gaussian data, where the flow from noise to data is known."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import CosinePath, LinearPath, Path
from sciimg.augmenters.samplers.solvers import SAMPLERS, time_grid
from sciimg.records import Check
from sciimg.verification.checks import check
from sciimg.verification.gaussian import GaussianData, grid

_ORDERS = {
    "euler": (1, "explicit Euler has global order 1"),
    "heun": (2, "Heun has global order 2; Karras et al. 2022, arXiv:2206.00364, section 3"),
    "ddim": (1, "DDIM is a first-order exponential integrator; Lu et al. 2022, arXiv:2206.00927, section 3"),
}


def checks() -> Iterator[Check]:
    """Order of convergence of each solver, the moments of ancestral steps, and agreement of DDIM with Euler on straight paths."""
    for name, (order, source) in _ORDERS.items():
        for label, path in (("linear", LinearPath()), ("cosine", CosinePath())):
            yield check(f"order-{name}-{label}", order, measured_order(name, path), 0.1, source)
    x, data, path = grid(), GaussianData(), LinearPath()
    pair = [SAMPLERS[s](data.predict(path), path, x, time_grid(9), _no_noise) for s in ("euler", "ddim")]
    yield check("ddim-is-euler-on-straight-paths", 0, float((pair[0] - pair[1]).abs().max()), 1e-12, "alpha and sigma are linear in t")
    yield from _ancestral()


def measured_order(name: str, path: Path, steps: Sequence[int] = (80, 160, 320)) -> float:
    """Return the slope of log(error) against log(step size) at time 0.05, away from the last step that every solver treats apart."""
    data, x = GaussianData(), grid()
    errors = []
    for n in steps:
        times = [1 - (1 - 0.05) * i / n for i in range(n + 1)]
        got = SAMPLERS[name](data.predict(path), path, x, times, _no_noise)
        errors.append(math.log(float((got - data.flow(path, x, times[0], times[-1])).abs().max())))
    logs = [math.log(1 / n) for n in steps]
    mean_l, mean_e = sum(logs) / len(logs), sum(errors) / len(errors)
    rise = sum((a - mean_l) * (b - mean_e) for a, b in zip(logs, errors, strict=True))
    return rise / sum((a - mean_l) ** 2 for a in logs)


def _ancestral() -> Iterator[Check]:
    """A step from t to s with the true x_0 must land on the marginal at s: mean alpha_s x_0, variance sigma_s²."""
    source = "Ho et al. 2020, arXiv:2006.11239, eqs. 6 and 7"
    for label, path in (("linear", LinearPath()), ("cosine", CosinePath())):
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


def _no_noise(shape: Sequence[int]) -> Tensor:
    raise AssertionError("A deterministic sampler asked for noise.")
