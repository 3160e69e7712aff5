"""Steps 4 and 5: which study the dataset is of, and who has signed what came of it."""

from pathlib import Path

from sciimg.errors import Problem, SciimgError
from sciimg.protocol import Study, parse_study
from sciimg.provenance.attest import DATASET_BUNDLE, FOLDER, REPORTS, Attestation, read_attestation
from sciimg.provenance.auditing.case import DATASET, Audit, Case, NotCheckedError, Outcome, Signer, need, proof, written
from sciimg.provenance.dsse import Bundle
from sciimg.provenance.policy import plain_name
from sciimg.provenance.timestamp import check
from sciimg.records import Digest


def about(case: Case, result: Audit) -> Outcome:
    study = parse_study(case.signed("study.yaml"), f"{DATASET}/study.yaml").study
    problems = []
    identity = f"{study.release.dataset_id}@{study.release.version}"
    if list(need(case.bundle).subjects) != [identity]:
        message = f"Signed is {', '.join(need(case.bundle).subjects)}; the study in the dataset is that of {identity}. Refuse the release."
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


def attested(case: Case, result: Audit) -> Outcome:
    bundle, study = need(case.bundle), need(case.study)
    problems: list[Problem] = []
    persons: dict[str, str] = {}
    if case.partial and not (case.release / FOLDER).exists():
        raise NotCheckedError(f"{FOLDER}/ is not in this part")
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
            time = written(attestation.time)
            result.signers.append(Signer(key.person, attestation.role, key.key_id, time, attestation.meaning, stamp))
            if attestation.role == "decision":
                persons.setdefault(key.identity, key.person + proof(stamp))
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
