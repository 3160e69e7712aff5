"""A run that faults hit: a copy of an undisturbed one of which some stages are made again, and the comparison with it afterwards."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slurm_cluster import SlurmCluster, wait_for

from sciimg.protocol.cluster import load_cluster
from sciimg.stages.ledger import Run, Stage, counted
from sciimg.stages.plan import plan_of
from sciimg.stages.slurm.engine import Slurm

STUDY = Path(__file__).parents[2] / "protocols/smoke.yaml"
HIT = "ingest"  # the stage that most faults hit: it takes a few seconds, writes many files, and goes on where it was killed
CLUSTER = """
cluster: 1
defaults: {time: "0:20:00", memory: 2G}
signal_lead_s: 60
shared_folder_wait_s: 30
poll_s: 1
"""

_APART = """
import sys
from pathlib import Path
from sciimg.protocol.cluster import load_cluster
from sciimg.stages.slurm.engine import Slurm
Slurm(load_cluster(Path(sys.argv[1])))(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
"""


class Disturbed:
    """A copy of a run without what is to be made again.

    Parameters
    ----------
    cluster : SlurmCluster
    reference : Path
        Work folder of the undisturbed run.
    folder : Path
        Scratch.
    """

    def __init__(self, cluster: SlurmCluster, reference: Path, folder: Path) -> None:
        self.cluster, self.reference, self.folder = cluster, reference, folder
        self.row: dict[str, Any] | None = None
        self._threads = ThreadPoolExecutor(4)
        self._commands: list[subprocess.Popen[Any]] = []

    # ------------------------------------------------------------ before

    def without(self, *stages: str, at: Path | None = None) -> Run:
        """Copy the run to a work folder of its own, without these stages; without any named, the run has not begun."""
        self.workdir = at or self.folder / "runs"
        (source,) = self.reference.glob("smoke-*")
        self.run = Run(self.workdir / source.name)
        self.remade = stages
        if stages:
            shutil.copytree(source, self.run.path)
            shutil.rmtree(self.run.path / "logs")
            for stage in stages:
                shutil.rmtree(self.run.folder(stage))
        return self.run

    def cluster_file(self, text: str = CLUSTER, **changes: str) -> Path:
        """Write a cluster file: lines of the usual one, some of them changed."""
        lines = dict(line.split(": ", 1) for line in text.strip().splitlines()) | changes
        path = self.folder / f"cluster-{len(list(self.folder.glob('cluster-*')))}.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        return path

    def interpreter(self, script: str) -> str:
        """Write a shell script that stands for the interpreter of the nodes; $PYTHON is the real one."""
        path = self.folder / f"python-{len(list(self.folder.glob('python-*')))}"
        path.write_text(f"#!/bin/bash\nPYTHON={sys.executable}\n{textwrap.dedent(script)}")
        path.chmod(0o755)
        return str(path)

    # ------------------------------------------------------------ while it runs

    def begin(self, stage: str = HIT, file: Path | None = None) -> "Future[int]":
        """Have the engine run one stage, in a thread; the future holds the exit code or the error."""
        engine = Slurm(load_cluster(file or self.cluster_file()))
        return self._threads.submit(engine, stage, self.run.path, self.run.path / "logs" / f"{stage}.log")

    def begin_apart(self, stage: str = HIT) -> "subprocess.Popen[str]":
        """Have the engine run one stage in a process of its own."""
        words = [str(self.cluster_file()), stage, str(self.run.path), str(self.run.path / "logs" / f"{stage}.log")]
        started = subprocess.Popen([sys.executable, "-c", _APART, *words], text=True)
        self._commands.append(started)
        return started

    def command(self, file: Path | None = None, **environment: str | None) -> "subprocess.Popen[str]":
        """Start `sciimg run` with the engine slurm."""
        words = ["run", str(STUDY), "--workdir", str(self.workdir), "--engine", "slurm", "--cluster", str(file or self.cluster_file())]
        started = subprocess.Popen(
            [sys.executable, "-m", "sciimg.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={key: value for key, value in {**os.environ, **environment}.items() if value is not None},
        )
        self._commands.append(started)
        return started

    def jobs(self, stage: str = HIT) -> list[dict[str, str]]:
        """Return the jobs that were submitted for a stage of this run."""
        script = self.run.path / "logs" / f"{stage}.sbatch"
        words = script.read_text().split() if script.exists() else []
        return [job for word in words if word.startswith("--job-name=") for job in self.cluster.jobs(word.split("=")[1])]

    def wait_for_processes(self, stage: str = HIT, seconds: float = 900) -> list[int]:
        """Wait until the processes of a stage run, and return them."""
        wait_for(lambda: self.processes(stage), seconds, f"processes of {stage}", lambda: self.log(stage))
        return self.processes(stage)

    def processes(self, stage: str = HIT) -> list[int]:
        """Return the interpreters that work at a stage of this run."""
        return find(lambda words: words[-2:] == [stage, str(self.run.path)] and "sciimg.stages" in words and "python" in words[0])

    def wait_for_work(self, stage: str = HIT) -> None:
        """Wait until a stage has begun to write."""
        partial = self.run.path / f".{stage}.partial"
        wait_for(partial.exists, 600, "a stage at work", lambda: self.log(stage))

    @contextmanager
    def held(self, stage: str = HIT) -> Iterator[list[int]]:
        """Let a stage that has begun stand still meanwhile, so that a fault finds it at work on a machine of any speed."""
        processes = self.wait_for_processes(stage)
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield processes
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def log(self, stage: str = HIT) -> str:
        """Return the log of a stage."""
        path = self.run.path / "logs" / f"{stage}.log"
        return path.read_text(errors="replace") if path.exists() else "no log"

    # ------------------------------------------------------------ afterwards

    def compare(self, jobs: int = 1, stages: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Compare with the undisturbed run; ``jobs`` is how many submissions the fault itself makes necessary."""
        stages = stages or self.remade
        (source,) = self.reference.glob("smoke-*")
        expected, got = content(source, stages), content(self.run.path, stages)
        submitted = {stage: self.jobs(stage) for stage in stages}
        self.row = {
            "lost": len(expected.keys() - got.keys()),
            "doubled": len(got.keys() - expected.keys()) + sum(max(0, len(found) - jobs) for found in submitted.values()),
            "bytes_equal": expected == got and all(fits(self.run, stage) for stage in plan_of(self.run).values()),
            "files": len(expected),
            "jobs": sum(map(len, submitted.values())),
            "restarts": sum(self.cluster.restarts(job["id"]) for found in submitted.values() for job in found),
            "stages": list(stages),
        }
        return self.row

    def whole(self, jobs: int = 1) -> None:
        """Demand that nothing is lost, doubled or changed."""
        row = self.compare(jobs)
        assert (row["lost"], row["doubled"], row["bytes_equal"]) == (0, 0, True), row

    def stop(self) -> None:
        """End what still runs."""
        for command in self._commands:
            if command.poll() is None:
                os.kill(command.pid, signal.SIGKILL)
            command.communicate()
        if any(job["state"] in ("RUNNING", "PENDING") for job in self.cluster.jobs()):
            self.cluster.run("scancel", f"--user={os.getuid()}")
        self._threads.shutdown()


def fits(run: Run, stage: Stage) -> bool:
    """Whether a stage was made from what its predecessors hold now."""
    entry = run.ledger(stage.name)
    return entry is not None and all(entry["inputs"]["needs"][n] == (run.ledger(n) or {})["outputs"]["digest"] for n in stage.needs)


def content(run: Path, stages: tuple[str, ...]) -> dict[str, str]:
    """Return SHA-256 by relative path: of these stages, and of what a release signs."""
    made = [run / stage for stage in stages if stage != "release"]
    files = [p for place in made for p in place.rglob("*") if p.is_file() and counted(p.relative_to(place))]
    files += [p for p in (run / "release/release/dataset").rglob("*") if p.is_file()] + [run / "release/release/dataset.sigstore.json"]
    return {p.relative_to(run).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.exists()}


def find(wanted: Callable[[list[str]], bool], below: int = 0) -> list[int]:
    """Return the processes whose words on the command line are wanted; with ``below``, only descendants of that process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = [word.decode(errors="replace") for word in (entry / "cmdline").read_bytes().split(b"\0")[:-1]]
            except OSError:
                continue
            if words and wanted(words) and (not below or below in ancestors(int(entry.name))):
                found.append(int(entry.name))
    return found


def ancestors(process: int) -> list[int]:
    """Return parent, grandparent and so on."""
    line = []
    while process > 1:
        try:
            process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
        line.append(process)
    return line
