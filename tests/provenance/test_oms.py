"""A folder held against its statement: every difference is found, and called by its name."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sciimg.errors import AuditError, InputError
from sciimg.provenance.dsse import parse_bundle, sign
from sciimg.provenance.keys import Key
from sciimg.provenance.oms import compare, copy_files, hash_folder, model_statement, sign_folder, signed_digests

FILES = {"a.json": b"{}", "b/zarr.json": b"[]", "b/c/0/0": b"chunk", "b/c/0/1": b"other chunk", "empty": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "f" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "f"


def differences(folder: Path, signed: dict[str, str]) -> dict[str, str]:
    return {p.where: p.kind for p in compare(signed, hash_folder(folder), "f")}


def test_digests_are_those_of_sha256sum(folder: Path) -> None:
    found = hash_folder(folder)
    assert found.digests["empty"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert set(found.digests) == set(FILES)
    assert found.size == sum(map(len, FILES.values()))
    assert not found.problems


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_blocks_meet_at_their_edges(tmp_path: Path, size: int) -> None:
    import hashlib

    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    assert hash_folder(tmp_path).digests == {"x": hashlib.sha256(data).hexdigest()}


def test_threads_do_not_change_the_result(tmp_path: Path) -> None:
    for i in range(50):
        (tmp_path / f"{i}").write_bytes(bytes([i]) * i)
    assert hash_folder(tmp_path, 1).digests == hash_folder(tmp_path, 4).digests


SPOILT: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "changed": (lambda f: (f / "b/c/0/0").write_bytes(b"Chunk"), {"f/b/c/0/0": "changed"}),
    "truncated": (lambda f: (f / "b/c/0/0").write_bytes(b"chun"), {"f/b/c/0/0": "changed"}),
    "appended": (lambda f: (f / "b/c/0/0").write_bytes(b"chunk\0"), {"f/b/c/0/0": "changed"}),
    "emptied": (lambda f: (f / "b/c/0/0").write_bytes(b""), {"f/b/c/0/0": "changed"}),
    "swapped": (
        lambda f: ((f / "b/c/0/0").write_bytes(b"other chunk"), (f / "b/c/0/1").write_bytes(b"chunk")),
        {"f/b/c/0/0": "swapped", "f/b/c/0/1": "swapped"},
    ),
    "removed": (lambda f: (f / "b/c/0/0").unlink(), {"f/b/c/0/0": "removed"}),
    "renamed": (lambda f: (f / "b/c/0/0").rename(f / "b/c/0/2"), {"f/b/c/0/0": "removed", "f/b/c/0/2": "renamed"}),
    "case": (lambda f: (f / "a.json").rename(f / "A.json"), {"f/a.json": "removed", "f/A.json": "renamed-case"}),
    "an added chunk": (lambda f: (f / "b/c/1").write_bytes(b"x"), {"f/b/c/1": "added"}),
    "a copy": (lambda f: (f / "copy").write_bytes(b"chunk"), {"f/copy": "added"}),
    ".DS_Store": (lambda f: (f / ".DS_Store").write_bytes(b"x"), {"f/.DS_Store": "added"}),
    ".git": (lambda f: ((f / ".git").mkdir(), (f / ".git/config").write_bytes(b"x")), {"f/.git/config": "added"}),
    ".gitignore": (lambda f: (f / ".gitignore").write_bytes(b"x"), {"f/.gitignore": "added"}),
    "an empty folder": (lambda f: (f / "void").mkdir(), {"f/void": "empty-folder"}),
    "a pipe": (lambda f: os.mkfifo(f / "pipe"), {"f/pipe": "special-file"}),
    "a link to the same bytes": (
        lambda f: ((f / "b/c/0/0").rename(f.parent / "away"), (f / "b/c/0/0").symlink_to(f.parent / "away")),
        {"f/b/c/0/0": "symlink"},
    ),
    "a linked folder": (
        lambda f: ((f / "b").rename(f.parent / "away"), (f / "b").symlink_to(f.parent / "away")),
        {"f/b": "symlink", "f/b/zarr.json": "removed", "f/b/c/0/0": "removed", "f/b/c/0/1": "removed"},
    ),
    "a dangling link": (lambda f: (f / "x").symlink_to("nowhere"), {"f/x": "symlink"}),
    "a name that is not UTF-8": (lambda f: Path(os.fsdecode(bytes(f) + b"/\xff")).write_bytes(b"x"), {"f/\\udcff": "unsafe-name"}),
}


@pytest.mark.parametrize(("spoil", "expected"), SPOILT.values(), ids=SPOILT.keys())
def test_every_difference_has_a_name(folder: Path, spoil: Callable[[Path], object], expected: dict[str, str]) -> None:
    signed = hash_folder(folder).digests
    assert differences(folder, signed) == {}
    spoil(folder)
    assert differences(folder, signed) == expected


def test_unicode_forms_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "é")).write_bytes(b"x")
    signed = {unicodedata.normalize("NFC", "é"): hash_folder(tmp_path).digests[unicodedata.normalize("NFD", "é")]}
    assert sorted(differences(tmp_path, signed).values()) == ["removed", "renamed-unicode"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=2), min_size=1),
    after=st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=2), min_size=1),
)
def test_two_folders_agree_only_when_they_are_equal(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    found = []
    for files in (before, after):
        folder = tmp_path_factory.mktemp("f")
        for name, data in files.items():
            (folder / name).write_bytes(data)
        found.append(hash_folder(folder))
    assert (compare(found[0].digests, found[1], "f") == []) == (before == after)


@pytest.mark.parametrize("name", ["Upper", "é", "with space", "-dash", ".hidden", "a/.b", "q?", "a\\b"])
def test_names_that_differ_between_machines_are_not_signed(tmp_path: Path, key: Key, name: str) -> None:
    place = tmp_path / "f" / name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        sign_folder(tmp_path / "f", key, tmp_path / "f.json", "f@1.0.0")
    assert {p.kind for p in caught.value.problems} == {"unsafe-name"}
    assert not (tmp_path / "f.json").exists()


def test_links_and_nothing_are_not_signed(tmp_path: Path, key: Key) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(InputError, match="at least one file"):
        sign_folder(tmp_path / "f", key, tmp_path / "f.json", "f@1.0.0")
    (tmp_path / "f/x").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="no links"):
        sign_folder(tmp_path / "f", key, tmp_path / "f.json", "f@1.0.0")


def test_signing_twice_gives_the_same_bytes(folder: Path, key: Key, tmp_path: Path) -> None:
    first = sign_folder(folder, key, tmp_path / "1.json", "f@1.0.0")
    assert sign_folder(folder, key, tmp_path / "2.json", "f@1.0.0") == first
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


DIGEST = "0" * 64
CONTRADICTIONS: dict[str, Callable[[dict[str, object]], object]] = {
    "another predicate": lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"),
    "ignored paths": lambda s: s["predicate"]["serialization"].update(ignore_paths=["b"]),  # type: ignore[index]
    "links allowed": lambda s: s["predicate"]["serialization"].update(allow_symlinks=True),  # type: ignore[index]
    "shards": lambda s: s["predicate"]["serialization"].update(method="shards"),  # type: ignore[index]
    "another hash": lambda s: s["predicate"]["resources"][0].update(algorithm="blake2"),  # type: ignore[index]
    "a file twice": lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]),  # type: ignore[index]
    "no files": lambda s: s["predicate"].update(resources=[]),  # type: ignore[index,attr-defined]
    "another root": lambda s: s["subject"][0]["digest"].update(sha256=DIGEST),  # type: ignore[index]
    "a path escape": lambda s: s["predicate"]["resources"][0].update(name="../a.json"),  # type: ignore[index]
    "an absolute path": lambda s: s["predicate"]["resources"][0].update(name="/etc/passwd"),  # type: ignore[index]
    "a file that is a folder": lambda s: s["predicate"]["resources"][0].update(name="b"),  # type: ignore[index]
}


@pytest.mark.parametrize("spoil", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_statements_that_say_more_or_less_are_refused(folder: Path, key: Key, spoil: Callable[[dict[str, object]], object]) -> None:
    value = model_statement(hash_folder(folder).digests, "f@1.0.0")
    value["predicate"]["serialization"] = dict(value["predicate"]["serialization"])
    assert signed_digests(parse_bundle(sign(value, key), "b")) == hash_folder(folder).digests
    spoil(value)
    with pytest.raises(AuditError):
        signed_digests(parse_bundle(sign(value, key), "b"))


def test_files_are_hashed_as_they_are_copied(folder: Path, tmp_path: Path, key: Key) -> None:
    (folder / "b/large").write_bytes(os.urandom((2 << 20) + 5))
    written = copy_files(folder, tmp_path / "copy", sorted([*FILES, "b/large"]))
    assert written == hash_folder(folder).digests == hash_folder(tmp_path / "copy").digests
    assert (tmp_path / "copy/b/large").read_bytes() == (folder / "b/large").read_bytes()
    payload = sign_folder(tmp_path / "copy", key, tmp_path / "1.json", "f@1.0.0", written)
    assert payload == sign_folder(tmp_path / "copy", key, tmp_path / "2.json", "f@1.0.0")


def test_only_files_that_were_just_written_are_taken_as_known(folder: Path) -> None:
    assert hash_folder(folder, known={"a.json": "0" * 64, "gone": "1" * 64}).digests == hash_folder(folder).digests | {"a.json": "0" * 64}


def test_a_link_is_not_copied_and_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(folder / "a.json")
    with pytest.raises(OSError, match="symbolic links"):
        copy_files(folder, tmp_path / "copy", ["link"])
    copy_files(folder, tmp_path / "copy", ["a.json"])
    with pytest.raises(FileExistsError):
        copy_files(folder, tmp_path / "copy", ["a.json"])
