"""Places in object stores, ``s3://bucket/key`` and ``gs://bucket/key``, that are read through the methods of a path.

Code that reads through ``open``, ``read_bytes``, ``iterdir``, ``glob``, ``stat`` and :func:`sciimg.files.read_part` reads objects as well
as files. Code that needs a file of this machine (``os``, ``mmap``, a library) asks a path for its name there, and an object has none: it is
refused in one sentence, and so is whatever would write. Only :mod:`sciimg.stages.copy` writes.

Endpoint, region and credentials come from the environment and, for S3, from the shared credentials file. A metadata server of a cloud is
asked only where the environment says so. No credential and no answer of a server is ever put into a message: an answer may quote the key.
"""

import atexit
import configparser
import datetime
import functools
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from typing import IO, Any, NoReturn, Self, cast
from urllib.parse import urlsplit

from sciimg.errors import MissingExtraError, Problem, RemoteError, StorageError

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
        return _store(self.parts[0][:-1], self.bucket)

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
            raise lost(self._path, f"{len(self._piece)} of {stop - self._at} bytes came")


# ---------------------------------------------------------------- asking a store


@contextmanager
def asking(path: ObjectPath) -> Iterator[None]:
    """Turn what a store answers into one sentence that says what to do.

    Raises
    ------
    FileNotFoundError
        Where there is no such object.
    RemoteError
        Kinds ``no-bucket``, ``no-permission``, ``no-credentials``, ``other-region``, ``changed``, ``object-store``: nothing comes of it.
    StorageError
        Kind ``connection-lost``: the same command may go on later.
    MissingExtraError
        Without obstore.
    """
    try:
        yield
    except ImportError:
        message = "Places in object stores need the extra 'cloud'. Run `pip install 'sciimg[cloud]'`."
        raise MissingExtraError(Problem(str(path), "missing-extra", message)) from None
    except Exception as error:
        if not is_answer(error) and not isinstance(error, FileNotFoundError):
            raise
        raise answered(path, error) from None  # the original may quote what was sent


def is_answer(error: Exception) -> bool:
    """Whether an error is what an object store answered, or that it did not."""
    return type(error).__module__.partition(".")[0] == "obstore"


def answered(where: str | Path, error: Exception) -> Exception:
    """Return the error for an answer; of the answer itself only its code is passed on."""
    path = where if isinstance(where, ObjectPath) else ObjectPath(where)
    text = str(error)
    status = int(found[1]) if (found := re.search(r"status code: (\d{3})", text)) else 0
    code = found[1] if (found := re.search(r"<Code>(\w+)</Code>", text)) else ""
    kind = type(error).__name__
    if code == "NoSuchBucket" or (status == 404 and not isinstance(error, FileNotFoundError)):
        message = (
            f"The bucket {path.bucket!r} must exist{_at(path)}; there is none of this name. Check the name, the endpoint and the region."
        )
        return RemoteError(Problem(str(path), "no-bucket", message))
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(2, "there is no such object", str(path))
    if (
        status in (301, 307)
        or "redirect without LOCATION" in text
        or code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
    ):
        message = "The bucket lies in another region than the one asked. Set AWS_REGION to the region of the bucket."
        return RemoteError(Problem(str(path), "other-region", message))
    if status in (401, 403) or kind in ("PermissionDeniedError", "UnauthenticatedError") or code in ("ExpiredToken", "InvalidAccessKeyId"):
        message = (
            f"The credentials must allow this{_at(path)}; the store refuses ({code or status or kind}). Check which ones the environment "
            "holds, and that they may list, read and, to copy there, write; without the right to list, what is missing looks forbidden too."
        )
        return RemoteError(Problem(str(path), "no-permission", message))
    if kind in ("AlreadyExistsError", "PreconditionError", "NotModifiedError") or status in (409, 412):
        return ConflictError(Problem(str(path), "changed", "The object was replaced while it was worked with. Run the same command again."))
    if status == 501 or kind in ("NotImplementedError", "NotSupportedError"):
        message = (
            f"The store must know conditional writes{_at(path)}, which keep two writers apart; it refuses ({code or status}). Use another."
        )
        return RemoteError(Problem(str(path), "object-store", message))
    if 400 <= status < 500 and status not in (408, 429):
        return RemoteError(
            Problem(
                str(path), "object-store", f"The store does not understand the request{_at(path)}: {code or status}. Check the endpoint."
            )
        )
    return lost(path, code or (f"status {status}" if status else "no answer"))


class ConflictError(RemoteError):
    """A condition of a write does not hold: somebody else was there before."""


def lost(path: ObjectPath, why: str) -> StorageError:
    """Return the error for a connection that failed, or broke in the middle."""
    message = (
        f"The object store must answer{_at(path)}; it does not, or not to the end ({why}). Check the network and the endpoint "
        "(AWS_ENDPOINT_URL, STORAGE_EMULATOR_HOST), then run the same command: it goes on."
    )
    return StorageError(Problem(str(path), "connection-lost", message))


def _at(path: ObjectPath) -> str:
    """Return which endpoint is asked, where the environment names one, without whatever else stands in its URL."""
    parts = urlsplit((_endpoint() if path.parts[0] == "s3:" else _emulator()) or "")
    return f" at {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else ""


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _emulator() -> str | None:
    """Return the server that stands for Google Cloud Storage, as the environment of Google's own programs names it."""
    said = os.environ.get("STORAGE_EMULATOR_HOST")
    return said if not said or "//" in said else f"http://{said}"


@functools.cache
def _store(scheme: str, bucket: str) -> Any:
    """Return a bucket with what the environment says of it; never a metadata server unless it says so."""
    from obstore.store import GCSStore, S3Store

    second = datetime.timedelta(seconds=1)
    retry: Any = {"max_retries": 4, "retry_timeout": 60 * second}
    client: Any = {"connect_timeout": 5 * second, "read_timeout": 60 * second, "timeout": 3600 * second}
    if scheme == "s3":
        endpoint = _endpoint()
        more: Any = ({"endpoint": endpoint} if endpoint else {}) | _s3_credentials(bucket)
        client["allow_http"] = (endpoint or "").startswith("http://")
        return S3Store(bucket, client_options=client, retry_config=retry, **more)
    if url := _emulator():
        nobody = {"gcs_base_url": url.rstrip("/"), "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        client["allow_http"] = url.startswith("http://")
        return GCSStore(bucket, service_account_key=json.dumps(nobody), skip_signature=True, client_options=client, retry_config=retry)
    _need_gs_credentials(bucket)
    return GCSStore(bucket, client_options=client, retry_config=retry)


os.register_at_fork(after_in_child=_store.cache_clear)


def _s3_credentials(bucket: str) -> dict[str, Any]:
    """Return what the shared credentials file holds where the environment itself has no credentials, which obstore reads.

    Raises
    ------
    RemoteError
        Kind ``no-credentials``, at once and before anything is asked.
    """
    env = os.environ.get
    if (env("AWS_ACCESS_KEY_ID") and env("AWS_SECRET_ACCESS_KEY")) or env("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
        return {}
    if any(name.startswith(("AWS_CONTAINER_CREDENTIALS_", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_METADATA_ENDPOINT")) for name in os.environ):
        return {}
    if env("AWS_EC2_METADATA_DISABLED", "").lower() == "false":
        return {}
    file = Path(env("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    profile = env("AWS_PROFILE") or "default"
    found = configparser.RawConfigParser()
    try:
        found.read(file)
        own = dict(found[profile]) if profile in found else {}
    except (configparser.Error, OSError, UnicodeDecodeError):  # its text is not to be quoted
        own = {}
    if "aws_access_key_id" in own and "aws_secret_access_key" in own:
        taken = {"access_key_id": own["aws_access_key_id"], "secret_access_key": own["aws_secret_access_key"]}
        return taken | ({"session_token": own["aws_session_token"]} if "aws_session_token" in own else {})
    message = (
        f"Credentials for S3 come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from the profile {profile!r} in {file}; there are "
        "none. Set them; AWS_SKIP_SIGNATURE=true reads a public bucket, AWS_EC2_METADATA_DISABLED=false takes the role of a machine of "
        "that cloud."
    )
    raise RemoteError(Problem(f"s3://{bucket}", "no-credentials", message))


_GS_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY")


def _need_gs_credentials(bucket: str) -> None:
    usual = Path("~/.config/gcloud/application_default_credentials.json").expanduser()
    anonymous = os.environ.get("GOOGLE_SKIP_SIGNATURE", "").lower() in ("true", "1")
    if anonymous or any(os.environ.get(v) for v in (*_GS_VARIABLES, "GCE_METADATA_HOST")) or usual.exists():
        return
    message = (
        "Credentials for Google Cloud Storage come from the file that GOOGLE_APPLICATION_CREDENTIALS names; there are none. Set it; "
        "GOOGLE_SKIP_SIGNATURE=true reads a public bucket, GCE_METADATA_HOST=metadata.google.internal takes the account of a machine of "
        "that cloud."
    )
    raise RemoteError(Problem(f"gs://{bucket}", "no-credentials", message))


def zarr_place(path: Path) -> Any:
    """Return what zarr-python opens: the path itself, or Zarr's own store for a folder of objects."""
    if not isinstance(path, ObjectPath):
        return path
    from zarr.storage import ObjectStore, StorePath

    with asking(path):
        return StorePath(ObjectStore(path.store, read_only=True), path.key)


# ---------------------------------------------------------------- files for those who need files


@functools.cache
def _workplace() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sciimg-objects-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def brought(path: ObjectPath, only: Sequence[ObjectPath] | None = None) -> Path:
    """Return an object, or all below a prefix, in a folder of this machine that is removed when the process ends.

    Each object, or each of ``only`` some, is fetched once a process; whoever needs a file for a library or a memory map takes it from here.

    Raises
    ------
    StorageError
        Kind ``disk-full``, before anything is fetched, where the temporary folder has no room for it.
    """
    place = _workplace() / path.parts[0][:-1] / Path(*path.parts[1:])
    found = only if only is not None else [path] if path.is_file() else list(path.objects())
    missing = [o for o in found if not (_workplace() / o.parts[0][:-1] / Path(*o.parts[1:])).exists()]
    needed, free = sum(o.stat().st_size for o in missing), shutil.disk_usage(_workplace()).free
    if needed > free:
        message = (
            f"Files of these formats are read from a temporary folder, which needs {needed / 1e9:.1f} GB; {_workplace().parent} has "
            f"{free / 1e9:.1f} GB. Set TMPDIR to a larger disk, or ingest prefix after prefix into one collection."
        )
        raise StorageError(Problem(str(path), "disk-full", message))

    def fetch(one: ObjectPath) -> None:
        target = _workplace() / one.parts[0][:-1] / Path(*one.parts[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("wb") as stream:
            stream.writelines(one.blocks())
        partial.rename(target)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fetch, missing))
    return place


def uri_of(path: Path) -> str | None:
    """Return where a file that was :func:`brought` came from; None for all others."""
    if not _workplace.cache_info().currsize or not path.is_relative_to(_workplace()):
        return None
    scheme, *inside = path.relative_to(_workplace()).parts
    return f"{scheme}://{'/'.join(inside)}"
