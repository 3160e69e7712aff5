"""The whole way on real tissue with a tiny budget: run, audit, tamper, kill, resume.

``SCIIMG_PYTHON`` names the interpreter whose sciimg is tried, by default this one; ``.ci/run`` gives one that has the wheel. Commands run
in an empty folder, so that they see what is installed and not what lies around.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = os.environ.get("SCIIMG_PYTHON", sys.executable)
STUDY = "protocols/smoke.yaml"  # ships with sciimg
sys.path.insert(0, str(ROOT / "tests" / "faults"))

from kill_and_resume import release_bytes  # noqa: E402

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with keys of its own, made on first use; PWD is where commands run."""
    empty = tmp_path_factory.mktemp("empty")
    return {**os.environ, "PWD": str(empty), "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config"))}


def sciimg(settings: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-m", "sciimg.cli", *map(str, words)]
    return subprocess.run(command, env=settings, cwd=settings["PWD"], capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def workdir(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Path:
    """One undisturbed run."""
    folder = tmp_path_factory.mktemp("runs")
    result = sciimg(settings, "run", STUDY, "--workdir", folder, "--json")
    assert result.returncode in (0, 1), result.stderr
    outcome = json.loads(result.stdout)
    assert set(outcome) == {"study", "digest", "decision", "reasons", "run", "release", "report"}
    assert outcome["decision"] == "refused"  # a few steps of training follow no mask
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return folder


@pytest.fixture
def release(workdir: Path, tmp_path: Path) -> Path:
    (made,) = workdir.glob("*/release/release")
    return Path(shutil.copytree(made, tmp_path / "release"))


def test_the_release_is_complete_and_verifies(release: Path, settings: dict[str, str]) -> None:
    for name in (
        "dataset/study.yaml",
        "dataset/ro-crate-metadata.json",
        "dataset/croissant.json",
        "dataset/DATASHEET.md",
        "report.html",
        "report.pdf",
    ):
        assert (release / name).stat().st_size > 0
    result = sciimg(settings, "audit", release, "--json")
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout)["verified"] is True


def test_a_changed_byte_is_found(release: Path, settings: dict[str, str]) -> None:
    path = release / "dataset" / "evidence" / "decision.json"
    path.write_bytes(path.read_bytes().replace(b"refused", b"REFUSED").replace(b"accepted", b"ACCEPTED"))
    result = sciimg(settings, "audit", release, "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["problems"]


def test_a_stranger_does_not_trust_the_key_inside(release: Path, settings: dict[str, str], tmp_path: Path) -> None:
    stranger = {**settings, "XDG_CONFIG_HOME": str(tmp_path / "other")}
    assert sciimg(stranger, "audit", release).returncode == 1


def test_running_again_does_nothing_again(workdir: Path, settings: dict[str, str]) -> None:
    result = sciimg(settings, "run", STUDY, "--workdir", workdir)
    assert result.returncode in (0, 1)
    assert "begins" not in result.stderr and "release: done before" in result.stderr


def test_a_finished_run_starts_no_flow(workdir: Path, settings: dict[str, str]) -> None:
    """Prefect and its server take most of a minute to come up, for nothing; a passphrase would be asked for as vainly."""
    asked = f"launch.start = keys.unlock = None; print(launch.launch(Path({STUDY!r}), Path({str(workdir)!r}))['decision'])"
    command = [PYTHON, "-c", f"from pathlib import Path; from sciimg.provenance import keys; from sciimg.stages import launch; {asked}"]
    result = subprocess.run(command, env=settings, cwd=settings["PWD"], capture_output=True, text=True, check=False)
    assert result.stdout == "refused\n", result.stderr


def test_info_describes_run_model_collection_and_release(workdir: Path, settings: dict[str, str]) -> None:
    (run,) = workdir.glob("smoke-*")
    for path, kind in (
        (run, "run"),
        (run / "train-ldm" / "model", "model"),
        (run / "generate-ldm" / "synthetic", "collection"),
        (run / "release" / "release", "release"),
    ):
        result = sciimg(settings, "info", path, "--json")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["kind"] == kind


@pytest.mark.slow
def test_the_benchmark_of_samplers_runs_on_a_finished_run(workdir: Path, settings: dict[str, str], tmp_path: Path) -> None:
    (run,) = workdir.glob("smoke-*")
    script = Path(__file__).parent / "benchmarks" / "bench_samplers.py"
    asked = ["heun 12 uniform", "unipc-3 10 uniform"]
    command = [PYTHON, str(script), str(run), "--count", "16", "--out", str(tmp_path / "samplers.json"), "--samplers", *asked]
    result = subprocess.run(command, env=settings, cwd=settings["PWD"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (found,) = json.loads((tmp_path / "samplers.json").read_text())["runs"].values()
    assert list(found["samplers"]) == asked
    first, second = found["samplers"].values()
    assert first["more than heun 12 uniform, texture, train"] == [0, 0, 0] and second["kid, texture, train"] != first["kid, texture, train"]


@pytest.mark.slow  # every kind of stage has a test of its own that is killed; `make faults` kills a whole run ten times
def test_killed_runs_end_in_the_same_bytes(workdir: Path, settings: dict[str, str], tmp_path: Path) -> None:
    for moment in (9, 14, 22):
        command = [PYTHON, "-m", "sciimg.cli", "run", STUDY, "--workdir", str(tmp_path)]
        process = subprocess.Popen(command, env=settings, cwd=settings["PWD"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert sciimg(settings, "run", STUDY, "--workdir", tmp_path).returncode in (0, 1)
    assert release_bytes(tmp_path) == release_bytes(workdir)
