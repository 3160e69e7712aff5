"""A heavy stage as one Slurm job: submitted once, found again by its name, continued by Slurm's own requeue.

The name of a job holds the digest of the run folder and of the stage's inputs, so a flow that comes back after a crash finds the job that
it submitted and waits for it. There is no other memory of jobs than Slurm's queue, and none of results than the ledger. How a job ended
stands in ``logs/<stage>.<job>.rc`` (exit code, node, digest of the file that tells the rest), written by the job and renamed into place.
"""

import hashlib
import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sciimg.errors import ClusterError
from sciimg.files import write_text
from sciimg.protocol.cluster import Cluster, LoadedCluster, Resources
from sciimg.records import digest_of
from sciimg.stages.ledger import LEDGER, Run, Stage, folder_digest, log
from sciimg.stages.plan import plan_of
from sciimg.stages.slurm.endings import Ending
from sciimg.stages.slurm.queue import Job, Queue, SilentError, ask, check
from sciimg.stages.supervision import run_stage
from sciimg.workers import slurm_workers

T = TypeVar("T")

_BODY = Path(__file__).with_name("job.sh")


class Slurm:
    """Runs stages of studies as jobs; a light stage runs here, where the flow runs.

    Parameters
    ----------
    loaded : LoadedCluster
        What each stage asks for.
    """

    def __init__(self, loaded: LoadedCluster) -> None:
        self.cluster = loaded.cluster
        self.queue = Queue(self.cluster.poll_s)

    def __call__(self, name: str, folder: Path, log_file: Path) -> int:
        """Run one stage and wait for its end; return its exit code.

        Raises
        ------
        JobError
            Where the job ended without the stage having said why: which job, node and log, and what to do.
        """
        run, log_file = Run(folder.absolute()), log_file.absolute()
        stage = plan_of(run)[name]
        if not stage.heavy:
            return run_stage(name, folder, log_file)
        title = job_name(stage, run)
        job = self._living(title) or self._submit(stage, run, title, log_file)
        return self._result(run, Ending(name, title, job, log_file, self.cluster.resources(name), self._end_of(title, job)))

    def _living(self, title: str) -> str | None:
        living = [job.id for job in self.queue.jobs(title, since=time.monotonic()) if not job.ended]
        if not living:
            return None
        log(f"{title}: job {living[0]} is there already")
        return living[0]

    def _submit(self, stage: Stage, run: Run, title: str, log_file: Path) -> str:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        ours = re.compile(re.escape(stage.name) + r"\.[0-9]+\.(rc|seen|part)")
        for old in [path for path in log_file.parent.iterdir() if ours.fullmatch(path.name)]:  # numbers of jobs come again one day
            old.unlink(missing_ok=True)
        wishes = self.cluster.resources(stage.name)
        script = log_file.with_suffix(".sbatch")
        command = ["sbatch", "--parsable", *_identity(title, log_file, self.cluster), *options(wishes), str(script)]
        write_text(script, _script(stage, run, log_file, wishes, self.cluster, command))
        job = ask(command).strip().split(";")[0]
        log(f"{title}: job {job} submitted")
        return job

    def _end_of(self, title: str, job: str) -> Job | None:
        """Wait until a job has left the queue; return what the queue still knows of it."""
        shown, since = "", time.monotonic()
        while True:
            try:
                found = next((j for j in self.queue.jobs(title, since=since) if j.id == job), None)
            except SilentError as error:
                state = error.problems[0].message
            else:
                if found is None or found.ended:
                    return found
                state = f"job {job} {found.state} on {found.nodes}" if found.nodes else f"job {job} {found.state} ({found.reason})"
            if state != shown:
                log(f"{title}: {state}")
            shown = state
            time.sleep(self.cluster.poll_s)

    def _result(self, run: Run, ending: Ending) -> int:
        """Return the exit code of the stage of a job that has ended, when all that it wrote can be seen here."""
        note = ending.log_file.with_name(f"{ending.stage}.{ending.job}.rc")
        patience_s = self.cluster.shared_folder_wait_s
        expected = ending.last is None or ending.last.state in ("COMPLETED", "FAILED", "OUT_OF_MEMORY")
        said = until(lambda: _read(note), patience_s if expected else 0)
        if said is None:
            raise ending.error()
        code, node, told = said
        ending = replace(ending, code=code, node=node)
        place = run.folder(ending.stage)
        if code == 0:
            if not until(lambda: delivered(place, told, read_all=self.cluster.check_outputs), patience_s):
                if not (place / LEDGER).exists():
                    raise ending.error("outputs-not-visible")
                _set_aside(place)
                raise ending.error("corrupt-output")
            return 0
        problems = ending.log_file.with_name(f"{ending.stage}.problems.json")
        if code in (1, 2) and told != "-" and until(lambda: _sha256(problems) == told, patience_s):
            return code
        raise ending.error()


def job_name(stage: Stage, run: Run) -> str:
    """Return the name under which the job of a stage is found again: same name, same folder and same inputs."""
    digest = digest_of({"run": str(run.path), "inputs": stage.inputs(run)})
    return f"sciimg-{stage.name}-{digest.removeprefix('sha256:')[:12]}"


def options(wishes: Resources) -> list[str]:
    """Return the options of sbatch for what a stage asks for."""
    asked = {
        "partition": wishes.partition,
        "account": wishes.account,
        "qos": wishes.qos,
        "time": wishes.time,
        "mem": wishes.memory,
        "cpus-per-task": wishes.cpus,
        "nodes": wishes.nodes,
        "ntasks": wishes.tasks,
        "ntasks-per-node": wishes.tasks // wishes.nodes,
        "gpus-per-node": wishes.gpus or None,
    }
    return [f"--{name}={value}" for name, value in asked.items() if value is not None] + list(wishes.options)


def check_stages(loaded: LoadedCluster, stages: dict[str, Stage]) -> None:
    """Ask Slurm about the jobs of every heavy stage before the first is submitted.

    Raises
    ------
    ClusterError
        With every job that Slurm would not take.
    """
    asked: dict[tuple[str, ...], str] = {}
    for stage in stages.values():
        if stage.heavy:
            asked.setdefault(tuple(options(loaded.cluster.resources(stage.name))), stage.name)
    problems = [p for wishes, name in asked.items() for p in check(f"{loaded.file}: stage {name}", wishes)]
    if problems:
        raise ClusterError(problems)


def delivered(place: Path, told: str, *, read_all: bool) -> bool:
    """Whether a finished stage lies here as its job left it.

    Parameters
    ----------
    place : Path
        The stage's folder.
    told : str
        SHA-256 of its ``stage.json`` as the job saw it.
    read_all : bool
        Whether every file is read again and compared with the digest in it.
    """
    if _sha256(place / LEDGER) != told:
        return False
    outputs = json.loads((place / LEDGER).read_text())["outputs"]
    try:
        return not read_all or folder_digest(place) == outputs
    except OSError:  # a file that is listed and cannot be opened yet
        return False


def until(look: Callable[[], T], patience_s: float) -> T:
    """Look until there is something, or patience is over; return what was seen last."""
    deadline = time.monotonic() + patience_s
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(min(1.0, patience_s))
    return seen


def _identity(title: str, log_file: Path, cluster: Cluster) -> list[str]:
    return [
        f"--job-name={title}",
        "--dependency=singleton",  # Slurm itself never runs two jobs of one name at a time
        "--requeue",
        f"--signal=B:USR1@{cluster.signal_lead_s}",
        f"--output={str(log_file).replace('%', '%%')}",
        "--open-mode=append",
        "--export=ALL",
    ]


def _script(stage: Stage, run: Run, log_file: Path, wishes: Resources, cluster: Cluster, command: list[str]) -> str:
    """Return the job's script: how it was submitted, the settings of the stage, and the part that all stages share."""
    seen = [run.path / "run.json", run.path / "study.yaml", *(run.folder(name) / LEDGER for name in stage.needs)]
    settings = {
        "STAGE": stage.name,
        "RUN": str(run.path),
        "NOTE": str(log_file.with_suffix("")),
        "PYTHON": cluster.python or sys.executable,
        "TASKS": wishes.tasks,
        "CPUS": wishes.cpus,
        "GRACE_S": cluster.signal_lead_s // 2,
        "WAIT_S": int(cluster.shared_folder_wait_s),
        "RESTARTS": cluster.restarts,
        "NEEDS": "\n".join(f"{_sha256(path)}  {path}" for path in seen),
    }
    divided = slurm_workers(**_workers(wishes, log_file.parent)) if wishes.workers else {}
    ready = [
        f'{{ {line}\n}} || {{ echo {shlex.quote(f"sciimg: environment[{i}] failed on node ")}"$here: "{shlex.quote(line)}; finish 126; }}'
        for i, line in enumerate(wishes.environment)
    ]
    head = ["#!/bin/bash", f"# {shlex.join(command)}", *(f"{key}={shlex.quote(str(value))}" for key, value in settings.items())]
    head += [f"export {key}={shlex.quote(value)}" for key, value in divided.items()]
    return "\n".join([*head, "make_ready() {", *(ready or [":"]), "}", _BODY.read_text()])


def _workers(wishes: Resources, logs: Path) -> dict[str, Any]:
    """Return what the jobs of a stage's workers ask for: the same as the stage's own job."""
    return {
        "count": wishes.workers,
        "cores": wishes.cpus,
        "memory": f"{wishes.memory}iB",  # Slurm's G is a GiB
        "partition": wishes.partition,
        "account": wishes.account,
        "walltime": wishes.time,
        "interface": wishes.interface,
        "directives": [*([f"--qos={wishes.qos}"] if wishes.qos else []), *wishes.options],
        "prologue": wishes.environment,
        "logs": str(logs),
    }


def _read(note: Path) -> tuple[int, str, str] | None:
    with suppress(OSError, ValueError):
        list(note.parent.iterdir())  # a network file system looks again when a folder is listed
        code, node, told = note.read_text().split()
        return int(code), node, told
    return None


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _set_aside(place: Path) -> None:
    aside = place.with_name(f".{place.name}.corrupt")
    with suppress(OSError):
        shutil.rmtree(aside, ignore_errors=True)
        place.replace(aside)
