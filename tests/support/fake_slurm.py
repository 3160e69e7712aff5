"""Commands that behave like Slurm's on one machine without a cluster: jobs are processes, the queue is a folder."""

import os
from pathlib import Path

import pytest

_SBATCH = r"""
name= output= partition=cpu test=
for word; do
    case $word in
        --job-name=*) name=${word#*=} ;;
        --output=*) output=${word#*=} ;;
        --partition=*) partition=${word#*=} ;;
        --test-only) test=yes ;;
    esac
    script=$word
done
echo "$@" >>"$FAKE/submissions"
[ -e "$FAKE/silent" ] && { echo "sbatch: error: Unable to contact slurm controller (connect failure)" >&2; exit 1; }
[ "$partition" = cpu ] || { echo "sbatch: error: invalid partition specified: $partition" >&2; exit 1; }
[ "$test" ] && exit 0
id=$(($(ls "$FAKE/jobs" | wc -l) + 1))
echo "$id|$name|RUNNING|n1|None" >"$FAKE/jobs/$id"
(
    restarts=0
    while :; do
        SLURM_JOB_ID=$id SLURM_JOB_NODELIST=n1 SLURMD_NODENAME=n1 SLURM_RESTART_COUNT=$restarts bash "$script" >>"$output" 2>&1
        code=$?
        rm "$FAKE/requeue.$id" 2>/dev/null || break
        restarts=$((restarts + 1))
    done
    state=COMPLETED
    [ $code = 0 ] || state=FAILED
    [ -e "$FAKE/state" ] && state=$(cat "$FAKE/state")
    echo "$id|$name|$state|n1|None" >"$FAKE/jobs/.$id" && mv "$FAKE/jobs/.$id" "$FAKE/jobs/$id"
) >/dev/null 2>&1 &
echo "$id"
"""
_SQUEUE = r"""
[ -e "$FAKE/silent" ] && { echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1; }
cat "$FAKE"/jobs/* 2>/dev/null
true
"""
_SRUN = r"""
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
_SCONTROL = r"""
case "$1 $2" in
    "show hostnames") echo n1 ;;
    "show node") echo "NodeName=n1 NodeAddr=127.0.0.1 Port=1" ;;
    requeue*) touch "$FAKE/requeue.$2"; kill $PPID ;;
esac
"""


class FakeSlurm:
    """Puts the commands on the path of a test.

    Parameters
    ----------
    folder : Path
        Holds commands, queue and what was submitted.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        (folder / "jobs").mkdir()
        for name, text in {"sbatch": _SBATCH, "squeue": _SQUEUE, "srun": _SRUN, "scontrol": _SCONTROL, "sinfo": "echo cpu"}.items():
            command = folder / "bin" / name
            command.write_text(f"#!/bin/bash\n{text}")
            command.chmod(0o755)
        monkeypatch.setenv("FAKE", str(folder))
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")

    @property
    def submissions(self) -> list[str]:
        """Every call of sbatch that was to submit something."""
        log = self.folder / "submissions"
        return [line for line in (log.read_text().splitlines() if log.exists() else []) if "--test-only" not in line]

    def queue(self, *jobs: str) -> None:
        """Put jobs into the queue: ``ID|NAME|STATE|NODES|REASON``."""
        for job in jobs:
            (self.folder / "jobs" / job.split("|")[0]).write_text(f"{job}\n")
