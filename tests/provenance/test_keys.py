"""Keys: made once, kept to their owner, deterministic as RFC 6979 says."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sciimg.errors import InputError
from sciimg.provenance.keys import KEY_FILE, PASSPHRASE, Key, PublicKey, config_folder, load_key, make_key, own_key


def kind_of(action: pytest.ExceptionInfo[InputError]) -> str:
    return action.value.problems[0].kind


def test_signatures_are_those_of_rfc_6979() -> None:
    """RFC 6979, A.2.5: P-256, SHA-256, message "sample"."""
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    key = Key(ec.derive_private_key(secret, ec.SECP256R1()), "RFC", Path(), encrypted=False)
    r, s = decode_dss_signature(key.sign(b"sample"))
    assert r == 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    assert s == 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8


def test_a_key_is_made_on_first_use_and_found_again() -> None:
    first = own_key()
    assert first.path == config_folder() / "keys" / KEY_FILE
    assert own_key().id == first.id
    assert own_key().signer == first.signer
    assert first.public.verifies(first.sign(b"m"), b"m")
    assert not first.public.verifies(first.sign(b"m"), b"n")


def test_a_key_without_passphrase_is_its_owners_alone_and_says_so() -> None:
    key = make_key("Ada")
    assert stat.S_IMODE(key.path.stat().st_mode) == 0o600
    assert key.protection.startswith("NOT encrypted")
    assert not list(key.path.parent.glob(".*"))


def test_a_key_that_others_can_read_is_refused() -> None:
    key = make_key("Ada")
    key.path.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600") as caught:
        load_key(key.path)
    assert kind_of(caught) == "key-exposed"


def test_a_passphrase_encrypts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE, "correct horse")
    key = make_key("Ada")
    assert b"ENCRYPTED" in key.path.read_bytes()
    assert load_key(key.path).id == key.id
    assert load_key(key.path).encrypted
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(InputError) as caught:
        load_key(key.path)
    assert kind_of(caught) == "passphrase-wrong"
    monkeypatch.delenv(PASSPHRASE)
    with pytest.raises(InputError) as caught:
        load_key(key.path)
    assert kind_of(caught) == "passphrase-missing"


def test_a_key_is_never_replaced() -> None:
    key = make_key("Ada")
    with pytest.raises(InputError) as caught:
        make_key("Eve")
    assert kind_of(caught) == "key-exists"
    assert load_key(key.path).id == key.id
    assert load_key(key.path).signer == "Ada"


def test_a_name_is_never_empty() -> None:
    assert make_key("  ").signer.strip()


@pytest.mark.parametrize("data", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "k.pem"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(InputError) as caught:
        load_key(path)
    assert kind_of(caught) == "not-a-key"
    with pytest.raises(InputError) as caught:
        PublicKey.from_pem(data, "k")
    assert kind_of(caught) == "not-a-key"


@pytest.mark.parametrize("private", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_other_kinds_of_key_are_refused(tmp_path: Path, private: ec.EllipticCurvePrivateKey) -> None:
    path = tmp_path / "k.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(InputError, match="P-256") as caught:
        load_key(path)
    assert kind_of(caught) == "wrong-key-type"
    with pytest.raises(InputError, match="P-256"):
        PublicKey.from_pem(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "k")


def test_the_public_half_is_not_what_signs(tmp_path: Path) -> None:
    key = make_key("Ada", tmp_path)
    with pytest.raises(InputError, match="This is a public key"):
        load_key(key.path.with_suffix(".pub"))


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sciimg keygen"):
        load_key(tmp_path / "none.pem")


def test_a_relative_xdg_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/nowhere")
    assert config_folder() == Path("/nowhere/.config/sciimg")
    assert os.environ["HOME"] == "/nowhere"


def test_a_key_is_named_by_its_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE, "a passphrase")
    made = make_key("Ada", tmp_path / "mine")
    assert load_key(tmp_path / "mine").id == load_key(made.path).id == made.id
