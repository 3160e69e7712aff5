"""Patches in block order: what lies at their place, each chunk once, every position equally often."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from stores import collection_of, image_of
from test_source import whole

from sciimg.errors import InputError
from sciimg.patches.blocks import BlockOrder, axis_of, origins
from sciimg.patches.regions import Region
from sciimg.patches.source import PatchSource
from sciimg.patches.stream import PatchStream
from sciimg.store import Collection, CollectionWriter

KEY = ("sha256:0", "train")
ALARM = 1e-6  # a right program fails a statistical test here once in a million seeds; the seeds are fixed


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two images of many chunks of 32 x 32; the second is smaller."""
    patch = pytest.MonkeyPatch()
    patch.setattr("sciimg.store.layout._ONE_CHUNK_BYTES", 1000)
    patch.setattr("sciimg.store.layout._chunk_edges", lambda axes, shape, dims: {"y": 32, "x": 32})
    rng = np.random.default_rng(0)
    pixels = {"a": rng.integers(0, 999, (150, 200)).astype(np.uint16), "b": rng.integers(0, 999, (70, 90)).astype(np.uint16)}
    yield collection_of(tmp_path_factory.mktemp("stream") / "c", pixels, "yx", kind={"a": "x", "b": "y"}), pixels
    patch.undo()


def test_patches_are_what_lies_at_their_place_whatever_was_drawn_before(large: tuple[Collection, Any]) -> None:
    source = PatchSource(large[0], whole(large[0]), "train", (20, 30))
    stream = PatchStream(source, reuse=2, window_bytes=30_000)
    drawn = stream.draw(KEY, range(300))
    for n in range(300):
        y, x = json.loads(drawn.table["origin"][n])
        assert np.array_equal(drawn.images[n, 0], large[1][drawn.table["image"][n]][y : y + 20, x : x + 30])
    resumed = PatchStream(source, reuse=2, window_bytes=30_000).draw(KEY, [299, 0, 170])
    assert np.array_equal(resumed.images, drawn.images[[299, 0, 170]])
    assert drawn.images.flags.c_contiguous
    assert not np.array_equal(drawn.images, stream.arrays(("other",), range(300))[0])


def test_an_epoch_has_as_many_patches_as_it_says_and_decodes_no_pixel_twice(large: tuple[Collection, Any]) -> None:
    source = PatchSource(large[0], whole(large[0]), "train", (20, 30))
    stream = PatchStream(source, reuse=4, window_bytes=20_000)
    assert stream.length == round(4 * (150 * 200 + 70 * 90) / 600)
    for number in range(5):
        plan = stream._plan(KEY, number)
        assert plan.firsts[-1] == plan.counts.sum() == stream.length
        assert plan.counts.min() > 0
        touched = {name: np.zeros(p.shape, int) for name, p in large[1].items()}
        for block in range(len(plan.regions)):
            touched[source.regions[plan.regions[block]].image][stream._order.box(plan, block)] += 1
        assert max(t.max() for t in touched.values()) == 1
    for start in range(0, stream.length, 7):
        stream.arrays(KEY, range(start, min(start + 7, stream.length)))
    stream._reader.shutdown()

    def pixels(number: int, windows: int) -> int:
        plan = stream._plan(KEY, number)
        return sum(int(np.prod([s.stop - s.start for s in stream._order.box(plan, b)])) for b in range(plan.windows[windows]))

    assert stream.decoded == pixels(0, -1) + pixels(1, 1)  # one epoch, and the first window of the next, which is read ahead


@pytest.mark.parametrize(
    ("start", "stop", "patch", "chunk"),
    [(0, 150, 20, 32), (5, 97, 40, 16), (3, 40, 64, 16), (0, 60, 1, 8), (0, 50, 20, 64), (7, 300, 64, 64)],
)
def test_each_position_is_as_likely_as_any_other(start: int, stop: int, patch: int, chunk: int) -> None:
    """The proof, by enumeration: chance of an origin times chance of a position under it, summed over all origins."""
    weights = [np.diff(axis_of(start, stop, patch, chunk, o).cumulative) for o in range(origins(start, stop, patch, chunk))]
    total = sum(w.sum() for w in weights)
    chance = sum((w.sum() / total) * (w / w.sum()) for w in weights)
    assert np.allclose(chance, 1 / len(chance), rtol=1e-12)


def test_every_position_is_drawn_equally_often() -> None:
    """Chi-square over all positions of two regions; epochs are independent, and few patches of one epoch make cells nearly so."""
    regions = [Region("a", "train", "a", (0, 0), (14, 17)), Region("b", "train", "b", (2, 3), (12, 11))]
    order = BlockOrder(regions, (4, 3), [(4, 4), (4, 4)], np.array([14 * 17, 80.0]), 6, 2, 300)
    counts = [np.zeros((11, 15)), np.zeros((7, 6))]
    for number in range(3000):
        plan = order.epoch(KEY, number)
        rng = np.random.default_rng(number)
        for block, (region, many) in enumerate(zip(plan.regions, plan.counts, strict=True)):
            for y, x in order.places(plan, block, rng.random((many, 2))):
                counts[region][y - regions[region].start[0], x - regions[region].start[1]] += 1
    for count, size in zip(counts, (14 * 17, 80), strict=True):
        expected = 3000 * 6.0 * size / (14 * 17 + 80) / count.size
        assert stats.chi2.sf(((count - expected) ** 2 / expected).sum(), count.size) > ALARM


def test_windows_keep_to_their_bound_and_hold_neighbours_in_time_not_in_space(large: tuple[Collection, Any]) -> None:
    source = PatchSource(large[0], whole(large[0]), "train", (20, 30))
    stream = PatchStream(source, reuse=2, window_bytes=40_000)
    plan = stream._plan(KEY, 0)
    pixel = 2 + 4  # uint16 and its label
    for first, stop in zip(plan.windows[:-1], plan.windows[1:], strict=True):
        nbytes = sum(np.prod([s.stop - s.start for s in stream._order.box(plan, b)]) * pixel for b in range(first, stop))
        assert nbytes <= 40_000 or stop - first == 1
    stream.arrays(KEY, range(stream.length))
    assert len(stream._held) <= 3
    turns = [np.ravel_multi_index(plan.blocks.T, plan.blocks.max(0) + 1) for plan in (stream._plan(KEY, 0), stream._plan(KEY, 1))]
    assert all(abs(stats.spearmanr(np.arange(len(turn)), turn).statistic) < 0.6 for turn in turns)  # neighbours are not neighbours in turn
    assert not np.array_equal(*(turn[: min(map(len, turns))] for turn in turns))


def test_values_of_a_column_are_balanced(large: tuple[Collection, Any]) -> None:
    source = PatchSource(large[0], whole(large[0]), "train", (20, 30))
    stream = PatchStream(source, reuse=1, balance="kind")
    places = stream.places(KEY, range(50 * stream.length))
    share = sum(p.image == "a" for _, p in places) / len(places)
    assert share == pytest.approx(0.5, abs=0.5 / stream.length + 1e-9)  # systematic: whole numbers an epoch
    with pytest.raises(InputError, match="unknown-column"):
        PatchStream(source, balance="colour")


def test_classes_in_the_middle_are_balanced(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pixels = np.where(rng.random((60, 60)) < 0.05, 900, 10).astype(np.uint16)  # labelled where brighter than the mean
    collection = collection_of(tmp_path / "c", {"a": pixels}, "yx")
    stream = PatchStream(PatchSource(collection, whole(collection), "train", (9, 9)), reuse=4, balance="labels")
    drawn = stream.draw(KEY, range(stream.length))
    assert drawn.labels is not None
    middle = drawn.labels[:, 4, 4]
    assert abs(int((middle == 1).sum()) - stream.length / 2) <= 1
    at = [tuple(json.loads(o)) for o in drawn.table["origin"]]
    assert len(set(at)) > 0.6 * min(stream.length, 2 * (pixels > 100)[4:-4, 4:-4].sum())  # not one place again and again
    bare = CollectionWriter(tmp_path / "bare", synthetic=False)
    with bare as writer:
        writer.add("a", image_of(pixels, "yx"), group="a")
    unlabelled = PatchSource(Collection(tmp_path / "bare"), whole(Collection(tmp_path / "bare")), "train", (9, 9))
    with pytest.raises(InputError, match="no-labels"):
        PatchStream(unlabelled, balance="labels")


def test_foreground_is_sought_inside_the_window(large: tuple[Collection, Any]) -> None:
    regions = whole(large[0])
    plain = PatchStream(PatchSource(large[0], regions, "train", (6, 6))).draw(KEY, range(300))
    sought = PatchStream(PatchSource(large[0], regions, "train", (6, 6), min_foreground=0.55)).draw(KEY, range(300))
    assert plain.labels is not None and sought.labels is not None
    enough = [(labels > 0).mean((1, 2)) >= 0.55 for labels in (plain.labels, sought.labels)]
    assert 0.1 < enough[0].mean() < 0.5
    missed = (1 - enough[0].mean()) ** 16  # all 16 tries
    assert stats.binomtest(int((~enough[1]).sum()), 300, missed, alternative="greater").pvalue > ALARM
    for n, origin in enumerate(sought.table["origin"]):
        y, x = json.loads(origin)
        assert np.array_equal(sought.images[n, 0], large[1][sought.table["image"][n]][y : y + 6, x : x + 6])


def test_short_volumes_are_mirrored_as_by_the_source(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (5, 40, 30)).astype(np.uint16)
    collection = collection_of(tmp_path / "c", {"a": pixels}, "zyx")
    source = PatchSource(collection, whole(collection), "train", (8, 16, 16))
    stream = PatchStream(source)
    images, places = stream.arrays(KEY, range(20))[0], stream.places(KEY, range(20))
    assert np.array_equal(images, source.at([p for _, p in places]).images)


def test_threads_may_draw_from_one_stream(large: tuple[Collection, Any]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    source = PatchSource(large[0], whole(large[0]), "train", (20, 30))
    expected = PatchStream(source, window_bytes=20_000).arrays(KEY, range(60))[0]
    stream = PatchStream(source, window_bytes=20_000)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: stream.arrays(KEY, [i])[0][0], range(60)))
    assert np.array_equal(expected, found)
