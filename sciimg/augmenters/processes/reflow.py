"""Further phases of a trained flow: straight lines (reflow), and the whole way in one step (distillation).

Both learn from pairs of noise and the data that the flow makes of it, under the conditions of the training images. Pairs are made while
they are needed, from the phase's own generator, so that nothing has to be stored and training resumes exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciimg.augmenters.backbones.pyramid import divided, haar_pyramid, spreads
from sciimg.augmenters.draws import normal, whole
from sciimg.augmenters.samplers.multistep import dpm_solver
from sciimg.augmenters.samplers.times import time_grid
from sciimg.augmenters.system import Batch, Condition, FieldNetwork, Phase, Player, Space

if TYPE_CHECKING:
    from sciimg.augmenters.processes.gaussian import GaussianProcess
    from sciimg.augmenters.processes.settings import Distil, Reflow


_SCALES = 4  # halvings at most


class _Pairs(Phase):
    """Noise, the data that a teacher makes of it, and a pupil that learns from the pair."""

    def __init__(self, process: GaussianProcess, space: Space, settings: Reflow | Distil) -> None:
        self.process, self.space, self.steps, self.schedule = process, space, settings.steps, settings.training

    def _pairs(self, teacher: FieldNetwork, batch: Batch, drop: float) -> tuple[Tensor, Tensor, Condition]:
        """Return noise, data and the condition on the grid of the space."""
        own, process = batch.generator, self.process
        shape = self.space.shape(tuple(batch.images.shape[1:]))
        condition = batch.condition.resized(shape[1:])
        condition = condition.dropped(drop, own) if drop else condition
        noise = normal((len(condition), *shape), own)

        def predict(x: Tensor, time: float) -> tuple[Tensor, Tensor]:
            return process.predict(x, time, condition, 1.0, teacher)

        with torch.no_grad():
            data = dpm_solver(predict, process.path, noise.double(), time_grid(self.steps, process.start))
        return noise, data.float(), condition


class ReflowPhase(_Pairs):
    """Regress the velocity on the lines between the pairs (Liu et al. 2022, arXiv:2209.03003, algorithm 1 and section 2.2)."""

    name = "reflow"

    def __init__(self, process: GaussianProcess, space: Space, teacher: FieldNetwork, settings: Reflow) -> None:
        super().__init__(process, space, settings)
        self.teacher = teacher

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.process.network,), self.schedule),)

    def prepare(self, batch: Batch) -> None:
        self.teacher.load_state_dict(self.process.network.state_dict())

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self._error(batch, self.process.drop)}

    def held_out(self, batch: Batch) -> Tensor:
        return self._error(batch, 0.0)

    def _error(self, batch: Batch, drop: float) -> Tensor:
        noise, data, condition = self._pairs(self.teacher, batch, drop)
        times = self.process.times(len(noise), batch.generator)
        x = self.process.noised(data, noise, times)
        return self.process.error(self.process.network, x, self.process.wanted(data, noise, times), times, condition)


class DistilPhase(_Pairs):
    """Regress the data on the noise in one step of a copy of the network (Liu et al. 2023, arXiv:2309.06380, eq. 6)."""

    name = "distil"

    def __init__(self, process: GaussianProcess, space: Space, student: FieldNetwork, settings: Distil) -> None:
        super().__init__(process, space, settings)
        self.student = student

    def players(self) -> tuple[Player, ...]:
        return (Player("student", (self.student,), self.schedule),)

    def prepare(self, batch: Batch) -> None:
        self.student.load_state_dict(self.process.network.state_dict())

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self._error(batch)}

    def held_out(self, batch: Batch) -> Tensor:
        return self._error(batch)

    def _error(self, batch: Batch) -> Tensor:
        noise, data, condition = self._pairs(self.process.network, batch, 0.0)
        made, _ = self.process.predict(noise, self.process.path.end, condition, 1.0, self.student)
        return scale_error(made.float(), data, batch.generator)


def scale_error(made: Tensor, data: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return the mean squared error of Haar details of each scale, in units of their spread in the data.

    In plain L2 fine texture hardly counts, and one step leaves it out; InstaFlow asks a perceptual network instead, which has no weights
    for volumes and microscopy. Points whose sizes cannot be halved are compared as they are.
    """
    halvings = 0
    while halvings < _SCALES and all(size % 2 ** (halvings + 1) == 0 and size >= 2 ** (halvings + 2) for size in data.shape[2:]):
        halvings += 1
    steps = [(2,) * (data.ndim - 2)] * halvings
    if not steps:
        return (made - data).square().mean()
    real, got = haar_pyramid(data, steps), haar_pyramid(made, steps)
    by = spreads(real if generator is None else [whole(own, generator) for own in real])
    return torch.stack([(a - b).square().mean() for a, b in zip(divided(real, by), divided(got, by), strict=True)]).mean()
