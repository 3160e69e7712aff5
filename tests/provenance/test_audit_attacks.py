"""Releases that are not what was signed and look as if they were: each idea of an attacker, or of somebody careless, has a test."""

import datetime
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import releases
from releases import trusted

from sciimg.errors import InputError
from sciimg.provenance.attest import attest
from sciimg.provenance.audit import Audit, audit
from sciimg.provenance.auditing import files
from sciimg.provenance.dsse import read_bundle, sign
from sciimg.provenance.keys import Key, make_key
from sciimg.provenance.oms import compare, hash_folder, model_statement, sign_folder
from sciimg.provenance.policy import TrustPolicy

HOUR = datetime.timedelta(hours=1)


def looked_at(release: Path, policy: TrustPolicy, **more: Any) -> Audit:
    return audit(release, policy, now=releases.TIME, **more)


def kinds(release: Path, policy: TrustPolicy, **more: Any) -> set[str]:
    result = looked_at(release, policy, **more)
    assert not result.verified or not result.problems
    return {p.kind for p in result.problems}


def chunk(release: Path) -> Path:
    return release / "dataset/images/ldm-0.zarr/0/c/0/0/0"


def resigned(release: Path, key: Key) -> None:
    """Sign again, as a trusted person who errs would."""
    shutil.rmtree(release / "attestations")
    releases.render(release, sign_folder(release / "dataset", key, release / "dataset.sigstore.json", "small@1.2.0"))
    attest(release, key, "decision", "I sign.", time=releases.TIME)


# ---------------------------------------------------------------- names

LOOK_ALIKES = {
    "a long s": ("dataset/study.yaml", "\N{LATIN SMALL LETTER LONG S}tudy.yaml"),
    "a full-width dot": ("dataset/study.yaml", "study\N{FULLWIDTH FULL STOP}yaml"),
    "a ligature": ("dataset/MODEL_CARD.md", "MODEL_CARD\N{FULLWIDTH FULL STOP}md"),
}


@pytest.mark.parametrize(("name", "other"), LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_a_name_in_other_letters_is_called_so(release: Path, policy: TrustPolicy, name: str, other: str) -> None:
    (release / name).rename((release / name).with_name(other))
    assert kinds(release, policy) == {"removed", "renamed-unicode"}


def test_a_second_file_whose_name_looks_the_same_is_found(release: Path, policy: TrustPolicy) -> None:
    shutil.copy(release / "dataset/study.yaml", release / "dataset/\N{LATIN SMALL LETTER LONG S}tudy.yaml")
    shutil.copy(release / "dataset/study.yaml", release / "dataset/STUDY.yaml")
    assert kinds(release, policy) == {"added"}


def test_a_name_that_moves_the_cursor_does_not_reach_the_terminal(release: Path, tmp_path: Path, policy: TrustPolicy) -> None:
    from typer.testing import CliRunner

    from sciimg.cli import app

    (release / "dataset/\x1b[2J\x1b[1;1HVerified: decision accepted").write_text("x")
    (tmp_path / "p.json").write_text(policy.model_dump_json())
    result = CliRunner().invoke(app, ["audit", str(release), "--trust", str(tmp_path / "p.json")])
    assert result.exit_code == 1 and "\x1b" not in result.stdout and result.stdout.splitlines()[-1].startswith("NOT VERIFIED")


@pytest.mark.parametrize("name", ["../../escape", "/etc/hostname", "images/../study.yaml", "images//x", "./study.yaml", "a\\b", ""])
def test_a_signed_name_that_leads_elsewhere_is_refused(release: Path, key: Key, policy: TrustPolicy, name: str) -> None:
    digests = hash_folder(release / "dataset").digests
    value = model_statement(digests | {name: digests["study.yaml"]}, "small@1.2.0")
    (release / "dataset.sigstore.json").write_bytes(sign(value, key))
    assert kinds(release, policy) & {"unsafe-name", "malformed-statement"}


def test_thousands_of_renamed_files_are_told_apart_at_once() -> None:
    """Each is found in one look, so that a folder of another name does not keep an audit busy for hours."""
    signed = {f"images/{i}": f"{i:064x}" for i in range(20_000)}
    found = hash_folder(Path(__file__).parent)
    found.digests, found.problems = {f"pictures/{i}": f"{i:064x}" for i in range(20_000)}, []
    problems = compare(signed, found, "d")
    assert [p.kind for p in problems].count("renamed") == 20_000 and len(problems) == 40_000


# ---------------------------------------------------------------- things that are no files


def test_a_socket_is_found(release: Path, policy: TrustPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(release / "dataset")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug")
        assert kinds(release, policy) == {"special-file"}


def test_a_link_out_of_the_release_is_found_wherever_it_is(release: Path, policy: TrustPolicy, tmp_path: Path) -> None:
    away = tmp_path / "away"
    for name in ("dataset/images", "attestations", "dataset.sigstore.json", "signer.pub", "report.html"):
        shutil.move(release / name, away)
        (release / name).symlink_to(away)
        assert kinds(release, policy) & {"symlink", "not-regular"}, name
        assert not looked_at(release, policy, partial=True).verified
        (release / name).unlink()
        shutil.move(away, release / name)
    assert kinds(release, policy) == set()


def test_a_file_that_changes_while_it_is_audited_is_found(release: Path, policy: TrustPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    def hash_then_change(folder: Path) -> Any:
        contents = hash_folder(folder)
        evidence = folder / "evidence/verify.json"
        evidence.write_bytes(evidence.read_bytes().replace(b"true", b"1==1"))
        return contents

    monkeypatch.setattr(files, "hash_folder", hash_then_change)
    assert kinds(release, policy) == {"changed"}


# ---------------------------------------------------------------- what others have signed


def test_an_objection_cannot_be_taken_away_under_a_later_signature(release: Path, key: Key, tmp_path: Path) -> None:
    second, third = make_key("Bob Second", tmp_path / "bob"), make_key("Eve Third", tmp_path / "eve")
    policy = TrustPolicy(keys=tuple(map(trusted, (key, second, third))))
    attest(release, second, "review", "I object: two of these images are real.", time=releases.TIME)
    attest(release, third, "decision", "I have read the review.", time=releases.TIME)
    assert kinds(release, policy) == set()
    (release / "attestations/review.sigstore.json").unlink()
    assert kinds(release, policy) == {"attestation-missing"}
    attest(release, second, "review", "All is well.", time=releases.TIME)  # another one in its place
    assert kinds(release, policy) == {"attestation-missing"}


def test_two_who_sign_copies_at_the_same_time_can_be_put_together(release: Path, key: Key, tmp_path: Path) -> None:
    others = [make_key(name, tmp_path / name) for name in ("Bob", "Eve")]
    copies = [Path(shutil.copytree(release, tmp_path / f"copy-{k.signer}")) for k in others]
    for copy, other in zip(copies, others, strict=True):
        path = attest(copy, other, "decision", "I agree.", time=releases.TIME)
        shutil.copy(path, release / "attestations")
    policy = TrustPolicy(keys=tuple(map(trusted, (key, *others))), threshold=3)
    assert kinds(release, policy) == set()


def test_a_person_whose_name_is_written_in_two_ways_is_one_person(release: Path, key: Key, tmp_path: Path) -> None:
    again = make_key("ADA  EXAMPLE", tmp_path / "again")
    attest(release, again, "decision", "Once more.", time=releases.TIME)
    for changes in ({"person": "ADA  EXAMPLE"}, {"person": "ADA  EXAMPLE", "orcid": None}):
        assert "too-few-signers" in kinds(release, TrustPolicy(keys=(trusted(key), trusted(again, **changes)), threshold=2))
    orcid = "0000-0002-1825-0097"
    married = make_key("Ada Other", tmp_path / "married")
    attest(release, married, "decision", "A third time.", time=releases.TIME)
    keys = (trusted(key, orcid=orcid), trusted(married, orcid=f"https://orcid.org/{orcid}"), trusted(again, orcid=orcid))
    assert "too-few-signers" in kinds(release, TrustPolicy(keys=keys, threshold=2))


def test_a_signature_from_the_future_is_refused(release: Path, key: Key, policy: TrustPolicy) -> None:
    shutil.rmtree(release / "attestations")
    attest(release, key, "decision", "I sign.", time=releases.TIME + 2 * HOUR)
    assert "time-in-future" in kinds(release, policy)
    shutil.rmtree(release / "attestations")
    attest(release, key, "decision", "I sign.", time=releases.TIME + HOUR / 2)  # clocks differ
    assert kinds(release, policy) == set()


def test_a_revocation_without_a_reason_is_no_policy(key: Key) -> None:
    with pytest.raises(ValueError, match="at least 1 character"):
        trusted(key, revoked="")


def test_a_validity_that_ends_before_it_begins_is_no_policy(key: Key) -> None:
    with pytest.raises(ValueError, match="from a time to a later one"):
        trusted(key, not_before=releases.TIME, not_after=releases.TIME - HOUR)


def test_an_older_release_in_the_place_of_a_newer_one(release: Path, tmp_path: Path, key: Key, policy: TrustPolicy) -> None:
    (tmp_path / "old").mkdir()
    old = releases.release(tmp_path / "old", key, text=releases.STUDY.replace("1.2.0", "1.1.0"))
    newest = policy.model_copy(update={"minimum_versions": {"small": "1.2.0"}})
    assert kinds(old, policy) == set()  # sound in itself
    assert kinds(old, newest) == {"too-old"}
    cited = read_bundle(release / "dataset.sigstore.json", "b").payload_digest
    assert kinds(old, policy, payload=cited) == {"another-release"}
    assert kinds(release, policy, payload=cited) == set()


def test_nobody_vouches_for_an_exchanged_report_by_mistake(release: Path, tmp_path: Path) -> None:
    (release / "report.html").write_text("<p>All is well.")
    with pytest.raises(InputError, match="report-changed"):
        attest(release, make_key("Bob Second", tmp_path / "bob"), "decision", "I agree.", time=releases.TIME)
    assert len(list((release / "attestations").iterdir())) == 1


def test_a_name_in_another_unicode_form_is_the_same_name(tmp_path: Path) -> None:
    composed, apart = "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS} Example", "Zoe\N{COMBINING DIAERESIS} Example"
    zoe = make_key(apart, tmp_path / "zoe")
    release = releases.release(tmp_path, zoe)
    assert kinds(release, TrustPolicy(keys=(trusted(zoe, person=composed),))) == set()
    assert "other-name" in kinds(release, TrustPolicy(keys=(trusted(zoe, person="Zoe Example"),)))


# ---------------------------------------------------------------- reports


@pytest.mark.parametrize("name", ["report.html", "report.pdf"])
def test_a_report_that_was_put_in_later_is_found(
    tmp_path: Path, key: Key, policy: TrustPolicy, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    render = releases.render
    monkeypatch.setattr(releases, "render", lambda out, payload: None)
    release = releases.release(tmp_path, key)
    render(tmp_path, read_bundle(release / "dataset.sigstore.json", "b").payload_digest)
    shutil.copy(tmp_path / name, release / name)
    assert kinds(release, policy) == {"unsigned-report"}


def test_a_printed_report_of_another_release_that_was_signed_is_found(release: Path, key: Key, policy: TrustPolicy) -> None:
    (release / "report.pdf").write_bytes(b"%PDF-1.7\n% " + b"0" * 64)
    shutil.rmtree(release / "attestations")
    attest(release, key, "decision", "I sign.", time=releases.TIME)
    assert kinds(release, policy) == {"cites-another-digest"}


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("data", [b"", b"PAR1PAR1", b"[" * 100_000])
@pytest.mark.parametrize("name", ["catalogue.parquet", "evidence/validate-ldm.json", "study.yaml"])
def test_what_cannot_be_read_is_a_fault_and_no_crash(release: Path, key: Key, policy: TrustPolicy, name: str, data: bytes) -> None:
    (release / "dataset" / name).write_bytes(data)
    shutil.rmtree(release / "attestations")
    releases.render(release, sign_folder(release / "dataset", key, release / "dataset.sigstore.json", "small@1.2.0"))
    attest(release, key, "decision", "I sign.", time=releases.TIME)
    result = looked_at(release, policy)
    assert not result.verified and result.problems


def test_images_that_a_catalogue_calls_real_are_not_released(release: Path, key: Key, policy: TrustPolicy) -> None:
    import pandas as pd

    table = pd.read_parquet(release / "dataset/catalogue.parquet")
    for mark in (False, "False", None):
        table["synthetic"] = [mark] * len(table)
        table.to_parquet(release / "dataset/catalogue.parquet")
        resigned(release, key)
        assert kinds(release, policy) == {"not-marked-synthetic"}, mark


# ---------------------------------------------------------------- parts

PARTS: dict[str, Callable[[Path], object]] = {
    "an image": lambda r: shutil.rmtree(r / "dataset/images/ldm-0.zarr"),
    "a chunk": lambda r: chunk(r).unlink(),
    "all images": lambda r: shutil.rmtree(r / "dataset/images"),
    "the study": lambda r: (r / "dataset/study.yaml").unlink(),
    "evidence that refuses": lambda r: (r / "dataset/evidence/validate-ldm.json").unlink(),
    "the decision": lambda r: (r / "dataset/evidence/decision.json").unlink(),
    "the attestations": lambda r: shutil.rmtree(r / "attestations"),
    "the reports": lambda r: ((r / "report.html").unlink(), (r / "report.pdf").unlink()),
    "everything but the study": lambda r: [
        os.unlink(p) for p in (r / "dataset").rglob("*") if p.is_file() and p.name != "study.yaml"  # noqa: PTH108
    ],
}  # fmt: skip


@pytest.mark.parametrize("remove", PARTS.values(), ids=PARTS.keys())
def test_a_part_is_never_verified_as_a_whole(release: Path, policy: TrustPolicy, remove: Callable[[Path], object]) -> None:
    total = len(hash_folder(release / "dataset").digests)
    remove(release)
    assert kinds(release, policy), "without being asked for, a missing file is a fault"
    result = looked_at(release, policy, partial=True)
    assert not result.problems
    assert result.present == (len(hash_folder(release / "dataset").digests), total)
    assert not result.verified and result.partly
    assert result.as_json()["decision"] is None and result.as_json()["partial"] == {"verified": result.present[0], "of": total}


def test_without_attestations_nothing_is_decided_even_if_every_byte_is_here(release: Path, policy: TrustPolicy) -> None:
    shutil.rmtree(release / "attestations")
    for report in ("report.html", "report.pdf"):
        (release / report).unlink()
    result = looked_at(release, policy, partial=True)
    assert not result.verified and result.partly and result.as_json()["decision"] is None


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda r: chunk(r).write_bytes(b"x"), "changed"),
    "added": (lambda r: chunk(r).with_name("1").write_bytes(b"x"), "added"),
    "renamed": (lambda r: chunk(r).rename(chunk(r).with_name("1")), "renamed"),
    "half downloaded": (lambda r: chunk(r).write_bytes(chunk(r).read_bytes()[:9]), "changed"),
    "no signature": (lambda r: (r / "dataset.sigstore.json").unlink(), "missing"),
    "no dataset": (lambda r: shutil.rmtree(r / "dataset"), "missing"),
    "a decision by nobody": (lambda r: (r / "attestations/decision.sigstore.json").unlink(), "too-few-signers"),
}


@pytest.mark.parametrize(("spoil", "kind"), SPOILT.values(), ids=SPOILT.keys())
def test_a_part_hides_no_fault(release: Path, policy: TrustPolicy, spoil: Callable[[Path], object], kind: str) -> None:
    shutil.rmtree(release / "dataset/images/ldm-1.zarr")
    spoil(release)
    assert kind in kinds(release, policy, partial=True)
    assert not looked_at(release, policy, partial=True).partly


def test_the_signed_evidence_decides_and_not_what_is_said_of_it(release: Path, key: Key, policy: TrustPolicy) -> None:
    """A signer who writes "accepted" over evidence that refuses, everywhere that can be written."""
    (release / "dataset/evidence/validate-ldm.json").write_bytes(releases.evidence("refused")["validate-ldm"])
    resigned(release, key)
    assert json.loads((release / "dataset/evidence/decision.json").read_text())["decision"] == "accepted"
    assert kinds(release, policy) == {"decision-does-not-follow"}
