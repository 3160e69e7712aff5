"""What a worker does, what a second one adds, what memory it needs, and what a catalogue of ten million images costs.

    python tests/benchmarks/bench_scale.py [--quick] [--sections ingest,catalogue] [--out reports/benchmarks/scale.json]

Each array work is done by one worker process on one core, by two on two, and by one on four times as much. The process that hands out the
tasks (``alone`` is its processor time) has no core of its own: it shares those of the workers, so that ``efficiency_of_wall``, the time of
one core over twice that of two, is what a second core brings. Wall time holds only where nothing else runs, so the load average stands
beside it. Processor time is that of all processes, without the start of the workers; *balance* is the processor time of the mean worker
over that of the busiest, and ``efficiency_of_processors`` is ``processor(1) / processor(2) x balance``.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sciimg.workers import Cluster, local

SECTIONS = ("units", "tasks", "ingest", "features", "generate", "catalogue")
VERSIONS = ("sciimg", "dask", "distributed", "pyarrow", "pandas", "numpy", "torch")
Work = Callable[[Cluster, int], int]  # with so many times the work; returns how many units it was


def usage(_: Any = None) -> tuple[float, float]:
    """Return processor seconds and the largest memory so far, MB, of a process."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime, own.ru_maxrss / 1024


def done(count: int, work: Work, times: int) -> dict[str, Any]:
    """Do the work on so many workers, which share as many cores with this process, and return what it took."""
    with on_cores(count) as cores, local(count) as workers:
        client = workers._client
        client.wait_for_workers(count)
        client.run(_pin, cores)
        work(workers, 0)  # imports, and the model
        before, own, clock = client.run(usage), time.process_time(), time.monotonic()
        units = work(workers, times)
        wall, alone = time.monotonic() - clock, time.process_time() - own
        after = client.run(usage)
    spent = [after[name][0] - before[name][0] for name in after]
    return {
        "workers": count,
        "units": units,
        "wall_s": round(wall, 2),
        "processor_s": round(sum(spent) + alone, 2),
        "alone_s": round(alone, 2),
        "balance": round(float(np.mean(spent) / max(*spent, 1e-9)) if count > 1 else 1.0, 3),
        "worker_peak_mb": round(max(peak for _, peak in after.values())),
        "load": round(os.getloadavg()[0], 1),
    }


@contextmanager
def on_cores(count: int) -> Iterator[set[int]]:
    """Keep this process to so many cores meanwhile."""
    before = os.sched_getaffinity(0)
    cores = set(sorted(before)[:count])
    _pin(cores)
    try:
        yield cores
    finally:
        _pin(before)


def _pin(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)


def scaled(work: Work, times: int, more: int) -> dict[str, Any]:
    one, two, large = done(1, work, times), done(2, work, times), done(1, work, more * times)
    each = one["processor_s"] / one["units"]
    return {
        "one": one,
        "two": two,
        "more": large | {"times": more},
        "processor_s_a_unit": float(f"{each:.3g}"),
        "efficiency_of_processors": round(one["processor_s"] / two["processor_s"] * two["balance"], 3),
        "efficiency_of_wall": round(one["wall_s"] / (2 * two["wall_s"]), 3),
        "memory_with_more": round(large["worker_peak_mb"] / one["worker_peak_mb"], 3),
    }


# ---------------------------------------------------------------- array work


def ingest(folder: Path) -> Work:
    """Small PNG images, and volumes of 16 MB."""
    import imagecodecs

    from sciimg.io.spacing import Wishes
    from sciimg.stages import ingest as stage
    from sciimg.stages.items import file_item
    from sciimg.types import Spacing

    rng = np.random.default_rng(1)
    planes = rng.poisson(80, (16, 512, 512)).astype(np.uint16)

    def sources(times: int) -> list[Path]:
        place = folder / f"in-{times}"
        if not place.exists():
            place.mkdir(parents=True)
            for number in range(64 * times or 1):
                pixels = np.roll(planes[number % 16, :256, :256], number, axis=1).astype(np.uint8)
                pixels[0, :2] = divmod(number, 256)
                (place / f"{number:06}.png").write_bytes(imagecodecs.png_encode(pixels, level=1))
            for number in range(2 * times):
                np.save(place / f"volume-{number:03}.npy", np.concatenate([np.roll(planes, number * 7 + i, axis=2) for i in range(2)]))
        return sorted(place.iterdir())

    def work(workers: Cluster, times: int) -> int:
        files = sources(times)
        items = [file_item(path, None, Wishes(Spacing((1.0,), "pixel"), False, None)) for path in files]
        with tempfile.TemporaryDirectory(dir=folder) as out:
            stage._write(items, [], Path(out) / "c", workers=workers)
        return sum(np.load(p, mmap_mode="r").nbytes if p.suffix == ".npy" else 65536 for p in files)

    return work


def features(folder: Path) -> Work:
    import pandas as pd

    from sciimg.types import PatchSet, Spacing
    from sciimg.validation.features.named import FIXED
    from sciimg.validation.features.space import fit_space

    def patches(count: int) -> PatchSet:
        images = np.random.default_rng(2).poisson(200, (count, 1, 64, 64)).astype(np.uint16)
        table = pd.DataFrame({"name": [str(i) for i in range(count)]})
        return PatchSet(images, None, np.array([f"g{i}" for i in range(count)]), table, Spacing((1.0, 1.0), "pixel"), ("a",))

    reference = patches(32)

    def work(workers: Cluster, times: int) -> int:
        some = patches(512 * times or 260)
        fit_space("scattering", FIXED["scattering"], reference, workers=workers).transform(some)
        return len(some)

    return work


def generate(folder: Path) -> Work:
    """Samples of a flow in pixels, trained for two steps: what it draws costs the same."""
    from sciimg.generation.conditions import Conditions
    from sciimg.generation.generate import generate as draw

    model = _model(folder)

    def work(workers: Cluster, times: int) -> int:
        import pandas as pd

        count = 32 * times or 16
        with tempfile.TemporaryDirectory(dir=folder) as out:
            asked = Conditions(None, pd.DataFrame(index=range(count)), [f"g{i}" for i in range(count)])
            draw(model, Path(out) / "c", asked, seed=0, study=None, steps=8, workers=workers)
        return count

    return work


def _model(folder: Path) -> Path:
    from sciimg.augmenters.recipes import get_recipe
    from sciimg.augmenters.training import fit
    from sciimg.io.image import Image
    from sciimg.patches.regions import Region, to_table
    from sciimg.patches.source import PatchSource
    from sciimg.store import Collection, CollectionWriter
    from sciimg.types import Spacing

    rng = np.random.default_rng(3)
    with CollectionWriter(folder / "real", synthetic=False) as writer:
        for name in ("a", "b"):
            pixels = rng.poisson(200, (128, 128)).astype(np.uint16)
            writer.add(name, Image.from_array(pixels, "yx", Spacing((1.0, 1.0), "micrometer"), ("a",)), group=None)
    real = Collection(folder / "real")
    parts = {name: to_table([Region(name, "train", name, (0, 0), (128, 128))]) for name in ("a", "b")}
    train, unseen = (PatchSource(real, parts[name], "train", (64, 64)) for name in ("a", "b"))
    recipe = get_recipe("pixel-flow", {"training.steps": 2, "training.warmup": 1}, 2)
    fit(recipe, train, unseen, (), key=("bench",), out=folder / "model", provenance={})
    return folder / "model"


def tasks(count: int) -> dict[str, Any]:
    """How many tasks that do nothing a second pass through one scheduler and two workers."""
    with local(2) as workers:
        list(workers.map(abs, range(20)))
        before, own, clock = workers._client.run(usage), time.process_time(), time.monotonic()
        list(workers.map(abs, range(count)))
        alone, wall = time.process_time() - own, time.monotonic() - clock
        after = workers._client.run(usage)
    return {
        "tasks": count,
        "wall_s": round(wall, 2),
        "ms_of_the_scheduler_a_task": round(1e3 * alone / count, 3),
        "ms_of_a_worker_a_task": round(1e3 * sum(after[n][0] - before[n][0] for n in after) / count, 3),
        "load": round(os.getloadavg()[0], 1),
    }


def units(folder: Path, images: int = 300) -> dict[str, Any]:
    """What one process does for every byte and every image, however many workers there are."""
    import hashlib
    import tracemalloc

    from sciimg.files import checksum
    from sciimg.io.image import Image
    from sciimg.store import CollectionWriter
    from sciimg.store.catalogue import read_rows, write_catalogue
    from sciimg.types import Spacing

    def seconds(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    data = os.urandom(2**26)
    (folder / "data").write_bytes(data)
    pixels = np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16)
    with CollectionWriter(folder / "c", synthetic=True) as writer:
        for number in range(images):
            writer.add(f"i{number:05}", Image.from_array(pixels, "yx", Spacing((1.0, 1.0), "micrometer"), ("a",)), group="g")
    rows = read_rows(folder / "c/images")
    one = list((folder / "c/images/i00000.zarr").rglob("*"))
    found = {
        "sha256_mb_s": round(len(data) / 1e6 / seconds(lambda: hashlib.sha256(data).digest())),
        "checksum_mb_s": round(len(data) / 1e6 / seconds(lambda: checksum(folder / "data"))),
        "ms_to_read_a_record": round(1e3 * seconds(lambda: read_rows(folder / "c/images")) / images, 3),
        "ms_to_write_a_row": round(1e3 * seconds(lambda: write_catalogue(folder / "x.parquet", rows)) / images, 3),
        "files_a_sample": sum(p.is_file() for p in one),
        "folders_a_sample": 1 + sum(p.is_dir() for p in one),
        "bytes_a_sample": sum(p.stat().st_size for p in one if p.is_file()),
    }
    tracemalloc.start()
    again = read_rows(folder / "c/images")
    found["bytes_of_a_row_in_memory"] = round(tracemalloc.get_traced_memory()[0] / len(again))
    tracemalloc.stop()
    return found


# ---------------------------------------------------------------- catalogue


def make_catalogue(folder: Path, rows: int) -> None:
    """Write a catalogue of synthetic samples, and a split of them, as wide as a real one."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from sciimg.store.catalogue import COLUMNS

    rng, writer, split = np.random.default_rng(4), None, None
    for first in range(0, rows, 2**20):
        numbers = np.arange(first, min(first + 2**20, rows))
        n = len(numbers)
        ids = pa.array(np.char.mod("ldm-%08d", numbers))
        digests = pa.array(np.frombuffer(rng.bytes(32 * n).hex().encode(), "S64")).cast("string")
        same = {
            name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), [text]).cast("string") for name, text in _SAME.items()
        }
        values = same | {
            "id": ids,
            "path": ids,
            "group": pa.array(np.char.mod("g%05d", rng.integers(0, 20_000, n))),
            "source": ids,
            "sha256": digests,
            "digest": digests,
            "lineage": pc.binary_join_element_wise('{"recipe":"ldm","seed":1,"index":"', ids, '"}', ""),
            "label_max": pa.array(rng.integers(0, 200, n)),
            "synthetic": pa.array(np.ones(n, bool)),
            "depth": pa.array(rng.normal(size=n)),
            "stain": pa.array(np.array(["dab", "he", "pas"])[rng.integers(0, 3, n)]),
        }
        names = [*COLUMNS, "depth", "stain"]
        table = pa.table([values[name] for name in names], names=names)
        part = pa.table(
            {"image": ids, "part": pa.array(np.array(["train", "calibration", "holdout"])[rng.choice(3, n, p=[0.7, 0.1, 0.2])])}
        )
        writer = writer or pq.ParquetWriter(folder / "catalogue.parquet", table.schema, compression="zstd")
        split = split or pq.ParquetWriter(folder / "regions.parquet", part.schema, compression="zstd")
        writer.write_table(table)
        split.write_table(part)
    assert writer is not None and split is not None
    writer.close()
    split.close()


_SAME = {
    "axes": "cyx",
    "shape": "[1,64,64]",
    "dtype": "uint16",
    "spacing": "[0.5,0.5]",
    "unit": "micrometer",
    "channels": '["a"]',
    "label_kind": "classes",
}


QUESTIONS = {
    "count by condition": 'len(Selection(c, ["stain=dab", "depth>1"]))',
    "ids by condition": 'len(Selection(c, ["stain=dab", "depth>1"]).read(["id"]))',
    "ids of a part by condition": 'len(Selection(c, ["depth>1"], regions=r, part="holdout").read(["id"]))',
    "groups with their sizes": 'len(Selection(c).values("group"))',
    "1000 samples by condition, whole rows": 'len(Selection(c, ["stain=dab"]).sample(1000, ("b",)))',
    "2 samples of each group": 'len(Selection(c).sample(2, ("b",), ["id", "group"], each="group"))',
    "columns of a split": 'len(read_catalogue(c, ["id", "axes", "shape", "group"]))',
    "the whole catalogue with pandas": "len(read_catalogue(c))",
}
ASK = """
import resource, sys, time
from pathlib import Path
import pyarrow.dataset, pandas
from sciimg.store.catalogue import read_catalogue
from sciimg.store.select import Selection
c, r = Path(sys.argv[1]) / "catalogue.parquet", Path(sys.argv[1]) / "regions.parquet"
clock, own = time.monotonic(), time.process_time()
found = {question}
print(found, time.monotonic() - clock, time.process_time() - own, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def catalogue(rows: int, folder: Path, *, whole: bool) -> dict[str, Any]:
    own = time.process_time()
    make_catalogue(folder, rows)
    made = time.process_time() - own
    found: dict[str, Any] = {
        "rows": rows,
        "mb": round((folder / "catalogue.parquet").stat().st_size / 1e6),
        "made_processor_s": round(made, 1),
    }
    for name, question in QUESTIONS.items():
        if name.startswith("the whole") and not whole:
            continue
        command = [sys.executable, "-c", ASK.replace("{question}", question), str(folder)]
        answer, wall, processor, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        found[name] = {
            "found": int(answer),
            "wall_s": round(float(wall), 2),
            "processor_s": round(float(processor), 2),
            "peak_mb": round(float(peak)),
        }
        print(name, found[name], file=sys.stderr, flush=True)
    return found


# ---------------------------------------------------------------- the file


def main() -> int:
    """Measure, and write one JSON document; sections that are not asked for stay as they are in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Some ten seconds of processor time a section; 200,000 rows.")
    parser.add_argument("--sections", default=",".join(SECTIONS))
    parser.add_argument("--times", type=int, default=0, help="Size of the work; default 1 with --quick, else 8.")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    times = options.times or (1 if options.quick else 8)
    rows = options.rows or (200_000 if options.quick else 10_000_000)
    found: dict[str, Any] = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    makers = {"ingest": ingest, "features": features, "generate": generate}
    with tempfile.TemporaryDirectory(prefix="sciimg-scale-") as name:
        for section in options.sections.split(","):
            folder = Path(name) / section
            folder.mkdir()
            match section:
                case "units":
                    value = units(folder)
                case "tasks":
                    value = tasks(200 if options.quick else 5000)
                case "catalogue":
                    value = catalogue(rows, folder, whole=not options.quick)
                case _:
                    value = scaled(makers[section](folder), times, 4)
            about = {"date": datetime.now(UTC).date().isoformat(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
            found[section] = value | about | {"versions": {package: version(package) for package in VERSIONS}}
            print(json.dumps({section: value}, indent=1), flush=True)
            if options.out:
                options.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
