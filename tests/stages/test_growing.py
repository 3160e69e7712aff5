"""Ingest into a collection that is there already, that another process writes, or on a disk that fills up."""

import errno
import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from stores import files_of

from sciimg.errors import InputError, StorageError
from sciimg.io.labels import PIXELS
from sciimg.stages import ingest
from sciimg.stages.info import describe, rebuild, verify
from sciimg.stages.progress import Progress
from sciimg.store import Collection, CollectionWriter, shards

ingest_files = partial(ingest.ingest_files, keep_names=True)


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.random.default_rng(seed).integers(0, 255, (20, 30)).astype(np.uint8)))
    return path


def ids(path: Path) -> list[str]:
    return list(Collection(path).catalogue["id"])


def test_the_same_content_adds_nothing_whatever_its_name(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png", 1)
    first = ingest_files([tmp_path / "in"], tmp_path / "c", spacing=PIXELS)
    before = files_of(tmp_path / "c")
    assert ingest_files([tmp_path / "in"], tmp_path / "c", spacing=PIXELS) == first
    picture(tmp_path / "in/copy.png", 1)
    ingest_files([tmp_path / "in"], tmp_path / "c", spacing=PIXELS)
    assert files_of(tmp_path / "c") == before


def test_new_files_are_added_and_equal_names_stay_apart(tmp_path: Path) -> None:
    picture(tmp_path / "x/a.png", 1)
    ingest_files([tmp_path / "x"], tmp_path / "c", spacing=PIXELS)
    picture(tmp_path / "y/a.png", 2)
    picture(tmp_path / "y/b.png", 3)
    (tmp_path / "y/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    ingest_files([tmp_path / "y"], tmp_path / "c", spacing=PIXELS)
    found = ids(tmp_path / "c")
    assert found[0] == "a" and found[1].startswith("a-") and found[2] == "b" and len(found) == 3
    assert Collection(tmp_path / "c").verify() == []
    assert [Path(r["source"]).name for r in Collection(tmp_path / "c").rejected] == ["bad.png"]
    assert json.loads((tmp_path / "c/collection.json").read_bytes())["images"] == 3


def test_stop_removes_what_it_added_and_nothing_else(tmp_path: Path) -> None:
    ingest_files([picture(tmp_path / "a.png", 1)], tmp_path / "c", spacing=PIXELS)
    before = files_of(tmp_path / "c")
    picture(tmp_path / "y/b.png", 3)
    (tmp_path / "y/z.png").write_bytes(b"")
    with pytest.raises(InputError, match="empty-file"):
        ingest_files([tmp_path / "y"], tmp_path / "c", spacing=PIXELS, on_error="stop")
    assert files_of(tmp_path / "c") == before


def test_a_collection_of_synthetic_images_is_not_extended(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=True):
        pass
    with pytest.raises(InputError, match="exists"):
        ingest_files([picture(tmp_path / "a.png", 1)], tmp_path / "c", spacing=PIXELS)


def test_an_image_that_a_killed_process_added_is_found_again(tmp_path: Path) -> None:
    ingest_files([picture(tmp_path / "a.png", 1)], tmp_path / "c", spacing=PIXELS)
    old = (tmp_path / "c/catalogue.parquet").read_bytes()
    ingest_files([picture(tmp_path / "b.png", 2)], tmp_path / "c", spacing=PIXELS)
    (tmp_path / "c/catalogue.parquet").write_bytes(old)  # killed between the image and the catalogue
    ingest_files([tmp_path / "b.png"], tmp_path / "c", spacing=PIXELS)
    assert ids(tmp_path / "c") == ["a", "b"]


INGEST = """
import sys
from pathlib import Path
from sciimg.io.labels import PIXELS
from sciimg.stages.ingest import ingest_files
ingest_files([Path(sys.argv[1])], Path(sys.argv[2]), spacing=PIXELS, keep_names=True)
"""


def test_processes_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    for folder in range(3):
        for number in range(10):
            picture(tmp_path / f"in{folder}/f{folder}-{number}.png", 10 * folder + number)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    commands = [[sys.executable, "-c", INGEST, str(tmp_path / f"in{n}"), str(tmp_path / "c")] for n in range(3)]
    running = [subprocess.Popen(c, env=environment, stderr=subprocess.PIPE) for c in commands]
    assert [(p.communicate()[1] and 0, p.returncode)[1] for p in running] == [0, 0, 0]
    assert ids(tmp_path / "c") == sorted(f"f{f}-{n}" for f in range(3) for n in range(10))
    assert Collection(tmp_path / "c").verify() == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "in0", "in1", "in2"]


@pytest.mark.parametrize("room", [0, 1, 3])
def test_a_full_disk_stops_with_one_message_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    for number in range(4):
        picture(tmp_path / f"in/{number}.png", number)
    real, written = shards._write_new, []

    def full(file: Path, pieces: Any, *, beside: bool) -> None:
        if len(written) == room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(file)
        real(file, pieces, beside=beside)

    monkeypatch.setattr(shards, "_write_new", full)
    with pytest.raises(StorageError, match="disk-full") as error:
        ingest_files([tmp_path / "in"], tmp_path / "c", spacing=PIXELS)
    assert len(error.value.problems) == 1 and not (tmp_path / "c").exists()
    monkeypatch.setattr(shards, "_write_new", real)
    kept = {p.name: p.stat().st_ino for p in (tmp_path / ".c.partial/images").glob("*.zarr")}
    assert len(kept) == room
    ingest_files([tmp_path / "in"], tmp_path / "c", spacing=PIXELS)
    assert {p.name: p.stat().st_ino for p in (tmp_path / "c/images").iterdir()}.items() >= kept.items()
    ingest_files([tmp_path / "in"], tmp_path / "straight", spacing=PIXELS)
    assert files_of(tmp_path / "c") == files_of(tmp_path / "straight")


def test_other_settings_do_not_take_over_what_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciimg.types import Spacing

    picture(tmp_path / "in/0.png", 0)
    real = CollectionWriter._finish
    monkeypatch.setattr(CollectionWriter, "_finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ingest_files([tmp_path / "in"], tmp_path / "c", spacing=PIXELS)
    monkeypatch.setattr(CollectionWriter, "_finish", real)
    ingest_files([tmp_path / "in"], tmp_path / "c", spacing=Spacing((0.5, 0.5), "micrometer"))
    assert list(Collection(tmp_path / "c").catalogue["unit"]) == ["micrometer"]


def test_verify_reads_everything_again_and_the_catalogue_can_be_made_anew(tmp_path: Path) -> None:
    ingest_files([picture(tmp_path / "a.png", 1)], tmp_path / "c", spacing=PIXELS)
    assert verify(tmp_path / "c") == [] and verify(tmp_path / "c/images/a.zarr") == []
    catalogue = (tmp_path / "c/catalogue.parquet").read_bytes()
    (tmp_path / "c/catalogue.parquet").write_bytes(b"")
    rebuild(tmp_path / "c")
    assert (tmp_path / "c/catalogue.parquet").read_bytes() == catalogue
    ingest_files([picture(tmp_path / "b.png", 2)], tmp_path / "d", spacing=PIXELS)
    (tmp_path / "c/images/a.zarr/0/c/0/0").write_bytes((tmp_path / "d/images/b.zarr/0/c/0/0").read_bytes())
    assert [p.kind for p in verify(tmp_path / "c")] == ["changed"] == [p.kind for p in verify(tmp_path / "c/images/a.zarr")]
    assert describe(tmp_path / "c")["images"] == 1
    with pytest.raises(InputError, match="no-digest"):
        verify(tmp_path / "a.png")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_tells_share_speed_and_time_left() -> None:
    bar = Progress([100, 300], stream=Terminal())
    bar.begin(0, 10)
    bar.end(0)
    bar.begin(1, 40_000_000)
    bar.add(20_000_000)
    assert bar.line(bar._begun + 5.0) == "2/2  62%  4 MB/s  0:03 left"
    assert bar.line(bar._begun + 7200.0).endswith("1:12:00 left")


def test_progress_is_for_terminals() -> None:
    for stream, speaks in ((Terminal(), True), (io.StringIO(), False)):
        bar = Progress([1], stream=stream)
        bar._shown -= 10
        bar.begin(0, 10)
        bar.add(5)
        bar.close()
        assert ("MB/s" in stream.getvalue()) == speaks
