"""Time tokens of an authority that openssl runs: believed when the policy names it, over this signature and no other."""

import base64
import datetime
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from releases import trusted

if shutil.which("openssl") is None:
    pytest.skip("openssl, which plays the time authority, is not installed here", allow_module_level=True)
pytest.importorskip("rfc3161_client", reason="rfc3161-client (the extra 'time') is not installed here")

from authority import answer, issue, make_authority, openssl

from sciimg.errors import SciimgError
from sciimg.provenance.attest import attest
from sciimg.provenance.audit import Audit, audit
from sciimg.provenance.dsse import read_bundle
from sciimg.provenance.keys import Key
from sciimg.provenance.policy import TrustPolicy
from sciimg.provenance.timestamp import attach, check, request
from sciimg.stages.sign import audit_command, timestamp_command

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
DECISION = "attestations/decision.sigstore.json"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("tsa") / "a")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("tsa") / "b", "Another")


@pytest.fixture(scope="module")
def root(authority: Path) -> str:
    return (authority / "root.pem").read_text()


@pytest.fixture
def signed(release: Path, key: Key) -> Path:
    """A release whose decision was signed today."""
    shutil.rmtree(release / "attestations")
    attest(release, key, "decision", "I sign.", time=NOW)
    return release


def stamped(release: Path, authority: Path, name: str = DECISION, pem: str | None = None) -> Path:
    path = release / name
    attach(path, answer(authority, request(read_bundle(path, name))), pem or (authority / "root.pem").read_text())
    return release


def looked_at(release: Path, key: Key, root: str = "", now: datetime.datetime = NOW, **changes: Any) -> Audit:
    policy = TrustPolicy(keys=(trusted(key, **changes),), time_authorities=(root,) if root else ())
    return audit(release, policy, now=now)


def kinds(result: Audit) -> set[str]:
    return {p.kind for p in result.problems}


def test_a_token_is_what_openssl_says_it_is(signed: Path, authority: Path, tmp_path: Path) -> None:
    """The oracle: openssl verifies the token in the bundle over the bytes of the signature, and gives its time."""
    stamped(signed, authority)
    bundle = json.loads((signed / DECISION).read_text())
    token = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"]
    (tmp_path / "token").write_bytes(base64.b64decode(token))
    (tmp_path / "data").write_bytes(base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"]))
    openssl(tmp_path, "ts", "-verify", "-in", "token", "-data", "data", "-CAfile", str(authority / "root.pem"))
    text = openssl(tmp_path, "ts", "-reply", "-in", "token", "-text").decode()
    stamp = check(read_bundle(signed / DECISION, "b"), [(authority / "root.pem").read_text()])
    assert stamp is not None and f"{stamp.time:%b} {stamp.time.day:2} {stamp.time:%H:%M:%S} {stamp.time.year} GMT" in text


def test_a_trusted_time_is_said(signed: Path, key: Key, authority: Path, root: str) -> None:
    result = looked_at(stamped(signed, authority), key, root)
    assert result.verified, result.problems
    assert result.signers[1].as_dict()["time_proved"]["authority"] == "Test Time Authority root"
    assert "says Test Time Authority root" in result.steps[4]


def test_a_signature_of_a_key_that_expired_since_is_still_good(signed: Path, key: Key, authority: Path, root: str) -> None:
    expiring = {"not_after": NOW + DAY}
    later = NOW + 100 * DAY
    assert kinds(looked_at(signed, key, now=later, **expiring)) >= {"key-expired"}
    stamped(stamped(signed, authority), authority, "dataset.sigstore.json")
    assert looked_at(signed, key, root, now=later, **expiring).verified
    assert "key-revoked" in kinds(looked_at(signed, key, root, now=later, **expiring, revoked="stolen"))


def test_a_time_before_or_after_the_key_is_not(signed: Path, key: Key, authority: Path, root: str) -> None:
    stamped(signed, authority)
    assert "key-expired" in kinds(looked_at(signed, key, root, not_after=NOW - DAY))
    assert "key-not-yet-valid" in kinds(looked_at(signed, key, root, now=NOW + 9 * DAY, not_before=NOW + DAY))


def test_a_claim_of_a_later_time_than_the_token_is_refused(release: Path, key: Key, authority: Path, root: str) -> None:
    shutil.rmtree(release / "attestations")
    attest(release, key, "decision", "I sign.", time=NOW + 2 * DAY)
    stamped(release, authority)
    assert "time-in-future" in kinds(looked_at(release, key, root, now=NOW + 3 * DAY))


def test_a_token_that_nobody_vouches_for_is_refused(signed: Path, key: Key, authority: Path, other: Path) -> None:
    stamped(signed, authority)
    assert kinds(looked_at(signed, key)) >= {"time-not-trusted"}
    result = looked_at(signed, key, (other / "root.pem").read_text())
    assert kinds(result) >= {"time-not-trusted"} and not result.verified


def test_one_authority_among_those_of_its_issuer(signed: Path, key: Key, authority: Path, root: str, tmp_path: Path) -> None:
    sibling = Path(shutil.copytree(authority, tmp_path / "sibling"))
    openssl(sibling, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "own.key")
    issue(sibling, "Sibling")
    stamped(signed, sibling)
    assert looked_at(signed, key, root).verified
    assert "time-not-trusted" in kinds(looked_at(signed, key, root + (authority / "own.pem").read_text()))
    assert looked_at(signed, key, root + (sibling / "own.pem").read_text()).verified


@pytest.mark.parametrize("spoil", ["another signature", "noise", "cut"])
def test_what_is_no_token_of_this_signature_is_not_kept(signed: Path, authority: Path, root: str, spoil: str) -> None:
    path = signed / DECISION
    before = path.read_bytes()
    token = answer(authority, request(read_bundle(signed / "dataset.sigstore.json" if spoil == "another signature" else path, "b")))
    if spoil == "noise":
        token = b"noise"
    elif spoil == "cut":
        token = token[:-9]
    with pytest.raises(SciimgError) as caught:
        attach(path, token, root)
    assert caught.value.problems[0].kind in ("time-not-trusted", "malformed-time-token")
    assert path.read_bytes() == before


def test_a_token_that_was_moved_is_found(signed: Path, key: Key, authority: Path, root: str) -> None:
    """A sound token of a trusted authority, over another signature."""
    stamped(signed, authority, "dataset.sigstore.json")
    token = json.loads((signed / "dataset.sigstore.json").read_text())["verificationMaterial"]["timestampVerificationData"]
    value = json.loads((signed / DECISION).read_text())
    value["verificationMaterial"]["timestampVerificationData"] = token
    (signed / DECISION).write_text(json.dumps(value))
    assert "time-not-trusted" in kinds(looked_at(signed, key, root))


# ---------------------------------------------------------------- from the command line


@pytest.fixture
def address(authority: Path) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            body = answer(authority, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_authority_is_asked(signed: Path, key: Key, authority: Path, root: str, address: str) -> None:
    value = timestamp_command(signed, "decision", tsa=address, query=None, token=None, certificate=authority / "root.pem")
    assert value["authority"] == "Test Time Authority root"
    assert looked_at(signed, key, root).verified
    with pytest.raises(SciimgError, match="stamped-already"):
        timestamp_command(signed, "decision", tsa=address, query=None, token=None, certificate=authority / "root.pem")


def test_a_token_is_carried_by_hand(signed: Path, key: Key, policy: TrustPolicy, authority: Path, tmp_path: Path) -> None:
    query, token, trust = tmp_path / "q.tsq", tmp_path / "t.tsr", tmp_path / "trust.json"
    timestamp_command(signed, "decision", tsa=None, query=query, token=None, certificate=None)
    token.write_bytes(answer(authority, query.read_bytes()))
    timestamp_command(signed, "decision", tsa=None, query=None, token=token, certificate=authority / "root.pem")
    trust.write_text(policy.model_dump_json())
    assert audit_command(signed, trust)[0]["verified"] is False
    assert audit_command(signed, trust, certificate=authority / "root.pem")[0]["verified"] is True


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"what": "nothing"}, "no-signature"),
        ({"tsa": None}, "which-way"),
        ({"query": Path("q")}, "which-way"),
        ({"certificate": None}, "no-certificate"),
        ({"certificate": Path("none")}, "not-found"),
        ({"tsa": "file:///etc/passwd"}, "not-an-address"),
        ({"tsa": "http://127.0.0.1:9/"}, "no-answer"),
    ],
)
def test_bad_usage_changes_nothing(signed: Path, authority: Path, changes: dict[str, Any], kind: str) -> None:
    before = (signed / DECISION).read_bytes()
    given: dict[str, Any] = {"what": "decision", "tsa": "http://127.0.0.1:9/", "query": None, "token": None}
    given |= {"certificate": authority / "root.pem"} | changes
    with pytest.raises(SciimgError) as caught:
        timestamp_command(signed, **given)
    assert caught.value.problems[0].kind == kind
    assert (signed / DECISION).read_bytes() == before


def test_a_certificate_that_cannot_end_a_chain_is_refused(signed: Path, authority: Path) -> None:
    with pytest.raises(SciimgError, match="no-root"):
        timestamp_command(signed, "decision", tsa="http://x", query=None, token=None, certificate=authority / "own.pem")
