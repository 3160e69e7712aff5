"""A generator against a discriminator: one step from noise to data, inside any space.

The game is one of a few losses (:mod:`sciimg.augmenters.processes.games`). By default it is relativistic and paired (R3GAN; Huang et al.
2024, arXiv:2501.05441): the discriminator compares a real and a made point under the same condition, which leaves no minimum for
collapsing, and zero-centred gradient penalties on both kinds make it converge (Mescheder et al. 2018, arXiv:1801.04406).

Beside the game, the generator answers to an energy score (Gneiting & Raftery 2007, eq. 22, doi:10.1198/016214506000001437; as a loss of
generators: Gritsenko et al. 2020, arXiv:2008.01160): of two samples for one condition, each should be near the real point and they should
differ from one another by as much. It is proper: only the true conditional distribution minimises it, so unlike a plain reconstruction
error it neither blurs nor removes variety. It teaches layout, levels and obedience to the condition long before the game is good at them.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from sciimg.augmenters.augmentation import augment
from sciimg.augmenters.backbones.layers import space_to_depth
from sciimg.augmenters.backbones.opponents import Judge, PointGenerator
from sciimg.augmenters.backbones.pyramid import block_means, coarser_means, divided, spreads
from sciimg.augmenters.draws import count, normal, own, piece, sharing, whole
from sciimg.augmenters.grid import Step
from sciimg.augmenters.processes.games import (
    energy_score,
    fooled,
    gradient_penalty,
    lipschitz_penalty,
    orthogonal_penalty,
    told_apart,
)
from sciimg.augmenters.processes.settings import AdversarialProcess as Choices
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Process, Space, autocast


class Stage(nn.Module):
    """A generator and its opponent, on the grid of the points or on a coarser one.

    Parameters
    ----------
    generator : PointGenerator
    discriminator : Judge
    channels : int
    grid : tuple of int
        ([Z,] Y, X) that this stage works on.
    factor : Step
        How much finer the grid of the points is.
    """

    scales: Tensor

    def __init__(self, generator: PointGenerator, discriminator: Judge, channels: int, grid: tuple[int, ...], factor: Step) -> None:
        super().__init__()
        self.generator, self.discriminator, self.factor = generator, discriminator, factor
        self.register_buffer("scales", torch.ones(min(grid).bit_length() - 1, channels))  # spread of means over 2, 4, 8 … samples


class AdversarialProcess(Process):
    """A conditional generative adversarial network.

    Parameters
    ----------
    settings : AdversarialProcess
    space : Space
    stages : sequence of Stage
        Coarse to fine; each is trained after the one before it, and the last one's generator makes the points.
    schedule : Schedule
    """

    samplers = ("one-step",)

    def __init__(self, settings: Choices, space: Space, stages: Sequence[Stage], schedule: Schedule) -> None:
        super().__init__()
        self.settings, self.stages, self.schedule = settings, nn.ModuleList(stages), schedule
        self._space = (space,)  # in a tuple: the space's weights are not this module's

    def phases(self) -> tuple[Phase, ...]:
        names = ["game"] if len(self.stages) == 1 else [f"game-{i}" for i in range(1, len(self.stages) + 1)]
        return tuple(_Game(name, self, stage, self._space[0]) for name, stage in zip(names, self.stages, strict=True))  # type: ignore[arg-type]

    @property
    def generator(self) -> PointGenerator:
        """The network that makes the points."""
        return self.stages[-1].generator  # type: ignore[return-value]

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        drawn = [noise.normal(own) for own in self.generator.noise_shapes(shape[1:])]
        with autocast(self.schedule.precision, noise.device):
            made: Tensor = self.generator(drawn, condition.resized(shape[1:]), truncation=settings.truncation)
        return made


def _windows(coefficients: Tensor) -> Tensor:
    """Fold neighbours into channels, where the grid allows, so that the score sees how they go together."""
    return coefficients if any(size % 2 for size in coefficients.shape[2:]) else space_to_depth(coefficients, 2)


# ---------------------------------------------------------------- the game


class _Game(Phase):
    """Discriminator, then generator, on every step (or generator on every few)."""

    def __init__(self, name: str, process: AdversarialProcess, stage: Stage, space: Space) -> None:
        self.name, self.stage, self.space, self.schedule, self.choices = name, stage, space, process.schedule, process.settings
        self.generator, self.discriminator = stage.generator, stage.discriminator

    def players(self) -> tuple[Player, ...]:
        own = self.schedule
        fast = own.learning_rate * self.choices.discriminator_rate
        return (
            Player("discriminator", (self.discriminator,), own.model_copy(update={"ema": 0.0, "learning_rate": fast})),
            Player("generator", (self.generator,), own, every=self.choices.critic_steps),
        )

    def prepare(self, batch: Batch) -> None:
        data = self._points(batch)
        self.generator.measure(data)
        self.discriminator.measure(data)
        self.stage.scales.copy_(torch.stack(spreads(coarser_means(data))))

    def finish(self, batch: Batch) -> None:
        self.generator.settle(batch.condition.resized(self._points(batch).shape[2:]), batch.generator)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            data = self._points(batch)
        condition = batch.condition.resized(data.shape[2:])
        if player == "discriminator":
            return self._discriminator_loss(data, condition, batch)
        return self._generator_loss(data, condition, batch)

    def _points(self, batch: Batch) -> Tensor:
        return block_means(self.space.encode(batch.images, batch.condition), self.stage.factor)

    def _discriminator_loss(self, data: Tensor, condition: Condition, batch: Batch) -> dict[str, Tensor]:
        choices = self.choices
        with torch.no_grad():
            made = self._made(data, condition, batch)
        (real, made), seen = self._augmented((data, made), condition, batch)
        coefficients = self.discriminator.coefficients(torch.cat([real, made]), batch.progress)
        logits = [own.chunk(2) for own in self._judged(coefficients, seen.joined(seen), batch)]
        told = _mean([told_apart(choices.loss, yes, no) for yes, no in logits])
        values = {"loss": told, "told-apart": told}
        if choices.mismatched:
            wrong = self._judged([own[: len(data)] for own in coefficients], _anothers(seen, batch.generator), batch)
            values["matched"] = _mean([told_apart(choices.loss, yes, no) for (yes, _), no in zip(logits, wrong, strict=True)])
            values["loss"] = told + choices.mismatched * values["matched"]
        if choices.gamma and batch.step % choices.penalty_every == 0:
            # left out in between, so it weighs more here (Karras 2020, arXiv:1912.04958, section 3.1)
            values["loss"] = values["loss"] + choices.gamma * choices.penalty_every * self._penalty(coefficients, seen, batch)
        return values

    def _penalty(self, coefficients: list[Tensor], seen: Condition, batch: Batch) -> Tensor:
        n, g = len(seen), batch.generator
        few = min(self.choices.penalty_batch, count(n, g))
        real, made = ([piece(own[start : start + n], slice(few), g) for own in coefficients] for start in (0, n))
        some = seen.piece(slice(few), g)

        def judge(points: list[Tensor], told: Condition) -> list[Tensor]:
            return self._judged(points, told, batch)

        if precise := g.device.type == "cpu":
            # of few samples, torch 2.13's bf16 on the CPU gets the double backward of convolutions wrong: 74 % off for 8, 0.3 % for 16
            real, made = ([own.float() for own in side] for side in (real, made))
        with sharing(few, g) as weight, torch.autocast(g.device.type, enabled=False) if precise else nullcontext():
            match self.choices.penalty:
                case "r1+r2":
                    both = [torch.cat(pair) for pair in zip(real, made, strict=True)]
                    return weight * gradient_penalty(judge, both, some.joined(some))
                case "r1":
                    return weight * 0.5 * gradient_penalty(judge, real, some)
                case "interpolated":
                    return weight * lipschitz_penalty(judge, real, made, some, g)

    def _generator_loss(self, data: Tensor, condition: Condition, batch: Batch) -> dict[str, Tensor]:
        values = self._scored(data, condition, batch) if self.choices.energy else self._played(data, condition, batch)
        if self.choices.orthogonal:
            values["orthogonal"] = orthogonal_penalty(self.generator)
            values["loss"] = values["loss"] + self.choices.orthogonal * values["orthogonal"]
        return values

    def _played(self, data: Tensor, condition: Condition, batch: Batch) -> dict[str, Tensor]:
        """The game alone."""
        (real, made), seen = self._augmented((data, self._made(data, condition, batch)), condition, batch)
        judged = self._judged(self.discriminator.coefficients(made, batch.progress), seen, batch)
        against = judged
        if self.choices.loss == "relativistic":
            with torch.no_grad():
                against = self._judged(self.discriminator.coefficients(real, batch.progress), seen, batch)
        loss = _mean([fooled(self.choices.loss, no, yes) for yes, no in zip(judged, against, strict=True)])
        return {"loss": loss, "fooled": loss}

    def _scored(self, data: Tensor, condition: Condition, batch: Batch) -> dict[str, Tensor]:
        """Two samples for each of half of the conditions: the game on both, and the energy score of the pair."""
        half, g = max(1, count(len(data), batch.generator) // 2), batch.generator
        data, condition = piece(data, slice(half), g), condition.piece(slice(half), g)
        with sharing(half, g) as weight:
            return {name: weight * value for name, value in self._scored_pairs(data, condition, batch).items()}

    def _scored_pairs(self, data: Tensor, condition: Condition, batch: Batch) -> dict[str, Tensor]:
        first, second = self._made(data, condition.joined(condition), batch).chunk(2)
        views, seen = self._augmented((data, first, second), condition, batch)
        coefficients = [self.discriminator.coefficients(view, batch.progress) for view in views]
        with torch.no_grad():
            real = self._judged(coefficients[0], seen, batch)
        made = self._judged([torch.cat(pair) for pair in zip(*coefficients[1:], strict=True)], seen.joined(seen), batch)
        won = _mean([fooled(self.choices.loss, torch.cat([no, no]), yes) for yes, no in zip(made, real, strict=True)])
        windows = energy_score(*([_windows(own) for own in view] for view in coefficients))
        means = energy_score(*(self._means(view) for view in views))
        begun = min(1.0, batch.progress / self.choices.ramp)
        loss = begun * won + self.choices.energy * (windows + self.choices.energy_of_means * means)
        return {"loss": loss, "fooled": won, "energy": windows, "energy-of-means": means}

    def _means(self, points: Tensor) -> list[Tensor]:
        """Return block means in units of their spread, less and less as there are fewer: their gradients then have one size."""
        means = divided(coarser_means(points), list(self.stage.scales))
        return [own * math.sqrt(own[0, 0].numel() / means[0][0, 0].numel()) for own in means]

    def _made(self, data: Tensor, condition: Condition, batch: Batch) -> Tensor:
        shapes, g = self.generator.noise_shapes(data.shape[2:]), batch.generator
        drawn = [normal((len(condition), *own), g) for own in shapes]
        made: Tensor = self.generator(drawn, condition, progress=batch.progress)
        return made

    def _judged(self, coefficients: list[Tensor], condition: Condition, batch: Batch) -> list[Tensor]:
        logits: list[Tensor] = self.discriminator(coefficients, condition, batch.progress)
        return logits

    def _augmented(self, points: tuple[Tensor, ...], condition: Condition, batch: Batch) -> tuple[tuple[Tensor, ...], Condition]:
        choices = self.choices
        return augment(points, condition, batch.generator, choices.shift, colour=choices.colour, cut=choices.cut)


def _anothers(condition: Condition, generator: torch.Generator) -> Condition:
    """Tell every sample what belongs to the next (Reed et al. 2016, arXiv:1605.05396, section 4.2); maps stay."""

    def next_one(told: Tensor) -> Tensor:
        return own(whole(told, generator).roll(1, 0), generator)

    return replace(condition, vector=next_one(condition.vector), tokens=None if condition.tokens is None else next_one(condition.tokens))


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(tuple(values)).mean()
