"""Likelihood of data under a trained path: the probability-flow ODE is a change of variables from data to noise.

d log p / dt along the ODE is minus the divergence of its velocity (Song et al. 2021, arXiv:2011.13456, eq. 39).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import Path

_Predict = Callable[[Tensor, float], tuple[Tensor, Tensor]]


def log_likelihood(predict: _Predict, path: Path, x: Tensor, times: Sequence[float], probes: Tensor | None = None) -> Tensor:
    """Return the log density of data, in nats.

    Parameters
    ----------
    predict : callable
        ``predict(x, t)`` returns the expected (x_0, epsilon); it is differentiated.
    path : Path
    x : Tensor, shape (N, ...), float64
        Data, taken as x_t at the first time (the noise level there is that of dequantisation).
    times : sequence of float
        Rising from above 0; at the last, x_t must be as good as normal with the spread of the path.
    probes : Tensor, shape (K, N, ...), optional
        Random signs for the unbiased estimate of the divergence (Hutchinson 1990, doi:10.1080/03610919008812866; Grathwohl 2019,
        arXiv:1810.01367), kept the same along the way. The exact trace when left out: as many derivatives as a sample has values.

    Returns
    -------
    Tensor, shape (N,)
    """
    gained = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for now, then in pairwise(times):  # Heun, as for samples
        step = then - now
        slope, spread = _velocity(predict, path, x, now, probes)
        end, end_spread = _velocity(predict, path, x + step * slope, then, probes)
        x = x + 0.5 * step * (slope + end)
        gained = gained + 0.5 * step * (spread + end_spread)
    deviation, size = path.spread(times[-1]), x[0].numel()
    prior = -0.5 * (x / deviation).flatten(1).square().sum(1) - size * (math.log(deviation) + 0.5 * math.log(2 * math.pi))
    return prior + gained


def _velocity(predict: _Predict, path: Path, x: Tensor, t: float, probes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the velocity and its divergence, shape (N,)."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        velocity = path.velocity(t, *predict(point, t))
        if probes is None:
            divergence = _trace(velocity, point)
        else:
            terms = [(torch.autograd.grad((velocity * e).sum(), point, retain_graph=True)[0] * e).flatten(1).sum(1) for e in probes.to(x)]
            divergence = torch.stack(terms).mean(0)
    return velocity.detach(), divergence.detach()


def _trace(velocity: Tensor, point: Tensor) -> Tensor:
    flat = velocity.flatten(1)
    diagonal = [torch.autograd.grad(flat[:, i].sum(), point, retain_graph=True)[0].flatten(1)[:, i] for i in range(flat.shape[1])]
    return torch.stack(diagonal, dim=1).sum(1)
