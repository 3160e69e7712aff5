"""Times that somebody else vouches for: RFC 3161 tokens over a signature, kept in the signature's own bundle.

A token says that a time authority saw this signature at that moment. It is asked of an authority that the user names, or brought in as a
file where the machine has no network; it is checked offline, against certificates that the trust policy holds.

References
----------
RFC 3161, Time-Stamp Protocol; Sigstore bundle v0.3, ``timestampVerificationData``: a token is over the bytes of the envelope's signature.
"""

import base64
import datetime
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from sciimg.errors import AuditError, InputError, MissingExtraError, Problem
from sciimg.files import write_bytes
from sciimg.provenance.dsse import Bundle, read_bundle
from sciimg.records import canonical_json

PATIENCE_S = 30
_LARGEST_ANSWER = 1 << 20


@dataclass(frozen=True)
class Stamp:
    """When a signature was there, and who says so."""

    time: datetime.datetime
    authority: str


def request(bundle: Bundle) -> bytes:
    """Return the query (DER) that asks an authority for a token over a bundle's signature."""
    client = _client()
    builder = client.TimestampRequestBuilder().data(bundle.signature).hash_algorithm(client.HashAlgorithm.SHA256)
    return bytes(builder.build().as_bytes())


def ask(url: str, query: bytes) -> bytes:
    """Send a query to an authority over HTTP and return its answer (DER).

    Raises
    ------
    InputError
        If the address is none, or nobody answers there.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(Problem(url, "not-an-address", "A time authority is an http:// or https:// address. Name it so."))
    post = urllib.request.Request(url, data=query, headers={"Content-Type": "application/timestamp-query"}, method="POST")
    try:
        with urllib.request.urlopen(post, timeout=PATIENCE_S) as answer:
            return bytes(answer.read(_LARGEST_ANSWER))
    except (OSError, ValueError, urllib.error.URLError) as error:
        message = f"A time authority answers there; none did ({getattr(error, 'reason', None) or error}). Try again, or use --query."
        raise InputError(Problem(url, "no-answer", message)) from None


def certificates(pem: str, where: str) -> list[x509.Certificate]:
    """Return the certificates of a time authority: at least one that signs others, and its own where only that one is meant.

    Raises
    ------
    InputError
        If it holds none, or none that can end a chain.
    """
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        message = f"A time authority is known by certificates in PEM; these cannot be read ({error})."
        raise InputError(Problem(where, "not-a-certificate", message)) from None
    if not any(map(_signs_others, found)):
        message = "Tokens are checked up to the authority that issued the time authority's certificate; add that one to the file."
        raise InputError(Problem(where, "no-root", message))
    return found


def check(bundle: Bundle, authorities: Sequence[str]) -> Stamp | None:
    """Return the time that a bundle's token proves; None where it has none.

    Parameters
    ----------
    bundle : Bundle
    authorities : sequence of str
        Certificates of each trusted authority, in PEM.

    Raises
    ------
    AuditError
        If there is a token and no trusted authority made it over this signature.
    """
    if bundle.token is None:
        return None
    client = _client()
    try:
        answer = client.decode_timestamp_response(bundle.token)
    except ValueError as error:
        message = f"A time token is the answer of an authority (RFC 3161, DER); this cannot be read ({error})."
        raise AuditError(Problem(bundle.where, "malformed-time-token", message)) from None
    reasons = []
    for pem in authorities:
        given = certificates(pem, bundle.where)
        own = next((c for c in given if not _signs_others(c)), None)
        verifier = client.VerifierBuilder(tsa_certificate=own, roots=[c for c in given if c is not own]).build()
        try:
            verifier.verify_message(answer, bundle.signature)
        except (client.VerificationError, ValueError) as error:
            reasons.append(str(error))
            continue
        return Stamp(answer.tst_info.gen_time, _named(own or next(c for c in given if _signs_others(c))))
    if not authorities:
        message = "It carries a time token, and the trust policy names no time authority. Add the authority's certificate to the policy."
        raise AuditError(Problem(bundle.where, "time-not-trusted", message))
    message = f"No time authority of the trust policy gave this token over this signature ({_short(reasons[0])}). Get the release again."
    raise AuditError(Problem(bundle.where, "time-not-trusted", message))


def attach(path: Path, token: bytes, authority: str) -> Stamp:
    """Put a token into a bundle file, where it holds by these certificates; the signature stays as it is.

    Raises
    ------
    InputError
        If the bundle has a token already.
    AuditError
        If the token is not one of this authority over this signature.
    """
    bundle = read_bundle(path, path.name)
    if bundle.token is not None:
        message = "A signature has one time token; this one has it already. Keep the older one: it proves more."
        raise InputError(Problem(str(path), "stamped-already", message))
    value: dict[str, Any] = json.loads(path.read_bytes())
    tokens = {"rfc3161Timestamps": [{"signedTimestamp": base64.b64encode(token).decode()}]}
    value["verificationMaterial"]["timestampVerificationData"] = tokens
    stamp = check(Bundle(bundle.where, bundle.payload, bundle.statement, bundle.signature, bundle.key_id, token), [authority])
    assert stamp is not None
    write_bytes(path, canonical_json(value) + b"\n")
    return stamp


def _signs_others(certificate: x509.Certificate) -> bool:
    with suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    return False


def _named(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def _short(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."


def _client() -> Any:
    try:
        import rfc3161_client
    except ImportError:
        message = "Time tokens need the package rfc3161-client, which is not installed. Run: pip install 'sciimg[time]'."
        raise MissingExtraError(Problem("rfc3161-client", "missing-extra", message)) from None
    return rfc3161_client
