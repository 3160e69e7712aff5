"""The table of `make test-hpc`: what was lost, doubled or changed by each fault."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "reports/benchmarks/hpc.json"
_COLUMNS = {"lost": 5, "doubled": 8, "bytes_equal": 12, "jobs": 5, "restarts": 9, "seconds": 8}
rows: dict[str, dict[str, Any]] = {}


def note(test: str, row: dict[str, Any], since: float) -> None:
    """Add a row: what came of a test that began at ``since`` on the monotonic clock."""
    rows[test.removeprefix("test_").replace("_", " ")] = row | {"seconds": round(time.monotonic() - since, 1)}


def table() -> list[str]:
    """Return the rows so far as lines of text."""
    if not rows:
        return []
    head = f"{'fault':<64}" + "".join(f" {name.replace('_', ' '):>{width}}" for name, width in _COLUMNS.items())
    return [head, *(f"{name:<64}" + "".join(f" {row.get(k, '-')!s:>{w}}" for k, w in _COLUMNS.items()) for name, row in rows.items())]


def keep(path: str) -> None:
    """Put the rows into the results, beside those of earlier runs; ``path`` is where programs are."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"faults": {}}
    for program, words in {"slurm": ["slurmctld", "-V"], "prefect": ["prefect", "--version"]}.items():
        try:
            known[program] = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PATH": path}).stdout.strip()
        except FileNotFoundError:
            continue
    known |= {"machine": f"{os.cpu_count()} cores, {platform.machine()}", "date": time.strftime("%Y-%m-%d", time.gmtime())}
    known["faults"] = dict(sorted((known["faults"] | rows).items()))
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")
