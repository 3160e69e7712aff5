"""The larger recipes on a GPU: training and sampling, against a measured ceiling and MONAI's loop: ``make bench-gpu``.

For each shape: images and voxels a second, FLOP/s (counted by torch over one step, forward and backward) as a share of what a large
bf16 matrix product reaches on the same device in the same run, and the largest memory. MONAI's UNet is trained by its own loop on ready
batches of the same shape. Batches are random: what is learned is judged elsewhere (``bench_generation.py``).

Without a GPU, or with ``--small``, small shapes run on the CPU, so that the script cannot rot; those numbers are not written.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import ConditionSchema, MaskSchema
from sciimg.augmenters.device import described, usable
from sciimg.augmenters.optimisation import Trainer
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, System, autocast

ROOT = Path(__file__).resolve().parents[2]
WARM, TIMED = 5, 20
SAMPLING = (128, 256, 256)


@dataclass(frozen=True)
class Case:
    """One recipe at one shape, with options that make it as wide as a GPU can fill."""

    name: str
    recipe: str
    shape: tuple[int, ...]
    batch: int
    options: dict[str, Any]


WIDE = {"backbone.widths": [128, 256, 384], "backbone.blocks": [2, 2, 2]}
CASES = (
    Case("images 256", "ldm", (256, 256), 64, WIDE),
    Case("images 512", "ldm", (512, 512), 16, WIDE),
    Case("volumes 64", "ldm", (64, 64, 64), 16, WIDE),
    Case("volumes 128", "ldm", (128, 128, 128), 4, WIDE),
)
NARROW = {"backbone.widths": [16, 16, 16], "backbone.blocks": [1, 1, 1]}
SMALL = (Case("images 32", "ldm", (32, 32), 4, NARROW), Case("volumes 16", "ldm", (16, 16, 16), 2, NARROW))


def main() -> None:
    parser = argparse.ArgumentParser(description="Training and sampling on a GPU.")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "gpu.json")
    parser.add_argument("--small", action="store_true", help="Small shapes; nothing is written.")
    parser.add_argument("--compile", action="store_true", help="Through torch.compile.")
    args = parser.parse_args()
    device = torch.device("cpu") if args.small or not torch.cuda.is_available() else usable("cuda")
    small = device.type == "cpu"
    top = ceiling(device)
    rows = []
    for case in SMALL if small else CASES:
        for measure in (_ours, _monai):
            rows.append(measure(case, device, args.compile, top))
            print(rows[-1], flush=True)
    rows.append(_sampling(SMALL[1] if small else CASES[3], (16, 16, 16) if small else SAMPLING, device, args.compile))
    print(rows[-1], flush=True)
    if not small:
        versions = {name: version(name) for name in ("sciimg", "torch", "monai")}
        about = {"date": datetime.now(UTC).date().isoformat(), "device": described(device), "cpu": platform.machine(), "versions": versions}
        args.out.write_text(json.dumps({"about": about, "ceiling_tflops": round(top / 1e12, 1), "rows": rows}, indent=1) + "\n")


def ceiling(device: torch.device) -> float:
    """Return the FLOP/s of a large bf16 matrix product, the best of five."""
    n = 512 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = [_timed(lambda: a @ b, device, 3) for _ in range(5)]
    return 2 * n**3 / min(times)


def _timed(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Return seconds a call."""
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    _wait(device)
    return (time.perf_counter() - start) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_mb(device: torch.device) -> float | None:
    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1) if device.type == "cuda" else None


def _system(case: Case, device: torch.device) -> System:
    schema = ConditionSchema(mask=MaskSchema(name="mask", kind="instances"))
    recipe = get_recipe(case.recipe, case.options, 3 if len(case.shape) == 3 else 2)
    torch.manual_seed(0)
    return build(recipe, schema, (1, *case.shape)).to(device)


def _batch(case: Case, device: torch.device, step: int = 0) -> Batch:
    rng = torch.Generator(device).manual_seed(step)
    images = torch.randn(case.batch, 1, *case.shape, generator=rng, device=device)
    maps = (torch.randn(case.batch, 3, *case.shape, generator=rng, device=device) > 0).float()
    condition = Condition(maps, images.new_zeros(case.batch, 0), images.new_ones(case.batch, 1))
    return Batch(images, condition, rng, step, 10**6)


def _ours(case: Case, device: torch.device, compiled: bool, top: float) -> dict[str, Any]:
    """Every phase of the recipe, as the training loop moves its players."""
    system = _system(case, device)
    row: dict[str, Any] = {"who": "sciimg", "case": case.name, "batch": case.batch, "compiled": compiled}
    for phase in system.phases():
        row[phase.name] = _phase(phase, case, device, compiled, top)
    return row


def _phase(phase: Phase, case: Case, device: torch.device, compiled: bool, top: float) -> dict[str, Any]:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trainers = [Trainer(player, 10**6) for player in phase.players()]
    batch = _batch(case, device)

    def step() -> None:
        for trainer in trainers:
            with autocast(phase.schedule.precision, device):
                loss = phase.loss(trainer.player.name, batch)["loss"]
            loss.backward()
            trainer.step(0)

    step()  # optimisers and kernels are made here
    with FlopCounterMode(display=False) as counter:
        step()
    if compiled:
        for trainer in trainers:
            for module in trainer.player.modules:
                module.compile()
    _timed(step, device, WARM if device.type == "cuda" else 1)
    seconds = _timed(step, device, TIMED if device.type == "cuda" else 2)
    return _speed(case, seconds, counter.get_total_flops(), top) | {"peak_mb": _peak_mb(device)}


def _speed(case: Case, seconds: float, flops: int, top: float) -> dict[str, Any]:
    voxels = case.batch
    for size in case.shape:
        voxels *= size
    return {
        "images_per_s": float(f"{case.batch / seconds:.4g}"),
        "voxels_per_s": float(f"{voxels / seconds:.4g}"),
        "tflops": float(f"{flops / seconds / 1e12:.4g}"),
        "share_of_ceiling": round(flops / seconds / top, 3),
    }


def _monai(case: Case, device: torch.device, compiled: bool, top: float) -> dict[str, Any]:
    """MONAI's UNet in pixels on ready batches, with its own scheduler's noise: the loop of its tutorials, in bf16."""
    from monai.networks.nets import DiffusionModelUNet
    from monai.networks.schedulers import DDPMScheduler

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    widths = (16, 16, 16) if device.type == "cpu" else (32, 64, 128)
    network: nn.Module = DiffusionModelUNet(
        spatial_dims=len(case.shape),
        in_channels=4,
        out_channels=1,
        channels=widths,
        attention_levels=(False, False, False),
        num_res_blocks=1,
        num_head_channels=8,
        norm_num_groups=8,
    ).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    batch = _batch(case, device)

    def step() -> None:
        t = torch.randint(0, 1000, (case.batch,), device=device)
        noise = torch.randn_like(batch.images)
        noisy: Tensor = scheduler.add_noise(batch.images, noise, t)
        with autocast("bf16", device):
            loss = (network(torch.cat([noisy, batch.condition.maps], dim=1), timesteps=t) - noise).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    with FlopCounterMode(display=False) as counter:
        step()
    if compiled:
        network.compile()
    _timed(step, device, WARM if device.type == "cuda" else 1)
    seconds = _timed(step, device, TIMED if device.type == "cuda" else 2)
    speed = _speed(case, seconds, counter.get_total_flops(), top) | {"peak_mb": _peak_mb(device)}
    return {"who": "monai", "case": case.name, "batch": case.batch, "compiled": compiled, "process": speed}


def _sampling(case: Case, shape: tuple[int, ...], device: torch.device, compiled: bool) -> dict[str, Any]:
    """One volume by the recipe's own sampler."""
    own = Case(case.name, case.recipe, shape, 1, case.options)
    system = _system(own, device).eval()
    if compiled:
        system.process.compile()
    condition = _batch(own, device).condition
    settings = get_recipe(case.recipe, {}, 3).sampler

    def draw() -> None:
        system.sample(condition, Noise(("gpu",), [0], device), settings)

    draw()
    seconds = _timed(draw, device, 3 if device.type == "cuda" else 1)
    about = {"shape": list(shape), "sampler": settings.name, "steps": settings.steps, "seconds": round(seconds, 3)}
    return {"who": "sciimg", "case": "sampling", "compiled": compiled, **about, "peak_mb": _peak_mb(device)}


if __name__ == "__main__":
    main()
