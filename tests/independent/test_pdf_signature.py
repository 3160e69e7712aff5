"""``report.pdf`` with a signature inside, checked by pyHanko's own validator; and what an audit then says."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import releases
from releases import trusted

pytest.importorskip("pyhanko", reason="pyhanko (the extra 'pades') is not installed here")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the outside library

from asn1crypto import x509 as asn1  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding  # noqa: E402
from pyhanko.pdf_utils.reader import PdfFileReader  # noqa: E402
from pyhanko.sign.validation import validate_pdf_signature  # noqa: E402
from pyhanko_certvalidator import ValidationContext  # noqa: E402

from sciimg.errors import InputError  # noqa: E402
from sciimg.provenance.attest import attest, payload_digest, read_attestation  # noqa: E402
from sciimg.provenance.audit import audit  # noqa: E402
from sciimg.provenance.keys import Key, make_key  # noqa: E402
from sciimg.provenance.pades import sign_report  # noqa: E402
from sciimg.provenance.policy import TrustPolicy  # noqa: E402


@pytest.fixture
def unsigned(release: Path, key: Key) -> Path:
    """A release with a PDF by the typesetter of reports, which cites the payload as reports do."""
    import typst

    payload = payload_digest(release / "dataset.sigstore.json")
    page = f'#set document(title: "Report", keywords: ("{payload}",))\n= Report\nWords.'
    (release / "report.pdf").write_bytes(typst.compile(page.encode(), format="pdf", pdf_standards=["ua-1"]))
    shutil.rmtree(release / "attestations")
    attest(release, key, "decision", "I sign for this decision.", time=releases.TIME)
    return release


def statuses(pdf: Path, *roots: x509.Certificate) -> list[Any]:
    reader = PdfFileReader(io.BytesIO(pdf.read_bytes()))
    context = ValidationContext(trust_roots=[asn1.Certificate.load(r.public_bytes(Encoding.DER)) for r in roots], allow_fetching=False)
    return [validate_pdf_signature(signature, context) for signature in reader.embedded_signatures]


def inside(pdf: Path) -> x509.Certificate:
    (signature,) = PdfFileReader(io.BytesIO(pdf.read_bytes())).embedded_signatures
    return x509.load_der_x509_certificate(signature.signer_cert.dump())


def kinds(release: Path, *keys: Key, threshold: int = 1) -> set[str]:
    policy = TrustPolicy(keys=tuple(map(trusted, keys)), threshold=threshold)
    return {p.kind for p in audit(release, policy, now=releases.TIME).problems}


def test_pyhanko_finds_the_signature_good(unsigned: Path, key: Key) -> None:
    before = (unsigned / "report.pdf").read_bytes()
    path = sign_report(unsigned, key, time=releases.TIME)
    assert path.name == "decision.sigstore.json" and read_attestation(path).meaning == "I sign for this decision."
    assert (unsigned / "report.pdf").read_bytes().startswith(before)
    certificate = inside(unsigned / "report.pdf")
    assert certificate.public_key() == key.public.key
    (status,) = statuses(unsigned / "report.pdf", certificate)
    assert status.intact and status.valid and status.trusted and status.coverage.name == "ENTIRE_FILE"
    assert status.signing_cert.subject.native["common_name"] == "Ada Example"
    assert kinds(unsigned, key) == set()
    assert "1 inside the PDF" in audit(unsigned, TrustPolicy(keys=(trusted(key),)), now=releases.TIME).steps[7]


def test_a_stranger_is_not_trusted_and_a_changed_byte_is_found(unsigned: Path, key: Key, tmp_path: Path) -> None:
    sign_report(unsigned, key, time=releases.TIME)
    pdf = unsigned / "report.pdf"
    (status,) = statuses(pdf)
    assert status.intact and status.valid and not status.trusted
    data = bytearray(pdf.read_bytes())
    data[20] ^= 1
    (tmp_path / "changed.pdf").write_bytes(data)
    assert not statuses(tmp_path / "changed.pdf")[0].intact


def test_signing_again_continues_and_does_not_sign_twice(unsigned: Path, key: Key) -> None:
    sign_report(unsigned, key, time=releases.TIME)
    once = (unsigned / "report.pdf").read_bytes()
    shutil.rmtree(unsigned / "attestations")  # as if the process had been killed between the two
    (unsigned / "attestations").mkdir()
    sign_report(unsigned, key, "I sign.", time=releases.TIME)
    assert (unsigned / "report.pdf").read_bytes() == once
    assert kinds(unsigned, key) == set()


def test_an_attempt_that_ended_after_the_pdf_is_continued(unsigned: Path, key: Key) -> None:
    attested = (unsigned / "attestations/decision.sigstore.json").read_bytes()
    sign_report(unsigned, key, time=releases.TIME)
    (unsigned / "attestations/decision.sigstore.json").write_bytes(attested)  # the old one: the process was killed before it was replaced
    assert "changed" in kinds(unsigned, key)
    sign_report(unsigned, key, time=releases.TIME)
    assert kinds(unsigned, key) == set()


def test_a_report_that_was_exchanged_is_not_signed_by_mistake(unsigned: Path, key: Key) -> None:
    import typst

    (unsigned / "report.pdf").write_bytes(typst.compile(b"= All is well", format="pdf"))
    with pytest.raises(InputError, match="report-changed"):
        sign_report(unsigned, key, time=releases.TIME)


def test_who_signs_after_others_have_attested_is_told(unsigned: Path, key: Key, tmp_path: Path) -> None:
    second = make_key("Bob Second", tmp_path / "bob", "")
    attest(unsigned, second, "review", "I looked at every image.", time=releases.TIME)
    before = (unsigned / "report.pdf").read_bytes()
    with pytest.raises(InputError, match="pdf-attested"):
        sign_report(unsigned, key, time=releases.TIME)
    assert (unsigned / "report.pdf").read_bytes() == before and kinds(unsigned, key, second) == set()


def test_two_persons_sign_the_pdf(unsigned: Path, key: Key, tmp_path: Path) -> None:
    second = make_key("Bob Second", tmp_path / "bob", "")
    (unsigned / "attestations/decision.sigstore.json").unlink()
    for signer in (key, second):
        if signer is second:
            (unsigned / "attestations/decision.sigstore.json").unlink()  # Ada attests again at the end
        sign_report(unsigned, signer, time=releases.TIME)
    sign_report(unsigned, second, time=releases.TIME)
    attest(unsigned, key, "decision", "I sign.", time=releases.TIME)
    found = PdfFileReader(io.BytesIO((unsigned / "report.pdf").read_bytes())).embedded_signatures
    assert len(found) == 2 and kinds(unsigned, key, second, threshold=2) == set()


def test_a_certificate_of_another_key_is_refused(unsigned: Path, key: Key, tmp_path: Path) -> None:
    sign_report(unsigned, key, time=releases.TIME)
    (tmp_path / "c.pem").write_bytes(inside(unsigned / "report.pdf").public_bytes(Encoding.PEM))
    (unsigned / "attestations/decision.sigstore.json").unlink()
    with pytest.raises(InputError, match="other-key"):
        sign_report(unsigned, make_key("Eve", tmp_path / "eve", ""), certificate=tmp_path / "c.pem")
    with pytest.raises(InputError, match="not-a-certificate"):
        sign_report(unsigned, make_key("Bob", tmp_path / "bob", ""), certificate=tmp_path / "none.pem")


def test_a_release_without_a_printed_report(unsigned: Path, key: Key) -> None:
    (unsigned / "report.pdf").unlink()
    with pytest.raises(InputError, match="no-report"):
        sign_report(unsigned, key)
