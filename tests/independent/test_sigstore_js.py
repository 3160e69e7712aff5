"""Our bundles, checked by the verifier that the Sigstore project publishes for JavaScript."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sciimg.provenance.dsse import read_bundle
from sciimg.provenance.keys import Key, make_key
from sciimg.provenance.timestamp import attach, request

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("sigstore_verify.mjs")
BUNDLES = ("dataset.sigstore.json", "attestations/decision.sigstore.json")


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages from the npm registry, without any script of theirs being run."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed here")
    folder = tmp_path_factory.mktemp("js")
    (folder / "package.json").write_text('{"private": true}')
    words = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "@sigstore/verify@3", "@sigstore/bundle@4"]
    try:
        result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry did not answer in two minutes")
    if result.returncode != 0:
        pytest.skip(f"npm could not fetch @sigstore/verify: {result.stderr.strip().splitlines()[-1:]}")
    return folder


def verify(modules: Path, bundle: Path, public: Path, key_id: str, *authority: Path) -> subprocess.CompletedProcess[str]:
    words = ["node", str(SCRIPT), str(modules), str(bundle), str(public), key_id, *map(str, authority)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", BUNDLES)
def test_sigstore_accepts(modules: Path, release: Path, key: Key, name: str) -> None:
    result = verify(modules, release / name, key.path.with_suffix(".pub"), key.id)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "Verified: application/vnd.in-toto+json"


@pytest.mark.parametrize("name", BUNDLES)
def test_sigstore_refuses_an_edited_payload_and_a_stranger(modules: Path, release: Path, key: Key, tmp_path: Path, name: str) -> None:
    eve = make_key("Eve", tmp_path / "eve", "")
    assert verify(modules, release / name, eve.path.with_suffix(".pub"), key.id).returncode != 0
    assert "key not found" in verify(modules, release / name, eve.path.with_suffix(".pub"), eve.id).stderr
    value = json.loads((release / name).read_text())
    payload = base64.b64decode(value["dsseEnvelope"]["payload"]).replace(b"small@1.2.0", b"small@9.9.9")
    value["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (release / name).write_text(json.dumps(value))
    assert verify(modules, release / name, key.path.with_suffix(".pub"), key.id).returncode != 0


def test_sigstore_checks_the_time_token(modules: Path, release: Path, key: Key, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which plays the time authority, is not installed here")
    pytest.importorskip("rfc3161_client", reason="rfc3161-client (the extra 'time') is not installed here")
    from authority import answer, make_authority

    folder, bundle, public = make_authority(tmp_path / "tsa"), release / BUNDLES[1], key.path.with_suffix(".pub")
    chain = (folder / "own.pem", folder / "root.pem")
    assert "expected 1 timestamps, got 0" in verify(modules, bundle, public, key.id, *chain).stderr
    attach(bundle, answer(folder, request(read_bundle(bundle, "b"))), (folder / "root.pem").read_text())
    result = verify(modules, bundle, public, key.id, *chain)
    assert result.returncode == 0, result.stderr
    other = make_authority(tmp_path / "other", "Another")
    assert verify(modules, bundle, public, key.id, other / "own.pem", other / "root.pem").returncode != 0
