"""The judges beside independent libraries, as sets grow, and against faults of growing strength: one run, one file.

ssim      SSIM of volumes and images against scikit-image, and under a camera offset
peers     every metric beside other libraries and closed forms: values, seconds, memory (judges_peers.py)
planted   every metric of sets on faults planted in real images (judges_sets.py)
growth    seconds and memory of a comparison as sets grow (judges_sets.py)
memory    how often the judges of memory are right (judges_memory.py)
curves    false alarms and detections of every gate over simulated studies with real images (judges_curves.py)

A section is a function that returns JSON and may raise AssertionError when a bar is missed; ``--small`` makes it quick, for the tests.
Competitors take turns in one process and one thread, so that other work on the machine slows all alike; seconds are of the processor.
Sections that are not asked for keep what an earlier run wrote, and so do gates: every gate is a file in ``--parts``, so that a killed run
goes on. Beside the JSON lies the picture of the curves.

Run ``python tests/benchmarks/bench_judges.py [--sections peers,curves] [--only noise-law] [--studies 100] [--small]
[--out reports/benchmarks/judges.json]``.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import judges_curves
import judges_memory
import judges_peers
import judges_sets
from oracles import extended_ssim

VERSIONS = ("sciimg", "numpy", "scipy", "scikit-image", "torch", "monai", "torchmetrics", "torch-fidelity", "prdc")

# ---------------------------------------------------------------- what sections share


def take_turns(competitors: dict[str, Callable[[], Any]], turns: int) -> dict[str, dict[str, Any]]:
    """Time each competitor ``turns`` times in alternation, then measure what each allocates: value, seconds, peak MB."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    values = {}
    for _ in range(turns):
        for name, compute in competitors.items():
            start = time.process_time()
            values[name] = compute()
            seconds[name].append(time.process_time() - start)
    out = {}
    for name, compute in competitors.items():
        tracemalloc.start()
        compute()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        out[name] = {"value": values[name], "seconds": seconds[name], "peak_mb": round(peak / 2**20, 1)}
    return out


def ratio(slower: list[float], faster: list[float]) -> dict[str, float]:
    """Median and worst of the ratios turn by turn."""
    ratios = [a / b for a, b in zip(slower, faster, strict=True)]
    return {"median": round(statistics.median(ratios), 2), "worst": round(min(ratios), 2)}


# ---------------------------------------------------------------- SSIM

SSIM_TIMES_FASTER = 3.0
SSIM_EQUAL = 1e-6


def ssim(small: bool) -> list[dict[str, Any]]:
    """SSIM of volumes and images against scikit-image: both windows, float64 and float32, and under a camera offset.

    The bar on speed is for float64 volumes: given float32, scikit-image takes its moments in float32, and ours stay in float64.
    """
    from skimage.metrics import structural_similarity

    from sciimg.validation.similarity import ssim as ours

    theirs = {
        "gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
        "uniform": {},
    }
    volume, plane = ((24, 40, 40), (96, 96)) if small else ((128, 256, 256), (2048, 2048))
    rows = []
    for shape, dtype, window in (
        (volume, "float64", "gaussian"),
        (volume, "float64", "uniform"),
        (volume, "float32", "gaussian"),
        (plane, "float64", "gaussian"),
    ):
        rng = np.random.default_rng(0)
        image = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) * 1000
        reference, test = image.astype(dtype), (image + rng.normal(0, 50, shape)).astype(dtype)
        options = theirs[window]
        found = take_turns(
            {
                "sciimg": lambda a=reference, b=test, w=window: ours(a, b, data_range=1000.0, window=w),  # type: ignore[misc]
                "scikit-image": lambda a=reference, b=test, o=options: float(  # type: ignore[misc]
                    structural_similarity(a, b, data_range=1000.0, **o)
                ),
            },
            turns=1 if small else 3,
        )
        mine, peer = found["sciimg"], found["scikit-image"]
        row = {
            "shape": list(shape),
            "dtype": dtype,
            "window": window,
            "value": mine["value"],
            "difference": abs(mine["value"] - peer["value"]),
            "seconds": [round(statistics.median(side["seconds"]), 3) for side in (mine, peer)],
            "times_faster": ratio(peer["seconds"], mine["seconds"]),
            "peak_mb": [mine["peak_mb"], peer["peak_mb"]],
        }
        print(row)
        assert row["difference"] < SSIM_EQUAL, row
        assert small or len(shape) < 3 or dtype == "float32" or row["times_faster"]["median"] >= SSIM_TIMES_FASTER, row
        rows.append(row)
    return rows if small else [*rows, *_under_an_offset()]


def _under_an_offset() -> list[dict[str, Any]]:
    """How far each program is from SSIM in extended precision when a camera adds a constant."""
    import torch
    from monai.metrics import SSIMMetric
    from skimage.metrics import structural_similarity

    from sciimg.validation.similarity import ssim as ours

    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(40, 40)), 1.5) * 100
    noisy = image + rng.normal(0, 5, image.shape)
    theirs = SSIMMetric(2, data_range=torch.tensor(100.0), kernel_sigma=1.5)
    rows = []
    for offset in (0.0, 1e3, 1e6):
        a, b = image + offset, noisy + offset
        exact = extended_ssim(a, b, 100.0)
        tensors = (torch.from_numpy(x)[None, None] for x in (a, b))
        row = {
            "offset": offset,
            "exact": exact,
            "error": {
                "sciimg": abs(ours(a, b, data_range=100.0) - exact),
                "scikit-image": abs(
                    structural_similarity(a, b, data_range=100.0, gaussian_weights=True, use_sample_covariance=False) - exact
                ),
                "monai": abs(float(theirs(*tensors)) - exact),
            },
        }
        print(row)
        assert row["error"]["sciimg"] < SSIM_EQUAL, row
        rows.append(row)
    return rows


# ---------------------------------------------------------------- the run

Section = Callable[[argparse.Namespace], Any]

SECTIONS: dict[str, Section] = {
    "ssim": lambda asked: ssim(asked.small),
    "peers": lambda asked: judges_peers.peers(asked.small),
    "planted": lambda asked: judges_sets.planted(asked.small),
    "growth": lambda asked: judges_sets.growth(asked.small),
    "memory": lambda asked: judges_memory.judges_memory(**({"trials": 5, "images": 48, "kinds": ("shipped",)} if asked.small else {})),
    "curves": lambda asked: judges_curves.section(asked),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="The judges beside independent libraries and against faults of growing strength.")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"comma-separated; there are: {', '.join(SECTIONS)}")
    parser.add_argument("--small", action="store_true", help="quick, no bars on speed")
    parser.add_argument("--out", type=Path)
    judges_curves.options(parser)
    asked = parser.parse_args()
    result = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    for name in asked.sections.split(","):
        start, clock = time.perf_counter(), time.process_time()
        rows = SECTIONS[name](asked)
        minutes = {
            "minutes": round((time.perf_counter() - start) / 60, 2),
            "processor_minutes": round((time.process_time() - clock) / 60, 2),
        }
        result[name] = {"about": about(), **minutes, "rows": rows}
        if asked.out:
            asked.out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    if asked.out and "curves" in result:
        judges_curves.draw(result["curves"]["rows"], asked.out.with_suffix(".svg"))


def about() -> dict[str, Any]:
    """Date, machine and versions: each section has its own, as sections are run apart."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    threads = os.environ["OMP_NUM_THREADS"]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {threads} thread{'s' if threads != '1' else ''}"
    return {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "versions": found}


if __name__ == "__main__":
    main()
