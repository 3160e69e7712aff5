"""Locks of files: who holds one is said; one whose holder is gone is free; where they do not reach other machines is known. And remains."""

import errno
import fcntl
from pathlib import Path
from uuid import uuid4

import pytest

from sciimg.errors import BusyError, StorageError
from sciimg.files import hold, sweep, unshared_locks

MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:50 / /home rw,relatime shared:2 - nfs4 server:/home rw,vers=4.2,local_lock=none
41 22 0:51 / /old rw,relatime shared:3 - nfs server:/old rw,vers=3,nolock,local_lock=all
42 22 0:52 / /scratch rw,localflock shared:4 - lustre mds:/scratch rw,localflock
43 22 0:53 / /scratch/safe\\040place rw,flock shared:5 - lustre mds:/safe rw,flock
"""


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/home/ada/runs", None),
        ("/tmp/runs", None),
        ("/old/runs", "nolock"),
        ("/scratch/runs", "localflock"),
        ("/scratch/safe place/runs", None),
    ],
)
def test_where_locks_do_not_reach_other_machines(path: str, word: str | None) -> None:
    said = unshared_locks(Path(path), MOUNTS)
    assert said is None if word is None else said is not None and word in said


def test_the_lock_of_a_holder_that_is_gone_is_free(tmp_path: Path) -> None:
    (tmp_path / ".run.lock").write_text("process 4194305 on a machine that lost its power")
    with hold(tmp_path / ".run.lock", patience_s=0):
        assert "4194305" not in (tmp_path / ".run.lock").read_text()


def test_who_holds_a_lock_is_said(tmp_path: Path) -> None:
    with (
        hold(tmp_path / "a.lock"),
        pytest.raises(BusyError, match=r"process \d+ on .* holds a\.lock"),
        hold(tmp_path / "a.lock", patience_s=0),
    ):
        pass


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuses)
    with pytest.raises(StorageError, match="must keep locks"), hold(tmp_path / "a.lock"):
        pass


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    left = [".a.json.123.partial", "inner/.zarr.json.9.partial", f"inner/zarr.{uuid4().hex}.partial", "inner/0-1.1a2b3c4d.partial"]
    kept = ["scan.partial", ".scan.tif.partial", "scan.12.partial", ".12.partial", "inner/x.123.partial"]  # names that people give
    for name in [*left, *kept]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".folder.123.partial").mkdir()
    sweep(tmp_path, deep=False)
    assert not (tmp_path / left[0]).exists() and all((tmp_path / name).exists() for name in left[1:])
    sweep(tmp_path)
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.partial")} == {*kept, ".folder.123.partial"}
