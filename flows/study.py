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

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.engines import Runner, engine
from flows.parameters import check_study_parameters
from flows.shown import Shown
from flows.slots import Slots
from flows.told import ToldError, veiled
from flows.unheard import outlive_reader
from sciimg.errors import CheckpointedError, Problem, SciimgError
from sciimg.files import hold
from sciimg.stages.ledger import LOCK, Run, Stage, log
from sciimg.stages.outcome import summary, tell
from sciimg.stages.overview import digest8, gate_rows, sample_sheet, stage_rows
from sciimg.stages.plan import plan, plan_of


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

    Raises
    ------
    InputError
        What is wrong with a parameter.
    ToldError
        What a stage reported, with a text that names no file of images: Prefect keeps it.
    """
    outlive_reader()
    study = check_study_parameters(study_file, workdir, slots, engine_name, cluster)
    shown = Shown(study.name)
    shown.name(f"{study.name}-{digest8(study.digest)}", (study.name, digest8(study.digest)))
    with veiled(f"The run of {study_file} in {workdir} could not go on", "`sciimg run` on the same study says more."):
        run = Run.begin(Path(study_file), Path(workdir))
        with hold(run.path / LOCK), engine(engine_name, slots, cluster) as runner:
            futures: dict[str, Any] = {}
            stages = plan(study)
            _carry_out_all(run, stages, futures, slots, runner, shown)
            if "decide" not in stages:  # how many groups can be left out is known after the split
                _carry_out_all(run, plan_of(run), futures, slots, runner, shown)
        outcome = summary(run)
        _show(run, outcome, shown)
    return outcome


def _show(run: Run, outcome: Mapping[str, Any], shown: Shown) -> None:
    """Show what a person wants to know first; the reasons, which may name images, stand in the report."""
    gates = gate_rows(run)
    passed = sum(gate["outcome"] == "passed" for gate in gates)
    lines = [
        f"# {outcome['study']}: {outcome['decision']}",
        f"{passed} of {len(gates)} gates passed. Reasons, pictures and everything else: `{outcome['report']}`",
        f"Check it: `sciimg audit {outcome['release']}`",
        f"Study `{outcome['digest']}`",
    ]
    shown.words("decision", "\n\n".join(lines))
    shown.table("gates", gates, f"Gates: {outcome['decision']}")
    shown.table("stages", stage_rows(run), "What each stage took; the times of a stage that was done before are those of then")
    shown.link("report", Path(outcome["report"]), "The report, on the machine of the run")
    sheet = sample_sheet(run)
    if sheet is not None:
        shown.picture("samples", sheet, "Released synthetic images, drawn at random")


def _carry_out_all(run: Run, stages: Mapping[str, Stage], futures: dict[str, Any], slots: int, runner: Runner, shown: Shown) -> None:
    """Start every stage that has none of the ``futures`` yet, and wait for the end of all; raise what a stage reported."""
    free = Slots(slots, list(stages))
    for name, stage in stages.items():
        if name not in futures:
            futures[name] = stage_task.with_options(name=name, task_run_name=name).submit(
                str(run.path), name, free, runner, return_state=False, wait_for=[futures[n] for n in stage.needs]
            )
    shown.progress(0, len(futures))
    done = 0
    for future in as_completed(list(futures.values())):
        future.wait()  # its state is the server's, which may lag behind, until it was waited for
        done += future.state.is_completed()
        shown.progress(done, len(futures))
    failed = [future.state.result(raise_on_failure=False) for future in futures.values() if future.state.is_failed()]
    errors = [error for error in failed if isinstance(error, BaseException)]
    if errors:
        raise next((e for e in errors if isinstance(e, SciimgError)), errors[0])


def _came_back_corrupt(task: Any, task_run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, SciimgError) and any(p.kind == "corrupt-output" for p in error.problems)


# The ledger knows what is done. No tags: a task that has some asks the server for a slot before it begins, and waits where there is none.
@task(cache_policy=NO_CACHE, persist_result=False, retries=1, retry_condition_fn=_came_back_corrupt)
def stage_task(folder: str, name: str, free: Slots, runner: Runner) -> str:
    """Run one stage in a supervised process; raise what it reports."""
    run = Run(Path(folder))
    with veiled(f"Stage {name!r} could not begin", f"`python -m sciimg.stages {name} {folder}` says more."):
        stage = plan_of(run)[name]
        if stage.is_done(run):
            tell(run, stage, "done before")
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
        hint = f"They stand beside {log_file}; the next run of this study goes on from here."
        expected = code if code in (1, 2, CheckpointedError.exit_code) else 1
        raise ToldError(_problems(run, stage, code, log_file), f"Stage {stage.name!r} has failed", hint, expected)
    tell(run, stage, f"done in {time.monotonic() - started:.1f} s")


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
