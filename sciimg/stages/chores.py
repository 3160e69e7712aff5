"""What is scheduled beside studies: functions of plain values that run in a supervised process of their own.

``python -m sciimg.stages.chores NAME FOLDER`` reads ``FOLDER/request.json`` and leaves ``FOLDER/reply.json``.
"""

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sciimg.errors import Problem, SciimgError
from sciimg.files import write_json
from sciimg.stages.supervision import start, watch_parent


def chore(name: str) -> Callable[..., dict[str, Any]]:
    """Return the function of a chore: keyword arguments and result are JSON."""
    match name:
        case "watch":
            from sciimg.stages.watch import take_new

            return take_new
        case "revalidate":
            from sciimg.stages.revalidate import revalidate

            return revalidate
        case _:
            raise ValueError(f"no chore is called {name!r}")


def carry_out(name: str, log_file: Path, **arguments: Any) -> dict[str, Any]:
    """Carry out a chore in a process that ends when this one does; return its result.

    Parameters
    ----------
    log_file : Path
        Receives what the process prints; it may name files, so it is made readable by its owner only.

    Raises
    ------
    SciimgError
        What the chore raised, or how its process ended.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, open(log_file, "ab", opener=_private) as stream:
        folder = Path(place)
        write_json(folder / "request.json", arguments)
        code = start([sys.executable, "-m", "sciimg.stages.chores", name, place], output=stream).wait()
        if not (folder / "reply.json").exists():
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            message = f"The process {how} and left no result. The next run goes on from here; what it printed is in {log_file}."
            error = SciimgError(Problem(str(log_file), "chore-failed", message))
            error.exit_code = 1
            raise error
        reply: dict[str, Any] = json.loads((folder / "reply.json").read_text(encoding="utf-8"))
    if "problems" in reply:
        error = SciimgError(Problem(**p) for p in reply["problems"])
        error.exit_code = reply["exit_code"]
        raise error
    value: dict[str, Any] = reply["value"]
    return value


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def main(name: str, place: str) -> int:
    """Carry out one chore; return the exit code."""
    folder = Path(place)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    try:
        reply: dict[str, Any] = {"value": chore(name)(**request)}
    except SciimgError as error:
        print(error, file=sys.stderr)
        reply = {"exit_code": error.exit_code, "problems": [dataclasses.asdict(p) for p in error.problems]}
    write_json(folder / "reply.json", reply)
    return int(reply.get("exit_code", 0))


if __name__ == "__main__":
    watch_parent()
    sys.exit(main(*sys.argv[1:]))
