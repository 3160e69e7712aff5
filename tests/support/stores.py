"""Images to store, and what stores leave on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from sciimg.io.image import Image
from sciimg.store import Collection, CollectionWriter
from sciimg.types import Spacing


def files_of(path: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def image_of(pixels: Any, axes: str, spacing: tuple[float, ...] | None = None) -> Image:
    """Wrap an array with even spacing in micrometres."""
    dims = sum(a in "zyx" for a in axes)
    return Image.from_array(np.asarray(pixels), axes, Spacing(spacing or (1.0,) * dims, "micrometer"))


def collection_of(path: Path, images: dict[str, Any], axes: str, **columns: dict[str, Any]) -> Collection:
    """Store arrays by id; ``columns`` give a value an id. Every image is labelled where it is brighter than its mean."""
    with CollectionWriter(path, synthetic=False) as writer:
        for id, pixels in images.items():
            grey = pixels.mean(axis=axes.index("c")) if "c" in axes else pixels
            conditions = {name: values[id] for name, values in columns.items()}
            labels = (grey > grey.mean()).astype(np.int32)
            group = str(conditions.get("field", id))
            writer.add(id, image_of(pixels, axes), group=group, conditions=conditions, labels=labels, label_kind="classes")
    return Collection(path)


def texture(seed: int, shape: tuple[int, ...]) -> Any:
    """Return smooth random texture with fine grain, unlike any of another seed; float32."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=shape), 4, mode="wrap")
    fine = ndimage.gaussian_filter(rng.normal(size=shape), 1, mode="wrap")
    return (100 + 20 * coarse / coarse.std() + 5 * fine / fine.std()).astype(np.float32)
