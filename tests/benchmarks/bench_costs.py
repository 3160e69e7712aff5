"""Predicted against real: what `sciimg run --dry-run` says of runs, beside what they then took.

    python tests/benchmarks/bench_costs.py predict protocols/smoke.yaml --out before.json     before the run, with an empty work folder
    python tests/benchmarks/bench_costs.py compare before.json RUN --out reports/benchmarks/costs.json
    python tests/benchmarks/bench_costs.py again RUN... --out FILE                            runs that are there already: unit costs alone

``again`` compares what the unit costs of :mod:`sciimg.stages.forecast.usual` say of a run's stages with what they took, in units of what
``verify`` took, which is the same work in every run: so it tells how far the *proportions* are off, whatever the machine did that day.
Training and generation have no unit costs and are left out there; ``compare`` has them.
"""

import argparse
import datetime
import json
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from sciimg.files import write_json
from sciimg.stages.costs.measured import machine
from sciimg.stages.forecast.earlier import plain
from sciimg.stages.forecast.material import Material, ingested, labels_of
from sciimg.stages.forecast.usual import usual
from sciimg.stages.launch import dry_run
from sciimg.stages.ledger import Run


def predicted(study: Path, slots: int) -> dict[str, Any]:
    """Return what a dry run says where nothing was run before."""
    with tempfile.TemporaryDirectory() as folder:
        about = dry_run(study, Path(folder), slots=slots)
    stages = {s["stage"]: s["predicted"] for s in about["stages"]}
    return {"study": about["study"], "digest": about["digest"], "slots": slots, "totals": about["predicted"]["totals"], "stages": stages}


def compare(before: dict[str, Any], run: Run) -> dict[str, Any]:
    """Return real over predicted, stage by stage: above 1 it took more than was said."""
    rows = {}
    for name, said in before["stages"].items():
        entry = run.ledger(name)
        if entry is None or "cpu_s" not in said:
            continue
        spent = entry["timings"] | {"kept_bytes": entry["outputs"]["bytes"]}
        rows[name] = {"known_from": said["known_from"]} | {
            quantity: {
                "predicted": said[quantity]["value"],
                "real": spent[quantity],
                "ratio": round(spent[quantity] / max(said[quantity]["value"], 1e-9), 2),
                "in_range": said[quantity]["low"] <= spent[quantity] <= said[quantity]["high"],
            }
            for quantity in ("cpu_s", "wall_s", "peak_mb", "kept_bytes")
        }
    sums = {q: {k: round(sum(r[q][k] for r in rows.values()), 1) for k in ("predicted", "real")} for q in ("cpu_s", "kept_bytes")}
    inside = {q: f"{sum(r[q]['in_range'] for r in rows.values())} of {len(rows)}" for q in ("cpu_s", "wall_s", "peak_mb", "kept_bytes")}
    return {"study": before["study"], "slots": before["slots"], "in_range": inside, "sums": sums, "stages": rows}


def again(run: Run) -> dict[str, Any]:
    """Return real over usual costs of a run that is there, both in units of what `verify` took, and over usual sizes."""
    study = run.loaded.study
    about = ingested(run.folder("ingest") / "collection", replace(Material(0, 0, 0, (), "uint16"), **labels_of(study.sources[0])))
    reference = usual("verify", study, about)
    verify = run.ledger("verify")
    assert reference is not None and verify is not None
    pace = verify["timings"]["cpu_s"] / reference.cpu_s
    rows = {}
    for path in sorted(run.path.glob("*/stage.json")):
        entry = json.loads(path.read_text())
        typical = usual(plain(path.parent.name)[0], study, about)
        if typical is None or path.parent.name in ("verify", "decide"):
            continue
        spent = entry["timings"]
        rows[path.parent.name] = {
            "cpu_s": [round(typical.cpu_s * pace, 1), spent["cpu_s"], round(spent["cpu_s"] / pace / typical.cpu_s, 2)],
            "peak_mb": [round(typical.peak_mb), spent["peak_mb"], round(spent["peak_mb"] / typical.peak_mb, 2)],
            "kept_bytes": [round(typical.kept_bytes), entry["outputs"]["bytes"], round(entry["outputs"]["bytes"] / typical.kept_bytes, 2)],
        }
    return {"study": study.name, "verify_cpu_s": verify["timings"]["cpu_s"], "predicted, real, ratio": rows}


def main() -> None:
    """Carry out one of the three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("predict", "compare", "again"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    about = {"date": datetime.date.today().isoformat(), "machine": machine(), "python": platform.python_version()}
    match asked.what:
        case "predict":
            write_json(asked.out, about | predicted(asked.paths[0], asked.slots))
        case "compare":
            found = compare(json.loads(asked.paths[0].read_text()), Run(asked.paths[1]))
            kept = json.loads(asked.out.read_text()) if asked.out.exists() else about
            kept["predicted_before_the_run"] = [r for r in kept.get("predicted_before_the_run", []) if r["study"] != found["study"]] + [
                found
            ]
            write_json(asked.out, kept)
        case "again":
            kept = json.loads(asked.out.read_text()) if asked.out.exists() else about
            write_json(asked.out, kept | {"usual_costs_beside_earlier_runs": [again(Run(path)) for path in asked.paths]})


if __name__ == "__main__":
    main()
