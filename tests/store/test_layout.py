"""Levels, chunks and slabs as properties of any image."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciimg.store import layout as module
from sciimg.store.layout import layout, pyramid, slab_axis, tiles, together

AXES = st.sampled_from(["yx", "cyx", "zyx", "czyx", "tyx", "tcyx", "tczyx"])


@st.composite
def images(draw: st.DrawFn) -> tuple[str, tuple[int, ...], int]:
    axes = draw(AXES)
    longest = {"t": 4, "c": 5, "z": 600, "y": 9000, "x": 9000}
    shape = tuple(draw(st.integers(1, longest[a])) for a in axes)
    return axes, shape, draw(st.sampled_from([1, 2, 4, 8]))


@given(images())
def test_shards_are_whole_chunks_and_slabs_are_whole_shards_in_bounded_memory(image: tuple[str, tuple[int, ...], int]) -> None:
    axes, shape, itemsize = image
    lay = layout(axes, shape, itemsize)
    assert all(s % c == 0 for s, c in zip(lay.shard, lay.chunk, strict=True))
    assert all(1 <= c <= n for c, n in zip(lay.chunk, shape, strict=True))
    step = together(axes, shape, lay.shard, itemsize)
    assert all(n == t or t % s == 0 for n, t, s in zip(shape, step, lay.shard, strict=True))
    two_planes = 2 * math.prod(shape[slab_axis(axes) + 1 :]) * itemsize
    assert math.prod(step) * itemsize <= max(module.SLAB_BYTES, two_planes)
    deep = lay.shard[slab_axis(axes)]
    assert deep % 2 == 0 or deep >= shape[slab_axis(axes)]  # every slab but the last can be halved by itself


@given(images(), st.data())
def test_levels_halve_and_spacing_becomes_more_even(image: tuple[str, tuple[int, ...], int], data: st.DataObject) -> None:
    axes, shape, _ = image
    spatial = [i for i, a in enumerate(axes) if a in "zyx"]
    spacing = tuple(data.draw(st.sampled_from([0.1, 0.2, 0.3, 0.5, 1.0, 3.0])) for _ in spatial)
    levels = pyramid(axes, shape, spacing)
    for before, after in pairwise(levels):
        assert after.shape == tuple(-(-n // f) for n, f in zip(before.shape, after.factors, strict=True))
        assert all(f == 1 for i, f in enumerate(after.factors) if i not in spatial)
        assert unevenness(axes, spacing, after) <= unevenness(axes, spacing, before) + 1e-9
    assert max(levels[-1].shape[i] for i in spatial) <= (256 if len(spatial) == 2 else 128)


def unevenness(axes: str, spacing: tuple[float, ...], level: module.Level) -> float:
    total = [t for a, t in zip(axes, level.total, strict=True) if a in "zyx"]
    extent = [n for a, n in zip(axes, level.shape, strict=True) if a in "zyx"]
    now = [s * t for s, t, n in zip(spacing, total, extent, strict=True) if n > 1]
    return max(now, default=1.0) / min(now, default=1.0)


@pytest.mark.parametrize(
    ("axes", "shape", "levels"),
    [("cyx", (2, 64, 64), 1), ("zyx", (35, 51, 35), 1), ("cyx", (2, 512, 512), 2), ("zyx", (189, 233, 197), 2), ("yx", (2048, 2048), 4)],
)
def test_small_images_have_one_level(axes: str, shape: tuple[int, ...], levels: int) -> None:
    assert len(pyramid(axes, shape, (1.0,) * sum(a in "zyx" for a in axes))) == levels


def test_only_fine_axes_are_halved() -> None:
    levels = pyramid("zyx", (64, 1024, 1024), (4.0, 1.0, 1.0))
    assert [v.factors for v in levels[1:]] == [(1, 2, 2), (1, 2, 2), (2, 2, 2)]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 7)), min_size=1, max_size=3))
def test_tiles_cover_every_sample_once(axes: list[tuple[int, int]]) -> None:
    import numpy as np

    count = np.zeros([n for n, _ in axes], int)
    for box in tiles(count.shape, tuple(s for _, s in axes)):
        count[box] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("plane", [1024, 2048, 10240])
def test_wide_planes_do_not_make_many_small_files(plane: int) -> None:
    """Before compression a file of a light-sheet volume has 16 MB or more, so that 100 TB are some millions of files."""
    shape = (512, plane, plane)
    shards = [layout("zyx", level.shape, 2).shard for level in pyramid("zyx", shape, (1.0, 1.0, 1.0))[:1]]
    assert all(math.prod(shard) * 2 >= 2**24 for shard in shards)
