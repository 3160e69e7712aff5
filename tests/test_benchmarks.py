"""Benchmarks that need a machine of their own still run small here, so that they cannot rot."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sciimg.protocol.data import ClassCondition, MaskCondition, ScalarCondition
from sciimg.protocol.vocabulary import PHYSICS, metrics, physics_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_gpu_benchmark_runs_small_on_the_cpu() -> None:
    script = ROOT / "tests" / "benchmarks" / "bench_gpu.py"
    done = subprocess.run(
        [sys.executable, str(script), "--small"], capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'who': 'sciimg'") == 3 and done.stdout.count("'who': 'monai'") == 2


def judges_benchmark(tmp_path: Path, *words: str) -> dict[str, Any]:
    script, out = ROOT / "tests" / "benchmarks" / "bench_judges.py", tmp_path / "judges.json"
    done = subprocess.run(
        [sys.executable, str(script), "--small", "--out", str(out), *words],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    assert all(section["rows"] and section["about"]["versions"] for section in found.values())
    return found


@pytest.mark.slow
def test_the_benchmark_of_the_judges_runs_small(tmp_path: Path) -> None:
    found = judges_benchmark(tmp_path, "--sections", "ssim,curves")
    curve = found["curves"]["rows"]["parts"]["noise-law"]["found"]["tissue"]["metrics"]["noise-law_effect"]
    assert curve["honest"]["accepted"] == 1 and curve["faults"]["blur, px"][-1]["refused"] == 1
    assert (tmp_path / "judges.svg").stat().st_size > 10_000


@pytest.mark.slow
def test_every_section_of_the_benchmark_of_the_judges_runs_small(tmp_path: Path) -> None:
    assert set(judges_benchmark(tmp_path)) == {"ssim", "peers", "planted", "growth", "memory", "curves"}


def test_every_gate_of_the_vocabulary_has_a_curve_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    curves = importlib.import_module("judges_curves")
    classes, scalars = (
        ClassCondition(kind="class", name="kind", column="kind"),
        ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel="grey"),
    )
    for name in metrics((MaskCondition(kind="mask"), classes, scalars), subgroups=("site",)):
        simulated = (
            physics_of(name) in curves.LADDERS
            or any(name.endswith(f"_{space}") for space in curves.SPACES)
            or name.startswith(("mask-", "condition_kind", "condition_level"))
            or name.endswith("gain_added_to_classical")
        )
        assert simulated or any(word in name for word in curves.NOT_SIMULATED), name
    assert set(curves.LADDERS) == set(curves.KINDS) == set(PHYSICS) - set(curves.NOT_SIMULATED)
