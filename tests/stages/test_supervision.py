"""A child ends when its parent does, even by SIGKILL."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import os, time
from sciimg.stages.supervision import watch_parent
watch_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = f"""
import sys
from pathlib import Path
from sciimg.stages.supervision import start
with open(sys.argv[1], "w") as output:
    start([sys.executable, "-c", {CHILD!r}], output=output).wait()
"""


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _until(condition: "object", seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(note)])
    try:
        assert _until(lambda: note.exists() and note.read_text().strip())
        child = int(note.read_text())
        assert _alive(child)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert _until(lambda: not _alive(child))


def test_the_exit_code_comes_back(tmp_path: Path) -> None:
    from sciimg.stages.supervision import start

    assert start([sys.executable, "-c", "import sys; sys.exit(3)"]).wait() == 3
