"""Kill a run with SIGKILL at random moments, resume it, and compare the release with that of an undisturbed run.

    python tests/faults/kill_and_resume.py protocols/tissue-demo.yaml --kills 10

Prints one JSON document; exit code 0 when every byte of the release is the same. What may differ by design lies outside the signed root:
times in attestations and in the report.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path


def run(study: str, workdir: Path, kill_after: float | None = None) -> int | None:
    """Run a study; with ``kill_after`` seconds, SIGKILL the command then. Return the exit code, or None when it was killed."""
    process = subprocess.Popen([sys.executable, "-m", "sciimg.cli", "run", study, "--workdir", str(workdir)], stdout=subprocess.DEVNULL)
    try:
        return process.wait(kill_after)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return None


def release_bytes(workdir: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of the signed root and of its signature."""
    (release,) = workdir.glob("*/release/release")
    files = [p for p in (release / "dataset").rglob("*") if p.is_file()] + [release / "dataset.sigstore.json"]
    return {p.relative_to(release).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def duration(workdir: Path) -> float:
    """Return the seconds from the first stage's start to the last one's end, as the stages recorded them."""
    timings = [json.loads(p.read_text())["timings"] for p in workdir.glob("*/*/stage.json")]
    starts = [datetime.fromisoformat(t["started"]).timestamp() for t in timings]
    return max(s + t["wall_s"] for s, t in zip(starts, timings, strict=True)) - min(starts)


def main() -> int:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", type=Path, help="Work folder of an undisturbed run that is there already.")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        reference = arguments.reference or Path(folder) / "undisturbed"
        codes = [run(arguments.study, reference)]
        whole = duration(reference)
        killed = Path(folder) / "killed"
        moments = []
        while len(moments) < arguments.kills:
            moment = rng.uniform(2, max(12.0, 1.6 * whole / arguments.kills))
            code = run(arguments.study, killed, moment)
            moments.append(round(moment, 1))
            if code is not None:
                codes.append(code)
                break
        codes.append(run(arguments.study, killed))
        expected, got = release_bytes(reference), release_bytes(killed)
        differing = sorted(k for k in expected.keys() | got.keys() if expected.get(k) != got.get(k))
        print(json.dumps({"kills_at_s": moments, "exit_codes": codes, "files": len(expected), "differing": differing}, indent=1))
        return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
