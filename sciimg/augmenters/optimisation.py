"""One player's optimiser: AdamW, warm-up and cosine, clipping, and the running average of weights; all of it can be saved exactly."""

import math

import torch
from torch import Tensor

from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Player


def learning_rate(schedule: Schedule, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up times a cosine that ends at ``final_rate`` of the peak."""
    warm = min(1.0, (step + 1) / (schedule.warmup + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
    return schedule.learning_rate * warm * (schedule.final_rate + (1 - schedule.final_rate) * cosine)


class Trainer:
    """What belongs to one player while it learns.

    Parameters
    ----------
    player : Player
    steps : int
        Of the whole phase: the cosine ends there.
    """

    def __init__(self, player: Player, steps: int) -> None:
        self.player, self.schedule, self.steps = player, player.schedule, steps
        self.parameters = player.parameters()
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.schedule.learning_rate, betas=self.schedule.betas, weight_decay=self.schedule.weight_decay, fused=True
        )
        for p in self.parameters:  # made here, with the layout of the weight, so that a restored state is laid out like a fresh one
            self.optimizer.state[p] = {
                "step": torch.zeros((), device=p.device),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        self.average = [p.detach().clone() for p in self.parameters]

    def step(self, number: int) -> float:
        """Move along the gradient that was computed; return its norm before clipping. Weights stay when the norm is not finite."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.schedule.clip))
        if not math.isfinite(norm):
            return norm
        self.optimizer.param_groups[0]["lr"] = learning_rate(self.schedule, number, self.steps)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # the average forgets faster at first (as in Karras 2019's ramp-up), so that it never holds the initial weights
        decay = min(self.schedule.ema, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        return norm

    def swap(self) -> None:
        """Exchange weights and their running average."""
        for p, mean in zip(self.parameters, self.average, strict=True):
            p.data, mean.data = mean.data, p.data

    @torch.no_grad()
    def load_weights(self, weights: list[Tensor]) -> None:
        for p, value in zip(self.parameters, weights, strict=True):
            p.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on, beside the weights."""
        out = {f"average.{i}": mean for i, mean in enumerate(self.average)}
        for i, p in enumerate(self.parameters):
            out |= {f"optimizer.{i}.{name}": value for name, value in self.optimizer.state[p].items()}
        return out

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        for i, (p, mean) in enumerate(zip(self.parameters, self.average, strict=True)):
            mean.copy_(state[f"average.{i}"])
            for name, value in self.optimizer.state[p].items():
                value.copy_(state[f"optimizer.{i}.{name}"])
