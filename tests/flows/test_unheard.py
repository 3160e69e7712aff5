"""A flow goes on when the process that reads what it prints is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, stat, sys, time
from pathlib import Path
from rich.console import Console
from flows.unheard import outlive_reader
if sys.argv[2] == "outlives":
    outlive_reader()
print("begins", flush=True)
while not Path(sys.argv[1], "gone").exists():
    time.sleep(0.01)
wait = time.monotonic() + (30 if sys.argv[2] == "outlives" else 0.2)  # a busy machine is slow to notice
while time.monotonic() < wait and any(stat.S_ISFIFO(os.fstat(number).st_mode) for number in (1, 2)):
    time.sleep(0.01)
Console(stderr=True).print("nobody hears this")
print("nor this", flush=True)
Path(sys.argv[1], "done").touch()
"""


@pytest.mark.parametrize("how", ["outlives", "does not"])
def test_what_is_printed_for_nobody_ends_nothing(tmp_path: Path, how: str) -> None:
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), how], stdout=write, stderr=write)
    os.close(write)
    with os.fdopen(read, "rb") as reader:
        assert reader.readline() == b"begins\n"  # all of it: an unbuffered print writes twice, and the pipe is not to break between
    (tmp_path / "gone").touch()
    ended_well = process.wait(60) == 0
    assert ended_well == (tmp_path / "done").exists() == (how == "outlives")
