"""A watched folder: what is new and whole is taken once, whatever it is called and however it arrives."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.stages.watch import done_with, take_new
from sciimg.store import Collection

MICRON = {"spacing": "0.5", "unit": "micrometer"}
ODD = [
    "plain.tif",
    "with space & [brackets] *.tif",
    "ümläut-名前.tif",
    "new\nline.tif",
    "-rf.tif",
    "~home.tif",
    os.fsdecode(b"not-utf8-\xff.tif"),
]


def image(seed: int) -> bytes:
    import io

    stream = io.BytesIO()
    tifffile.imwrite(stream, np.random.default_rng(seed).integers(0, 4000, (24, 24), dtype=np.uint16))
    return stream.getvalue()


def take(folder: Path, between: Callable[[], object] = lambda: None, **options: object) -> dict[str, object]:
    """Look twice; ``between`` happens between the two looks."""
    about: dict[str, object] = {"settle_s": 1, **MICRON, **options}
    return take_new(str(folder / "in"), str(folder / "c"), sleep=lambda s: between(), **about)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


def test_odd_names_are_taken_once_and_nowhere_written_down(folder: Path) -> None:
    for number, name in enumerate(ODD):
        (folder / "in" / name).write_bytes(image(number))
    value = take(folder)
    assert len(value["new"]) == len(ODD) == value["images"] and value["waiting"] == 0 and value["due"]
    digest = Collection(folder / "c").digest
    again = take(folder, between=lambda: pytest.fail("there is nothing new to wait for"))
    assert (again["new"], again["images"], Collection(folder / "c").digest) == ([], len(ODD), digest)
    memory = (folder / "c.watched.json").read_text()
    assert "plain" not in memory and "tif" not in memory
    assert (folder / "c.watched.json").stat().st_mode & 0o077 == 0


def test_memory_may_be_lost(folder: Path) -> None:
    (folder / "in/a.tif").write_bytes(image(1))
    take(folder)
    (folder / "c.watched.json").unlink()
    assert take(folder)["new"] == []
    assert len(Collection(folder / "c")) == 1


def test_a_file_that_grows_between_the_looks_waits(folder: Path) -> None:
    data, place = image(1), folder / "in/a.tif"
    place.write_bytes(data[:300])
    (folder / "in/b.tif").write_bytes(image(2))
    first = take(folder, between=lambda: place.write_bytes(data))
    assert (len(first["new"]), first["waiting"]) == (1, 1)
    second = take(folder)
    assert (len(second["new"]), second["waiting"], second["images"]) == (1, 0, 2)


def test_a_copy_that_stalled_is_left_out_and_taken_when_it_is_whole(folder: Path) -> None:
    data, place = image(1), folder / "in/a.tif"
    place.write_bytes(data[:300])
    first = take(folder)
    assert first["new"] == [] and first["left_out"]
    assert take(folder)["left_out"] == {}  # it is not read again before it changes
    place.write_bytes(data)
    assert len(take(folder)["new"]) == 1


def test_a_file_changed_in_place_under_the_same_size_and_time_waits(folder: Path) -> None:
    place, about = folder / "in/a.tif", {}
    place.write_bytes(image(1))
    about = place.stat()

    def overwrite() -> None:
        time.sleep(0.02)
        place.write_bytes(image(2))
        os.utime(place, ns=(about.st_atime_ns, about.st_mtime_ns))

    assert take(folder, between=overwrite)["waiting"] == 1


def test_a_marker_says_when_an_image_is_whole(folder: Path) -> None:
    (folder / "in/a.tif").write_bytes(image(1))
    assert take(folder, marker=".done", settle_s=0)["waiting"] == 1
    (folder / "in/a.tif.done").touch()
    value = take(folder, marker=".done", settle_s=0)
    assert (len(value["new"]), value["waiting"], value["left_out"]) == (1, 0, {})


def test_images_and_labels_come_together(folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / "in" / name).mkdir()
    (folder / "in/images/a.tif").write_bytes(image(1))
    (folder / "in/images/b.tif").write_bytes(image(2))
    tifffile.imwrite(folder / "in/masks/b.tif", np.eye(24, dtype=np.uint8))
    tifffile.imwrite(folder / "in/masks/c.tif", np.eye(24, dtype=np.uint8))
    value = take(folder)
    assert (len(value["new"]), value["waiting"]) == (1, 2)
    assert Collection(folder / "c").catalogue["label_kind"].tolist() == ["instances"]


def test_another_spacing_takes_what_was_refused(folder: Path) -> None:
    (folder / "in/a.tif").write_bytes(image(1))
    assert take(folder, spacing="", unit="")["left_out"] == {"unknown-spacing": 1}
    assert len(take(folder)["new"]) == 1


def test_due_until_it_was_worked_with(folder: Path) -> None:
    done_with(folder / "c")
    assert not take(folder)["due"]
    (folder / "in/a.tif").write_bytes(image(1))
    assert take(folder)["due"] and take(folder)["due"]
    done_with(folder / "c")
    assert not take(folder)["due"]


def test_every_parameter_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        take_new(str(tmp_path / "none"), str(tmp_path / "c"), settle_s=-1, marker="a/b", spacing="x", label_kind="dots")
    assert [p.where for p in error.value.problems] == ["folder", "settle_s", "label_kind", "marker", "spacing"]
    with pytest.raises(InputError, match="outside the folder"):
        take_new(str(tmp_path), str(tmp_path / "c"))
    assert not list(tmp_path.iterdir())
