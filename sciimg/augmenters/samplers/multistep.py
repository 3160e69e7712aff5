"""Exponential integrators that remember earlier predictions: DPM-Solver++(2M) and UniPC, in half the log-SNR lambda = log(alpha / sigma).

Between two times the exact solution is x_t = sigma_t/sigma_s x_s + sigma_t times the integral of exp(lambda) x_0(lambda) (Lu et al. 2022,
arXiv:2211.01095, eq. 8); both put a polynomial through predicted x_0 there. Where lambda is infinite (pure noise, pure data) the polynomial
is a constant, which is the step of DDIM.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from sciimg.augmenters.processes.paths import Path

_Predict = Callable[[Tensor, float], tuple[Tensor, Tensor]]


def dpm_solver(predict: _Predict, path: Path, x: Tensor, times: Sequence[float]) -> Tensor:
    """DPM-Solver++(2M), second order, one prediction a step (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""
    before, step_before = None, 0.0
    for now, then in pairwise(times):
        data, _ = predict(x, now)
        step = _lambda(path, then) - _lambda(path, now)
        ahead = data if before is None or then <= 0 else data + 0.5 * _over(step, step_before) * (data - before)
        x = _first_order(path, x, ahead, now, then)
        before, step_before = data, step
    return x


def unipc(predict: _Predict, path: Path, x: Tensor, times: Sequence[float], order: int = 2) -> Tensor:
    """UniPC with UniP-``order`` as predictor and UniC-``order`` as corrector, B(h) = exp(h) - 1; one prediction a step.

    Parameters
    ----------
    order : {1, 2}
        Of the predictor. The corrector adds one, without a further prediction: the whole converges with order 2 or 3
        (Zhao et al. 2023, arXiv:2302.04867, theorem 3.1 and corollary 3.2).
    """
    data, _ = predict(x, times[0])
    before, step_before = None, 0.0
    for now, then in pairwise(times):
        step = _lambda(path, then) - _lambda(path, now)
        line = _first_order(path, x, data, now, then)
        back = None if before is None or order < 2 else _over(step, step_before)
        weight = -path.alpha(then) * math.expm1(-step)
        slope = 0.0 if back is None or before is None else 0.5 * back * (data - before)  # UniP-2, eq. 3 with a_1 = 1/2
        ahead = line if then <= 0 else line + weight * slope
        if then == times[-1]:
            return ahead
        found, _ = predict(ahead, then)
        x = line + weight * _correction(data, before, found, step, back)
        before, step_before, data = data, step, found
    return x


def _correction(data: Tensor, before: Tensor | None, found: Tensor, step: float, back: float | None) -> Tensor:
    """Return UniC's terms: differences to the predictions around, weighted so that polynomials are integrated exactly (eqs. 5 and 6)."""
    if before is None or not back:
        return 0.5 * (found - data)
    b = math.expm1(-step)
    first = (b / -step - 1) / b
    second = 2 * ((b / -step - 1) / -step - 0.5) / b
    place = -1 / back  # of the earlier prediction, in steps from here
    of_found = (second - place * first) / (1 - place)  # the weights sum to ``first``; weighted by place, to ``second``
    return (first - of_found) / place * (before - data) + of_found * (found - data)


def _first_order(path: Path, x: Tensor, data: Tensor, now: float, then: float) -> Tensor:
    """Return the exact step for a constant x_0: alpha_t (1 - exp(-h)) x_0 + sigma_t / sigma_s x_s."""
    share = path.sigma(then) / path.sigma(now)
    return share * x + (path.alpha(then) - share * path.alpha(now)) * data


def _over(step: float, before: float) -> float:
    """Return step / step before; 0 where the step before began at infinity, so that what was seen there does not count."""
    return step / before if math.isfinite(before) else 0.0


def _lambda(path: Path, t: float) -> float:
    alpha, sigma = path.alpha(t), path.sigma(t)
    if sigma <= 0:
        return math.inf
    return math.log(alpha / sigma) if alpha > 0 else -math.inf
