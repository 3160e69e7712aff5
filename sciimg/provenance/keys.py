"""Signing keys: P-256, made on first use in the user's configuration folder, encrypted when a passphrase is set.

A passphrase (``SCIIMG_KEY_PASSPHRASE``, or asked for on a terminal) encrypts the key file (PKCS#8); without one the file is readable by
its owner alone (mode 0600), and :attr:`Key.protection` says so. Signatures are deterministic (RFC 6979): the same statement and key give
the same bytes, so a release that is made again is the same release. A key is known by its id, the SHA-256 of its public key in PEM, as in
OpenSSF Model Signing bundles.
"""

import getpass
import hashlib
import json
import os
import pwd
import stat
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sciimg.errors import InputError, Problem
from sciimg.files import sync_directory, write_bytes, write_json

PASSPHRASE = "SCIIMG_KEY_PASSPHRASE"
KEY_FILE = "signing-key.pem"


@dataclass(frozen=True)
class PublicKey:
    """A P-256 key that signatures are checked with."""

    key: ec.EllipticCurvePublicKey

    @classmethod
    def from_pem(cls, pem: bytes, where: str) -> "PublicKey":
        """Read a public key; ``where`` stands in the message when it is none."""
        try:
            key = load_pem_public_key(pem)
        except ValueError as error:
            raise InputError(Problem(where, "not-a-key", f"A public key is a P-256 key in PEM; this is none ({error}).")) from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise _wrong_type(where, key)
        return cls(key)

    @cached_property
    def pem(self) -> bytes:
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @cached_property
    def id(self) -> str:
        """SHA-256 of the PEM, 64 hexadecimal digits."""
        return hashlib.sha256(self.pem).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the signature (DER) of the message was made with this key."""
        try:
            self.key.verify(signature, message, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Key:
    """A private key with the printed name of the person it belongs to."""

    private: ec.EllipticCurvePrivateKey
    signer: str
    path: Path
    encrypted: bool

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.private.public_key())

    @property
    def id(self) -> str:
        return self.public.id

    @property
    def protection(self) -> str:
        """How the private key is kept, in words for its owner."""
        if self.encrypted:
            return f"encrypted; signing asks for the passphrase, or takes it from {PASSPHRASE}"
        return "NOT encrypted, readable by its owner alone (mode 0600); `sciimg keygen` encrypts one with a passphrase"

    def sign(self, message: bytes) -> bytes:
        """Return the deterministic ECDSA signature (RFC 6979, DER) of the message's SHA-256."""
        return self.private.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))


def config_folder() -> Path:
    """Return the user's configuration folder of sciimg (XDG Base Directory)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "sciimg"


def own_key() -> Key:
    """Return the user's own key; it is made on first use."""
    path = config_folder() / "keys" / KEY_FILE
    return load_key(path) if path.exists() else make_key()


def unlock() -> None:
    """Open the user's own key before long work that ends with signing, or make it; a typed passphrase is kept for its processes."""
    path = config_folder() / "keys" / KEY_FILE
    if not path.exists():
        _made_silently(path)
    if b"ENCRYPTED" not in path.read_bytes():
        return
    secret = _passphrase(path)
    os.environ[PASSPHRASE] = secret
    load_key(path)


def _made_silently(path: Path) -> None:
    """Make the first key without asking, and say what it is."""
    try:
        key = make_key()
    except InputError:  # another process made it meanwhile
        return
    said = "encrypted with the passphrase in SCIIMG_KEY_PASSPHRASE" if key.encrypted else "not encrypted, readable by you alone"
    other = "To sign under another name, move it away and use `sciimg keygen --name NAME`."
    print(f"Made your signing key: {path}, in the name of {key.signer!r}, {said}. {other}", file=sys.stderr, flush=True)


def make_key(signer: str = "", folder: Path | None = None, secret: str | None = None) -> Key:
    """Make a key.

    Parameters
    ----------
    signer : str
        Printed name of the person; default: the name of the user's account.
    folder : Path, optional
        Where the files go; default: ``keys/`` in the configuration folder.
    secret : str, optional
        Passphrase that encrypts it, none where empty; default: that in ``SCIIMG_KEY_PASSPHRASE``.

    Raises
    ------
    InputError
        If there is a key already: it is never replaced, because releases were signed with it.
    """
    folder = folder or config_folder() / "keys"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / KEY_FILE
    private = ec.generate_private_key(ec.SECP256R1())
    secret = os.environ.get(PASSPHRASE, "") if secret is None else secret
    encryption: KeySerializationEncryption = BestAvailableEncryption(secret.encode()) if secret else NoEncryption()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    if not _place_secret(path, pem):
        raise key_exists(path)
    key = Key(private, signer.strip() or _account_name(), path, encrypted=bool(secret))
    write_bytes(path.with_suffix(".pub"), key.public.pem)
    write_json(path.with_suffix(".json"), {"signer": key.signer, "key_id": key.id})
    return key


def key_exists(path: Path) -> InputError:
    """Return what is said where a key would be replaced."""
    message = "There is a key already, and releases may be signed with it. Give another folder with --out, or move it away yourself."
    return InputError(Problem(str(path), "key-exists", message))


def new_passphrase() -> str:
    """Return a passphrase for a new key: that of the environment, else as typed twice on a terminal; empty where there is neither.

    Raises
    ------
    InputError
        If the two differ.
    """
    if os.environ.get(PASSPHRASE) or not sys.stdin.isatty():
        return os.environ.get(PASSPHRASE, "")
    first = getpass.getpass("Passphrase for the new key (empty: the key is not encrypted): ")
    if first and getpass.getpass("The same again: ") != first:
        message = "Both entries must be the same; nothing was made. Run the command again."
        raise InputError(Problem("passphrase", "passphrase-differs", message))
    return first


def load_key(path: Path) -> Key:
    """Read a private key, or the one in a folder that `sciimg keygen` made, and the name beside it (``signing-key.json``).

    Raises
    ------
    InputError
        If there is none, it is not P-256, the passphrase is missing or wrong, or others may read an unencrypted file.
    """
    path = path / KEY_FILE if path.is_dir() else path
    try:
        pem = path.read_bytes()
    except OSError as error:
        message = f"A private key in PEM is needed here ({error.strerror}). Make one with `sciimg keygen`."
        raise InputError(Problem(str(path), "no-key", message)) from None
    encrypted = b"ENCRYPTED" in pem
    if b"PUBLIC KEY" in pem:
        message = f"This is a public key, which others check with. Sign with the private one, {KEY_FILE}, or name the folder of both."
        raise InputError(Problem(str(path), "no-key", message))
    if not encrypted and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.filemode(path.stat().st_mode)
        message = f"An unencrypted private key is readable by its owner alone; its mode is {mode}. Run `chmod 600 {path.name}`."
        raise InputError(Problem(str(path), "key-exposed", message))
    private = _decrypt(pem, path, encrypted=encrypted)
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise _wrong_type(str(path), private)
    return Key(private, _signer_beside(path), path, encrypted=encrypted)


def _decrypt(pem: bytes, path: Path, *, encrypted: bool) -> object:
    secret = _passphrase(path) if encrypted else ""
    if encrypted and not secret:
        raise InputError(Problem(str(path), "passphrase-missing", f"This key is encrypted. Set its passphrase in {PASSPHRASE}."))
    try:
        return load_pem_private_key(pem, secret.encode() if encrypted else None)
    except ValueError as error:
        if encrypted:
            message = f"The passphrase (typed, or in {PASSPHRASE}) does not open this key. Give the right one."
            raise InputError(Problem(str(path), "passphrase-wrong", message)) from None
        raise InputError(Problem(str(path), "not-a-key", f"A private key in PEM is needed here; this is none ({error}).")) from None


def _passphrase(path: Path) -> str:
    """Return the passphrase of a key: that of the environment, else as typed on a terminal, where there is one."""
    if os.environ.get(PASSPHRASE) or not sys.stdin.isatty():
        return os.environ.get(PASSPHRASE, "")
    return getpass.getpass(f"Passphrase of {path}: ")


def _place_secret(path: Path, data: bytes) -> bool:
    """Write a secret that only the owner can read; return False, and touch nothing, when there is one (another process may be first)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(partial, path)  # unlike a rename, a link never replaces
    except FileExistsError:
        return False
    finally:
        partial.unlink()
    sync_directory(path.parent)
    return True


def _signer_beside(path: Path) -> str:
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        return str(about["signer"])
    except (OSError, ValueError, KeyError, TypeError):
        return _account_name()


def _account_name() -> str:
    """Return the full name of the user's account, or its login name."""
    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:
        return f"user {os.getuid()}"
    return account.pw_gecos.split(",")[0].strip() or account.pw_name


def _wrong_type(where: str, key: object) -> InputError:
    curve = getattr(key, "curve", None)
    came = f"curve {curve.name}" if curve is not None else type(key).__name__.strip("_")
    return InputError(Problem(where, "wrong-key-type", f"Keys are P-256 (secp256r1); got {came}. Make one with `sciimg keygen`."))
