"""A masked autoencoder: most patches are hidden and told from the others, which teaches what images are like. It draws none."""

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.vit import ViT
from sciimg.augmenters.conditioning.text import TransformerBlock, heads_of
from sciimg.augmenters.draws import uniform
from sciimg.augmenters.processes.settings import MaskedProcess
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Encoder, Phase, Player, Space


class MaskedEncoder(Encoder):
    """He et al. 2022, arXiv:2111.06377, on any space.

    Parameters
    ----------
    settings : MaskedProcess
    space : Space
    network : ViT
    schedule : Schedule
    """

    def __init__(self, settings: MaskedProcess, space: Space, network: ViT, schedule: Schedule) -> None:
        super().__init__()
        self._space = (space,)  # in a tuple: the space's weights are not this module's
        self.network, self.schedule = network, schedule
        self.seen = max(1, round(network.count * (1 - settings.hidden)))
        self.decoder = _Decoder(network, settings.decoder_depth)

    def phases(self) -> tuple[Phase, ...]:
        return (_Filling(self, self._space[0]),)

    def features(self, points: Tensor) -> Tensor:
        return self.patch_features(points).mean(1)

    def patch_features(self, points: Tensor) -> Tensor:
        """Return features of each patch, (N, T, F), all patches seen."""
        out: Tensor = self.network(self.network.patches(points))
        return out.float()

    def guessed(self, patches: Tensor, seen: Tensor) -> Tensor:
        """Return all patches, (N, T, P), as told from those numbered ``seen`` (N, K)."""
        out: Tensor = self.decoder(self.network(patches, seen), seen)
        return out.float()

    def filled(self, points: Tensor) -> Tensor:
        """Return points in which every patch is told from others alone: hidden as in training, on patterns that leave each out equally."""
        patches, count = self.network.patches(points), self.network.count
        patterns = max(2, -(-count // self.seen))
        total, times = torch.zeros_like(patches), patches.new_zeros(count, 1)
        for first in range(patterns):
            seen = torch.arange(first, count, patterns, device=points.device)
            if not len(seen):
                continue
            hidden = torch.ones(count, 1, device=points.device).index_fill(0, seen, 0)
            total, times = total + hidden * self.guessed(patches, seen.expand(len(patches), -1)), times + hidden
        return self.network.images(total / times.clamp_min(1))


class _Decoder(nn.Module):
    """Seen features and a mark for each hidden patch → all patches."""

    def __init__(self, network: ViT, depth: int) -> None:
        super().__init__()
        width = network.width
        self._network = (network,)
        self.mark = nn.Parameter(torch.zeros(1, 1, width))
        self.enter = nn.Linear(width, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads_of(width)) for _ in range(depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, network.inside))

    def forward(self, found: Tensor, seen: Tensor) -> Tensor:
        network = self._network[0]
        entered = self.enter(found)
        everywhere = self.mark.to(entered.dtype).expand(len(found), network.count, -1)
        x = everywhere.scatter(1, seen[:, :, None].expand(-1, -1, network.width), entered) + network.places
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.leave(x)
        return out


class _Filling(Phase):
    """Squared error of hidden patches (He 2022, section 3)."""

    name = "masked"

    def __init__(self, process: MaskedEncoder, space: Space) -> None:
        self.process, self.space, self.schedule = process, space, process.schedule

    def players(self) -> tuple[Player, ...]:
        return (Player("network", (self.process.network, self.process.decoder), self.schedule),)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.held_out(batch)}

    def held_out(self, batch: Batch) -> Tensor:
        process = self.process
        patches = process.network.patches(self.space.encode(batch.images))
        order = uniform(patches.shape[:2], batch.generator).argsort(1).to(patches.device)
        seen = order[:, : process.seen]
        hidden = torch.ones(patches.shape[:2], device=patches.device).scatter(1, seen, 0.0)
        error = (process.guessed(patches, seen) - patches).square().mean(2)
        return (error * hidden).sum() / hidden.sum().clamp_min(1)
