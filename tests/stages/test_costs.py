"""What a stage cost is recorded: known work is found again, interrupted attempts add up, digests know nothing of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sciimg.stages.costs import measured as costs
from sciimg.stages.costs.energy import Rapl, energy_meter
from sciimg.stages.costs.measured import COSTS, attempts, gpus, machine, measured, total
from sciimg.stages.ledger import Run, Stage, folder_digest, perform

STUDY = Path(__file__).parents[2] / "protocols" / "tissue-demo.yaml"
MIB = 2**20
linux = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count what a process reads and writes")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.begin(STUDY, tmp_path)


def burn(seconds: float) -> None:
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        sum(range(1000))


def timings(run: Run, name: str = "first") -> dict[str, Any]:
    entry = run.ledger(name)
    assert entry is not None
    return entry["timings"]


def python(code: str) -> "subprocess.Popen[str]":
    """Start a small process of its own, which says a line when it has done what it was started for, and ends with its input."""
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def end(child: "subprocess.Popen[str]") -> None:
    child.communicate()


BURN = "import time\nwhile time.process_time() < 0.3: sum(range(1000))\nprint('burnt', flush=True)"


def test_processor_time_is_that_of_the_stage_and_of_its_children(run: Run) -> None:
    def work(run: Run, out: Path) -> None:
        burn(0.3)
        end(python(BURN))

    perform(Stage("first", (), work), run)
    spent = timings(run)
    assert spent["cpu_s"] >= 0.59
    assert spent["attempts"] == 1 and spent["unseen_s"] == 0


@linux
def test_a_child_that_still_works_counts(tmp_path: Path) -> None:
    with measured(tmp_path) as meter:
        child = python(BURN + "\nimport sys; sys.stdin.read()")
        said(child)
        meter.write()
        assert meter.record["cpu_s"] >= 0.29
        end(child)
    assert meter.record["cpu_s"] >= 0.29


def test_waiting_is_wall_time_and_no_processor_time(run: Run) -> None:
    perform(Stage("first", (), lambda r, out: time.sleep(0.4)), run)
    spent = timings(run)
    assert spent["wall_s"] >= 0.4 > spent["cpu_s"]


@linux
def test_bytes_that_are_read_and_written_are_counted(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(3 * MIB))

    def work(run: Run, out: Path) -> None:
        source.read_bytes()
        (out / "made").write_bytes(bytes(2 * MIB))

    perform(Stage("first", (), work), run)
    spent = timings(run)
    assert spent["read_bytes"] >= 5 * MIB  # the source, and what was made, for its digest
    assert 2 * MIB <= spent["written_bytes"] < 3 * MIB
    entry = run.ledger("first")
    assert entry is not None and entry["outputs"]["bytes"] == 2 * MIB


@linux
def test_memory_is_the_largest_process_and_all_of_them_together(tmp_path: Path) -> None:
    own = costs.peak_mb()
    with measured(tmp_path) as meter:
        children = [python(f"import sys; block = b'x' * {150 * MIB}; print('held', flush=True); sys.stdin.read()") for _ in range(2)]
        assert [said(child) for child in children] == ["held\n"] * 2
        meter.look()
        for child in children:
            end(child)
    found = meter.total()
    assert found["peak_mb"] >= max(own, 150)
    assert found["peak_tree_mb"] >= 300


def test_attempts_add_up(run: Run) -> None:
    def breaks(run: Run, out: Path) -> None:
        burn(0.2)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        perform(Stage("first", (), breaks), run)
    (first,) = attempts(run.path / ".first.partial")
    assert first["ended"] and first["cpu_s"] >= 0.2
    perform(Stage("first", (), lambda r, out: burn(0.2)), run)
    spent = timings(run)
    assert spent["attempts"] == 2 and spent["cpu_s"] >= first["cpu_s"] + 0.2
    assert spent["started"] == first["started"] and spent["unseen_s"] == 0


KILLED = """
import sys, time
from pathlib import Path
from sciimg.stages.costs.measured import measured
with measured(Path(sys.argv[1])) as meter:
    while time.process_time() < 0.6: sum(range(1000))
    meter.write()
    print(meter.record["cpu_s"], flush=True)
    sys.stdin.read()
"""


def test_a_killed_attempt_is_known_up_to_its_last_sign_of_life(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    known = float(said(child))
    child.kill()
    end(child)
    with measured(tmp_path) as meter:
        burn(0.1)
    found = meter.total()
    first, second = attempts(tmp_path)
    assert not first["ended"] and second["ended"]
    assert first["cpu_s"] >= known > 0 and found["cpu_s"] == pytest.approx(first["cpu_s"] + second["cpu_s"])
    assert found["attempts"] == 2 and found["unseen_s"] == costs.WRITTEN_EVERY_S


def test_remains_of_other_inputs_cost_nothing_here(run: Run) -> None:
    def breaks(run: Run, out: Path) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        perform(Stage("first", (), breaks), run)
    perform(Stage("first", (), lambda r, out: None, parameters=lambda r: 1), run)
    assert timings(run)["attempts"] == 1


def test_costs_are_in_no_digest_and_leave_no_file(run: Run) -> None:
    def work(run: Run, out: Path) -> None:
        assert (out / COSTS / "1.json").exists()
        (out / "result").write_text("a")

    perform(Stage("first", (), work), run)
    assert {p.name for p in run.folder("first").iterdir()} == {"result", "stage.json"}
    entry = run.ledger("first")
    assert entry is not None and entry["outputs"] == folder_digest(run.folder("first"))
    (run.folder("first") / COSTS).mkdir()
    (run.folder("first") / COSTS / "1.json").write_text("{}")
    assert entry["outputs"] == folder_digest(run.folder("first"))


def test_an_unknown_cost_of_one_attempt_is_unknown_of_all_with_its_reason() -> None:
    known = dict.fromkeys((*costs.SUMS, *costs.PEAKS), 2.0) | {"unknown": {}, "ended": True, "beside": False, "started": "a", "gpu": None}
    known |= {"energy_from": None, "machine": {}}
    lacking = known | {"energy_wh": None, "peak_tree_mb": None, "unknown": {"energy_wh": "no counters"}}
    found = total([known, lacking])
    assert found["cpu_s"] == 4 and found["peak_mb"] == 2 and found["peak_tree_mb"] == 2
    assert found["energy_wh"] is None and found["unknown"] == {"energy_wh": "no counters"}


def test_a_process_that_helps_adds_its_work_and_no_wall_time(tmp_path: Path) -> None:
    with measured(tmp_path) as meter, measured(tmp_path, beside=True):
        time.sleep(0.2)
        burn(0.1)
    found = meter.total()
    assert found["attempts"] == 1 and found["cpu_s"] >= 0.2  # here both are this process
    assert found["wall_s"] == meter.record["wall_s"]


def test_a_torn_file_of_an_attempt_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / COSTS).mkdir()
    (tmp_path / COSTS / "1.json").write_text("")
    with measured(tmp_path) as meter:
        pass
    assert meter.total()["attempts"] == 1 and sorted(p.name for p in (tmp_path / COSTS).iterdir()) == ["1.json", "2.json"]


def test_the_machine_is_named_by_its_kind_alone() -> None:
    said = json.dumps(machine())
    assert set(machine()) == {"processor", "cores", "memory_gb"} and machine()["cores"] >= 1
    for own in (os.uname().nodename, os.environ.get("USER") or "\0"):
        assert own not in said


def test_held_gpus_are_counted_by_torch_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = {0: 5 * MIB, 1: 0}
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        memory_reserved=memory.get,
        max_memory_allocated=memory.get,
        get_device_name=lambda i: f"GPU of kind {i}",
    )
    monkeypatch.delenv("SCIIMG_DEVICE", raising=False)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert gpus() == (1, "GPU of kind 0", 5.0)
    monkeypatch.setenv("SCIIMG_DEVICE", "cuda:0,cuda:1")
    assert gpus(children=1)[0] == 2  # the other one is held by a child of this process
    assert gpus(children=0)[0] == 1
    cuda.is_initialized = lambda: False
    assert gpus() == (0, None, 0.0)


# ---------------------------------------------------------------- energy


def counters(folder: Path, microjoules: int, busy_ticks: int) -> tuple[list[Path], Path]:
    zone = folder / "intel-rapl:0"
    zone.mkdir(exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text("10000000\n")
    stat = folder / "stat"
    stat.write_text(f"cpu  {busy_ticks} 0 0 99999 5 0 0 0 0 0\ncpu0 0\n")
    return [zone], stat


def test_a_stage_is_given_its_share_of_the_machines_energy(tmp_path: Path) -> None:
    meter = Rapl(*counters(tmp_path, 1_000_000, 1000))
    assert meter.wh(50.0) == (0.0, "")
    counters(tmp_path, 8_200_000, 1000 + 400)  # 7.2 J, while all processes together worked for 4 s
    assert meter.wh(53.0)[0] == pytest.approx(7.2 / 3600 * 3 / 4)
    counters(tmp_path, 600_000, 1400 + 100)  # the counter has turned at 10 J: 2.4 J more
    assert meter.wh(54.0)[0] == pytest.approx(7.2 / 3600 * 3 / 4 + 2.4 / 3600)


def test_cores_inside_a_package_are_not_counted_twice(tmp_path: Path) -> None:
    counters(tmp_path, 0, 0)
    inner = tmp_path / "intel-rapl:0:0"
    inner.mkdir()
    (inner / "name").write_text("core\n")
    (inner / "energy_uj").write_text("1\n")
    meter = energy_meter(tmp_path, tmp_path / "stat")
    if isinstance(meter, Rapl):  # else codecarbon is installed, and asked first
        assert [z.name for z in meter._zones] == ["intel-rapl:0"]


def test_without_counters_or_codecarbon_it_says_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    value, why = energy_meter(tmp_path, tmp_path / "stat").wh(1.0)
    assert value is None and "codecarbon is not installed" in why and 'pip install "sciimg[energy]"' in why


def test_codecarbon_is_asked_offline_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("codecarbon", reason="codecarbon is not installed: pip install 'sciimg[energy]'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def refused(*args: Any, **named: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refused)
    meter = energy_meter()
    assert (meter.name or "").startswith("codecarbon")
    burn(1.2)
    meter.stop()
    value, why = meter.wh(0.0)
    assert value is not None and value > 0 and why == ""
    assert list(tmp_path.iterdir()) == []
