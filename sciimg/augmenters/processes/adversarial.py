"""A generator against a discriminator: one step from noise to data, inside any space.

The loss is relativistic and paired (R3GAN; Huang et al. 2024, arXiv:2501.05441): the discriminator compares a real and a made point under
the same condition, which leaves no minimum for collapsing, and zero-centred gradient penalties on both kinds make the game converge
(Mescheder et al. 2018, arXiv:1801.04406). A short regression first gives the generator the layout that the condition implies.
"""

import torch
from torch import Tensor, nn

from sciimg.augmenters.augmentation import augment
from sciimg.augmenters.backbones.convnet import Discriminator
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.settings import AdversarialProcess as Choices
from sciimg.augmenters.settings import SamplerSettings, Schedule
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Process, Space, autocast


class AdversarialProcess(Process):
    """A conditional generative adversarial network.

    Parameters
    ----------
    settings : AdversarialProcess
    space : Space
    generator : UNet
        ``generator(noise, time, condition)`` with a field on the grid of the space; time is 1 throughout.
    discriminator : Discriminator
    schedule : Schedule
    """

    def __init__(self, settings: Choices, space: Space, generator: UNet, discriminator: Discriminator, schedule: Schedule) -> None:
        super().__init__()
        self.settings, self.generator, self.discriminator, self.schedule = settings, generator, discriminator, schedule
        self._space = (space,)  # in a tuple: the space's weights are not this module's

    @property
    def multiple(self) -> int:
        return self.generator.multiple

    def phases(self) -> tuple[Phase, ...]:
        return (_Regression(self, self._space[0]), _Game(self, self._space[0]))

    def generate(self, noise: Tensor, condition: Condition) -> Tensor:
        """Return points for noise of the same shape (N, C, [Z,] Y, X)."""
        made: Tensor = self.generator(noise, torch.ones(len(noise)), condition)
        return made

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        with autocast(self.schedule.precision):
            return self.generate(noise.normal(shape), condition.resized(shape[1:])).float()


def relativistic(preferred: Tensor, other: Tensor) -> Tensor:
    """Return E softplus(other - preferred): log 2 when the discriminator cannot tell (Jolicoeur-Martineau 2018, arXiv:1807.00734)."""
    return nn.functional.softplus(other - preferred).mean()


class _Phase(Phase):
    def __init__(self, process: AdversarialProcess, space: Space) -> None:
        self.process, self.space, self.schedule = process, space, process.schedule

    def _encoded(self, batch: Batch) -> tuple[Tensor, Condition]:
        with torch.no_grad():
            data = self.space.encode(batch.images)
        return data, batch.condition.resized(data.shape[2:])

    def _made(self, like: Tensor, condition: Condition, batch: Batch) -> Tensor:
        return self.process.generate(torch.randn(like.shape, generator=batch.generator), condition)


class _Regression(_Phase):
    """Mean squared error to the data: the generator learns the mean that the condition implies."""

    name = "regression"

    def __init__(self, process: AdversarialProcess, space: Space) -> None:
        super().__init__(process, space)
        self.schedule = process.schedule.model_copy(update={"steps": process.settings.regression_steps})

    def players(self) -> tuple[Player, ...]:
        return (Player("generator", (self.process.generator,), self.schedule),)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        data, condition = self._encoded(batch)
        return {"loss": (self._made(data, condition, batch) - data).square().mean()}


class _Game(_Phase):
    """Discriminator, then generator, on every step."""

    name = "game"

    def players(self) -> tuple[Player, ...]:
        slow = self.schedule
        fast = slow.learning_rate * self.process.settings.discriminator_rate
        return (
            Player("discriminator", (self.process.discriminator,), slow.model_copy(update={"ema": 0.0, "learning_rate": fast})),
            Player("generator", (self.process.generator,), slow),
        )

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        data, condition = self._encoded(batch)
        if player == "generator":
            made = self._made(data, condition, batch)
            real_logits, made_logits = self._compared(data, made, condition, batch)
            fooled = relativistic(made_logits, real_logits.detach())
            error = (made - data).square().mean()
            return {"loss": fooled + self.process.settings.anchor * error, "fooled": fooled, "error": error}
        with torch.no_grad():
            made = self._made(data, condition, batch)
        real_logits, made_logits = self._compared(data, made, condition, batch)
        told = relativistic(real_logits, made_logits)
        choices, penalty = self.process.settings, torch.zeros(())
        if batch.step % choices.penalty_every == 0:
            penalty = self._penalty(data, made, condition)
        return {"loss": told + 0.5 * choices.gamma * choices.penalty_every * penalty, "told-apart": told, "penalty": penalty}

    def _compared(self, data: Tensor, made: Tensor, condition: Condition, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the logits of real and made points, augmented alike together with their condition."""
        (data, made), condition = augment((data, made), condition, batch.generator, self.process.settings.shift)
        both = self.process.discriminator(torch.cat([data, made]), condition.joined(condition))
        real_logits, made_logits = both.chunk(2)
        return real_logits, made_logits

    def _penalty(self, data: Tensor, made: Tensor, condition: Condition) -> Tensor:
        """Return R1 + R2: squared norms of the gradient of the logits at real and at made points, in float32 for the double backward."""
        few = self.process.settings.penalty_batch
        some = condition.first(few)
        points = torch.cat([data[:few], made[:few]]).float().detach().requires_grad_()
        with torch.autocast("cpu", enabled=False):
            logits = self.process.discriminator(points, some.joined(some))
            (slope,) = torch.autograd.grad(logits.flatten(1).mean(1).sum(), points, create_graph=True)
        return slope.square().flatten(1).sum(1).mean() * 2
