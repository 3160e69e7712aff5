"""A generator against a discriminator: one step from noise to data, inside any space.

The game is relativistic and paired (R3GAN; Huang et al. 2024, arXiv:2501.05441): the discriminator compares a real and a made point under
the same condition, which leaves no minimum for collapsing, and zero-centred gradient penalties on both kinds make it converge
(Mescheder et al. 2018, arXiv:1801.04406).

Beside the game, the generator answers to an energy score (Gneiting & Raftery 2007, eq. 22, doi:10.1198/016214506000001437; as a loss of
generators: Gritsenko et al. 2020, arXiv:2008.01160): of two samples for one condition, each should be near the real point and they should
differ from one another by as much. It is proper: only the true conditional distribution minimises it, so unlike a plain reconstruction
error it neither blurs nor removes variety. It teaches layout, levels and obedience to the condition long before the game is good at them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciimg.augmenters.augmentation import augment
from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.layers import space_to_depth
from sciimg.augmenters.backbones.pyramid import coarser_means, divided, spreads
from sciimg.augmenters.processes.settings import AdversarialProcess as Choices
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Process, Space, autocast

_ZERO = torch.zeros((), device="cpu")  # a number; adds to tensors of any device
_SMOOTH = 0.3  # standard deviations; below this a distance counts as squared


class AdversarialProcess(Process):
    """A conditional generative adversarial network.

    Parameters
    ----------
    settings : AdversarialProcess
    space : Space
    generator : Generator
    discriminator : Discriminator
    schedule : Schedule
    shape : tuple of int
        (C, [Z,] Y, X) of a point.
    """

    samplers = ("one-step",)
    scales: Tensor

    def __init__(
        self,
        settings: Choices,
        space: Space,
        generator: Generator,
        discriminator: Discriminator,
        schedule: Schedule,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.register_buffer("scales", torch.ones(min(shape[1:]).bit_length() - 1, shape[0]))  # spread of means over 2, 4, 8 … samples
        self.settings, self.generator, self.discriminator, self.schedule = settings, generator, discriminator, schedule
        self._space = (space,)  # in a tuple: the space's weights are not this module's

    def phases(self) -> tuple[Phase, ...]:
        return (_Game(self, self._space[0]),)

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        drawn = [noise.normal(own) for own in self.generator.noise_shapes(shape[1:])]
        with autocast(self.schedule.precision, noise.device):
            made: Tensor = self.generator(drawn, condition.resized(shape[1:]))
        return made


# ---------------------------------------------------------------- losses


def relativistic(preferred: Tensor, other: Tensor) -> Tensor:
    """Return E softplus(other - preferred): log 2 when the discriminator cannot tell (Jolicoeur-Martineau 2018, arXiv:1807.00734)."""
    return nn.functional.softplus(other - preferred).mean()


def energy_score(real: Sequence[Tensor], first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the sum over views of E|x - y| - E|y - y'| / 2, with |.| a norm over channels at each place.

    Parameters
    ----------
    real, first, second : sequence of Tensor, each of shape (N, C, ...)
        Views (scales, windows) of a real point and of two made ones under the same condition.
    """
    near = sum((0.5 * (_distance(x, a) + _distance(x, b)) for x, a, b in zip(real, first, second, strict=True)), start=_ZERO)
    apart = sum((_distance(a, b) for a, b in zip(first, second, strict=True)), start=_ZERO)
    return near - 0.5 * apart


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean multiquadric distance: conditionally negative definite, so the score stays proper, and smooth at zero."""
    return ((a - b).square().mean(1) + _SMOOTH**2).sqrt().mean()


def _windows(coefficients: Tensor) -> Tensor:
    """Fold neighbours into channels, where the grid allows, so that the score sees how they go together."""
    return coefficients if any(size % 2 for size in coefficients.shape[2:]) else space_to_depth(coefficients, 2)


def gradient_penalty(discriminator: Discriminator, coefficients: list[Tensor], condition: Condition) -> Tensor:
    """Return the mean squared norm of the logits' gradient with respect to the wavelet coefficients (Mescheder 2018, eq. 9).

    Each scale's logits are averaged over places and weighted by the root of their number, so that one weight suits every size.
    """
    points = [own.detach().requires_grad_() for own in coefficients]
    logits = discriminator(points, condition)
    total = sum((own.sum() / math.sqrt(own.shape[1] * len(logits)) for own in logits), start=_ZERO)
    slopes = torch.autograd.grad(total, points, create_graph=True)
    return sum((slope.float().square().sum() for slope in slopes), start=_ZERO) / len(condition)


# ---------------------------------------------------------------- the game


class _Game(Phase):
    """Discriminator, then generator, on every step."""

    name = "game"

    def __init__(self, process: AdversarialProcess, space: Space) -> None:
        self.process, self.space, self.schedule, self.choices = process, space, process.schedule, process.settings
        self.generator, self.discriminator = process.generator, process.discriminator

    def players(self) -> tuple[Player, ...]:
        own = self.schedule
        fast = own.learning_rate * self.choices.discriminator_rate
        return (
            Player("discriminator", (self.discriminator,), own.model_copy(update={"ema": 0.0, "learning_rate": fast})),
            Player("generator", (self.generator,), own),
        )

    def prepare(self, batch: Batch) -> None:
        data = self.space.encode(batch.images, batch.condition)
        self.generator.measure(data)
        self.discriminator.measure(data)
        self.process.scales.copy_(torch.stack(spreads(coarser_means(data))))

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            data = self.space.encode(batch.images, batch.condition)
        condition = batch.condition.resized(data.shape[2:])
        if player == "discriminator":
            return self._discriminator_loss(data, condition, batch)
        return self._generator_loss(data, condition, batch)

    def _discriminator_loss(self, data: Tensor, condition: Condition, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            made = self._made(data, condition, batch)
        (real, made), seen = self._augmented((data, made), condition, batch)
        coefficients = self.discriminator.coefficients(torch.cat([real, made]))
        logits = [own.chunk(2) for own in self.discriminator(coefficients, seen.joined(seen))]
        told = _mean([relativistic(yes, no) for yes, no in logits])
        if batch.step % self.choices.penalty_every:
            return {"loss": told, "told-apart": told}
        n = len(data)
        few = min(self.choices.penalty_batch, n)
        both = [torch.cat([own[:few], own[n : n + few]]) for own in coefficients]
        some = seen.first(few)
        penalty = 2 * gradient_penalty(self.discriminator, both, some.joined(some))  # R1 + R2
        # left out in between, so it weighs more here (Karras 2020, arXiv:1912.04958, section 3.1)
        return {"loss": told + 0.5 * self.choices.gamma * self.choices.penalty_every * penalty, "told-apart": told}

    def _generator_loss(self, data: Tensor, condition: Condition, batch: Batch) -> dict[str, Tensor]:
        """Two samples for each of half of the conditions: the game on both, and the energy score of the pair."""
        half = max(1, len(data) // 2)
        condition = condition.first(half)
        first, second = self._made(data, condition.joined(condition), batch).chunk(2)
        views, seen = self._augmented((data[:half], first, second), condition, batch)
        coefficients = [self.discriminator.coefficients(view) for view in views]
        with torch.no_grad():
            real = self.discriminator(coefficients[0], seen)
        made = self.discriminator([torch.cat(pair) for pair in zip(*coefficients[1:], strict=True)], seen.joined(seen))
        fooled = _mean([relativistic(yes, torch.cat([no, no])) for yes, no in zip(made, real, strict=True)])
        windows = energy_score(*([_windows(own) for own in view] for view in coefficients))
        means = energy_score(*(self._means(view) for view in views))
        begun = min(1.0, batch.progress / self.choices.ramp)
        loss = begun * fooled + self.choices.energy * (windows + self.choices.energy_of_means * means)
        return {"loss": loss, "fooled": fooled, "energy": windows, "energy-of-means": means}

    def _means(self, points: Tensor) -> list[Tensor]:
        """Return block means in units of their spread, less and less as there are fewer: their gradients then have one size."""
        means = divided(coarser_means(points), list(self.process.scales))
        return [own * math.sqrt(own[0, 0].numel() / means[0][0, 0].numel()) for own in means]

    def _made(self, data: Tensor, condition: Condition, batch: Batch) -> Tensor:
        shapes = self.generator.noise_shapes(data.shape[2:])
        made: Tensor = self.generator([_drawn((len(condition), *own), batch.generator) for own in shapes], condition)
        return made

    def _augmented(self, points: tuple[Tensor, ...], condition: Condition, batch: Batch) -> tuple[tuple[Tensor, ...], Condition]:
        choices = self.choices
        return augment(points, condition, batch.generator, choices.shift, colour=choices.colour, cut=choices.cut)


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(tuple(values)).mean()
