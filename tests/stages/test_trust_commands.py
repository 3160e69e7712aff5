"""Keys and trust policies from the command line: made, handed over, extended, and never half written."""

import getpass
import json
import shutil
import sys
from pathlib import Path

import pytest
import releases
from typer.testing import CliRunner

from sciimg.cli import app
from sciimg.provenance.attest import attest
from sciimg.provenance.keys import PASSPHRASE, Key, load_key, make_key, unlock
from sciimg.provenance.policy import load_policy


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(PASSPHRASE, raising=False)


def call(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def kinds(*words: object) -> set[str]:
    code, out, _ = call(*words, "--json")
    assert code in (1, 2)
    return {p["kind"] for p in json.loads(out)["problems"]}


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key("Ada Example", tmp_path_factory.mktemp("ada"), "")


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key("Bob Second", tmp_path_factory.mktemp("bob"), "")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ada: Key) -> Path:
    return releases.release(tmp_path_factory.mktemp("made"), ada, time=releases.datetime.datetime.now(releases.datetime.UTC))


# ---------------------------------------------------------------- keygen


def terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> list[str]:
    """Let the process look as if somebody sat before it and typed this; return what is asked."""
    asked: list[str] = []
    answers = iter(typed)

    def answer(prompt: str = "") -> str:
        asked.append(prompt)
        return next(answers)

    monkeypatch.setattr(getpass, "getpass", answer)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    return asked


def test_keygen_says_where_everything_is_and_what_protects_it(tmp_path: Path) -> None:
    code, out, _ = call("keygen", "--name", "Ada Example", "--out", tmp_path / "k", "--json")
    value = json.loads(out)
    assert code == 0
    assert set(value) == {"signer", "key_id", "key", "public_key", "policy", "encrypted", "protection"}
    assert all(Path(value[name]).is_file() for name in ("key", "public_key", "policy"))
    assert value["encrypted"] is False and "NOT encrypted" in value["protection"]
    assert load_policy(Path(value["policy"])).keys[0].key_id == value["key_id"]


def test_a_passphrase_is_asked_for_twice_and_again_to_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciimg.stages.sign import keygen_command

    asked = terminal(monkeypatch, "correct horse", "correct horse", "correct horse", "wrong")
    value = keygen_command("Ada", tmp_path / "k")
    assert value["encrypted"] is True and len(asked) == 2
    assert b"ENCRYPTED" in Path(value["key"]).read_bytes()
    assert load_key(Path(value["key"])).id == value["key_id"] and len(asked) == 3
    with pytest.raises(Exception, match="passphrase-wrong"):
        load_key(Path(value["key"]))


def test_two_passphrases_make_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciimg.stages.sign import keygen_command

    terminal(monkeypatch, "one", "other")
    with pytest.raises(Exception, match="passphrase-differs"):
        keygen_command("Ada", tmp_path / "k")
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("typed", [("",), ()])
def test_who_wants_no_passphrase_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...]) -> None:
    from sciimg.stages.sign import keygen_command

    asked = terminal(monkeypatch, *typed)
    assert keygen_command("Ada", tmp_path / "k", encrypt=bool(typed))["encrypted"] is False
    assert len(asked) == len(typed)


def test_a_key_is_never_replaced_and_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciimg.stages.sign import keygen_command

    before = keygen_command("Ada", tmp_path / "k", encrypt=False)
    asked = terminal(monkeypatch)
    with pytest.raises(Exception, match="key-exists"):
        keygen_command("Eve", tmp_path / "k")
    assert asked == [] and load_key(Path(before["key"])).id == before["key_id"]


def test_the_first_key_is_made_without_a_question_and_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "new"))
    unlock()
    said = capsys.readouterr().err
    assert str(tmp_path / "new/sciimg/keys/signing-key.pem") in said and "not encrypted" in said and "in the name of" in said
    unlock()
    assert capsys.readouterr().err == ""


def test_a_passphrase_is_asked_for_before_the_work_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    make_key("Ada", secret="correct horse")
    asked = terminal(monkeypatch, "correct horse")
    monkeypatch.setenv(PASSPHRASE, "")  # so that what is set is taken away again
    unlock()
    assert len(asked) == 1
    unlock()
    assert len(asked) == 1  # the processes of the run find it in the environment


# ---------------------------------------------------------------- a policy is made and extended


def test_a_policy_grows_from_keys_that_are_handed_over(tmp_path: Path, ada: Key, bob: Key) -> None:
    policy = tmp_path / "deep/policy.json"
    code, out, _ = call("trust", "add", policy, ada.path.with_suffix(".pub"), "--not-before", "2026-01-01", "--not-after", "2026-12-31")
    assert code == 0 and "Ada Example: dataset, decision, review, valid from 2026-01-01 until 2026-12-31" in out
    (tmp_path / "bob.pub").write_bytes(bob.public.pem)
    words = ("--person", "Bob Second", "--roles", "review, decision", "--orcid", "0000-0002-1825-0097")
    assert call("trust", "add", policy, tmp_path / "bob.pub", *words)[0] == 0
    first, second = load_policy(policy).keys
    assert (first.person, second.person, second.roles, second.orcid) == (
        "Ada Example", "Bob Second", ("review", "decision"), "0000-0002-1825-0097"
    )  # fmt: skip
    assert first.not_before and first.not_before.isoformat() == "2026-01-01T00:00:00+00:00"
    assert first.not_after and first.not_after.isoformat() == "2026-12-31T23:59:59+00:00"
    code, out, _ = call("trust", "set", policy, "--threshold", 2, "--minimum-version", "small=1.2.0")
    assert code == 0 and "2 of these" in out and "small that is accepted: 1.2.0" in out
    code, out, _ = call("trust", "revoke", policy, bob.id[:8], "--why", "2026-11-01, laptop stolen")
    assert "REVOKED: 2026-11-01, laptop stolen" in out and "No release can pass: 2 persons" in out
    assert call("trust", "show", policy)[1] == out


def test_policies_are_joined(tmp_path: Path, ada: Key, bob: Key) -> None:
    for key in (ada, bob):
        call("trust", "add", tmp_path / f"{key.signer[:3]}.json", key.path.with_suffix(".pub"))
    assert call("trust", "add", tmp_path / "all.json", tmp_path / "Ada.json")[0] == 0
    assert call("trust", "add", tmp_path / "all.json", tmp_path / "Bob.json")[0] == 0
    assert [k.person for k in load_policy(tmp_path / "all.json").keys] == ["Ada Example", "Bob Second"]


def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path: Path, ada: Key, bob: Key) -> None:
    policy, public = tmp_path / "p.json", ada.path.with_suffix(".pub")
    (tmp_path / "bare.pub").write_bytes(bob.public.pem)
    for words, kind in (
        ((tmp_path / "none.pub",), "no-person"),
        ((tmp_path / "none.pub", "--person", "x"), "no-key"),
        ((ada.path, "--person", "x"), "not-a-key"),
        ((tmp_path / "bare.pub",), "no-person"),
        ((public, "--roles", "king"), "unknown-role"),
        ((public, "--not-before", "tomorrow"), "not-a-date"),
        ((public, "--not-after", "2026-02-30"), "not-a-date"),
        ((public, "--not-before", "2026-02-02", "--not-after", "2026-01-01"), "bad-policy"),
    ):
        assert kinds("trust", "add", policy, *words) == {kind}, words
        assert not policy.exists()
    assert call("trust", "add", policy, public)[0] == 0
    before = policy.read_bytes()
    assert kinds("trust", "add", policy, public) == {"key-stands-already"}
    assert kinds("trust", "add", policy, policy, "--person", "x") == {"says-it-itself"}
    assert kinds("trust", "revoke", policy, "zzzz", "--why", "x") == {"which-key"}
    assert kinds("trust", "revoke", policy, ada.id[:3], "--why", "x") == {"which-key"}
    assert kinds("trust", "revoke", policy, ada.id, "--why", " ") == {"no-reason"}
    assert kinds("trust", "set", policy, "--threshold", "0") == {"bad-policy"}
    assert kinds("trust", "set", policy, "--minimum-version", "1.2.0") == {"not-a-version"}
    assert kinds("trust", "set", policy, "--minimum-version", "a=new") == {"bad-policy"}
    assert kinds("trust", "set", policy, "--time-authority", public) == {"bad-policy"}
    assert kinds("trust", "set", policy, "--time-authority", tmp_path / "none") == {"not-a-certificate"}
    assert policy.read_bytes() == before
    assert kinds("trust", "show", tmp_path / "none.json") == {"not-a-policy"}


# ---------------------------------------------------------------- audit with it


def test_a_made_policy_audits(made: Path, tmp_path: Path, ada: Key, bob: Key) -> None:
    release = Path(shutil.copytree(made, tmp_path / "release"))
    policy = tmp_path / "p.json"
    call("trust", "add", policy, bob.path.with_suffix(".pub"))
    assert "untrusted-key" in kinds("audit", release, "--trust", policy)
    call("trust", "add", policy, ada.path.with_suffix(".pub"))
    call("trust", "set", policy, "--threshold", "2")
    assert kinds("audit", release, "--trust", policy) == {"too-few-signers"}
    attest(release, bob, "decision", "I have read the report and agree.")
    code, out, _ = call("audit", release, "--trust", policy)
    assert code == 0 and out.splitlines()[-1] == "Verified: decision accepted"
    call("trust", "revoke", policy, bob.id[:8], "--why", "left")
    assert "key-revoked" in kinds("audit", release, "--trust", policy)


def test_a_key_out_of_a_release_is_not_taken(made: Path, tmp_path: Path) -> None:
    assert kinds("trust", "add", tmp_path / "p.json", made / "signer.pub", "--person", "Ada Example") == {"key-from-release"}
    assert not (tmp_path / "p.json").exists()


def test_an_audit_prints_who_signed_what_and_when(made: Path, tmp_path: Path, ada: Key) -> None:
    call("trust", "add", tmp_path / "p.json", ada.path.with_suffix(".pub"))
    out = call("audit", made, "--trust", tmp_path / "p.json")[1]
    (line,) = [text for text in out.splitlines() if text.startswith("Signed")]
    assert line.startswith("Signed  Ada Example, decision, 20") and line.endswith("and I sign for it.")


def test_the_release_that_a_paper_cites(made: Path, tmp_path: Path, ada: Key) -> None:
    from sciimg.provenance.attest import payload_digest

    policy = tmp_path / "p.json"
    call("trust", "add", policy, ada.path.with_suffix(".pub"))
    cited = payload_digest(made / "dataset.sigstore.json")
    for text in (cited, cited.removeprefix("sha256:").upper()):
        assert call("audit", made, "--trust", policy, "--payload", text)[0] == 0
    assert kinds("audit", made, "--trust", policy, "--payload", "0" * 64) == {"another-release"}
    assert kinds("audit", made, "--trust", policy, "--payload", cited[:20]) == {"not-a-digest"}


def test_a_part_is_verified_as_a_part(made: Path, tmp_path: Path, ada: Key) -> None:
    release = Path(shutil.copytree(made, tmp_path / "release"))
    policy = tmp_path / "p.json"
    call("trust", "add", policy, ada.path.with_suffix(".pub"))
    assert call("audit", release, "--trust", policy, "--partial")[0] == 0  # the whole is the whole
    shutil.rmtree(release / "dataset/images/ldm-0.zarr")
    assert kinds("audit", release, "--trust", policy) == {"removed"}
    code, out, _ = call("audit", release, "--trust", policy, "--partial", "--json")
    value = json.loads(out)
    total = len(list((made / "dataset").rglob("*"))) - sum(p.is_dir() for p in (made / "dataset").rglob("*"))
    here = sum(p.is_file() for p in (release / "dataset").rglob("*"))
    assert (code, value["verified"], value["decision"], value["partial"]) == (3, False, None, {"verified": here, "of": total})
    code, out, _ = call("audit", release, "--trust", policy, "--partial")
    assert out.splitlines()[-1] == f"{here} of {total} signed files verified; the release as a whole is NOT VERIFIED"


def test_many_faults_are_counted_for_people_and_listed_for_scripts(made: Path, tmp_path: Path, ada: Key) -> None:
    release = Path(shutil.copytree(made, tmp_path / "release"))
    for i in range(60):
        (release / f"dataset/images/extra-{i}").write_text(str(i))
    policy = tmp_path / "p.json"
    call("trust", "add", policy, ada.path.with_suffix(".pub"))
    code, out, _ = call("audit", release, "--trust", policy)
    assert code == 1 and "... and 20 more faults; --json lists all." in out
    assert len(json.loads(call("audit", release, "--trust", policy, "--json")[1])["problems"]) == 60


def test_what_a_refused_role_is_told_to_do_lets_it_in(tmp_path: Path, made: Path, ada: Key) -> None:
    policy, release = tmp_path / "policy.json", shutil.copytree(made, tmp_path / "release")
    assert call("trust", "add", policy, ada.path.with_suffix(".pub"), "--roles", "dataset")[0] == 0
    code, out, _ = call("audit", release, "--trust", policy, "--json")
    told = [p["message"] for p in json.loads(out)["problems"] if p["kind"] == "role-not-allowed"]
    assert code == 1 and told
    (command,) = {message.split("`")[1] for message in told}
    words = command.replace("POLICY", str(policy)).replace("KEY", str(ada.path.with_suffix(".pub"))).split()
    assert words[0] == "sciimg" and call(*words[1:])[0] == 0
    assert call("audit", release, "--trust", policy)[0] == 0
    key_id = load_policy(policy).keys[0].key_id
    assert call("trust", "revoke", policy, key_id, "--why", "2026-05-01, laptop stolen")[0] == 0
    before = policy.read_bytes()
    assert kinds("trust", "add", policy, ada.path.with_suffix(".pub"), "--roles", "dataset") == {"key-stands-already"}
    assert policy.read_bytes() == before
