"""What is particular to NPY: nothing is ever unpickled, and axes have no names."""

import pickle

import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL, **options).read()
    return [p.kind for p in caught.value.problems]


def test_object_arrays_are_refused_unread(tmp_path):
    array = np.empty((2, 2), object)
    array.fill(Bomb())
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    assert kinds(tmp_path / "a.npy") == ["dtype"]


def test_a_pickle_that_calls_itself_npy(tmp_path):
    (tmp_path / "a.npy").write_bytes(pickle.dumps(Bomb()))
    assert kinds(tmp_path / "a.npy") == ["unknown-format"]


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_complex(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((3, 3), dtype))
    assert kinds(tmp_path / "a.npy") == ["complex"]


@pytest.mark.parametrize("shape", [(), (5,), (1, 1, 1, 1, 2, 2)])
def test_shapes_that_are_no_image(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    assert kinds(tmp_path / "a.npy") == ["unknown-axes"]


def test_axes_that_are_asked_for_in_any_order(tmp_path):
    array = np.arange(2 * 3 * 4).reshape(3, 4, 2)
    np.save(tmp_path / "a.npy", array)
    image = open_image(tmp_path / "a.npy", spacing=PIXEL, axes="yxc")
    np.testing.assert_array_equal(image.read(), array.transpose(2, 0, 1))
    assert (image.axes, image.problems) == ("cyx", ())
    assert kinds(tmp_path / "a.npy", axes="yx") == ["axes"]
    assert kinds(tmp_path / "a.npy", axes="yyx") == ["axes"]
    assert open_image(tmp_path / "a.npy", spacing=Spacing((1.0, 1.0), "micrometer")).axes == "tyx"
