"""Keys, further signatures and the audit, for the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sciimg.errors import InputError, Problem

if TYPE_CHECKING:
    from sciimg.provenance.policy import Role


def keygen_command(name: str, out: Path | None, *, encrypt: bool = True) -> dict[str, Any]:
    """Make a key; return where it lies and what identifies it. A passphrase is asked for on a terminal unless the environment has one."""
    from sciimg.provenance.keys import KEY_FILE, config_folder, key_exists, make_key, new_passphrase
    from sciimg.provenance.policy import write_policy

    place = (out or config_folder() / "keys") / KEY_FILE
    if place.exists():  # before a passphrase is asked for
        raise key_exists(place)
    key = make_key(name, out, new_passphrase() if encrypt else "")
    return {
        "signer": key.signer,
        "key_id": key.id,
        "key": str(key.path),
        "public_key": str(key.path.with_suffix(".pub")),
        "policy": str(write_policy(key)),
        "encrypted": key.encrypted,
        "protection": key.protection,
    }


def sign_command(
    release: Path, role: str, meaning: str, key: Path | None, *, pdf: bool = False, certificate: Path | None = None
) -> dict[str, Any]:
    """Attest something about a release with a person's key; return where the attestation lies.

    With ``pdf`` the decision is attested, and ``report.pdf`` is signed inside as well.
    """
    from sciimg.provenance.attest import attest, payload_digest, read_attestation
    from sciimg.provenance.keys import load_key, own_key
    from sciimg.provenance.pades import sign_report

    bundle = release / "dataset.sigstore.json"
    if not bundle.is_file():
        raise InputError(Problem(str(release), "not-a-release", "Expected a release folder (with dataset.sigstore.json)."))
    owner = load_key(key) if key else own_key()
    if pdf:
        path, role = sign_report(release, owner, meaning, certificate), "decision"
    else:
        path = attest(release, owner, cast("Role", role), meaning, {"payload": payload_digest(bundle)})
    return {"attestation": str(path), "role": role, "meaning": read_attestation(path).meaning}


def timestamp_command(
    release: Path, what: str, *, tsa: str | None, query: Path | None, token: Path | None, certificate: Path | None
) -> dict[str, Any]:
    """Get a time token for a signature of a release, or write the query for one; return what came of it.

    Parameters
    ----------
    release : Path
    what : str
        ``dataset``, ``decision``, ``review`` or the name of a file in ``attestations/`` without its ending.
    tsa, query, token
        Exactly one: the address of an authority that is asked, a file for the query, or the authority's answer to it.
    certificate : Path, optional
        Of the authority, PEM; not needed for a query.
    """
    from sciimg.files import write_bytes
    from sciimg.provenance.attest import DATASET_BUNDLE, FOLDER
    from sciimg.provenance.dsse import read_bundle
    from sciimg.provenance.timestamp import ask, attach, certificates, request

    path = release / DATASET_BUNDLE if what == "dataset" else release / FOLDER / f"{what}.sigstore.json"
    if not path.is_file():
        known = ", ".join(["dataset", *sorted(p.name.removesuffix(".sigstore.json") for p in (release / FOLDER).glob("*.sigstore.json"))])
        raise InputError(Problem(str(path), "no-signature", f"There is no such signature. This release has: {known}."))
    if sum(way is not None for way in (tsa, query, token)) != 1:
        message = "A token comes from an authority (--tsa), or in two steps without a network: --query FILE, then --token FILE. Give one."
        raise InputError(Problem("--tsa, --query, --token", "which-way", message))
    wanted = request(read_bundle(path, path.name)) if token is None else b""
    if query is not None:
        write_bytes(query, wanted)
        return {"query": str(query), "signature": str(path)}
    if certificate is None:
        message = "A token is kept only where it verifies. Give the certificate of the authority, with that of its issuer, in PEM."
        raise InputError(Problem("--certificate", "no-certificate", message))
    pem = _read(certificate).decode(errors="replace")
    certificates(pem, str(certificate))
    answer = _read(token) if token is not None else ask(str(tsa), wanted)
    stamp = attach(path, answer, pem)
    return {"signature": str(path), "time": f"{stamp.time:%Y-%m-%dT%H:%M:%SZ}", "authority": stamp.authority}


def _read(path: Path) -> bytes:
    from sciimg.files import read_plain

    try:
        return read_plain(path)
    except OSError as error:
        raise InputError(Problem(str(path), "not-found", f"A file is needed here ({error.strerror}). Check the path.")) from None


def audit_command(
    release: Path, trust: Path | None, *, partial: bool = False, payload: str | None = None, certificate: Path | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Audit a release; return the JSON of DESIGN and the numbered steps."""
    from sciimg.provenance.audit import audit
    from sciimg.provenance.dsse import is_sha256
    from sciimg.provenance.policy import TrustPolicy, load_policy, own_policy
    from sciimg.provenance.timestamp import certificates

    if not release.is_dir():
        raise InputError(
            Problem(str(release), "not-found", "There is no such folder. Name a release, e.g. runs/STUDY-DIGEST/release/release.")
        )
    if payload is not None and not is_sha256(payload := payload.removeprefix("sha256:").lower()):
        raise InputError(Problem("--payload", "not-a-digest", "A payload digest is 64 hexadecimal digits, as the report cites it."))
    policy = load_policy(trust) if trust else own_policy()
    if certificate is not None:
        pem = _read(certificate).decode(errors="replace")
        certificates(pem, str(certificate))
        policy = TrustPolicy.model_validate(policy.model_dump() | {"time_authorities": (*policy.time_authorities, pem)})
    result = audit(release, policy, partial=partial, payload=f"sha256:{payload}" if payload else None)
    return result.as_json(), result.steps
