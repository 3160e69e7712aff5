"""Patches out: random patches a second from a collection on disk, beside copies out of memory and, in the same run, other programs.

Every rate is from one process with two threads, after a first window or batch that is not counted. ``reuse`` says how often an epoch shows
each pixel; whatever it is, no pixel is decoded twice in an epoch, which the row ``decoded`` counts (pixels decoded / pixels there are).
Rates hold on an idle machine only: the load is printed.

Run ``python tests/benchmarks/bench_patches.py [--out FILE.json] [--data FOLDER] [--seconds N] [--rows 3d,2d,batches,small,catalogue]``.
The collections (1 GB) are made in FOLDER and used again.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from bench_io import cells

from sciimg.io.image import Image
from sciimg.patches.blocks import BlockOrder
from sciimg.patches.regions import Region
from sciimg.patches.source import PatchSource
from sciimg.patches.stream import PatchStream
from sciimg.store import Collection, CollectionWriter
from sciimg.types import Spacing
from sciimg.validation.material import whole

KEY = ("benchmark",)
GOALS = {"3d reuse 1": 4000, "3d reuse 2": 4000, "3d reuse 4": 8000, "2d reuse 4": 30_000, "batches reuse 4": 2000}
VERSIONS = ("sciimg", "numpy", "imagecodecs", "zarr", "tensorstore", "monai", "torch")
ROWS = ("3d", "2d", "batches", "small", "catalogue")


def collection(folder: Path, name: str, axes: str, images: Callable[[], Iterator[np.ndarray]]) -> Collection:
    """Return a collection, made where it is missing."""
    path = folder / f"{name}.collection"
    if not path.exists():
        with CollectionWriter(path, synthetic=False) as writer:
            for number, pixels in enumerate(images()):
                image = Image.from_array(pixels, axes, Spacing((1.0,) * pixels.ndim, "micrometer"))
                writer.add(f"{name}-{number}", image, group=f"{name}-{number}")
    return Collection(path)


def volumes() -> Iterator[np.ndarray]:
    yield from (cells(np.random.default_rng(seed), 128, 1024) for seed in range(2))


def planes() -> Iterator[np.ndarray]:
    yield from (cells(np.random.default_rng(seed), 1, 4096)[0] for seed in range(4))


def heads() -> Iterator[np.ndarray]:
    """Four volumes of float32 with a smooth object in Rician noise."""
    at = np.linspace(-1, 1, 192)
    radius = (at[:, None, None] / 0.8) ** 2 + (at[:, None] / 0.9) ** 2 + (at / 0.7) ** 2
    signal = np.where(radius < 1, 500 + 300 * np.sin(9 * radius), 0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        yield np.hypot(signal + rng.normal(scale=15, size=signal.shape), rng.normal(scale=15, size=signal.shape)).astype(np.float32)


def tiles() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(1)
    source = rng.poisson(60, (2048, 2048)).astype(np.uint8)
    for y, x, side in zip(rng.integers(0, 1700, 10_000), rng.integers(0, 1700, 10_000), rng.integers(96, 257, 10_000), strict=True):
        yield source[y : y + side, x : x + side]


def rate(draw: Callable[[int], int], seconds: float) -> float:
    """Return items a second; ``draw(turn)`` makes some and says how many."""
    draw(0)
    began, made, turn = time.perf_counter(), 0, 1
    while time.perf_counter() - began < seconds:
        made += draw(turn)
        turn += 1
    return made / (time.perf_counter() - began)


# ---------------------------------------------------------------- ours and others


def ours(
    of: Collection, shape: tuple[int, ...], batch: int, reuse: float, seconds: float, *, torch_batches: bool = False
) -> dict[str, Any]:
    stream = PatchStream(PatchSource(of, whole(of, "train"), "train", shape), reuse=reuse)

    def draw(turn: int) -> int:
        images, _ = stream.arrays(KEY, range(turn * batch, (turn + 1) * batch))
        if torch_batches:
            import torch

            torch.from_numpy(images)
        return batch

    per_s = rate(draw, seconds)
    total = sum(int(np.prod(r.extent)) for r in stream.source.regions)
    fresh = PatchStream(stream.source, reuse=reuse)
    plan = fresh._plan(KEY, 0)
    for window in range(len(plan.windows) - 1):
        fresh._windows.read(KEY, 0, plan, window)
    return {"per_s": round(per_s), "reuse": reuse, "patches_an_epoch": fresh.length, "decoded": round(fresh.decoded / total, 3)}


def places(arrays: list[np.ndarray], shape: tuple[int, ...], count: int) -> list[tuple[int, tuple[slice, ...]]]:
    """Return uniform random boxes."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        number = int(rng.integers(len(arrays)))
        origin = [int(rng.integers(n - p + 1)) for n, p in zip(arrays[number].shape, shape, strict=True)]
        found.append((number, tuple(slice(o, o + n) for o, n in zip(origin, shape, strict=True))))
    return found


def copied(arrays: list[Any], shape: tuple[int, ...], batch: int, seconds: float, like: list[np.ndarray]) -> float:
    """Copy random boxes out of arrays into new batches with two threads: memory, memory maps, zarr-python."""
    boxes = places(like, shape, 4096)

    def fill(out: np.ndarray, first: int, start: int, stop: int) -> None:
        for i in range(start, stop):
            number, box = boxes[(first + i) % len(boxes)]
            out[i] = arrays[number][box]

    with ThreadPoolExecutor(2) as pool:

        def draw(turn: int) -> int:
            out = np.empty((batch, *shape), like[0].dtype)
            list(pool.map(partial(fill, out, turn * batch), [0, batch // 2], [batch // 2, batch]))
            return batch

        return rate(draw, seconds)


def from_tensorstore(paths: list[Path], shape: tuple[int, ...], batch: int, seconds: float, like: list[np.ndarray]) -> float:
    import tensorstore

    context = tensorstore.Context({"data_copy_concurrency": {"limit": 2}, "cache_pool": {"total_bytes_limit": 2**28}})
    stores = [
        tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": str(p)}}, context=context, open=True).result()
        for p in paths
    ]
    boxes = places(like, shape, 4096)

    def draw(turn: int) -> int:
        out = np.empty((batch, *shape), like[0].dtype)
        asked = [stores[n][b].read() for n, b in (boxes[(turn * batch + i) % len(boxes)] for i in range(batch))]
        for i, future in enumerate(asked):
            out[i] = future.result()
        return batch

    return rate(draw, seconds)


def from_monai(like: list[np.ndarray], shape: tuple[int, ...], batch: int, seconds: float, *, copy: bool) -> float:
    """Random crops of a MONAI CacheDataset that has everything in memory, in batches."""
    import torch
    from monai.data import CacheDataset, list_data_collate
    from monai.transforms import Compose, EnsureChannelFirst, RandSpatialCrop

    crop = Compose([EnsureChannelFirst(channel_dim="no_channel"), RandSpatialCrop(shape, random_size=False)])
    data = CacheDataset(list(like), crop, progress=False, copy_cache=copy, num_workers=1)

    def draw(turn: int) -> int:
        list_data_collate([torch.as_tensor(data[(turn * batch + i) % len(like)]) for i in range(batch)])
        return batch

    return rate(draw, seconds)


# ---------------------------------------------------------------- rows


def patches(row: str, of: Collection, shape: tuple[int, ...], batch: int, seconds: float, scratch: Path) -> list[dict[str, Any]]:
    found = [
        {"row": f"{row} reuse {reuse}", **ours(of, shape, batch, reuse, seconds, torch_batches=row == "batches")} for reuse in (1, 2, 4)
    ]
    paths = [of.path / "images" / f"{id}.zarr" / "0" for id in of.catalogue["id"]]
    like = [of.volume(id).read() for id in of.catalogue["id"]]
    maps = []
    for number, pixels in enumerate(like):
        np.save(scratch / f"{row}-{number}.npy", pixels)
        maps.append(np.load(scratch / f"{row}-{number}.npy", mmap_mode="r"))
    import zarr

    peers: dict[str, Callable[[], float]] = {
        "memory (the limit)": lambda: copied(like, shape, batch, seconds, like),
        "memory map, not compressed": lambda: copied(maps, shape, batch, seconds, like),
        "tensorstore": lambda: from_tensorstore(paths, shape, batch, seconds, like),
        "zarr-python": lambda: copied([zarr.open_array(p, mode="r") for p in paths], shape, batch, seconds, like),
    }
    if row == "batches":
        peers["MONAI CacheDataset"] = lambda: from_monai(like, shape, batch, seconds, copy=True)
        peers["MONAI CacheDataset, not copying"] = lambda: from_monai(like, shape, batch, seconds, copy=False)
    return [*found, *({"row": row, "peer": name, "per_s": round(run())} for name, run in peers.items())]


def small(of: Collection, seconds: float) -> list[dict[str, Any]]:
    return [{"row": f"small reuse {reuse}", **ours(of, (64, 64), 64, reuse, seconds)} for reuse in (1, 4)]


def catalogue() -> list[dict[str, Any]]:
    """Plan an epoch over a million images, and over a single volume of 8 TB, without any pixels."""
    rng = np.random.default_rng(0)
    sides = rng.integers(64, 257, (1_000_000, 2)).tolist()
    images = [Region(str(i), "train", str(i), (0, 0), (h, w)) for i, (h, w) in enumerate(sides)]
    volume = [Region("a", "train", "a", (0, 0, 0), (16_000, 16_000, 16_000))]
    found = []
    for title, regions, shape, chunk in (("1,000,000 images", images, (64, 64), (256, 256)), ("16,000^3", volume, (64,) * 3, (64,) * 3)):
        sizes = np.array([np.prod(r.extent, dtype=np.float64) for r in regions])
        length = int(sizes.sum() / np.prod(shape))
        began = time.perf_counter()
        order = BlockOrder(regions, shape, [chunk] * len(regions), sizes, length, 2, 128 * 2**20)
        made = time.perf_counter() - began
        began = time.perf_counter()
        plan = order.epoch(KEY, 0)
        took = time.perf_counter() - began
        found.append(
            {
                "row": "catalogue",
                "what": title,
                "order_s": round(made, 2),
                "epoch_s": round(took, 2),
                "patches": length,
                "blocks": len(plan.regions),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "sciimg-bench-patches")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        scratch, seconds = Path(folder), options.seconds
        rows: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "3d": lambda: patches("3d", collection(options.data, "volumes", "zyx", volumes), (64, 64, 64), 16, seconds, scratch),
            "2d": lambda: patches("2d", collection(options.data, "planes", "yx", planes), (128, 128), 64, seconds, scratch),
            "batches": lambda: patches("batches", collection(options.data, "heads", "zyx", heads), (64, 64, 64), 8, seconds, scratch),
            "small": lambda: small(collection(options.data, "tiles", "yx", tiles), seconds),
            "catalogue": catalogue,
        }
        for row in options.rows.split(","):
            for found in rows[row]():
                found["load"] = round(os.getloadavg()[0], 2)
                if found["row"] in GOALS:
                    found["goal"] = GOALS[found["row"]]
                results.append(found)
                print("   ".join(f"{k} {v}" for k, v in found.items()), flush=True)
    if options.out:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        about = {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "versions": {n: version(n) for n in VERSIONS}}
        options.out.write_text(json.dumps({**about, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
