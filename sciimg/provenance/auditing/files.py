"""Steps 1 to 3: the folder, the signature over it, every byte in it."""

from pathlib import Path

from sciimg.errors import AuditError, Problem
from sciimg.files import read_plain
from sciimg.provenance.attest import DATASET_BUNDLE, FOLDER, REPORTS
from sciimg.provenance.auditing.case import DATASET, Audit, Case, Outcome, Signer, need, proof
from sciimg.provenance.dsse import Bundle, read_bundle
from sciimg.provenance.keys import PublicKey
from sciimg.provenance.oms import compare, hash_folder, signed_digests
from sciimg.provenance.timestamp import check

_KNOWN = {DATASET, DATASET_BUNDLE, FOLDER, "signer.pub", *REPORTS}
_REQUIRED = (DATASET, DATASET_BUNDLE, FOLDER)


def layout(case: Case, result: Audit) -> Outcome:
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


def _refuse_other(folder: Path) -> None:
    """Say that it is no release at all, before anybody is told to remove what does not belong into one."""
    if folder.is_dir() and any((folder / name).exists() for name in (DATASET, DATASET_BUNDLE, FOLDER)):
        return
    inside = next((p for p in (folder / "release/release", folder / "release") if (p / DATASET_BUNDLE).exists()), None)
    meant = f" Did you mean {inside}?" if inside else ""
    message = f"A release is a folder with dataset/, dataset.sigstore.json and attestations/; this is none. Name that folder.{meant}"
    raise AuditError(Problem(str(folder), "not-a-release", message))


def signature(case: Case, result: Audit) -> Outcome:
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
    return f"signed by {key.person}{proof(stamp)}, payload {bundle.payload_digest}", _convenience_key(case, bundle)


def _convenience_key(case: Case, bundle: Bundle) -> list[Problem]:
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


def whole(case: Case, result: Audit) -> Outcome:
    digests = need(case.digests)
    found = hash_folder(case.release / DATASET)
    problems = compare(digests, found, DATASET)
    if case.partial:
        problems = [p for p in problems if p.kind not in ("removed", "empty-folder")]
        case.absent = frozenset(digests) - frozenset(found.digests)
    case.intact = not problems
    result.present = sum(found.digests.get(name) == digest for name, digest in digests.items()), len(digests)
    here = f"{result.present[0]} of {result.present[1]} signed files are here" if case.absent else f"{len(digests)} signed"
    return f"{len(found.digests)} files, {found.size:,} bytes hashed, {here}", problems
