"""What is particular to HDF5: which array is meant, what lies elsewhere or nowhere, and what HDF5 itself would pass over."""

import builtins
import zlib

import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.io.labels import labels_from_file, make_labels
from sciimg.protocol.data import LabelFiles
from sciimg.types import Spacing

h5py = pytest.importorskip("h5py")
PIXEL = Spacing((1.0,), "pixel")
VOLUME = np.random.default_rng(5).integers(1, 255, (8, 16, 16), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL, **options).read()
    (problem,) = caught.value.problems
    return problem


def written(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return path


@pytest.mark.parametrize("names", [("x",), ("raw", "other"), ("g__data", "h__other"), ("volume", "labels"), ("x", "mask"), ("label",)])
def test_the_first_named_is_the_image(path, names):
    written(path, **{name: VOLUME if name == names[0] else VOLUME[:, :4] for name in names})
    np.testing.assert_array_equal(open_image(path, spacing=PIXEL).read(), VOLUME)


@pytest.mark.parametrize("names", [("x", "y"), ("a__raw", "b__raw"), ("label", "mask"), ("t0__channel0", "t0__channel1")])
def test_what_is_not_clear_is_listed(path, names):
    problem = refusal(written(path, **dict.fromkeys(names, VOLUME)))
    assert problem.kind == "which-dataset"
    assert all(name.replace("__", "/") in problem.message for name in names)
    assert "raw" in problem.message


def test_an_array_that_says_its_size_is_the_image(path):
    written(path, x=VOLUME[:, :4], y=VOLUME)
    with h5py.File(path, "r+") as file:
        file["y"].attrs["element_size_um"] = [2.0, 1.0, 0.5]
    image = open_image(path)
    assert image.spacing == Spacing((2.0, 1.0, 0.5), "micrometer")
    np.testing.assert_array_equal(image.read(), VOLUME)


def test_labels_beside_their_image(path):
    labels = (VOLUME > 99).astype(np.uint16)
    image = open_image(written(path, raw=VOLUME, label=labels), spacing=PIXEL)
    np.testing.assert_array_equal(image.read(), VOLUME)
    np.testing.assert_array_equal(labels_from_file(path, image), labels)


def test_a_study_may_name_the_images_folder_for_its_labels(path):
    labels = (VOLUME > 99).astype(np.uint16)
    image = open_image(written(path, raw=VOLUME, label=labels), spacing=PIXEL)
    plan = LabelFiles(kind="files", uri=".", labels="instances")
    np.testing.assert_array_equal(make_labels(image, plan, name="a", folder=path.parent).pixels, labels)


def test_an_image_is_not_taken_for_labels_beside_another(path):
    assert refusal(written(path, raw=VOLUME, other=VOLUME), label=True).kind == "which-dataset"


def test_nothing_that_is_an_image(path):
    assert refusal(written(path, x=np.arange(5))).kind == "no-dataset"
    assert refusal(written(path, x=VOLUME.astype(np.complex64))).kind == "complex"
    assert refusal(written(path, x=np.zeros((4, 4), [("a", "u1"), ("b", "f4")]))).kind == "dtype"
    assert refusal(written(path, x=np.full((4, 4), b"text"))).kind == "dtype"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (4, 4), h5py.ref_dtype)
    assert refusal(path).kind == "dtype"


def test_links_out_of_the_file_are_never_followed(path, tmp_path):
    written(tmp_path / "other.h5", raw=VOLUME)
    with h5py.File(path, "w") as file:
        file["raw"] = h5py.ExternalLink("other.h5", "raw")
        file["x"] = VOLUME
    assert refusal(path).kind == "external-link"
    with h5py.File(path, "w") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
        file["raw"] = h5py.SoftLink("/elsewhere/raw")
    assert refusal(path).kind == "external-link"
    with h5py.File(path, "w") as file:
        file["raw"] = h5py.SoftLink("/nowhere")
    assert refusal(path).kind == "no-dataset"


def test_groups_that_hold_themselves(path):
    with h5py.File(path, "w") as file:
        file["g/raw"] = VOLUME
        file["g/again"] = file["g"]
    np.testing.assert_array_equal(open_image(path, spacing=PIXEL).read(), VOLUME)


def test_voxels_in_another_file(path, tmp_path):
    (tmp_path / "voxels.bin").write_bytes(VOLUME.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", VOLUME.shape, "u1", external=[(str(tmp_path / "voxels.bin"), 0, VOLUME.nbytes)])
    assert refusal(path).kind == "external-data"
    written(tmp_path / "other.h5", raw=VOLUME)
    layout = h5py.VirtualLayout(VOLUME.shape, "u1")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "raw", VOLUME.shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("raw", layout)
    assert refusal(path).kind == "external-data"


@pytest.mark.parametrize("options", [{"chunks": (1, 16, 16)}, {}])
def test_voxels_that_were_never_written(path, options):
    with h5py.File(path, "w") as file:
        array = file.create_dataset("raw", VOLUME.shape, "u1", **options)
        if options:
            array[:-1] = VOLUME[:-1]
    assert refusal(path).kind == "missing-chunks"


def test_an_array_inside_the_header(path):
    with h5py.File(path, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(VOLUME.shape)
        h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT8, space, plan).write(h5py.h5s.ALL, h5py.h5s.ALL, VOLUME)
    np.testing.assert_array_equal(open_image(path, spacing=PIXEL).read(), VOLUME)


@pytest.mark.parametrize("options", [{"fletcher32": True}, {"compression": "gzip"}])
def test_a_damaged_chunk(path, options):
    with h5py.File(path, "w") as file:
        array = file.create_dataset("raw", data=VOLUME, chunks=VOLUME.shape, **options)
        place = array.id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[place + 500] ^= 0xFF
    path.write_bytes(data)
    assert refusal(path).kind == "corrupt"


def test_a_filter_that_is_not_there(path):
    with h5py.File(path, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(VOLUME.shape)
        plan.set_filter(31999, h5py.h5z.FLAG_OPTIONAL)
        array = h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT8, h5py.h5s.create_simple(VOLUME.shape), plan)
        array.write_direct_chunk((0, 0, 0), VOLUME.tobytes())
    problem = refusal(path)
    assert problem.kind == "unknown-filter"
    assert "31999" in problem.message and "h5repack" in problem.message


def test_a_file_that_ends_early(path):
    data = written(path, raw=VOLUME).read_bytes()
    path.write_bytes(data[:-100])
    assert refusal(path).kind == "truncated"


def test_a_chunk_beyond_the_memory_limit_is_not_unpacked(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=np.zeros((64, 64, 64), np.uint8), chunks=(64, 64, 64), compression="gzip")
    with pytest.raises(InputError, match="too-large"):
        open_image(path, spacing=PIXEL, memory_limit=2**16)


def test_a_chunk_that_unpacks_to_more_than_voxels_is_not_unpacked(path):
    with h5py.File(path, "w") as file:
        array = file.create_dataset("raw", VOLUME.shape, "u1", chunks=VOLUME.shape, compression="gzip")
        array.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(2**23)))
    assert refusal(path).kind == "corrupt"


def test_a_file_that_is_being_written(path):
    with h5py.File(path, "w", libver="latest") as file:
        file["raw"] = VOLUME
        file.flush()
        left_open = path.read_bytes()
    copy = path.with_name("b.h5")
    copy.write_bytes(left_open)
    assert refusal(copy).kind == "locked"


def test_axes(path):
    written(path, raw=np.stack([VOLUME, VOLUME]))
    problem = refusal(path)
    assert problem.kind == "unknown-axes" and "`axes`" in problem.message
    assert open_image(path, spacing=PIXEL, axes="czyx").axes == "czyx"
    with h5py.File(path, "r+") as file:
        file["raw"].attrs["axistags"] = "{"
    assert refusal(path).kind == "corrupt"
    with h5py.File(path, "r+") as file:
        file["raw"].attrs["axistags"] = '{"axes": [{"key": "q"}, {"key": "z"}, {"key": "y"}, {"key": "x"}]}'
    assert refusal(path).kind == "unknown-axes"


def test_matlab_stores_the_last_dimension_first(path):
    written(path, v=VOLUME.transpose(0, 2, 1))
    with h5py.File(path, "r+") as file:
        file["v"].attrs["MATLAB_class"] = np.bytes_("uint8")
    problem = refusal(path)
    assert problem.kind == "unknown-axes" and "MATLAB" in problem.message
    np.testing.assert_array_equal(open_image(path, spacing=PIXEL, axes="zxy").read(), VOLUME)


@pytest.mark.parametrize("group", ["minc-2.0", "DataSetInfo"])
def test_a_special_layout_behind_a_user_block_is_not_read_as_plain(path, group):
    with h5py.File(path, "w", userblock_size=512) as file:
        file[f"{group}/image"] = VOLUME
    assert refusal(path).kind == "layout"


def test_minc_is_recognised_wherever_its_group_is_named(path):
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["long"] = "x" * 30000
        file["filler"] = np.ones(5000)
        file["minc-2.0/image/0/image"] = VOLUME
    assert refusal(path).kind == "external-data"  # MINC's reader misses the dimensions; as plain HDF5 it would have been read unscaled


def test_an_attribute_of_absurd_length_is_left_out(path):
    with h5py.File(path, "w", libver="latest") as file:
        file["raw"] = VOLUME
        file["raw"].attrs["element_size_um"] = np.ones(2**20 + 1)
    with pytest.raises(InputError, match="unknown-spacing"):
        open_image(path)


def test_a_size_without_a_unit_is_no_size(path):
    written(path, raw=VOLUME)
    with h5py.File(path, "r+") as file:
        file["raw"].attrs["resolution"] = [4.0, 2.0, 1.0]
    with pytest.raises(InputError, match="unknown-spacing"):
        open_image(path)


def test_who_took_it_is_noted_and_left_behind(path):
    written(path, raw=VOLUME)
    with h5py.File(path, "r+") as file:
        file.attrs["operator"] = "Jane Roe"
    image = open_image(path, spacing=PIXEL)
    assert "personal-data" in [p.kind for p in image.problems]
    assert "Roe" not in f"{image.problems}{image.acquisition}"


def test_without_h5py_the_extra_is_named(path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest, **options)

    written(path, raw=VOLUME)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"sciimg\[hdf5\]"):
        open_image(path)
