"""What a run folder holds, read into plain values. Whatever is missing or unreadable is named, so that the report can say so.

Nothing is computed here and nothing is required but the study: a run that was interrupted, or refused, is reported like any other.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sciimg.decision import collect
from sciimg.errors import InputError, Problem, SciimgError
from sciimg.protocol import Study, load_study
from sciimg.protocol.models import RecipePlan
from sciimg.provenance.attest import FOLDER, read_attestation
from sciimg.provenance.dsse import parse_bundle
from sciimg.records import Check, Decision, Metric, Rehearsal, digest_file, digest_of
from sciimg.report.costs import cost_of
from sciimg.review.evidence import score_of
from sciimg.review.score import ReviewScore

Gallery = Mapping[str, NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Absent:
    """A piece of evidence that should be in the run and is not."""

    what: str
    why: str


@dataclass(frozen=True)
class RecipeEvidence:
    """What was recorded of one recipe."""

    plan: RecipePlan
    metrics: tuple[Metric, ...] = ()
    pooled: tuple[Metric, ...] = ()  # over the folds of a cross-validation
    folds: tuple[Mapping[str, Any], ...] = ()
    fold_checks: tuple[Check, ...] = ()
    gallery: Gallery = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    review: ReviewScore | None = None
    reviewed: tuple[Metric, ...] = ()  # what gates may name of it
    absent: tuple[Absent, ...] = ()


@dataclass(frozen=True)
class Release:
    """What the signature of a release says. ``key_id`` is the SHA-256 of the public key's file, as ``sha256sum signer.pub`` prints it."""

    payload_digest: str
    files: int
    key_id: str
    signing_key: str = ""
    signer: str = ""  # who holds that key
    signers: tuple[str, ...] = ()  # what attestations say of themselves: name, role, time, meaning


@dataclass(frozen=True)
class Evidence:
    """Everything that a report is made from."""

    study: Study
    decision: Decision | None = None
    recipes: tuple[RecipeEvidence, ...] = ()
    common: tuple[Metric, ...] = ()
    judges: tuple[Metric, ...] = ()
    rehearsal: Rehearsal | None = None
    checks: tuple[Check, ...] = ()
    split_checks: tuple[Check, ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()
    rejected: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[Mapping[str, Any], ...] = ()
    regions: tuple[Mapping[str, Any], ...] = ()
    release: Release | None = None
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, Any]] | None = None
    collection: Path | None = None
    absent: tuple[Absent, ...] = ()


def read_run(run: Path, release: Path | None = None, *, costs: bool = True) -> Evidence:
    """Read a run folder.

    Parameters
    ----------
    run : Path
        ``runs/<study>-<digest8>``.
    release : Path, optional
        The release folder whose signature is cited; default: the run's own, where there is one.
    costs : bool
        Whether to tell what the stages cost, which is another number on every machine and after every interruption.

    Raises
    ------
    InputError
        If it is not a run folder.
    StudyError
        If its study cannot be read.
    """
    study_file = run / "study.yaml"
    if not study_file.is_file():
        message = "A run folder holds study.yaml; this one does not. Give a folder below runs/, or a study file with --plan."
        raise InputError(Problem(str(run), "not-a-run", message))
    study = load_study(study_file).study
    reader = _Reader()
    split = reader.json(run / "split/evidence.json", "evidence of the split")
    verify = reader.json(run / "verify/evidence.json", "closed-form tests of the machinery")
    decision = reader.json(run / "decide/decision.json", "decision")
    ingested = reader.json(run / "ingest/rejected.json", "")
    rehearsed = reader.json(run / "baseline/rehearsal.json", "")
    ledgers = _ledgers(run)
    return Evidence(
        study=study,
        decision=reader.parse("decision", lambda: Decision.model_validate(decision)) if decision else None,
        recipes=tuple(_recipe(run, plan, study) for plan in study.recipes),
        common=tuple(reader.parse("evidence of the study", lambda: collect({"split": split, "verify": verify})[1]) or ()),
        judges=tuple(reader.metrics(reader.json(run / "baseline/evidence.json", ""), "evidence of the judges")),
        rehearsal=reader.parse("rehearsal on real images", lambda: Rehearsal.model_validate(rehearsed)) if rehearsed else None,
        checks=tuple(reader.checks(verify)),
        split_checks=tuple(reader.checks(split)),
        images=tuple(reader.table(run / "ingest/collection/catalogue.parquet", "catalogue of the real images")),
        rejected=tuple(ingested.get("rejected", ())),
        notes=tuple(ingested.get("notes", ())),
        regions=tuple(reader.table(run / "split/regions.parquet", "split")),
        release=_release(release or run / "release/release", reader),
        environments={name: _versions(entry) for name, entry in ledgers.items()},
        costs={name: cost_of(entry) for name, entry in ledgers.items()} if costs else None,
        collection=run / "ingest/collection" if (run / "ingest/collection").is_dir() else None,
        absent=tuple(reader.absent),
    )


class _Reader:
    """Reads files, and keeps a list of what could not be read."""

    def __init__(self) -> None:
        self.absent: list[Absent] = []

    def json(self, path: Path, what: str) -> dict[str, Any]:
        """Return a JSON object, or an empty one; ``what`` names it among the absent unless it is empty (an optional file)."""
        if not path.exists():
            if what:
                self.absent.append(Absent(what, f"{path.parent.name}/{path.name} is not in the run."))
            return {}
        value = self.parse(what or path.name, lambda: json.loads(path.read_text(encoding="utf-8")))
        return value if isinstance(value, dict) else {}

    def parse(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (OSError, ValueError, ValidationError, zipfile.BadZipFile, SciimgError) as error:
            self.absent.append(Absent(what, f"It cannot be read: {str(error).splitlines()[0]}"))
            return None

    def table(self, path: Path, what: str) -> list[dict[str, Any]]:
        import pandas as pd

        if not path.exists():
            self.absent.append(Absent(what, f"{path.parent.name}/{path.name} is not in the run."))
            return []
        rows = self.parse(what, lambda: pd.read_parquet(path).to_dict("records"))
        return [{str(k): v for k, v in row.items()} for row in rows or []]

    def metrics(self, value: Mapping[str, Any], what: str) -> list[Metric]:
        entries = value.get("metrics", [])
        return [m for e in entries if (m := self.parse(f"{what}: {e.get('name', '?')}", lambda e=e: Metric.model_validate(e)))]  # type: ignore[misc]

    def checks(self, value: Mapping[str, Any]) -> list[Check]:
        entries = value.get("checks", [])
        return [c for e in entries if (c := self.parse(f"test {e.get('name', '?')}", lambda e=e: Check.model_validate(e)))]  # type: ignore[misc]


def _recipe(run: Path, plan: RecipePlan, study: Study) -> RecipeEvidence:
    reader = _Reader()
    folder = run / f"validate-{plan.name}"
    evidence = reader.json(folder / "evidence.json", f"measurements of {plan.name}")
    gallery: Gallery = {}
    if (folder / "gallery.npz").exists():
        gallery = reader.parse(f"pictures of {plan.name}", lambda: _arrays(folder / "gallery.npz")) or {}
    else:
        reader.absent.append(Absent(f"pictures of {plan.name}", f"validate-{plan.name}/gallery.npz is not in the run."))
    model = run / f"train-{plan.name}/model"
    again = reader.json(run / f"folds-{plan.name}/evidence.json", f"cross-validation of {plan.name}") if plan in study.folded else {}
    read = reader.json(run / "review" / plan.name / "evidence.json", "")
    return RecipeEvidence(
        plan=plan,
        metrics=tuple(reader.metrics(evidence, f"measurement of {plan.name}")),
        pooled=tuple(reader.metrics(again, f"cross-validation of {plan.name}")),
        folds=tuple(again.get("folds", ())),
        fold_checks=tuple(reader.checks(again)),
        gallery=gallery,
        curves=reader.json(model / "curves.json", f"training curves of {plan.name}"),
        model=_model(model, reader, plan.name),
        review=reader.parse(f"readings of {plan.name}", lambda: score_of(read, study.review)) if read else None,
        reviewed=tuple(reader.metrics(read, f"review of {plan.name}")),
        absent=tuple(reader.absent),
    )


def _model(folder: Path, reader: _Reader, name: str) -> dict[str, Any]:
    """Return the model's card with the digest that lineage cites: that of weights and card."""
    card = reader.json(folder / "model.json", f"description of the model of {name}")
    files = [folder / "model.safetensors", folder / "model.json"]
    return {**card, "digest": digest_of({f.name: digest_file(f) for f in files})} if all(f.exists() for f in files) else card


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _release(folder: Path, reader: _Reader) -> Release | None:
    """Return what the bundle beside a dataset says; a run that has not been released has none."""
    bundle_file, key_file = folder / "dataset.sigstore.json", folder / "signer.pub"
    if not bundle_file.exists():
        return None
    bundle = reader.parse("signature of the release", lambda: parse_bundle(bundle_file.read_bytes(), bundle_file.name))
    if bundle is None:
        return None
    return Release(
        payload_digest=bundle.payload_digest.removeprefix("sha256:"),
        files=len(bundle.predicate.get("resources", [])),
        key_id=digest_file(key_file).removeprefix("sha256:") if key_file.exists() else "",
        signing_key=bundle.key_id,
        signers=_signers(folder / FOLDER, reader),
    )


def _signers(folder: Path, reader: _Reader) -> tuple[str, ...]:
    found = (reader.parse(path.name, partial(read_attestation, path)) for path in sorted(folder.glob("*.sigstore.json")))
    return tuple(f"{a.name} ({a.role}, {a.time:%Y-%m-%d}): {a.meaning}" for a in found if a is not None)


def _ledgers(run: Path) -> dict[str, dict[str, Any]]:
    """Return the ledger of every stage that is done."""
    found = {}
    for path in sorted(run.glob("*/stage.json")):
        with suppress(ValueError):
            found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _versions(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return versions that the numbers of a stage depend on; machine and clock stay out."""
    return {k: str(v) for k, v in entry.get("environment", {}).items() if k not in ("platform", "machine")}
