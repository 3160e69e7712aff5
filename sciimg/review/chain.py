"""An append-only log in one SQLite file, in which every row seals all rows before it.

The hash of a row is the SHA-256 of the previous row's hash (nothing before the first) followed by the row's own canonical JSON, so that
anybody can recompute it: ``printf '%s%s' "$PREVIOUS_HASH" "$BODY" | sha256sum``. The last hash, the *head*, stands for the whole log:
who signs it signs every row. Rows survive the end of the process, however it ends: a row is on the disk when :meth:`Chain.append` returns.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sciimg.errors import InputError, Problem, StorageError
from sciimg.files import sync_directory
from sciimg.records import Digest, canonical_json, digest_bytes

MAGIC = b"SQLite format 3\x00"  # how every SQLite file begins
_APPLICATION = 0x5C110001  # tells these files from other SQLite files
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
CREATE TABLE chain (n INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TRIGGER rows_never_change BEFORE UPDATE ON chain BEGIN SELECT RAISE(ABORT, 'rows are never changed'); END;
CREATE TRIGGER rows_never_go BEFORE DELETE ON chain BEGIN SELECT RAISE(ABORT, 'rows are never deleted'); END;
CREATE TRIGGER rows_follow BEFORE INSERT ON chain WHEN NEW.n IS NOT (SELECT coalesce(max(n), 0) + 1 FROM chain)
BEGIN SELECT RAISE(ABORT, 'rows are only added at the end'); END;
"""
_INSERT = "INSERT INTO chain VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Log:
    """What a chain holds: the JSON of its rows, the first first, and the hash of the last."""

    rows: tuple[Any, ...]
    head: Digest


def link(previous: str, body: bytes) -> Digest:
    """Return the hash of a row."""
    return digest_bytes(previous.encode() + body)


class Chain:
    """The one writer of a log. Threads may share it; processes may not, though others may read the file meanwhile."""

    def __init__(self, path: Path, first: Any) -> None:
        """Open a log, or begin one with the row ``first``.

        Raises
        ------
        InputError
            If the file is something else or its chain is broken.
        """
        if not path.exists():
            _begin(path, canonical_json(first))
        log = read_chain(path)
        self.path, self.rows = path, list(log.rows)
        self._lock, self._head = Lock(), log.head
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        self._file.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
        self._file.execute("PRAGMA fullfsync = ON")  # and, on macOS, for the disk's own cache

    @property
    def head(self) -> Digest:
        """Hash of the last row."""
        return self._head

    def append(self, value: Any) -> Digest:
        """Add a row; it is on the disk when this returns.

        Raises
        ------
        StorageError
            If it could not be written; the log is as it was.
        """
        body = canonical_json(value)
        with self._lock:
            hash_ = link(self._head, body)
            try:
                self._file.execute(_INSERT, (len(self.rows) + 1, body.decode(), hash_))
            except sqlite3.Error as error:
                message = f"The answer could not be written to the disk ({error}). Make room, and save it again."
                raise StorageError(Problem(str(self.path), "not-saved", message)) from None
            self.rows.append(json.loads(body))
            self._head = hash_
            return hash_

    def close(self) -> None:
        """Close the file; what the write-ahead log holds goes into it, so that it can be copied alone."""
        with self._lock:
            self._file.close()


def _begin(path: Path, first: bytes) -> None:
    """Write a log of one row beside its place and rename it: there is no log without its beginning. Only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    for left in (partial, partial.with_name(f"{partial.name}-journal")):
        left.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    with closing(sqlite3.connect(partial)) as file:
        file.executescript(_SCHEMA)
        file.execute(_INSERT, (1, first.decode(), link("", first)))
        file.commit()
    partial.replace(path)
    sync_directory(path.parent)


def read_chain(path: Path) -> Log:
    """Read a log and recompute every hash in it.

    Raises
    ------
    InputError
        Kinds ``missing-file``, ``not-a-session``, and ``broken-chain`` with the first row that is not what was sealed.
    """
    if not path.is_file():
        raise InputError(Problem(str(path), "missing-file", "There is no such file. Name a session that `sciimg review serve` wrote."))
    found: list[tuple[int, str, str]] = []
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            if file.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
                raise sqlite3.DatabaseError("it is a database of something else")
            found = file.execute("SELECT n, body, hash FROM chain ORDER BY n").fetchall()
    except sqlite3.Error as error:
        message = f"A session is the SQLite file that `sciimg review serve` wrote; this one cannot be read as such ({error})."
        raise InputError(Problem(str(path), "not-a-session", message)) from None
    return _checked(found, path)


def _checked(found: list[tuple[int, str, str]], path: Path) -> Log:
    rows, head = [], ""
    for place, (n, body, hash_) in enumerate(found, start=1):
        if n != place:
            raise _broken(path, place, f"it is missing; the next one is row {n}")
        if link(head, str(body).encode()) != hash_:
            raise _broken(path, place, "its hash is not that of the row before it and its own content")
        rows.append(json.loads(body))
        head = hash_
    if not rows:
        raise _broken(path, 1, "it is missing")
    return Log(tuple(rows), head)


def _broken(path: Path, row: int, why: str) -> InputError:
    message = f"Every row seals those before it; row {row} does not fit: {why}. The file was changed: go back to an untouched copy."
    return InputError(Problem(f"{path}:row {row}", "broken-chain", message))
