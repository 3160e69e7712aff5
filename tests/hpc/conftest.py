"""Real engines, one undisturbed run to compare with, and a table of what came of each fault. `make test-hpc` runs this folder."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import outcomes
from disturbed import STUDY, Disturbed
from slurm_cluster import PATH, SlurmCluster

SWITCH = "SCIIMG_HPC"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests to `make test-hpc`: they install packages, start daemons and take many minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))
            if SWITCH not in os.environ:
                item.add_marker(pytest.mark.skip(reason="real engines: `make test-hpc` starts them"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[SlurmCluster]:
    """A Slurm of two virtual nodes; what runs in this process and below it talks to it."""
    folder = Path(tempfile.mkdtemp(prefix="hpc-", dir="/tmp"))  # short: names of sockets have at most 107 characters
    started = SlurmCluster(folder)
    changed = {"PATH": PATH, "SLURM_CONF": started.environment["SLURM_CONF"], "OMP_NUM_THREADS": "1"}
    before = {key: os.environ.get(key) for key in changed}
    try:
        started.start()
        os.environ |= changed
        yield started
    finally:
        started.stop()
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys of the tests' own; with a run to compare with from before, the keys that signed it."""
    before = os.environ.get("XDG_CONFIG_HOME")
    given = os.environ.get("HPC_REFERENCE")
    os.environ["XDG_CONFIG_HOME"] = str(Path(given) / "config" if given else tmp_path_factory.mktemp("config"))
    yield
    os.environ.pop("XDG_CONFIG_HOME") if before is None else os.environ.update(XDG_CONFIG_HOME=before)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, keys: None) -> Path:
    """The work folder of an undisturbed run with the engine `local`; the environment variable HPC_REFERENCE names one to keep or to use."""
    given = os.environ.get("HPC_REFERENCE")
    workdir = (Path(given) if given else tmp_path_factory.mktemp("reference")) / "runs"
    if not list(workdir.glob("*/release/stage.json")):
        done = subprocess.run(
            [sys.executable, "-m", "sciimg.cli", "run", str(STUDY), "--workdir", str(workdir), "--slots", "1"], check=False
        )
        assert done.returncode in (0, 1)
    return workdir


@pytest.fixture
def disturbed(request: pytest.FixtureRequest, cluster: SlurmCluster, reference: Path, tmp_path: Path) -> Iterator[Disturbed]:
    """A copy of the undisturbed run, to be made again in part under a fault; what came of it becomes a row of the table."""
    case = Disturbed(cluster, reference, tmp_path)
    started = time.monotonic()
    yield case
    case.stop()
    if case.row is not None:
        outcomes.note(request.node.name, case.row, started)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the rows of a process of pytest-xdist to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["rows"] = outcomes.rows


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    outcomes.rows.update(getattr(node, "workeroutput", {}).get("rows", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and put its rows into the results beside those of earlier runs."""
    if lines := outcomes.table():
        terminalreporter.write_sep("=", "faults of real engines: what was lost, doubled, changed")
        for line in lines:
            terminalreporter.write_line(line)
        outcomes.keep(f"{Path(sys.executable).parent}:{PATH}")
