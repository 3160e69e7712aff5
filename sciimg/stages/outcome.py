"""What a run has come to: how each stage ended, and what the whole says once all are done."""

import json
from typing import Any

from sciimg.stages.ledger import Run, Stage, log
from sciimg.stages.plan import plan_of
from sciimg.stages.rehearsal import concerns


def tell(run: Run, stage: Stage, ended: str) -> None:
    """Say how a stage ended, and which gates of the study real images do not meet once that is known."""
    for line in (f"{stage.name}: {ended}", *concerns(run.folder(stage.name))):
        log(line)


def finished(run: Run) -> dict[str, Any] | None:
    """Return :func:`summary` of a run all of whose stages are done, whatever became of its flow; None where one is not."""
    if not (run.path / "run.json").exists():
        return None
    stages = plan_of(run)
    return summary(run) if "decide" in stages and all(stage.is_done(run) for stage in stages.values()) else None


def summary(run: Run) -> dict[str, Any]:
    """Return the result of a finished run: the JSON of ``sciimg run``."""
    decision = json.loads((run.folder("decide") / "decision.json").read_text())
    release = run.folder("release") / "release"
    return {
        "study": run.loaded.study.name,
        "digest": run.loaded.study.digest,
        "decision": decision["decision"],
        "reasons": decision["reasons"],
        "run": str(run.path),
        "release": str(release),
        "report": str(release / "report.html"),
    }
