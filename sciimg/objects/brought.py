"""Objects as files of this machine, for those who need files: libraries and memory maps."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sciimg.errors import Problem, StorageError
from sciimg.objects.path import THREADS, ObjectPath


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
