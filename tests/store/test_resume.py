"""What an interrupted writer leaves is used, and never trusted more than it deserves."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import files_of, image_of

from sciimg.errors import InputError
from sciimg.io.image import Image
from sciimg.store import Volume, layout, stream, volume, write_volume

SHAPE = (2, 24, 21, 18)
PIXELS = np.random.default_rng(4).integers(1, 5000, SHAPE).astype(np.uint16)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of a few thousand pixels has many slabs and shards, and counts as a large one."""
    monkeypatch.setattr(layout, "SLAB_BYTES", 4096)
    monkeypatch.setattr(layout, "_ONE_CHUNK_BYTES", 64)
    monkeypatch.setattr(layout, "_ONE_SHARD_BYTES", 128)
    monkeypatch.setattr(layout, "_LARGEST_LEVEL", {2: 4, 3: 4})
    monkeypatch.setattr(layout, "_SHARD_EDGE", {2: 16, 3: 16})
    monkeypatch.setattr(layout, "_SHARD_BYTES", 0)
    monkeypatch.setattr(layout, "_chunk_edges", lambda axes, shape, dims: {"z": 4, "y": 8, "x": 8})
    monkeypatch.setattr(volume, "THREADED_BYTES", 0)
    monkeypatch.setattr(stream, "THREADED_BYTES", 0)


class Breaking:
    """Gives pixels and counts how often; fails where it is told to."""

    def __init__(self, pixels: Any, after: int | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.pixels, self.after, self.error = pixels, after, error
        self.reads = np.zeros(pixels.shape, int)
        self.calls = 0

    def __call__(self, box: tuple[slice, ...]) -> Any:
        self.calls += 1
        if self.after is not None and self.calls > self.after:
            raise self.error
        self.reads[box] += 1
        return self.pixels[box]

    def image(self, digest: str = "sha256:" + "1" * 64) -> Image:
        plain = image_of(self.pixels, "czyx")
        known = {"axes": "czyx", "shape": SHAPE, "dtype": self.pixels.dtype, "spacing": plain.spacing, "channels": plain.channels}
        return Image(load=self, source="test", hash=lambda: digest, **known)


def interrupted(folder: Path, after: int = 7) -> Breaking:
    source = Breaking(PIXELS, after)
    with pytest.raises(KeyboardInterrupt):
        write_volume(folder / "a.zarr", source.image(), attributes={})
    assert not (folder / "a.zarr").exists()
    return source


def undisturbed(folder: Path) -> dict[str, bytes]:
    write_volume(folder / "straight" / "a.zarr", image_of(PIXELS, "czyx"), attributes={})
    return files_of(folder / "straight" / "a.zarr")


def test_finished_shards_are_neither_read_from_the_source_again_nor_written(tmp_path: Path) -> None:
    first = interrupted(tmp_path)
    partial = tmp_path / ".a.zarr.partial"
    before = {p: p.stat().st_ino for p in partial.glob("*/c/**/*") if p.is_file()}
    second = Breaking(PIXELS)
    write_volume(tmp_path / "a.zarr", second.image(), attributes={})
    assert first.calls > 3
    assert ((first.reads + second.reads) == 1).all()
    now = {tmp_path / "a.zarr" / p.relative_to(partial): inode for p, inode in before.items()}
    assert now and all(p.stat().st_ino == inode for p, inode in now.items())
    assert files_of(tmp_path / "a.zarr") == undisturbed(tmp_path)
    assert not partial.exists()


def test_labels_are_written_again(tmp_path: Path) -> None:
    interrupted(tmp_path)
    labels = PIXELS[0].astype(np.int32)
    write_volume(tmp_path / "a.zarr", Breaking(PIXELS).image(), labels=labels, label_kind="instances", attributes={})
    assert np.array_equal(Volume(tmp_path / "a.zarr").read_labels(), labels)


@pytest.mark.parametrize("how", ["another source", "other spacing", "no mark"])
def test_what_was_left_of_something_else_is_not_used(tmp_path: Path, how: str) -> None:
    interrupted(tmp_path)
    source = Breaking(PIXELS + 1)
    image = source.image("sha256:" + ("2" if how == "another source" else "1") * 64)
    if how == "other spacing":
        object.__setattr__(image, "spacing", image_of(PIXELS, "czyx", (2.0, 1.0, 1.0)).spacing)
    elif how == "no mark":
        (tmp_path / ".a.zarr.partial/.begun").unlink()
    write_volume(tmp_path / "a.zarr", image, attributes={})
    assert (source.reads == 1).all()
    assert np.array_equal(Volume(tmp_path / "a.zarr").read(), PIXELS + 1)


def test_a_shard_damaged_by_a_power_cut_is_written_again(tmp_path: Path) -> None:
    interrupted(tmp_path)
    shard = next(p for p in sorted((tmp_path / ".a.zarr.partial/0/c").rglob("*")) if p.is_file())
    shard.write_bytes(bytes(shard.stat().st_size))
    write_volume(tmp_path / "a.zarr", Breaking(PIXELS).image(), attributes={})
    assert files_of(tmp_path / "a.zarr") == undisturbed(tmp_path)


def test_nothing_of_a_killed_write_becomes_part_of_the_image(tmp_path: Path) -> None:
    interrupted(tmp_path)
    (tmp_path / ".a.zarr.partial" / ".zarr.json.123.partial").write_bytes(b"{")
    write_volume(tmp_path / "a.zarr", Breaking(PIXELS).image(), attributes={})
    assert files_of(tmp_path / "a.zarr") == undisturbed(tmp_path)


def test_nothing_is_left_of_an_image_that_turns_out_to_be_bad(tmp_path: Path) -> None:
    class Bad(InputError):
        def __init__(self) -> None:
            from sciimg.errors import Problem

            super().__init__(Problem("a", "truncated", "Get a fresh copy."))

    with pytest.raises(InputError):
        write_volume(tmp_path / "a.zarr", Breaking(PIXELS, 4, Bad).image(), attributes={})
    assert not any(tmp_path.iterdir())


class Filling(Breaking):
    """Gives pixels into memory of the caller."""

    def fill(self, box: tuple[slice, ...], out: Any) -> None:
        self.reads[box] += 1
        out[...] = self.pixels[box]


@pytest.mark.parametrize("kind", [Breaking, Filling])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_does_not_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, kind: type[Breaking]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from sciimg.store import shards

    expected = undisturbed(tmp_path)
    monkeypatch.setattr(shards, "THREADED_BYTES", 0)
    monkeypatch.setattr(stream, "_PIECE_BYTES", 1)
    with ThreadPoolExecutor(threads) as pool:
        monkeypatch.setattr(shards, "threads", lambda: pool)
        source = kind(PIXELS)
        assert source.image().parallel == (kind is Filling)
        write_volume(tmp_path / "a.zarr", source.image(), attributes={})
    assert (source.reads == 1).all()
    assert files_of(tmp_path / "a.zarr") == expected


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from sciimg.io.image import Image
from sciimg.store import write_volume
from stores import image_of
pixels = np.arange(256 * 192 * 192, dtype=np.uint32).reshape(256, 192, 192)
def load(box):
    if box[0].start >= int(sys.argv[2]):
        print("there", flush=True)
        time.sleep(60)
    return pixels[box]
plain = image_of(pixels, "zyx")
image = Image(load=load, axes="zyx", shape=pixels.shape, dtype=pixels.dtype, spacing=plain.spacing, channels=plain.channels,
    source="test", hash=lambda: "sha256:" + "3" * 64)
write_volume(Path(sys.argv[1]), image, attributes={})
"""


def test_a_killed_writer_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    support = Path(__file__).parents[1] / "support"
    paths = os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a.zarr"), "128"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGKILL)
    pixels = np.arange(256 * 192 * 192, dtype=np.uint32).reshape(256, 192, 192)
    plain, starts = image_of(pixels, "zyx"), []

    def load(box: tuple[slice, ...]) -> Any:
        starts.append(box[0].start)
        return pixels[box]

    known = {"axes": "zyx", "shape": pixels.shape, "dtype": pixels.dtype, "spacing": plain.spacing, "channels": plain.channels}
    write_volume(tmp_path / "a.zarr", Image(load=load, source="test", hash=lambda: "sha256:" + "3" * 64, **known), attributes={})
    assert starts == [128, 192]
    assert np.array_equal(Volume(tmp_path / "a.zarr").read(), pixels)
