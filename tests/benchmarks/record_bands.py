"""Measure the bands of ``sciimg verify --benchmarks``: every family with several seeds, and what networks score that learned nothing.

    python tests/benchmarks/record_bands.py [--seeds 8] [--families flow tokens] [--out sciimg/verification/bands.json]

Families that are not asked for keep what the file holds. One process and one thread, processor time. A band that an untrained network
meets would be worth nothing: the script then ends with an error and writes nothing.
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
from sciimg.verification.benchmarks import BENCHMARKS, Benchmark, Real, run

_VERSIONS = ("sciimg", "torch", "monai", "numpy", "scipy", "scikit-image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--families", nargs="*", choices=tuple(BENCHMARKS), default=tuple(BENCHMARKS))
    parser.add_argument("--out", type=Path, default=BANDS)
    wishes = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(wishes.out.read_text()) if wishes.out.exists() else {"families": {}}
    units: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        real = Real.made_in(Path(folder))
        for family in wishes.families:
            known["families"][family] = recorded(family, real, wishes.seeds, units)
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seeds": wishes.seeds,
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in _VERSIONS} | {"python": platform.python_version()},
        "command": "python tests/benchmarks/record_bands.py",
    }
    write_json(wishes.out, {"measured": about, "fixed_work_s": round(sorted(units)[len(units) // 2], 4), "families": known["families"]})


def recorded(family: str, real: Real, seeds: int, units: list[float]) -> dict[str, Any]:
    """Return scores and costs of every seed, and the scores of untrained networks; refuse a band that holds one of these."""
    scores: dict[str, list[float]] = {}
    costs = []
    for seed in range(seeds):
        found, cost, unit = run(family, real, seed)
        print(family, seed, {k: round(v, 4) for k, v in found.items()}, f"cost {cost:.1f}, unit {unit:.3f} s", flush=True)
        for name, value in found.items():
            scores.setdefault(name, []).append(float(f"{value:.6g}"))
        costs.append(round(cost, 2))
        units.append(unit)
    nothing = run(family, real, 0, untrained(BENCHMARKS[family]))[0]
    for name, values in scores.items():
        band = Band(tuple(values))
        apart = abs(nothing[name] - band.middle) / band.half_width
        print(f"{family} {name}: {band.middle:.4g} +- {band.half_width:.3g}; untrained {nothing[name]:.4g}, {apart:.1f} half widths away")
        if apart <= 1:
            raise SystemExit(f"{family} {name}: an untrained network lies in the band. Choose another score or a longer training.")
    kept = {name: None if math.isnan(value) else float(f"{value:.6g}") for name, value in nothing.items()}
    return {"recipe": BENCHMARKS[family].recipe, "scores": scores, "cost": costs, "untrained": kept}


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
