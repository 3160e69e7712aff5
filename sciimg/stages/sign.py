"""Keys, further signatures and the audit, for the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sciimg.errors import InputError, Problem

if TYPE_CHECKING:
    from sciimg.provenance.policy import Role


def keygen_command(name: str, out: Path | None) -> dict[str, Any]:
    """Make a key; return where it lies and what identifies it."""
    from sciimg.provenance.keys import make_key
    from sciimg.provenance.policy import write_policy

    key = make_key(name, out)
    return {
        "signer": key.signer,
        "key_id": key.id,
        "key": str(key.path),
        "policy": str(write_policy(key)),
        "encrypted": key.encrypted,
        "protection": key.protection,
    }


def sign_command(release: Path, role: str, meaning: str, key: Path | None) -> dict[str, Any]:
    """Attest something about a release with a person's key; return where the attestation lies."""
    from sciimg.provenance.attest import attest, payload_digest
    from sciimg.provenance.keys import load_key, own_key

    bundle = release / "dataset.sigstore.json"
    if not bundle.is_file():
        raise InputError(Problem(str(release), "not-a-release", "Expected a release folder (with dataset.sigstore.json)."))
    said = {"payload": payload_digest(bundle)}
    path = attest(release, load_key(key) if key else own_key(), cast("Role", role), meaning, said)
    return {"attestation": str(path), "role": role, "meaning": meaning}


def audit_command(release: Path, trust: Path | None) -> tuple[dict[str, Any], list[str]]:
    """Audit a release; return the JSON of DESIGN and the numbered steps."""
    from sciimg.provenance.audit import audit
    from sciimg.provenance.policy import load_policy

    if not release.is_dir():
        raise InputError(
            Problem(str(release), "not-found", "There is no such folder. Name a release, e.g. runs/STUDY-DIGEST/release/release.")
        )
    result = audit(release, load_policy(trust) if trust else None)
    return result.as_json(), result.steps
