"""Exponential integrators that remember earlier predictions: DPM-Solver++(2M) and UniPC, in half the log-SNR lambda = log(alpha / sigma).

Between two times the exact solution is x_t = sigma_t/sigma_s x_s + sigma_t times the integral of exp(lambda) x_0(lambda) (Lu et al. 2022,
arXiv:2211.01095, eq. 8); both put a polynomial through predicted x_0 there. Where lambda is infinite (pure noise, pure data) the polynomial
is a constant, which is the step of DDIM.
"""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from sciimg.augmenters.processes.paths import Path

_Predict = Callable[[Tensor, float], tuple[Tensor, Tensor]]
Carried = tuple[Tensor, ...]  # from step to step: the state, and what a solver remembers


def dpm_step(predict: _Predict, path: Path, carried: Carried, times: Sequence[float], at: int) -> Carried:
    """One step of DPM-Solver++(2M), second order, one prediction (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    Carried are the state at ``times[at]`` and, after the first step, what was predicted at the time before.
    """
    (x, *before), now, then = carried, times[at], times[at + 1]
    data, _ = predict(x, now)
    ahead = data
    if before and then > 0:
        ahead = data + 0.5 * _over(_step(path, times, at), _step(path, times, at - 1)) * (data - before[0])
    return _first_order(path, x, ahead, now, then), data


def unipc_step(predict: _Predict, path: Path, carried: Carried, times: Sequence[float], at: int, order: int = 2) -> Carried:
    """One step of UniPC with UniC-``order`` as corrector and UniP-``order`` as predictor, B(h) = exp(h) - 1; one prediction.

    Carried are the state at ``times[at]``, yet to be corrected, and, after the first step, the corrected state at the time before and what
    was predicted at the ``order`` times before.

    Parameters
    ----------
    order : {1, 2}
        Of the predictor. The corrector adds one, without a further prediction: the whole converges with order 2 or 3
        (Zhao et al. 2023, arXiv:2302.04867, theorem 3.1 and corollary 3.2).
    """
    (x, *earlier), now, then = carried, times[at], times[at + 1]
    data, _ = predict(x, now)
    known = earlier[1:]
    if known:
        last, step = times[at - 1], _step(path, times, at - 1)
        back = _over(step, _step(path, times, at - 2)) if len(known) > 1 else None
        change = _correction(known[0], known[-1], data, step, back)
        x = _first_order(path, earlier[0], known[0], last, now) - path.alpha(now) * math.expm1(-step) * change
    known, step = [data, *known][:order], _step(path, times, at)
    ahead = _first_order(path, x, data, now, then)
    if len(known) > 1 and then > 0:
        slope = 0.5 * _over(step, _step(path, times, at - 1)) * (data - known[1])  # UniP-2, eq. 3 with a_1 = 1/2
        ahead = ahead - path.alpha(then) * math.expm1(-step) * slope
    return ahead, x, *known


def dpm_solver(predict: _Predict, path: Path, x: Tensor, times: Sequence[float]) -> Tensor:
    """All steps of :func:`dpm_step`."""
    carried: Carried = (x,)
    for at in range(len(times) - 1):
        carried = dpm_step(predict, path, carried, times, at)
    return carried[0]


def unipc(predict: _Predict, path: Path, x: Tensor, times: Sequence[float], order: int = 2) -> Tensor:
    """All steps of :func:`unipc_step`."""
    carried: Carried = (x,)
    for at in range(len(times) - 1):
        carried = unipc_step(predict, path, carried, times, at, order)
    return carried[0]


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


def _step(path: Path, times: Sequence[float], at: int) -> float:
    return _lambda(path, times[at + 1]) - _lambda(path, times[at])


def _over(step: float, before: float) -> float:
    """Return step / step before; 0 where the step before began at infinity, so that what was seen there does not count."""
    return step / before if math.isfinite(before) else 0.0


def _lambda(path: Path, t: float) -> float:
    alpha, sigma = path.alpha(t), path.sigma(t)
    if sigma <= 0:
        return math.inf
    return math.log(alpha / sigma) if alpha > 0 else -math.inf
