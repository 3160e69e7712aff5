from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from sciimg.errors import InputError
from sciimg.io.image import Image
from sciimg.store import CollectionWriter
from sciimg.types import Spacing
from sciimg.validation.folders import load_patchset


def image(seed: int, shape: tuple[int, ...] = (20, 24), dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)


def kinds(error: pytest.ExceptionInfo[InputError]) -> list[str]:
    return [p.kind for p in error.value.problems]


def test_a_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image(0))
    patches = load_patchset(tmp_path / "a.tif")
    assert patches.images.shape == (1, 1, 20, 24) and patches.images.dtype == np.uint16
    assert np.array_equal(patches.images[0, 0], image(0))


def test_a_folder_in_order_of_names_every_file_a_group(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        tifffile.imwrite(tmp_path / f"{name}.tif", image(ord(name)))
    patches = load_patchset(tmp_path)
    assert list(patches.table["name"]) == list(patches.groups) == ["a", "b", "c"]
    assert np.array_equal(patches.images[1, 0], image(ord("b")))


def test_colour_becomes_channels(tmp_path: Path) -> None:
    Pillow.fromarray(image(0, (8, 9, 3), "uint8")).save(tmp_path / "a.png")
    patches = load_patchset(tmp_path)
    assert patches.images.shape == (1, 3, 8, 9) and patches.channels == ("red", "green", "blue")


def test_a_collection_keeps_its_groups(tmp_path: Path) -> None:
    with CollectionWriter(tmp_path / "c", synthetic=False, study=None) as writer:
        for i in range(3):
            volume = Image.from_array(image(i, (6, 20, 24)), "zyx", Spacing((1.0,) * 3, "micrometer"))
            writer.add(f"image-{i}", volume, group=f"subject-{i // 2}", conditions={})
    patches = load_patchset(tmp_path / "c")
    assert patches.images.shape == (3, 1, 6, 20, 24) and list(patches.groups) == ["subject-0", "subject-0", "subject-1"]
    assert np.array_equal(patches.images[2, 0], image(2, (6, 20, 24)))
    assert np.array_equal(load_patchset(tmp_path / "c/images/image-1.zarr").images[0, 0], image(1, (6, 20, 24)))


@pytest.mark.parametrize(
    ("second", "kind"), [((20, 25), "mixed-shapes"), ((3, 20, 24), "mixed-shapes"), (("uint8",), "mixed-types")], ids=str
)
def test_images_that_are_not_alike_are_refused(tmp_path: Path, second: tuple[int | str, ...], kind: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image(0))
    tifffile.imwrite(tmp_path / "b.tif", image(1, dtype="uint8") if second == ("uint8",) else image(1, second), photometric="minisblack")
    with pytest.raises(InputError) as error:
        load_patchset(tmp_path)
    assert kinds(error) == [kind] and "b" in str(error.value)


def test_every_bad_file_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "good.tif", image(0))
    (tmp_path / "empty.tif").write_bytes(b"")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((8, 8), np.nan, np.float32))
    with pytest.raises(InputError) as error:
        load_patchset(tmp_path)
    assert {Path(p.where).name for p in error.value.problems} == {"empty.tif", "nan.tif"}


def test_many_images_lie_in_a_file_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        tifffile.imwrite(tmp_path / f"{i}.tif", image(i))
    here = load_patchset(tmp_path)
    monkeypatch.setattr("sciimg.validation.stack.IN_MEMORY", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    there = load_patchset(tmp_path)
    assert isinstance(there.images, np.memmap) and not isinstance(here.images, np.memmap)
    assert np.array_equal(here.images, there.images) and len(list(tmp_path.iterdir())) == 5


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError):
            load_patchset(path)


def test_a_series_in_time_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.ome.tif", image(0, (3, 20, 24)), metadata={"axes": "TYX"})
    with pytest.raises(InputError) as error:
        load_patchset(tmp_path / "t.ome.tif")
    assert kinds(error) == ["time-axis"]
