"""Children that do not outlive their parent, whatever kills it.

The parent holds the write end of a pipe and never writes; the child watches the read end. When the parent ends, even by SIGKILL, the
kernel closes the pipe and the child ends itself and its process group. No signals, no polling, no pid files.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from sciimg.augmenters.ranks import VARIABLES

_PIPE = "SCIIMG_PARENT_PIPE"


def watch_parent(*, group: bool = False) -> None:
    """End this process (with ``group``: its whole process group) when the parent that started it with :func:`start` is gone."""
    pipe = os.environ.pop(_PIPE, None)
    if pipe is None:
        return

    def wait() -> None:
        os.read(int(pipe), 1)  # returns only at the end of file
        if group:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, name="watch-parent", daemon=True).start()


def start(
    command: Sequence[str], *, output: IO[Any] | None = None, environment: Mapping[str, str] | None = None, session: bool = False
) -> "Child":
    """Start a command whose process calls :func:`watch_parent` first.

    The child is a process by itself, also where this one is one of several that a scheduler started.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    output : file, optional
        Receives the child's stdout and stderr; by default both are inherited.
    environment : mapping, optional
        Added to this process's environment.
    session : bool
        Whether the child leads a process group of its own.
    """
    read, write = os.pipe()
    os.set_inheritable(read, True)
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            env={name: value for name, value in os.environ.items() if name not in VARIABLES} | {**(environment or {}), _PIPE: str(read)},
            pass_fds=(read,),
            start_new_session=session,
        )
    except BaseException:
        os.close(write)
        raise
    finally:
        os.close(read)
    return Child(process, write)


class Child:
    """A running child and the pipe that keeps it alive."""

    def __init__(self, process: "subprocess.Popen[Any]", pipe: int) -> None:
        self.process = process
        self._pipe = pipe

    def wait(self) -> int:
        """Wait for the end and return the exit code; an interrupt of this process ends the child first."""
        try:
            return self.process.wait()
        finally:
            os.close(self._pipe)
            if self.process.poll() is None:
                self.process.wait()


def run_stage(stage: str, run: Path, log_file: Path) -> int:
    """Run ``python -m sciimg.stages STAGE RUN`` as a supervised child with its output in a log file; return the exit code."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as stream:
        return start([sys.executable, "-m", "sciimg.stages", stage, str(run)], output=stream).wait()
