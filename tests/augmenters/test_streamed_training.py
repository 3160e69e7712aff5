"""Training from a collection that its cache does not hold: batches come from a stream, and a kill changes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import collection_of, texture
from test_training import contents, small

from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from sciimg.patches.source import PatchSource
from sciimg.patches.stream import PatchStream, feeding
from sciimg.protocol.data import ScalarCondition
from sciimg.store import Collection
from sciimg.validation.material import whole

CONDITIONS = (ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel="intensity"),)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setattr("sciimg.store.layout._ONE_CHUNK_BYTES", 1000)
    patch.setattr("sciimg.store.layout._chunk_edges", lambda axes, shape, dims: {"y": 32, "x": 32})
    images = {name: (1000 + 200 * texture(seed, (150, 140))).astype(np.uint16) for seed, name in enumerate("abc")}
    yield collection_of(tmp_path_factory.mktemp("fed") / "c", images, "yx")
    patch.undo()


def source(collection: Collection, images: str) -> PatchSource:
    table = whole(collection, "train")
    return PatchSource(collection, table[table["image"].isin(list(images))], "train", (16, 16), CONDITIONS)


def train(collection: Collection, out: Path, **about: Any) -> None:
    learned = source(collection, "ab")
    stream = PatchStream(learned, window_bytes=20_000)
    options = {"key": ("study", "train"), "out": out, "provenance": {"study": "s"}, "fed_from": stream, **about}
    fit(small(), learned, source(collection, "c"), CONDITIONS, **options)
    assert stream.decoded > 0


def test_a_killed_training_resumes_to_the_same_bytes(collection: Collection, tmp_path: Path) -> None:
    train(collection, tmp_path / "whole")

    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if (phase, step) == ("process", 5):
            raise Killed

    with pytest.raises(Killed):
        train(collection, tmp_path / "model", progress=kill)
    train(collection, tmp_path / "model")
    assert contents(tmp_path / "model") == contents(tmp_path / "whole")


def test_what_the_cache_holds_is_drawn_from_it_and_the_rest_is_streamed(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = source(collection, "ab")
    assert learned.decoded_bytes == 2 * 150 * 140 * (2 + 4)
    assert feeding(learned) is learned
    monkeypatch.setattr("sciimg.patches.stream.CACHE_BYTES", learned.decoded_bytes - 1)
    streamed = feeding(learned)
    assert isinstance(streamed, PatchStream)
    assert streamed.source is learned


def test_a_study_may_ask_for_balance(collection: Collection) -> None:
    """However small the collection: free draws know no balance."""
    learned = source(collection, "ab")
    assert isinstance(feeding(learned, "group"), PatchStream)
    with pytest.raises(InputError, match="unknown-column"):
        feeding(learned, "colour")
