"""Start a study's flow in a supervised process group and bring back what it came to."""

import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem, SciimgError
from sciimg.files import hold, unshared_locks
from sciimg.stages.ledger import LOCK, Run, log, run_folder
from sciimg.stages.outcome import finished, tell
from sciimg.stages.plan import folds_of, plan, plan_of
from sciimg.stages.supervision import start

ENGINES = ("local", "dask", "slurm")
_JOBS = 64  # of one study in the queue at the same time, if nobody says how many


def launch(study: Path, workdir: Path, *, engine: str = "local", slots: int = 0, cluster: Path | None = None) -> dict[str, Any]:
    """Carry out a study; return the JSON of ``sciimg run``.

    The flow, its embedded Prefect server and every stage live in one process group that ends when this process does.

    Parameters
    ----------
    study, workdir : Path
        The study's YAML, and the folder of the runs.
    engine : str
        ``"local"`` runs stages as processes of this machine, ``"dask"`` on a Dask cluster (``DASK_SCHEDULER_ADDRESS`` or a local one),
        ``"slurm"`` as jobs.
    slots : int
        Heavy stages at the same time; 0 means one a core, and with Slurm as many as there are.
    cluster : Path, optional
        For Slurm: the file that says what each stage asks for; default ``cluster.yaml`` here.

    Raises
    ------
    SciimgError
        With every problem that the flow or its stages named.
    """
    from sciimg.protocol import load_study
    from sciimg.provenance.keys import unlock

    check_engine(engine, study, workdir, cluster)
    check_recipes(study)
    run = Run(run_folder(load_study(study).study, workdir))
    if (found := finished(run)) is not None:  # nothing to carry out needs no key, no flow and no server
        for stage in plan_of(run).values():
            tell(run, stage, "done before")
        return found
    unlock()
    run = Run.begin(study, workdir)
    with hold(run.path / LOCK):  # another run of this study is told of at once; the flow holds the lock while it works
        pass
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        places = slots or (_JOBS if engine == "slurm" else os.cpu_count() or 1)
        command = [sys.executable, "-m", "flows", str(study), str(workdir), str(places), engine, str(result)]
        command += [str(cluster)] if cluster else []
        child = start(command, session=True)
        try:
            code = child.wait()
        finally:
            with suppress(ProcessLookupError):  # what is left of the group, e.g. an embedded server that was slow to stop
                os.killpg(child.process.pid, signal.SIGKILL)
        if not result.exists():
            message = (
                f"The flow ended with exit code {code} and no result. Run the same command again to continue; logs are beside the stages."
            )
            raise SciimgError(Problem(str(run.path / "logs"), "flow-failed", message))
        value = json.loads(result.read_text())
    if value["exit_code"] != 0:
        error = SciimgError([Problem(**p) for p in value["problems"]])
        error.exit_code = value["exit_code"]
        raise error
    outcome: dict[str, Any] = value["outcome"]
    return outcome


def check_engine(engine: str, study: Path, workdir: Path, cluster: Path | None = None) -> None:
    """Refuse an engine that this version or this machine does not have, and jobs that the cluster would not take.

    Raises
    ------
    InputError
    """
    if engine not in ENGINES:
        message = f"--engine is one of {', '.join(ENGINES)} in this version; got {engine!r}."
        raise InputError(Problem("--engine", "unknown-engine", message))
    if engine != "slurm":
        if cluster is not None:
            raise InputError(
                Problem("--cluster", "no-use", f"A cluster file is for --engine slurm; the engine is {engine!r}. Leave it out.")
            )
        return
    from sciimg.protocol import load_study
    from sciimg.protocol.cluster import DEFAULT_FILE, load_cluster
    from sciimg.stages.slurm.engine import check_stages
    from sciimg.stages.slurm.queue import check_installed

    loaded, plan_of_study = load_cluster(cluster or DEFAULT_FILE), load_study(study).study
    check_installed()
    check_stages(loaded, plan(plan_of_study, 1))
    if said := unshared_locks(workdir):
        log(f"Note: {said}")


def check_recipes(study: Path) -> None:
    """Refuse recipes and options that do not exist, and recipes without a condition that they need, before anything is written.

    The contract cannot know them.

    Raises
    ------
    InputError
        With every problem of every recipe of the study.
    """
    from sciimg.augmenters.recipes import get_recipe, too_small
    from sciimg.protocol import load_study
    from sciimg.protocol.models import GeneratedMasks

    problems: list[Problem] = []
    plan = load_study(study).study
    named = [(f"recipes.{recipe.name}", recipe.recipe, recipe.options) for recipe in plan.recipes]
    if isinstance(plan.generate.masks, GeneratedMasks):
        named.append(("generate.masks", plan.generate.masks.recipe, plan.generate.masks.options))
    for where, name, options in named:
        try:
            recipe = get_recipe(name, options, plan.dims)
            problems.extend(Problem(f"{study}: {where}", p.kind, p.message) for p in too_small(recipe))
            if where != "generate.masks":
                recipe.check_told(condition.kind for condition in plan.conditions)
        except InputError as error:
            problems.extend(Problem(f"{study}: {where}", p.kind, p.message) for p in error.problems)
    if problems:
        raise InputError(problems)


def describe_plan(study: Path, workdir: Path, engine: str = "local", cluster: Path | None = None) -> dict[str, Any]:
    """Return what a run would do: its folder, its stages and which of them are done. What a run would refuse at once is refused here.

    ``folds`` is None where one group is left out at a time and the split has not yet said how many there are: the stages end with it.
    """
    from sciimg.io.expand import expand
    from sciimg.protocol import load_study

    check_engine(engine, study, workdir, cluster)
    check_recipes(study)
    loaded = load_study(study)
    problems: list[Problem] = []
    for source in loaded.study.sources:
        try:
            expand(source.uri, loaded.folder, fetch=False)
        except InputError as error:
            problems += [Problem(f"{study}: sources.{source.name}", p.kind, p.message) for p in error.problems]
    if problems:
        raise InputError(problems)
    digest = loaded.study.digest
    folder = run_folder(loaded.study, workdir)
    run = Run(folder)
    begun = (folder / "run.json").exists()
    known = plan(loaded.study, folds_of(run))
    done: dict[str, bool] = {}
    for stage in known.values():  # in order, so that what a stage needs is known before it
        done[stage.name] = begun and all(done[n] for n in stage.needs) and stage.is_done(run)
    stages = [{"stage": s.name, "needs": list(s.needs), "done": done[s.name]} for s in known.values()]
    asked = loaded.study.validation.cross_validation
    folds = 0 if asked is None else asked.folds or folds_of(run)
    return {"study": loaded.study.name, "digest": digest, "run": str(folder), "folds": folds, "stages": stages}


def dry_run(study: Path, workdir: Path, engine: str = "local", slots: int = 0, cluster: Path | None = None) -> dict[str, Any]:
    """Return :func:`describe_plan` with what the stages that are not done will cost, beside each and in all; nothing is written.

    Parameters
    ----------
    slots, cluster
        As of :func:`launch`.
    """
    from sciimg.protocol import load_study
    from sciimg.stages.forecast.predict import each_fold, predict

    about = describe_plan(study, workdir, engine, cluster)
    loaded = load_study(study)
    stages = plan(loaded.study, about["folds"] or 0)  # where the folds are not known yet, the others can be told all the same
    done = dict.fromkeys(stages, False) | {s["stage"]: s["done"] for s in about["stages"]}
    found = predict(loaded, workdir, Run(Path(about["run"])), stages, done, slots)
    if about["folds"] is None:
        found["notes"] += each_fold(loaded.study, found["stages"])
    if engine != "local":
        found["notes"].append("How long stages wait for other machines is not predicted; their speed is taken to be that of this one.")
    predicted = found.pop("stages")
    beside = [s | ({"predicted": predicted[s["stage"]]} if s["stage"] in predicted else {}) for s in about["stages"]]
    later = [{"stage": name, "needs": list(stages[name].needs), "done": False, "predicted": predicted[name]} for name in predicted]
    shown = {s["stage"] for s in beside}
    return about | {"stages": beside, "later": [s for s in later if s["stage"] not in shown], "predicted": found}
