"""What is written is what is read, by us and by others."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stores import files_of, image_of

from sciimg.errors import InputError
from sciimg.io.image import Image
from sciimg.store import Volume, layout, write_volume
from sciimg.store.downsample import halve_mean, halve_nearest
from sciimg.types import Channel, Spacing

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
AXES = ["yx", "cyx", "zyx", "czyx", "tyx", "tcyx", "tzyx", "tczyx"]


@st.composite
def arrays(draw: st.DrawFn) -> tuple[str, Any]:
    axes = draw(st.sampled_from(AXES))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.integers(1, 9 if a in "zyx" else 3)) for a in axes)
    elements = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False) if dtype.kind == "f" else None
    return axes, draw(hnp.arrays(dtype, shape, elements=elements))


@settings(max_examples=60)
@given(arrays(), st.data())
def test_any_array_comes_back_exactly(given_array: tuple[str, Any], data: st.DataObject) -> None:
    axes, pixels = given_array
    box = tuple(slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))) for n in pixels.shape)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        digest = write_volume(path, image_of(pixels, axes), attributes={"group": "a"})
        volume = Volume(path)
        assert (volume.axes, volume.shape, volume.dtype) == (axes, pixels.shape, pixels.dtype)
        assert volume.read().tobytes() == pixels.tobytes()  # bit for bit: -0.0 is not 0.0
        assert volume.read(box).tobytes() == pixels[box].tobytes()
        assert digest == volume.digest == volume.measured_digest()
        assert np.asarray(zarr.open_array(path / "0", mode="r")[...]).tobytes() == pixels.tobytes()


@pytest.mark.parametrize("shape", [(3, 13, 21, 18), (1, 8, 16, 16), (2, 1, 40, 7), (5, 30, 5, 5)])
def test_one_pass_in_bounded_memory_gives_levels_that_follow_from_the_pixels(
    tmp_path: Path, small_pieces: int, shape: tuple[int, ...]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 5000, shape).astype(np.uint16)
    reads = np.zeros(shape, int)
    sizes = []

    def load(box: tuple[slice, ...]) -> Any:
        reads[box] += 1
        sizes.append(pixels[box].nbytes)
        return pixels[box]

    plain = image_of(pixels, "czyx")
    image = Image(
        load=load,
        axes="czyx",
        shape=shape,
        dtype=pixels.dtype,
        spacing=plain.spacing,
        channels=plain.channels,
        source="test",
        hash=lambda: "sha256:" + "0" * 64,
    )
    labels = pixels[0].astype(np.int32)
    write_volume(tmp_path / "a.zarr", image, labels=labels, label_kind="instances", attributes={})
    assert (reads == 1).all()
    assert max(sizes) <= max(small_pieces, 2 * pixels[0, 0].nbytes)
    volume = Volume(tmp_path / "a.zarr")
    assert volume.levels > 1
    expected, mask = pixels, labels
    for level, scale in enumerate(layout.pyramid("czyx", shape, (1.0, 1.0, 1.0))):
        if level:
            expected, mask = halve_mean(expected, scale.factors), halve_nearest(mask, scale.factors[1:])
        assert np.array_equal(volume.read(level=level), expected)
        assert np.array_equal(zarr.open_array(tmp_path / f"a.zarr/{level}", mode="r")[...], expected)
        assert np.array_equal(zarr.open_array(tmp_path / f"a.zarr/labels/mask/{level}", mode="r")[...], mask)


def test_the_digest_knows_the_content_and_not_the_chunks(tmp_path: Path, small_pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (2, 12, 33, 20)).astype(np.uint8)
    fine = write_volume(tmp_path / "fine.zarr", image_of(pixels, "czyx"), attributes={"a": 1})
    monkeypatch.undo()
    coarse = write_volume(tmp_path / "coarse.zarr", image_of(pixels, "czyx"), attributes={"a": 1}, levels=1)
    assert fine == coarse
    other = pixels.copy()
    other[1, 3, 3, 3] ^= 1
    digests = {
        fine,
        write_volume(tmp_path / "b.zarr", image_of(other, "czyx"), attributes={"a": 1}),
        write_volume(tmp_path / "c.zarr", image_of(pixels, "czyx"), attributes={"a": 2}),
        write_volume(tmp_path / "d.zarr", image_of(pixels, "czyx", (1.0, 1.0, 2.0)), attributes={"a": 1}),
        write_volume(tmp_path / "e.zarr", image_of(pixels.astype(np.int16), "czyx"), attributes={"a": 1}),
        write_volume(tmp_path / "f.zarr", image_of(pixels, "czyx"), labels=pixels[0], label_kind="classes", attributes={"a": 1}),
        write_volume(tmp_path / "g.zarr", image_of(pixels, "czyx"), labels=pixels[0], label_kind="instances", attributes={"a": 1}),
    }
    assert len(digests) == 7


def test_the_same_image_gives_the_same_files(tmp_path: Path, small: Image) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        labels = np.arange(64 * 64).reshape(64, 64)
        write_volume(tmp_path / name / "s.zarr", small, labels=labels, label_kind="instances", attributes={"b": 1, "a": [1.5]})
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_sample_is_few_small_files(tmp_path: Path, small: Image) -> None:
    labels = np.ones((64, 64), np.uint8)
    write_volume(tmp_path / "s.zarr", small, labels=labels, label_kind="classes", attributes={})
    assert sorted(files_of(tmp_path / "s.zarr")) == [
        "0/c/0/0/0",
        "0/zarr.json",
        "labels/mask/0/c/0/0",
        "labels/mask/0/zarr.json",
        "labels/mask/zarr.json",
        "labels/zarr.json",
        "zarr.json",
    ]


def test_other_programs_read_the_shards(tmp_path: Path) -> None:
    pytest.importorskip("zarrs")
    pixels = np.random.default_rng(3).integers(0, 4000, (70, 300, 200)).astype(np.uint16)
    write_volume(tmp_path / "a.zarr", image_of(pixels, "zyx"), attributes={})
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        assert np.array_equal(zarr.open_array(tmp_path / "a.zarr/0", mode="r")[...], pixels)


def test_what_is_known_of_an_image_comes_back(tmp_path: Path) -> None:
    affine = np.diag([-0.5, 0.5, 3.0, 1.0])
    image = Image.from_array(
        np.zeros((1, 2, 3, 4), np.float32),
        "czyx",
        Spacing((3.0, 0.5, 0.5), "millimeter"),
        (Channel("T1", None),),
        affine=affine,
        acquisition={"field_strength_t": 3.0},
    )
    write_volume(tmp_path / "a.zarr", image, attributes={"group": "s1", "nested": {"a": [1, 2.5, None]}})
    volume = Volume(tmp_path / "a.zarr")
    assert volume.spacing == image.spacing
    assert volume.channels == image.channels
    assert np.array_equal(volume.affine, affine)
    assert volume.acquisition == {"field_strength_t": 3.0}
    assert volume.attributes == {"group": "s1", "nested": {"a": [1, 2.5, None]}}
    assert volume.label_kind is None
    assert volume.read_labels() is None
    again = volume.image()
    assert np.array_equal(again.read(), image.read())
    assert (again.axes, again.spacing, again.channels) == (image.axes, image.spacing, image.channels)


def test_labels_must_fit(tmp_path: Path, small: Image) -> None:
    bad = [
        (np.zeros((32, 64), int), "instances"),
        (np.zeros((64, 64)), "instances"),
        (np.full((64, 64), -1), "instances"),
        (np.full((64, 64), 2**31), "instances"),
        (np.zeros((64, 64), int), None),
    ]
    for labels, kind in bad:
        with pytest.raises(InputError, match="mismatched-labels"):
            write_volume(tmp_path / "a.zarr", small, labels=labels, label_kind=kind, attributes={})  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_spacing_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown-spacing"):
        write_volume(tmp_path / "a.zarr", Image.from_array(np.zeros((4, 4)), "yx", None), attributes={})


def test_nothing_is_left_of_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.float32)
    pixels[7, 7] = np.nan
    with pytest.raises(InputError, match="not-finite"):
        write_volume(tmp_path / "a.zarr", image_of(pixels, "yx"), attributes={})
    assert not any(tmp_path.iterdir())


def test_a_taken_place_is_left_alone(tmp_path: Path, small: Image) -> None:
    write_volume(tmp_path / "a.zarr", small, attributes={})
    before = files_of(tmp_path)
    with pytest.raises(InputError, match="exists"):
        write_volume(tmp_path / "a.zarr", image_of(np.ones((4, 4)), "yx"), attributes={})
    assert files_of(tmp_path) == before


def test_a_broken_shard_is_an_error_and_never_pixels(tmp_path: Path, small: Image) -> None:
    write_volume(tmp_path / "a.zarr", small, attributes={})
    shard = tmp_path / "a.zarr/0/c/0/0/0"
    whole = shard.read_bytes()
    for broken in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-8] + bytes(8)):
        shard.write_bytes(broken)
        with pytest.raises(InputError, match="corrupt"):
            Volume(tmp_path / "a.zarr").read()


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"attributes": {}}', b'{"attributes": {"ome": {"multiscales": []}}}'])
def test_a_folder_that_is_no_volume_is_said_to_be_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_bytes(content)
    with pytest.raises(InputError, match="not-ome-zarr"):
        Volume(tmp_path)


def test_volumes_of_others_are_read_through_zarr(tmp_path: Path) -> None:
    pixels = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)
    group = zarr.create_group(tmp_path / "other.zarr")
    group.create_array("s0", data=pixels, chunks=(2, 3, 4))
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]
    datasets = [{"path": "s0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    volume = Volume(tmp_path / "other.zarr")
    assert np.array_equal(volume.read(), pixels)
    assert np.array_equal(volume.read((slice(1, 4), slice(2, 5), slice(0, 7))), pixels[1:4, 2:5])
    assert volume.spacing == Spacing((2.0, 0.5, 0.5), "micrometer")
    assert volume.channels == (Channel("channel-0"),)
    assert volume.digest is None
