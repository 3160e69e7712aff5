"""A release looked at again: is it as signed, and do its judges say the same with the libraries of today.

The release is audited. Then everything that judges is made anew from the real images of the run, the released images are judged again
(those of every candidate, where the study released none), the machinery is tested again, and the decision is derived from what came
out. On the same machine with the same libraries every number is the same to the last bit; what moved tells of a drifted environment or
of damaged data. Nothing of the run or the release is changed; the result lies in ``revalidations/`` of the run, one file each time.
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.files import hold, write_json
from sciimg.records import canonical_json, digest_of
from sciimg.stages.ledger import LOCK, Run, environment, log

RESULTS = "revalidations"
_PARTIAL = ".revalidation.partial"
_JUDGED = "validate-"
_NEEDED = ("ingest/collection", "split/regions.parquet")
Row = dict[str, Any]


def revalidate(workdir: str, study: str = "", trust: str = "") -> dict[str, Any]:
    """Look at the newest release below a folder of runs again.

    Parameters
    ----------
    workdir : str
        Folder of runs.
    study : str
        Only releases of studies of this name; empty: of any.
    trust : str
        Trust policy for the audit; empty: the user's own.

    Returns
    -------
    dict
        ``run``, ``study``, ``digest``, ``verdict`` (``as signed``, ``moved``, ``decided otherwise`` or ``fault``), ``decision`` (``signed``
        and ``now``), ``compared`` (how many numbers), ``moved`` (rows, the largest change first), ``environment`` (versions that differ),
        ``faults`` (of the audit) and ``result`` (the file that all this lies in).

    Raises
    ------
    InputError
        If there is no such release, or the run no longer holds what its judges need.
    BusyError
        If the study is being run.
    """
    run = newest_release(Path(workdir), study)
    with hold(run.path / LOCK):
        value = _looked_at(run, trust)
        stamp = time.strftime("%Y-%m-%dt%H-%M-%Sz", time.gmtime())
        result = run.path / RESULTS / f"{stamp}.json"
        write_json(result, value)
        shutil.rmtree(run.path / _PARTIAL, ignore_errors=True)
    return value | {"result": str(result)}


def newest_release(workdir: Path, study: str = "") -> Run:
    """Return the run whose release was finished last, as the ledgers say.

    Raises
    ------
    InputError
        If there is none.
    """
    found = []
    for about in sorted(workdir.glob("*/run.json")):
        run = Run(about.parent)
        entry = run.ledger("release")
        if entry is not None and (not study or run.loaded.study.name == study):
            found.append((entry["timings"]["started"], run.path.name, run))
    if not found:
        which = f"of a study called {study!r} " if study else ""
        message = f"There must be a finished release {which}below {workdir.absolute()}; there is none. Run a study, or set another folder."
        raise InputError(Problem("workdir", "no-release", message))
    return max(found, key=lambda f: f[:2])[2]


def _looked_at(run: Run, trust: str) -> dict[str, Any]:
    from sciimg.provenance.audit import audit
    from sciimg.provenance.policy import load_policy

    release = run.folder("release") / "release"
    study = run.loaded.study
    about = {"run": str(run.path), "study": study.name, "digest": study.digest}
    result = audit(release, load_policy(Path(trust)) if trust else None)
    if not result.verified:
        faults = [p.as_dict() for p in result.problems]
        nothing: dict[str, Any] = {"decision": {"signed": None, "now": None}, "compared": 0, "moved": [], "environment": {}}
        return about | nothing | {"verdict": "fault", "faults": faults}
    signed = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((release / "dataset/evidence").glob("*.json"))}
    now = _judged_again(run, release, signed)
    rows = [row for stage in now for row in _compared(stage, signed[stage], now[stage])]
    moved = sorted((row for row in rows if row["signed"] != row["now"]), key=_weight, reverse=True)
    decision = {"signed": signed["decision"]["decision"], "now": _decided(run, signed | now)}
    verdict = "decided otherwise" if decision["now"] != decision["signed"] else "moved" if moved else "as signed"
    then = signed["stages"]["environment"]
    changed = {name: [then.get(name), version] for name, version in environment().items() if then.get(name) != version}
    return about | {
        "verdict": verdict,
        "decision": decision,
        "compared": len(rows),
        "moved": moved,
        "environment": changed,
        "faults": [],
    }


# ---------------------------------------------------------------- judging again


def _judged_again(run: Run, release: Path, signed: Mapping[str, Any]) -> dict[str, Any]:
    """Return evidence made now, by stage: of the released recipe, or of all candidates, and of the machinery."""
    from sciimg.stages.baseline import EVIDENCE, baseline
    from sciimg.stages.validate import validate
    from sciimg.stages.verify import verify_machine

    study = run.loaded.study
    released = signed["decision"]["released"]
    recipes = [released] if released else [r.name for r in study.recipes if r.role == "candidate"]
    made = {recipe: run.folder(f"generate-{recipe}") for recipe in recipes}
    images = {recipe: release / "dataset" if recipe == released else folder / "synthetic" for recipe, folder in made.items()}
    _need(run, images.values())
    partial = _partial(run, release)
    real, regions = (run.path / name for name in _NEEDED)
    log("judges: made again")
    baseline(study, real=real, regions=regions, out=partial / "baseline")
    now: dict[str, Any] = {}
    for recipe, folder in made.items():
        log(f"{recipe}: judged again")
        out = partial / f"{_JUDGED}{recipe}"
        how: dict[str, Any] = {
            name: folder / name if (folder / name).exists() else None for name in ("paired", "reconstruction", "unmarked")
        }
        how |= {"made_baseline": partial / "baseline", "folder": run.loaded.folder, "out": out}
        validate(study, real=real, regions=regions, synthetic=images[recipe], **how)
        now[f"{_JUDGED}{recipe}"] = json.loads((out / EVIDENCE).read_text(encoding="utf-8"))
    log("the machinery: tested again")
    asked = study.verification
    return now | {"verify": verify_machine(asked is not None and asked.benchmarks, log)}


def _need(run: Run, images: Any) -> None:
    absent = [str(path) for path in (*(run.path / name for name in _NEEDED), *images) if not path.exists()]
    if absent:
        message = f"Judging again needs what the run was judged with; gone: {', '.join(absent)}. Run the study again, or restore it."
        raise InputError(Problem(str(run.path), "run-incomplete", message))


def _partial(run: Run, release: Path) -> Path:
    """Return the working folder: what was judged before a kill is kept, if it was this release in this environment."""
    from sciimg.records import digest_file

    partial, begun = run.path / _PARTIAL, run.path / _PARTIAL / ".inputs.json"
    inputs = {"release": digest_file(release / "dataset.sigstore.json"), "environment": digest_of(environment())}
    if partial.exists() and not (begun.exists() and json.loads(begun.read_text(encoding="utf-8")) == inputs):
        shutil.rmtree(partial)
    if not partial.exists():
        write_json(begun, inputs)
    return partial


def _decided(run: Run, evidence: Mapping[str, Any]) -> str:
    from sciimg.decision import collect, decide
    from sciimg.provenance.release import RESERVED

    bearing = {name: value for name, value in evidence.items() if name not in (*RESERVED, "ingest")}
    return decide(run.loaded.study, *collect(bearing)).decision


# ---------------------------------------------------------------- what moved


def _compared(stage: str, signed: Mapping[str, Any], now: Mapping[str, Any]) -> list[Row]:
    """Return a row for each metric and check of either side: what it was, what it is."""
    then, today = _numbers(signed), _numbers(now)
    return [_row(stage, name, then.get(name), today.get(name)) for name in sorted({*then, *today})]


def _numbers(evidence: Mapping[str, Any]) -> dict[str, Row]:
    metrics = {m["name"]: {"value": m["value"], "ci95": m["ci95"], "status": m["status"]} for m in evidence.get("metrics", ())}
    checks = {
        c["name"]: {"value": c["got"], "ci95": None, "status": "passed" if c["passed"] else "failed"} for c in evidence.get("checks", ())
    }
    return json.loads(canonical_json(metrics | checks))  # type: ignore[no-any-return]


def _row(stage: str, name: str, signed: Row | None, now: Row | None) -> Row:
    change = share = None
    if signed and now and isinstance(signed["value"], int | float) and isinstance(now["value"], int | float):
        change = now["value"] - signed["value"]
        interval = signed["ci95"]
        share = None if not interval or interval[1] <= interval[0] else 2 * change / (interval[1] - interval[0])
    return {"stage": stage, "name": name, "signed": signed, "now": now, "change": change, "of_interval": share}


def _weight(row: Row) -> tuple[bool, float, float]:
    """Order by how much a change says: another status, then the change in half widths of the signed interval, then the change."""
    other = row["signed"] is None or row["now"] is None or row["signed"]["status"] != row["now"]["status"]
    return other, abs(row["of_interval"] or 0.0), abs(row["change"] or 0.0)
