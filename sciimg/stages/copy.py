"""Carry what sciimg makes between a file system and an object store: whole, or not there.

An object store has no rename. What makes a collection, release, model or image exist is one document; a copy sends everything else first
and that document last, on the condition that it is not there (If-None-Match), or is still the one that was there at the beginning
(If-Match). Data are sent on the condition that nothing is there, and never replaced or removed; an object that has the right digest already
is not sent again, so that the same command goes on after any interruption. A note beside the copy, made on the same condition, says what is
being copied there, so that two who write different things to one place never mix them.
"""

import functools
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem, RemoteError, SciimgError
from sciimg.files import hold, sync_directory
from sciimg.objects import ConflictError, ObjectPath, asking
from sciimg.records import canonical_json, digest_bytes

DIGEST = "sciimg-sha256"  # what an object's own metadata say of its bytes
_ONE_PUT = 32 * 2**20  # larger files go in parts, which never are in memory together
_PART = 8 * 2**20
_THREADS = 8  # so that no more than a quarter of a gigabyte is in memory


@dataclass(frozen=True)
class Kind:
    """What is carried: the document that makes it exist, and which other files may be replaced by newer ones."""

    name: str
    document: str
    growing: tuple[str, ...] = ()


# A release gets more attestations and time tokens, a collection more images; all else is made once.
KINDS = (
    Kind("collection", "collection.json", ("catalogue.parquet", "collection.json")),
    Kind("release", "dataset.sigstore.json", ("dataset.sigstore.json", "attestations/", "report.html", "report.pdf", "signer.pub")),
    Kind("model", "model.json"),
    Kind("image", "zarr.json"),
)


def copy_command(source: Path, target: Path) -> dict[str, Any]:
    """Copy a collection, release, model or OME-Zarr image from a file system to an object store, or back.

    Returns
    -------
    dict
        ``kind``, ``from``, ``to``, ``files``, ``bytes``; ``sent`` says how many files were not there yet.

    Raises
    ------
    InputError
        Kinds ``not-found``, ``nothing-to-copy``, ``which-way``, ``exists``, ``being-copied``, ``changed``.
    RemoteError, StorageError
        As :func:`sciimg.objects.asking`.
    """
    if isinstance(source, ObjectPath) == isinstance(target, ObjectPath):
        message = (
            "One of the two is in an object store (s3://BUCKET/KEY or gs://BUCKET/KEY), the other a folder of a file system. Name them so."
        )
        raise InputError(Problem(str(target), "which-way", message))
    kind = _kind_of(source)
    if isinstance(target, ObjectPath):
        said = _send(kind, source, target)
    else:
        assert isinstance(source, ObjectPath)
        said = _bring(kind, source, target)
    return {"kind": kind.name, "from": str(source), "to": str(target), **said}


def check_publishing(workdir: Path, publish: Path | None) -> None:
    """Refuse, before a run of hours, places that it could not use at its end.

    Raises
    ------
    InputError
        Kind ``not-a-file`` for a run folder in an object store, ``which-way`` for a release that would not go to one.
    """
    if isinstance(workdir, ObjectPath):
        message = (
            "A run folder lies on a file system, because it needs locks and renames. Name one; sources of the study may be in an object "
            "store, and --publish copies the release to one."
        )
        raise InputError(Problem("--workdir", "not-a-file", message))
    if publish is None:
        return
    if not isinstance(publish, ObjectPath) or not publish.key:
        raise InputError(Problem("--publish", "which-way", f"It is s3://BUCKET/NAME or gs://BUCKET/NAME; got {publish}. Correct it."))
    next(publish.objects(), None)  # the bucket is there and answers


def _kind_of(source: Path) -> Kind:
    for kind in KINDS:
        if (source / kind.document).is_file():
            return kind
    if not source.exists():
        raise InputError(Problem(str(source), "not-found", "There is nothing here. Check the path."))
    message = (
        "A collection, a release, a model or an OME-Zarr image is copied, known by its collection.json, dataset.sigstore.json, model.json "
        "or zarr.json; this has none of them."
    )
    if (source / "run.json").is_file():
        message += f" Of a run, copy {source / 'release' / 'release'}: the rest is for this machine only."
    raise InputError(Problem(str(source), "nothing-to-copy", message))


# ---------------------------------------------------------------- to an object store


@dataclass(frozen=True)
class _Sending:
    kind: Kind
    source: Path
    target: ObjectPath
    state: Mapping[str, str]  # digests of the document and of what may grow, as they were at the beginning

    def grows(self, name: str) -> bool:
        return any(name == own or (own.endswith("/") and name.startswith(own)) for own in self.kind.growing)


def _send(kind: Kind, source: Path, target: ObjectPath) -> dict[str, Any]:
    """Send everything, the document last."""
    if not target.key:
        raise InputError(Problem(str(target), "exists", "A copy needs a place of its own in the bucket. Add a name: s3://BUCKET/NAME."))
    names = _names(source)
    case = _Sending(kind, source, target, {})
    case = replace(case, state=_state(case, names))
    with _announced(case):
        there = _there(target)
        _refuse_others(names, there, target)
        before = (target / kind.document).head() if kind.document in there else None
        outdated = dict(zip(there, _in_threads(lambda name: _differs(case, name), list(there)), strict=True))  # before anything is sent
        sent = 0
        for step in _steps(case, names):
            send = functools.partial(_send_one, case, outdated)
            sent += sum(_in_threads(send, [name for name in step if outdated.get(name, True)]))
        if _state(case, _names(source)) != case.state:
            message = "It was changed while it was copied. Run the same command again: it goes on with what is there now."
            raise InputError(Problem(str(source), "changed", message))
        sent += outdated.get(kind.document, True) and _send_document(case, before)
    return {"files": len(names), "bytes": sum((source / name).stat().st_size for name in names), "sent": sent}


def _state(case: _Sending, names: Iterable[str]) -> dict[str, str]:
    return {name: _digest(case.source / name) for name in names if name == case.kind.document or case.grows(name)}


def _names(source: Path) -> list[str]:
    """Return the files, without those that a writer has not finished."""
    paths = (p.relative_to(source) for p in source.rglob("*") if p.is_file() or p.is_symlink())
    names = sorted(p.as_posix() for p in paths if not any(part.startswith(".") for part in p.parts))
    if links := [name for name in names if (source / name).is_symlink()]:
        raise InputError(Problem(str(source / links[0]), "symlink", "Files are copied, and this is a link. Put the file itself there."))
    return names


def _there(target: ObjectPath) -> dict[str, ObjectPath]:
    return {path.relative_to(target).as_posix(): path for path in target.objects()}


def _refuse_others(names: Iterable[str], there: Mapping[str, ObjectPath], target: ObjectPath) -> None:
    if others := sorted(set(there) - set(names)):
        message = f"Nothing else may lie where a copy goes; here are {len(others)} other objects, e.g. {others[0]}. Choose another place."
        raise InputError(Problem(str(target), "exists", message))


def _steps(case: _Sending, names: Iterable[str]) -> Iterator[list[str]]:
    """Yield what is sent together: data before what describes them, because a missing chunk reads as zeros, a missing array not at all."""
    rest = [name for name in names if name != case.kind.document]
    yield [name for name in rest if not name.endswith("zarr.json") and not case.grows(name)]
    yield [name for name in rest if name.endswith("zarr.json")]
    yield [name for name in rest if case.grows(name)]


def _in_threads(work: Callable[[str], bool], names: list[str]) -> list[bool]:
    """Return the results in order; after an error, what has not begun is left."""
    with ThreadPoolExecutor(_THREADS, "sciimg-copy") as pool:
        waiting = [pool.submit(work, name) for name in names]
        try:
            return [each.result() for each in waiting]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _differs(case: _Sending, name: str) -> bool:
    """Return whether an object is an older version of its file; refuse one that is something else."""
    place, digest = case.target / name, _digest(case.source / name)
    noted = place.head()["attributes"].get(DIGEST)
    if digest == (noted or _digest(place)):  # without a note, another program has put it there
        return False
    if case.grows(name):
        return True
    message = (
        f"Something else is there already: {name} differs from what would be copied, and data are never replaced. Choose another place."
    )
    raise InputError(Problem(str(place), "exists", message))


def _send_one(case: _Sending, outdated: Mapping[str, bool], name: str) -> bool:
    """Send a file; return whether nobody else had done so meanwhile."""
    source, place = case.source / name, case.target / name
    data = source.read_bytes() if source.stat().st_size <= _ONE_PUT else source
    digest = digest_bytes(data) if isinstance(data, bytes) else _digest(data)
    try:
        _put(place, data, digest, "overwrite" if name in outdated else "create")
    except ConflictError:
        if _differs(case, name):
            _put(place, data, digest, "overwrite")
        return False
    return True


def _digest(path: Path) -> str:
    blocks = path.blocks() if isinstance(path, ObjectPath) else _blocks(path)
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return f"sha256:{found.hexdigest()}"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            yield block


def _put(place: ObjectPath, data: bytes | Path, digest: str, mode: Any) -> None:
    """Send one object, whole or not at all.

    Raises
    ------
    ConflictError
        Where the condition of ``mode`` does not hold. A file in parts is sent without one: the store has none for them.
    """
    with asking(place):
        import obstore

        if isinstance(data, bytes):
            obstore.put(place.store, place.key, data, attributes={DIGEST: digest}, mode=mode, use_multipart=False)
        else:
            obstore.put(place.store, place.key, data, attributes={DIGEST: digest}, use_multipart=True, chunk_size=_PART, max_concurrency=2)


def _send_document(case: _Sending, before: Mapping[str, Any] | None) -> bool:
    """Send the document that makes the copy exist; tell who won where two wanted to."""
    place, data = case.target / case.kind.document, (case.source / case.kind.document).read_bytes()
    try:
        _put(place, data, digest_bytes(data), "create" if before is None else {k: before[k] for k in ("e_tag", "version") if before[k]})
    except ConflictError:
        if place.read_bytes() == data:  # two were at the same work, and it is done
            return False
        when = f"{place.head()['last_modified']:%Y-%m-%d %H:%M:%S} UTC"
        message = f"Another process was faster: its {case.kind.name} has been here since {when}, and stays. Choose another place for yours."
        raise InputError(Problem(str(case.target), "exists", message)) from None
    return True


@contextmanager
def _announced(case: _Sending) -> Iterator[None]:
    """Note beside the place what is being copied there, until it is done; refuse where something else is."""
    note = case.target.with_name(f"{case.target.name}.being-copied.json")
    data = canonical_json({"kind": case.kind.name, "document": case.state[case.kind.document]})
    try:
        _put(note, data, digest_bytes(data), "create")
    except ConflictError:
        if note.read_bytes() != data:
            since = f"{note.head()['last_modified']:%Y-%m-%d %H:%M:%S} UTC"
            message = (
                f"One thing at a time is copied to a place; here something else has been under way since {since}. Let it finish, choose "
                f"another place, or, where nobody is at it any more, remove {note}."
            )
            raise InputError(Problem(str(case.target), "being-copied", message)) from None
    try:
        yield
    except (InputError, RemoteError):  # what was refused is not under way
        with suppress(SciimgError):
            _remove(note)
        raise
    _remove(note)


def _remove(note: ObjectPath) -> None:
    with suppress(FileNotFoundError), asking(note):  # a twin of this process may have been done before
        import obstore

        obstore.delete(note.store, note.key)


# ---------------------------------------------------------------- to a file system


def _bring(kind: Kind, source: ObjectPath, target: Path) -> dict[str, Any]:
    """Fetch everything into a folder beside its place, and rename it; what an interrupted attempt fetched is kept where it is right."""
    if target.exists():
        raise InputError(
            Problem(str(target), "exists", "A copy is made in a new folder, and there is something here. Choose another name.")
        )
    there = _there(source)
    document = (source / kind.document).read_bytes()
    partial = target.with_name(f".{target.name}.partial")
    with hold(target.with_name(f".{target.name}.lock"), remove=True):
        _refuse_escape(there, source)
        for left in [p for p in partial.rglob("*") if p.is_file() and p.relative_to(partial).as_posix() not in there]:
            left.unlink()
        for folder in sorted({(partial / name).parent for name in there}):
            folder.mkdir(parents=True, exist_ok=True)
        needed, free = sum(p.stat().st_size for p in there.values()), shutil.disk_usage(partial).free
        if needed > free + sum(p.stat().st_size for p in partial.rglob("*") if p.is_file()):
            message = f"There must be room for {needed / 1e9:.1f} GB; there are {free / 1e9:.1f} GB. Make room, or name another disk."
            raise InputError(Problem(str(target), "disk-full", message))
        sent = _in_threads(lambda name: _bring_one(there[name], partial / name), list(there))
        if (source / kind.document).read_bytes() != document:
            message = "It was replaced while it was copied. Run the same command again: what is the same is not fetched again."
            raise InputError(Problem(str(source), "changed", message))
        partial.rename(target)
        sync_directory(target.parent)
    return {"files": len(there), "bytes": needed, "sent": sum(sent)}


def _refuse_escape(there: Mapping[str, ObjectPath], source: ObjectPath) -> None:
    """Refuse keys that no file system can hold, or that would lead out of the folder."""
    folders = {name[:i] for name in there for i, letter in enumerate(name) if letter == "/"}
    for name in there:
        if name in folders or not name or {"..", "."} & set(name.split("/")):
            raise InputError(
                Problem(str(source), "path-escape", f"A key must be usable as a file's name; {name!r} is not. Remove the object.")
            )


def _bring_one(source: ObjectPath, target: Path) -> bool:
    """Fetch an object unless it is here with the digest that its metadata say; return whether it was fetched."""
    about = source.head()
    if target.exists() and about["attributes"].get(DIGEST) == _digest(target):
        return False
    half = target.with_name(f".{target.name}.half")
    with half.open("wb") as stream:
        stream.writelines(source.blocks())
    said = about["attributes"].get(DIGEST)
    if said is not None and said != _digest(half):
        half.unlink()
        message = "The object must hold the bytes that were sent; their digest is another. Copy it to the store again from its source."
        raise InputError(Problem(str(source), "changed", message))
    half.replace(target)
    return True
