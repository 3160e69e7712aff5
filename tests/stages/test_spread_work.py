"""Ingest, generation and features give the same bytes on workers as in one process, also where workers fail."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from clusters import Damaging, threads
from stores import files_of

from sciimg.errors import InputError
from sciimg.io.spacing import Wishes
from sciimg.records import digest_file
from sciimg.stages import apart, digests
from sciimg.stages.ingest import ingest_files
from sciimg.stages.items import file_item
from sciimg.store import Collection, CollectionWriter
from sciimg.types import PatchSet, Spacing
from sciimg.validation.features import space as feature_space
from sciimg.validation.features.named import FIXED
from sciimg.validation.features.space import fit_space
from sciimg.validation.stack import rows_of
from sciimg.workers import HERE, Cluster

PIXEL = Spacing((1.0,), "pixel")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with threads() as several:
        yield several


@pytest.fixture(autouse=True)
def spread(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for no number of workers gets the cluster, and tasks of two images."""
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster._client.scheduler.address)
    monkeypatch.setattr(apart, "_CHUNK_IMAGES", 2)


def folder(path: Path) -> Path:
    """Images of every fate: good ones, two of equal content, labels, a volume, one that is cut, one that is no image."""
    rng = np.random.default_rng(3)
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for number in range(5):
        PIL.Image.fromarray(rng.integers(0, 255, (24, 20), dtype=np.uint8)).save(path / f"images/{number}.png")
    PIL.Image.fromarray(rng.integers(0, 3, (24, 20), dtype=np.uint8)).save(path / "masks/2.png")
    shutil.copy(path / "images/1.png", path / "images/again.png")
    whole = (path / "images/0.png").read_bytes()
    (path / "images/cut.png").write_bytes(whole[: len(whole) // 2])
    (path / "images/empty.png").write_bytes(b"")
    np.save(path / "images/volume.npy", rng.integers(0, 900, (5, 12, 12)).astype(np.uint16))
    return path


def taken(source: Path, out: Path, **how: Any) -> dict[str, Any]:
    return ingest_files([source], out, spacing=PIXEL, **how)


@pytest.mark.parametrize("keep_names", [False, True])
def test_an_ingest_on_workers_is_the_same_byte_by_byte(tmp_path: Path, keep_names: bool) -> None:
    source = folder(tmp_path / "in")
    one = taken(source, tmp_path / "a/c", keep_names=keep_names, workers=1)
    several = taken(source, tmp_path / "b/c", keep_names=keep_names)
    assert one == several and len(one["images"]) == 7 and len(one["rejected"]) == 2
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b") and not Collection(tmp_path / "b/c").verify()


def test_more_images_extend_a_collection_on_workers_too(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    for name, workers in (("a", 1), ("b", None)):
        for more in (source / "images/0.png", source):
            taken(more, tmp_path / name / "c", workers=workers)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_an_interrupted_ingest_goes_on_with_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    source, adopt, count = folder(tmp_path / "in"), CollectionWriter.adopt, []

    def dying(self: CollectionWriter, id: str, place: Path) -> None:
        count.append(id)
        if len(count) == 4:
            raise Killed
        adopt(self, id, place)

    taken(source, tmp_path / "a/c", workers=1)
    monkeypatch.setattr(CollectionWriter, "adopt", dying)
    with pytest.raises(Killed):
        taken(source, tmp_path / "b/c")
    taken(source, tmp_path / "b/c")
    assert len(count) > 4 and files_of(tmp_path / "a") == files_of(tmp_path / "b")


@pytest.mark.parametrize("fault", ["flipped", "missing", "cut"])
def test_what_a_worker_damages_is_found_by_its_checksum_and_written_again(tmp_path: Path, monkeypatch: Any, fault: str) -> None:
    source, damaging = folder(tmp_path / "in"), Damaging(fault)
    taken(source, tmp_path / "a/c", workers=1)
    monkeypatch.setattr(apart, "checksum", damaging)
    taken(source, tmp_path / "b/c")
    assert damaging.harmed and files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_an_item_that_goes_to_a_worker_is_small_and_takes_no_other_along(tmp_path: Path) -> None:
    import cloudpickle

    source = folder(tmp_path / "in")
    item = file_item(source / "images/volume.npy", None, Wishes(PIXEL, False, None))
    item.make()[0].read()  # what is open here stays here
    sent = cloudpickle.dumps(item)
    assert len(sent) < 4000 and cloudpickle.loads(sent).make()[0].shape == (5, 12, 12)


# ---------------------------------------------------------------- features


def patches(count: int) -> PatchSet:
    images = np.random.default_rng(1).integers(0, 4000, (count, 1, 16, 16)).astype(np.uint16)
    names = pd.DataFrame({"name": [str(i) for i in range(count)]})
    return PatchSet(images, None, np.array([f"g{i}" for i in range(count)]), names, Spacing((1.0, 1.0), "pixel"), ("a",))


def test_features_are_the_same_bits_on_workers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_space, "_BATCH_VOXELS", 7 * 16 * 16)
    some = patches(30)
    one, several = (fit_space("texture", FIXED["texture"], some, workers=where).transform(some) for where in (HERE, cluster))
    assert one.shape[0] == 30 and one.tobytes() == several.tobytes()


def test_workers_that_do_not_see_the_images_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        rows_of(tmp_path / "elsewhere.npy", 0, 1)
    assert [p.kind for p in caught.value.problems] == ["not-shared"]


def test_digests_of_many_files_are_the_same_on_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_FEW", 3)
    monkeypatch.setattr(digests, "_CHUNK_FILES", 4)
    files = [tmp_path / str(number) for number in range(10)]
    for number, path in enumerate(files):
        path.write_bytes(bytes(range(number)))
    assert digests.digests_of(files) == [digest_file(path) for path in files]
