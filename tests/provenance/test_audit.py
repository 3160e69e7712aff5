"""A release is accepted as it was made, and refused after every kind of tampering, each under its own name."""

import base64
import datetime
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import releases
from releases import trusted

from sciimg.provenance.attest import attest, read_attestation
from sciimg.provenance.audit import audit
from sciimg.provenance.keys import Key, make_key
from sciimg.provenance.oms import sign_folder
from sciimg.provenance.policy import TrustPolicy
from sciimg.records import Rehearsal, RehearsedGate, canonical_json


def kinds(release: Path, policy: TrustPolicy) -> set[str]:
    result = audit(release, policy, now=releases.TIME)
    assert result.verified == (not result.problems)
    assert result.as_json()["decision"] == (result.decision if result.verified else None)
    return {p.kind for p in result.problems}


@pytest.mark.parametrize("outcome", list(releases.INTERVALS))
def test_a_release_is_accepted_as_it_was_made(_made: dict[str, Path], policy: TrustPolicy, key: Key, outcome: str) -> None:
    result = audit(_made[outcome], policy, now=releases.TIME)
    assert result.verified, result.problems
    assert result.as_json() == {
        "verified": True,
        "decision": outcome,
        "signers": [
            {"person": "Ada Example", "role": "dataset", "key_id": key.id, "time": None, "meaning": None},
            {
                "person": "Ada Example",
                "role": "decision",
                "key_id": key.id,
                "time": "2026-06-01T12:00:00Z",
                "meaning": "This decision follows from the signed evidence by the gates of the study, and I sign for it.",
            },
        ],
        "problems": [],
    }
    assert [line.split()[:2] for line in result.steps] == [[str(n), "ok"] for n in range(1, 9)]


def test_a_release_without_a_report_is_a_release(tmp_path: Path, key: Key, policy: TrustPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "render", lambda out, payload: None)
    assert kinds(releases.release(tmp_path, key, "refused"), policy) == set()


@pytest.mark.parametrize("outcome", list(releases.INTERVALS))
def test_a_rehearsal_on_real_images_is_released_and_moves_no_decision(
    tmp_path: Path, _made: dict[str, Path], key: Key, policy: TrustPolicy, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"outcome": "failed", "value": 3.0, "ci95": (2.5, 3.5), "reason": "it is 3", "concern": "failed"}
    gate = RehearsedGate(gate="intensities", recipe=None, metric="intensity-law_effect", rule="x <= 1", **failed)  # type: ignore[arg-type]
    study = releases.loaded().study.digest
    rehearsal = Rehearsal(study=study, images="the real calibration part", patches=8, groups=4, gates=(gate,))
    evidence = releases.evidence(outcome) | {"rehearsal": canonical_json(rehearsal.as_json())}
    monkeypatch.setattr(releases, "evidence", lambda outcome: evidence)
    release = releases.release(tmp_path, key, outcome)
    assert kinds(release, policy) == set()
    assert Rehearsal.model_validate_json((release / "dataset/evidence/rehearsal.json").read_bytes()) == rehearsal
    decisions = [(folder / "dataset/evidence/decision.json").read_bytes() for folder in (release, _made[outcome])]
    assert decisions[0] == decisions[1]


def chunk(release: Path) -> Path:
    return release / "dataset/images/ldm-0.zarr/0/c/0/0/0"


def edited_json(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edited_payload(path: Path, change: Callable[[Any], Any]) -> None:
    def edit(value: Any) -> None:
        payload = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
        change(payload)
        value["dsseEnvelope"]["payload"] = base64.b64encode(canonical_json(payload)).decode()

    edited_json(path, edit)


def forget_file(release: Path) -> None:
    """Remove a chunk and its line in the signed statement."""
    chunk(release).unlink()
    edited_payload(
        release / "dataset.sigstore.json",
        lambda p: p["predicate"].update(
            resources=[r for r in p["predicate"]["resources"] if not r["name"].endswith("ldm-0.zarr/0/c/0/0/0")]
        ),
    )


def piped(path: Path) -> None:
    """Put a pipe in the place of a file: reading it would wait for ever."""
    path.unlink()
    os.mkfifo(path)


def twice(release: Path) -> None:
    first = release / "attestations/decision.sigstore.json"
    shutil.copy(first, first.with_name(f"decision-{read_attestation(first).bundle.key_id[:8]}.sigstore.json"))


def over_fill_value(array: Path) -> None:
    """Write an object where the mask is empty: every byte that was signed is as it was, and the mask is another."""
    import zarr

    opened = zarr.open_array(array)
    before = {p: p.read_bytes() for p in array.rglob("*") if p.is_file()}
    assert not opened[:].any()
    opened[:] = np.ones(opened.shape, opened.dtype)
    assert zarr.open_array(array)[:].all() and {p: p.read_bytes() for p in before} == before


TAMPERED: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "a changed byte": (lambda r: chunk(r).write_bytes(chunk(r).read_bytes()[:-1] + b"\0"), {"changed"}),
    "a truncated file": (lambda r: chunk(r).write_bytes(chunk(r).read_bytes()[:-1]), {"changed"}),
    "an appended byte": (lambda r: chunk(r).write_bytes(chunk(r).read_bytes() + b"\0"), {"changed"}),
    "two swapped images": (
        lambda r: (
            (r / "dataset/images/ldm-0.zarr").rename(r / "x"),
            (r / "dataset/images/ldm-1.zarr").rename(r / "dataset/images/ldm-0.zarr"),
            (r / "x").rename(r / "dataset/images/ldm-1.zarr"),
        ),
        {"swapped"},
    ),
    "a removed file": (lambda r: chunk(r).unlink(), {"empty-folder", "removed"}),
    "a removed image": (lambda r: shutil.rmtree(r / "dataset/images/ldm-0.zarr"), {"removed"}),
    "a renamed file": (lambda r: (r / "dataset/study.yaml").rename(r / "dataset/studies.yaml"), {"removed", "renamed"}),
    "a renamed case": (lambda r: (r / "dataset/study.yaml").rename(r / "dataset/Study.yaml"), {"removed", "renamed-case"}),
    "a chunk over a fill value": (lambda r: over_fill_value(r / "dataset/images/ldm-1.zarr/labels/mask/0"), {"added"}),
    "an added chunk": (lambda r: (chunk(r).parent / "1").write_bytes(b"x"), {"added"}),
    "an added .DS_Store": (lambda r: (r / "dataset/.DS_Store").write_bytes(b"x"), {"added"}),
    "an added .git": (lambda r: ((r / "dataset/.git").mkdir(), (r / "dataset/.git/HEAD").write_bytes(b"x")), {"added"}),
    "an added empty folder": (lambda r: (r / "dataset/void").mkdir(), {"empty-folder"}),
    "a link to the same bytes": (
        lambda r: (shutil.move(chunk(r), r.parent / "away"), chunk(r).symlink_to(r.parent / "away")),
        {"symlink"},
    ),
    "a linked dataset": (
        lambda r: (shutil.move(r / "dataset", r.parent / "away"), (r / "dataset").symlink_to(r.parent / "away")),
        {"not-regular"},
    ),
    "a pipe": (lambda r: os.mkfifo(r / "dataset/pipe"), {"special-file"}),
    "something beside the dataset": (lambda r: (r / "readme.html").write_text("x"), {"added"}),
    "something among the attestations": (lambda r: (r / "attestations/note.txt").write_text("x"), {"added"}),
    "a removed bundle": (lambda r: (r / "dataset.sigstore.json").unlink(), {"missing", "bundle-missing"}),
    "a removed attestation": (lambda r: (r / "attestations/decision.sigstore.json").unlink(), {"too-few-signers", "unsigned-report"}),
    "a removed dataset": (lambda r: shutil.rmtree(r / "dataset"), {"missing"}),
    "an edited payload": (
        lambda r: edited_payload(r / "dataset.sigstore.json", lambda p: p["predicate"]["resources"][0].update(digest="0" * 64)),
        {"bad-signature"},
    ),
    "a forgotten file": (forget_file, {"bad-signature"}),
    "an extra signature": (
        lambda r: edited_json(
            r / "dataset.sigstore.json", lambda v: v["dsseEnvelope"]["signatures"].append(v["dsseEnvelope"]["signatures"][0])
        ),
        {"malformed-bundle"},
    ),
    "an edited decision": (
        lambda r: edited_payload(r / "attestations/decision.sigstore.json", lambda p: p["predicate"]["said"].update(decision="refused")),
        {"bad-signature", "too-few-signers", "unsigned-report"},
    ),
    "an edited meaning": (
        lambda r: edited_payload(r / "attestations/decision.sigstore.json", lambda p: p["predicate"].update(meaning="Whatever.")),
        {"bad-signature", "too-few-signers", "unsigned-report"},
    ),
    "a dataset bundle for a decision": (
        lambda r: shutil.copy(r / "dataset.sigstore.json", r / "attestations/review.sigstore.json"),
        {"malformed-attestation"},
    ),
    "an edited report": (lambda r: (r / "report.html").write_text((r / "report.html").read_text() + "<p>All is well."), {"changed"}),
    "an edited PDF": (lambda r: (r / "report.pdf").write_bytes((r / "report.pdf").read_bytes() + b"%"), {"changed"}),
    "a removed report": (lambda r: (r / "report.pdf").unlink(), {"missing"}),
    "another public key": (lambda r: (r / "signer.pub").write_bytes(make_key("Eve", r.parent / "eve").public.pem), {"other-key"}),
    "a pipe for a bundle": (lambda r: piped(r / "dataset.sigstore.json"), {"not-regular", "bundle-missing"}),
    "a pipe for a key": (lambda r: piped(r / "signer.pub"), {"not-regular", "unreadable"}),
    "a pipe for an attestation": (lambda r: piped(r / "attestations/decision.sigstore.json"), {"added", "too-few-signers"}),
    "a folder for a key": (lambda r: ((r / "signer.pub").unlink(), (r / "signer.pub").mkdir()), {"not-regular", "unreadable"}),
    "words before the key": (lambda r: (r / "signer.pub").write_bytes(b"Trust me.\n" + (r / "signer.pub").read_bytes()), {"added"}),
    "a log entry that nobody checks": (
        lambda r: edited_json(r / "dataset.sigstore.json", lambda v: v["verificationMaterial"].update(tlogEntries=[{"logIndex": "1"}])),
        {"malformed-bundle"},
    ),
    "a timestamp that nobody checks": (
        lambda r: edited_json(
            r / "dataset.sigstore.json", lambda v: v["verificationMaterial"].update(timestampVerificationData={"rfc3161Timestamps": [1]})
        ),
        {"malformed-bundle"},
    ),
    "a note beside the key's name": (
        lambda r: edited_json(r / "dataset.sigstore.json", lambda v: v["verificationMaterial"]["publicKey"].update(note="by the Pope")),
        {"malformed-bundle"},
    ),
    "a decision that is called a review": (
        lambda r: (r / "attestations/decision.sigstore.json").rename(r / "attestations/review.sigstore.json"),
        {"renamed", "too-few-signers"},
    ),
    "a decision given twice": (twice, {"signed-twice"}),
    "the run's note": (lambda r: (r / "stage.json").write_text("{}"), {"added"}),
    "no key at all": (lambda r: (r / "signer.pub").write_bytes(b"x"), {"not-a-key"}),
}


@pytest.mark.parametrize(("tamper", "expected"), TAMPERED.values(), ids=TAMPERED.keys())
def test_tampering_is_named(release: Path, policy: TrustPolicy, tamper: Callable[[Path], object], expected: set[str]) -> None:
    tamper(release)
    result = audit(release, policy, now=releases.TIME)
    assert not result.verified
    assert result.as_json()["decision"] is None
    # the first fault has its own name; later steps may report what follows from it, or not be made
    assert expected <= {p.kind for p in result.problems}, result.problems
    assert any("FAULT" in line for line in result.steps)
    assert len(result.steps) == 8


def test_nothing_is_believed_after_a_changed_byte(release: Path, policy: TrustPolicy) -> None:
    """The decision is not read from a dataset that is not intact."""
    (release / "dataset/evidence/decision.json").write_text("{}")
    result = audit(release, policy, now=releases.TIME)
    assert {p.kind for p in result.problems} == {"changed"}
    assert result.decision is None
    assert "6  not checked" in result.steps[5]


def test_a_stranger_is_not_believed_whatever_the_name(tmp_path: Path, stranger: Key, policy: TrustPolicy) -> None:
    """Everything is sound and signed by somebody who calls himself Ada Example."""
    result = audit(releases.release(tmp_path, stranger), policy, now=releases.TIME)
    assert {p.kind for p in result.problems} == {"untrusted-key"}
    assert not result.verified
    assert result.signers == []


def test_the_bundle_of_another_release_does_not_fit(release: Path, tmp_path: Path, key: Key, policy: TrustPolicy) -> None:
    (tmp_path / "other").mkdir()
    other = releases.release(tmp_path / "other", key, text=releases.STUDY.replace("1.2.0", "1.1.0"))
    shutil.copy(other / "dataset.sigstore.json", release / "dataset.sigstore.json")
    assert "changed" in kinds(release, policy)


def test_the_decision_on_another_release_does_not_fit(release: Path, refused: Path, policy: TrustPolicy) -> None:
    shutil.copy(refused / "attestations/decision.sigstore.json", release / "attestations/decision.sigstore.json")
    assert {"other-payload", "too-few-signers"} <= kinds(release, policy)


def test_the_report_on_another_release_does_not_fit(release: Path, refused: Path, policy: TrustPolicy) -> None:
    shutil.copy(refused / "report.html", release / "report.html")
    assert {"changed", "cites-another-digest"} <= kinds(release, policy)


@pytest.mark.parametrize("name", ["report.html", "report.pdf"])
def test_a_report_that_shows_another_digest_and_hides_the_right_one_is_found(
    release: Path, key: Key, policy: TrustPolicy, name: str
) -> None:
    path = release / name
    path.write_bytes(path.read_bytes() + f"<p>Signed payload, SHA-256: <code>{'0' * 32}<wbr>{'0' * 32}</code></p>\n".encode())
    resign_decision(release, key)
    assert kinds(release, policy) == ({"cites-another-digest"} if name == "report.html" else set())
    if name == "report.pdf":  # what is seen of it is compressed; its keywords are not
        path.write_bytes(path.read_bytes() + f"/Keywords (sha256:{'0' * 64})\n".encode())
        resign_decision(release, key)
        assert kinds(release, policy) == {"cites-another-digest"}


def test_a_report_that_was_rendered_for_another_release_and_signed_is_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    (release / "report.html").write_text(f"<p>Payload sha256:{'0' * 64}</p>")
    resign_decision(release, key)
    assert kinds(release, policy) == {"cites-another-digest"}


def test_an_older_version_is_refused_where_the_policy_says_so(release: Path, policy: TrustPolicy) -> None:
    assert kinds(release, policy.model_copy(update={"minimum_versions": {"small": "1.2.0", "other": "9.0.0"}})) == set()
    assert "too-old" in kinds(release, policy.model_copy(update={"minimum_versions": {"small": "1.10.0"}}))


def test_a_decision_that_has_expired_is_not_relied_upon(key: Key, policy: TrustPolicy, tmp_path: Path) -> None:
    text = releases.STUDY.replace("creator: The testers}", "creator: The testers, expires: 2026-12-31}")
    made = releases.release(tmp_path, key, text=text)
    last, after = (datetime.datetime(y, m, d, 12, tzinfo=datetime.UTC) for y, m, d in ((2026, 12, 31), (2027, 1, 1)))
    assert audit(made, policy, now=last).verified
    assert {p.kind for p in audit(made, policy, now=after).problems} == {"expired"}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"not_after": releases.TIME - datetime.timedelta(days=1)}, "key-expired"),
        ({"not_before": releases.TIME + datetime.timedelta(days=1)}, "key-not-yet-valid"),
        ({"revoked": "stolen"}, "key-revoked"),
        ({"roles": ["review"]}, "role-not-allowed"),
        ({"person": "Bob Other"}, "other-name"),
    ],
)
def test_the_policy_is_obeyed(release: Path, key: Key, changes: dict[str, Any], kind: str) -> None:
    assert kind in kinds(release, TrustPolicy(keys=(trusted(key, **changes),)))


def test_two_signers_are_two_persons(release: Path, key: Key, tmp_path: Path, policy: TrustPolicy) -> None:
    second = make_key("Bob Second", tmp_path / "bob")
    both = TrustPolicy(threshold=2, keys=(trusted(key), trusted(second)))
    assert "too-few-signers" in kinds(release, both)
    path = attest(release, second, "decision", "I have read the report and agree.", time=releases.TIME)
    assert path.name == f"decision-{second.id[:8]}.sigstore.json"
    assert kinds(release, both) == set()
    assert sorted(s.person for s in audit(release, both, now=releases.TIME).signers) == ["Ada Example", "Ada Example", "Bob Second"]
    assert "untrusted-key" in kinds(release, policy)


def test_one_person_with_two_keys_is_one_person(release: Path, key: Key, stranger: Key) -> None:
    """Both keys belong to Ada Example."""
    attest(release, stranger, "decision", "Once more.", time=releases.TIME)
    assert "too-few-signers" in kinds(release, TrustPolicy(threshold=2, keys=(trusted(key), trusted(stranger))))


def test_a_review_does_not_decide(release: Path, key: Key, policy: TrustPolicy) -> None:
    path = attest(release, key, "review", "I looked at every image.", {"images": 2}, releases.TIME)
    assert read_attestation(path).said["images"] == 2
    assert kinds(release, policy) == set()
    (release / "attestations/decision.sigstore.json").unlink()
    assert "too-few-signers" in kinds(release, policy)


# ---------------------------------------------------------------- a trusted signer who errs or lies


def resign_dataset(release: Path, key: Key) -> None:
    shutil.rmtree(release / "attestations")
    payload = sign_folder(release / "dataset", key, release / "dataset.sigstore.json", "small@1.2.0")
    releases.render(release, payload)


def resign_decision(release: Path, key: Key, **said: Any) -> None:
    """Sign the decision of ``releases.evidence()`` with these changes, whatever the dataset records."""
    decision = releases.decided(releases.loaded(), releases.evidence()).model_copy(update=said)
    place = release / "dataset/evidence/decision.json"
    recorded = place.read_bytes()
    place.write_text(decision.model_dump_json())
    shutil.rmtree(release / "attestations", ignore_errors=True)
    attest(release, key, "decision", "I said so.", time=releases.TIME)
    place.write_bytes(recorded)


def test_evidence_that_gives_another_decision_is_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    (release / "dataset/evidence/validate-ldm.json").write_bytes(releases.evidence("refused")["validate-ldm"])
    resign_dataset(release, key)
    resign_decision(release, key)
    assert "decision-does-not-follow" in kinds(release, policy)


def test_removed_evidence_is_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    (release / "dataset/evidence/verify.json").unlink()
    resign_dataset(release, key)
    resign_decision(release, key)
    assert "decision-does-not-follow" in kinds(release, policy)


def test_a_moved_bar_is_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    (release / "dataset/study.yaml").write_text(releases.STUDY.replace("at_most: 1,", "at_most: 3,"))
    resign_dataset(release, key)
    resign_decision(release, key)
    assert "other-study" in kinds(release, policy)


def test_a_signed_lie_is_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    resign_decision(release, key, released="gan")
    assert kinds(release, policy) == {"decision-does-not-follow"}


def test_images_of_a_refused_study_are_found(refused: Path, release: Path, key: Key, policy: TrustPolicy) -> None:
    shutil.copytree(release / "dataset/images", refused / "dataset/images")
    resign_dataset(refused, key)
    attest(refused, key, "decision", "x", time=releases.TIME)
    assert kinds(refused, policy) == {"images-not-allowed"}


def test_images_that_the_catalogue_does_not_know_are_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    shutil.copytree(release / "dataset/images/ldm-0.zarr", release / "dataset/images/extra.zarr")
    resign_dataset(release, key)
    resign_decision(release, key)
    assert kinds(release, policy) == {"catalogue-differs"}


@pytest.mark.parametrize("name", ["evidence/decision.json", "evidence/verify.json"])
@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"checks": 1}', b'{"checks": [1]}', b"\xff"])
def test_malformed_evidence_is_a_fault_and_no_crash(release: Path, key: Key, policy: TrustPolicy, name: str, data: bytes) -> None:
    (release / "dataset" / name).write_bytes(data)
    resign_dataset(release, key)
    resign_decision(release, key)
    assert kinds(release, policy) & {"malformed-evidence", "decision-does-not-follow"}


def test_another_identity_is_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    payload = sign_folder(release / "dataset", key, release / "dataset.sigstore.json", "famous@1.2.0")
    releases.render(release, payload)
    resign_decision(release, key)
    assert kinds(release, policy) == {"other-dataset"}


def test_a_release_may_be_named_through_a_link(release: Path, policy: TrustPolicy) -> None:
    (release.parent / "latest").symlink_to(release)
    assert kinds(release.parent / "latest", policy) == set()


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder"])
def test_what_is_no_release(tmp_path: Path, policy: TrustPolicy, what: str) -> None:
    path = tmp_path / "r"
    if what == "a file":
        path.write_text("x")
    elif what == "an empty folder":
        path.mkdir()
    assert "not-a-release" in kinds(path, policy)


def test_the_folder_of_a_run_is_no_release_and_nothing_is_to_be_removed_from_it(release: Path, policy: TrustPolicy) -> None:
    (release.parent / "runs/a").mkdir(parents=True)
    (release.parent / "runs/a/study.yaml").write_text("x")
    inside = shutil.move(release, release.parent / "runs/a/release/release")
    found = audit(release.parent / "runs/a", policy, now=releases.TIME)
    assert f"Did you mean {inside}?" in found.problems[0].message and not found.verified
    assert not any("Remove" in p.message for p in found.problems)


def test_a_signature_that_is_disbelieved_was_not_taken_away(release: Path, tmp_path: Path, policy: TrustPolicy) -> None:
    attest(release, make_key("Bob Second", tmp_path / "bob"), "review", "I looked.", time=releases.TIME)
    first = kinds(release, policy)
    attest(release, make_key("Eve Third", tmp_path / "eve"), "review", "I looked too.", time=releases.TIME)  # it names the one before
    assert kinds(release, policy) == first and "attestation-missing" not in first
