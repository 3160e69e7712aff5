"""Captions to images by way of the embedding of an image that does not exist yet: contrastive towers, a prior, a decoder (DALL-E 2)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import FourierTime
from sciimg.augmenters.processes.contrastive import Contrast, TwoTowers
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.settings import UnclipProcess
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import SAMPLERS
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, FieldNetwork, Noise, Phase, Player, Process, Space


class Unclip(Process):
    """Ramesh et al. 2022, arXiv:2204.06125: P(image | caption) = P(image | embedding) P(embedding | caption).

    Parameters
    ----------
    settings : UnclipProcess
    space : Space
    towers : TwoTowers
    network : FieldNetwork
        Of the decoder; its vector holds the standardised embedding at its end.
    schedule : Schedule
        Of the decoder.
    drop : float
        Probability of withholding caption and embedding while training, for guidance.
    """

    samplers = tuple(SAMPLERS)
    mean: Tensor
    std: Tensor

    def __init__(
        self, settings: UnclipProcess, space: Space, towers: TwoTowers, network: FieldNetwork, schedule: Schedule, drop: float
    ) -> None:
        super().__init__()
        self._space, self.settings, self.towers = (space,), settings, towers
        length = settings.contrastive.embedding
        prior = PriorNetwork(length, settings.prior_width)
        self.prior = GaussianProcess(settings.path, space, prior, settings.prior_training, drop)
        self.decoder = GaussianProcess(settings.path, space, network, schedule, drop)
        self.register_buffer("mean", torch.zeros(1, length))
        self.register_buffer("std", torch.ones(1, length))

    def phases(self) -> tuple[Phase, ...]:
        space, how = self._space[0], self.settings
        return Contrast(self.towers, space, how.contrastive_training), _Prior(self, space), _Decoder(self, space)

    def standardised(self, embedding: Tensor) -> Tensor:
        """Return unit vectors of images in units of their spread over the training part."""
        return (embedding - self.mean) / self.std

    def of_caption(self, condition: Condition) -> Condition:
        """Return what the prior is told: the caption's embedding, at about unit variance, and nothing at places."""
        vector = self.towers.captions(condition) * self.settings.contrastive.embedding**0.5
        return Condition(vector.new_zeros(len(vector), 0), vector * condition.keep, condition.keep)

    def imagined(self, condition: Condition, noise: Noise, settings: SamplerSettings) -> Tensor:
        """Return standardised embeddings (N, E) of images that captions may have."""
        plain = settings.model_copy(update={"guidance": 1.0})
        return self.prior.sample(self.of_caption(condition), noise, (self.settings.contrastive.embedding,), plain)

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        return self.decoder.sample(_with(condition, self.imagined(condition, noise, settings)), noise, shape, settings)


class PriorNetwork(FieldNetwork):
    """Residual layers on an embedding (N, E), told of time and of the caption's embedding."""

    def __init__(self, length: int, width: int, depth: int = 3) -> None:
        super().__init__()
        self.time = FourierTime()
        self.enter = nn.Linear(2 * length + 65, width)
        layers = (nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(depth))
        self.layers = nn.ModuleList(layers)
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, length))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        h = self.enter(torch.cat([x, condition.vector, condition.keep, self.time(time)], dim=1))
        for layer in self.layers:
            h = h + layer(h)
        out: Tensor = self.leave(h)
        return out.float()


class _Prior(Phase):
    """Learn which embeddings the images of a caption have."""

    name = "prior"

    def __init__(self, process: Unclip, space: Space) -> None:
        self.process, self.space, self.schedule = process, space, process.settings.prior_training

    def players(self) -> tuple[Player, ...]:
        return (Player("prior", (self.process.prior.network,), self.schedule),)

    def prepare(self, batch: Batch) -> None:
        """Measure where the embeddings of images lie."""
        found = torch.cat([self.process.towers.images(self.space.encode(part)) for part in batch.images.split(16)])
        self.process.mean.copy_(found.mean(0, keepdim=True))
        self.process.std.copy_(found.std(0, keepdim=True).clamp_min(1e-4))

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        data, told = self._encoded(batch)
        told = told.dropped(self.process.prior.drop, batch.generator)
        return {"loss": self.process.prior.loss(data, told, batch.generator)}

    def held_out(self, batch: Batch) -> Tensor:
        return self.process.prior.loss(*self._encoded(batch), batch.generator)

    @torch.no_grad()
    def _encoded(self, batch: Batch) -> tuple[Tensor, Condition]:
        embedding = self.process.towers.images(self.space.encode(batch.images))
        return self.process.standardised(embedding), self.process.of_caption(batch.condition)


class _Decoder(Phase):
    """Learn images from their own embeddings."""

    name = "process"

    def __init__(self, process: Unclip, space: Space) -> None:
        self.process, self.space, self.schedule = process, space, process.decoder.schedule
        (self.inner,) = process.decoder.phases()

    def players(self) -> tuple[Player, ...]:
        return self.inner.players()

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        return self.inner.loss(player, self._told(batch))

    def held_out(self, batch: Batch) -> Tensor | None:
        return self.inner.held_out(self._told(batch))

    @torch.no_grad()
    def _told(self, batch: Batch) -> Batch:
        embedding = self.process.towers.images(self.space.encode(batch.images))
        return replace(batch, condition=_with(batch.condition, self.process.standardised(embedding)))


def _with(condition: Condition, embedding: Tensor) -> Condition:
    return replace(condition, vector=torch.cat([condition.vector, embedding], dim=1))
