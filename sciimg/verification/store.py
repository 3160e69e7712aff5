"""What is written is what is read, and coarser levels are exact means."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sciimg.io.image import Image
from sciimg.randomness import generator
from sciimg.records import Check
from sciimg.store.volume import Volume, write_volume
from sciimg.types import Spacing
from sciimg.verification.checks import check


def checks() -> Iterator[Check]:
    """Round trip of integers and labels through OME-Zarr, and the mean of one block."""
    rng = generator("verify", "store")
    pixels = rng.integers(0, 2**16, (2, 20, 70, 66)).astype(np.uint16)
    labels = rng.integers(0, 9, pixels.shape[1:]).astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.zarr"
        image = Image.from_array(pixels, "czyx", Spacing((1.0, 1.0, 1.0), "micrometer"))
        digest = write_volume(path, image, labels=labels, label_kind="instances", attributes={}, levels=2)
        volume = Volume(path)
        yield check("store-voxels-changed", 0, float(np.count_nonzero(volume.read() != pixels)), 0, "lossless codec")
        read = volume.read_labels()
        yield check(
            "store-labels-changed", 0, float("nan") if read is None else float(np.count_nonzero(read != labels)), 0, "lossless codec"
        )
        block = pixels[:, :20, :70, :66].reshape(2, 10, 2, 35, 2, 33, 2).mean((2, 4, 6), dtype=np.float64)
        yield check(
            "store-coarse-level",
            0,
            float(np.abs(volume.read(level=1) - np.floor(block + 0.5)).max()),
            0,
            "mean of 2 x 2 x 2, halves rounded up",
        )
        yield check(
            "store-digest-repeats", 1, float(volume.measured_digest() == digest), 0, "digest of what was read against what was written"
        )
