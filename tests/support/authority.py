"""A time authority of our own, made and run by openssl: certificates and RFC 3161 answers that nobody here wrote."""

import subprocess
from pathlib import Path

CONFIG = """\
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[authority]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = critical,serverAuth
[tsa]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def openssl(folder: Path, *words: str) -> bytes:
    return subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60).stdout


def make_authority(folder: Path, name: str = "Test Time Authority", purpose: str = "authority") -> Path:
    """Make a root and an authority under it; return the folder with ``root.pem`` and ``own.pem``."""
    folder.mkdir(parents=True)
    (folder / "c.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01\n")
    for key in ("root", "own"):
        openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{key}.key")
    subject = ("-subj", f"/CN={name} root", "-config", "c.cnf", "-extensions", "root", "-days", "30")
    openssl(folder, "req", "-x509", "-new", "-key", "root.key", *subject, "-out", "root.pem")
    issue(folder, name, purpose)
    return folder


def issue(folder: Path, name: str, purpose: str = "authority") -> None:
    """Let the root of this folder issue a certificate for its key ``own.key``."""
    openssl(folder, "req", "-new", "-key", "own.key", "-subj", f"/CN={name}", "-config", "c.cnf", "-out", "own.csr")
    by = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "30", "-extfile", "c.cnf", "-extensions", purpose)
    openssl(folder, "x509", "-req", "-in", "own.csr", *by, "-out", "own.pem")


def answer(folder: Path, query: bytes) -> bytes:
    """Return the authority's answer to a query."""
    (folder / "q").write_bytes(query)
    given = ("-queryfile", "q", "-config", "c.cnf", "-section", "tsa", "-signer", "own.pem", "-inkey", "own.key", "-out", "r")
    openssl(folder, "ts", "-reply", *given)
    return (folder / "r").read_bytes()
