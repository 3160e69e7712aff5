"""How few evaluations of a trained network are enough: solvers with the same noise and conditions, beside 12 steps of Heun.

    python tests/benchmarks/bench_samplers.py RUN... [--recipe ldm] [--count 192] [--out reports/benchmarks/samplers.json]

A RUN is a run folder whose recipe is trained; its holdout is not looked at. Samples for the conditions of drawn training patches are
compared with other draws of the training part, and with the calibration part, by KID in two fixed feature spaces. KIDs leave out pairs of
one group; intervals of their difference to Heun's resample the groups of samples and of real patches, the same for every solver.
Seconds are processor time of one thread.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.system import Condition, Noise
from sciimg.patches.source import PatchSource
from sciimg.protocol import load_study
from sciimg.randomness import generator
from sciimg.store import Collection
from sciimg.types import Part, PatchSet
from sciimg.validation.distance import polynomial_kernel
from sciimg.validation.features.named import FIXED
from sciimg.validation.features.space import FeatureSpace, fit_space
from sciimg.validation.pooling import resampling_weights
from sciimg.validation.resampling import percentile_interval

ROOT = Path(__file__).resolve().parents[2]
SPACES = ("scattering", "texture")
USUAL = "heun 12 uniform"  # what others are compared with
OTHERS = ("heun 5", "euler 10", "dpm-solver++ 10", "unipc-2 10", "unipc-3 10")
ASKED = (USUAL, *(f"{other} uniform" for other in OTHERS), "unipc-2 10 logsnr")
ROUNDS = 400
Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--recipe", default="ldm")
    parser.add_argument("--count", type=int, default=192)
    parser.add_argument("--samplers", nargs="*", default=list(ASKED), help='each "NAME STEPS GRID"')
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "samplers.json")
    args = parser.parse_args()
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("sciimg", "torch", "numpy")},
        "count": args.count,
    }
    found = {}
    for run in args.runs:
        found[load_study(run / "study.yaml").study.name] = compared(run, args.recipe, args.count, args.samplers)
        args.out.write_text(json.dumps({"about": about, "recipe": args.recipe, "runs": found}, indent=1) + "\n")


def compared(run: Path, recipe: str, count: int, samplers: list[str]) -> dict[str, Any]:
    """Return what each sampler reaches and takes, by sampler."""
    real = {part: part_of(run, part).draw(("samplers", part), range(2 * count)) for part in ("train", "calibration")}
    spaces = [fit_space(name, FIXED[name], real["train"]) for name in SPACES]
    told = part_of(run, "train").draw(("samplers", "told"), range(count))
    model = Augmenter.load(run / f"train-{recipe}" / "model")
    out, usual = {}, {}
    for asked in samplers:
        images, seconds = drawn(model, told, asked)
        entry: dict[str, Any] = {"seconds_per_image": round(seconds / count, 4)}
        for space, part, kids in against(spaces, replace(told, images=images), real):
            usual.setdefault((space, part), kids)
            more = kids - usual[space, part]
            entry[f"kid, {space}, {part}"] = round(float(kids[0]), 4)
            entry[f"more than {USUAL}, {space}, {part}"] = [round(float(v), 4) for v in (more[0], *percentile_interval(more[1:]))]
        out[asked] = entry
        print(asked, json.dumps(entry), flush=True)
    own = {f"kid, {space}, {part}": round(float(kids[0]), 4) for space, part, kids in against(spaces, told, real)}
    return {"groups": len(set(told.groups)), "real images in their place": own, "samplers": out}


def part_of(run: Path, part: Part) -> PatchSource:
    study, regions = load_study(run / "study.yaml").study, pd.read_parquet(run / "split" / "regions.parquet")
    return PatchSource(Collection(run / "ingest" / "collection"), regions, part, study.patches.shape, study.conditions)


def drawn(model: Augmenter, told: PatchSet, asked: str) -> tuple[NDArray[Any], float]:
    """Return samples for the conditions of patches, and how long they took."""
    name, steps, grid = asked.split()
    settings = model.sampler(name, int(steps)).model_copy(update={"grid": grid})

    def draw(condition: Condition, noise: Noise, rows: list[int]) -> Tensor:
        return model.system.sample(condition, noise, settings)

    start = time.process_time()
    images = model.drawn(draw, told.labels, told.table, key=("samplers",), indices=range(len(told)))
    return images, time.process_time() - start


def against(spaces: list[FeatureSpace], made: PatchSet, real: dict[Part, PatchSet]) -> Iterator[tuple[str, Part, Array]]:
    """Yield space, part, and KIDs: the estimate first, then one for each round of resampling groups."""
    for space in spaces:
        x = space.transform(made)
        for part, patches in real.items():
            yield space.name, part, kids(x, made.groups, space.transform(patches), patches.groups)


def kids(x: Array, of_x: NDArray[Any], y: Array, of_y: NDArray[Any]) -> Array:
    xx, yy, xy = summed(x, of_x, x, of_x), summed(y, of_y, y, of_y), summed(x, of_x, y, of_y)
    rng, (g, h) = generator("samplers", "groups"), xy[0].shape
    u = np.vstack([np.ones(g), resampling_weights(rng, g, ROUNDS)])
    v = np.vstack([np.ones(h), resampling_weights(rng, h, ROUNDS)])
    return mean(xx, u, u) + mean(yy, v, v) - 2 * mean(xy, u, v)


def summed(x: Array, of_x: NDArray[Any], y: Array, of_y: NDArray[Any]) -> tuple[Array, Array]:
    """Return the sums of the kernel over pairs of groups (G, H), and how many pairs they are: none where both are one group."""
    names = [sorted(set(groups)) for groups in (of_x, of_y)]
    a, b = (np.array([g == groups for g in own], np.float64) for own, groups in zip(names, (of_x, of_y), strict=True))
    apart = np.not_equal.outer(*(np.array(own, object) for own in names)).astype(np.float64)
    return apart * (a @ polynomial_kernel(x, y) @ b.T), apart * np.outer(a.sum(axis=1), b.sum(axis=1))


def mean(sums: tuple[Array, Array], u: Array, v: Array) -> Array:
    return np.einsum("rg,gh,rh->r", u, sums[0], v) / np.einsum("rg,gh,rh->r", u, sums[1], v)


if __name__ == "__main__":
    main()
