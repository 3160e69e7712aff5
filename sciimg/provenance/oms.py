"""OpenSSF Model Signing v1.0 of a folder: every file's SHA-256 in one signed statement, and the folder held against it.

Rules of a signed folder, so that its statement means one thing on every file system: regular files and folders only, no links, no empty
folders, names in ASCII lower case (with :data:`CAPITALS` excepted), nothing ignored. A reader accepts exactly the files of the statement.

References
----------
OpenSSF Model Signing specification v1.0 (predicate ``https://model_signing/signature/v1.0``), ``files`` method.
"""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sciimg.errors import AuditError, InputError, Problem
from sciimg.files import write_bytes
from sciimg.objects import THREADS as OBJECT_THREADS
from sciimg.objects import ObjectPath
from sciimg.provenance.dsse import Bundle, is_sha256, parse_bundle, sign, statement
from sciimg.provenance.keys import Key

PREDICATE = "https://model_signing/signature/v1.0"
CAPITALS = frozenset({"DATASHEET.md", "MODEL_CARD.md", "CHECKING.md"})  # names that people look for
THREADS = 2
_SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_BLOCK = 1 << 18  # stays in a core's cache: a tenth less than with 1 MiB (tests/benchmarks/bench_audit.py)
T = TypeVar("T")


@dataclass
class Contents:
    """What lies in a folder: the digest of each regular file by its name with ``/``, and everything that may not lie there."""

    digests: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    size: int = 0


def hash_folder(folder: Path, threads: int = THREADS, known: Mapping[str, str] | None = None) -> Contents:
    """Return the SHA-256 of every file or object, in hexadecimal; links, special files and empty folders become problems.

    Files are opened without following links and must be regular once open, so that nothing can be exchanged between look and read.
    ``known`` has digests of files that this process has just written, see :func:`copy_files`; they are not read again. It is for signing
    alone: nothing is verified by a digest that was noted.
    """
    contents = Contents()
    known = known or {}
    if isinstance(folder, ObjectPath):
        return _hash_objects(folder)
    names = list(_walk(folder, "", contents.problems))
    contents.digests = {name: known[name] for name in names if name in known}
    for digests, problems, size in _in_batches(lambda batch: _hash_files(folder, batch), [n for n in names if n not in known], threads):
        contents.digests |= digests
        contents.problems += problems
        contents.size += size
    return contents


def copy_files(source: Path, target: Path, names: Sequence[str], threads: int = THREADS) -> dict[str, str]:
    """Copy files and return the SHA-256 of what was written, in hexadecimal: hashed while they are in memory anyway."""
    for folder in sorted({(target / name).parent for name in names}):
        folder.mkdir(parents=True, exist_ok=True)

    def copy(batch: list[str]) -> dict[str, str]:
        buffer = memoryview(bytearray(_BLOCK))
        return {name: _copy_file(f"{source}/{name}", f"{target}/{name}", buffer) for name in batch}

    return {name: digest for digests in _in_batches(copy, list(names), threads) for name, digest in digests.items()}


def _in_batches(work: Callable[[list[str]], T], names: list[str], threads: int) -> Iterator[T]:
    share = max(1, min(64, len(names) // (4 * threads)))
    batches = [names[i : i + share] for i in range(0, len(names), share)]
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, batches)


def sign_folder(folder: Path, key: Key, bundle: Path, name: str, known: Mapping[str, str] | None = None) -> str:
    """Sign every byte of a folder; write the bundle beside it and return the payload's digest.

    Parameters
    ----------
    folder, key
        What is signed, by whom.
    bundle : Path
        Where the bundle goes; never inside the folder.
    name : str
        Identity that is signed with the bytes, e.g. ``dataset-id@1.0.0``.
    known : mapping, optional
        Digests of files that this process has just written, as :func:`copy_files` returns them.

    Raises
    ------
    InputError
        If the folder holds what a signed folder may not hold.
    """
    contents = hash_folder(folder, known=known)
    problems = contents.problems + [p for name_ in sorted(contents.digests) for p in _name_problems(name_)] + _twins(contents.digests)
    if not contents.digests:
        problems.append(
            Problem(str(folder), "empty-folder", "A signature is about at least one file; there is none. Assemble the dataset first.")
        )
    if problems:
        raise InputError(problems)
    value = model_statement(contents.digests, name)
    data = sign(value, key)
    write_bytes(bundle, data)
    return parse_bundle(data, bundle.name).payload_digest


def model_statement(digests: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return the statement of a folder; resources are ordered as path parts, as the reference implementation orders them."""
    ordered = sorted(digests.items(), key=lambda item: item[0].split("/"))
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()
    resources = [{"name": name_, "algorithm": "sha256", "digest": digest} for name_, digest in ordered]
    return statement({name: root}, PREDICATE, {"serialization": _SERIALIZATION, "resources": resources})


def signed_digests(bundle: Bundle) -> dict[str, str]:
    """Return the digests by name that a bundle speaks of.

    Raises
    ------
    AuditError
        If the statement is not a v1.0 model signature in ``files`` mode without exceptions, or contradicts itself.
    """
    faults = [] if bundle.predicate_type == PREDICATE else [f"its predicate is {PREDICATE}; got {bundle.predicate_type}"]
    if bundle.predicate.get("serialization") != _SERIALIZATION:
        faults.append(f"it signs whole files by SHA-256 and ignores none; got {bundle.predicate.get('serialization')}")
    resources = bundle.predicate.get("resources")
    if not (isinstance(resources, list) and resources and all(_is_resource(r) for r in resources)):
        faults.append("it lists files by name and SHA-256")
    if faults:
        raise AuditError([Problem(bundle.where, "malformed-statement", f"A dataset's statement is plain: {f}.") for f in faults])
    assert isinstance(resources, list)
    digests = {r["name"]: r["digest"] for r in resources}
    root = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    if len(digests) != len(resources):
        faults.append("each file is named once")
    if list(bundle.subjects.values()) != [f"sha256:{root}"]:
        faults.append("its one subject has the root digest of its files")
    problems = [Problem(bundle.where, "malformed-statement", f"A dataset's statement agrees with itself: {f}.") for f in faults]
    problems += [p for name in digests for p in _name_problems(name)] + _twins(digests)
    if problems:
        raise AuditError(problems)
    return digests


def compare(signed: Mapping[str, str], found: Contents, root: str) -> list[Problem]:
    """Return every difference between what was signed and what lies there, each called by its likeliest name."""
    missing = {n: d for n, d in signed.items() if n not in found.digests}
    added = {n: d for n, d in found.digests.items() if n not in signed}
    changed = {n: d for n, d in found.digests.items() if n in signed and signed[n] != d}
    unreadable = {p.where for p in found.problems}
    problems = [Problem(f"{root}/{p.where}", p.kind, p.message) for p in found.problems]
    lost = _Lost(missing)
    for name in sorted(added):
        kind, message = lost.explain(name, added[name])
        problems.append(Problem(f"{root}/{name}", kind, message))
    for name in sorted(set(missing) - unreadable):
        message = "This file was signed and is missing. Get the release again from its source."
        problems.append(Problem(f"{root}/{name}", "removed", message))
    homes = {signed[name]: name for name in sorted(changed, reverse=True)}  # digest → the first changed file that should have it
    for name in sorted(changed):
        if other := homes.get(changed[name]):
            message = f"It holds the bytes that were signed as {other!r}. Get the release again from its source."
            problems.append(Problem(f"{root}/{name}", "swapped", message))
        else:
            message = f"Its bytes are not those that were signed: SHA-256 is {changed[name][:12]}…, signed was {signed[name][:12]}…."
            problems.append(Problem(f"{root}/{name}", "changed", message))
    return problems


class _Lost:
    """Files that were signed and are missing, to be found again among those that were not signed, in one look each."""

    def __init__(self, missing: Mapping[str, str]) -> None:
        self._by_form: dict[str, str] = {}
        self._by_case: dict[str, str] = {}
        self._by_digest: dict[str, str] = {}
        for name, digest in sorted(missing.items(), reverse=True):
            self._by_form[_form(name)] = self._by_case[_form(name).casefold()] = self._by_digest[digest] = name

    def explain(self, name: str, digest: str) -> tuple[str, str]:
        """Return why a file that was not signed lies there: renamed (Unicode form, case, otherwise), or simply added."""
        if signed := self._by_form.get(_form(name)):
            return "renamed-unicode", f"It was signed as {signed!r} in another Unicode form. Give it its name back."
        if signed := self._by_case.get(_form(name).casefold()):
            return "renamed-case", f"It was signed as {signed!r}; upper and lower case differ. Give it its name back."
        if signed := self._by_digest.get(digest):
            return "renamed", f"It holds the bytes that were signed as {signed!r}. Give it its name back."
        return "added", "It was not signed; in a dataset of chunks, an added file changes images. Remove it, or get the release again."


def _form(name: str) -> str:
    """Return the name without the differences that Unicode has between letters that look alike (NFKC: width, ligatures, accents)."""
    return unicodedata.normalize("NFKC", name)


# ---------------------------------------------------------------- walking and hashing


def _walk(folder: Path, prefix: str, problems: list[Problem]) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder / prefix), key=lambda e: e.name)
    except OSError as error:
        problems.append(Problem(prefix.rstrip("/") or ".", "unreadable", f"A folder that can be read belongs here ({error.strerror})."))
        return
    if not entries:
        problems.append(Problem(prefix.rstrip("/") or ".", "empty-folder", "A signed folder has no empty folders in it. Remove it."))
    for entry in entries:
        name = prefix + entry.name
        if not _printable(name):
            problems.append(Problem(ascii(name)[1:-1], "unsafe-name", "A name is UTF-8 text; this one is not. Remove the file."))
        elif entry.is_symlink():
            message = f"A signed folder has no links; this one points to {str(Path(entry.path).readlink())!r}. Put the file itself here."
            problems.append(Problem(name, "symlink", message))
        elif entry.is_dir():
            yield from _walk(folder, name + "/", problems)
        elif entry.is_file():
            yield name
        else:
            problems.append(Problem(name, "special-file", "A signed folder has regular files only; this is a device, pipe or socket."))


def _hash_objects(folder: ObjectPath) -> Contents:
    """Read every object below a prefix once, as a stream, several at a time."""
    contents = Contents()
    objects = {path.relative_to(folder).as_posix(): path for path in folder.objects()}

    def digest(path: ObjectPath) -> tuple[str, int] | Problem:
        found, size = hashlib.sha256(), 0
        try:
            for block in path.blocks():
                found.update(block)
                size += len(block)
        except FileNotFoundError:
            name = path.relative_to(folder).as_posix()
            return Problem(name, "unreadable", "It was listed and is gone: somebody writes here. Wait for them, and audit again.")
        return found.hexdigest(), size

    with ThreadPoolExecutor(OBJECT_THREADS) as pool:
        for name, found in zip(objects, pool.map(digest, objects.values()), strict=True):
            if isinstance(found, Problem):
                contents.problems.append(found)
            else:
                contents.digests[name] = found[0]
                contents.size += found[1]
    return contents


def _hash_files(folder: Path, names: list[str]) -> tuple[dict[str, str], list[Problem], int]:
    digests, problems, total = {}, [], 0
    buffer = memoryview(bytearray(_BLOCK))
    for name in names:
        try:
            digests[name], size = _hash_file(f"{folder}/{name}", buffer)
            total += size
        except OSError as error:
            problems.append(Problem(name, "unreadable", f"Every file of a signed folder can be read ({error.strerror or error})."))
    return digests, problems, total


def _hash_file(path: str, buffer: memoryview) -> tuple[str, int]:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a regular file any more")
        digest, size = hashlib.sha256(), 0
        while count := os.readv(handle, [buffer]):
            digest.update(buffer[:count])
            size += count
        return digest.hexdigest(), size
    finally:
        os.close(handle)


def _copy_file(source: str, target: str, buffer: memoryview) -> str:
    digest = hashlib.sha256()
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            while count := os.readv(reading, [buffer]):
                left = buffer[:count]
                digest.update(left)
                while left:  # a disk that fills up takes a part before it fails
                    left = left[os.write(writing, left) :]
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return digest.hexdigest()


# ---------------------------------------------------------------- names


def _name_problems(name: str) -> list[Problem]:
    if name in CAPITALS or all(_NAME.fullmatch(part) for part in name.split("/")):
        return []
    message = (
        "So that names mean the same everywhere, they are a-z, 0-9, dot, dash and underscore and begin with a letter or digit. Rename it."
    )
    return [Problem(name, "unsafe-name", message)]


def _printable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that the file system allows and UTF-8 does not
        return False
    return True


def _twins(digests: Mapping[str, str]) -> list[Problem]:
    """Return files that are also folders, which no file system can hold."""
    folders = {name[:i] for name in digests for i, letter in enumerate(name) if letter == "/"}
    return [Problem(name, "unsafe-name", "A name is a file or a folder, not both.") for name in sorted(folders & set(digests))]


def _is_resource(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"name", "algorithm", "digest"}
        and value["algorithm"] == "sha256"
        and (isinstance(value["name"], str) and is_sha256(value["digest"]))
    )
