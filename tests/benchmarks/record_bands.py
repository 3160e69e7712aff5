"""Measure the bands of ``sciimg verify --benchmarks``: every family with several seeds, and what networks score that learned nothing.

    python tests/benchmarks/record_bands.py [--seeds 8] [--families flow tokens] [--out sciimg/verification/bands.json]

Families that are not asked for keep what the file holds. One process and one thread, processor time. The file is written after every seed
from the fourth on. A band that an untrained network meets is worth nothing: such a score is left out.
"""

import argparse
import json
import math
import os
import platform
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from sciimg.files import write_json
from sciimg.verification.bands import BANDS, Band
from sciimg.verification.benchmarks import BENCHMARKS, Benchmark, Real, measured, run

_FEWEST = 4  # seeds; of fewer, intervals are too wide to say anything
_VERSIONS = ("sciimg", "torch", "monai", "numpy", "scipy", "scikit-image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--families", nargs="*", choices=tuple(BENCHMARKS), default=tuple(BENCHMARKS))
    parser.add_argument("--out", type=Path, default=BANDS)
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(wishes.out.read_text())["families"] if wishes.out.exists() else {}
    found: dict[str, Any] = {}
    units: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        real = Real.made_in(Path(folder))
        for family in wishes.families:
            nothing = measured(untrained(BENCHMARKS[family]), real, ("untrained", family))
            kept = {name: None if math.isnan(value) else float(f"{value:.6g}") for name, value in nothing.items()}
            print(family, "untrained", kept, flush=True)
            scores: dict[str, list[float]] = {name: [] for name in nothing}
            found[family] = {"recipe": BENCHMARKS[family].recipe, "scores": scores, "cost": [], "untrained": kept}
        for seed in range(wishes.seeds):  # a run that is stopped has as many seeds of every family
            for family in wishes.families:
                add(found[family], family, real, seed, units)
            if seed >= _FEWEST - 1:
                told = {family: telling(family, entry) for family, entry in found.items()}
                write_json(wishes.out, {"measured": about(seed + 1), "fixed_work_s": median(units), "families": known | told})


def add(entry: dict[str, Any], family: str, real: Real, seed: int, units: list[float]) -> None:
    """Add the scores and the cost of one seed."""
    scores, cost, unit = run(family, real, seed)
    print(family, seed, {k: round(v, 4) for k, v in scores.items()}, f"cost {cost:.1f}, unit {unit:.3f} s", flush=True)
    for name, values in entry["scores"].items():
        values.append(float(f"{scores[name]:.6g}"))
    entry["cost"].append(round(cost, 2))
    units.append(unit)


def telling(family: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what was recorded without the scores whose band networks meet that learned nothing; refuse a family that is left with none."""
    kept = {}
    for name, values in entry["scores"].items():
        band, nothing = Band(tuple(values)), entry["untrained"][name]
        apart = math.inf if nothing is None else abs(nothing - band.middle) / band.half_width
        print(f"{family} {name}: {band.middle:.4g} +- {band.half_width:.3g}; untrained {nothing}, {apart:.1f} half widths away", flush=True)
        if apart > 1:
            kept[name] = values
    if not kept:
        raise SystemExit(
            f"{family}: no score tells untrained networks from trained ones. Choose another, a longer training, or more seeds."
        )
    return entry | {"scores": kept, "untrained": {name: entry["untrained"][name] for name in kept}}


def about(seeds: int) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seeds": seeds,
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in _VERSIONS} | {"python": platform.python_version()},
        "command": "python tests/benchmarks/record_bands.py",
    }


def median(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 4)


def untrained(benchmark: Benchmark) -> Benchmark:
    """Return the same networks after steps of no length."""
    rates = {name: 1e-12 for name in ("training.learning_rate", "space.training.learning_rate") if _has(benchmark, name)}
    steps = {name: 2 for name in ("training.steps", "space.training.steps") if _has(benchmark, name)}
    warmups = {name.replace("steps", "warmup"): 1 for name in steps}
    return replace(benchmark, options={**benchmark.options, **rates, **steps, **warmups})


def _has(benchmark: Benchmark, name: str) -> bool:
    return name.startswith("training.") or any(option.startswith("space.training.") for option in benchmark.options)


def processor() -> str:
    """Return the name of the processor, or its architecture where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
