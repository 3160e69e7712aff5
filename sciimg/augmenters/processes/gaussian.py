"""Rectified flow and diffusion: one process on a Gaussian path, whose network predicts a velocity or the noise."""

from typing import assert_never

import torch
from torch import Tensor

from sciimg.augmenters.processes.paths import CosinePath, LinearPath, Path, Target
from sciimg.augmenters.processes.settings import DiffusionProcess, FlowProcess
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import SAMPLERS, Predict, time_grid
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, FieldNetwork, Noise, Phase, Player, Process, Space, autocast

_EPSILON_START = 0.995  # alpha(1) = 0: the noise alone says nothing about x_0 there


class GaussianProcess(Process):
    """x_t = alpha x_0 + sigma epsilon; the network learns the target at every t.

    Parameters
    ----------
    settings : FlowProcess or DiffusionProcess
    space : Space
        Where the data live; the process trains on ``space.encode`` of images.
    network : FieldNetwork
        ``network(x, t, condition)`` with maps on the grid of the space.
    schedule : Schedule
    drop : float
        Probability of withholding the condition while training.
    """

    samplers = tuple(SAMPLERS)

    def __init__(
        self, settings: FlowProcess | DiffusionProcess, space: Space, network: FieldNetwork, schedule: Schedule, drop: float
    ) -> None:
        super().__init__()
        self.settings, self.network, self.schedule, self.drop = settings, network, schedule, drop
        self._space = (space,)  # in a tuple: the space's weights are not this module's
        self.path, self.target = _path_of(settings)

    def phases(self) -> tuple[Phase, ...]:
        return (_Matching(self, self._space[0]),)

    def times(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw training times: logit-normal (Esser 2024, arXiv:2403.03206, eq. 19) for flow, uniform for diffusion."""
        match self.settings:
            case FlowProcess():
                z = torch.randn(n, generator=generator)
                return torch.sigmoid(self.settings.time_mean + self.settings.time_std * z)
            case DiffusionProcess():
                return torch.rand(n, generator=generator) * (_EPSILON_START if self.target == "epsilon" else 1.0)

    def loss(self, data: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        """Mean squared error of the target; ``condition`` has its maps on the grid of the space already."""
        time = self.times(len(data), generator)
        noise = torch.randn(data.shape, generator=generator)
        column = time.view(-1, *([1] * (data.ndim - 1)))
        match self.settings:
            case FlowProcess():
                x, target = (1 - column) * data + column * noise, noise - data
            case DiffusionProcess():
                a, s = torch.cos(0.5 * torch.pi * column), torch.sin(0.5 * torch.pi * column)
                x, target = a * data + s * noise, noise if self.target == "epsilon" else a * noise - s * data
            case _:
                assert_never(self.settings)
        output: Tensor = self.network(x, time, condition)
        return (output - target).square().mean()

    def predict(self, x: Tensor, time: float, condition: Condition, guidance: float) -> tuple[Tensor, Tensor]:
        """Return the expected (x_0, epsilon); guidance extrapolates from the unconditional output (Ho & Salimans 2022, eq. 6)."""
        column = torch.full((len(x),), time)
        output: Tensor = self.network(x.float(), column, condition)
        if guidance != 1.0:
            free: Tensor = self.network(x.float(), column, condition.withheld())
            output = free + guidance * (output - free)
        scale = 1.0 if isinstance(self.path, LinearPath) or self.target == "epsilon" else 0.5 * torch.pi  # v → velocity
        return self.path.split(time, x, scale * output.double(), self.target)

    def predictor(self, told: Condition, guidance: float) -> Predict:
        """Return the prediction as samplers ask for it; the condition's maps are on the grid of the space."""
        return lambda x, time: self.predict(x, time, told, guidance)

    def times_to(self, steps: int) -> list[float]:
        """Return the times from noise to data at which a solver of that many steps stops."""
        return time_grid(steps, _EPSILON_START if self.target == "epsilon" else 1.0)

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        predict = self.predictor(condition.resized(shape[1:]), settings.guidance)
        with autocast(self.schedule.precision):
            x = noise.normal(shape).double()
            return SAMPLERS[settings.name](predict, self.path, x, self.times_to(settings.steps), noise.normal).float()


class _Matching(Phase):
    """Regress the target on encoded images."""

    name = "process"

    def __init__(self, process: GaussianProcess, space: Space) -> None:
        self.process, self.space, self.schedule = process, space, process.schedule

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.process.network,), self.schedule),)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        data, condition = self._encoded(batch)
        return {"loss": self.process.loss(data, condition.dropped(self.process.drop, batch.generator), batch.generator)}

    def held_out(self, batch: Batch) -> Tensor:
        return self.process.loss(*self._encoded(batch), batch.generator)

    def _encoded(self, batch: Batch) -> tuple[Tensor, Condition]:
        with torch.no_grad():
            data = self.space.encode(batch.images)
        return data, batch.condition.resized(data.shape[2:])


def _path_of(settings: FlowProcess | DiffusionProcess) -> tuple[Path, Target]:
    match settings:
        case FlowProcess():
            return LinearPath(), "velocity"
        case DiffusionProcess():
            return CosinePath(), "epsilon" if settings.predict == "epsilon" else "velocity"
