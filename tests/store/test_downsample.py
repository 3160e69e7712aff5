"""Halving against exact fractions."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sciimg.store import downsample
from sciimg.store.downsample import halve_mean, halve_nearest

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


def exact_mean(image: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """The rule itself: windows that reach beyond repeat the last sample; halves are rounded up."""
    shape = tuple(-(-n // f) for n, f in zip(image.shape, factors, strict=True))
    out = np.empty(shape, image.dtype)
    for place in np.ndindex(*shape):
        corners = product(*([min(p * f + i, n - 1) for i in range(f)] for p, f, n in zip(place, factors, image.shape, strict=True)))
        values = [Fraction(int(image[c])) for c in corners]
        out[place] = math.floor(sum(values) / len(values) + Fraction(1, 2))
    return out


@given(
    data=st.data(),
    dtype=st.sampled_from(INTEGERS),
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3).map(tuple),
)
def test_the_mean_of_integers_is_exact(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    image = data.draw(hnp.arrays(dtype, shape))
    factors = data.draw(st.tuples(*(st.sampled_from([1, 2]) for _ in shape)))
    assert np.array_equal(halve_mean(image, factors), exact_mean(image, factors))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_largest_integers_do_not_overflow(dtype: str) -> None:
    for value in (np.iinfo(dtype).max, np.iinfo(dtype).min):
        assert (halve_mean(np.full((4, 4, 4), value, dtype), (2, 2, 2)) == value).all()


def test_the_mean_of_floats_is_summed_in_double_precision() -> None:
    image = np.array([[2**25, 1], [1, 1]], np.float32)
    assert halve_mean(image, (2, 2))[0, 0] == np.float32((2**25 + 3) / 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_floats_do_not_overflow(dtype: type) -> None:
    top = np.finfo(dtype).max
    image = np.array([[top, top, top, top], [top, top, -top, -top]], dtype)
    assert halve_mean(image, (2, 2)).tolist() == [[top, 0.0]]


def test_labels_are_never_mixed() -> None:
    labels = np.arange(30, dtype=np.int32).reshape(5, 6)
    coarse = halve_nearest(labels, (2, 2))
    assert coarse.shape == (3, 3)
    assert set(coarse.ravel()) <= set(labels.ravel())
    assert coarse[1, 1] == labels[2, 2]


@pytest.mark.parametrize("factors", [(1, 2, 2, 2), (1, 1, 2, 2), (1, 2, 2, 1)])
def test_pieces_make_the_same_whole(factors: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 65536, (2, 7, 9, 12)).astype(np.uint16)
    whole = halve_mean(image, factors)
    monkeypatch.setattr(downsample, "_PIECE_BYTES", 32)
    assert np.array_equal(halve_mean(image, factors), whole)
