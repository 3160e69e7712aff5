"""A field that is known in part: which part, how the rest is drawn, and how what is drawn is made to go on from what is known."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sciimg.augmenters.processes.paths import Path
from sciimg.augmenters.samplers.settings import Task
from sciimg.augmenters.samplers.solvers import Predict, SolverStep
from sciimg.errors import InputError, Problem

Key = tuple[str | int, ...]
_REACH_PX = 8  # how far what then differs from the known pixels is carried on


def _held(predict: Predict, path: Path, data: Tensor, noise: Tensor, keep: Tensor) -> Predict:
    """Return the prediction that knows part of the answer, and is asked with that part where the path has it."""

    def held(x: Tensor, time: float) -> tuple[Tensor, Tensor]:
        guess = predict(torch.where(keep, path.alpha(time) * data + path.sigma(time) * noise, x), time)
        return torch.where(keep, data, guess[0]), torch.where(keep, noise, guess[1])

    return held


def completed(
    step: SolverStep,
    predict: Predict,
    path: Path,
    data: Tensor,
    keep: Tensor,
    times: Sequence[float],
    normal: Callable[[Sequence[int]], Tensor],
    rounds: int,
    free: float = 0.0,
) -> Tensor:
    """Solve with a known part that is held until time ``free``, each step before it ``rounds`` times with noise put back in between."""
    x = noise = normal(data.shape[1:]).double()
    remembered: list[Tensor] = []
    for at in range(len(times) - 1):
        now, then = times[at : at + 2]
        released = now <= free
        for left in reversed(range(1 if released else rounds)):
            x, *remembered = step(
                predict if released else _held(predict, path, data, noise, keep), path, (x, *remembered), times, at, normal
            )
            if left:
                ratio = path.alpha(now) / path.alpha(then)
                spread = math.sqrt(max(0.0, path.sigma(now) ** 2 - (ratio * path.sigma(then)) ** 2))
                x = ratio * x + spread * normal(x.shape[1:]).to(x.dtype)
                remembered = []  # of a state that is no more
        if not released:
            x = torch.where(keep, path.alpha(then) * data + path.sigma(then) * noise, x)
    return x


def carried_on(missing: Tensor, keep: Tensor) -> Tensor:
    """Return how far drawn images must move so that they go on from known pixels: the best guess of what is missing, everywhere.

    Matheron's rule (Journel & Huijbregts 1978): a free draw, plus the regression on the known pixels of how far it is from them, is a draw
    given the known pixels. What is missing has the covariance that it shows on the known pixels, near lags only.

    Parameters
    ----------
    missing : Tensor, shape (N, C, [Z,] Y, X)
        Known minus drawn, where known.
    keep : Tensor of bool, shape (N, 1, [Z,] Y, X)
    """
    axes, shape = tuple(range(2, missing.ndim)), missing.shape[2:]
    sides = [side for _ in axes for side in (0, 2 * _REACH_PX)]  # room, so that opposite borders are no neighbours
    known = torch.nn.functional.pad(keep.double(), sides)
    values = torch.nn.functional.pad(torch.where(keep, missing, 0.0).double(), sides)
    wide = values.shape[2:]

    def lagged(x: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfftn(torch.fft.rfftn(x, dim=axes).abs().square(), s=wide, dim=axes)
        return out

    lags = torch.meshgrid(*(torch.fft.fftfreq(n, 1 / n, dtype=torch.float64) for n in wide), indexing="ij")
    taper = (-0.5 * torch.stack(lags).square().sum(0) / (_REACH_PX / 2) ** 2).exp()
    covariance = lagged(values) / lagged(known).clamp_min(0.5) * taper
    spectrum = torch.fft.rfftn(covariance, dim=axes).real.clamp_min(0)
    floor = 1e-2 * covariance.amax(axes, keepdim=True) + 1e-12  # keeps the inverse tame

    def filtered(x: Tensor) -> Tensor:
        out: Tensor = torch.fft.irfftn(torch.fft.rfftn(x, dim=axes) * spectrum, s=wide, dim=axes)
        return out

    weights = _conjugate_gradients(lambda v: known * (filtered(v) + floor * v), values)
    carried = filtered(weights)
    for axis, size in zip(axes, shape, strict=True):
        carried = carried.narrow(axis, 0, size)
    return carried.to(missing.dtype)


def _conjugate_gradients(apply: Callable[[Tensor], Tensor], wanted: Tensor, steps: int = 60) -> Tensor:
    """Solve ``apply(x) = wanted`` for each sample (Hestenes & Stiefel 1952); a fixed number of steps, so that the same bytes come out."""
    axes = tuple(range(1, wanted.ndim))

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(axes, keepdim=True)

    x, rest, direction = torch.zeros_like(wanted), wanted, wanted
    size = inner(rest, rest)
    for _ in range(steps):
        image = apply(direction)
        length = size / inner(direction, image).clamp_min(1e-300)
        x, rest = x + length * direction, rest - length * image
        before, size = size, inner(rest, rest)
        direction = rest + size / before.clamp_min(1e-300) * direction
    return x


def pooled(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the largest value of each block of a grid that is coarser by an integral factor."""
    factor = tuple(old // new for old, new in zip(x.shape[2:], shape, strict=True))
    return (torch.nn.functional.max_pool3d if x.ndim == 5 else torch.nn.functional.max_pool2d)(x, factor)


def nearest_known(image: NDArray[Any], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """Return (C, [Z,] Y, X) with every unknown pixel replaced by the nearest known one: an encoder must see nothing of what was there."""
    if not keep.any():
        return np.zeros_like(image)
    where = distance_transform_edt(~keep, return_distances=False, return_indices=True)
    return image[(slice(None), *where)]


def known_part(where: str | None, task: Task, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which voxels are known, shape ([Z,] Y, X).

    Parameters
    ----------
    where : str or None
        A box ``z:z,y:y,x:x``; to outpaint it is known, to inpaint it is not. The middle half of each axis when left out.
    task : "inpaint" or "outpaint"

    Raises
    ------
    InputError
        Kind ``bad-box``.
    """
    if where is None:
        box = tuple(slice(n // 4, n // 4 + max(1, n // 2)) for n in shape)
    else:
        try:
            edges = [[int(edge) for edge in part.split(":")] for part in where.split(",")]
            box = tuple(slice(a, b) for a, b in edges)
        except ValueError:
            box = ()
        if len(box) != len(shape) or any(not 0 <= b.start < b.stop <= n for b, n in zip(box, shape, strict=False)):
            message = f"A box is start:stop for each axis of {shape}, e.g. {','.join(f'0:{n // 2}' for n in shape)}; got {where!r}."
            raise InputError(Problem("--keep", "bad-box", message))
    inside = np.zeros(shape, bool)
    inside[box] = True
    return inside if task == "outpaint" else ~inside
