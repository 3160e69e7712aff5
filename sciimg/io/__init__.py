"""Files in: one file a format, each giving a lazy :class:`Image` with axes, spacing, channels, acquisition and problems."""

from sciimg.io.expand import expand
from sciimg.io.image import MEMORY_LIMIT, Image
from sciimg.io.open import open_image

__all__ = ["MEMORY_LIMIT", "Image", "expand", "open_image"]
