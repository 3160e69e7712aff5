"""In-toto statements in DSSE envelopes in Sigstore bundles, written and read strictly.

A bundle (Sigstore bundle v0.3, JSON) holds one envelope with one signature over the pre-authentication encoding of its payload (DSSE 1.0);
the payload is an in-toto Statement v1. What a reader could take in two ways is refused: duplicate keys, further signatures, other types.

References
----------
DSSE protocol v1.0, github.com/secure-systems-lab/dsse; in-toto Attestation Framework, Statement v1; Sigstore bundle format v0.3.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciimg.errors import AuditError, Problem
from sciimg.files import read_plain
from sciimg.provenance.keys import Key, PublicKey
from sciimg.records import Digest, canonical_json

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"


@dataclass(frozen=True)
class Bundle:
    """An envelope as it was read; nothing in it is to be believed before :meth:`signed_by` says so."""

    where: str
    payload: bytes
    statement: dict[str, Any]
    signature: bytes
    key_id: str
    token: bytes | None = None  # RFC 3161, over the signature

    @property
    def payload_digest(self) -> Digest:
        """SHA-256 of the payload: unlike the root digest of a model signature, it binds names as well as bytes."""
        return "sha256:" + hashlib.sha256(self.payload).hexdigest()

    @property
    def predicate_type(self) -> str:
        return str(self.statement["predicateType"])

    @property
    def predicate(self) -> dict[str, Any]:
        value: dict[str, Any] = self.statement["predicate"]
        return value

    @property
    def subjects(self) -> dict[str, Digest]:
        """Name → SHA-256 digest of everything that the statement speaks of."""
        return {s["name"]: "sha256:" + s["digest"]["sha256"] for s in self.statement["subject"]}

    def signed_by(self, key: PublicKey) -> bool:
        """Whether the signature was made with this key over exactly this payload."""
        return key.verifies(self.signature, pae(self.payload))


def pae(payload: bytes) -> bytes:
    """Return the pre-authentication encoding that is signed (DSSE protocol, v1.0)."""
    return b"DSSEv1 %d %s %d " % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload)) + payload


def statement(subjects: dict[str, Digest], predicate_type: str, predicate: dict[str, Any]) -> dict[str, Any]:
    """Return an in-toto Statement v1 about named digests."""
    named = [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}} for name, digest in subjects.items()]
    return {"_type": STATEMENT_TYPE, "subject": named, "predicateType": predicate_type, "predicate": predicate}


def sign(value: dict[str, Any], key: Key) -> bytes:
    """Return the bundle file for a statement; the same statement and key give the same bytes."""
    payload = canonical_json(value)
    envelope = {
        "payload": _encode(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": _encode(key.sign(pae(payload))), "keyid": key.id}],
    }
    material = {"publicKey": {"hint": key.id}, "tlogEntries": []}
    return canonical_json({"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}) + b"\n"


def read_bundle(path: Path, where: str) -> Bundle:
    """Read a bundle file strictly; ``where`` is its name in messages.

    Raises
    ------
    AuditError
        If it is missing, malformed, or could be read in two ways.
    """
    try:
        data = read_plain(path)
    except OSError as error:
        raise AuditError(
            Problem(where, "bundle-missing", f"A signature bundle belongs here ({error.strerror}). Get the whole release.")
        ) from None
    return parse_bundle(data, where)


def parse_bundle(data: bytes, where: str) -> Bundle:
    """Parse the bytes of a bundle; see :func:`read_bundle`."""
    value = _object(data, where, "a Sigstore bundle")
    _only(value, {"mediaType", "verificationMaterial", "dsseEnvelope"}, where)
    _require(value.get("mediaType") == BUNDLE_TYPE, where, f"its mediaType is {BUNDLE_TYPE}; got {value.get('mediaType')!r}")
    material, envelope = value.get("verificationMaterial"), value.get("dsseEnvelope")
    _require(isinstance(material, dict) and isinstance(envelope, dict), where, "it has verificationMaterial and a dsseEnvelope")
    assert isinstance(material, dict)
    assert isinstance(envelope, dict)
    _only(material, {"publicKey", "tlogEntries", "timestampVerificationData"}, where)
    _require(not material.get("tlogEntries"), where, "it has no log entries, which nobody would check")
    _only(envelope, {"payload", "payloadType", "signatures"}, where)
    _require(envelope.get("payloadType") == PAYLOAD_TYPE, where, f"its payloadType is {PAYLOAD_TYPE}; got {envelope.get('payloadType')!r}")
    signature, key_id = _one_signature(envelope, material, where)
    payload = _decode(envelope.get("payload"), where)
    return Bundle(where, payload, _statement(payload, where), signature, key_id, _token(material, where))


def _one_signature(envelope: dict[str, Any], material: dict[str, Any], where: str) -> tuple[bytes, str]:
    signatures = envelope.get("signatures")
    _require(
        isinstance(signatures, list) and len(signatures) == 1, where, "it has exactly one signature; each signer has a bundle of their own"
    )
    assert isinstance(signatures, list)
    first, public = signatures[0], material.get("publicKey")
    _require(isinstance(first, dict) and isinstance(public, dict), where, "its signature names a public key")
    assert isinstance(public, dict)
    _only(public, {"hint"}, where)
    _only(first, {"sig", "keyid"}, where)
    key_id = public.get("hint")
    _require(isinstance(key_id, str) and key_id == (first.get("keyid") or key_id), where, "its hint and keyid name one key")
    return _decode(first.get("sig"), where), str(key_id)


def _token(material: dict[str, Any], where: str) -> bytes | None:
    if "timestampVerificationData" not in material:
        return None
    match material["timestampVerificationData"]:
        case {"rfc3161Timestamps": [{"signedTimestamp": str(text), **others}], **more} if not others and not more:
            return _decode(text, where)
        case _:
            _require(False, where, "its timestampVerificationData is one RFC 3161 token")
            return None


def _statement(payload: bytes, where: str) -> dict[str, Any]:
    value = _object(payload, where, "an in-toto statement")
    _only(value, {"_type", "subject", "predicateType", "predicate"}, where)
    _require(value.get("_type") == STATEMENT_TYPE, where, f"its payload is of type {STATEMENT_TYPE}; got {value.get('_type')!r}")
    _require(isinstance(value.get("predicateType"), str) and isinstance(value.get("predicate"), dict), where, "its payload has a predicate")
    subjects = value.get("subject")
    sound = isinstance(subjects, list) and bool(subjects) and all(_is_subject(s) for s in subjects)
    _require(sound, where, "its payload has subjects with a name and a SHA-256 digest")
    names = [s["name"] for s in value["subject"]]
    _require(len(set(names)) == len(names), where, "its subjects have different names")
    return value


def _is_subject(value: Any) -> bool:
    if not (isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("digest"), dict)):
        return False
    return is_sha256(value["digest"].get("sha256"))


def is_sha256(text: Any) -> bool:
    """Whether the value is a SHA-256 digest in lower-case hexadecimal."""
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


def _object(data: bytes, where: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise AuditError(Problem(where, "malformed-bundle", f"It is {what} in JSON; this cannot be read ({error}).")) from None
    _require(isinstance(value, dict), where, f"it is {what}")
    assert isinstance(value, dict)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _only(value: dict[str, Any], known: set[str], where: str) -> None:
    strangers = sorted(set(value) - known)
    _require(not strangers, where, f"it has the keys {', '.join(sorted(known))} and no others; got {', '.join(map(repr, strangers))}")


def _require(holds: bool, where: str, rule: str) -> None:
    if not holds:
        raise AuditError(
            Problem(where, "malformed-bundle", f"A bundle is taken in one way only: {rule}. Get the release again from its source.")
        )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: Any, where: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        data = b""
    _require(bool(data) and _encode(data) == text, where, "payload, signature and time token are canonical base64")
    return data
