"""Bytes that leave are written beside their place and renamed into it, so that a reader never meets half a file."""

import errno
import fcntl
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from sciimg.errors import BusyError, Problem, StorageError
from sciimg.objects import ObjectPath
from sciimg.records import pretty_json


def read_plain(path: Path) -> bytes:
    """Return the bytes of a regular file, or an object, from a stranger.

    Raises
    ------
    OSError
        At once, where a link would be followed, a pipe waited for, or a device or folder read.
    """
    if isinstance(path, ObjectPath):
        return path.read_bytes()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with os.fdopen(handle, "rb") as stream:
        return stream.read()


def read_part(path: Path, length: int, offset: int) -> bytes:
    """Return ``length`` bytes of a file or object from ``offset``, the last ones where it is negative; fewer where it ends before.

    Raises
    ------
    OSError
        ``FileNotFoundError`` where there is none.
    """
    if isinstance(path, ObjectPath):
        return path.part(length, offset)
    with path.open("rb", buffering=0) as stream:
        start = offset if offset >= 0 else max(0, os.fstat(stream.fileno()).st_size - length)
        return os.pread(stream.fileno(), length, start)


def sync_directory(path: Path) -> None:
    """Make a rename inside ``path`` (or the bytes of a file) durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(folder: Path) -> None:
    """Make every file and folder below ``folder`` durable, so that a machine that loses power after a rename has lost nothing."""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            sync_directory(path)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole: temporary sibling, fsync, rename, fsync of the folder; ``mode`` as of :func:`os.open`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)


_LEFT = re.compile(r"\..+\.\d+\.partial|.+\.(?:[0-9a-f]{8}|[0-9a-f]{32})\.partial")  # of this module; of fusion's tiles, and of zarr
_WORKED_IN = re.compile(r"\..+\.(?:partial|field)")


def sweep(folder: Path, *, deep: bool = True, finished: bool = False) -> None:
    """Remove the siblings that killed processes left in a folder (``deep``: and below it), where nobody else is writing.

    Whoever takes over a half-made folder has to: its listing is what is digested, signed and released. Where all is ``finished``, folders
    that were worked in go too: a worker that was given up may have made them again.
    """
    for path in [*(folder.rglob if deep else folder.glob)(".*" if finished else "*.partial")]:
        if _LEFT.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
        elif finished and _WORKED_IN.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def still_wanted(folder: Path, patience_s: float = 30.0) -> Path:
    """Return a folder that others have made and will remove, for a process that writes there on their behalf.

    It is waited for: a network file system may show it late.

    Raises
    ------
    FileNotFoundError
        It is not there: what would be written is wanted no more.
    """
    deadline = time.monotonic() + patience_s
    while not folder.is_dir():
        if time.monotonic() > deadline:
            raise FileNotFoundError(errno.ENOENT, "nobody waits for what would be written there", str(folder))
        time.sleep(0.2)
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, in the form that gives equal bytes for equal values."""
    write_text(path, pretty_json(value))


def checksum(path: Path, patience_s: float = 30.0) -> str:
    """Return the CRC-32C of a file, or of the names and contents of all files below a folder: whether another process reads what one wrote.

    What is not there is waited for: a network file system may show it late.

    Raises
    ------
    FileNotFoundError
        It does not come.
    """
    import google_crc32c

    deadline = time.monotonic() + patience_s
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    found = 0
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        found = google_crc32c.extend(found, file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            while piece := stream.read(2**22):
                found = google_crc32c.extend(found, piece)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "it did not appear", str(path))
    return f"crc32c:{found:08x}"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that becomes ``path`` when the block ends without an error.

    Raises
    ------
    FileExistsError
        If ``path`` exists already; nothing is touched.
    """
    if path.exists():
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.replace(path)
    sync_directory(path.parent)


@contextmanager
def hold(path: Path, patience_s: float = 5.0, *, remove: bool = False) -> Iterator[None]:
    """Hold a lock file for the length of the block; the kernel releases it when the process ends, however it ends.

    Waits up to ``patience_s`` seconds, because the children of a killed run need a moment to notice that they are orphans.
    With ``remove``, the file is gone after the block.

    Raises
    ------
    BusyError
        Naming the process and machine that hold it.
    StorageError
        Kind ``no-locks``: the file system keeps none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    while not (stream := _locked(path)):
        if time.monotonic() > deadline:
            holder = path.read_text().strip() if path.exists() else ""
            message = f"One process at a time works here; {holder or 'another process'} holds {path.name}. Wait for it, or stop it."
            raise BusyError(Problem(str(path.parent), "busy", message))
        time.sleep(0.1)
    with stream:
        _sign(stream)
        try:
            yield
        finally:
            if remove:
                path.unlink(missing_ok=True)


def _locked(path: Path) -> TextIO | None:
    """Return the lock file, locked, or None while another process has it (or has just removed it)."""
    stream = path.open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
            return stream
    except BlockingIOError:
        pass
    except OSError as error:  # ENOSYS on Lustre, ENOLCK on NFS
        stream.close()
        message = f"The file system must keep locks (flock); it says: {error.strerror}. Mount it with them, or choose another place."
        raise StorageError(Problem(str(path.parent), "no-locks", message)) from error
    stream.close()
    return None


_LOCAL_LOCKS = {"nfs": ("nolock", "local_lock=all", "local_lock=flock"), "lustre": ("localflock",)}


def unshared_locks(path: Path, mounts: str | None = None) -> str | None:
    """Return why locks below ``path`` hold on this machine only, as far as its mount tells; None where nothing says so.

    Parameters
    ----------
    path : Path
        Need not exist yet.
    mounts : str, optional
        Text in the form of ``/proc/self/mountinfo`` (proc(5)); default: this process's.
    """
    source = Path("/proc/self/mountinfo")
    if mounts is None:
        mounts = source.read_text() if source.exists() else ""
    place, best, said = path.absolute(), Path(), None
    for line in mounts.splitlines():
        about, _, kind = line.partition(" - ")
        at = Path(about.split()[4].encode().decode("unicode_escape"))
        if place.is_relative_to(at) and len(at.parts) >= len(best.parts):
            system, *_, options = kind.split(" ")
            told = {*about.split()[5].split(","), *options.split(",")}
            bad = [word for word in _LOCAL_LOCKS.get(system.removesuffix("4"), ()) if word in told]
            best, said = (
                at,
                f"{at} ({system}) is mounted with {bad[0]}: locks hold on each machine for itself, so start a study from one."
                if bad
                else None,
            )
    return said


def _sign(stream: TextIO) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(f"process {os.getpid()} on {socket.gethostname()}")
    stream.flush()
