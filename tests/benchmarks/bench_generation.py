"""How good the default recipes are on real data, beside the reference recipe in the same run: ``make bench-generation``.

Each data set is a ready study run to its end for every seed (a study of its own: the seed is part of its digest). The reference recipe is
what a good tutorial gives: MONAI's UNet as a rectified flow in pixels, masks and classes as further channels, bf16, AdamW with a cosine, a
running average, ten Heun steps; it is trained on the same patches for as much processor time as the LDM took, and its samples, drawn for
the same conditions, are judged by the same code. Means over seeds; intervals are those of the seeds' spread (Student's t).

The work folder keeps what is done: the same call goes on after an interruption. ``--small`` runs everything with a few steps, so that the
script cannot rot; its numbers mean nothing and are not written.
"""

import argparse
import copy
import json
import math
import os
import platform
import re
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from scipy import stats
from torch import Tensor, nn

from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.conditioning.schema import learn_schema
from sciimg.augmenters.conditioning.symmetry import symmetry_group
from sciimg.augmenters.feed import Feed
from sciimg.augmenters.intensity import learn_scale
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Condition, Noise, autocast
from sciimg.generation.conditions import Conditions, draw_conditions
from sciimg.io.image import Image
from sciimg.patches.source import PatchSource
from sciimg.protocol import load_study
from sciimg.protocol.data import MaskCondition
from sciimg.protocol.models import Study
from sciimg.records import Lineage, digest_file
from sciimg.stages.launch import describe_plan, launch
from sciimg.stages.validate import validate
from sciimg.store import Collection, CollectionWriter

ROOT = Path(__file__).resolve().parents[2]
DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "nuclei-64": ("nuclei.yaml", {}),
    "nuclei-128": ("nuclei.yaml", {"patches": {"shape": [128, 128]}}),
    "hippocampus": ("hippocampus.yaml", {}),
}
SMALL = {"training.steps": 3, "training.warmup": 1, "training.batch": 4, "training.held_out_patches": 8}
RECIPES = ("ldm", "gan")
STEPS = 10  # Heun steps of the reference
_LONG_S = 5.0  # of drawing, beside which the start of a process does not count


def main() -> None:
    parser = argparse.ArgumentParser(description="The default recipes against the reference recipe.")
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "bench-generation")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "generation.json")
    parser.add_argument("--small", action="store_true", help="A few steps of everything; nothing is written.")
    args = parser.parse_args()
    missing = [name for name in args.data if not (ROOT.parent / "shared" / "data").is_dir()]
    if missing:
        sys.exit("The studies of this benchmark read ../shared/data, which is not here.")
    args.workdir.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, dict[str, Any]]]] = {}
    for name in args.data:
        found[name] = [_one(name, seed, args.workdir, args.small) for seed in range(args.seeds)]
        report = {name: _table(seeds) for name, seeds in found.items()}
        print(json.dumps(report[name], indent=1), flush=True)
        if not args.small:
            _write(args.out, report, args.seeds)


# ---------------------------------------------------------------- one data set, one seed


def _one(name: str, seed: int, workdir: Path, small: bool) -> dict[str, dict[str, Any]]:
    """Return what every competitor reached, by competitor."""
    path = _study(name, seed, workdir, small)
    run = Path(describe_plan(path, workdir)["run"])
    launch(path, workdir)
    loaded = load_study(path)
    out = {recipe: _reached(run / f"validate-{recipe}", run / f"train-{recipe}") for recipe in RECIPES}
    for recipe in RECIPES:
        out[recipe]["images_per_second"] = _speed(run / f"train-{recipe}" / "model", loaded.study, run)
    budget = 20.0 if small else float(json.loads((run / "train-ldm" / "stage.json").read_text())["timings"]["cpu_s"])
    out["reference"] = _reference(loaded.study, run, workdir / f"{name}-{seed}-reference", budget)
    return out


def _study(name: str, seed: int, workdir: Path, small: bool) -> Path:
    file, changes = DATA[name]
    data = yaml.safe_load((ROOT / "protocols" / file).read_text())
    for source in data["sources"]:  # relative to the study's file
        source["uri"] = str((ROOT / "protocols" / source["uri"]).resolve())
        for part in ("labels", "table"):
            source[part]["uri"] = str((ROOT / "protocols" / source[part]["uri"]).resolve())
    data["name"] = f"{name}-{seed}"
    data["generate"]["seed"] = seed
    for key, value in changes.items():
        data[key] |= value
    if small:
        data["generate"]["count"] = 16
        data["validation"] |= {"samples": 16, "bootstrap": 50, "segmenter_steps": 5, "encoder_steps": 5}
        data["validation"]["downstream"] |= {"seeds": 2, "steps": 5}
        for recipe in data["recipes"]:
            own = get_recipe(recipe["recipe"]).model_dump()
            recipe["options"] = SMALL | ({"space.training.steps": 3, "space.training.warmup": 1} if "training" in own["space"] else {})
    path = workdir / f"{name}-{seed}.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    return path


def _reached(judged: Path, trained: Path) -> dict[str, Any]:
    metrics = {m["name"]: m for m in json.loads((judged / "evidence.json").read_text())["metrics"]}
    timings = json.loads((trained / "stage.json").read_text())["timings"]
    return {"metrics": metrics, "train_wall_s": timings["wall_s"], "train_cpu_s": timings["cpu_s"]}


def _speed(model: Path, study: Study, run: Path) -> float:
    """Return images a second on all cores with the recipe's own sampler, once its processes are up."""
    from sciimg.augmenters.augmenter import CHUNK, Augmenter

    augmenter, workers = Augmenter.load(model), os.cpu_count() or 1
    few, many = CHUNK * workers, 64 * CHUNK * workers
    conditions = draw_conditions(_source(study, run), range(many), ("speed",))
    labels = conditions.labels if augmenter.conditions.mask is not None else None

    def seconds(n: int) -> float:
        own, start = None if labels is None else labels[:n], time.perf_counter()
        augmenter.sample(own, conditions.table.iloc[:n], key=("speed",), indices=range(n), workers=workers)
        return time.perf_counter() - start

    begun, count = seconds(few), 8 * few
    taken = seconds(count)
    if taken - begun < _LONG_S:
        count, taken = many, seconds(many)
    return round((count - few) / (taken - begun), 1)


def _source(study: Study, run: Path, part: str = "train") -> PatchSource:
    regions = pd.read_parquet(run / "split" / "regions.parquet")
    collection = Collection(run / "ingest" / "collection")
    return PatchSource(collection, regions, part, study.patches.shape, study.conditions, study.patches.min_foreground)  # type: ignore[arg-type]


# ---------------------------------------------------------------- the reference recipe


class Reference:
    """MONAI's UNet as a conditional rectified flow in pixels, in a plain loop with one thread."""

    def __init__(self, study: Study, source: PatchSource) -> None:
        from monai.networks.nets import DiffusionModelUNet

        survey = source.draw((study.digest, "reference"), range(256))
        self.schema = learn_schema(survey, study.conditions, source.classes, 0)
        self.scale = learn_scale(survey.images, survey.channels)
        shape = (survey.images.shape[1], *study.patches.shape)
        elements = symmetry_group("flips", study.patches.shape, survey.spacing.values)
        system = build(get_recipe("pixel-flow", {}, study.dims), self.schema, shape)  # pads, and nothing else
        self.feed = Feed(source, self.schema, self.scale, system, elements, False, (study.digest, "reference"))
        self.system, self.shape = system, shape
        torch.manual_seed(0)
        self.network = DiffusionModelUNet(
            spatial_dims=study.dims,
            in_channels=shape[0] + self.schema.maps + self.schema.vector,
            out_channels=shape[0],
            channels=(32, 64, 128),
            attention_levels=(False, False, True),
            num_res_blocks=1,
            num_head_channels=32,
        )
        self.average = copy.deepcopy(self.network).eval()
        self.batch = 16 if study.dims == 2 else 4

    def train(self, cpu_seconds: float) -> int:
        """Train until the processor time is spent; return the steps."""
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, fused=True)
        rng, begun, step = torch.Generator().manual_seed(0), time.process_time(), 0
        while (spent := (time.process_time() - begun) / cpu_seconds) < 1:
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent)))
            batch = self.feed.batch("reference", step, 10**9, self.batch)
            told = batch.condition.dropped(0.1, rng)
            t = torch.sigmoid(torch.randn(len(batch.images), generator=rng))
            noise = torch.randn(batch.images.shape, generator=rng)
            column = t.view(-1, *([1] * (noise.ndim - 1)))
            with autocast("bf16", noise.device):
                out = self._apply(self.network, (1 - column) * batch.images + column * noise, t, told)
                loss = (out - (noise - batch.images)).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            decay = min(0.995, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)
            step += 1
        return step

    @torch.no_grad()
    def sample(self, conditions: Conditions, key: tuple[str, ...]) -> np.ndarray[Any, Any]:
        out = []
        for start in range(0, len(conditions.table), 8):
            rows = slice(start, start + 8)
            own = None if conditions.labels is None else conditions.labels[rows]
            told = self.system.pad_condition(encode_condition(self.schema, own, conditions.table.iloc[rows], self.shape[1:]))
            x = Noise(key, range(start, start + len(told))).normal((self.shape[0], *self.system.padded_shape[1:]))
            times = torch.linspace(1, 0, STEPS + 1)
            with autocast("bf16", x.device):
                for now, then in pairwise(times):
                    slope = self._apply(self.average, x, now.expand(len(x)), told).float()
                    ahead = x + (then - now) * slope
                    if then > 0:
                        slope = 0.5 * (slope + self._apply(self.average, ahead, then.expand(len(x)), told).float())
                        ahead = x + (then - now) * slope
                    x = ahead
            out.append(self.scale.inverse(self.system.crop(x).numpy()))
        return np.concatenate(out)

    @staticmethod
    def _apply(network: nn.Module, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        vector = condition.vector.view(*condition.vector.shape, *([1] * (x.ndim - 2))).expand(-1, -1, *x.shape[2:])
        out: Tensor = network(torch.cat([x, condition.maps, vector], dim=1), timesteps=1000 * t)
        return out


def _reference(study: Study, run: Path, folder: Path, cpu_seconds: float) -> dict[str, Any]:
    """Train, draw for the conditions that the study's recipes were asked for, and judge by the same code."""
    done = folder / "reached.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    source = _source(study, run)
    reference, trained = Reference(study, source), folder / "trained.pt"
    if not trained.exists():  # minutes of training are not lost where what follows breaks
        begun = time.perf_counter()
        kept = {"steps": reference.train(cpu_seconds), "wall": time.perf_counter() - begun, "weights": reference.average.state_dict()}
        torch.save(kept, trained.with_suffix(".partial"))
        trained.with_suffix(".partial").replace(trained)
    kept = torch.load(trained)
    reference.average.load_state_dict(kept["weights"])
    steps, wall, model = kept["steps"], kept["wall"], digest_file(trained)
    asked = draw_conditions(source, range(study.generate.count), (study.digest, "generate", "reference"))
    unseen = _source(study, run, "holdout").grid(
        limit=min(64, study.validation.samples), seed_key=(study.digest, "generate", "reference", "paired")
    )
    for category in reference.schema.classes:
        unseen = unseen.take(np.flatnonzero(unseen.table[category.name].astype(str).isin(category.values)))
    names = [c.name for c in study.conditions if not isinstance(c, MaskCondition)]
    pairs = Conditions(unseen.labels, unseen.table[names].reset_index(drop=True), [str(g) for g in unseen.groups])
    about = [{"real_image": str(r["image"]), "real_origin": str(r["origin"])} for _, r in unseen.table.iterrows()]
    begun = time.perf_counter()
    images = reference.sample(asked, (study.digest, "samples"))
    speed = len(images) / (time.perf_counter() - begun)
    _collect(folder / "synthetic", study, source, model, images, asked, None)
    _collect(folder / "paired", study, source, model, reference.sample(pairs, (study.digest, "pairs")), pairs, about)
    ingested, regions = run / "ingest" / "collection", run / "split" / "regions.parquet"
    paths = {"real": ingested, "regions": regions, "synthetic": folder / "synthetic", "paired": folder / "paired"}
    validate(study, **paths, made_baseline=run / "baseline", out=folder / "judged")  # type: ignore[arg-type]
    metrics = {m["name"]: m for m in json.loads((folder / "judged" / "evidence.json").read_text())["metrics"]}
    reached = {"metrics": metrics, "train_wall_s": wall, "train_cpu_s": cpu_seconds, "steps": steps, "images_per_second": round(speed, 1)}
    done.write_text(json.dumps(reached))
    return reached


def _collect(
    out: Path, study: Study, source: PatchSource, model: str, images: Any, asked: Conditions, about: list[dict[str, str]] | None
) -> None:
    known = source.draw(("known",), range(1))
    with CollectionWriter(out, synthetic=True, study=study.digest) as writer:
        for i, pixels in enumerate(images):
            told = {str(k): getattr(v, "item", lambda v=v: v)() for k, v in asked.table.iloc[i].items()}
            axes = "czyx" if study.dims == 3 else "cyx"
            image = Image.from_array(np.ascontiguousarray(pixels), axes, known.spacing, channels=known.channels, source=f"reference {i}")
            writer.add(
                f"reference-{i:06d}",
                image,
                group=asked.groups[i],
                conditions=told,
                labels=None if asked.labels is None else asked.labels[i],
                label_kind=known.label_kind,
                lineage=Lineage(
                    study=study.digest, model=model, recipe="reference", sampler="heun", steps=STEPS, seed=0, index=i, condition=told
                ),
                extra=None if about is None else about[i],
            )


# ---------------------------------------------------------------- the table


def _table(seeds: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return each measure of each competitor: mean over seeds, its interval, n."""
    out: dict[str, dict[str, Any]] = {}
    for who in (*RECIPES, "reference"):
        rows = [seed[who] for seed in seeds]
        own: dict[str, Any] = {key: _mean([row[key] for row in rows]) for key in ("train_wall_s", "train_cpu_s", "images_per_second")}
        for name in sorted({name for row in rows for name in row["metrics"]}):
            if _wanted(name):
                own[name] = _mean([row["metrics"][name]["value"] for row in rows if name in row["metrics"]])
        for space in ("encoder", "scattering"):
            pairs = [(seed[who]["metrics"], seed["reference"]["metrics"]) for seed in seeds]
            own[f"kid_{space}_over_reference"] = _mean([_ratio(a, b, f"kid_{space}") for a, b in pairs])
        out[who] = own
    return out


def _wanted(name: str) -> bool:
    starts = (
        "kid_",
        "recall",
        "coverage",
        "condition_",
        "mask-fidelity",
        "mask-object-fidelity",
        "copy",
        "downstream",
        "intensity",
        "noise",
    )
    return name.startswith(starts) and "control" not in name


def _ratio(a: dict[str, Any], b: dict[str, Any], name: str) -> float | None:
    over, under = a[name]["value"], b[name]["value"]
    return None if over is None or under is None or under <= 0 else over / under


def _mean(values: list[float | None]) -> dict[str, Any]:
    known = [v for v in values if v is not None]
    if not known:
        return {"mean": None, "n": 0}
    mean, n = statistics.fmean(known), len(known)
    half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(known) / math.sqrt(n) if n > 1 else math.nan
    interval = None if math.isnan(half) else [float(f"{mean - half:.4g}"), float(f"{mean + half:.4g}")]
    return {"mean": float(f"{mean:.4g}"), "ci95": interval, "n": n}


@dataclass(frozen=True)
class Aim:
    """A measure of the table with what the default recipes should reach: at least, or at most."""

    title: str
    metric: str  # a regular expression over the names of what was reached
    ldm: float | None
    gan: float | None
    most: bool = False

    def row(self, found: dict[str, dict[str, Any]]) -> str:
        """Return the row of the table, misses in bold; empty where nothing of this name was measured."""
        name = next((n for n in found["ldm"] if re.fullmatch(self.metric, n)), None)
        if name is None:
            return ""
        cells = [self._cell(found[who].get(name), aim) for who, aim in (("ldm", self.ldm), ("gan", self.gan), ("reference", None))]
        return f"| {self.title} | " + " | ".join(cells) + " |\n"

    def _cell(self, reached: dict[str, Any] | None, aim: float | None) -> str:
        if not reached or reached["mean"] is None:
            return "not known"
        said = f"{reached['mean']:.3g}"
        if reached["ci95"] is not None:
            said += " [{:.3g}, {:.3g}]".format(*reached["ci95"])
        if aim is None:
            return said
        met = reached["mean"] <= aim if self.most else reached["mean"] >= aim
        asked = f"{'≤' if self.most else '≥'} {aim:g}"
        return f"{said} ({asked})" if met else f"**{said}** ({asked}: missed)"


AIMS = (
    Aim("training, seconds of the clock", "train_wall_s", 600, 600, most=True),
    Aim("training, seconds of one core", "train_cpu_s", None, None),
    Aim("KID over the reference's, self-supervised features", "kid_encoder_over_reference", 0.5, 1.5, most=True),
    Aim("KID over the reference's, scattering", "kid_scattering_over_reference", 0.5, 1.5, most=True),
    Aim("class read back, over real", "condition_.*_accuracy-ratio", 0.95, 0.95),
    Aim("masks read back, over real: Dice", "mask-fidelity", 0.95, 0.9),
    Aim("masks read back, over real: objects", "mask-object-fidelity", 0.95, 0.9),
    Aim("recall over real, self-supervised features", "recall_ratio_encoder", 0.9, 0.6),
    Aim("recall over real, scattering", "recall_ratio_scattering", 0.9, 0.6),
    Aim("coverage over real, self-supervised features", "coverage_ratio_encoder", 0.9, 0.6),
    Aim("coverage over real, scattering", "coverage_ratio_scattering", 0.9, 0.6),
    Aim("copies, share (of the real holdout 0.01)", "copy-rate", 0.02, 0.02, most=True),
    Aim("gain of F1@0.5 over classical augmentation, 4 annotated", "downstream_f1_gain_over_classical", 0.03, 0.0),
    Aim("gain of Dice over classical augmentation, 4 annotated", "downstream_gain_over_classical", 0.03, 0.0),
    Aim("images a second, own sampler, all cores", "images_per_second", 20, 300),
)

_PAGE = """# Default recipes beside a reference

Means over {seeds} with the interval of their spread (one seed has none); misses are bold. {date}, {machine},
torch {torch}. Seconds of the clock hold whatever else the machine had to do. The reference is a rectified flow in pixels with MONAI's UNet,
trained for as many seconds of a core as the LDM. Made by `make bench-generation`; all metrics are in [generation.json](generation.json).
"""


def _page(report: dict[str, Any], about: dict[str, Any], seeds: dict[str, int]) -> str:
    many = ", ".join(f"{n} seed{'' if n == 1 else 's'} of {name}" for name, n in seeds.items())
    text = _PAGE.format(seeds=many, date=about["date"], machine=about["machine"], torch=about["versions"]["torch"])
    for name, found in report.items():
        text += f"\n## {name}\n\n| measure | `ldm` | `gan` | reference |\n|---|---|---|---|\n" + "".join(aim.row(found) for aim in AIMS)
    return text


def _write(out: Path, report: dict[str, Any], seeds: int) -> None:
    versions = {name: version(name) for name in ("sciimg", "torch", "monai", "numpy")}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    about = {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "versions": versions, "seeds": seeds}
    data = (json.loads(out.read_text())["data"] if out.exists() else {}) | report
    out.write_text(json.dumps({"about": about, "data": data}, indent=1) + "\n")
    counted = {name: found["ldm"]["train_cpu_s"]["n"] for name, found in data.items()}
    out.with_suffix(".md").write_text(_page(data, about, counted), encoding="utf-8")


if __name__ == "__main__":
    main()
