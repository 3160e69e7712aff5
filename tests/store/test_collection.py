"""A collection is whole or absent, repeats byte for byte, and says so when it was changed."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stores import files_of, image_of

from sciimg.errors import BusyError, InputError, Problem
from sciimg.files import still_wanted
from sciimg.io.image import Image
from sciimg.records import Lineage
from sciimg.store import Collection, CollectionWriter, apart

STUDY = "sha256:" + "1" * 64
LINEAGE = Lineage(
    study=STUDY, model="sha256:" + "2" * 64, recipe="ldm", sampler="heun", steps=20, seed=1, index=3, condition={"dab-level": 0.1 + 0.2}
)


def pixels_of(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 4000, (2, 32, 32)).astype(np.uint16)


def fill(writer: CollectionWriter, count: int = 4) -> None:
    for i in range(count):
        if not writer.has(f"image-{i}"):
            labels = np.full((32, 32), i, np.int32)
            conditions = {"phenotype": "small" if i % 2 else "large", "level": i / 3}
            writer.add(
                f"image-{i}", image_of(pixels_of(i), "cyx"), group=f"g{i // 2}", conditions=conditions, labels=labels, label_kind="classes"
            )


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    with CollectionWriter(tmp_path / "real", synthetic=False, study=STUDY) as writer:
        fill(writer)
        writer.reject("broken.tif", [Problem("broken.tif", "truncated", "Get a fresh copy.")])
    return Collection(tmp_path / "real")


def test_what_went_in_comes_out(collection: Collection) -> None:
    table = collection.catalogue
    assert list(table["id"]) == [f"image-{i}" for i in range(4)]
    assert list(table["group"]) == ["g0", "g0", "g1", "g1"]
    assert list(table["level"]) == [i / 3 for i in range(4)]
    assert list(table["label_max"]) == [0, 1, 2, 3]
    row = table.iloc[1]
    assert json.loads(row["shape"]) == [2, 32, 32]
    assert json.loads(row["channels"]) == ["channel-0", "channel-1"]
    assert (row["axes"], row["dtype"], row["unit"], row["label_kind"], row["phenotype"]) == (
        "cyx",
        "uint16",
        "micrometer",
        "classes",
        "small",
    )
    assert not row["synthetic"]
    assert np.array_equal(collection.volume("image-1").read(), pixels_of(1))
    assert collection.rejected[0]["problems"][0]["kind"] == "truncated"
    assert (collection.synthetic, collection.study, len(collection)) == (False, STUDY, 4)
    assert collection.verify() == []


def test_synthetic_images_carry_mark_and_lineage(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "made", synthetic=True, study=STUDY) as writer:
        extra = {"real_image": "image-1", "real_origin": [3, 4]}
        writer.add("s-1", image_of(pixels_of(0), "cyx"), group="s-1", lineage=LINEAGE, extra=extra)
    made = Collection(tmp_path / "made")
    row = made.catalogue.iloc[0]
    assert row["synthetic"]
    assert Lineage.model_validate_json(row["lineage"]) == LINEAGE
    assert (row["real_image"], row["real_origin"]) == ("image-1", "[3,4]")
    about = made.volume("s-1").attributes
    assert about["synthetic"] is True
    assert Lineage.model_validate(about["lineage"]) == LINEAGE
    assert about["real_origin"] == [3, 4]


def test_bytes_repeat(tmp_path: Path, collection: Collection) -> None:
    with CollectionWriter(tmp_path / "again", synthetic=False, study=STUDY) as writer:
        fill(writer)
        writer.reject("broken.tif", [Problem("broken.tif", "truncated", "Get a fresh copy.")])
    assert files_of(tmp_path / "again") == files_of(collection.path)


def test_the_catalogue_is_rebuilt_from_the_images(collection: Collection) -> None:
    before = (collection.path / "catalogue.parquet").read_bytes()
    (collection.path / "catalogue.parquet").unlink()
    with pytest.raises(InputError, match=r"catalogue\.parquet"):
        _ = Collection(collection.path).catalogue
    rebuilt = Collection(collection.path).rebuild_catalogue()
    assert (collection.path / "catalogue.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(rebuilt, collection.catalogue)


def test_columns_keep_their_kind(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [
        {"number": 1, "float": 1.5, "text": "a", "flag": True, "mixed": 1, "gap": 2.0},
        {"number": np.int64(2), "float": np.float32(2), "text": "b", "flag": False, "mixed": "x", "gap": float("nan")},
    ]
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        for i, conditions in enumerate(values):
            writer.add(f"a{i}", image_of(pixels_of(i), "cyx"), group="g", conditions=conditions)
    table = Collection(tmp_path / "c").catalogue
    assert [table[c].dtype.kind for c in ("number", "float", "flag", "gap")] == ["i", "f", "b", "f"]
    assert list(table["text"]) == ["a", "b"]
    assert list(table["mixed"]) == ["1", "x"]
    assert list(table["gap"].isna()) == [False, True]


def test_every_problem_of_an_image_is_told(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        writer.add("a", image_of(pixels_of(0), "cyx"), group="g")
        with pytest.raises(InputError, match="duplicate-id"):
            writer.add("a", image_of(pixels_of(1), "cyx"), group="g")
        with pytest.raises(InputError) as error:
            writer.add("Ä/..", image_of(pixels_of(0), "cyx"), group="g", conditions={"sha256": 1})
        assert [p.kind for p in error.value.problems] == ["bad-id", "reserved-column"]
        for name in ("", ".", "..", "-a", "a/b", "A", "a" * 201):
            with pytest.raises(InputError, match="bad-id"):
                writer.add(name, image_of(pixels_of(0), "cyx"), group="g")
    assert list(Collection(tmp_path / "c").catalogue["id"]) == ["a"]
    assert np.array_equal(Collection(tmp_path / "c").volume("a").read(), pixels_of(0))


def test_a_taken_name_is_refused_and_left_alone(collection: Collection) -> None:
    before = files_of(collection.path)
    with pytest.raises(InputError, match="exists"), CollectionWriter(collection.path, synthetic=True):
        pass
    assert files_of(collection.path) == before
    assert [p.name for p in collection.path.parent.iterdir()] == [collection.path.name]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        fill(writer, 1)
        with pytest.raises(BusyError, match=f"process {os.getpid()}"), CollectionWriter(tmp_path / "c", synthetic=False):
            pass
        fill(writer, 2)
    assert len(Collection(tmp_path / "c")) == 2


def test_a_failed_image_leaves_the_others(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        fill(writer, 2)
        with pytest.raises(InputError, match="not-finite"):
            writer.add("bad", image_of(np.full((8, 8), np.nan), "yx"), group="g")
    assert len(Collection(tmp_path / "c")) == 2
    assert Collection(tmp_path / "c").verify() == []


def test_an_error_keeps_the_work_for_the_next_writer(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), CollectionWriter(tmp_path / "c", synthetic=False, study=STUDY) as writer:
        fill(writer, 2)
        raise RuntimeError
    assert not (tmp_path / "c").exists()
    with CollectionWriter(tmp_path / "c", synthetic=False, study=STUDY) as writer:
        assert [writer.has(f"image-{i}") for i in range(3)] == [True, True, False]
        assert not writer.has("image-1", sha256="sha256:" + "9" * 64)  # another source: to be done again
        fill(writer)
    with CollectionWriter(tmp_path / "straight", synthetic=False, study=STUDY) as writer:
        fill(writer)
    assert files_of(tmp_path / "c") == files_of(tmp_path / "straight")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "straight"]


@pytest.mark.parametrize("other", [{"synthetic": True, "study": STUDY}, {"synthetic": False, "study": None}])
def test_remains_of_another_study_are_not_taken_over(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError), CollectionWriter(tmp_path / "c", **other) as writer:
        fill(writer, 2)
        raise RuntimeError
    with CollectionWriter(tmp_path / "c", synthetic=False, study=STUDY) as writer:
        assert not writer.has("image-0")


def test_images_that_nobody_asks_for_again_are_removed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        fill(writer, 3)
        raise RuntimeError
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        fill(writer, 1)
    assert list(Collection(tmp_path / "c").catalogue["id"]) == ["image-0"]


@pytest.mark.parametrize("extend", [False, True])
def test_nothing_of_a_killed_write_becomes_part_of_the_collection(tmp_path: Path, extend: bool) -> None:
    if extend:
        with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
            fill(writer, 1)
    half = tmp_path / ("c" if extend else ".c.partial") / ".catalogue.parquet.123.partial"
    with pytest.raises(RuntimeError), CollectionWriter(tmp_path / "c", synthetic=False, extend=extend) as writer:
        half.write_bytes(b"half")
        raise RuntimeError
    with CollectionWriter(tmp_path / "c", synthetic=False, extend=extend):
        assert half.exists()
    assert not list((tmp_path / "c").glob("*.partial"))
    assert not Collection(tmp_path / "c").verify()


def test_a_worker_that_was_given_up_writes_nothing_beside_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "still_wanted", partial(still_wanted, patience_s=0))
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        fill(writer, 1)
        begun, queued = writer.work.apart("begun"), writer.work.apart("queued")
        with apart.held(begun.folder):
            pass
    before = files_of(tmp_path)
    with pytest.raises(FileNotFoundError, match="nobody waits"):
        begun.write("late", image_of(pixels_of(1), "cyx"), group=None)
    with pytest.raises(FileNotFoundError, match="nobody waits"), apart.held(queued.folder):
        raise AssertionError("it has no folder")
    assert files_of(tmp_path) == before and not list(tmp_path.rglob(".*"))


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_collection import CollectionWriter, STUDY, fill
print("ready", flush=True)
with CollectionWriter(Path(sys.argv[1]), synthetic=False, study=STUDY) as writer:
    fill(writer, 40)
"""


def test_killed_writers_end_in_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here.parent / "support"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", KILLED.format(here=str(here)), str(tmp_path / "killed")]
    for delay in (0.005, 0.02, 0.05):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    if not (tmp_path / "killed").exists():  # a fast machine may have been done before the kill
        with CollectionWriter(tmp_path / "killed", synthetic=False, study=STUDY) as writer:
            fill(writer, 40)
    with CollectionWriter(tmp_path / "straight", synthetic=False, study=STUDY) as writer:
        fill(writer, 40)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


def content(path: Path) -> tuple[Any, ...]:
    volume = Collection(path).volume("image-2")
    labels = volume.read_labels()
    assert labels is not None
    known = (volume.axes, volume.spacing, volume.channels, volume.acquisition, volume.attributes, volume.label_kind)
    return (volume.read().tobytes(), labels.tobytes(), *known)


@pytest.mark.parametrize("name", ["0/c/0/0/0", "labels/mask/0/c/0/0", "zarr.json", "0/zarr.json", "labels/mask/0/zarr.json"])
def test_no_changed_byte_changes_content_unnoticed(collection: Collection, name: str) -> None:
    """A few bytes say nothing (blanks, display settings, spare bits of the codec): those may pass, and everything reads as before."""
    file = collection.path / "images/image-2.zarr" / name
    before, whole = content(collection.path), file.read_bytes()
    found = 0
    places = range(0, len(whole), max(1, len(whole) // 60))
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        problems = Collection(collection.path).verify()
        found += bool(problems)
        assert problems or content(collection.path) == before, place
    assert found > len(places) / 4


def test_pixels_that_were_replaced_are_found(collection: Collection) -> None:
    target = collection.path / "images/image-2.zarr/0/c/0/0/0"
    target.write_bytes((collection.path / "images/image-1.zarr/0/c/0/0/0").read_bytes())
    assert [p.kind for p in collection.verify()] == ["changed"]


def test_removed_and_added_images_are_found(collection: Collection) -> None:
    (collection.path / "images/image-3.zarr").rename(collection.path / "images/image-9.zarr")
    assert sorted(p.kind for p in Collection(collection.path).verify()) == ["not-listed", "not-ome-zarr"]


def test_an_edited_catalogue_is_found(collection: Collection) -> None:
    table = collection.catalogue.copy()
    table.loc[0, "group"] = "g1"
    table.to_parquet(collection.path / "catalogue.parquet", index=False)
    assert [p.kind for p in Collection(collection.path).verify()] == ["catalogue-differs"]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"synthetic": true}'])
def test_what_is_no_collection_is_said_to_be_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "collection.json").write_text(content)
    with pytest.raises(InputError, match="not-a-collection"):
        Collection(tmp_path)


def test_an_empty_collection_can_be_written(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        writer.reject("a.tif", [Problem("a.tif", "truncated", "Get a fresh copy.")])
    assert len(Collection(tmp_path / "c")) == 0
    assert Collection(tmp_path / "c").verify() == []


def test_digests_do_not_depend_on_the_folder(tmp_path: Path, collection: Collection) -> None:
    digest = collection.digest
    moved = collection.path.rename(tmp_path / "elsewhere")
    assert Collection(moved).digest == digest
    assert Collection(moved).verify() == []


def test_importing_the_store_loads_no_torch() -> None:
    code = "import sys, sciimg.store, sciimg.patches.source, sciimg.patches.prove; assert not {'torch', 'monai', 'zarr'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_images_by_python_need_no_files(tmp_path: Path, small: Image) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        digest = writer.add("a", small, group="g")
    assert Collection(tmp_path / "c").volume("a").digest == digest
