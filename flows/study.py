"""The flow behind ``sciimg run``: one Prefect task a stage, each stage in a process of its own.

Tasks exchange stage names, never arrays. What is done is decided by the ledger in the run folder, not by Prefect: the same run can be
taken up after any crash, with another server or none.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, tags, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from flows.engines import Runner, engine
from flows.slots import Slots
from sciimg.errors import Problem, SciimgError
from sciimg.stages.ledger import Run, Stage, log
from sciimg.stages.plan import plan, plan_of


class StageFailedError(SciimgError):
    """A stage ended with an error; carries the problems it left and its exit code."""

    def __init__(self, problems: list[Problem], exit_code: int) -> None:
        super().__init__(problems)
        self.exit_code = exit_code


@flow(name="sciimg-study", task_runner=ThreadPoolTaskRunner(max_workers=64), validate_parameters=False)  # type: ignore[arg-type]
def study_flow(
    study_file: str, workdir: str = "runs", slots: int = 2, engine_name: str = "local", cluster: str | None = None
) -> dict[str, Any]:
    """Carry out a study from its file to its release.

    Parameters
    ----------
    study_file : str
        Path of the study's YAML.
    workdir : str
        Folder of the runs.
    slots : int
        How many heavy stages may run at the same time; results do not depend on it.
    engine_name : str
        Where stages run: ``"local"``, ``"dask"`` or ``"slurm"``.
    cluster : str, optional
        Path of the file that says what stages ask of a Slurm cluster; default ``cluster.yaml``.

    Returns
    -------
    dict
        The run folder and the decision, as :func:`summary` reads them.
    """
    run = Run.begin(Path(study_file), Path(workdir))
    digest8 = run.loaded.study.digest.removeprefix("sha256:")[:8]
    with tags(digest8, run.loaded.study.name), engine(engine_name, slots, cluster) as runner:
        futures: dict[str, Any] = {}
        stages = plan(run.loaded.study)
        _carry_out_all(run, stages, futures, slots, runner)
        if "decide" not in stages:  # how many groups can be left out is known after the split
            _carry_out_all(run, plan_of(run), futures, slots, runner)
    outcome = summary(run)
    create_markdown_artifact(
        key="decision",
        markdown=f"# {outcome['decision']}\n\n" + "\n".join(f"- {r}" for r in outcome["reasons"]) + f"\n\nReport: `{outcome['report']}`",
    )
    get_run_logger().info("%s: %s", outcome["study"], outcome["decision"])
    return outcome


def _carry_out_all(run: Run, stages: Mapping[str, Stage], futures: dict[str, Any], slots: int, runner: Runner) -> None:
    """Start every stage that has none of the ``futures`` yet, and wait for the end of all; raise what a stage reported."""
    free = Slots(slots, list(stages))
    for name, stage in stages.items():
        if name not in futures:
            futures[name] = stage_task.with_options(name=name, task_run_name=name).submit(
                str(run.path), name, free, runner, return_state=False, wait_for=[futures[n] for n in stage.needs]
            )
    wait(list(futures.values()))
    failed = [future.state.result(raise_on_failure=False) for future in futures.values() if future.state.is_failed()]
    errors = [error for error in failed if isinstance(error, BaseException)]
    if errors:
        raise next((e for e in errors if isinstance(e, SciimgError)), errors[0])


def _came_back_corrupt(task: Any, task_run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, SciimgError) and any(p.kind == "corrupt-output" for p in error.problems)


@task(cache_policy=NO_CACHE, persist_result=False, retries=1, retry_condition_fn=_came_back_corrupt)  # the ledger knows what is done
def stage_task(folder: str, name: str, free: Slots, runner: Runner) -> str:
    """Run one stage in a supervised process; raise what it reports."""
    run = Run(Path(folder))
    stage = plan_of(run)[name]
    if stage.is_done(run):
        log(f"{name}: done before")
        return name
    if not stage.heavy:
        _carry_out(run, stage, runner)
        return name
    with free.taken(name):
        _carry_out(run, stage, runner)
    return name


def _carry_out(run: Run, stage: Stage, runner: Runner) -> None:
    log(f"{stage.name}: begins")
    started = time.monotonic()
    log_file = run.path / "logs" / f"{stage.name}.log"
    code = runner(stage.name, run.path, log_file)
    if code != 0:
        raise StageFailedError(_problems(run, stage, code, log_file), code if code in (1, 2) else 1)
    log(f"{stage.name}: done in {time.monotonic() - started:.1f} s")


def _problems(run: Run, stage: Stage, code: int, log_file: Path) -> list[Problem]:
    """Return what the stage said before it ended, or the end of its log when it could not say anything."""
    note = run.path / "logs" / f"{stage.name}.problems.json"
    if note.exists():
        said = [Problem(**p) for p in json.loads(note.read_text())["problems"]]
        return [replace(p, where=f"{stage.name}: {p.where}") for p in said] if stage.name.startswith("fold-") else said  # which fold it was
    last = (log_file.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return [
        Problem(
            str(log_file),
            "stage-failed",
            f"Stage {stage.name!r} ended with {how}: {last} Run the same command again to continue from where it stopped.",
        )
    ]


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
