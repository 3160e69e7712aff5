"""What leaves: the same bytes for the same inputs, nothing of this machine, and nothing that does not belong together."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
import releases

from sciimg.errors import InputError
from sciimg.provenance.attest import attest, payload_digest
from sciimg.provenance.keys import Key
from sciimg.provenance.release import assemble, publish
from sciimg.records import digest_of


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_is_that_of_the_design(release: Path) -> None:
    assert {p.name for p in release.iterdir()} == {
        "dataset", "dataset.sigstore.json", "attestations", "signer.pub", "report.html", "report.pdf"
    }  # fmt: skip
    assert {p.name for p in (release / "dataset").iterdir()} == {
        "images", "catalogue.parquet", "collection.json", "study.yaml", "evidence", "ro-crate-metadata.json", "croissant.json",
        "DATASHEET.md", "MODEL_CARD.md", "CHECKING.md", "sbom.cdx.json", "provenance",
    }  # fmt: skip
    assert (release / "dataset/study.yaml").read_text() == releases.STUDY


def test_a_refused_study_ends_in_the_same_folder_without_images(release: Path, refused: Path) -> None:
    without = {n for n in contents(release) if "images/" not in n} - {"dataset/catalogue.parquet", "dataset/collection.json"}
    assert set(contents(refused)) == without


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, key: Key, release: Path) -> None:
    again = releases.release(tmp_path / "again", key)
    assert contents(again) == contents(release)


def test_only_the_attestation_knows_the_time(tmp_path: Path, key: Key, release: Path) -> None:
    later = contents(releases.release(tmp_path / "later", key, time=releases.TIME + datetime.timedelta(days=1)))
    differing = {n for n, data in contents(release).items() if later[n] != data}
    assert differing == {"attestations/decision.sigstore.json"}


def test_an_interrupted_attempt_is_replaced(tmp_path: Path, key: Key, release: Path) -> None:
    left = tmp_path / "left/release"
    (left / "dataset").mkdir(parents=True)
    (left / "dataset/half").write_text("x")
    (left / ".dataset.partial").mkdir()
    (left / ".dataset.partial/half").write_text("x")
    assert contents(releases.release(tmp_path / "left", key)) == contents(release)
    study, files = releases.loaded(), releases.evidence()
    publish(  # once more over a finished one
        left,
        key,
        study=study,
        decision=releases.decided(study, files),
        evidence=files,
        synthetic=tmp_path / "left/synthetic",
        stages=releases.stages(),
        environment=ENVIRONMENT,
        packages=releases.PACKAGES,
        render=releases.render,
        time=releases.TIME,
    )
    assert contents(left) == contents(release)


SAME = releases.loaded().study.digest
ENVIRONMENT = {"python": "3.11.9", "platform": "test", "machine": "x86_64", "sciimg": "0.1.0", "numpy": "2.4.0", "torch": "not installed"}


def test_no_time_and_no_path_of_this_machine_is_signed(release: Path) -> None:
    for name, data in contents(release / "dataset").items():
        assert b"/home/somebody" not in data, name
        assert str(release.parent).encode() not in data, name
        assert not re.search(rb"wall_s|20\d\d-\d\d-\d\dT\d\d:", data), name


def test_names_mean_the_same_everywhere(release: Path) -> None:
    names = contents(release / "dataset")
    assert all(re.fullmatch(r"[a-z0-9._/-]+|DATASHEET\.md|MODEL_CARD\.md|CHECKING\.md", name) for name in names)


def test_descriptions_agree_with_the_bytes(release: Path) -> None:
    import hashlib

    files = contents(release / "dataset")
    crate = json.loads(files["ro-crate-metadata.json"])
    entities = {e["@id"]: e for e in crate["@graph"]}
    described = {i: e["sha256"] for i, e in entities.items() if e["@type"] == "File"}
    assert described == {
        n: hashlib.sha256(d).hexdigest() for n, d in files.items() if not n.startswith("images/") and n != "ro-crate-metadata.json"
    }
    assert all(ref["@id"] in entities for e in crate["@graph"] for v in e.values() for ref in _references(v)), (
        "every reference leads somewhere"
    )
    distribution = json.loads(files["croissant.json"])["distribution"]
    for item in distribution:
        if item["@type"] == "cr:FileObject":
            assert item["sha256"] == hashlib.sha256(files[item["contentUrl"]]).hexdigest()
    assert not any("ImageObject" in str(item) for item in distribution)


def _references(value: Any) -> list[dict[str, str]]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, dict) and set(v) == {"@id"} and v["@id"] != "https://w3id.org/ro/crate/1.1"]


def test_the_datasheet_says_the_verdict_and_the_limits(release: Path, refused: Path) -> None:
    accepted = (release / "dataset/DATASHEET.md").read_text()
    for said in ("**Accepted.**", "The images mean nothing.", "Everything else.", "CC-BY-4.0", "2 synthetic images", "small@1.2.0"):
        assert said in accepted
    failed = (refused / "dataset/DATASHEET.md").read_text()
    assert "**Refused.**" in failed
    assert "No images" in failed


def test_the_payload_digest_is_the_one_that_reports_cite(release: Path) -> None:
    import base64
    import hashlib

    payload = base64.b64decode(json.loads((release / "dataset.sigstore.json").read_text())["dsseEnvelope"]["payload"])
    assert payload_digest(release / "dataset.sigstore.json") == "sha256:" + hashlib.sha256(payload).hexdigest()


# ---------------------------------------------------------------- parts that do not belong together


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"study": lambda p: releases.loaded(releases.STUDY.replace("at_most: 1,", "at_most: 2,"))}, "other-study"),
        ({"evidence": lambda p: releases.evidence("refused")}, "decision-does-not-follow"),
        ({"evidence": lambda p: releases.evidence() | {"decision": b"{}"}}, "bad-name"),
        ({"evidence": lambda p: releases.evidence() | {"../x": b"{}"}}, "bad-name"),
        ({"synthetic": lambda p: None}, "images-missing"),
        ({"synthetic": lambda p: releases.synthetic_collection(p / "real", SAME, synthetic=False)}, "not-marked-synthetic"),
        ({"synthetic": lambda p: releases.synthetic_collection(p / "other", digest_of("other"))}, "other-study"),
    ],
)  # fmt: skip
def test_parts_that_do_not_belong_together_are_not_assembled(tmp_path: Path, change: dict[str, Any], kind: str) -> None:
    study, files = releases.loaded(), releases.evidence()
    arguments: dict[str, Any] = {
        "study": study,
        "decision": releases.decided(study, files),
        "evidence": files,
        "synthetic": releases.synthetic_collection(tmp_path / "synthetic", study.study.digest),
        "stages": releases.stages(),
        "environment": ENVIRONMENT,
    }
    with pytest.raises(InputError) as caught:
        assemble(tmp_path / "out", **arguments | {name: make(tmp_path) for name, make in change.items()})
    assert kind in {p.kind for p in caught.value.problems}
    assert not (tmp_path / "out/dataset").exists()


def test_images_of_a_refused_study_do_not_leave(tmp_path: Path) -> None:
    study, files = releases.loaded(), releases.evidence("refused")
    with pytest.raises(InputError, match="if and only if"):
        assemble(
            tmp_path / "out",
            study=study,
            decision=releases.decided(study, files),
            evidence=files,
            synthetic=releases.synthetic_collection(tmp_path / "synthetic", study.study.digest),
            stages=releases.stages(),
            environment=ENVIRONMENT,
        )


@pytest.mark.parametrize(
    ("role", "meaning", "kind"),
    [("decision", "Again.", "signed-already"), ("review", "  ", "no-meaning"), ("dataset", "x", "unknown-role")],
)
def test_an_attestation_says_something_new(release: Path, key: Key, role: Any, meaning: str, kind: str) -> None:
    with pytest.raises(InputError) as caught:
        attest(release, key, role, meaning, {}, releases.TIME)
    assert caught.value.problems[0].kind == kind


def test_nobody_signs_a_release_whose_decision_cannot_be_read(release: Path, stranger: Key) -> None:
    (release / "dataset/evidence/decision.json").unlink()
    with pytest.raises(InputError) as caught:
        attest(release, stranger, "review", "x")
    assert caught.value.problems[0].kind == "no-decision"
