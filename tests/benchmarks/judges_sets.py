"""Sections of the judges' benchmark about sets: what metrics give on planted faults, and time and memory as sets grow.

Each is a function of ``small`` that returns rows of JSON and raises AssertionError when a bar is missed. Alone:
``python tests/benchmarks/judges_sets.py [--sections planted,growth] [--small] [--out FILE.json]``.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from sciimg.types import PatchSet, Spacing
from sciimg.validation import stack
from sciimg.validation.distribution import SET_METRICS, set_metrics
from sciimg.validation.features.named import FIXED
from sciimg.validation.features.space import fit_space

GROWTH = (2500, 5000, 10_000, 20_000)
MOST_MB = 400.0  # of own memory, however many patches
LINEAR = 1.3  # times the time that proportion would give from a quarter of the patches
SIDE = 32

# ---------------------------------------------------------------- planted faults


def planted(small: bool) -> list[dict[str, Any]]:
    """Every metric on real tissue (2D) and on a brain phantom (3D): real against real, and with each fault planted in the real images."""
    from tissue import brain, patches

    sets = {"tissue 64x64": (patches("holdout", 16), patches("train", 32), patches("train", 32))}
    if not small:
        volumes = brain(48, 16, seed=1), brain(32, 16, seed=2, group="t"), brain(48, 16, seed=3, group="o")
        sets["phantom 16x16x16"] = volumes
    rows = []
    for name, (real, train, other) in sets.items():
        for space, embed in FIXED.items():
            if small and space not in ("texture", "spectrum"):
                continue
            found = {m.name: m for m in set_metrics(real, other, [fit_space(space, embed, train)], train=train, rounds=10 if small else 60)}
            row: dict[str, Any] = {"images": name, "n": len(real), "features": space}
            row["flagged_by"] = {m.name: m.detail["flagged_by"] for m in found.values() if m.name.startswith("control_")}
            for stem in SET_METRICS:
                metric = found[f"{stem}_{space}"]
                if metric.null is None:
                    row[stem] = metric.reason
                else:
                    row[stem] = {"real": _short(metric.null.value)} | {k: _short(v) for k, v in metric.detail["faults"].items()}
            print(json.dumps(row))
            assert all(row["flagged_by"].values()), row["flagged_by"]
            rows.append(row)
    return rows


def _short(value: float) -> float:
    return float(f"{value:.3g}")


# ---------------------------------------------------------------- growth


def growth(small: bool) -> list[dict[str, Any]]:
    """Processor seconds and own memory of a comparison in one feature space as both sets grow; pixels lie in temporary files."""
    kept, stack.IN_MEMORY = stack.IN_MEMORY, 2**20
    rows: list[dict[str, Any]] = []
    try:
        for n in (1100, 1300) if small else GROWTH:
            sets = [_grains(n, seed) for seed in (1, 2)]
            space = fit_space("spectrum", FIXED["spectrum"], _grains(256, 3))
            with _own_memory() as peak:
                start = time.process_time()
                metrics = set_metrics(*sets, [space], rounds=4 if small else 50)
                seconds = time.process_time() - start
            kid = next(m for m in metrics if m.name == "kid_spectrum")
            assert kid.status == "ok" or small, kid.reason
            row = {
                "patches": n,
                "shape": [SIDE, SIDE],
                "seconds": round(seconds, 2),
                "own_mb": round(peak[0], 1),
                "samples_on_each_side": kid.detail.get("samples_on_each_side"),
                "kid": kid.value,
                "interval": kid.ci95,
                "matrices_of_all_pairs_mb": round(7 * n * n * 8 / 2**20),  # what three kernels, three distances and a mask would take
            }
            print(json.dumps(row))
            assert peak[0] < MOST_MB, row
            rows.append(row)
    finally:
        stack.IN_MEMORY = kept
    if not small:
        first, last = rows[0], rows[-1]
        assert last["seconds"] < LINEAR * first["seconds"] * last["patches"] / first["patches"], (first, last)
    return rows


def _grains(n: int, seed: int) -> PatchSet:
    """Patches of smooth noise of varying grain and level, each a group of its own."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    images = stack.Stack(n)
    for _ in range(n):
        smooth = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.uniform(0.8, 2.5))
        image = rng.uniform(0.6, 1.6) * smooth / smooth.std() + 0.1 * rng.standard_normal((SIDE, SIDE)) + 0.5 * rng.standard_normal()
        images.add(np.clip(2000 + 250 * image, 0, 4095).astype(np.uint16)[None])
    names = np.array([f"g{i}" for i in range(n)])
    return PatchSet(images.array, None, names, pd.DataFrame(index=range(n)), Spacing((1.0, 1.0), "pixel"), ("grey",))


@contextmanager
def _own_memory() -> Iterator[list[float]]:
    """Measure how far the process's own memory (not that of files it maps) rises, in MB."""
    before, peak, done = _anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], _anonymous() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _anonymous() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("The kernel does not say how much memory is the process's own.")


SECTIONS = {"planted": planted, "growth": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description="Metrics of sets.")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = {name: SECTIONS[name](asked.small) for name in asked.sections.split(",")}
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
