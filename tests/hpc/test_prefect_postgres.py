"""A server for a lab: Prefect on a real PostgreSQL, which is killed, comes back, and is lost."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import outcomes
import pytest
from debian import install
from prefect_lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Database:
    """A PostgreSQL in a folder of its own, run by a user who is not root."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # no folder above it may be closed to the other user
        self.user = next((n for n in ("postgres", "nobody") if os.getuid() == 0 and _is_user(n)), None)
        if self.user:
            shutil.chown(self.folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql+asyncpg://prefect@127.0.0.1:{self.port}/prefect"
        self._call("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "prefect", "-E", "UTF8")
        self.start()
        self._call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "prefect", "prefect")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def kill(self) -> None:
        os.kill(int((self.folder / "data/postmaster.pid").read_text().split()[0]), signal.SIGQUIT)  # as after a crash: no shutdown
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        while (self.folder / "data/postmaster.pid").exists():
            pass

    def rows(self, question: str) -> str:
        return self._call("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "prefect", "-d", "prefect", "-tAc", question).strip()

    def close(self) -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> str:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command, user=self.user, cwd=self.folder, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
        )
        if done.returncode:
            raise AssertionError(f"{program}: {done.stdout}{done.stderr}")
        return done.stdout


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _programs() -> Path | None:
    there = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    found = there[-1] if there else shutil.which("postgres")
    return Path(found).resolve().parent if found else None


@pytest.fixture
def database() -> Iterator[Database]:
    if _programs() is None:
        install("postgresql")
    programs = _programs()
    assert programs is not None
    made = Database(programs)
    try:
        yield made
    finally:
        made.close()


def test_a_lab_on_postgresql(database: Database, tmp_path: Path) -> None:
    since = time.monotonic()
    lab = Lab(tmp_path / "lab", database=database.url, parts=4)
    try:
        server = lab.server()
        lab.deploy()
        lab.worker()
        first = lab.begin("sciimg-study/small")
        lab.well(first)
        done = lab.outputs()
        assert int(database.rows("select count(*) from flow_run where state_type = 'COMPLETED'")) == 1
        assert not (lab.home / "prefect.db").exists()

        database.kill()  # the database of a lab crashes and comes back: everything is still there
        database.start()
        second = lab.begin("sciimg-study/small")
        lab.well(second)
        assert {lab.state(first), lab.state(second)} == {"Completed"}

        os.killpg(server.pid, signal.SIGKILL)  # and is lost: only the view of the runs is gone
        server.wait()
        database.rows("drop schema public cascade; create schema public")
        lab.server()
        lab.deploy()
        third = lab.begin("sciimg-study/small")
        lab.well(third)
        row = {"lost": len(done.keys() - lab.outputs().keys()), "doubled": len(lab.begun()) - 5, "bytes_equal": lab.outputs() == done}
        outcomes.note("Prefect: PostgreSQL killed and back, then lost with its server", row, since)
        assert row == {"lost": 0, "doubled": 0, "bytes_equal": True}
        assert int(database.rows("select count(*) from flow_run")) >= 1
    finally:
        lab.close()
