"""A prediction as a table for people."""

from collections.abc import Callable, Mapping
from typing import Any


def table(about: Mapping[str, Any]) -> str:
    """Return what :func:`sciimg.stages.launch.dry_run` says, for people."""
    from sciimg.report.costs import duration, lines, size

    def shown(value: Mapping[str, float], word: Callable[[float], str]) -> tuple[str, str]:
        return word(value["value"]), f"{word(value['low'])} to {word(value['high'])}"

    def row(name: str, state: str, own: Mapping[str, Any]) -> tuple[str, ...]:
        if "unknown" in own:
            return (name, state, "?", "", "?", "?", "?", "")
        wall = shown(own["wall_s"], duration)
        cpu, kept = duration(own["cpu_s"]["value"]), size(own["kept_bytes"]["value"])
        return (name, state, *wall, cpu, f"{own['peak_mb']['value']:.0f} MiB", kept, own.get("known_from", ""))

    stages = [*about["stages"], *about["later"]]
    rows = [row(s["stage"], "to do", s["predicted"]) if "predicted" in s else (s["stage"], "done", *[""] * 6) for s in stages]
    found, whole = about["predicted"], about["predicted"]["totals"]
    if whole:
        rows.append(row("all", "at least" if whole["at_least"] else "", whole))
    head = ("Stage", "State", "Wall", "from, to", "Processor", "Memory", "Kept", "Known from")
    said = lines(rows, head)
    said.append(f"{len(about['stages'])} stages" + ("" if about["folds"] is not None else "; the others are known after the split"))
    if found["disk"]:
        told = [f"{name} {shown(d['needed_bytes'], size)[0]} of {size(d['free_bytes'])} free" for name, d in found["disk"].items()]
        said.append(f"Disk: {', '.join(told)}")
    return "\n".join([*said, *found["notes"], *(f"Warning  {w}" for w in found["warnings"])])
