"""``cluster.yaml``: what heavy stages ask of a cluster. It belongs to the site, not to the study: no result depends on it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sciimg.errors import ClusterError, Problem
from sciimg.protocol.base import Model
from sciimg.protocol.explain import closest
from sciimg.protocol.load import check_part, sound_part
from sciimg.protocol.yaml_tree import KeyPath, read_tree

DEFAULT_FILE = Path("cluster.yaml")

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,@+:-]*$")]
Line = Annotated[str, Field(pattern=r"^[^\r\n\x00]+$")]
Duration = Annotated[str, Field(pattern=r"^([0-9]+-)?[0-9]+:[0-5][0-9]:[0-5][0-9]$")]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*[MGT]$")]
Option = Annotated[str, Field(pattern=r"^--[a-z][a-z-]*(=[^\r\n\x00]+)?$")]

_OURS = ("job-name", "output", "error", "open-mode", "requeue", "no-requeue", "signal", "dependency", "export", "parsable", "array", "wrap")
_KEYS = {"nodes": "nodes", "ntasks": "tasks", "cpus-per-task": "cpus", "mem": "memory", "time": "time", "gpus-per-node": "gpus"}
_KEYS |= {name: name for name in ("partition", "account", "qos")}
_HEAVY = ("ingest", "train-", "baseline", "verify", "generate-", "validate-")
_DIVIDED = ("ingest", "generate-", "validate-")  # stages whose array work can be done by several processes
_LIGHT = ("split", "decide", "release", "folds-")
_FOLD = re.compile(r"^fold-([0-9]+|[*?])-")


class Resources(Model):
    """What one job asks for; what is left out is the site's default."""

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    time: Duration = Field(default="4:00:00", description="Longest time of one job, H:MM:SS or D-HH:MM:SS; longer stages are continued.")
    memory: Memory | None = Field(default=None, description="Memory on each node, such as 16G.")
    cpus: int = Field(default=1, ge=1, description="Cores of each task.")
    gpus: int = Field(default=0, ge=0, description="GPUs on each node.")
    nodes: int = Field(default=1, ge=1)
    tasks: int = Field(default=1, ge=1, description="Processes that train one model together, over all nodes.")
    workers: int = Field(
        default=0, ge=0, description="Further jobs, each asking for the same, between which a stage divides its array work."
    )
    interface: Word | None = Field(default=None, description="Network interface by which workers and stage find each other, such as ib0.")
    environment: tuple[Line, ...] = Field(default=(), description="Commands that make a node ready: module load, source, export.")
    options: tuple[Option, ...] = Field(default=(), description="Further options of sbatch, such as --constraint=a100.")


class Cluster(Model):
    """How stages become jobs of a Slurm cluster."""

    cluster: Literal[1]
    defaults: Resources = Resources()
    stages: dict[str, Resources] = Field(
        default_factory=dict,
        description="Stage pattern, such as train-*, to what differs from the defaults; of several that match, later ones win.",
    )
    python: Line | None = Field(default=None, description="Interpreter on the nodes; left out: the path of the one that runs the flow.")
    signal_lead_s: int = Field(default=300, ge=60, description="How long before its time limit a job is asked to save its state.")
    restarts: int = Field(default=50, ge=0, description="How often a stage may be continued in a new job slot.")
    shared_folder_wait_s: float = Field(
        default=120, ge=0, description="How long the shared folder may take to show what another node wrote."
    )
    check_outputs: bool = Field(default=True, description="Read again what a job wrote, and compare it with the digest the job left.")
    poll_s: float = Field(default=15, ge=0.5, description="Time between two looks at the queue, for all stages together.")

    def resources(self, stage: str) -> Resources:
        """Return what a stage asks for; a stage of a fold asks for what the same stage asks for outside."""
        chosen = self.defaults.model_dump(exclude_unset=True)
        for pattern, wishes in self.stages.items():
            if _matches(stage, pattern):
                chosen |= wishes.model_dump(exclude_unset=True)
        return Resources(**chosen)


@dataclass(frozen=True)
class LoadedCluster:
    """A sound cluster file, and its name for messages."""

    cluster: Cluster
    file: str


def load_cluster(path: Path) -> LoadedCluster:
    """Read and check a cluster file.

    Raises
    ------
    ClusterError
        With every problem: file, line and key path, the rule, what came and what to do next.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        message = "There is no such file. `--cluster FILE` names one; `sciimg schema --cluster` has its keys, reports/guide/hpc.md one."
        raise ClusterError(Problem(str(path), "not-found", message)) from None
    tree = read_tree(data, str(path), what="cluster file")
    cluster: Cluster | None = None
    if not isinstance(tree.value, dict):
        if not tree.problems:
            tree.report(
                (), "not-a-cluster-file", "A cluster file is a mapping of keys to values. `sciimg schema --cluster` lists the keys."
            )
    else:
        cluster = check_part(Cluster, tree.value, (), tree)
        for place, kind, message in _faults(tree.value):
            tree.report(place, kind, message)
    if tree.problems or cluster is None:
        raise ClusterError(tree.problems)
    return LoadedCluster(cluster, str(path))


def cluster_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a cluster file."""
    schema = Cluster.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "sciimg cluster file"
    return schema


def seconds(duration: str) -> int:
    """Return a time limit in seconds, e.g. 93600 of ``1-02:00:00``."""
    days, _, clock = duration.rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def _matches(stage: str, pattern: str) -> bool:
    return fnmatchcase(stage, pattern) or fnmatchcase(_FOLD.sub("", stage), pattern)


# ---------------------------------------------------------------- rules that join keys, over whatever is sound by itself


def _faults(value: dict[str, Any]) -> Iterator[tuple[KeyPath, str, str]]:
    stages = value.get("stages")
    own = {(): value.get("defaults", {})} | {(k,): v for k, v in (stages.items() if isinstance(stages, dict) else ())}
    defaults = sound_part(Resources, value.get("defaults", {})) or Resources()
    lead = sound_part(int, value.get("signal_lead_s", 300))
    for (*pattern,), wishes in own.items():
        place: KeyPath = ("stages", *pattern) if pattern else ("defaults",)
        if pattern:
            yield from _wrong_pattern(place, pattern[0])
        if (said := sound_part(Resources, wishes)) is not None:
            merged = Resources(**defaults.model_dump(exclude_unset=True) | said.model_dump(exclude_unset=True))
            yield from _wrong_together(place, said, merged, lead, training=bool(pattern) and "train-" in pattern[0])
            yield from _wrong_workers(place, said, merged, pattern[0] if pattern else "")


def _wrong_workers(place: KeyPath, said: Resources, merged: Resources, pattern: str) -> Iterator[tuple[KeyPath, str, str]]:
    if not said.workers:
        return
    head = re.split(r"[*?\[]", _FOLD.sub("", pattern))[0]
    if not head or not any(name.startswith(head) or head.startswith(name) for name in _DIVIDED):
        names = ", ".join(f"{name}*" if name.endswith("-") else name for name in _DIVIDED)
        yield (*place, "workers"), "not-divided", f"Only these stages divide their work: {names}. Move it there."
    elif merged.memory is None:
        yield (
            (*place, "workers"),
            "no-memory",
            "A job of workers has to say how much memory it needs. Add memory: to the stage or defaults.",
        )


def _wrong_pattern(place: KeyPath, pattern: str) -> Iterator[tuple[KeyPath, str, str]]:
    head = re.split(r"[*?\[]", _FOLD.sub("", pattern))[0]
    if any(name.startswith(head) or head.startswith(name) for name in _HEAVY):
        return
    if any(name.startswith(head) or head.startswith(name) for name in _LIGHT):
        yield place, "light-stage", f"The stage {pattern} is light: it runs where the flow runs, never as a job. Remove the entry."
        return
    known = ", ".join(f"{name}*" if name.endswith("-") else name for name in _HEAVY)
    yield place, "unknown-stage", f"No stage is called like {pattern!r}.{closest(head, _HEAVY)} Stages that run as jobs: {known}."


def _wrong_together(
    place: KeyPath, said: Resources, merged: Resources, lead: int | None, *, training: bool
) -> Iterator[tuple[KeyPath, str, str]]:
    if lead is not None and lead >= 60 and 2 * lead > seconds(merged.time) and ("time" in said.model_fields_set or place == ("defaults",)):
        limit = seconds(merged.time)
        message = f"signal_lead_s is at most half of the time limit; it is {lead} s of {limit} s. Ask for more time or a shorter lead."
        yield (*place, "time"), "no-time-to-work", message
    if (said.tasks > 1 or said.nodes > 1) and not training:
        message = f"Only training runs as several tasks; got tasks {said.tasks} on nodes {said.nodes}. Move it to stages: train-*."
        yield (*place, "tasks" if said.tasks > 1 else "nodes"), "not-training", message
    elif merged.tasks % merged.nodes:
        message = f"Every node runs as many tasks; got {merged.tasks} tasks on {merged.nodes} nodes. Make tasks a multiple of nodes."
        yield (*place, "tasks"), "uneven-tasks", message
    for number, option in enumerate(said.options):
        name = option.removeprefix("--").split("=")[0]
        if name in _OURS:
            yield (*place, "options", number), "reserved-option", f"{option.split('=')[0]} is set for every job by sciimg. Remove it."
        elif name in _KEYS:
            yield (
                (*place, "options", number),
                "reserved-option",
                f"{option.split('=')[0]} has a key of its own. Write {_KEYS[name]}: instead.",
            )
