"""One image on disk as OME-Zarr 0.5: written in one pass, read a box at a time.

A volume is a folder: multiscale arrays ``0``, ``1``, …, label image ``labels/mask``, and a ``zarr.json`` whose ``ome`` attribute follows
the specification (https://ngff.openmicroscopy.org/0.5) and whose ``sciimg`` attribute holds what that has no place for: the 4x4 affine,
acquisition metadata, lineage, the synthetic mark, and a digest of the content that does not depend on chunks or compression.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.files import sweep
from sciimg.io.image import Image
from sciimg.records import Digest, digest_of
from sciimg.store.downsample import mean_into, nearest_into
from sciimg.store.header import NAMESPACE, read_header
from sciimg.store.layout import Level, layout, pyramid, slab_axis, tiles, together
from sciimg.store.metadata import VERSION, multiscales, omero, write_group
from sciimg.store.shards import THREADED_BYTES, ArrayReader, Box
from sciimg.store.stream import PixelSummary, Progress, write_levels
from sciimg.types import SPATIAL, Channel, LabelKind, Spacing
from sciimg.workers import on_worker

MASK = "mask"  # name of the label image
_BEGUN = ".begun"  # in a folder that is not finished: a digest of what it is made from


def write_volume(
    path: Path,
    image: Image,
    *,
    labels: NDArray[Any] | Image | None = None,
    label_kind: LabelKind | None = None,
    attributes: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    levels: int | None = None,
    progress: Progress | None = None,
    named: Callable[[], str] | None = None,
) -> Digest:
    """Write an image, whole or not at all, in memory bounded by a slab of it.

    When it is interrupted (killed, disk full), the finished shards stay in ``.NAME.partial``, and writing the same image again goes on
    from there. When the image cannot be read, nothing stays.

    Parameters
    ----------
    path : Path
        Folder to make; must not exist.
    image : Image
        Read once, in order.
    labels : array of int32, shape (t)[z]yx of the image, optional
        Or an image of them, read in order, where they are too large for memory.
    label_kind : "instances" or "classes", optional
        Needed with ``labels``.
    attributes : mapping, or a function that returns it
        JSON values of the caller, kept under ``sciimg.attributes``. The function is called when the pixels are written, so that it may
        ask for ``image.sha256``, which is computed meanwhile.
    levels : int, optional
        Number of resolutions; chosen by size where not given.
    progress : callable, optional
        Told again and again how many bytes of pixels were written since.
    named : callable, optional
        Returns the name of the folder in place of that of ``path``. Called when the pixels are written, as ``attributes`` is, so that an
        image may be called after the digest of its source and be read once all the same.

    Returns
    -------
    Digest
        Of pixels, labels and metadata; independent of chunks, compression and levels.

    Raises
    ------
    InputError
        Kinds ``exists``, ``unknown-spacing``, ``mismatched-labels``, and whatever reading the image raises.
    """
    if path.exists():
        raise InputError(Problem(str(path), "exists", "A volume is written to a new place; this one is taken. Choose another."))
    spacing = _spacing_of(image)
    plain = _checked_labels(image, labels, label_kind)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with _begun(partial, image, levels):
            pixels, shapes = _write_pixels(partial, image, spacing, levels, progress)
            label_digests, label_max = _write_labels(partial, image.axes, plain, spacing, len(shapes))
        path = path.with_name(named()) if named else path
        about = dict(attributes() if callable(attributes) else attributes)
        described = _describe(image, spacing, label_kind if labels is not None else None, label_max, about)
        digest = content_digest(image.shape, image.dtype, pixels.digests(), label_digests, described)
        ome = {
            "version": VERSION,
            "multiscales": multiscales(path.stem, image.axes, shapes, spacing, "mean", image.affine),
            "omero": omero(image.channels, pixels.windows()),
        }
        write_group(partial, {"ome": ome, NAMESPACE: described | {"digest": digest}})
        (partial / _BEGUN).unlink(missing_ok=True)
        partial.rename(path)
    except InputError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return digest


@contextmanager
def _begun(partial: Path, image: Image, levels: int | None) -> Iterator[None]:
    """Keep what an earlier attempt left if it was for the same bytes, read in the same way; note for the next one what this is for.

    The digest of the source is computed beside the block, because it takes as long as the rest for an uncompressed file; before it, where
    there is one core.
    """
    mark = partial / _BEGUN
    how = {"axes": image.axes, "shape": list(image.shape), "dtype": image.dtype.name, "acquisition": dict(image.acquisition)}
    if image.nbytes < THREADED_BYTES:
        shutil.rmtree(partial, ignore_errors=True)
        yield
        return

    def expected() -> bytes:
        spacing = image.spacing and [*image.spacing.values, image.spacing.unit]
        return digest_of({"source": image.sha256, "levels": levels, "spacing": spacing, **how}).encode()

    if not (mark.exists() and mark.read_bytes() == expected()):
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(partial / "labels", ignore_errors=True)  # cheap, and not covered by the digest of the source
    partial.mkdir(parents=True, exist_ok=True)
    sweep(partial)
    if on_worker():
        mark.write_bytes(expected())
        yield
        return
    with ThreadPoolExecutor(1, thread_name_prefix="sciimg-source") as aside:
        noted = aside.submit(lambda: mark.write_bytes(expected()))
        yield
        noted.result()


def _write_pixels(
    path: Path, image: Image, spacing: Spacing, levels: int | None, progress: Progress | None
) -> tuple[PixelSummary, list[Level]]:
    scales = pyramid(image.axes, image.shape, spacing.values, levels)
    return write_levels(path, image.axes, scales, image.dtype, image, mean_into, progress), scales


def _write_labels(
    path: Path, image_axes: str, labels: NDArray[np.int32] | Image | None, spacing: Spacing, levels: int
) -> tuple[list[str] | None, int]:
    """Write the label image; return its digests and its largest number."""
    if labels is None:
        return None, 0
    axes = image_axes.replace("c", "")
    scales = pyramid(axes, labels.shape, spacing.values, levels)
    source = labels if isinstance(labels, Image) else _InMemory(labels)
    drawn = write_levels(path / "labels" / MASK, axes, scales, labels.dtype, source, nearest_into)
    scaled = multiscales(MASK, axes, scales, spacing, "nearest")
    told = {"source": {"image": "../../"}}
    write_group(path / "labels" / MASK, {"ome": {"version": VERSION, "multiscales": scaled, "image-label": told}})
    write_group(path / "labels", {"ome": {"version": VERSION, "labels": [MASK]}})
    return drawn.digests(), int(max(drawn.high))


def _describe(image: Image, spacing: Spacing, label_kind: LabelKind | None, label_max: int, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 1,
        "axes": image.axes,
        "spacing": {"values": list(spacing.values), "unit": spacing.unit},
        "channels": [{"name": c.name, "wavelength_nm": c.wavelength_nm} for c in image.channels],
        "affine_ras_mm": None if image.affine is None else [[float(v) for v in row] for row in image.affine],
        "acquisition": dict(image.acquisition),
        "label_kind": label_kind,
        "label_max": label_max,
        "attributes": attributes,
    }


@dataclass(frozen=True)
class _InMemory:
    """An array as a source of pixels."""

    array: NDArray[Any]
    parallel = False

    def read(self, box: Box) -> NDArray[Any]:
        return self.array[box]

    def fill(self, box: Box, out: NDArray[Any]) -> None:
        out[...] = self.array[box]


def content_digest(
    shape: tuple[int, ...], dtype: np.dtype[Any], pixels: list[str], labels: list[str] | None, described: Mapping[str, Any]
) -> Digest:
    """Return the digest of a volume's content from the SHA-256 of its planes or stacks, channel by channel."""
    return digest_of({"shape": list(shape), "dtype": dtype.name, "pixels": pixels, "labels": labels, "described": dict(described)})


def _spacing_of(image: Image) -> Spacing:
    if image.spacing is None:
        message = (
            "Every image needs a spacing; this file gives none. State it with --spacing and --unit; `--unit pixel` says that none is known."
        )
        raise InputError(Problem(image.source, "unknown-spacing", message))
    return image.spacing


def _checked_labels(image: Image, labels: NDArray[Any] | Image | None, kind: LabelKind | None) -> NDArray[np.int32] | Image | None:
    if labels is None:
        return None
    expected = tuple(n for a, n in zip(image.axes, image.shape, strict=True) if a != "c")
    axes = image.axes.replace("c", "")
    message = None
    if labels.shape != expected:
        message = f"Labels must have the shape of the image along {axes}, {expected}; these have {labels.shape}."
    elif labels.dtype.kind not in "uib":
        message = f"Labels must be integers; these are {labels.dtype}."
    elif not isinstance(labels, Image) and labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
        message = f"Labels must lie between 0 and 2^31 - 1; these reach from {labels.min()} to {labels.max()}."
    elif kind is None:
        message = "Labels must be said to be instances or classes."
    if message:
        raise InputError(Problem(image.source, "mismatched-labels", message))
    return labels if isinstance(labels, Image) else np.ascontiguousarray(labels, dtype=np.int32)


class Volume:
    """An image on disk, opened lazily.

    Parameters
    ----------
    path : Path
        Folder of an OME-Zarr 0.5 image; one that sciimg did not write is read as well, with what its metadata say.

    Raises
    ------
    InputError
        Kind ``not-ome-zarr``; when pixels are asked for, ``not-zarr`` and ``corrupt``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header = read_header(path)

    def __reduce__(self) -> tuple[type["Volume"], tuple[Path]]:
        return Volume, (self.path,)  # to a worker goes where it lies

    @cached_property
    def _levels(self) -> tuple[ArrayReader, ...]:
        levels = tuple(ArrayReader(self.path / p) for p in self._header.paths)
        if any(len(level.shape) != len(self.axes) for level in levels):
            message = f"Arrays must have the axes {self.axes!r}; their shapes are {[level.shape for level in levels]}."
            raise InputError(Problem(str(self.path), "not-ome-zarr", message))
        return levels

    @cached_property
    def _mask(self) -> ArrayReader | None:
        return ArrayReader(self.path / "labels" / MASK / "0") if self.label_kind else None

    @property
    def ome(self) -> dict[str, Any]:
        """The ``ome`` attribute as it is."""
        return self._header.ome

    @property
    def axes(self) -> str:
        return self._header.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Along ``axes``, at full resolution."""
        return self._levels[0].shape

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return tuple(n for a, n in zip(self.axes, self.shape, strict=True) if a in SPATIAL)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._levels[0].dtype

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self._header.paths)

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of the smallest piece of full resolution that is decoded at once."""
        return self._levels[0].chunk

    @property
    def spacing(self) -> Spacing | None:
        """Spacing of full resolution; None only for images of others that give no unit of length."""
        return self._header.spacing

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        if self._header.channels is not None:
            return self._header.channels
        count = self.shape[self.axes.index("c")] if "c" in self.axes else 1
        names = [*self._header.channel_names, *[None] * count][:count]
        return tuple(Channel(name or f"channel-{i}") for i, name in enumerate(names))

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """From voxel index (x, y, z, 1) to millimetres, right-anterior-superior."""
        return self._header.affine

    @property
    def acquisition(self) -> dict[str, Any]:
        return dict(self._header.acquisition)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the writer was given to keep."""
        return dict(self._header.attributes)

    @property
    def label_kind(self) -> LabelKind | None:
        """What the numbers of the label image mean; None where there is none."""
        return self._header.label_kind

    @property
    def label_max(self) -> int:
        """Largest number in the label image, 0 without one: for classes, how many there are."""
        return self._header.label_max

    @property
    def digest(self) -> Digest | None:
        """Content digest as written, None for images of others; :meth:`measured_digest` computes it again."""
        return self._header.digest

    def read(self, box: Box | None = None, level: int = 0, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the pixels of a box (everything by default), in ``axes`` order; in ``out`` where memory is given."""
        return self._levels[level].read(box, out)

    def read_labels(self, box: Box | None = None, *, out: NDArray[np.int32] | None = None) -> NDArray[np.int32] | None:
        """Return the labels of a box in the axes of the image without ``c``, or None where there are none."""
        return None if self._mask is None else self._mask.read(box, out)

    def image(self) -> Image:
        """Return the volume as a lazy image, as a reader of files would."""
        return Image(
            load=self.read,
            axes=self.axes,
            shape=self.shape,
            dtype=self.dtype,
            spacing=self.spacing,
            channels=self.channels,
            source=self.path.name,
            hash=self.measured_digest,
            affine=self.affine,
            acquisition=self.acquisition,
        )

    def measured_digest(self) -> Digest:
        """Read everything and return the content digest that follows from it."""
        pixels = _summarise(self._levels[0], self.axes).digests()
        labels = _summarise(self._mask, self.axes.replace("c", "")).digests() if self._mask else None
        return content_digest(self.shape, self.dtype, pixels, labels, self._header.described)


def _summarise(array: ArrayReader, axes: str) -> PixelSummary:
    summary = PixelSummary(axes, array.shape, array.dtype)
    shard = layout(axes, array.shape, array.dtype.itemsize).shard
    for box in tiles(array.shape, together(axes, array.shape, shard, array.dtype.itemsize)):
        block = array.read(box)
        inner = tuple(range(slab_axis(axes), block.ndim))
        summary.add(tuple(s.start for s in box), block, block.min(axis=inner), block.max(axis=inner))
    return summary
