"""Answers in: how many a second the readers' page takes from eight clients at once, each on the disk before it is confirmed.

Also how long a picture takes to arrive, real and synthetic: no difference may be told by the clock. Rates hold on an idle machine only:
the load is printed, and beside it the processor time of the server, which holds on a busy one, too. The floor is what the disk confirms by
itself.

Run ``python tests/benchmarks/bench_review.py [--out FILE.json] [--data FOLDER] [--clients 8]``.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import reading
from scipy import stats

from sciimg.review.chain import Chain

VERSIONS = ("sciimg", "fastapi", "uvicorn", "starlette")
GOAL = 288  # posts a second


def answers(folder: Path, clients: int) -> dict[str, Any]:
    """Let every client read 100 items as fast as it can."""
    server = reading.Server(folder, kind="noise", readers=clients, items=90, catch_pairs=1)
    before, start = _processor_s(server.process.pid), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        count = sum(len(kept) for kept in pool.map(reading.client_of, server.links))
    wall, busy = time.perf_counter() - start, _processor_s(server.process.pid) - before
    server.stop()
    return {
        "row": f"answers, {clients} clients",
        "count": count,
        "per_s": round(count / wall),
        "server_ms": round(1000 * busy / count, 2),
        "goal": GOAL,
    }


def floor(folder: Path) -> dict[str, Any]:
    """Add rows of the same kind to a chain, without a server."""
    chain, n = Chain(folder / "floor.sqlite", {"row": "opened"}), 300
    start = time.perf_counter()
    for i in range(n):
        chain.append({"row": "answer", "item": f"r1-{i:03d}", "answer": "real", "comment": "x" * 80})
    wall = time.perf_counter() - start
    chain.close()
    return {"row": "rows on the disk", "count": n, "per_s": round(n / wall)}


def pictures(folder: Path) -> dict[str, Any]:
    """Fetch every picture of a reader as the page does, when it is its turn."""
    server = reading.Server(folder, kind="tissue", readers=1, items=24, catch_pairs=0)
    key = reading.study(folder / "key", reading.plan_of(readers=1, items=24, catch_pairs=0), "tissue")[0].key
    base, token = server.links[0].split("#")
    took: dict[str, list[float]] = {"real": [], "synthetic": []}
    for line in key.of("reader-1"):
        own = []
        for _ in range(40):
            request = urllib.request.Request(f"{base}api/items/{line.item}/0", headers={"Authorization": f"Bearer {token}"})
            start = time.perf_counter()
            with urllib.request.urlopen(request) as reply:
                reply.read()
            own.append(1000 * (time.perf_counter() - start))
        took[line.truth].append(statistics.median(own))  # neighbours in time are alike, so an item counts once
        reading.client_of(server.links[0], 1)
    server.stop()
    medians = {f"{name}_ms": round(statistics.median(times), 2) for name, times in took.items()}
    p = float(stats.mannwhitneyu(took["real"], took["synthetic"]).pvalue)
    return {"row": "a picture of 4 kB, medians of items", "count": sum(map(len, took.values())), **medians, "p_mann_whitney": round(p, 3)}


def _processor_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        for i, measure in enumerate((floor, lambda place: answers(place, options.clients), pictures)):
            place = Path(folder, str(i))
            place.mkdir()
            rows.append(measure(place) | {"load": round(os.getloadavg()[0], 2)})
            print("   ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    if options.out:
        about = {"date": datetime.now(UTC).date().isoformat(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
        options.out.write_text(json.dumps({**about, "versions": {n: version(n) for n in VERSIONS}, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
