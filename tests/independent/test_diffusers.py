"""Our solvers against the schedulers of diffusers, where both define the same step, from noise to data on data with an exact predictor."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import LinearPath, NoiseLevelPath, Path
from sciimg.augmenters.samplers.solvers import SAMPLERS
from sciimg.augmenters.samplers.times import times_of
from sciimg.verification.gaussian import GaussianData

diffusers = pytest.importorskip("diffusers", reason="diffusers, whose schedulers are compared, is not installed here")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, with NumPy 2
CLOSE = 1e-5
DATA = GaussianData()
X = torch.linspace(-2, 2, 9, dtype=torch.float64).view(-1, 1)


class Discrete(Path):
    """The 1000 noise levels of a scheduler as a path: time n + 1 is its time step n, 0 is data."""

    def __init__(self, cumulative: Tensor) -> None:
        self.cumulative = cumulative.double().tolist()

    def alpha(self, t: float) -> float:
        return math.sqrt(self.cumulative[round(t) - 1]) if t > 0 else 1.0

    def sigma(self, t: float) -> float:
        return math.sqrt(1 - self.cumulative[round(t) - 1]) if t > 0 else 0.0

    def slopes(self, t: float) -> tuple[float, float]:
        raise AssertionError("discrete levels have no slope")

    def time_of(self, level: float) -> float:
        raise AssertionError("not asked")


def walked(scheduler: Any, path: Path, x: Tensor, times: Sequence[float], output: Callable[[Tensor, float], Tensor], **how: Any) -> Tensor:
    """Return where the scheduler's own loop ends; ``output`` is what the network would say at our time."""
    for step, time in zip(scheduler.timesteps, times, strict=False):
        x = scheduler.step(output(x, time), step, x, **how).prev_sample
    return x


def noise_at(path: Path) -> Callable[[Tensor, float], Tensor]:
    return lambda x, t: DATA.predict(path)(x, t)[1]


def no_noise(shape: Sequence[int]) -> Tensor:
    raise AssertionError("a deterministic solver drew noise")


@pytest.mark.parametrize("steps", [5, 10, 25])
@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": True}),
        ("dpm-solver++", "DPMSolverMultistepScheduler", {"solver_order": 2, "euler_at_final": True}),
        ("unipc-2", "UniPCMultistepScheduler", {"solver_order": 1, "solver_type": "bh2", "final_sigmas_type": "zero"}),
        ("unipc-3", "UniPCMultistepScheduler", {"solver_order": 2, "solver_type": "bh2", "final_sigmas_type": "zero"}),
    ],
)
def test_variance_preserving_steps(name: str, kind: str, options: dict[str, Any], steps: int) -> None:
    scheduler = getattr(diffusers, kind)(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, prediction_type="epsilon", **options)
    scheduler.set_timesteps(steps)
    path = Discrete(scheduler.alphas_cumprod)
    times = [*(float(t) + 1 for t in scheduler.timesteps), 0.0]
    if name == "ddim":  # its last step goes to data, as ours does
        assert scheduler.final_alpha_cumprod == 1
    theirs = walked(scheduler, path, X, times, noise_at(path))
    ours = SAMPLERS[name](DATA.predict(path), path, X, times, no_noise)
    assert float((ours - theirs).abs().max()) < CLOSE
    assert float((ours - X).abs().max()) > 0.1


def test_ancestral_steps() -> None:
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=1000, clip_sample=False, variance_type="fixed_small")
    scheduler.set_timesteps(50)
    path = Discrete(scheduler.alphas_cumprod)
    times = [*(float(t) + 1 for t in scheduler.timesteps), 0.0]
    theirs = walked(scheduler, path, X, times, noise_at(path), generator=torch.Generator().manual_seed(7))
    drawn = torch.Generator().manual_seed(7)
    ours = SAMPLERS["ancestral"](
        DATA.predict(path), path, X, times, lambda shape: torch.randn(len(X), *shape, generator=drawn, dtype=torch.float64)
    )
    assert float((ours - theirs).abs().max()) < CLOSE


@pytest.mark.parametrize(("name", "kind"), [("euler", "FlowMatchEulerDiscreteScheduler"), ("heun", "FlowMatchHeunDiscreteScheduler")])
def test_flow_matching_steps(name: str, kind: str) -> None:
    scheduler = getattr(diffusers, kind)()
    scheduler.set_timesteps(10)
    path = LinearPath()
    sigmas = [float(s) for s in scheduler.sigmas]
    times = sorted(set(sigmas), reverse=True)
    predict = DATA.predict(path)
    # Heun's list of theirs names every inner time twice: once as the end of a step, once as the start of the next
    theirs = walked(scheduler, path, X, sigmas, lambda x, t: path.velocity(t, *predict(x, t)))
    ours = SAMPLERS[name](predict, path, X, times, no_noise)
    assert float((ours - theirs).abs().max()) < CLOSE


@pytest.mark.parametrize(("name", "kind", "double"), [("euler", "EulerDiscreteScheduler", False), ("heun", "HeunDiscreteScheduler", True)])
def test_steps_by_noise_level(name: str, kind: str, double: bool) -> None:
    scheduler = getattr(diffusers, kind)(use_karras_sigmas=True)
    scheduler.set_timesteps(12)
    path = NoiseLevelPath()
    sigmas = [float(s) for s in scheduler.sigmas]
    times = sorted(set(sigmas), reverse=True)
    x = X * times[0]
    theirs = x
    predict = DATA.predict(path)
    for step, sigma in zip(scheduler.timesteps, sigmas, strict=False):
        scheduler.scale_model_input(theirs, step)
        theirs = scheduler.step(predict(theirs, sigma)[1], step, theirs).prev_sample
    ours = SAMPLERS[name](predict, path, x, times, no_noise)
    assert float((ours - theirs).abs().max()) / float(x.abs().max()) < CLOSE and double == (len(sigmas) > len(times))


def test_karras_noise_levels() -> None:
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    ours = times_of("karras", NoiseLevelPath(), 18, 80.0)
    assert all(a == pytest.approx(float(b), rel=CLOSE, abs=1e-12) for a, b in zip(ours, scheduler.sigmas, strict=True))
    assert all(a > b for a, b in pairwise(ours))
