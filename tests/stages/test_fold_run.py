"""A whole cross-validation through the flow: killed in the middle of a fold, with one worker or two, it ends in the same evidence."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOKE = (ROOT / "protocols/smoke.yaml").read_text()
OLD = SMOKE[SMOKE.index("recipes:\n") : SMOKE.index("generate:\n")]
NEW = """recipes:
  - name: gan
    recipe: gan
    options: {training.steps: 6, training.warmup: 5, training.batch: 4, training.held_out_patches: 4}
"""
GATE = "  - {name: again, metric: mask-fidelity_folds, at_least: 0.9, why: What holds on one strip should hold on the others.}\nrelease:"
STUDY = (
    SMOKE.replace(OLD, NEW)
    .replace("[64, 64]\nconditions", "[32, 32]\nconditions")
    .replace("validation:\n", "validation:\n  cross_validation: {folds: 3}\n")
    .replace("release:", GATE)
    .replace("  downstream: {seeds: 2, steps: 5, annotated_images: 4}\n", "")
    .replace("[intensity-law, power-spectrum]", "[intensity-law]")
    .replace("count: 24", "count: 12")
    .replace("samples: 24", "samples: 12")
    .replace("name: smoke\n", "name: folded\n")
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def command(study: Path, workdir: Path, slots: int) -> list[str]:
    return [sys.executable, "-m", "sciimg.cli", "run", str(study), "--workdir", str(workdir), "--slots", str(slots)]


def outputs(run: Path) -> dict[str, str]:
    """Return the digest of what every stage made; of the release, whose report and attestation hold the time, that of the signed root."""
    stages = {p.parent.name: json.loads(p.read_text())["outputs"]["digest"] for p in run.glob("*/stage.json")}
    stages.pop("release")
    return stages | {p.name: p.read_text() for p in (run / "release/release/dataset/evidence").glob("fold*.json")}


def test_one_worker_or_two_and_a_kill_in_the_middle_of_a_fold_end_in_the_same_bytes(tmp_path: Path) -> None:
    settings = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    assert subprocess.run(command(study, tmp_path / "one", 1), env=settings, check=False).returncode == 1  # refused: six steps
    (run,) = (tmp_path / "one").glob("folded-*")
    for part in (".fold-2-train-gan.partial", ".fold-3-validate-gan.partial"):
        process = subprocess.Popen(command(study, tmp_path / "two", 2), env=settings)
        partial = tmp_path / "two" / run.name / part
        while not partial.exists() and process.poll() is None:
            time.sleep(0.1)
        time.sleep(1)  # a stage takes longer to load its libraries
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert partial.exists() and not (tmp_path / "two" / run.name / part.removeprefix(".").removesuffix(".partial")).exists()
    assert subprocess.run(command(study, tmp_path / "two", 2), env=settings, check=False).returncode == 1
    expected, got = outputs(run), outputs(tmp_path / "two" / run.name)
    assert expected == got
    assert {f"fold-{i}-{stage}" for i in (1, 2, 3) for stage in ("train-gan", "baseline", "generate-gan", "validate-gan")} < set(got)
    evidence = json.loads(got["folds-gan.json"])
    assert all(check["passed"] for check in evidence["checks"]) and len(evidence["checks"]) == 5
    known = {m["name"]: m for m in evidence["metrics"]}
    folds = [fold["value"] for fold in known["intensity-law_effect_folds"]["detail"]["folds"]]
    assert len(set(folds)) == 3  # other data, another training, other draws
    audit = [sys.executable, "-m", "sciimg.cli", "audit", str(run / "release/release")]
    assert subprocess.run(audit, env=settings, check=False).returncode == 0
