"""A place in an object store that is read through the methods of a path."""

import io
import os
import re
import stat
from collections.abc import Generator, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from typing import IO, Any, NoReturn, Self, cast

from sciimg.errors import Problem, RemoteError
from sciimg.objects.access import bucket_of
from sciimg.objects.answers import asking, lost

SCHEMES = ("s3", "gs")
THREADS = 16  # requests under way at once: each of them mostly waits
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_BLOCK = 8 * 2**20
_FIRST_PIECE, _LARGEST_PIECE = 2**16, 16 * 2**20  # of a file that is read in pieces: its head, then ever more


def is_uri(text: str | Path) -> bool:
    """Whether a text names a place in an object store."""
    return isinstance(text, ObjectPath) or str(text).startswith(tuple(f"{s}:/" for s in SCHEMES))


def as_place(path: Path) -> Path:
    """Return a path that a user typed; as an :class:`ObjectPath` where it names a place in an object store.

    Raises
    ------
    RemoteError
        Kind ``bad-uri``.
    """
    return ObjectPath.of(str(path)) if is_uri(path) else path


def zarr_place(path: Path) -> Any:
    """Return what zarr-python opens: the path itself, or Zarr's own store for a folder of objects."""
    if not isinstance(path, ObjectPath):
        return path
    from zarr.storage import ObjectStore, StorePath

    with asking(path):
        return StorePath(ObjectStore(path.store, read_only=True), path.key)


class ObjectPath(PosixPath):
    """A bucket, a prefix or an object. A prefix below which objects lie counts as a folder.

    Raises
    ------
    FileNotFoundError
        From what reads, where there is no object of this key.
    RemoteError, StorageError, MissingExtraError
        From everything that asks the store: see :func:`asking`.
    """

    _size: int | None = None  # of an object that came out of a listing, so that it is not asked for again
    _e_tag: str | None = None
    _folder = False

    @classmethod
    def of(cls, uri: str) -> Self:
        """Return the place that a URI names."""
        path = cls(uri)
        if len(path.parts) < 2 or not _BUCKET.fullmatch(path.parts[1]) or ".." in path.parts:
            shown = f"{path.parts[0]}//…" if "@" in uri else uri  # never a secret that somebody put into it
            message = f"A place in an object store is {path.parts[0]}//BUCKET/KEY, a name without credentials in it. Correct it."
            raise RemoteError(Problem(shown, "bad-uri", message))
        return path

    def __str__(self) -> str:
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}" if self.parts and self.parts[0][:-1] in SCHEMES else super().__str__()

    def __fspath__(self) -> NoReturn:
        message = (
            "This needs a folder or file on a file system; an object store has none. Use a folder here, and carry collections, images, "
            "models and releases from and to a bucket with `sciimg copy FROM TO`."
        )
        raise RemoteError(Problem(str(self), "not-a-file", message))

    @property
    def bucket(self) -> str:
        return self.parts[1]

    @property
    def key(self) -> str:
        return "/".join(self.parts[2:])

    @property
    def store(self) -> Any:
        """The bucket as an obstore store."""
        return bucket_of(self.parts[0][:-1], self.bucket)

    def resolve(self, strict: bool = False) -> Self:
        return self

    def absolute(self) -> Self:
        return self

    def expanduser(self) -> Self:
        return self

    # ------------------------------------------------------------ what is there

    def exists(self, **_: Any) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self, **_: Any) -> bool:
        if self._size is not None or self._folder:
            return self._size is not None
        try:
            self.head()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, **_: Any) -> bool:
        if self._size is not None or self._folder:
            return self._folder
        with asking(self):
            import obstore

            some = next(iter(obstore.list(self.store, self.key or None, chunk_size=1)), ())
        return len(some) > 0 or not self.key

    def is_symlink(self) -> bool:
        return False

    def head(self) -> dict[str, Any]:
        """Return ``size``, ``e_tag``, ``last_modified`` and ``attributes``, the metadata that its writer gave the object."""
        if not self.key:
            raise FileNotFoundError(2, "a bucket is no object", str(self))
        with asking(self):
            import obstore

            try:
                found = obstore.get(self.store, self.key, options={"head": True})
            except Exception as error:
                if not isinstance(error, FileNotFoundError):
                    obstore.get(self.store, self.key)  # the same question; its answer has a body that says why
                raise
        return {**found.meta, "attributes": found.attributes}

    def stat(self, **_: Any) -> os.stat_result:
        size = self.head()["size"] if self._size is None else self._size
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, size, 0, 0, 0))

    def iterdir(self) -> Generator[Self, None, None]:
        with asking(self):
            import obstore

            found = obstore.list_with_delimiter(self.store, self.key or None)
        for prefix in found["common_prefixes"]:
            yield self._listed(prefix)
        for entry in found["objects"]:
            yield self._listed(entry["path"], entry)

    def glob(self, pattern: str, **_: Any) -> Iterator[Self]:  # type: ignore[override]
        """Yield what lies directly in this folder and fits."""
        if "/" in pattern or "**" in pattern:
            message = f"In an object store, a pattern is about the names in one folder; got {pattern!r}. Name the folder."
            raise RemoteError(Problem(str(self), "bad-pattern", message))
        yield from (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def rglob(self, pattern: str, **_: Any) -> Iterator[Self]:  # type: ignore[override]
        """Yield every object below this folder that fits; folders are only parts of names."""
        yield from (path for path in self.objects() if fnmatchcase(path.name, pattern))

    def objects(self) -> Iterator[Self]:
        """Yield every object below this folder, in order of keys, with its size."""
        with asking(self):
            import obstore

            for some in obstore.list(self.store, self.key or None, chunk_size=1000):
                for entry in some:
                    yield self._listed(entry["path"], entry)

    def _listed(self, key: str, entry: Mapping[str, Any] | None = None) -> Self:
        path = type(self)(*self.parts[:2], key)
        path._folder = entry is None
        if entry is not None:
            path._size, path._e_tag = entry["size"], entry["e_tag"]
        return path

    @property
    def version(self) -> str:
        """What the store calls the object's present bytes; other bytes are called otherwise."""
        about: Mapping[str, Any] = {"e_tag": self._e_tag, "size": self._size} if self._size is not None else self.head()
        return f"{about['e_tag']} {about['size']}"

    # ------------------------------------------------------------ what it holds

    def read_bytes(self) -> bytes:
        return b"".join(self.blocks())

    def read_text(self, encoding: str | None = None, errors: str | None = None, **_: Any) -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def blocks(self) -> Iterator[bytes]:
        """Yield an object's bytes in one request and bounded memory."""
        with asking(self):
            import obstore

            yield from map(bytes, obstore.get(self.store, self.key).stream(_BLOCK))

    def part(self, length: int, offset: int) -> bytes:
        """Return ``length`` bytes from ``offset``, or the last ones where it is negative; fewer where the object ends."""
        if not length:
            return b""
        wanted: Any = {"suffix": length} if offset < 0 else (offset, offset + length)
        with asking(self):
            import obstore

            return bytes(obstore.get(self.store, self.key, options={"range": wanted}).bytes())

    def parts_of(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return many pieces, given as (offset, length); near ones are fetched together, several at once."""
        starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
        with asking(self):
            import obstore

            return [bytes(piece) for piece in obstore.get_ranges(self.store, self.key, starts=starts, lengths=lengths)]

    def open(  # type: ignore[override]  # read only, so that none of the overloads for writing is there
        self, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> IO[Any]:
        if set(mode) - set("rbt"):
            self.__fspath__()
        raw = _Pieces(self)
        if "b" not in mode:
            return io.TextIOWrapper(io.BufferedReader(raw, _FIRST_PIECE), encoding or "utf-8", errors, newline)
        return cast("IO[Any]", raw if buffering == 0 else io.BufferedReader(raw, _FIRST_PIECE))


class _Pieces(io.RawIOBase):
    """An object as a file that can be sought in. Of what is read in order, ever larger pieces are fetched ahead.

    All pieces are of one version of the object: where it is replaced meanwhile, reading fails.
    """

    def __init__(self, path: ObjectPath) -> None:
        about: Mapping[str, Any] = {"size": path._size, "e_tag": path._e_tag} if path._size is not None else path.head()
        self._path, self._size, self._e_tag = path, about["size"], about["e_tag"]
        self._at, self._start, self._piece, self._ahead = 0, 0, b"", _FIRST_PIECE
        self.name = str(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if self._at >= self._size or not len(view):
            return 0
        if not self._start <= self._at < self._start + len(self._piece):
            self._fetch(len(view))
        inside = self._at - self._start
        count = min(len(view), len(self._piece) - inside)
        view[:count] = self._piece[inside : inside + count]
        self._at += count
        return count

    def _fetch(self, wanted: int) -> None:
        in_order = self._at == self._start + len(self._piece) and self._piece
        self._ahead = min(2 * self._ahead, _LARGEST_PIECE) if in_order else _FIRST_PIECE
        stop = min(self._size, self._at + max(wanted, self._ahead))
        options: Any = {"range": (self._at, stop)} | ({"if_match": self._e_tag} if self._e_tag else {})
        with asking(self._path):
            import obstore

            answer = obstore.get(self._path.store, self._path.key, options=options)
            self._piece, self._e_tag = bytes(answer.bytes()), answer.meta["e_tag"]
        self._start = self._at
        if len(self._piece) != stop - self._at:
            raise lost(str(self._path), f"{len(self._piece)} of {stop - self._at} bytes came")
