"""How well an image fits a caption, learned by contrast: what chooses among candidates (Ramesh 2021, arXiv:2102.12092, section 2.6)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciimg.augmenters.backbones.layers import Block, Down, conv, memory_format, norm, space_to_depth
from sciimg.augmenters.draws import whole
from sciimg.augmenters.grid import Step
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, Phase, Player, Space

_WIDTH = 32
_FEATURES = 32


class ImageTextScorer(nn.Module):
    """Cosine of an image's and a caption's embeddings (Radford 2021, arXiv:2103.00020).

    Parameters
    ----------
    channels : int
        Of the images.
    steps : sequence of Step
        How the image's grid gets coarser, at least once.
    words : int
        Number of words of captions.
    schedule : Schedule
    """

    def __init__(self, channels: int, steps: Sequence[Step], words: int, schedule: Schedule) -> None:
        super().__init__()
        dims = len(steps[0])
        self.dims, self.finest, self.schedule = dims, steps[0], schedule
        layers: list[nn.Module] = [conv(dims, channels * math.prod(steps[0]), _WIDTH), Block(dims, _WIDTH, _WIDTH)]
        for step in steps[1:]:
            layers += [Down(dims, _WIDTH, _WIDTH, step), Block(dims, _WIDTH, _WIDTH)]
        self.image = nn.Sequential(*layers, norm(_WIDTH), nn.SiLU())
        self.image_head = nn.Linear(2 * _WIDTH + channels, _FEATURES)
        self.text = nn.EmbeddingBag(words + 1, _FEATURES, mode="sum", padding_idx=0)
        self.sharpness = nn.Parameter(torch.tensor(math.log(10.0)))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, images: Tensor, condition: Condition) -> Tensor:
        """Return the score of each image (N, C, [Z,] Y, X) with its own caption, (N,)."""
        return (self.of_images(images) * self.of_captions(condition)).sum(1)

    def of_images(self, images: Tensor) -> Tensor:
        """Return unit vectors (N, features): means and spreads of what convolutions see, and the mean of every channel."""
        field = self.image(space_to_depth(images.contiguous(memory_format=memory_format(self.dims)), self.finest)).float().flatten(2)
        seen = torch.cat([field.mean(2), field.std(2), images.flatten(2).mean(2)], dim=1)
        return functional.normalize(self.image_head(seen).float(), dim=1)

    def of_captions(self, condition: Condition) -> Tensor:
        assert condition.tokens is not None
        return functional.normalize(self.text(condition.tokens).float(), dim=1)

    def loss(self, images: Tensor, condition: Condition, generator: torch.Generator | None = None) -> Tensor:
        """Cross entropy both ways; images whose captions are the same word for word share the target."""
        assert condition.tokens is not None
        seen, read, tokens = (whole(own, generator) for own in (self.of_images(images), self.of_captions(condition), condition.tokens))
        logits = self.sharpness.exp() * seen @ read.T
        same = (tokens[:, None] == tokens[None]).all(-1).float()
        target = same / same.sum(1, keepdim=True)
        return 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))

    def phase(self, space: Space) -> Phase:
        return _Contrast(self, space)


class _Contrast(Phase):
    """On images that went through the space, because such images will be judged."""

    name = "scorer"

    def __init__(self, scorer: ImageTextScorer, space: Space) -> None:
        self.scorer, self.space, self.schedule = scorer, space, scorer.schedule

    def players(self) -> tuple[Player, ...]:
        return (Player("scorer", (self.scorer,), self.schedule),)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.scorer.loss(self._seen(batch), batch.condition, batch.generator)}

    def held_out(self, batch: Batch) -> Tensor:
        return self.scorer.loss(self._seen(batch), batch.condition, batch.generator)

    def _seen(self, batch: Batch) -> Tensor:
        return self.space.decode(self.space.encode(batch.images, batch.condition), None, batch.condition)
