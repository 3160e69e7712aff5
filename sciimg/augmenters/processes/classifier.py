"""A classifier of noised points: reads what was asked for off x_t, so that its gradient can guide a model that was never told.

Scalars are read as normal with a mean and a spread that the network predicts for each (at high noise it learns to say "anything"); classes
by softmax. Dhariwal & Nichol 2021, arXiv:2105.05233, section 4.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, Embedding, conv, memory_format, norm
from sciimg.augmenters.draws import normal
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, FieldSizes, Phase, Player, Space

if TYPE_CHECKING:
    from sciimg.augmenters.processes.gaussian import GaussianProcess

_SHARPEST = -4.0  # logarithm of the smallest variance that it may claim: gradients stay bounded


class Classifier(nn.Module):
    """Points and times → log p(scalars and classes | x_t).

    Parameters
    ----------
    sizes : FieldSizes
    scalars : int
        How many entries of ``condition.vector``, from the first, are scalars.
    classes : tuple of int
        Number of categories of each class condition, in the order in which they follow.
    width : int
    """

    def __init__(self, sizes: FieldSizes, scalars: int, classes: tuple[int, ...], width: int) -> None:
        super().__init__()
        dims, features = sizes.dims, 2 * width
        self.dims, self.scalars, self.classes = dims, scalars, classes
        self.embed = Embedding(0, features)
        self.enter = conv(dims, sizes.channels, width)
        self.down = nn.ModuleList(Down(dims, width, width, step) for step in sizes.steps)
        self.blocks = nn.ModuleList(Block(dims, width, width, embedding=features) for _ in range(1 + len(sizes.steps)))
        self.norm = norm(width)
        self.leave = nn.Linear(width + features, 2 * scalars + sum(classes))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def log_likelihood(self, x: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """Return log p(condition | x_t), shape (N,), for points (N, C, [Z,] Y, X) and times (N,)."""
        told = condition.vector
        output: Tensor = self(x, times)
        mean, log_variance = output[:, : 2 * self.scalars].chunk(2, dim=1)
        log_variance = _SHARPEST + nn.functional.softplus(log_variance - _SHARPEST)
        error = (told[:, : self.scalars] - mean).square()
        total = -0.5 * (error * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(1)
        place = self.scalars
        for size in self.classes:
            logits = output[:, place + self.scalars : place + self.scalars + size].log_softmax(1)
            total = total + (told[:, place : place + size] * logits).sum(1)
            place += size
        return total

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        none = x.new_zeros(len(x), 0)
        embedding = self.embed(none, x.new_ones(len(x), 1), times)
        h = self.enter(x.contiguous(memory_format=memory_format(self.dims)))
        h = self.blocks[0](h, embedding)
        for down, block in zip(self.down, list(self.blocks)[1:], strict=True):
            h = block(down(h), embedding)
        pooled = nn.functional.silu(self.norm(h)).flatten(2).mean(2)
        out: Tensor = self.leave(torch.cat([pooled, embedding], dim=1))
        return out.float()


class ClassifierPhase(Phase):
    """Raise the likelihood of the true condition at every noise level."""

    name = "classifier"

    def __init__(self, process: GaussianProcess, space: Space, classifier: Classifier, schedule: Schedule) -> None:
        self.process, self.space, self.classifier, self.schedule = process, space, classifier, schedule

    def players(self) -> tuple[Player, ...]:
        return (Player("classifier", (self.classifier,), self.schedule),)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self._error(batch)}

    def held_out(self, batch: Batch) -> Tensor:
        return self._error(batch)

    def _error(self, batch: Batch) -> Tensor:
        process, own = self.process, batch.generator
        with torch.no_grad():
            data = self.space.encode(batch.images, batch.condition)
        times = process.times(len(data), own)
        x = process.noised(data, normal(data.shape, own), times)
        given = x * process.columns(times, lambda t: process.target.scale(process.path, t), x)
        return -self.classifier.log_likelihood(given, process.network_times(times), batch.condition).mean()
