"""Our releases, checked by tools that we did not write: model_signing, openssl with jq and sha256sum, mlcroissant, rocrate-validator."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sciimg.provenance.checking import RECIPE
from sciimg.provenance.keys import Key, make_key


def command(name: str) -> str:
    """Return the path of a command of this environment or of the machine; skip where there is none."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"the outside verifier {name!r} is not installed here")
    return found


def run(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(w) for w in words], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )


CHUNK = "dataset/images/ldm-0.zarr/0/c/0/0/0"
TAMPERED: dict[str, Callable[[Path], object]] = {
    "changed": lambda r: (r / CHUNK).write_bytes(b"x" * (r / CHUNK).stat().st_size),
    "removed": lambda r: (r / CHUNK).unlink(),
    "renamed": lambda r: (r / CHUNK).rename((r / CHUNK).with_name("1")),
    "added chunk": lambda r: (r / CHUNK).with_name("1").write_bytes(b"x"),
    "added .git": lambda r: ((r / "dataset/.git").mkdir(), (r / "dataset/.git/HEAD").write_bytes(b"x")),
    "link": lambda r: (shutil.move(r / CHUNK, r / "away"), (r / CHUNK).symlink_to(r / "away")),
}


# ---------------------------------------------------------------- OpenSSF Model Signing


def model_signing(release: Path, public: Path) -> subprocess.CompletedProcess[str]:
    given = ("--signature", "dataset.sigstore.json", "--no-ignore-git-paths", "--public_key", public)
    return run(command("model_signing"), "verify", "key", "dataset", *given, cwd=release)


@pytest.mark.parametrize("outcome", ["accepted", "refused"])
def test_model_signing_accepts(made: dict[str, Path], key: Key, outcome: str) -> None:
    result = model_signing(made[outcome], key.path.with_suffix(".pub"))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
def test_model_signing_refuses_what_we_refuse(release: Path, key: Key, tamper: Callable[[Path], object]) -> None:
    tamper(release)
    assert model_signing(release, key.path.with_suffix(".pub")).returncode != 0


def test_model_signing_refuses_a_stranger(release: Path, tmp_path: Path) -> None:
    assert model_signing(release, make_key("Eve", tmp_path / "eve").path.with_suffix(".pub")).returncode != 0


def test_we_accept_what_model_signing_signs(tmp_path: Path, key: Key, release: Path) -> None:
    """The other way round: a bundle of the reference implementation says the same of the same folder."""
    from sciimg.provenance.dsse import parse_bundle
    from sciimg.provenance.oms import hash_folder

    other = tmp_path / "other.json"
    result = run(command("model_signing"), "sign", "key", "dataset", "--private_key", key.path, "--signature", other, cwd=release)
    assert result.returncode == 0, result.stderr
    bundle = parse_bundle(other.read_bytes(), "other.json")
    assert bundle.signed_by(key.public)
    ours = parse_bundle((release / "dataset.sigstore.json").read_bytes(), "ours")
    assert list(bundle.subjects.values()) == list(ours.subjects.values()), "root digests are computed in the same order"
    assert bundle.predicate["resources"] == ours.predicate["resources"]
    assert {r["name"]: r["digest"] for r in bundle.predicate["resources"]} == hash_folder(release / "dataset").digests


# ---------------------------------------------------------------- openssl, jq and sha256sum


def recipe(release: Path, public: Path) -> subprocess.CompletedProcess[str]:
    for name in ("openssl", "jq", "sha256sum", "base64"):
        command(name)
    page = (release / "dataset/CHECKING.md").read_text() if (release / "dataset").exists() else ""
    assert RECIPE in page
    return run(command("sh"), "-c", RECIPE, cwd=release, KEY=str(public))


@pytest.mark.parametrize("outcome", ["accepted", "refused"])
def test_the_printed_recipe_accepts(made: dict[str, Path], key: Key, outcome: str) -> None:
    from sciimg.provenance.attest import payload_digest

    result = recipe(made[outcome], key.path.with_suffix(".pub"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"Verified: payload {payload_digest(made[outcome] / 'dataset.sigstore.json')}"
    assert f": {outcome}. " in result.stdout


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
def test_the_printed_recipe_refuses(release: Path, key: Key, tamper: Callable[[Path], object]) -> None:
    tamper(release)
    result = recipe(release, key.path.with_suffix(".pub"))
    assert result.returncode != 0
    assert "Verified:" not in result.stdout


def test_the_printed_recipe_refuses_strangers_and_exchanged_parts(release: Path, made: dict[str, Path], key: Key, tmp_path: Path) -> None:
    assert recipe(release, make_key("Eve", tmp_path / "eve").path.with_suffix(".pub")).returncode != 0
    shutil.copy(made["refused"] / "attestations/decision.sigstore.json", release / "attestations/decision.sigstore.json")
    assert recipe(release, key.path.with_suffix(".pub")).returncode != 0
    shutil.copy(made["accepted"] / "attestations/decision.sigstore.json", release / "attestations/decision.sigstore.json")
    assert recipe(release, key.path.with_suffix(".pub")).returncode == 0
    (release / "report.html").write_text("another report")
    assert recipe(release, key.path.with_suffix(".pub")).returncode != 0


# ---------------------------------------------------------------- Croissant


@pytest.mark.parametrize("outcome", ["accepted", "refused"])
def test_mlcroissant_validates(made: dict[str, Path], outcome: str) -> None:
    result = run(command("mlcroissant"), "validate", "--jsonld", made[outcome] / "dataset/croissant.json", cwd=made[outcome])
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "Done." in said
    assert "WARNING" not in said.upper(), said


def test_mlcroissant_reads_the_catalogue(made: dict[str, Path]) -> None:
    command("mlcroissant")
    script = (
        "import mlcroissant as m, json; d = m.Dataset('dataset/croissant.json'); "
        "print(json.dumps([{k: str(v) for k, v in r.items()} for r in d.records('catalogue')]))"
    )
    result = run(sys.executable, "-c", script, cwd=made["accepted"])
    assert result.returncode == 0, result.stderr
    records = json.loads(result.stdout.splitlines()[-1])
    assert [r["catalogue/id"] for r in records] == ["b'ldm-0'", "b'ldm-1'"]
    assert {r["catalogue/synthetic"] for r in records} == {"True"}


# ---------------------------------------------------------------- RO-Crate

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
SCHEMA_ORG = """
    CreateAction CreativeWork Dataset Organization PropertyValue SoftwareApplication WebSite about agent author citation contentSize
    datePublished description encodingFormat hasPart identifier instrument isBasedOn keywords license mentions name object propertyID
    publisher result softwareRequirements softwareVersion url value version
"""

# What the profiles recommend and we leave out, with the reason:
LEFT_OUT = {
    "process-run-crate-0.5_8.4": "endTime: no time is written into the signed root",
    "process-run-crate-0.5_3.2": "url of the application: sciimg names no page that it does not own",
    "process-run-crate-0.5_5.1": "absolute URI of the application: a URN, for the same reason",
    "ro-crate-1.1_31.2": "url of the creator: a study names a creator, not a page",
}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the validator finds the terms of the RO-Crate 1.1 context that our crates use, because it has no network here."""
    requests = pytest.importorskip("requests", reason="requests, which rocrate-validator needs, is not installed here")
    requests_cache = pytest.importorskip("requests_cache", reason="requests-cache, which rocrate-validator needs, is not installed here")
    from requests_cache.models import CachedRequest, CachedResponse

    terms = {term: f"http://schema.org/{term}" for term in SCHEMA_ORG.split()}
    context = terms | {"File": "http://schema.org/MediaObject", "conformsTo": "http://purl.org/dc/terms/conformsTo"}
    path = tmp_path_factory.mktemp("cache") / "http"
    session = requests_cache.CachedSession(cache_name=str(path), backend="sqlite", expire_after=-1)
    request = requests.Request("GET", CONTEXT).prepare()
    response = CachedResponse(
        status_code=200,
        url=request.url,
        headers={"Content-Type": "application/ld+json"},
        content=json.dumps({"@context": context}).encode(),
        request=CachedRequest.from_request(request),
    )
    session.cache.save_response(response, cache_key=session.cache.create_key(request))
    session.close()
    return path


def validate(crate: Path, cache: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    offline = ("-y", "validate", "--offline", "--cache-path", cache, "--no-paging", "-p", "process-run-crate")
    return run(command("rocrate-validator"), *offline, *words, crate, cwd=crate)


@pytest.mark.parametrize("outcome", ["accepted", "refused"])
def test_rocrate_validator_finds_nothing_that_we_did_not_choose(made: dict[str, Path], cache: Path, tmp_path: Path, outcome: str) -> None:
    answer = tmp_path / "answer.json"
    validate(made[outcome] / "dataset", cache, "-l", "recommended", "-f", "json", "-o", answer)
    issues = {i["check"]["identifier"] if isinstance(i["check"], dict) else i["check"] for i in json.loads(answer.read_text())["issues"]}
    assert issues == set(LEFT_OUT)


def test_rocrate_validator_finds_a_missing_file(made: dict[str, Path], cache: Path, tmp_path: Path) -> None:
    """The oracle can say no."""
    spoilt = Path(shutil.copytree(made["refused"] / "dataset", tmp_path / "crate"))
    (spoilt / "study.yaml").unlink()
    assert validate(spoilt, cache, "-l", "required").returncode != 0


# ---------------------------------------------------------------- what the report prints


def printed(release: Path, folder: Path) -> list[str]:
    """Make a report on this release and return the commands that its page shows, as a reader copies them."""
    from html import unescape

    from report_run import make_run

    from sciimg.report.build import report_of_run, write_report

    write_report(report_of_run(make_run(folder / "run"), release), folder)
    page = (folder / "report.html").read_text()
    payload = hashlib.sha256(base64.b64decode(json.loads((release / "dataset.sigstore.json").read_text())["dsseEnvelope"]["payload"]))
    assert payload.hexdigest().encode() in (folder / "report.pdf").read_bytes(), "the PDF cites the payload as an audit looks for it"
    section = page[page.index('id="checking"') :]
    return [unescape(code) for code in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", section, re.DOTALL)]


def test_the_commands_on_the_page_verify_as_they_stand(release: Path, key: Key, tmp_path: Path) -> None:
    for name in ("sh", "openssl", "jq", "sha256sum", "base64", "model_signing"):
        command(name)
    outsider, recipe_ = printed(release, tmp_path)
    shutil.copy(key.path.with_suffix(".pub"), release.parent / "trusted.pub")  # it came by another way, as the page asks
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for text in (outsider, recipe_):
        result = run(command("sh"), "-c", text, cwd=release, PATH=path)
        assert result.returncode == 0, (text, result.stderr)
    assert "Verified: payload sha256:" in result.stdout
    (release / CHUNK).write_bytes(b"x")
    assert all(run(command("sh"), "-c", text, cwd=release, PATH=path).returncode != 0 for text in (outsider, recipe_))


def test_model_signing_and_the_recipe_take_a_bundle_with_a_time_token(release: Path, key: Key, tmp_path: Path) -> None:
    command("openssl")
    pytest.importorskip("rfc3161_client", reason="rfc3161-client (the extra 'time') is not installed here")
    from authority import answer, make_authority

    from sciimg.provenance.dsse import read_bundle
    from sciimg.provenance.timestamp import attach, request

    folder = make_authority(tmp_path / "tsa")
    for name in ("dataset.sigstore.json", "attestations/decision.sigstore.json"):
        attach(release / name, answer(folder, request(read_bundle(release / name, name))), (folder / "root.pem").read_text())
    assert model_signing(release, key.path.with_suffix(".pub")).returncode == 0
    assert recipe(release, key.path.with_suffix(".pub")).returncode == 0
