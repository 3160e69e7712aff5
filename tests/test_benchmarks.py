"""Benchmarks that need a machine of their own still run small here, so that they cannot rot."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_gpu_benchmark_runs_small_on_the_cpu() -> None:
    script = ROOT / "tests" / "benchmarks" / "bench_gpu.py"
    done = subprocess.run(
        [sys.executable, str(script), "--small"], capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'who': 'sciimg'") == 3 and done.stdout.count("'who': 'monai'") == 2


def test_the_benchmark_of_the_judges_runs_small(tmp_path: Path) -> None:
    script, out = ROOT / "tests" / "benchmarks" / "bench_judges.py", tmp_path / "judges.json"
    done = subprocess.run(
        [sys.executable, str(script), "--small", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert all(section["rows"] and section["about"]["versions"] for section in json.loads(out.read_text()).values())
