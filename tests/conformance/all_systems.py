"""Every system on real images, against three impostors: ``make conformance``.

Writes ``reports/benchmarks/conformance.json`` and a page with a sample sheet for each row (``reports/conformance/README.md``). A row takes
about two minutes on one core; ``--only NAME...`` repeats some and keeps the others, ``--stale`` leaves out those whose recipe, budget,
measure and threshold are what they were.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
SHOWN = 8


def main() -> int:
    from systems.rows import ROWS, asked_of

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="Names of recipes; the other rows are kept as they are.")
    parser.add_argument("--dims", type=int, nargs="*", default=[2, 3], help="The same for dimensions.")
    parser.add_argument("--stale", action="store_true", help="Only rows that were never run, or not as they are asked for now.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "conformance.json")
    parser.add_argument("--page", type=Path, default=ROOT / "reports" / "conformance")
    args = parser.parse_args()
    known = json.loads(args.out.read_text())["rows"] if args.out.exists() else []
    rows = {(row["recipe"], row["dims"]): row for row in known if (row["recipe"], row["dims"]) in ROWS}
    fresh = {key for key, row in rows.items() if row.get("asked_of") == asked_of(*key)}
    wanted = [row for row in ROWS if (not args.only or row[0] in args.only) and row[1] in args.dims and not (args.stale and row in fresh)]
    args.page.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(_row, name, dims, args.page): (name, dims) for name, dims in wanted}
        for job in as_completed(jobs):
            name, dims = jobs[job]
            row = job.result()
            if row is None:
                print(f"skipped {name} {dims}D: the package that holds its images is not installed", flush=True)
                continue
            rows[name, dims] = row
            value = "undefined" if row["value"] is None else f"{row['value']:.3g}"
            print(
                f"{'passed ' if row['passed'] else 'FAILED '} {name:<24} {dims}D  {row['measure']} {value} ({row['threshold']:g})"
                f"{_why(row)}",
                flush=True,
            )
            _write(args.out, args.page, [rows[key] for key in ROWS if key in rows])
    _write(args.out, args.page, [rows[key] for key in ROWS if key in rows])
    return 0 if all(row["passed"] for row in rows.values()) else 1


def _row(name: str, dims: int, page: Path) -> dict[str, Any] | None:
    """One row in a process of its own; a recipe that breaks is a row that failed, and says why."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from systems.rows import asked_of, run

    from sciimg.augmenters.recipes import get_recipe

    with tempfile.TemporaryDirectory() as folder:
        try:
            row = run(name, dims, Path(folder))
        except Exception as error:
            own = get_recipe(name)
            asked = {"measure": own.reach.measure, "value": None, "threshold": own.reach.threshold(dims), "impostors": {}}
            why = {"seconds": 0.0, "passed": False, "asked_of": asked_of(name, dims), "error": repr(error)}
            return {"system": own.systems[0], "recipe": name, "dims": dims, **asked, **why}
    if row is None:
        return None
    if row.samples is not None and row.real is not None:
        _sheet(row.real, row.samples, page / f"{name}-{dims}d.png")
    return row.as_json()


def _sheet(real: NDArray[Any], made: NDArray[Any], path: Path) -> None:
    """Real images above, samples for their conditions below; the middle plane of volumes; the intensity scale is that of the real ones."""
    from PIL import Image

    planes = [x[:SHOWN, :, x.shape[2] // 2] if x.ndim == 5 else x[:SHOWN] for x in (real, made)]
    low, high = (np.quantile(planes[0], q, axis=(0, 2, 3), keepdims=True) for q in (0.002, 0.998))
    rows = []
    for plane in planes:
        grey = np.clip((plane - low) / np.maximum(high - low, 1e-12), 0, 1)
        # first channel green, second magenta; one channel grey
        rgb = np.stack([grey[:, -1], grey[:, 0], grey[:, -1]], axis=-1) if grey.shape[1] > 1 else np.repeat(grey[:, 0, ..., None], 3, -1)
        framed = np.pad(rgb, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0)
        rows.append(np.concatenate(list(framed), axis=1))
    Image.fromarray((np.concatenate(rows, axis=0) * 255).astype(np.uint8)).save(path, optimize=True)


_PAGE = """# Every system on real images

{passed} of the {count} rows that were run pass, {today} of them as they are asked for today, of {total} that there are ({date}, {machine},
torch {torch}). Each recipe was trained for one to eight minutes on one core: on a stained colon section (2D) or the ICBM 152 brain
template (3D). The threshold must be reached by the recipe, and missed by an untrained network, a blurred mean of the training images, and
a replay of the training set (whose copies are
thrown out: a dash is what could not be measured).
On each sheet real images are above, samples for their conditions below. `make conformance` repeats it; rows may come from different days.
A star marks a row that was run with another recipe, budget, measure or threshold than today's, or before rows kept record of them.
Seconds are processor time; in rows run until 21 November 2026 they are wall time on a shared machine, pauses included.
Starred rows of `gan-2014`, `dcgan`, `cgan`, `wgan-gp`, `progan`, `biggan`, `stylegan`, `stackgan` and `attngan` were trained with a
gradient penalty that torch's bf16 on the CPU computed wrongly (mended on 22 November 2026); the lattices on their sheets may come
from it.
Starred rows of `inpainting` and `outpainting` are from before networks were told what surrounds a hole; those of `wgan-gp` are of
a measure that asked one critic about all samples, or critics that had learned for different times.
How inpainting and outpainting of images are drawn was chosen on the patches of their
rows: on 64 other patches of the same part the seams are 0.030 and 0.067, on those of another strip of the section 0.124 and 0.013.
In rows run before 23 November 2026, starred or not, other than `inpainting` and `outpainting`, the weights were chosen by their loss on
the unseen part; now by that on other boxes of the training part. Starred rows of `dit` and `sit` are differences of KIDs on a logarithmic
scale (now ratios, for equal processor time),
those of `r3gan` were not compared with a DCGAN, those of `var` took a KID 1.8 times the other for equal, those of `rectified-flow`
took two steps and had themselves for a teacher, those of `instaflow` were without reflow. KIDs are now never less than what real training
images reach, so that noise about zero passes no bar: rows of `edm`, `imagen` and `super-resolution` below 1 are from before.
CycleGAN's identity loss is in no row: it needs as many channels given as made, and these data have one and two.

| system | recipe | dims | measure | value | threshold | untrained | blurred mean | replay | seconds | passed |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def _write(out: Path, page: Path, rows: list[dict[str, Any]]) -> None:
    import torch

    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    about = {"date": datetime.date.today().isoformat(), "machine": machine, "torch": torch.__version__}
    out.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    from systems.rows import ROWS, asked_of

    total = len(ROWS)
    fresh = [row.get("asked_of") == asked_of(row["recipe"], row["dims"]) for row in rows]
    today = sum(row["passed"] for row, own in zip(rows, fresh, strict=True) if own)
    text = _PAGE.format(passed=sum(row["passed"] for row in rows), today=today, count=len(rows), total=total, **about)
    for row, own in zip(rows, fresh, strict=True):
        impostors = [_number(row["impostors"].get(who)) for who in ("untrained", "blurred", "replay")]
        cells = [row["system"], f"`{row['recipe']}`", f"{row['dims']}D", row["measure"], _number(row["value"]), _number(row["threshold"])]
        changed = "" if own else " \\*"
        text += "| " + " | ".join([*cells, *impostors, f"{row['seconds']:.0f}", ("yes" if row["passed"] else "**no**") + changed]) + " |\n"
    for row in rows:
        sheet = f"{row['recipe']}-{row['dims']}d.png"
        if (page / sheet).exists():
            picture = f'<img src="{sheet}" alt="real above, samples below" width="1056">'
            text += f"\n## {row['system']} (`{row['recipe']}`, {row['dims']}D)\n\n{picture}\n"
            text += f"\nWithout a value{_why(row)}.\n" if _why(row) else ""
    (page / "README.md").write_text(text)


def _why(row: dict[str, Any]) -> str:
    """Return why a row has no value, where it says so."""
    why = row.get("why") or row.get("error")
    return f": {why}" if why else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
