"""A bundle can be read in one way only."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciimg.errors import AuditError
from sciimg.provenance.dsse import PAYLOAD_TYPE, pae, parse_bundle, sign, statement
from sciimg.provenance.keys import Key
from sciimg.records import canonical_json, digest_of

STATEMENT = statement({"a": digest_of("a"), "b": digest_of("b")}, "urn:x-test", {"n": 1})


def test_the_encoding_that_is_signed() -> None:
    """DSSE protocol v1.0: PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in bytes."""
    assert pae("ü".encode()) == b"DSSEv1 28 application/vnd.in-toto+json 2 \xc3\xbc"
    assert len(PAYLOAD_TYPE) == 28


def test_round_trip(key: Key) -> None:
    bundle = parse_bundle(sign(STATEMENT, key), "b")
    assert bundle.statement == STATEMENT
    assert bundle.subjects == {"a": digest_of("a"), "b": digest_of("b")}
    assert bundle.key_id == key.id
    assert bundle.signed_by(key.public)


def test_the_same_statement_gives_the_same_bytes(key: Key) -> None:
    assert sign(STATEMENT, key) == sign(json.loads(json.dumps(STATEMENT)), key)


def test_another_key_did_not_sign(key: Key, stranger: Key) -> None:
    assert not parse_bundle(sign(STATEMENT, key), "b").signed_by(stranger.public)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_changed_bit_of_payload_or_signature_is_accepted(key: Key, position: int, bit: int) -> None:
    value = json.loads(sign(STATEMENT, key))
    envelope = value["dsseEnvelope"]
    for holder, name in ((envelope, "payload"), (envelope["signatures"][0], "sig")):
        spoilt = json.loads(json.dumps(value))
        data = bytearray(base64.b64decode(holder[name]))
        data[position % len(data)] ^= 1 << bit
        target = spoilt["dsseEnvelope"] if name == "payload" else spoilt["dsseEnvelope"]["signatures"][0]
        target[name] = base64.b64encode(bytes(data)).decode()
        try:
            bundle = parse_bundle(json.dumps(spoilt).encode(), "b")
        except AuditError:
            continue
        assert not bundle.signed_by(key.public)


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], bytes]:
    def edited(value: dict[str, Any]) -> bytes:
        change(value)
        return json.dumps(value).encode()

    return edited


def _payload(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], bytes]:
    def edited(value: dict[str, Any]) -> bytes:
        payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
        change(payload)
        value["dsseEnvelope"]["payload"] = base64.b64encode(canonical_json(payload)).decode()
        return json.dumps(value).encode()

    return edited


MALFORMED: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "no JSON": lambda v: b"{",
    "no object": lambda v: b"[]",
    "not UTF-8": lambda v: b"\xff",
    "a key twice": lambda v: json.dumps(v).encode().replace(b'"mediaType"', b'"mediaType": "x", "mediaType"', 1),
    "another media type": _edit(lambda v: v.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2")),
    "another payload type": _edit(lambda v: v["dsseEnvelope"].update(payloadType="text/plain")),
    "an unknown key": _edit(lambda v: v.update(comment="x")),
    "an unknown key in the envelope": _edit(lambda v: v["dsseEnvelope"].update(comment="x")),
    "a certificate": _edit(lambda v: v["verificationMaterial"].update(certificate={})),
    "no signature": _edit(lambda v: v["dsseEnvelope"].update(signatures=[])),
    "two signatures": _edit(lambda v: v["dsseEnvelope"]["signatures"].append(v["dsseEnvelope"]["signatures"][0])),
    "a keyid that is not the hint": _edit(lambda v: v["dsseEnvelope"]["signatures"][0].update(keyid="0" * 64)),
    "no hint": _edit(lambda v: v["verificationMaterial"].update(publicKey={})),
    "loose base64": _edit(lambda v: v["dsseEnvelope"].update(payload=v["dsseEnvelope"]["payload"] + "\n")),
    "no base64": _edit(lambda v: v["dsseEnvelope"].update(payload="*")),
    "a number for a payload": _edit(lambda v: v["dsseEnvelope"].update(payload=1)),
    "another statement type": _payload(lambda p: p.update(_type="https://in-toto.io/Statement/v0.1")),
    "no subject": _payload(lambda p: p.update(subject=[])),
    "a subject without SHA-256": _payload(lambda p: p["subject"][0].update(digest={"md5": "0"})),
    "a subject in capitals": _payload(lambda p: p["subject"][0]["digest"].update(sha256="A" * 64)),
    "a subject twice": _payload(lambda p: p["subject"].append(p["subject"][0])),
    "no predicate": _payload(lambda p: p.pop("predicate")),
    "an unknown key in the statement": _payload(lambda p: p.update(extra=1)),
}


@pytest.mark.parametrize("spoil", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bundles_are_refused(key: Key, spoil: Callable[[dict[str, Any]], bytes]) -> None:
    with pytest.raises(AuditError):
        parse_bundle(spoil(json.loads(sign(STATEMENT, key))), "b")


@given(st.binary(max_size=200))
def test_noise_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(AuditError, match="b: "):
        parse_bundle(data, "b")
