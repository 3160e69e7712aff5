"""Whom an audit believes, and when."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from releases import trusted

from sciimg.errors import InputError
from sciimg.provenance.dsse import Bundle, parse_bundle, sign, statement
from sciimg.provenance.keys import Key, config_folder, make_key
from sciimg.provenance.policy import TrustPolicy, Untrusted, load_policy, own_policy, write_policy
from sciimg.records import digest_of

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def bundle(key: Key) -> Bundle:
    return parse_bundle(sign(statement({"a": digest_of("a")}, "urn:x-test", {}), key), "b")


def objection(policy: TrustPolicy, bundle: Bundle, claimed: datetime.datetime = NOW) -> str:
    try:
        policy.signer(bundle, "decision", claimed, NOW)
    except Untrusted as error:
        return error.problems[0].kind
    return ""


@pytest.mark.parametrize(
    ("changes", "claimed", "kind"),
    [
        ({}, NOW, ""),
        ({"not_before": NOW, "not_after": NOW}, NOW, ""),
        ({"not_after": NOW - DAY}, NOW, "key-expired"),
        ({"not_after": NOW - DAY}, NOW - 2 * DAY, "key-expired"),  # whoever holds an expired key can claim any time
        ({"not_after": NOW + DAY}, NOW + 2 * DAY, "key-expired"),
        ({"not_before": NOW + DAY}, NOW, "key-not-yet-valid"),
        ({"not_before": NOW - DAY}, NOW - 2 * DAY, "key-not-yet-valid"),
        ({"revoked": "2026-05-01, laptop stolen"}, NOW - 100 * DAY, "key-revoked"),
        ({"roles": ["review", "dataset"]}, NOW, "role-not-allowed"),
    ],
)
def test_a_key_is_believed_in_its_role_and_time(
    key: Key, bundle: Bundle, changes: dict[str, Any], claimed: datetime.datetime, kind: str
) -> None:
    assert objection(TrustPolicy(keys=(trusted(key, **changes),)), bundle, claimed) == kind


def test_nobody_is_believed_by_an_empty_policy(bundle: Bundle) -> None:
    assert objection(TrustPolicy(keys=()), bundle) == "untrusted-key"


def test_a_hint_does_not_make_a_signature(key: Key, stranger: Key, bundle: Bundle) -> None:
    forged = Bundle(bundle.where, bundle.payload, bundle.statement, stranger.sign(b"x"), key.id)
    assert objection(TrustPolicy(keys=(trusted(key),)), forged) == "bad-signature"


def test_a_key_id_belongs_to_its_key(key: Key, stranger: Key) -> None:
    with pytest.raises(ValueError, match="SHA-256 of the PEM"):
        trusted(key, key_id=stranger.id)


def test_the_default_policy_is_ones_own_keys() -> None:
    assert own_policy().keys == ()
    key = make_key("Ada")
    assert [k.person for k in own_policy().keys] == ["Ada"]
    assert own_policy().keys[0].public.id == key.id


def test_a_policy_can_be_handed_out(bundle: Bundle, key: Key) -> None:
    handed = load_policy(write_policy(key))
    assert objection(handed, bundle) == ""
    assert [k.person for k in handed.keys] == [key.signer]
    assert key.path.read_text() not in write_policy(key).read_text()


def test_a_policy_file_replaces_the_default(stranger: Key) -> None:
    make_key("Ada")
    path = config_folder() / "trust.json"
    path.write_text(TrustPolicy(keys=(trusted(stranger, person="Bob"),), threshold=2).model_dump_json())
    assert [k.person for k in own_policy().keys] == ["Bob"]
    assert own_policy().threshold == 2


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"threshold": 0}, "bad-policy"), ({"sciimg_trust": 2}, "bad-policy"), ({"extra": 1}, "bad-policy"), ({"keys": None}, "bad-policy")],
)
def test_a_faulty_policy_is_no_policy(tmp_path: Path, key: Key, change: dict[str, Any], kind: str) -> None:
    value = json.loads(TrustPolicy(keys=(trusted(key),)).model_dump_json())
    path = tmp_path / "p.json"
    path.write_text(json.dumps(value))
    assert load_policy(path).keys[0].key_id == key.id
    path.write_text(json.dumps(value | change))
    with pytest.raises(InputError) as caught:
        load_policy(path)
    assert {p.kind for p in caught.value.problems} == {kind}


def test_a_key_stands_once(tmp_path: Path, key: Key) -> None:
    path = tmp_path / "p.json"
    one = json.loads(trusted(key).model_dump_json())
    path.write_text(json.dumps({"keys": [one, one]}))
    with pytest.raises(InputError, match="stands once"):
        load_policy(path)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_what_is_no_policy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InputError):
        load_policy(path)
    with pytest.raises(InputError):
        load_policy(tmp_path / "none.json")
