"""The audit of a release: numbered steps, each of which says what it looked at, and every fault that was found.

1. The folder is a release and holds nothing else.
2. The dataset's statement is signed, once, by a key that the trust policy believes.
3. Every byte of ``dataset/`` is as signed, under the name that was signed, and nothing else lies there.
4. The study in it is sound, is the dataset that the signature names, has not expired, and is not older than the policy accepts.
5. Enough trusted persons have signed the decision, about this payload and no other.
6. The decision follows again from the signed evidence by the gates of the signed study, and the scores of readers from their readings.
7. The dataset holds what its decision allows: images that are all marked synthetic, or none.
8. The reports are the ones that were signed, and cite this payload.

Nothing is read out of the dataset before step 3 has passed for it, and nothing that a release says about itself decides whom to believe.
Of a partial download, what is there is checked in the same way; it is never verified as a whole.
"""

import datetime
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sciimg.decision import REVIEW_STAGE, collect, decide
from sciimg.errors import AuditError, Problem, RemoteError, SciimgError, StorageError
from sciimg.files import read_plain
from sciimg.protocol import Study, parse_study
from sciimg.provenance.attest import DATASET_BUNDLE, FOLDER, REPORTS, Attestation, heads_of, read_attestation
from sciimg.provenance.dsse import Bundle, read_bundle
from sciimg.provenance.keys import PublicKey
from sciimg.provenance.oms import compare, hash_folder, signed_digests
from sciimg.provenance.pades import count_signatures
from sciimg.provenance.policy import TrustPolicy, own_policy, plain_name
from sciimg.provenance.timestamp import Stamp, check
from sciimg.records import Decision, Digest, digest_file

DATASET = "dataset"
_KNOWN = {DATASET, DATASET_BUNDLE, FOLDER, "signer.pub", *REPORTS}
T = TypeVar("T")
_REQUIRED = (DATASET, DATASET_BUNDLE, FOLDER)


@dataclass(frozen=True)
class Signer:
    """Whose signature was believed, for what."""

    person: str
    role: str
    key_id: str
    time: str | None = None
    meaning: str | None = None
    proved: Stamp | None = None

    def as_dict(self) -> dict[str, Any]:
        said = {"person": self.person, "role": self.role, "key_id": self.key_id, "time": self.time, "meaning": self.meaning}
        if self.proved is None:
            return said
        return said | {"time_proved": {"time": _written(self.proved.time), "authority": self.proved.authority}}


@dataclass
class Audit:
    """What an audit came to. ``decision`` is None unless everything was verified.

    ``present`` says how many of the signed files are there and as signed, and how many were signed.
    """

    steps: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    signers: list[Signer] = field(default_factory=list)
    decision: str | None = None
    payload: Digest | None = None
    present: tuple[int, int] | None = None
    unchecked: int = 0

    @property
    def verified(self) -> bool:
        whole = self.present is not None and self.present[0] == self.present[1]
        return whole and not self.problems and not self.unchecked and self.decision is not None

    @property
    def partly(self) -> bool:
        """Whether a part was asked for and is sound, and more was signed than is there."""
        return not self.verified and not self.problems and self.present is not None

    def as_json(self) -> dict[str, Any]:
        return {
            "verified": self.verified,
            "decision": self.decision if self.verified else None,
            "signers": [s.as_dict() for s in self.signers],
            "problems": [p.as_dict() for p in self.problems],
            **({"partial": dict(zip(("verified", "of"), self.present, strict=True))} if self.partly and self.present else {}),
        }


def audit(
    release: Path,
    policy: TrustPolicy | None = None,
    *,
    partial: bool = False,
    payload: Digest | None = None,
    now: datetime.datetime | None = None,
) -> Audit:
    """Check a release against a trust policy.

    Parameters
    ----------
    release : Path
        A release folder, or a prefix of an object store; each object is read as a stream.
    policy : TrustPolicy, optional
        Default: the user's own, see :func:`sciimg.provenance.policy.own_policy`.
    partial : bool
        Whether files may be missing, as after a partial download; steps that need a missing one are not made then.
    payload : Digest, optional
        The payload digest of the release that is meant, from a paper say; any other release is refused.
    now : datetime, optional
        The moment at which keys must be valid.
    """
    case = _Case(release, own_policy() if policy is None else policy, now or datetime.datetime.now(datetime.UTC), partial, payload)
    result = Audit()
    for number, (title, step) in enumerate(_STEPS, 1):
        try:
            said, problems = step(case, result)
        except _NotCheckedError as reason:
            result.unchecked += 1
            result.steps.append(f"{number}  not checked  {title}: {reason}.")
            continue
        except (RemoteError, StorageError):  # a store that cannot be asked says nothing about the release
            raise
        except SciimgError as error:
            said, problems = "", list(error.problems)
        except OSError as error:
            message = f"Every file of a release can be read ({error.strerror or error}). Get the release again from its source."
            said, problems = "", [Problem(str(error.filename or case.release), "unreadable", message)]
        result.problems += problems
        mark = f"FAULT ({len(problems)})" if problems else "ok"
        result.steps.append(f"{number}  {mark:<11}  {title}{': ' + said if said else ''}.")
    if case.decision is not None:
        result.decision = case.decision.decision
    return result


def _refuse_other(folder: Path) -> None:
    """Say that it is no release at all, before anybody is told to remove what does not belong into one."""
    if folder.is_dir() and any((folder / name).exists() for name in (DATASET, DATASET_BUNDLE, FOLDER)):
        return
    inside = next((p for p in (folder / "release/release", folder / "release") if (p / DATASET_BUNDLE).exists()), None)
    meant = f" Did you mean {inside}?" if inside else ""
    message = f"A release is a folder with dataset/, dataset.sigstore.json and attestations/; this is none. Name that folder.{meant}"
    raise AuditError(Problem(str(folder), "not-a-release", message))


class _NotCheckedError(Exception):
    """A step that cannot be made, and why."""

    def __init__(self, why: str = "an earlier step has failed") -> None:
        super().__init__(why)


@dataclass
class _Case:
    release: Path
    policy: TrustPolicy
    now: datetime.datetime
    partial: bool = False
    payload: Digest | None = None
    bundle: Bundle | None = None
    digests: dict[str, str] | None = None
    absent: frozenset[str] = frozenset()  # signed, and not in this part of a release
    intact: bool = False
    study: Study | None = None
    attestations: list[Attestation] | None = None
    decision: Decision | None = None

    def signed(self, name: str) -> bytes:
        """Return the bytes of a file of the dataset, exactly as signed."""
        digests = _need(self.digests)
        if not self.intact:
            raise _NotCheckedError
        if name not in digests:
            raise AuditError(Problem(f"{DATASET}/{name}", "missing", "A dataset has this file; it was never signed. Refuse the release."))
        if name in self.absent:
            raise _NotCheckedError(f"{DATASET}/{name} is not in this part")
        data = (self.release / DATASET / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise AuditError(Problem(f"{DATASET}/{name}", "changed", "Its bytes changed during the audit. Stop whatever writes there."))
        return data


Outcome = tuple[str, list[Problem]]  # what was seen, what is wrong


def _need(value: T | None) -> T:
    if value is None:
        raise _NotCheckedError
    return value


# ---------------------------------------------------------------- the steps


def _layout(case: _Case, result: Audit) -> Outcome:
    _refuse_other(case.release)
    entries = {p.name: p for p in case.release.iterdir()}
    problems = [
        Problem(name, "missing", "A release has this; it is not here. Get the whole release from its source.")
        for name in _REQUIRED
        if name not in entries and not (case.partial and name == FOLDER)
    ]
    folders = (DATASET, FOLDER)
    attested = list(entries[FOLDER].iterdir()) if FOLDER in entries and entries[FOLDER].is_dir() else []
    for name, path in sorted(entries.items()):
        if name not in _KNOWN:
            message = "A release holds nothing that nobody answers for. Remove it, or keep it elsewhere."
            problems.append(Problem(ascii(name)[1:-1], "added", message))
        elif path.is_symlink() or path.is_dir() != (name in folders) or not (path.is_dir() or path.is_file()):
            problems.append(Problem(name, "not-regular", "A release is made of plain files and folders; this is a link or something else."))
    for path in sorted(attested):
        if not path.name.endswith(".sigstore.json") or path.is_symlink() or not path.is_file():
            message = "attestations/ holds signature bundles (*.sigstore.json) and nothing else. Remove it."
            problems.append(Problem(f"{FOLDER}/{ascii(path.name)[1:-1]}", "added", message))
    return f"{len(entries)} entries, {len(attested)} attestations", problems


def _signature(case: _Case, result: Audit) -> Outcome:
    bundle = read_bundle(case.release / DATASET_BUNDLE, DATASET_BUNDLE)
    if case.payload not in (None, bundle.payload_digest):
        message = f"Asked for was the release of payload {case.payload}; this is {bundle.payload_digest}. Get the one that is meant."
        raise AuditError(Problem(DATASET_BUNDLE, "another-release", message))
    stamp = check(bundle, case.policy.time_authorities)
    key = case.policy.signer(bundle, "dataset", None, case.now, stamp.time if stamp else None)
    case.bundle = bundle
    case.digests = signed_digests(bundle)
    result.payload = bundle.payload_digest
    result.signers.append(Signer(key.person, "dataset", key.key_id, proved=stamp))
    return f"signed by {key.person}{_proof(stamp)}, payload {bundle.payload_digest}", _convenience_key(case, bundle)


def _proof(stamp: Stamp | None) -> str:
    return f" (before {_written(stamp.time)}, says {stamp.authority})" if stamp else ""


def _written(time: datetime.datetime) -> str:
    return f"{time.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _convenience_key(case: _Case, bundle: Bundle) -> list[Problem]:
    """Return what is wrong with ``signer.pub``: nobody is to trust it, but nobody is to be misled by it either."""
    path = case.release / "signer.pub"
    if not path.exists():
        return []
    pem = read_plain(path)
    key = PublicKey.from_pem(pem, path.name)
    if key.id == bundle.key_id and pem == key.pem:
        return []
    if key.id == bundle.key_id:
        return [Problem(path.name, "added", "It holds more than the key that signed this dataset. Get the release again from its source.")]
    message = "It is not the key that signed this dataset. Never take a key from a release; the trust policy says whom to believe."
    return [Problem(path.name, "other-key", message)]


def _bytes(case: _Case, result: Audit) -> Outcome:
    digests = _need(case.digests)
    found = hash_folder(case.release / DATASET)
    problems = compare(digests, found, DATASET)
    if case.partial:
        problems = [p for p in problems if p.kind not in ("removed", "empty-folder")]
        case.absent = frozenset(digests) - frozenset(found.digests)
    case.intact = not problems
    result.present = sum(found.digests.get(name) == digest for name, digest in digests.items()), len(digests)
    here = f"{result.present[0]} of {result.present[1]} signed files are here" if case.absent else f"{len(digests)} signed"
    return f"{len(found.digests)} files, {found.size:,} bytes hashed, {here}", problems


def _study(case: _Case, result: Audit) -> Outcome:
    study = parse_study(case.signed("study.yaml"), f"{DATASET}/study.yaml").study
    problems = []
    identity = f"{study.release.dataset_id}@{study.release.version}"
    if list(_need(case.bundle).subjects) != [identity]:
        message = f"Signed is {', '.join(_need(case.bundle).subjects)}; the study in the dataset is that of {identity}. Refuse the release."
        problems.append(Problem(DATASET_BUNDLE, "other-dataset", message))
    oldest = case.policy.minimum_versions.get(study.release.dataset_id)
    if oldest and _version(study.release.version) < _version(oldest):
        message = f"The trust policy accepts this dataset from version {oldest}; this is {study.release.version}. Get a newer one."
        problems.append(Problem(f"{DATASET}/study.yaml", "too-old", message))
    expires = study.release.expires
    if expires and case.now.date() > expires:
        message = f"The decision may be relied upon until {expires}; now it is {case.now.date()}. Ask for a release that was judged anew."
        problems.append(Problem(f"{DATASET}/study.yaml", "expired", message))
    case.study = study
    return f"{identity}, study {study.name} {study.digest}", problems


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _attestations(case: _Case, result: Audit) -> Outcome:
    bundle, study = _need(case.bundle), _need(case.study)
    problems: list[Problem] = []
    persons: dict[str, str] = {}
    if case.partial and not (case.release / FOLDER).exists():
        raise _NotCheckedError(f"{FOLDER}/ is not in this part")
    case.attestations, present = [], set()
    for path in sorted((case.release / FOLDER).glob("*.sigstore.json")):
        try:
            attestation = read_attestation(path)
            present.add(attestation.bundle.payload_digest)
            stamp = check(attestation.bundle, case.policy.time_authorities)
            key = case.policy.signer(attestation.bundle, attestation.role, attestation.time, case.now, stamp.time if stamp else None)
        except SciimgError as error:
            problems += error.problems
            continue
        faults = [*_about_this(attestation, bundle, study, key.person), *_in_its_place(path, attestation, case.attestations)]
        problems += faults
        if not faults:
            case.attestations.append(attestation)
            time = _written(attestation.time)
            result.signers.append(Signer(key.person, attestation.role, key.key_id, time, attestation.meaning, stamp))
            if attestation.role == "decision":
                persons.setdefault(key.identity, key.person + _proof(stamp))
    problems += _taken_away(case.attestations, present)
    if len(persons) < case.policy.threshold:
        message = f"The trust policy asks for {case.policy.threshold} persons to sign the decision; {len(persons)} did. Refuse the release."
        problems.append(Problem(FOLDER, "too-few-signers", message))
    return f"{len(persons)} of {case.policy.threshold} needed ({', '.join(sorted(persons.values())) or 'nobody'})", problems


def _taken_away(attestations: list[Attestation], here: set[Digest]) -> list[Problem]:
    """Return attestations that were there when others were signed, and are not, or are other ones, now; disbelieved ones are there."""
    gone = {name: a for a in attestations for name, digest in a.after.items() if digest not in here}
    return [
        Problem(
            f"{FOLDER}/{ascii(name)[1:-1]}",
            "attestation-missing",
            f"It was here when {a.name} signed ({a.bundle.where}), and is not, or is another, now. Get the release again from its source.",
        )
        for name, a in sorted(gone.items())
    ]


def _in_its_place(path: Path, attestation: Attestation, others: list[Attestation]) -> list[Problem]:
    """Return what is wrong with the file: called by another role than it has, or a second copy that would look like another signer."""
    role, signer, where = attestation.role, attestation.bundle.key_id, attestation.bundle.where
    if path.name not in (f"{role}.sigstore.json", f"{role}-{signer[:8]}.sigstore.json"):
        message = f"A {role} is called {role}.sigstore.json or {role}-{signer[:8]}.sigstore.json. Get the release again from its source."
        return [Problem(where, "renamed", message)]
    if any((o.role, o.bundle.key_id) == (role, signer) for o in others):
        return [Problem(where, "signed-twice", f"This key has signed as {role} in another file. Get the release again from its source.")]
    return []


def _about_this(attestation: Attestation, bundle: Bundle, study: Study, person: str) -> list[Problem]:
    where = attestation.bundle.where
    problems = []
    about = {name: d for name, d in attestation.bundle.subjects.items() if name not in REPORTS}
    if about != dict.fromkeys(bundle.subjects, bundle.payload_digest):
        cited = ", ".join(f"{name} {digest}" for name, digest in about.items()) or "nothing"
        message = f"It is about {cited}, not about this dataset ({bundle.payload_digest}). It belongs to another release."
        problems.append(Problem(where, "other-payload", message))
    if attestation.said.get("study") != study.digest:
        message = f"It is about study {attestation.said.get('study')}; the dataset was made under {study.digest}. Refuse the release."
        problems.append(Problem(where, "other-study", message))
    if plain_name(attestation.name) != plain_name(person):
        message = (
            f"It is signed in the name of {attestation.name!r} with a key that the trust policy gives to {person!r}. Refuse the release, "
            "or correct the name in the policy (`sciimg trust add POLICY KEY.pub --person NAME`) if both are one person."
        )
        problems.append(Problem(where, "other-name", message))
    return problems


def _decision(case: _Case, result: Audit) -> Outcome:
    study = _need(case.study)
    where = f"{DATASET}/evidence/decision.json"
    try:
        recorded = Decision.model_validate_json(case.signed("evidence/decision.json"))
        stages = [n for n in _need(case.digests) if re.fullmatch(r"evidence/[a-z0-9._-]+\.json", n) and not n.startswith(_NOT_EVIDENCE)]
        evidence = {n.removeprefix("evidence/").removesuffix(".json"): json.loads(case.signed(n)) for n in stages}
        derived = decide(study, *collect(evidence))
    except (ValidationError, ValueError, AttributeError, TypeError, RecursionError) as error:
        message = f"Evidence and decision are JSON records; these cannot be read ({str(error).splitlines()[0]}). Refuse the release."
        raise AuditError(Problem(where, "malformed-evidence", message)) from None
    problems = _readings(case, {stage: own for stage, own in evidence.items() if stage.startswith(REVIEW_STAGE)})
    if recorded.study != study.digest:
        message = f"It is the decision of study {recorded.study}; the dataset was made under {study.digest}. Refuse the release."
        problems.append(Problem(where, "other-study", message))
    if derived != recorded:
        message = f"The evidence gives {_short(derived)}; recorded is {_short(recorded)}. Refuse the release."
        problems.append(Problem(where, "decision-does-not-follow", message))
    for attestation in case.attestations or []:
        said = (attestation.said.get("decision"), attestation.said.get("released"))
        if said != (derived.decision, derived.released):
            message = f"Signed is {said[0]} (released: {said[1]}); the evidence gives {_short(derived)}. Refuse the release."
            problems.append(Problem(attestation.bundle.where, "decision-does-not-follow", message))
    case.decision = recorded
    return f"{len(evidence)} stages of evidence, {len(derived.gates)} gates met, {_short(derived)}", problems


def _readings(case: _Case, evidence: dict[str, Any]) -> list[Problem]:
    """Return where the numbers of a reader study do not follow from its readings, or where others than these answers were attested."""
    from sciimg.review.evidence import contradictions

    problems = []
    for stage, own in evidence.items():
        where = f"{DATASET}/evidence/{stage}.json"
        try:
            found = contradictions(own, _need(case.study).review)
            problems += [Problem(where, "review-does-not-follow", f"{said}. Refuse the release.") for said in found]
        except (ValueError, AttributeError, TypeError, LookupError, ArithmeticError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            message = f"Readings say who said what about which image; these cannot be scored ({why}). Refuse the release."
            problems.append(Problem(where, "malformed-evidence", message))
    heads = heads_of(evidence.values())
    for attestation in case.attestations or []:
        if attestation.role == "review" and attestation.said.get("sessions", []) != heads:
            message = "The answers that were attested are not those of this dataset's readers. Refuse the release."
            problems.append(Problem(attestation.bundle.where, "other-answers", message))
    return problems


def _short(decision: Decision) -> str:
    outcomes = [g.outcome for g in decision.gates]
    counts = ", ".join(f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "inconclusive") if o in outcomes)
    return f"{decision.decision} ({counts})" if counts else decision.decision


def _contents(case: _Case, result: Audit) -> Outcome:
    import pandas as pd

    decision, digests = _need(case.decision), _need(case.digests)
    images = {n.split("/")[1] for n in digests if n.startswith("images/")}
    if decision.decision != "accepted":
        message = f"A study that is {decision.decision} releases no images; {len(images)} are here. Refuse the release."
        return f"no images, because the study is {decision.decision}", [
            Problem(f"{DATASET}/images", "images-not-allowed", message)
        ] if images else []
    where = f"{DATASET}/catalogue.parquet"
    try:
        catalogue = pd.read_parquet(io.BytesIO(case.signed("catalogue.parquet")))
        listed = {Path(p).parts[1] for p in catalogue["path"]}
        marked = bool(catalogue["synthetic"].eq(True).all())
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        message = f"A catalogue is a parquet file with a row for each image; this cannot be read ({error}). Refuse the release."
        raise AuditError(Problem(where, "malformed-catalogue", message)) from None
    problems = []
    if listed != images or not images:
        odd = sorted(listed ^ images)[:3]
        message = f"The catalogue lists {len(listed)} images and {len(images)} are here; e.g. {odd} differ. Refuse the release."
        problems.append(Problem(where, "catalogue-differs", message))
    if not marked:
        message = "Every image of a release is marked synthetic; some are not. Refuse the release."
        problems.append(Problem(where, "not-marked-synthetic", message))
    return f"{len(images)} images, all catalogued and marked synthetic", problems


def _reports(case: _Case, result: Audit) -> Outcome:
    payload = _need(case.bundle).payload_digest
    here = {name: digest_file(case.release / name) for name in REPORTS if (case.release / name).is_file()}
    attestations = _need(case.attestations)
    named = {name for a in attestations if a.role == "decision" for name in a.bundle.subjects}
    problems = []
    for attestation in attestations:
        for name in set(attestation.bundle.subjects) & set(REPORTS):
            if name not in here and case.partial:
                result.unchecked += 1
                continue
            if name not in here:
                message = f"This report was signed ({attestation.bundle.where}) and is not here. Get the whole release."
                problems.append(Problem(name, "missing", message))
            elif here[name] != attestation.bundle.subjects[name]:
                message = f"It is not the report that was signed ({attestation.bundle.where}). Get the release again from its source."
                problems.append(Problem(name, "changed", message))
    for name in sorted(set(here) - named):
        message = "The signed decision does not name this report: anybody may have written it. Remove it, or render before signing."
        problems.append(Problem(name, "unsigned-report", message))
    for name, cited in (("report.html", _cited_in_page), ("report.pdf", _cited_in_keywords)):
        if name in here and cited(case.release / name) != {payload.removeprefix("sha256:")}:
            message = f"It does not cite the payload of this dataset ({payload}), or cites another. It belongs to another release."
            problems.append(Problem(name, "cites-another-digest", message))
    inside = count_signatures(read_plain(case.release / "report.pdf")) if "report.pdf" in here else 0
    more = f"; {inside} inside the PDF, for a PDF reader to check" if inside else ""
    return (", ".join(here) or "there is none") + more, problems


def _cited_in_page(page: Path) -> set[str]:
    """Return every digest that a page calls the payload, as a reader sees it: a long digest may be broken where the line ends."""
    seen = re.sub(r"<[^>]*>", " ", re.sub(r"<wbr\s*/?>", "", read_plain(page).decode(errors="replace")))
    return set(re.findall(r"payload\b.{0,40}?(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])", seen, re.IGNORECASE | re.DOTALL))


def _cited_in_keywords(pdf: Path) -> set[str]:
    """Return every digest that a PDF holds without compression: the payload that a report cites is one of its keywords."""
    return set(re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", read_plain(pdf).decode("latin-1")))


_NOT_EVIDENCE = ("evidence/decision.", "evidence/stages.", "evidence/environment.")

_STEPS: tuple[tuple[str, Callable[[_Case, Audit], Outcome]], ...] = (
    ("The folder is a release and holds nothing else", _layout),
    ("The dataset is signed by a trusted key", _signature),
    ("Every byte and name in dataset/ is as signed", _bytes),
    ("The study is that of this dataset", _study),
    ("Enough trusted persons signed the decision on this payload", _attestations),
    ("The decision follows from the signed evidence", _decision),
    ("The dataset holds what the decision allows", _contents),
    ("The reports are those that were signed", _reports),
)
