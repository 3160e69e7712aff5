"""What a finished run came to, at one look: gates, stages and a sheet of what is released. No file of images is named in it."""

import json
from pathlib import Path
from typing import Any

from sciimg.records import Decision, GateResult
from sciimg.stages.ledger import Run
from sciimg.stages.plan import plan_of

Row = dict[str, Any]


def gate_rows(run: Run) -> list[Row]:
    """Return one row a gate: what it asked for, what it met and how that ended.

    Reasons stay in the report: they may name images.
    """
    decision = Decision.model_validate_json((run.folder("decide") / "decision.json").read_text(encoding="utf-8"))
    return [_gate(gate) for gate in decision.gates]


def stage_rows(run: Run) -> list[Row]:
    """Return one row a stage that is done: when it began, its seconds, processor seconds, megabytes and files."""
    rows = []
    for name in plan_of(run):
        entry = run.ledger(name)
        if entry is None:
            continue
        times, made = entry["timings"], entry["outputs"]
        peak = times.get("peak_mb")
        rows.append(
            {"stage": name, "began": times["started"], "wall s": times["wall_s"], "processor s": times["cpu_s"], "peak MB": peak}
            | {"files": made["files"], "MB": round(made["bytes"] / 1e6, 1)}
        )
    return rows


def sample_sheet(run: Run) -> str | None:
    """Return some released images in a row, as a PNG in a ``data:`` address; None unless the study was accepted.

    Images of a study that was refused are not released, so they are not shown either, and real images never are.
    """
    from sciimg.report.evidence import read_run
    from sciimg.report.plates import image_strip
    from sciimg.report.sections.pictures import TILES, show_of

    evidence = read_run(run.path)
    released = None if evidence.decision is None else evidence.decision.released
    show = show_of(evidence)
    made = next((r.gallery.get("synthetic.images") for r in evidence.recipes if r.plan.name == released), None)
    if show is None or made is None or not len(made):
        return None
    return f"data:image/png;base64,{image_strip(made[: TILES[made.ndim - 2]], show, 'Synthetic images, drawn at random.').data}"


def digest8(digest: str) -> str:
    """Return the short form of a digest that run folders carry."""
    return digest.removeprefix("sha256:")[:8]


def _gate(gate: GateResult) -> Row:
    interval = "" if gate.ci95 is None else f"{gate.ci95[0]:.4g} to {gate.ci95[1]:.4g}"
    value = "" if gate.value is None else f"{gate.value:.4g}"
    return {
        "recipe": gate.recipe or "all",
        "gate": gate.gate,
        "rule": gate.rule,
        "value": value,
        "95 % interval": interval,
        "outcome": gate.outcome,
    }


def decision_of(run: Run) -> dict[str, Any]:
    """Return the decision as it lies in the run."""
    value: dict[str, Any] = json.loads((run.folder("decide") / "decision.json").read_text(encoding="utf-8"))
    return value


def release_of(run: Run) -> Path:
    """Return where the release of a run lies."""
    return run.folder("release") / "release"
