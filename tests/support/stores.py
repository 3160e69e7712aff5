"""Images to store, and what stores leave on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from sciimg.io.image import Image
from sciimg.types import Spacing


def files_of(path: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def image_of(pixels: Any, axes: str, spacing: tuple[float, ...] | None = None) -> Image:
    """Wrap an array with even spacing in micrometres."""
    dims = sum(a in "zyx" for a in axes)
    return Image.from_array(np.asarray(pixels), axes, Spacing(spacing or (1.0,) * dims, "micrometer"))
