"""A PAdES signature inside ``report.pdf``: what PDF readers show to people who will never open a terminal.

It is made with the signer's own key, under a certificate that an authority issued for it, or, without one, one that it issues for itself:
readers then say who claims to have signed, and that nobody vouches for the name. It is appended, so the report's own bytes stay. Because
attestations name the report's bytes, a PDF is signed before others attest it.

References
----------
ETSI EN 319 142-1, PAdES baseline B-B; ISO 32000-2, 12.8.
"""

import datetime
import io
import re
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sciimg.errors import InputError, MissingExtraError, Problem
from sciimg.files import read_plain, write_bytes
from sciimg.provenance.attest import DECISION_MEANING, FOLDER, Attestation, attest, read_attestation
from sciimg.provenance.keys import Key
from sciimg.records import Digest, digest_bytes

REPORT = "report.pdf"
_YEARS = 10
_MARK = re.compile(rb"/SubFilter\s*/ETSI\.CAdES\.detached")


def sign_report(release: Path, key: Key, meaning: str = "", certificate: Path | None = None, time: datetime.datetime | None = None) -> Path:
    """Sign the report of a release inside the PDF, and attest the decision again over its new bytes; return the attestation.

    Run again after an interruption, it continues: a PDF that this key has signed is not signed twice.

    Parameters
    ----------
    release : Path
    key : Key
    meaning : str
        What the signature means; default: that of this key's decision, or of every decision.
    certificate : Path, optional
        Issued for this key, PEM, with those of its issuers.
    time : datetime, optional
        Default: now.

    Raises
    ------
    InputError
        If there is no report, others have attested it as it is, or the certificate is for another key.
    """
    path = release / REPORT
    own: list[tuple[Path, Attestation]] = []
    others: list[tuple[Path, Attestation]] = []
    for file in sorted((release / FOLDER).glob("*.sigstore.json")):
        attestation = read_attestation(file)
        mine = attestation.role == "decision" and attestation.bundle.key_id == key.id
        (own if mine else others).append((file, attestation))
    problems = [
        Problem(
            f"{FOLDER}/{file.name}", "pdf-attested", f"{a.name} has attested this PDF as it is: it must be signed before. Render it anew."
        )
        for file, a in others
        if REPORT in a.bundle.subjects
    ]
    problems += [
        Problem(
            f"{FOLDER}/{file.name}", "stamped-already", "This decision has a time token, which a new one would lose. Sign the PDF first."
        )
        for file, a in own
        if a.bundle.token is not None
    ]
    if not path.is_file():
        problems.append(Problem(str(path), "no-report", "There is a report.pdf to sign in a release; here is none."))
    if problems:
        raise InputError(problems)
    data = read_plain(path)
    if not all(_grew_from(data, a.bundle.subjects.get(REPORT)) for _, a in own):
        message = "It is not the report whose decision you have attested. Audit the release first, and get the report again."
        raise InputError(Problem(REPORT, "report-changed", message))
    meaning = meaning.strip() or next((a.meaning for _, a in own), DECISION_MEANING)
    moment = (time or datetime.datetime.now(datetime.UTC)).astimezone(datetime.UTC)
    field = f"sciimg-{key.id[:16]}"
    write_bytes(path, _signed(data, key, _chain(key, certificate, moment), field, meaning))
    for file, _ in own:
        file.unlink()
    return attest(release, key, "decision", meaning, time=moment)


def _grew_from(data: bytes, attested: Digest | None) -> bool:
    """Whether a PDF is the one that was attested, or that one with something appended: a signature of an interrupted attempt."""
    ends = [found.end() + more for found in re.finditer(rb"%%EOF", data) for more in (0, 1, 2)]
    return attested is None or any(digest_bytes(data[:end]) == attested for end in (len(data), *ends))


def count_signatures(data: bytes) -> int:
    """Return how many PAdES signatures a PDF says it carries; whether they hold is for a PDF reader to say."""
    return len(_MARK.findall(data))


def _signed(data: bytes, key: Key, chain: list[x509.Certificate], field: str, meaning: str) -> bytes:
    hanko = _hanko()
    from asn1crypto import keys, pem
    from asn1crypto import x509 as asn1

    def plain(certificate: x509.Certificate) -> Any:
        return asn1.Certificate.load(certificate.public_bytes(Encoding.DER))

    _, _, secret = pem.unarmor(key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    registry = hanko["registry"].from_certs(map(plain, chain))
    signer = hanko["signers"].SimpleSigner(plain(chain[0]), keys.PrivateKeyInfo.load(secret), registry)
    about = hanko["signers"].PdfSignatureMetadata(
        field_name=field, md_algorithm="sha256", name=key.signer, reason=meaning, subfilter=hanko["subfilter"].PADES
    )
    writer = hanko["writer"](io.BytesIO(data))
    if any(found.field_name == field for found in writer.prev.embedded_signatures):
        return data
    out = io.BytesIO()
    hanko["signers"].sign_pdf(writer, about, signer, output=out)
    return out.getvalue()


def _chain(key: Key, certificate: Path | None, moment: datetime.datetime) -> list[x509.Certificate]:
    """Return the certificate of the key, and those of its issuers."""
    if certificate is None:
        return [_for_itself(key, moment)]
    try:
        chain = x509.load_pem_x509_certificates(read_plain(certificate))
    except (OSError, ValueError) as error:
        message = f"A certificate for your key is needed here, in PEM, with those of its issuers ({error})."
        raise InputError(Problem(str(certificate), "not-a-certificate", message)) from None
    if chain[0].public_key() != key.public.key:
        message = "The first certificate is for another key than the one that signs. Ask its issuer for one for yours."
        raise InputError(Problem(str(certificate), "other-key", message))
    return chain


def _for_itself(key: Key, moment: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, key.signer[:64])])
    usage = x509.KeyUsage(True, True, False, False, False, False, False, False, False)  # signatures, and standing by them
    builder = x509.CertificateBuilder(name, name, key.public.key, int(key.id[:30], 16))
    builder = builder.not_valid_before(moment).not_valid_after(moment + datetime.timedelta(days=365 * _YEARS))
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True).add_extension(usage, critical=True)
    return builder.sign(key.private, SHA256())


def _hanko() -> dict[str, Any]:
    try:
        from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
        from pyhanko.sign import signers
        from pyhanko.sign.fields import SigSeedSubFilter
        from pyhanko_certvalidator.registry import SimpleCertificateStore
    except ImportError:
        message = "Signatures inside a PDF need pyhanko, which is not installed. Run: pip install 'sciimg[pades]'."
        raise MissingExtraError(Problem("pyhanko", "missing-extra", message)) from None
    return {"signers": signers, "writer": IncrementalPdfFileWriter, "subfilter": SigSeedSubFilter, "registry": SimpleCertificateStore}
