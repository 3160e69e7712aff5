"""Images and captions in one space of unit vectors, where what belongs together is near: CLIP. It reads images and draws none."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.vit import ViT
from sciimg.augmenters.conditioning.pretrained import PretrainedText
from sciimg.augmenters.conditioning.text import TextEncoder
from sciimg.augmenters.draws import whole
from sciimg.augmenters.processes.settings import ContrastiveProcess
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, Encoder, Phase, Player, Space

_SHARPEST = math.log(100.0)  # Radford 2021, section 2.5


class TwoTowers(nn.Module):
    """An image encoder and a caption encoder that end in the same space."""

    def __init__(self, settings: ContrastiveProcess, images: nn.Module, width: int, captions: TextEncoder | PretrainedText) -> None:
        super().__init__()
        self.seer, self.reader = images, captions
        self.of_image, self.of_caption = nn.Linear(width, settings.embedding), nn.Linear(captions.features, settings.embedding)
        self.sharpness = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def images(self, points: Tensor) -> Tensor:
        """Return unit vectors (N, E) of points of the space."""
        found = self.seer(self.seer.patches(points)) if isinstance(self.seer, ViT) else self.seer(points)
        return F.normalize(self.of_image(found.mean(1)).float(), dim=1)

    def captions(self, condition: Condition) -> Tensor:
        """Return unit vectors (N, E) of captions."""
        assert condition.tokens is not None
        return F.normalize(self.of_caption(self.reader(condition.tokens)[0][:, 0]).float(), dim=1)

    def loss(self, points: Tensor, condition: Condition, generator: torch.Generator | None = None) -> Tensor:
        """Cross-entropy both ways (Radford 2021, figure 3); images with the same caption all count as its own (Yang 2022, eq. 3)."""
        assert condition.tokens is not None
        images, captions, tokens = (whole(own, generator) for own in (self.images(points), self.captions(condition), condition.tokens))
        logits = self.sharpness.clamp(max=_SHARPEST).exp() * images @ captions.T
        same = (tokens[:, None] == tokens[None]).all(2).float()
        share = same / same.sum(1, keepdim=True)
        return -0.5 * (share * (logits.log_softmax(1) + logits.T.log_softmax(1))).sum(1).mean()


class ContrastiveEncoder(Encoder):
    """Radford et al. 2021, arXiv:2103.00020, with the targets of Yang et al. 2022, arXiv:2204.03610: captions repeat in small sets."""

    def __init__(self, space: Space, towers: TwoTowers, schedule: Schedule) -> None:
        super().__init__()
        self._space = (space,)  # in a tuple: the space's weights are not this module's
        self.towers, self.schedule = towers, schedule

    def phases(self) -> tuple[Phase, ...]:
        return (Contrast(self.towers, self._space[0], self.schedule),)

    def features(self, points: Tensor) -> Tensor:
        return self.towers.images(points)


class Contrast(Phase):
    """Draw pairs together and all else apart."""

    name = "contrastive"

    def __init__(self, towers: TwoTowers, space: Space, schedule: Schedule) -> None:
        self.towers, self.space, self.schedule = towers, space, schedule

    def players(self) -> tuple[Player, ...]:
        return (Player("towers", (self.towers,), self.schedule),)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.held_out(batch)}

    def held_out(self, batch: Batch) -> Tensor:
        return self.towers.loss(self.space.encode(batch.images), batch.condition, batch.generator)
