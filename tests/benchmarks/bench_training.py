"""Training against MONAI's UNet at equal time on equal data: images a second, and what they are worth (held-out error).

Both learn the same rectified flow in pixels on 64 x 64 tissue patches, with the same batches, loss, optimiser and running average, in bf16
on the same two threads, in turns of a few seconds. Ours pays for its own data feed (``waited_for_data`` is the share of its time that it
waited for it); the peer is handed batches that are ready. The third row is the recipe that the demo uses, in its latent space, where the
error has another unit.

Run ``python tests/benchmarks/bench_training.py [--seconds 120] [--out FILE.json]`` on an otherwise idle machine.
"""

import argparse
import copy
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import tissue

from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import learn_schema
from sciimg.augmenters.conditioning.symmetry import label_length, symmetry_group
from sciimg.augmenters.feed import Ahead, Feed
from sciimg.augmenters.intensity import learn_scale
from sciimg.augmenters.optimisation import Trainer
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Batch, Condition, System, autocast
from sciimg.protocol.data import MaskCondition
from sciimg.randomness import generator
from sciimg.types import PatchSet

THREADS, BATCH, TURN_S = 2, 16, 5.0
CONDITIONS = (MaskCondition(kind="mask"),)
TIMES = tuple((i + 0.5) / 8 for i in range(8))


class Source:
    """Random patches of one part of the section, in memory."""

    patch_shape, classes = (tissue.SIDE,) * 2, 0

    def __init__(self, part: str) -> None:
        self.known, self.columns = tissue.patches(part), tissue.PARTS[part]

    def draw(self, seed_key: tuple[str | int, ...], indices: range) -> PatchSet:
        image, nuclei = tissue.section()
        rng, side = generator(*seed_key, indices[0]), tissue.SIDE
        corners = np.stack(
            [rng.integers(0, 513 - side, len(indices)), rng.integers(self.columns[0], self.columns[1] - side + 1, len(indices))]
        )
        cut = [(slice(y, y + side), slice(x, x + side)) for y, x in corners.T]
        images, labels = np.stack([image[:, a, b] for a, b in cut]), np.stack([nuclei[a, b] for a, b in cut])
        groups, table = np.array(["g"] * len(cut)), pd.DataFrame({"image": ["ihc"] * len(cut)})
        return PatchSet(images, labels, groups, table, self.known.spacing, self.known.channels, "instances")


def ours(name: str) -> tuple[System, Feed]:
    """An untrained recipe with its feed."""
    source, recipe = Source("train"), get_recipe(name)
    survey = source.draw(("survey",), range(256))
    elements = symmetry_group(recipe.training.symmetries, source.patch_shape, survey.spacing.values)
    told = recipe.training.tell_symmetry
    schema = learn_schema(survey, CONDITIONS, source.classes, label_length(elements, told))
    torch.manual_seed(0)
    system = build(recipe, schema, (2, *source.patch_shape))
    return system, Feed(source, schema, learn_scale(survey.images, survey.channels), system, elements, told, ("benchmark",))


class Ours:
    """Steps as the training loop takes them."""

    def __init__(self, name: str) -> None:
        self.name, (self.system, self.feed) = name, ours(name)
        self.phase = self.system.process.phases()[0]
        if name == "ldm":  # one measured batch stands for the autoencoder's training, which is timed nowhere here
            space = self.system.space.phases()[0]
            with torch.no_grad():
                space.finish(self.feed.batch("measure", 0, 1, 64))
        (player,) = self.phase.players()
        self.trainer = Trainer(player, 10**9)
        self.network = player.modules[0]
        self.steps, self.waited = 0, 0.0
        self.ahead = Ahead(lambda step: self.feed.batch("process", step, 10**9, BATCH), 10**9)

    def step(self) -> None:
        begun = time.perf_counter()
        batch = self.ahead.batch(self.steps)
        self.waited += time.perf_counter() - begun
        self.system.train()
        with autocast("bf16", "cpu"):
            loss = self.phase.loss("network", batch)["loss"]
        loss.backward()
        self.trainer.step(self.steps)
        self.steps += 1

    def velocity(self) -> Callable[[Tensor, Tensor, Condition], Tensor]:
        averaged = copy.deepcopy(self.network)
        for p, mean in zip(averaged.parameters(), self.trainer.average, strict=True):
            p.data.copy_(mean)
        return averaged.eval()


class Peer:
    """MONAI's DiffusionModelUNet, conditions as further channels, in a plain loop with ready batches."""

    name = "monai"

    def __init__(self, pool: list[Batch]) -> None:
        from monai.networks.nets import DiffusionModelUNet

        self.pool, channels = pool, pool[0].images.shape[1]
        torch.manual_seed(0)
        self.network = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=channels + pool[0].condition.maps.shape[1],
            out_channels=channels,
            channels=(32, 64, 128),
            attention_levels=(False, False, True),
            num_res_blocks=1,
            num_head_channels=32,
        )
        self.average = copy.deepcopy(self.network).eval()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, fused=True)
        self.steps, self.rng = 0, torch.Generator().manual_seed(0)

    def step(self) -> None:
        batch = self.pool[self.steps % len(self.pool)]
        data, n = batch.images, len(batch.images)
        t = torch.sigmoid(torch.randn(n, generator=self.rng))
        noise = torch.randn(data.shape, generator=self.rng)
        column = t.view(-1, 1, 1, 1)
        self.network.train()
        with autocast("bf16", "cpu"):
            loss = (self._apply(self.network, (1 - column) * data + column * noise, t, batch.condition) - (noise - data)).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(0.995, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
        self.steps += 1

    @staticmethod
    def _apply(network: nn.Module, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return network(torch.cat([x, condition.maps], dim=1), timesteps=1000 * t)

    def velocity(self) -> Callable[[Tensor, Tensor, Condition], Tensor]:
        return lambda x, t, condition: self._apply(self.average, x, t, condition)


@torch.no_grad()
def held_out_error(velocity: Callable[[Tensor, Tensor, Condition], Tensor], batches: list[Batch]) -> float:
    """Mean squared error of the velocity over eight times, in units of the normalised images, in fp32."""
    errors = []
    for number, batch in enumerate(batches):
        rng = torch.Generator().manual_seed(number)
        for t in TIMES:
            noise = torch.randn(batch.images.shape, generator=rng)
            x, times = (1 - t) * batch.images + t * noise, torch.full((len(noise),), t)
            errors.append(float((velocity(x, times, batch.condition).float() - (noise - batch.images)).square().mean()))
    return statistics.fmean(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description="Training throughput and held-out error against MONAI's UNet.")
    parser.add_argument("--seconds", type=float, default=120, help="training time of each competitor")
    parser.add_argument("--out", type=Path)
    choices = parser.parse_args()
    torch.set_num_threads(THREADS)
    pixel, latent = Ours("pixel-flow"), Ours("ldm")
    pool = [pixel.feed.batch("peer", i, 10**9, BATCH) for i in range(512)]
    peer = Peer(pool)
    unseen = list(pixel.feed.fixed(tissue.patches("calibration"), BATCH))
    competitors = [peer, pixel, latent]
    spent, rates = {c.name: 0.0 for c in competitors}, {c.name: list[float]() for c in competitors}
    for competitor in competitors:  # the first steps build kernels
        for _ in range(3):
            competitor.step()
    while min(spent.values()) < choices.seconds:
        for competitor in competitors:
            first, start = competitor.steps, time.perf_counter()
            while time.perf_counter() - start < TURN_S:
                competitor.step()
            took = time.perf_counter() - start
            spent[competitor.name] += took
            rates[competitor.name].append((competitor.steps - first) * BATCH / took)
    rows = []
    for competitor in competitors:
        ratios = sorted(a / b for a, b in zip(rates[competitor.name], rates["monai"], strict=True))
        rows.append(
            {
                "name": competitor.name,
                "parameters": sum(p.numel() for p in competitor.network.parameters()),
                "images_per_second": round(statistics.median(rates[competitor.name]), 1),
                "ratio_to_monai": round(statistics.median(ratios), 2),
                "ratio_range": [round(ratios[0], 2), round(ratios[-1], 2)],
                "turns": len(ratios),
                "steps": competitor.steps,
                "seconds": round(spent[competitor.name], 1),
                "waited_for_data": round(competitor.waited / spent[competitor.name], 4) if isinstance(competitor, Ours) else None,
                "held_out_error": None if competitor.name == "ldm" else round(held_out_error(competitor.velocity(), unseen), 4),
            }
        )
        print(rows[-1])
    versions = {name: version(name) for name in ("sciimg", "torch", "monai", "numpy")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {THREADS} threads, bf16, batch {BATCH}"
    result = {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "versions": versions, "rows": rows}
    if choices.out:
        choices.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
