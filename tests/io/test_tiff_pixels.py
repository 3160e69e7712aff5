"""Boxes of TIFF files against tifffile's whole arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io.labels import PIXELS
from sciimg.io.open import open_image

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain strips": {"rowsperstrip": 7},
    "big-endian": {"byteorder": ">", "rowsperstrip": 16},
    "deflate": {"compression": "zlib", "rowsperstrip": 7},
    "deflate, predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 7},
    "big-endian deflate, predictor": {"compression": "zlib", "predictor": True, "byteorder": ">"},
    "tiles": {"tile": (16, 32)},
    "deflated tiles, predictor": {"compression": "zlib", "predictor": True, "tile": (16, 32)},
    "lzw": {"compression": "lzw", "rowsperstrip": 7},
    "zstd tiles": {"compression": "zstd", "tile": (16, 32)},
}
BOXES = [
    (slice(0, 3), slice(0, 61), slice(0, 83)),
    (slice(1, 3), slice(0, 61), slice(0, 83)),
    (slice(0, 1), slice(13, 40), slice(0, 83)),
    (slice(2, 3), slice(5, 6), slice(31, 65)),
    (slice(0, 2), slice(60, 61), slice(82, 83)),
]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
@pytest.mark.parametrize("way", WAYS)
def test_any_box_of_any_layout(tmp_path: Path, way: str, dtype: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (3, 61, 83)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "ZYX"}, photometric="minisblack", **WAYS[way])
    expected = tifffile.imread(tmp_path / "a.tif")
    image = open_image(tmp_path / "a.tif", spacing=PIXELS)
    summed_floats = "predictor" in way and dtype == "float32"
    assert image.parallel == (way not in ("lzw", "zstd tiles") and not summed_floats)  # others are decoded by the library
    for box in BOXES:
        assert np.array_equal(image.read(box), expected[box])
        wide = np.zeros(tuple(2 * (s.stop - s.start) for s in box), image.dtype)
        out = wide[::2, ::2, ::2]  # memory that is not contiguous
        image.fill(box, out)
        assert np.array_equal(out, expected[box])


def test_only_the_segments_of_a_box_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (64, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        offset, count = tif.pages[0].dataoffsets[5], tif.pages[0].databytecounts[5]
    whole = bytearray((tmp_path / "a.tif").read_bytes())
    whole[offset : offset + count] = bytes(count)
    (tmp_path / "a.tif").write_bytes(whole)
    image = open_image(tmp_path / "a.tif", spacing=PIXELS)
    assert np.array_equal(image.read((slice(0, 40), slice(0, 50))), pixels[:40])
    with pytest.raises(InputError, match="corrupt"):
        image.read((slice(40, 48), slice(0, 50)))


def test_a_segment_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    import zlib

    pixels = np.random.default_rng(0).integers(0, 250, (8, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        offset, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    short = zlib.compress(pixels[:6].tobytes())
    whole = bytearray((tmp_path / "a.tif").read_bytes())
    whole[offset : offset + count] = short + bytes(count - len(short))
    (tmp_path / "a.tif").write_bytes(whole)
    with pytest.raises(InputError, match="corrupt"):
        open_image(tmp_path / "a.tif", spacing=PIXELS).read()
