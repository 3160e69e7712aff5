"""Autoregression: the probability of a sequence of codes as a product over its parts, in any space of tokens.

Parts are single tokens (PixelCNN, VQ-VAE priors, DALL-E, Make-A-Scene) or whole scales (VAR): the network says which.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sciimg.augmenters.backbones.token_network import TokenNetwork
from sciimg.augmenters.processes.reranking import ImageTextScorer
from sciimg.augmenters.processes.settings import AutoregressiveProcess, NextScaleProcess
from sciimg.augmenters.samplers.inverse_cdf import draw
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.tokens import TokenSpace
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Process, autocast

_BITS = 1.4426950408889634  # bits a nat


class TokenProcess(Process):
    """Cross entropy of codes while training; codes drawn part after part.

    Parameters
    ----------
    settings : AutoregressiveProcess or NextScaleProcess
    space : TokenSpace
    network : TokenNetwork
    schedule : Schedule
    drop : float
        Probability of withholding the condition while training.
    scorer : ImageTextScorer, optional
        Chooses among candidates.
    """

    def __init__(
        self,
        settings: AutoregressiveProcess | NextScaleProcess,
        space: TokenSpace,
        network: TokenNetwork,
        schedule: Schedule,
        drop: float,
        scorer: ImageTextScorer | None = None,
    ) -> None:
        super().__init__()
        self.samplers = ("next-token",) if isinstance(settings, AutoregressiveProcess) else ("next-scale",)
        self.settings, self.network, self.schedule, self.drop, self.scorer = settings, network, schedule, drop, scorer
        self._space = (space,)  # in a tuple: the space's weights are not this module's

    def phases(self) -> tuple[Phase, ...]:
        own = _Predicting(self, self._space[0])
        return (own,) if self.scorer is None else (own, self.scorer.phase(self._space[0]))

    @torch.no_grad()
    def bits(self, images: Tensor, condition: Condition) -> Tensor:
        """Return -log2 of the probability of images, a token on average: shape (N,). Of pixel tokens these are bits a dimension."""
        codes = self._space[0].encode(images, condition)
        with autocast(self.schedule.precision, images.device.type):
            logits = self.network(codes, condition)
        return _BITS * functional.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view(codes.shape).mean(1)

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        uniform = noise.uniform((settings.candidates, *shape)).to(condition.vector.device)
        drawn = [self._drawn(condition, own, settings) for own in uniform.unbind(1)]
        if len(drawn) == 1 or self.scorer is None:
            return drawn[0]
        scores = torch.stack([self.scorer(self._space[0].decode(codes, None, condition), condition) for codes in drawn], dim=1)
        return torch.stack(drawn, dim=1)[torch.arange(len(condition), device=scores.device), scores.argmax(1)]

    def _drawn(self, condition: Condition, uniform: Tensor, settings: SamplerSettings) -> Tensor:
        """Draw codes (N, L) by uniform numbers (N, L); in float32, because casting costs more than it saves on one token at a time."""
        codes = torch.empty(uniform.shape, dtype=torch.int64, device=uniform.device)
        told = self.network.begin(condition)
        free = self.network.begin(condition.withheld()) if settings.guidance != 1.0 else None
        at = 0
        for count in self.network.parts:
            logits = self.network.following(told, codes[:, :at])
            if free is not None:  # Ho & Salimans 2022, eq. 6, on logits
                base = self.network.following(free, codes[:, :at])
                logits = base + settings.guidance * (logits - base)
            codes[:, at : at + count] = draw(logits, uniform[:, at : at + count], settings.temperature, settings.top_k)
            at += count
        return codes


class _Predicting(Phase):
    """Cross entropy of the codes of encoded images, and of captions where the network models them."""

    name = "process"

    def __init__(self, process: TokenProcess, space: TokenSpace) -> None:
        self.process, self.space, self.schedule = process, space, process.schedule

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.process.network,), self.schedule),)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        codes = self._cross_entropy(batch, batch.condition.dropped(self.process.drop, batch.generator))
        words = self.process.network.caption_loss(batch.condition)
        settings = self.process.settings
        if words is None or not isinstance(settings, AutoregressiveProcess):
            return {"loss": codes}
        # Ramesh 2021, section 2.2: text counts an eighth
        return {"loss": (1 - settings.text_weight) * codes + settings.text_weight * words, "codes": codes, "words": words}

    def held_out(self, batch: Batch) -> Tensor:
        return self._cross_entropy(batch, batch.condition)

    def _cross_entropy(self, batch: Batch, condition: Condition) -> Tensor:
        codes = self.space.encode(batch.images, batch.condition)
        logits: Tensor = self.process.network(codes, condition)
        return functional.cross_entropy(logits.flatten(0, 1), codes.flatten())
