"""A Prefect server, a worker and deployments in a folder of their own: real processes, nothing in the user's home."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
STUDY = "study.yaml"
PATIENCE_S = 900  # a machine that others use too takes minutes for what takes seconds alone
SMALL = """
name: lab
definitions:
  pool: &pool
    name: sciimg
    job_variables:
      env: {PREFECT_CLIENT_MAX_RETRIES: "7", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30", PREFECT_LOGGING_LOG_PRINTS: "true"}
deployments:
  - name: small
    entrypoint: small_study.study_flow
    parameters: {study_file: study.yaml, workdir: runs, slots: 2}
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
    work_pool: *pool
  - name: small-again
    entrypoint: small_study.study_flow
    parameters: {study_file: study.yaml, workdir: runs, slots: 2}
    work_pool: *pool
  - name: study
    entrypoint: flows.study.study_flow
    parameters: {study_file: study.yaml, workdir: runs, slots: 2}
    work_pool: *pool
  - name: watch
    entrypoint: flows.watch.watch_flow
    parameters: {folder: incoming, collection: taken/collection, settle_s: 1, spacing: "0.5", unit: micrometer}
    work_pool: *pool
"""


class Lab:
    """Where an operator works: a folder of studies, a server's home beside it.

    Parameters
    ----------
    folder : Path
        Empty; it gets ``work`` (the operator's folder) and ``home`` (Prefect's).
    database : str, optional
        Of a server that has one of its own; default: SQLite in ``home``.
    parts : int
        Half seconds that a stage of the small study takes.
    """

    def __init__(self, folder: Path, *, database: str = "", parts: int = 4) -> None:
        self.folder, self.work, self.home = folder, folder / "work", folder / "home"
        self.work.mkdir(parents=True)
        self.home.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api"
        own = {
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "true",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}",
            "XDG_CONFIG_HOME": str(folder / "config"),
            "OMP_NUM_THREADS": "1",
            "SMALL_PARTS": str(parts),
            "COLUMNS": "200",
        }
        if database:
            own["PREFECT_API_DATABASE_CONNECTION_URL"] = database
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")} | own
        self.processes: list[subprocess.Popen[bytes]] = []
        (self.work / STUDY).write_text((ROOT / "protocols/smoke.yaml").read_text())

    # ------------------------------------------------------------ processes

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command that takes signals as in a terminal; its output goes to a log named after it."""
        with (self.folder / f"{Path(command[0]).name}-{command[1]}.log").open("ab") as log:
            process = subprocess.Popen(
                ["env", "--default-signal=INT,QUIT", *command],
                cwd=self.work,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def server(self) -> "subprocess.Popen[bytes]":
        """Start the server and wait until it answers."""
        template, place = Path(tempfile.gettempdir()) / f"prefect-{version('prefect')}-{os.getuid()}.db", self.home / "prefect.db"
        own = "PREFECT_API_DATABASE_CONNECTION_URL" not in self.environment
        if own and template.exists() and not place.exists():  # making an empty database is most of a server's start
            shutil.copy(template, place)
        log_level = ("--log-level", "WARNING")
        process = self.start(str(PREFECT), "server", "start", "--host", "127.0.0.1", "--port", str(self.port), "--no-ui", *log_level)
        self.until(lambda: process.poll() is not None or self._answers(), PATIENCE_S, "the server answers")
        if process.poll() is not None:
            raise AssertionError((self.folder / "prefect-server.log").read_text()[-3000:])
        if own and not template.exists():
            _copy_database(place, template)
        return process

    def worker(self) -> "subprocess.Popen[bytes]":
        """Start a worker of the pool."""
        return self.start(str(PREFECT), "worker", "start", "--pool", "sciimg", "--type", "process")

    def kill(self, process: "subprocess.Popen[bytes]") -> None:
        """SIGKILL a process that was started here, and wait; its children are left."""
        process.kill()
        process.wait()

    def close(self) -> None:
        """End everything, children too."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pid in self.children("small_study", "prefect.engine", "prefect.flow_engine"):
            os.kill(pid, signal.SIGKILL)

    def children(self, *words: str) -> list[int]:
        """Return the processes of this lab whose command line has one of the words."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                ours = f"PREFECT_HOME={self.home}\0".encode() in (place / "environ").read_bytes()
            except OSError:
                continue
            if ours and any(word in command for word in words):
                found.append(int(place.name))
        return found

    def flow_processes(self) -> list[int]:
        """Return the processes of flow runs, which lead the stages."""
        return [pid for pid in self.children("python") if "prefect.engine" in _command(pid) or "flow_engine" in _command(pid)]

    # ------------------------------------------------------------ what an operator types

    def prefect(self, *arguments: str) -> str:
        """Run a ``prefect`` command in the operator's folder; return what it prints."""
        done = subprocess.run([str(PREFECT), *arguments], cwd=self.work, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"prefect {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def deploy(self, text: str = SMALL) -> None:
        """Make the pool and deploy what a prefect.yaml says."""
        (self.work / "prefect.yaml").write_text(text)
        self.prefect("work-pool", "create", "sciimg", "--type", "process", "--overwrite")
        self.prefect("deploy", "--prefect-file", "prefect.yaml", "--all")

    def begin(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run now; return its id."""
        found = self.call("GET", f"/deployments/name/{deployment}")
        return str(self.call("POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"])

    # ------------------------------------------------------------ what a person sees

    def call(self, method: str, path: str, value: Any = None) -> Any:
        """Ask the server's interface; a server on SQLite that is short of processor time answers 503, and is asked again."""
        data = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(self.api + path, data=data, method=method, headers={"Content-Type": "application/json"})
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > end:
                    raise
                time.sleep(2)

    def run(self, id: str) -> dict[str, Any]:
        """Return a flow run."""
        found: dict[str, Any] = self.call("GET", f"/flow_runs/{id}")
        return found

    def state(self, id: str) -> str:
        """Return the name of a run's state."""
        return str((self.run(id)["state"] or {}).get("name"))

    def wait(
        self, id: str, states: Iterable[str] = ("Completed", "Failed", "Crashed", "Cancelled", "Moved"), seconds: float = PATIENCE_S
    ) -> str:
        """Wait until a run is in one of the states; return which."""
        wanted = set(states)
        self.until(lambda: self.state(id) in wanted, seconds, f"a run is one of {sorted(wanted)}", lambda: self.state(id))
        return self.state(id)

    def well(self, id: str) -> None:
        """Demand that a run ends well."""
        assert self.wait(id) == "Completed", self.run(id)["state"]["message"]

    def artifacts(self, id: str) -> dict[str, Any]:
        """Return the artifacts of a run by key."""
        asked = {"artifacts": {"operator": "and_", "flow_run_id": {"any_": [id]}}}
        return {a["key"]: a for a in self.call("POST", "/artifacts/filter", asked)}

    def everything_kept(self) -> bytes:
        """Return what Prefect has kept on the disk, and what its processes printed."""
        files = [p for p in [*self.home.rglob("*"), *self.folder.glob("*.log")] if p.is_file()]
        return b"".join(p.read_bytes() for p in files)

    def until(self, true: Callable[[], object], seconds: float, what: str, now: Callable[[], object] = lambda: "") -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if true():
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.5)
        logs = "\n".join(f"{p.name}:\n{p.read_text(errors='replace')[-2500:]}" for p in sorted(self.folder.glob("*.log")))
        raise AssertionError(f"not after {seconds} s: {what}; now {now()}\n{logs}")

    def _answers(self) -> bool:
        return bool(self.call("GET", "/health"))

    # ------------------------------------------------------------ what a run left

    def outputs(self, workdir: str = "runs") -> dict[str, str]:
        """Return the digest of each finished stage's outputs."""
        ledgers = (self.work / workdir).glob("*/*/stage.json")
        return {path.parent.name: json.loads(path.read_text())["outputs"]["digest"] for path in ledgers}

    def begun(self) -> list[str]:
        """Return the stages that processes of the worker have begun, in order."""
        return re.findall(r"([a-z-]+): begins", (self.folder / "prefect-worker.log").read_text())


def _copy_database(place: Path, to: Path) -> None:
    """Copy a database that is in use, whole or not at all."""
    partial = to.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(place)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    partial.replace(to)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
