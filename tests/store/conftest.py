import numpy as np
import pytest

from sciimg.io.image import Image
from sciimg.store import layout
from sciimg.types import Spacing


@pytest.fixture
def small() -> Image:
    """Two channels of 64 x 64 pixels, as a sample has."""
    pixels = np.random.default_rng(0).integers(0, 60000, (2, 64, 64)).astype(np.uint16)
    return Image.from_array(pixels, "cyx", Spacing((0.5, 0.25), "micrometer"), ("haematoxylin", "dab"))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks, shards and slabs so small that an image of a few thousand pixels meets every border."""
    monkeypatch.setattr(layout, "SLAB_BYTES", 2048)
    monkeypatch.setattr(layout, "_ONE_CHUNK_BYTES", 64)
    monkeypatch.setattr(layout, "_ONE_SHARD_BYTES", 128)
    monkeypatch.setattr(layout, "_LARGEST_LEVEL", {2: 4, 3: 4})
    monkeypatch.setattr(layout, "_SHARD_EDGE", {2: 16, 3: 16})
    monkeypatch.setattr(layout, "_SHARD_BYTES", 0)
    monkeypatch.setattr(layout, "_chunk_edges", lambda axes, shape, dims: {"z": 4, "y": 8, "x": 8})
    return 2048
