"""One image into another, learned without pairs: two translators that undo each other, each before a discriminator of its domain.

References
----------
Zhu et al. 2017, Unpaired image-to-image translation using cycle-consistent adversarial networks, arXiv:1703.10593.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.translators import ImageBuffer, PatchCritic
from sciimg.augmenters.draws import count, piece, sharing
from sciimg.augmenters.processes.settings import CycleProcess as Choices
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Process, Space, autocast


class CycleProcess(Process):
    """Two translators and two discriminators.

    Parameters
    ----------
    settings : CycleProcess
    space : Space
        Of the channels that are made; those that are given stay as they are.
    there, back : Module
        ``there(given, condition)`` makes points of the space, ``back(points, condition)`` what was given.
    critic_made, critic_given : PatchCritic
    schedule : Schedule
    shape, given : tuple of int
        (C, [Z,] Y, X) of a point, and of what is given on its grid.
    """

    samplers = ("one-step",)

    def __init__(
        self,
        settings: Choices,
        space: Space,
        there: nn.Module,
        back: nn.Module,
        critic_made: PatchCritic,
        critic_given: PatchCritic,
        schedule: Schedule,
        shape: tuple[int, ...],
        given: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.settings, self.schedule = settings, schedule
        self.there, self.back, self.critic_made, self.critic_given = there, back, critic_made, critic_given
        self.earlier_made, self.earlier_given = ImageBuffer(settings.buffer, shape), ImageBuffer(settings.buffer, given)
        self._space = (space,)  # in a tuple: the space's weights are not this module's

    def phases(self) -> tuple[Phase, ...]:
        return (_Cycle(self, self._space[0]),)

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        told = condition.resized(shape[1:])
        with autocast(self.schedule.precision, noise.device):
            made: Tensor = self.there(told.spatial, told)
        return made

    def there_and_back(self, given: Tensor, condition: Condition) -> Tensor:
        """Return what is left of the given channels after both translations; shapes as ``given``."""
        out: Tensor = self.back(self.there(given, condition), condition)
        return out


@dataclass(frozen=True, slots=True)
class _Unpaired:
    """Given and made channels of different patches, with the conditions of each."""

    given: Tensor
    made: Tensor
    told_given: Condition
    told_made: Condition


class _Cycle(Phase):
    """Both discriminators, then both translators, on every step."""

    name = "cycle"

    def __init__(self, process: CycleProcess, space: Space) -> None:
        self.process, self.space, self.schedule = process, space, process.schedule

    def players(self) -> tuple[Player, ...]:
        own, process = self.schedule, self.process
        return (
            Player("discriminators", (process.critic_made, process.critic_given), own.model_copy(update={"ema": 0.0})),
            Player("translators", (process.there, process.back), own),
        )

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        drawn, half = self._apart(batch)
        with sharing(half, batch.generator) as weight:
            said = self._discriminator_loss(drawn, batch.generator) if player == "discriminators" else self._translator_loss(drawn)
        return {name: weight * value for name, value in said.items()}

    def finish(self, batch: Batch) -> None:
        self.process.earlier_made.clear()
        self.process.earlier_given.clear()

    def _discriminator_loss(self, drawn: _Unpaired, generator: torch.Generator) -> dict[str, Tensor]:
        process = self.process
        with torch.no_grad():
            made = process.earlier_made.exchanged(process.there(drawn.given, drawn.told_given), generator)
            given = process.earlier_given.exchanged(process.back(drawn.made, drawn.told_made), generator)
        apart = [
            0.5 * (near(critic(real), 1.0) + near(critic(fake), 0.0))
            for critic, real, fake in ((process.critic_made, drawn.made, made), (process.critic_given, drawn.given, given))
        ]
        return {"loss": apart[0] + apart[1], "told-apart-made": apart[0], "told-apart-given": apart[1]}

    def _translator_loss(self, drawn: _Unpaired) -> dict[str, Tensor]:
        process, choices = self.process, self.process.settings
        made, given = process.there(drawn.given, drawn.told_given), process.back(drawn.made, drawn.told_made)
        fooled = near(process.critic_made(made), 1.0) + near(process.critic_given(given), 1.0)
        cycle = F.l1_loss(process.back(made, drawn.told_given), drawn.given) + F.l1_loss(process.there(given, drawn.told_made), drawn.made)
        loss, said = fooled + choices.cycle * cycle, {"fooled": fooled, "cycle": cycle}  # eq. 3
        if choices.identity and drawn.given.shape[1] == drawn.made.shape[1]:  # section 5.2
            same = F.l1_loss(process.there(drawn.made, drawn.told_made), drawn.made)
            same = same + F.l1_loss(process.back(drawn.given, drawn.told_given), drawn.given)
            loss, said = loss + choices.cycle * choices.identity * same, said | {"identity": same}
        return {"loss": loss, **said}

    def _apart(self, batch: Batch) -> tuple[_Unpaired, int]:
        """Take the given channels of one half of the patches and the made ones of the other: no pair is ever in one step.

        Also returns how many a half of the whole batch has.
        """
        with torch.no_grad():
            data = self.space.encode(batch.images, batch.condition)
        told = batch.condition.resized(data.shape[2:])
        half, g = max(1, count(len(data), batch.generator) // 2), batch.generator
        first, rest = told.piece(slice(half), g), told.piece(slice(-half, None), g)
        return _Unpaired(first.spatial, piece(data, slice(-half, None), g), first, rest), half


def near(logits: Tensor, truth: float) -> Tensor:
    """Return the mean squared distance of all patches' logits from one truth (Mao et al. 2017, arXiv:1611.04076; Zhu 2017, section 4)."""
    return (logits - truth).square().mean()
