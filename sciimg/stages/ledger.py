"""The run folder and its ledger: which stages a study has, which are done, and how one is carried out exactly once.

A stage works in ``.<stage>.partial`` and is renamed to ``<stage>`` when it is whole, ``stage.json`` last. A stage is done when its
``stage.json`` names the inputs that it would be given now; anything else is redone, continuing from what the partial folder holds if that
was begun with the same inputs. There is no other state.
"""

import json
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.files import hold, sweep, sync_directory, sync_files, write_json, write_text
from sciimg.protocol import LoadedStudy, load_study
from sciimg.protocol.models import Study
from sciimg.records import digest_of
from sciimg.stages.costs.measured import COSTS, measured
from sciimg.stages.digests import digests_of
from sciimg.stages.lookup import ENDING

LEDGER = "stage.json"
LOCK = ".run.lock"  # of a run folder, held while its flow works
_LINE = threading.Lock()
_BEGUN = ".inputs.json"
_TIMES = "training.json"  # how long a model took (sciimg.augmenters.model_file)
_NOT_COUNTED = (".lock", ENDING)


def run_folder(study: Study, workdir: Path) -> Path:
    """Return where a study runs."""
    return workdir / f"{study.name}-{study.digest.removeprefix('sha256:')[:8]}"


@dataclass(frozen=True)
class Run:
    """A run folder ``<workdir>/<study>-<digest8>``, holding the study as it was when the run began."""

    path: Path

    @classmethod
    def begin(cls, study_file: Path, workdir: Path) -> "Run":
        """Make (or find) the run folder of a study; its contract is copied in, so that later edits of the file cannot reach it."""
        loaded = load_study(study_file)
        run = cls(run_folder(loaded.study, workdir))
        run.path.mkdir(parents=True, exist_ok=True)
        write_text(run.path / "study.yaml", loaded.text)
        write_json(run.path / "run.json", {"study": loaded.study.digest, "folder": str(loaded.folder.resolve())})
        return run

    @cached_property
    def loaded(self) -> LoadedStudy:
        """The study of this run; relative sources resolve against the folder of the file it was started from."""
        try:
            about = json.loads((self.path / "run.json").read_text())
        except FileNotFoundError:
            raise InputError(
                Problem(str(self.path), "not-a-run", "A run folder holds run.json and study.yaml; start one with `sciimg run STUDY`.")
            ) from None
        return load_study(self.path / "study.yaml", folder=Path(about["folder"]))

    def folder(self, stage: str) -> Path:
        """Where the finished stage lies."""
        return self.path / stage

    def ledger(self, stage: str) -> dict[str, Any] | None:
        """Return the stage's ``stage.json``, or None when the stage has not been finished."""
        try:
            entry: dict[str, Any] = json.loads((self.folder(stage) / LEDGER).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return entry


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Parameters
    ----------
    name : str
        Folder name, e.g. ``"train-ldm"``.
    needs : tuple of str
        Stages whose outputs are this stage's inputs.
    work : callable
        ``work(run, out)`` writes into ``out``, which may hold the remains of an interrupted attempt with the same inputs.
    parameters : callable, optional
        ``parameters(run)`` gives the JSON value, beyond the study and the needed stages, that the outputs depend on.
    heavy : bool
        Whether the stage keeps one core busy for long (used for scheduling only).
    trains : bool
        Whether its work is training, which several processes may share and which stops on a signal.
    """

    name: str
    needs: tuple[str, ...]
    work: Callable[[Run, Path], None]
    parameters: Callable[[Run], Any] | None = None
    heavy: bool = False
    trains: bool = False

    def inputs(self, run: Run) -> dict[str, Any]:
        """Return everything the outputs depend on, as digests."""
        needed: dict[str, Any] = {}
        for name in self.needs:
            entry = run.ledger(name)
            if entry is None:
                raise InputError(Problem(str(run.folder(name)), "stage-missing", f"Stage {self.name!r} needs {name!r}, which is not done."))
            needed[name] = entry["outputs"]["digest"]
        extra = self.parameters(run) if self.parameters else None
        return {"study": run.loaded.study.digest, "sciimg": _version("sciimg"), "needs": needed, "parameters": extra}

    def is_done(self, run: Run) -> bool:
        """Whether the finished folder was made from the inputs of now."""
        entry = run.ledger(self.name)
        return entry is not None and all(run.ledger(name) for name in self.needs) and entry["inputs"] == self.inputs(run)


def perform(stage: Stage, run: Run) -> bool:
    """Carry out a stage unless it is done; return whether there was anything to do.

    Raises
    ------
    BusyError
        If another process is at this stage of this run.
    """
    patience_s = float(os.environ.get("SCIIMG_LOCK_PATIENCE_S", 5))  # a file server may believe in a lost node for a while
    with hold(run.path / f".{stage.name}.lock", patience_s):
        if stage.is_done(run):
            return False
        inputs = stage.inputs(run)
        partial = _begun_folder(run, stage, inputs)
        with measured(partial) as costs:
            stage.work(run, partial)
            sweep(partial, finished=True)  # of workers that were killed, and of those that were given up
            outputs = folder_digest(partial)
        entry = {
            "stage": stage.name,
            "study": run.loaded.study.digest,
            "inputs": inputs,
            "outputs": outputs,
            "timings": costs.total(),
            "environment": environment(),
        }
        shutil.rmtree(partial / COSTS)
        (partial / _BEGUN).unlink()
        write_json(partial / LEDGER, entry)
        sync_files(partial)
        _replace(partial, run.folder(stage.name))
        return True


def folder_digest(folder: Path) -> dict[str, Any]:
    """Return the digest of a folder's files by relative path, their number and their bytes.

    The ledger's own files do not count, nor does the private look-up of names.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and counted(p.relative_to(folder)))
    files = dict(zip((path.relative_to(folder).as_posix() for path in paths), digests_of(paths), strict=True))
    return {"digest": digest_of(files), "files": len(files), "bytes": sum(path.stat().st_size for path in paths)}


def counted(path: Path) -> bool:
    """Whether a file of a stage, by its path inside the stage's folder, is a part of what the stage made."""
    return path.name not in (LEDGER, _BEGUN, _TIMES) and not path.name.endswith(_NOT_COUNTED) and path.parts[0] != COSTS


def environment() -> dict[str, str]:
    """Return what the numbers of a stage may depend on: interpreter, platform and the versions of the libraries that compute."""
    names = ("sciimg", "torch", "monai", "numpy", "scipy", "scikit-image", "zarr", "pandas", "prefect")
    return {"python": platform.python_version(), "platform": platform.platform(), "machine": platform.machine()} | {
        name: _version(name) for name in names
    }


def partial_folder(run: Run, stage: str) -> Path:
    """Return where a stage works until it is whole."""
    return run.path / f".{stage}.partial"


def _begun_folder(run: Run, stage: Stage, inputs: Mapping[str, Any]) -> Path:
    """Return the stage's working folder: what an interrupted attempt left if it began with the same inputs, otherwise empty."""
    partial = partial_folder(run, stage.name)
    begun = partial / _BEGUN
    if partial.exists() and not (begun.exists() and json.loads(begun.read_text()) == inputs):
        shutil.rmtree(partial)
    if not partial.exists():
        partial.mkdir()
        write_json(begun, inputs)
    else:
        sweep(partial)
    return partial


def _replace(new: Path, place: Path) -> None:
    """Put a whole folder in its place; an outdated one is moved aside first, so that the place never holds a mixture."""
    if place.exists():
        old = place.with_name(f".{place.name}.outdated")
        if old.exists():
            shutil.rmtree(old)
        place.replace(old)
        new.replace(place)
        shutil.rmtree(old)
    else:
        new.replace(place)
    sync_directory(place.parent)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def log(message: str) -> None:
    """Print one plain progress line; stderr, because stdout belongs to results.

    Stages of one flow log from threads: a line is written at once and by one at a time, or lines run into one another and come twice.
    """
    with _LINE:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
