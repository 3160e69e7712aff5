"""The study flow over stages that only wait and write, for tests of what happens around stages: nothing is trained.

The flow, its engine's processes, the ledger and the locks are the real ones. ``SMALL_PARTS`` says how many files a stage writes,
``SMALL_PART_S`` how long each takes.
``python -m small_study STAGE RUN`` is one stage, as ``python -m sciimg.stages`` is.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sciimg.files import write_bytes, write_json, write_text
from sciimg.protocol import load_study
from sciimg.records import Decision, GateResult
from sciimg.stages.ledger import Run, Stage, perform
from sciimg.stages.supervision import start, watch_parent

GATE = GateResult(
    gate="g", recipe="a", metric="m", outcome="failed", value=1.0, ci95=(0.5, 1.5), rule="m >= 2", reason="1 < 2 (subject-smith)"
)


def small_plan(*_: object) -> dict[str, Stage]:
    stages = [
        Stage("ingest", (), _wait),
        Stage("train-a", ("ingest",), _wait, heavy=True),
        Stage("train-b", ("ingest",), _wait, heavy=True),
        Stage("decide", ("train-a", "train-b"), _decide),
        Stage("release", ("decide",), _release),
    ]
    return {stage.name: stage for stage in stages}


def _wait(run: Run, out: Path) -> None:
    for part in range(int(os.environ.get("SMALL_PARTS", "4"))):
        place = out / f"part-{part}"
        if not place.exists():
            time.sleep(float(os.environ.get("SMALL_PART_S", "0.5")))
            write_bytes(place, hashlib.sha256(f"{out.name} {part}".encode()).digest() * 1000)


def _decide(run: Run, out: Path) -> None:
    refused = Decision(
        study=run.loaded.study.digest,
        decision="refused",
        reasons=("gate 'g' failed: 1 < 2 (subject-smith)",),
        released=None,
        gates=(GATE,),
        per_recipe={"a": "refused"},
    )
    write_json(out / "decision.json", refused.as_json())


def _release(run: Run, out: Path) -> None:
    write_text(out / "release/report.html", "a report")


def _run_stage(stage: str, run: Path, log_file: Path) -> int:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as stream:
        return start([sys.executable, "-m", "small_study", stage, str(run)], output=stream).wait()


@contextmanager
def small_engine(name: str, slots: int, cluster: str | None = None) -> Iterator[object]:
    yield _run_stage


if __name__ == "__main__":
    watch_parent()
    perform(small_plan()[sys.argv[1]], Run(Path(sys.argv[2])))
else:
    import flows.study as flow
    from sciimg.stages import outcome, overview

    flow.plan = flow.plan_of = outcome.plan_of = overview.plan_of = small_plan  # type: ignore[assignment]
    flow.engine = small_engine  # type: ignore[assignment]
    flow.check_study_parameters = lambda study_file, *others: load_study(Path(study_file)).study  # type: ignore[assignment]
    study_flow = flow.study_flow
