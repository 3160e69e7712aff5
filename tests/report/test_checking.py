"""The report cites what was signed, and prints the commands that check it."""

import hashlib
import shutil

import pytest

from sciimg.provenance.checking import OUTSIDER, RECIPE
from sciimg.provenance.keys import make_key
from sciimg.provenance.oms import sign_folder
from sciimg.report.build import report_of_run


@pytest.fixture
def signed(tmp_path):
    release = tmp_path / "release"
    (release / "dataset").mkdir(parents=True)
    (release / "dataset/a.txt").write_text("a")
    (release / "dataset/b.txt").write_text("b")
    key = make_key("Tester", tmp_path / "keys")
    payload = sign_folder(release / "dataset", key, release / "dataset.sigstore.json", "fixture@1.0.0")
    (release / "signer.pub").write_bytes(key.public.pem)
    return release, payload, key


def section(report):
    return next(s for s in report.sections if s.name == "checking")


def test_the_report_cites_payload_key_and_number_of_files(refused_run, signed):
    release, payload, key = signed
    facts = dict(next(b for b in section(report_of_run(refused_run, release)).blocks if b.kind == "facts").rows)
    assert facts == {"Payload, SHA-256": payload.removeprefix("sha256:"), "signer.pub, SHA-256": key.id, "Files signed": "2"}
    assert facts["signer.pub, SHA-256"] == hashlib.sha256((release / "signer.pub").read_bytes()).hexdigest()  # as sha256sum prints it


def test_the_printed_report_cites_the_payload_where_a_search_finds_it():
    from sciimg.report import pdf
    from sciimg.report.model import ReportModel, Verdict

    hexadecimal = "0123456789abcdef" * 4
    summary = (("Dataset", "fixture"), ("Signed payload, SHA-256", hexadecimal))
    verdict = Verdict(word="Refused", tone="bad", sentence="No.", reasons=(), summary=summary)
    fields = {"title": "t", "subtitle": "s", "study": "x", "digest": f"sha256:{'0' * 64}", "date": "2026-01-01", "colophon": "c"}
    page = pdf.render(ReportModel(kind="report", verdict=verdict, sections=(), **fields))
    assert f"sha256:{hexadecimal}".encode() in page


def test_the_commands_are_those_that_are_tested(refused_run, signed):
    commands = [b for b in section(report_of_run(refused_run, signed[0])).blocks if b.kind == "commands"]
    assert commands[0].lines == (OUTSIDER,)
    assert "\n".join(commands[1].lines) + "\n" == RECIPE


def test_without_a_release_the_report_says_that_nothing_is_signed(refused):
    assert "Not signed" in [b.title for b in section(refused).blocks if b.kind == "notice"]


def test_a_damaged_bundle_is_named(refused_run, signed, tmp_path):
    release = shutil.copytree(signed[0], tmp_path / "damaged")
    (release / "dataset.sigstore.json").write_text("{}")
    report = report_of_run(refused_run, release)
    assert "Not signed" in [b.title for b in section(report).blocks if b.kind == "notice"]
    limits = next(s for s in report.sections if s.name == "limits")
    assert any("Signature of the release" in item for b in limits.blocks if b.kind == "bullets" for item in b.items)
