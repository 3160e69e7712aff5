"""What is written is what is read, and coarser levels are exact means."""

import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from sciimg.io.image import Image
from sciimg.randomness import generator
from sciimg.records import Check
from sciimg.store import Collection, CollectionWriter
from sciimg.store.volume import Volume, write_volume
from sciimg.types import Spacing
from sciimg.verification.checks import check


def checks() -> Iterator[Check]:
    """Round trip of integers and labels through OME-Zarr, the mean of one block, and a catalogue built, read and built again."""
    yield from _volume()
    yield from _catalogue()


def _volume() -> Iterator[Check]:
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


def _catalogue() -> Iterator[Check]:
    rng = generator("verify", "catalogue")
    pixels = rng.integers(0, 2**16, (3, 1, 12, 10)).astype(np.uint16)
    told = [{"age": 50 + i, "site": f"site {i}"} for i in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "collection"
        with CollectionWriter(path, synthetic=False) as writer:
            for i in (2, 0, 1):
                image = Image.from_array(pixels[i], "cyx", Spacing((0.5, 0.25), "micrometer"))
                writer.add(f"image-{i}", image, group=f"subject-{i % 2}", conditions=told[i])
        written = Collection(path)
        table = written.catalogue
        source = "one row an image, sorted by id, with the group, size and conditions that were given"
        wanted = [(f"image-{i}", f"subject-{i % 2}", "[0.5, 0.25]", 50 + i, f"site {i}") for i in range(3)]
        rows = list(table[["id", "group", "spacing", "age", "site"]].itertuples(index=False, name=None))
        yield check("catalogue-rows-changed", 0, sum(a != b for a, b in zip_longest(wanted, rows)), 0, source)
        changed = sum(np.count_nonzero(written.volume(f"image-{i}").read() != pixels[i]) for i in range(3))
        yield check("catalogue-pixels-changed", 0, float(changed), 0, "an id leads to the image that was added under it")
        yield check("catalogue-faults", 0, len(written.verify()), 0, "every digest is that of the pixels on disk")
        digest = written.digest
        (path / "catalogue.parquet").unlink()
        again = Collection(path)
        again.rebuild_catalogue()
        same = again.digest == digest and again.catalogue.equals(table)
        yield check("catalogue-rebuilt", 1, float(same), 0, "a catalogue is what the images say of themselves")
        volume = path / "images" / "image-1.zarr" / "0"
        chunk = max((p for p in (volume / "c").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        chunk.unlink()  # a missing chunk reads as zeros
        yield check("catalogue-finds-damage", 1, float(bool(Collection(path).verify())), 0, "an image that lost its pixels is noticed")
