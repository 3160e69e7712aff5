"""Ten thousand small images, or one volume larger than memory: ingest and train, killed with SIGKILL again and again, and undisturbed.

    python tests/faults/scale.py many --files 10000
    python tests/faults/scale.py large --gigabytes 26

Prints one JSON document with times and the largest memory of a process (``VmHWM`` of the command, which counts pages of files it maps);
exit code 0 when both ways give the same collection, byte by byte but for the lock and look-up beside it, and the same model. ``large``
writes its input and two collections: it needs about three times the size on disk.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

STUDY = """
sciimg: 1
name: scale
registered: 2026-11-21
title: A great many images, or one that is too large for memory
question: Does every step go through in bounded memory, and is it resumed exactly?
context_of_use: Testing.
excluded_uses: [Everything else]
limits: [The network is trained for a few steps]
sources:
  - {name: made, uri: INPUT, licence: CC0-1.0, citation: Made for this test, modality: fluorescence}
split: SPLIT
patches: {shape: SHAPE}
conditions:
  - {kind: scalar, name: level, measure: channel-mean, channel: intensity}
recipes:
  - {name: ldm, recipe: ldm, options: {training.steps: 12, training.warmup: 4, space.training.steps: 12, space.training.warmup: 4}}
generate: {count: 24, steps: 4}
validation: {samples: 24, bootstrap: 50, physics: [intensity-law]}
gates:
  - {name: verified, metric: verification-failures, at_most: 0, judged_on: value, why: The machinery must hold}
release: {dataset_id: scale, version: 1.0.0, licence: CC0-1.0, creator: sciimg}
"""
MANY = {"SPLIT": "{by: column, column: id, unit: image, calibration: 0.2, holdout: 0.2}", "SHAPE": "[64, 64]"}
LARGE = {"SPLIT": "{by: blocks, axis: z, calibration: 0.1, holdout: 0.2, guard_px: 32, cell: [64, 256, 256]}", "SHAPE": "[32, 32, 32]"}


def make_many(folder: Path, files: int) -> list[str]:
    """Write small PNG images, half of them pairs that differ in little; return what ``ingest`` is told of them."""
    import imagecodecs

    rng = np.random.default_rng(7)
    source = rng.poisson(60, (1024, 1024)).astype(np.uint8)
    folder.mkdir()
    for number in range(files):
        height, width, top, left = (int(v) for v in (*rng.integers(96, 257, 2), *rng.integers(0, 768, 2)))
        pixels = source[top : top + height, left : left + width].copy()
        pixels[0, :2] = divmod(number, 256)
        (folder / f"{number:05}.png").write_bytes(imagecodecs.png_encode(pixels, level=1))
    return ["--unit", "pixel"]


def make_large(path: Path, gigabytes: float) -> list[str]:
    """Write a NRRD volume of noise that nowhere repeats itself nearby."""
    rng = np.random.default_rng(1)
    planes = rng.poisson(200, (16, 2000, 2000)).astype("<u2")
    depth = round(gigabytes * 1e9 / planes[0].nbytes)
    header = (
        f"NRRD0005\ntype: uint16\ndimension: 3\nspace: RAS\nsizes: 2000 2000 {depth}\nspace directions: "
        "(0.001,0,0) (0,0.001,0) (0,0,0.002)\n"
        'space units: "mm" "mm" "mm"\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n\n'
    )
    with path.open("wb") as stream:
        stream.write(header.encode())
        for z in range(depth):
            stream.write(np.roll(planes[z % 16], (z * 677) % 2000, axis=z % 2).tobytes())
    return []


class Run:
    """One command; ``peak_mb`` is the most that it, or a process it started, had in memory."""

    def __init__(self, *arguments: str) -> None:
        self.peak_mb = 0
        self.process = subprocess.Popen([sys.executable, "-m", "sciimg.cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    def wait(self, kill_after: float | None = None) -> int | None:
        """Return the exit code, or None where the command was killed."""
        try:
            code = self.process.wait(kill_after)
        except subprocess.TimeoutExpired:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return None
        if code:
            assert self.process.stderr is not None
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended with {code}:\n{self.process.stderr.read().decode()}")  # type: ignore[union-attr]
        return code

    def _look(self) -> None:
        status = Path(f"/proc/{self.process.pid}/status")
        while self.process.poll() is None:
            try:
                line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            except (OSError, StopIteration):
                return
            self.peak_mb = max(self.peak_mb, int(line.split()[1]) >> 10)
            time.sleep(0.2)


def undisturbed(arguments: list[str]) -> dict[str, Any]:
    began, run = time.monotonic(), Run(*arguments)
    run.wait()
    return {"wall_s": round(time.monotonic() - began, 1), "peak_mb": run.peak_mb}


def disturbed(arguments: list[str], kills: int, whole: float, rng: random.Random) -> list[float]:
    """Kill the command at ``kills`` moments of its way, then let it end; return the moments."""
    moments = []
    for _ in range(kills):
        moment = rng.uniform(2.0, max(4.0, 0.6 * whole))
        if Run(*arguments).wait(moment) is not None:
            return moments  # it ended first: no kill
        moments.append(round(moment, 1))
    Run(*arguments).wait()
    return moments


def bytes_below(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as stream:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def main() -> int:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["many", "large"])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--gigabytes", type=float, default=26.0)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="Where to work; a temporary folder by default.")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = folder / ("images" if options.what == "many" else "volume.nrrd")
        told = make_many(source, options.files) if options.what == "many" else make_large(source, options.gigabytes)
        text = STUDY.replace("INPUT", str(source))
        for key, value in (MANY if options.what == "many" else LARGE).items():
            text = text.replace(key, value)
        study = folder / "study.yaml"
        study.write_text(text)

        def ingest(out: str) -> list[str]:
            return ["ingest", str(source), "--out", str(folder / out), *told]

        def train(data: str, out: str) -> list[str]:
            return ["train", str(study), "--data", str(folder / data), "--out", str(folder / out)]

        found: dict[str, Any] = {
            "what": options.what,
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        }
        found["input_gb"] = round(sum(p.stat().st_size for p in (source.iterdir() if source.is_dir() else [source])) / 1e9, 2)
        found["ingest"] = undisturbed(ingest("whole"))
        found["ingest"]["killed_at_s"] = disturbed(ingest("killed"), options.kills, found["ingest"]["wall_s"], rng)
        one, other = bytes_below(folder / "whole"), bytes_below(folder / "killed")
        found["ingest"] |= {"files": len(one), "differing": sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))[:20]}
        found["train"] = undisturbed(train("whole", "model"))
        found["train"]["killed_at_s"] = disturbed(train("whole", "model-killed"), options.kills, found["train"]["wall_s"], rng)
        weights = [{k: v for k, v in bytes_below(folder / m).items() if k.endswith(".safetensors")} for m in ("model", "model-killed")]
        found["train"] |= {"weights": len(weights[0]), "same": weights[0] == weights[1] and bool(weights[0])}
        print(json.dumps(found, indent=1))
        return 0 if found["train"]["same"] and not found["ingest"]["differing"] else 1


if __name__ == "__main__":
    sys.exit(main())
