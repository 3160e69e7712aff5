"""Attestations: a person says something about a release, with printed name, time and meaning (21 CFR 11.50, by analogy).

One bundle a signer in ``attestations/``. Its statement is about the payload digest of the dataset's signature, and about the report files
that lay there when it was signed, so that neither can be exchanged afterwards. It also names what others had attested before it
(``after``), so that an earlier attestation, an objection say, cannot be taken away under a later one.
"""

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciimg.decision import REVIEW_STAGE
from sciimg.errors import AuditError, InputError, Problem
from sciimg.files import write_bytes
from sciimg.provenance.dsse import Bundle, is_sha256, read_bundle, sign, statement
from sciimg.provenance.keys import Key
from sciimg.provenance.policy import Role
from sciimg.records import Decision, Digest, digest_file

DATASET_BUNDLE = "dataset.sigstore.json"
FOLDER = "attestations"
REPORTS = ("report.html", "report.pdf")
DECISION_MEANING = "This decision follows from the signed evidence by the gates of the study, and I sign for it."
_PREDICATE: dict[Role, str] = {"decision": "urn:x-sciimg:attestation:decision:v1", "review": "urn:x-sciimg:attestation:review:v1"}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Attestation:
    """What a signer said, read from a bundle; not to be believed before a policy has looked at the bundle."""

    bundle: Bundle
    role: Role
    name: str
    time: datetime.datetime
    meaning: str
    said: Mapping[str, Any]
    after: Mapping[str, Digest]  # file → payload digest of every attestation that lay there before


def payload_digest(bundle: Path) -> Digest:
    """Return the SHA-256 of the payload of a bundle file: what reports cite and attestations are about."""
    return read_bundle(bundle, bundle.name).payload_digest


def attest(
    release: Path, key: Key, role: Role, meaning: str, said: Mapping[str, Any] | None = None, time: datetime.datetime | None = None
) -> Path:
    """Sign a statement about a release; return its file.

    Study, decision and released recipe are taken from the dataset, so that a signer cannot speak of another decision by mistake.

    Parameters
    ----------
    release : Path
        A release folder whose dataset is signed and whose reports are rendered.
    role : str
        ``"decision"`` or ``"review"``.
    meaning : str
        What the signature means, in one sentence; required.
    said : mapping, optional
        What else is attested, as JSON.
    time : datetime, optional
        Default: now.

    Raises
    ------
    InputError
        If the meaning is empty, the role cannot be attested, this key has signed in this role already, or a report is not the one that
        others have attested.
    """
    if role not in _PREDICATE:
        raise InputError(Problem("--role", "unknown-role", f"An attestation is a decision or a review; got {role!r}. Use one of them."))
    if not meaning.strip():
        raise InputError(Problem("--meaning", "no-meaning", "A signature means something; say what, in one sentence, with --meaning."))
    dataset = read_bundle(release / DATASET_BUNDLE, DATASET_BUNDLE)
    moment = (time or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC)
    subjects = dict.fromkeys(dataset.subjects, dataset.payload_digest)
    subjects |= {name: digest_file(release / name) for name in REPORTS if (release / name).exists()}
    _refuse_changed(release, subjects)
    decided = _decision_of(release) | (_sessions_of(release) if role == "review" else {})
    who = {"signer": {"name": key.signer, "key_id": key.id}, "time": moment.strftime(_TIME), "meaning": meaning.strip()}
    path = _place(release / FOLDER, role, key)
    before = {p.name: payload_digest(p) for p in sorted((release / FOLDER).glob("*.sigstore.json")) if p != path}
    after = {"after": before} if before else {}
    write_bytes(path, sign(statement(subjects, _PREDICATE[role], {**who, **after, "said": dict(said or {}) | decided}), key))
    return path


def read_attestation(path: Path) -> Attestation:
    """Read an attestation strictly.

    Raises
    ------
    AuditError
        If it is not a bundle, of an unknown type, or says not who, when and what.
    """
    where = f"{FOLDER}/{path.name}"
    bundle = read_bundle(path, where)
    role = next((r for r, predicate in _PREDICATE.items() if predicate == bundle.predicate_type), None)
    predicate = bundle.predicate
    signer, said, after = predicate.get("signer"), predicate.get("said"), predicate.get("after", {})
    time = _parsed(predicate.get("time"))
    texts = [signer.get("name") if isinstance(signer, dict) else None, predicate.get("meaning")]
    sound = role is not None and isinstance(said, dict) and time is not None and all(isinstance(t, str) and t.strip() for t in texts)
    sound = sound and isinstance(after, dict) and all(is_sha256(str(d).removeprefix("sha256:")) for d in after.values())
    if not sound or not isinstance(signer, dict) or signer.get("key_id") != bundle.key_id:
        message = (
            "An attestation is a decision or a review and says who (name and key), when (UTC) and what it means. Remove it or sign again."
        )
        raise AuditError(Problem(where, "malformed-attestation", message))
    assert role is not None
    assert time is not None
    assert isinstance(said, dict)
    return Attestation(bundle, role, str(texts[0]), time, str(texts[1]), said, after)


def _decision_of(release: Path) -> dict[str, Any]:
    path = release / "dataset" / "evidence" / "decision.json"
    try:
        decision = Decision.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        message = "A release records its decision here; it cannot be read. Get the whole release, and audit it before you sign."
        raise InputError(Problem(str(path), "no-decision", message)) from None
    return {"decision": decision.decision, "released": decision.released, "study": decision.study}


def _sessions_of(release: Path) -> dict[str, Any]:
    """Return the heads of the answers' chains, where readers answered at the screen: with them every single answer is attested."""
    files = sorted((release / "dataset" / "evidence").glob(f"{REVIEW_STAGE}*.json"))
    heads = heads_of(json.loads(path.read_bytes()) for path in files)
    return {"sessions": heads} if heads else {}


def heads_of(evidence: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the heads of the chains of answers in the evidence of readers."""
    return sorted(head for own in evidence for head in own.get("sessions", ()))


def _refuse_changed(release: Path, subjects: Mapping[str, Digest]) -> None:
    """Nobody vouches by mistake for a report that was exchanged after others had vouched for it."""
    problems = []
    for path in sorted((release / FOLDER).glob("*.sigstore.json")):
        named = read_bundle(path, f"{FOLDER}/{path.name}").subjects
        for name in sorted(set(named) & set(REPORTS)):
            if subjects.get(name) != named[name]:
                message = f"It is not, or no longer, the report that was attested before ({FOLDER}/{path.name}). Audit the release first."
                problems.append(Problem(name, "report-changed", message))
    if problems:
        raise InputError(problems)


def _place(folder: Path, role: str, key: Key) -> Path:
    """Return the file of this signer: the first decision is ``decision.sigstore.json``, further signers carry their key's id."""
    own = folder / f"{role}-{key.id[:8]}.sigstore.json"
    first = folder / f"{role}.sigstore.json"
    for path in (first, own):
        if path.exists() and read_bundle(path, path.name).key_id == key.id:
            message = f"This key has signed as {role} already. Remove that attestation first if it is to be replaced."
            raise InputError(Problem(str(path), "signed-already", message))
    return own if first.exists() else first


def _parsed(text: Any) -> datetime.datetime | None:
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text):
        return None
    try:
        return datetime.datetime.strptime(text, _TIME).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None
