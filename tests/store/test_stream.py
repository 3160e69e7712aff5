"""Display windows."""

import numpy as np
import pytest

from sciimg.store import stream
from sciimg.store.stream import _percentiles


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("size", [1, 2, 3, 999, 1000, 1001, 5000])
@pytest.mark.parametrize("top", [1, 2, 255])
def test_percentiles_are_numpys(dtype: str, size: int, top: int) -> None:
    values = np.random.default_rng(size).integers(0, top, size).astype(dtype)
    assert np.allclose(_percentiles(values), np.percentile(values, (0.1, 99.9)), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 1000, 4097, 2**17])
@pytest.mark.parametrize("top", [1, 300, 65535])
def test_sorting_and_counting_say_the_same(size: int, top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(size).integers(0, top, size, endpoint=True).astype(np.uint16)
    sorted_ones = _percentiles(values)
    monkeypatch.setattr(stream, "_FEW", 0)
    assert _percentiles(values) == sorted_ones
