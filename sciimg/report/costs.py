"""What a run cost, stage by stage: the same numbers for a table in words and for a script."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sciimg.report.model import Column, Table
from sciimg.report.words import number

SUMS = ("wall_s", "cpu_s", "gpu_s", "read_bytes", "written_bytes", "output_bytes", "energy_wh")
PEAKS = ("peak_mb", "peak_tree_mb", "peak_gpu_mb")
TITLES = ("Wall", "Processor", "GPU", "Memory", "Read", "Written", "Kept", "Energy")
UNKNOWN = "?"
_EARLIER = (
    "Stages that an earlier version carried out tell their times, the memory of one process and what they keep; no more was recorded."
)
_FOLD = "fold-"

Cost = Mapping[str, Any]  # as the ledger keeps it under ``timings``, with ``output_bytes``


def cost_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the costs in a ledger entry; a ledger of an earlier version knows fewer."""
    known = dict(entry.get("timings", {}))
    return known | {"output_bytes": entry.get("outputs", {}).get("bytes")}


def totals(costs: Iterable[Cost]) -> dict[str, Any]:
    """Return sums of what adds up and the largest of peaks over stages; what a stage does not know is left out of a sum and counted.

    ``wall_s`` is that of all stages one after another, also where some ran at the same time.
    """
    rows = list(costs)
    found: dict[str, Any] = {}
    for name in (*SUMS, *PEAKS):
        values = [row[name] for row in rows if row.get(name) is not None]
        found[name] = round(sum(values) if name in SUMS else max(values), 6) if values else None
    lacking = {name: sum(row.get(name) is None for row in rows) for name in (*SUMS, *PEAKS)}
    return found | {"unknown_in": {name: n for name, n in lacking.items() if n}, "attempts": sum(row.get("attempts", 1) for row in rows)}


def processor_hours(costs: Mapping[str, Cost]) -> dict[str, float]:
    """Return processor hours by what they were spent on: the study itself, and its folds where it has any."""
    spent = {"study": 0.0, "folds": 0.0}
    for stage, cost in costs.items():
        spent["folds" if stage.startswith(_FOLD) else "study"] += (cost.get("cpu_s") or 0.0) / 3600
    return {what: round(hours, 4) for what, hours in spent.items() if hours or what == "study"}


def cells(cost: Cost) -> tuple[str, ...]:
    """Return a cost in words, one cell for each of ``TITLES``."""
    return (
        duration(cost.get("wall_s")),
        duration(cost.get("cpu_s")),
        duration(cost.get("gpu_s")) if cost.get("gpu_s") != 0 else "–",
        _memory(cost),
        *(size(cost.get(name)) for name in ("read_bytes", "written_bytes", "output_bytes")),
        energy(cost.get("energy_wh")),
    )


def reasons(costs: Sequence[Cost]) -> list[str]:
    """Return why something is not known, each reason once."""
    names = {"energy_wh": "Energy", "read_bytes": "Bytes read", "written_bytes": "Bytes written", "peak_tree_mb": "Memory of all processes"}
    found = {_EARLIER for cost in costs if "attempts" not in cost}
    found |= {f"{names.get(name, name)}: {why.rstrip('.')}." for cost in costs for name, why in cost.get("unknown", {}).items()}
    return sorted(found)


def unseen(costs: Iterable[Cost]) -> float:
    """Return how many seconds of attempts that were killed may be missing at most."""
    return float(sum(cost.get("unseen_s") or 0.0 for cost in costs))


def _memory(cost: Cost) -> str:
    """Return the peak of the largest process, and of all that lived at the same time where that is clearly more."""
    one, tree = cost.get("peak_mb"), cost.get("peak_tree_mb")
    if one is None:
        return UNKNOWN
    return f"{one:.0f} MiB" if tree is None or tree < 1.1 * one else f"{one:.0f} ({tree:.0f}) MiB"


def duration(seconds: float | None) -> str:
    """Return ``12.3 s``, ``4 min 05 s`` or ``3 h 12 min``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02} min" if hours else f"{minutes} min {rest:02} s"


def size(count: float | None) -> str:
    """Return bytes in powers of a thousand."""
    if count is None:
        return UNKNOWN
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{number(count)} {unit}"
        count /= 1000
    return f"{number(count)} TB"


def energy(watt_hours: float | None) -> str:
    """Return watt-hours with three digits."""
    return UNKNOWN if watt_hours is None else f"{watt_hours:.3g} Wh"


def table(costs: Mapping[str, Cost]) -> Table:
    """Return the costs of stages, in the order of their beginning, with those of all in the last row."""
    order = sorted(costs, key=lambda stage: str(costs[stage].get("started", "")))
    rows = [(stage, *cells(costs[stage])) for stage in order]
    columns = (Column(title="Stage", short=True), *(Column(title=title, numeric=True, short=True) for title in TITLES))
    return Table(caption="What it cost", columns=columns, rows=(*rows, ("all", *cells(totals(costs.values())))), compact=True)


def lines(rows: Sequence[Sequence[str]], titles: Sequence[str]) -> list[str]:
    """Return a table for a terminal: words to the left, numbers to the right, nothing wider than it must be."""
    table = [tuple(titles), *map(tuple, rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(titles))]
    left = (0, 1, *(i for i, title in enumerate(titles) if title == "Known from"))

    def line(row: Sequence[str]) -> str:
        cells = (cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(cells).rstrip()

    return [line(row) for row in table]
