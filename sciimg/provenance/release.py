"""The release: a dataset folder assembled from plain inputs, signed, reported on and attested.

The same inputs give the same bytes of ``dataset/``: no time, no path of this machine, no order of work reaches it. A refused or
inconclusive study ends in the same folder without images, so that a failure is as checkable as a success.
"""

import datetime
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sciimg.decision import collect, decide
from sciimg.errors import InputError, Problem
from sciimg.files import new_folder, write_bytes, write_json, write_text
from sciimg.protocol import LoadedStudy, parse_study
from sciimg.provenance import checking, croissant, datasheet, modelcard, rocrate, sbom, slsa
from sciimg.provenance.attest import DATASET_BUNDLE, DECISION_MEANING, FOLDER, REPORTS, attest
from sciimg.provenance.facts import Facts, File
from sciimg.provenance.keys import Key
from sciimg.provenance.oms import copy_files, sign_folder
from sciimg.records import Decision, Digest, digest_file

DATASET = "dataset"
SIGNER = "signer.pub"
RESERVED = ("decision", "stages")  # names in evidence/ that are not a stage's evidence
_COLLECTION = ("catalogue.parquet", "collection.json")
_TYPES = (("int", "sc:Integer"), ("uint", "sc:Integer"), ("float", "sc:Float"), ("double", "sc:Float"), ("bool", "sc:Boolean"))


def publish(
    out: Path,
    key: Key,
    *,
    study: LoadedStudy,
    decision: Decision,
    evidence: Mapping[str, bytes | Path],
    synthetic: Path | None,
    stages: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
    rejected: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[Mapping[str, Any]] = (),
    removed: Mapping[str, int] | None = None,
    packages: Mapping[str, Any] | None = None,
    render: Callable[[Path, Digest], None] | None = None,
    time: datetime.datetime | None = None,
) -> Digest:
    """Make a whole release folder: assemble, sign, report, attest; return the payload digest.

    Parameters
    ----------
    out : Path
        The release folder. What an interrupted attempt left in it is replaced.
    key : Key
        Signs the dataset and the decision.
    render : callable, optional
        ``render(out, payload_digest)`` writes ``report.html`` and ``report.pdf``, which cite the digest, before the decision is attested.
    time : datetime, optional
        When the decision was signed; default: now.

    Other parameters as in :func:`assemble`.
    """
    for name in (DATASET, FOLDER):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (DATASET_BUNDLE, SIGNER, *REPORTS):
        (out / name).unlink(missing_ok=True)
    written = assemble(
        out,
        study=study,
        decision=decision,
        evidence=evidence,
        synthetic=synthetic,
        stages=stages,
        environment=environment,
        rejected=rejected,
        notes=notes,
        removed=removed,
        packages=packages,
    )
    release = study.study.release
    payload = sign_folder(out / DATASET, key, out / DATASET_BUNDLE, f"{release.dataset_id}@{release.version}", written)
    write_bytes(out / SIGNER, key.public.pem)
    if render is not None:
        render(out, payload)
    attest(out, key, "decision", DECISION_MEANING, time=time)
    return payload


def assemble(
    out: Path,
    *,
    study: LoadedStudy,
    decision: Decision,
    evidence: Mapping[str, bytes | Path],
    synthetic: Path | None,
    stages: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
    rejected: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[Mapping[str, Any]] = (),
    removed: Mapping[str, int] | None = None,
    packages: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Build ``out/dataset``, ready to be signed; return the SHA-256 of the images' files, which were hashed as they were written.

    Parameters
    ----------
    study, decision
        The study as it was run, and what it came to.
    evidence : mapping
        Stage name (``split``, ``verify``, ``validate-<recipe>``, ...) → its evidence as JSON, as :func:`sciimg.decision.collect` reads it.
    synthetic : Path or None
        The synthetic collection of the released recipe; needed if and only if the study is accepted.
    stages : mapping
        Stage name → its ledger entry; inputs and outputs are kept, timings are not.
    environment : mapping
        Interpreter, platform and library versions.
    rejected : sequence
        Inputs that were left out: ``{"source", "problems"}``.
    notes : sequence
        What was noticed of whole tables, as problems.
    removed : mapping
        Element of a header that was left behind at ingest → number of images whose files had it.
    packages : mapping, optional
        The bill of materials; default: that of this environment, :func:`sciimg.provenance.sbom.bill_of_materials`.

    Raises
    ------
    InputError
        If the parts do not belong together; what is assembled here passes the audit's own questions.
    """
    data = {name: value if isinstance(value, bytes) else value.read_bytes() for name, value in evidence.items()}
    _check(study, decision, data, synthetic)
    with new_folder(out / DATASET) as folder:
        written = _copy_images(synthetic, folder, study.study.digest) if synthetic is not None else {}
        write_text(folder / "study.yaml", study.text)
        for name, content in data.items():
            write_bytes(folder / "evidence" / f"{name}.json", content)
        if "ingest" not in data:
            more = ({"notes": list(notes)} if notes else {}) | ({"removed": dict(removed)} if removed else {})
            write_json(folder / "evidence" / "ingest.json", {"rejected": list(rejected), **more})
        write_json(folder / "evidence" / "decision.json", decision.as_json())
        kept = {name: _kept(entry) for name, entry in stages.items()}
        write_json(folder / "evidence" / "stages.json", {"environment": dict(environment), "stages": kept})
        write_json(folder / sbom.NAME, sbom.bill_of_materials() if packages is None else packages)
        facts = _facts(folder, study, decision, kept, environment, len(rejected), removed or {})
        recipes, common = collect({n: json.loads(v) for n, v in data.items()})
        _describe(folder, replace(facts, metrics={**recipes, "": common}))
    return written


def _describe(folder: Path, facts: Facts) -> None:
    """Write the descriptions, each of which lists the files that are there before it."""
    for stage in facts.stages:
        write_json(folder / slsa.FOLDER / f"{stage}.json", slsa.provenance(stage, facts))
    write_text(folder / datasheet.NAME, datasheet.datasheet(facts))
    write_text(folder / modelcard.NAME, modelcard.model_card(facts))
    write_text(folder / checking.NAME, checking.checking(facts))
    listed = _with_files(facts, folder)
    write_json(folder / croissant.NAME, croissant.croissant(listed))
    write_json(folder / rocrate.NAME, rocrate.crate(_with_files(facts, folder)))


# ---------------------------------------------------------------- do the parts belong together


def _check(study: LoadedStudy, decision: Decision, evidence: Mapping[str, bytes], synthetic: Path | None) -> None:
    digest = study.study.digest
    problems = []
    if parse_study(study.text.encode(), "study.yaml").study.digest != digest:
        problems.append(Problem("study.yaml", "other-study", "The text of the study is not that of the study that was run. Load it again."))
    if decision.study != digest:
        problems.append(
            Problem("decision", "other-study", f"The decision is about study {decision.study}; this is {digest}. Decide again.")
        )
    for name in evidence:
        if name in RESERVED or not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            message = f"Evidence is named as its stage, in a-z, 0-9, dot, dash and underscore, and not {' or '.join(RESERVED)}. Rename it."
            problems.append(Problem(f"evidence/{name}", "bad-name", message))
    if (synthetic is not None) != (decision.decision == "accepted"):
        message = f"Images are released if and only if the study is accepted; it is {decision.decision}. Pass images accordingly."
        problems.append(Problem("synthetic", "images-not-allowed" if synthetic else "images-missing", message))
    if not problems and decide(study.study, *collect({n: json.loads(v) for n, v in evidence.items()})) != decision:
        message = "The decision does not follow from this evidence by the gates of this study. Decide again, from all evidence."
        problems.append(Problem("decision", "decision-does-not-follow", message))
    if problems:
        raise InputError(problems)


def _copy_images(synthetic: Path, folder: Path, study: Digest) -> dict[str, str]:
    about = json.loads((synthetic / "collection.json").read_bytes())
    problems = []
    if about.get("synthetic") is not True:
        message = "Only a collection that is marked synthetic is released; this one is not. Real images never leave by this door."
        problems.append(Problem(str(synthetic), "not-marked-synthetic", message))
    if about.get("study") != study:
        message = f"The collection was made under study {about.get('study')}; this is {study}. Generate it under this study."
        problems.append(Problem(str(synthetic), "other-study", message))
    if problems:
        raise InputError(problems)
    images = [p.relative_to(synthetic).as_posix() for p in sorted((synthetic / "images").rglob("*")) if p.is_file()]
    return copy_files(synthetic, folder, [*_COLLECTION, *images])


# ---------------------------------------------------------------- what is said about it


def _kept(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stage was given and made, as digests: no times, and no parameters that may hold paths of this machine."""
    return {"needs": dict(sorted(entry["inputs"]["needs"].items())), "outputs": dict(entry["outputs"])}


def _facts(
    folder: Path,
    study: LoadedStudy,
    decision: Decision,
    stages: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
    rejected: int,
    removed: Mapping[str, int],
) -> Facts:
    images = sorted((folder / "images").iterdir()) if (folder / "images").exists() else []
    size = sum(p.stat().st_size for image in images for p in image.rglob("*") if p.is_file())
    columns = _columns(folder / "catalogue.parquet") if images else {}
    return Facts(study.study, decision, _files(folder), len(images), size, columns, stages, dict(environment), rejected, removed)


def _with_files(facts: Facts, folder: Path) -> Facts:
    return replace(facts, files=_files(folder))


def _files(folder: Path) -> dict[str, File]:
    """Return every file outside ``images/``."""
    places = [folder, folder / "evidence", folder / slsa.FOLDER]
    names = [p.relative_to(folder).as_posix() for place in places if place.exists() for p in place.iterdir() if p.is_file()]
    return {name: File((folder / name).stat().st_size, digest_file(folder / name).removeprefix("sha256:")) for name in sorted(names)}


def _columns(catalogue: Path) -> dict[str, str]:
    import pyarrow.parquet as pq

    kinds = {field.name: str(field.type) for field in pq.read_schema(catalogue)}
    return {name: next((croissant_ for arrow, croissant_ in _TYPES if kind.startswith(arrow)), "sc:Text") for name, kind in kinds.items()}
