"""Solvers that carry noise to data along a path; one interface, continuous time, float64 state.

``SAMPLERS[name](predict, path, x, times, normal)`` where ``predict(x, t)`` returns the expected (x_0, epsilon) given x_t, ``times`` falls
to 0, and ``normal(shape)`` gives fresh noise (used by those that are stochastic). A predictor with a closed form (Gaussian data) serves
as well as a network, which is how their order of convergence is verified. :func:`step_of` gives the same step by step.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import Path
from sciimg.augmenters.samplers.multistep import Carried, dpm_solver, dpm_step, unipc, unipc_step
from sciimg.augmenters.samplers.settings import SamplerSettings

Predict = Callable[[Tensor, float], tuple[Tensor, Tensor]]
Normal = Callable[[Sequence[int]], Tensor]
Solver = Callable[[Predict, Path, Tensor, Sequence[float], Normal], Tensor]
SolverStep = Callable[[Predict, Path, Carried, Sequence[float], int, Normal], Carried]  # from what is carried to one time to the next

_MOST_CHURN = math.sqrt(2) - 1  # Karras 2022, algorithm 2
_CHURNED = (0.05, 50.0)  # noise levels between which noise is added (Karras 2022, table 5)


def euler(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
    """First order on the probability-flow ODE."""
    for now, then in pairwise(times):
        x = x + (then - now) * path.velocity(now, *predict(x, now))
    return x


def heun(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal, gain: float = 0.0) -> Tensor:
    """Second order: trapezoidal rule with an Euler predictor; the last step (to t = 0) is Euler's (Karras 2022, algorithms 1 and 2).

    Two predictions a step, except the last. With ``gain``, each step first goes back up by fresh noise, to ``1 + gain`` times the level.
    """
    for now, then in pairwise(times):
        if gain > 0 and _CHURNED[0] <= path.level(now) <= _CHURNED[1]:
            x, now = _noisier(path, x, now, gain, normal)
        slope = path.velocity(now, *predict(x, now))
        ahead = x + (then - now) * slope
        if then > 0:
            slope = 0.5 * (slope + path.velocity(then, *predict(ahead, then)))
            ahead = x + (then - now) * slope
        x = ahead
    return x


def ddim(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
    """Song et al. 2021, arXiv:2010.02502, eq. 12 with eta = 0: keep the predicted noise, move the predicted data."""
    for now, then in pairwise(times):
        data, noise = predict(x, now)
        x = path.alpha(then) * data + path.sigma(then) * noise
    return x


def ddim_inversion(predict: Predict, path: Path, x: Tensor, times: Sequence[float], rounds: int = 3) -> Tensor:
    """Carry data to the noise from which :func:`ddim` makes it.

    Parameters
    ----------
    predict, path, x
        As for a solver; ``x`` is data.
    times : sequence of float
        Rising from 0.
    rounds : int
        A step of :func:`ddim` from ``then`` to ``now`` is x_now = x_then + (alpha_now - alpha_then) x_0(x_then) +
        (sigma_now - sigma_then) epsilon(x_then); it is solved for x_then by this many fixed-point iterations, of which the first is the
        usual inversion (Song 2021, section 4.3) and further ones make it exact (Pan et al. 2023, arXiv:2309.04907).
    """
    for now, then in pairwise(times):
        a, s = path.alpha(then) - path.alpha(now), path.sigma(then) - path.sigma(now)
        ahead = x
        for _ in range(rounds):
            data, noise = predict(ahead, then)
            ahead = x + a * data + s * noise
        x = ahead
    return x


def ancestral(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
    """Ho et al. 2020, arXiv:2006.11239, eq. 7, in continuous time: draw from q(x_s | x_t, x_0) at the predicted x_0."""
    for now, then in pairwise(times):
        x = _posterior(predict(x, now)[0], path, x, now, then, normal)
    return x


def predictor_corrector(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal, snr: float = 0.16) -> Tensor:
    """Song et al. 2021, arXiv:2011.13456, algorithm 1: after each ancestral step, one step of Langevin dynamics at the new noise level.

    The step is 2 (snr sigma)²: algorithm 5 with the norms that noise and score have on average, so that samples do not meet. Two
    predictions a step, except the last.
    """
    for now, then in pairwise(times):
        x = _posterior(predict(x, now)[0], path, x, now, then, normal)
        if then > 0:
            sigma = path.sigma(then)
            step = 2 * (snr * sigma) ** 2
            score = -predict(x, then)[1] / sigma
            x = x + step * score + math.sqrt(2 * step) * normal(x.shape[1:]).to(x)
    return x


def _posterior(data: Tensor, path: Path, x: Tensor, now: float, then: float, normal: Normal) -> Tensor:
    if then <= 0:
        return data
    ratio = path.alpha(now) / path.alpha(then)
    fresh = path.sigma(now) ** 2 - (ratio * path.sigma(then)) ** 2  # variance that the step from s to t adds
    share = fresh / path.sigma(now) ** 2
    mean = (1 - share) / ratio * x if ratio > 0 else torch.zeros_like(x)
    mean = mean + path.alpha(then) * share * data
    return mean + math.sqrt(share) * path.sigma(then) * normal(x.shape[1:]).to(x)


def _noisier(path: Path, x: Tensor, now: float, gain: float, normal: Normal) -> tuple[Tensor, float]:
    """Add noise until the noise level is ``1 + gain`` times as high; return the point and its time."""
    level = path.level(now) * (1 + gain)
    back = min(path.time_of(level), path.end)
    ratio = path.alpha(back) / path.alpha(now)
    fresh = path.sigma(back) ** 2 - (ratio * path.sigma(now)) ** 2
    return ratio * x + math.sqrt(max(0.0, fresh)) * normal(x.shape[1:]).to(x), back


def _deterministic(solver: Callable[..., Tensor], **how: int) -> Solver:
    def solve(predict: Predict, path: Path, x: Tensor, times: Sequence[float], normal: Normal) -> Tensor:
        return solver(predict, path, x, times, **how)

    return solve


SAMPLERS: MappingProxyType[str, Solver] = MappingProxyType(
    {
        "euler": euler,
        "heun": heun,
        "ddim": ddim,
        "dpm-solver++": _deterministic(dpm_solver),
        "unipc-2": _deterministic(unipc, order=1),
        "unipc-3": _deterministic(unipc, order=2),
        "ancestral": ancestral,
        "predictor-corrector": predictor_corrector,
    }
)


def solver_of(settings: SamplerSettings) -> Solver:
    """Return the solver with its own settings in place."""
    match settings.name:
        case "heun":
            return partial(heun, gain=min(settings.churn / settings.steps, _MOST_CHURN))
        case "predictor-corrector":
            return partial(predictor_corrector, snr=settings.corrector_snr)
        case name:
            return SAMPLERS[name]


def step_of(settings: SamplerSettings) -> SolverStep:
    """Return one step of the solver: ``step(predict, path, carried, times, at, normal)`` goes from ``times[at]`` to ``times[at + 1]``."""
    match settings.name:
        case "dpm-solver++":
            return _remembering(dpm_step)
        case "unipc-2":
            return _remembering(partial(unipc_step, order=1))
        case "unipc-3":
            return _remembering(partial(unipc_step, order=2))
    solver = solver_of(settings)

    def step(predict: Predict, path: Path, carried: Carried, times: Sequence[float], at: int, normal: Normal) -> Carried:
        return (solver(predict, path, carried[0], times[at : at + 2], normal),)

    return step


def _remembering(one: Callable[[Predict, Path, Carried, Sequence[float], int], Carried]) -> SolverStep:
    def step(predict: Predict, path: Path, carried: Carried, times: Sequence[float], at: int, normal: Normal) -> Carried:
        return one(predict, path, carried, times, at)

    return step
