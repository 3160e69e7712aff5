"""One image into another, learned from pairs: every patch of the result must look real beside its source, and be near the truth.

The translation is a function of its source. The paper's only noise is dropout, which leaves "minor stochasticity" (section 3.2); here
dropout is for training alone, and variety is asked of the processes that draw from a distribution.

References
----------
Isola et al. 2017, Image-to-image translation with conditional adversarial networks, arXiv:1611.07004.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sciimg.augmenters.backbones.translators import PatchCritic, Translator
from sciimg.augmenters.processes.settings import TranslationProcess as Choices
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Process, Space, autocast


class TranslationProcess(Process):
    """A translator against a discriminator of (source, image) pairs.

    Parameters
    ----------
    settings : TranslationProcess
    space : Space
    translator : Translator
        Reads ``condition.spatial``.
    critic : PatchCritic
        Of the same channels and a point.
    schedule : Schedule
    """

    samplers = ("one-step",)

    def __init__(self, settings: Choices, space: Space, translator: Translator, critic: PatchCritic, schedule: Schedule) -> None:
        super().__init__()
        self.settings, self.translator, self.critic, self.schedule = settings, translator, critic, schedule
        self._space = (space,)  # in a tuple: the space's weights are not this module's

    def phases(self) -> tuple[Phase, ...]:
        return (_Pairs(self, self._space[0]),)

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        told = condition.resized(shape[1:])
        with autocast(self.schedule.precision, noise.device):
            made: Tensor = self.translator(told.spatial, told)
        return made


class _Pairs(Phase):
    """Discriminator, then translator, on every step."""

    name = "translation"

    def __init__(self, process: TranslationProcess, space: Space) -> None:
        self.process, self.space, self.schedule = process, space, process.schedule

    def players(self) -> tuple[Player, ...]:
        own = self.schedule
        return (
            Player("discriminator", (self.process.critic,), own.model_copy(update={"ema": 0.0})),
            Player("translator", (self.process.translator,), own),
        )

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        data, told = self._encoded(batch)
        if player == "discriminator":
            with torch.no_grad():
                made = self.process.translator(told.spatial, told)
            real, fake = self._judged(data, told), self._judged(made, told)
            apart = 0.5 * (judged_as(real, 1.0) + judged_as(fake, 0.0))  # halved: Isola 2017, section 3.3
            return {"loss": apart, "told-apart": apart}
        made = self.process.translator(told.spatial, told)
        fooled, distance = judged_as(self._judged(made, told), 1.0), F.l1_loss(made, data)
        return {"loss": fooled + self.process.settings.distance * distance, "fooled": fooled, "distance": distance}  # eq. 4

    def held_out(self, batch: Batch) -> Tensor:
        """Return the distance from the truth: the part of the loss that orders models, and that grows when pairs are learned by heart."""
        data, told = self._encoded(batch)
        return F.l1_loss(self.process.translator(told.spatial, told), data)

    def _judged(self, points: Tensor, told: Condition) -> Tensor:
        logits: Tensor = self.process.critic(torch.cat([told.spatial, points], dim=1))
        return logits

    def _encoded(self, batch: Batch) -> tuple[Tensor, Condition]:
        with torch.no_grad():
            data = self.space.encode(batch.images, batch.condition)
        return data, batch.condition.resized(data.shape[2:])


def judged_as(logits: Tensor, truth: float) -> Tensor:
    """Return the mean cross-entropy of all patches' logits with one truth (Isola 2017, eq. 1)."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))
