"""How a run stands: which stages are done, going on, interrupted, failed or still to come, and what each has cost so far."""

import datetime
import fcntl
import json
import socket
from pathlib import Path
from typing import Any

from sciimg.report import costs
from sciimg.stages.costs.measured import attempts, total
from sciimg.stages.ledger import Run, partial_folder
from sciimg.stages.plan import plan_of

_SIGN_S = 60.0  # a stage on another machine that has written its costs within this long is taken to be at work


def standing(run: Run) -> list[dict[str, Any]]:
    """Return every stage of a run in order, with its state and its costs, units in their names.

    ``state`` is ``done``, ``going on`` (``since`` when), ``failed`` (``why``), ``interrupted`` (the same command goes on with it) or
    ``waiting``.
    """
    return [{"stage": name, **_standing(run, name)} for name in plan_of(run)]


def _standing(run: Run, name: str) -> dict[str, Any]:
    entry = run.ledger(name)
    if entry is not None:
        return {"done": True, "state": "done", **costs.cost_of(entry)}
    records = attempts(partial_folder(run, name))
    spent = total(records) if records else {}
    if _held(run.path / f".{name}.lock", records):
        return {"done": False, "state": "going on", "since": records[-1]["started"] if records else None, **spent}
    if why := _failure(run, name):
        return {"done": False, "state": "failed", "why": why, **spent}
    return {"done": False, "state": "interrupted" if records else "waiting", **spent}


def _held(lock: Path, records: list[dict[str, Any]]) -> bool:
    """Whether a process works at a stage: it holds the lock, or, where another machine has it, its costs were written just now.

    A lock on a network file system may not be seen from here.
    """
    try:
        with lock.open() as stream:
            holder = stream.read()
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    elsewhere = bool(holder) and not holder.endswith(f" on {socket.gethostname()}")
    return elsewhere and bool(records) and not records[-1]["ended"] and _age_s(records[-1]["seen"]) < _SIGN_S


def _age_s(stamp: str) -> float:
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(stamp)).total_seconds()


def _failure(run: Run, name: str) -> str | None:
    """Return the first thing that the last attempt at a stage complained of."""
    try:
        problems = json.loads((run.path / "logs" / f"{name}.problems.json").read_text(encoding="utf-8"))["problems"]
    except (OSError, ValueError):
        return None
    return str(problems[0]["message"])


def table(about: dict[str, Any]) -> str:
    """Return what :func:`sciimg.stages.info.describe` says of a run, for people."""
    stages = about["stages"]
    rows = [(s["stage"], _state(s), *(costs.cells(s) if "wall_s" in s else ("",) * len(costs.TITLES))) for s in stages]
    known = [s for s in stages if "wall_s" in s]
    if known:
        rows.append(("all", f"{sum(s['done'] for s in stages)} of {len(stages)} done", *costs.cells(about["totals"])))
    head = [f"{key:<10} {about[key]}" for key in ("kind", "path", "study", "digest", "decision") if about[key] is not None]
    spent = about["processor_hours"]
    notes = [f"Processor hours: {', '.join(f'{what} {hours:.2f}' for what, hours in spent.items())}"] if known else []
    if missing := costs.unseen(known):
        notes.append(f"Attempts that were killed are known up to {missing:.0f} s before their end, all together.")
    if any(s["state"] == "failed" for s in stages):
        notes += [f"{s['stage']} failed: {s['why']}" for s in stages if s["state"] == "failed"]
    notes += costs.reasons(known)
    return "\n".join([*head, "", *costs.lines(rows, ("Stage", "State", *costs.TITLES)), "", *notes]).rstrip()


def _state(stage: dict[str, Any]) -> str:
    if stage["state"] == "going on" and stage["since"]:
        return f"going on since {stage['since'].removesuffix('Z').replace('T', ' ')} UTC"
    if stage["state"] == "done" and stage.get("attempts", 1) > 1:
        return f"done, attempt {stage['attempts']}"
    return str(stage["state"])
