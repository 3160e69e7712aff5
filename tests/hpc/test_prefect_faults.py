"""Prefect's parts are killed, lost and come back: what a run has done is never lost or done twice, because nothing of it is in Prefect."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import outcomes
import pytest
from prefect_lab import PATIENCE_S, ROOT, STUDY, Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of every stage of a run that nothing happened to, which no Prefect was needed for."""
    lab = Lab(tmp_path_factory.mktemp("undisturbed"), parts=4)
    script = (
        "from pathlib import Path; from small_study import small_plan; from sciimg.stages.ledger import Run, perform\n"
        f"run = Run.begin(Path({STUDY!r}), Path('runs'))\n"
        "for stage in small_plan().values(): perform(stage, run)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=lab.work, env=lab.environment | {"SMALL_PARTS": "16"}, check=True)
    return lab.outputs()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab", parts=16)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def whole(undisturbed: dict[str, str], request: pytest.FixtureRequest) -> Callable[[Lab], None]:
    """Demand that nothing is lost, doubled or changed, and make it a row of the table."""
    since = time.monotonic()

    def demand(lab: Lab) -> None:
        got = lab.outputs()
        left = list((lab.work / "runs").glob("*/.*.partial"))
        row = {"lost": len(undisturbed.keys() - got.keys()), "doubled": len(got.keys() - undisturbed.keys()) + len(left)}
        row |= {"bytes_equal": got == undisturbed, "stages": sorted(undisturbed)}
        outcomes.note(f"Prefect: {request.node.name.removeprefix('test_')}", row, since)
        assert (row["lost"], row["doubled"], row["bytes_equal"]) == (0, 0, True), row

    return demand


def begun(lab: Lab) -> tuple[str, "subprocess.Popen[bytes]", "subprocess.Popen[bytes]"]:
    """Return a run in the middle of its work, the server and the worker."""
    server = lab.server()
    lab.deploy()
    worker = lab.worker()
    run = lab.begin("sciimg-study/small")
    lab.until(lambda: list((lab.work / "runs").glob("*/.train-*.partial/part-1")), PATIENCE_S, "stages are at work")
    return run, server, worker


def completed(lab: Lab) -> bool:
    return set(lab.outputs()) == {"ingest", "train-a", "train-b", "decide", "release"}


def test_server_killed_and_database_deleted_in_the_middle(lab: Lab, whole: Callable[[Lab], None]) -> None:
    _, server, _ = begun(lab)
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    for path in lab.home.glob("prefect.db*"):
        path.unlink()
    lab.until(lambda: {"train-a", "train-b"} <= set(lab.outputs()), PATIENCE_S, "stages that were at work go on to their end")
    lab.server()
    lab.deploy()
    lab.until(lambda: not lab.flow_processes(), PATIENCE_S, "the flow that the new server does not know has ended, either way")
    again = lab.begin("sciimg-study/small")
    lab.well(again)
    whole(lab)
    assert len(lab.begun()) == 5  # nothing was done twice


def test_server_away_for_ninety_seconds(lab: Lab, whole: Callable[[Lab], None]) -> None:
    run, server, _ = begun(lab)
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    time.sleep(90)
    lab.server()
    lab.well(run)
    assert lab.artifacts(run)["smoke-progress"]["data"] == 100
    whole(lab)


def test_flow_killed(lab: Lab, whole: Callable[[Lab], None]) -> None:
    run, _, _ = begun(lab)
    (process,) = lab.flow_processes()
    os.kill(process, signal.SIGKILL)
    assert lab.wait(run) == "Crashed"  # the worker saw it
    lab.until(lambda: not lab.children("small_study"), 30, "no stage outlives its flow")
    again = lab.begin("sciimg-study/small")
    lab.well(again)
    whole(lab)


def test_worker_killed_the_flow_goes_on(lab: Lab, whole: Callable[[Lab], None]) -> None:
    run, _, worker = begun(lab)
    lab.kill(worker)
    lab.well(run)
    whole(lab)


def test_worker_and_flow_killed_the_automation_ends_the_run(lab: Lab, whole: Callable[[Lab], None]) -> None:
    shutil.copy(ROOT / "flows/automations.yaml", lab.work)
    lab.environment["SMALL_PART_S"] = "8"  # stages that are still at work after two heartbeats
    run, _, worker = begun(lab)
    lab.prefect("automation", "create", "--from-file", "automations.yaml")
    time.sleep(65)  # two heartbeats
    (process,) = lab.flow_processes()
    lab.kill(worker)
    os.kill(process, signal.SIGKILL)
    assert lab.state(run) == "Running"
    assert lab.wait(run, seconds=400) == "Crashed"
    assert "heartbeat" in lab.run(run)["state"]["message"]
    del lab.environment["SMALL_PART_S"]
    lab.worker()
    again = lab.begin("sciimg-study/small")
    lab.well(again)
    whole(lab)


def alone(lab: Lab) -> "subprocess.Popen[bytes]":
    """Start the flow as ``sciimg run`` does, with an embedded server and no other."""
    script = """import sys; from pathlib import Path; from flows.settings import embed; embed(Path("runs"))
import small_study; from flows.__main__ import main; sys.exit(main(*sys.argv[1:]))"""  # settings before the first import of Prefect
    environment = {k: v for k, v in lab.environment.items() if k not in ("PREFECT_API_URL", "PREFECT_HOME")} | {"LAB": str(lab.home)}
    command = [sys.executable, "-c", script, STUDY, "runs", "2", "local", "result.json"]
    return subprocess.Popen(command, cwd=lab.work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def servers_of(lab: Lab) -> list[int]:
    """Return the embedded servers of a lab."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"LAB={lab.home}\0".encode() in (place / "environ").read_bytes()
            if ours and b"uvicorn" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def test_embedded_server_killed_and_its_database_deleted(tmp_path: Path, whole: Callable[[Lab], None]) -> None:
    lab = Lab(tmp_path / "lab", parts=16)
    process = alone(lab)
    lab.until(lambda: list((lab.work / "runs").glob("*/.train-*.partial/part-1")), PATIENCE_S, "stages are at work")
    servers = servers_of(lab)
    assert servers
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(lab.work / "runs/.prefect", ignore_errors=True)
    said = process.communicate(timeout=2400)[0].decode()
    result = json.loads((lab.work / "result.json").read_text())
    assert {"train-a", "train-b"} <= set(lab.outputs())  # what was at work went on to its end
    assert process.returncode == 0 or result["problems"][0]["kind"] == "orchestration-failed", said
    again = alone(lab)
    assert "train-a: done before" in again.communicate(timeout=2400)[0].decode() and again.returncode == 0
    whole(lab)


def test_embedded_servers_that_start_at_once(tmp_path: Path) -> None:
    """Four in four folders, as four people on one machine start them."""
    labs = [Lab(tmp_path / str(number), parts=1) for number in range(4)]
    running = [alone(lab) for lab in labs]
    said = [process.communicate(timeout=2400)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert all("Traceback" not in text for text in said), said
    assert all(completed(lab) for lab in labs)
    assert all((lab.work / "runs/.prefect/prefect.db").exists() and not (lab.home / "prefect.db").exists() for lab in labs)
