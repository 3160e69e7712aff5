import numpy as np
import pytest

from sciimg.io.image import Image
from sciimg.types import Spacing


@pytest.fixture
def small() -> Image:
    """Two channels of 64 x 64 pixels, as a sample has."""
    pixels = np.random.default_rng(0).integers(0, 60000, (2, 64, 64)).astype(np.uint16)
    return Image.from_array(pixels, "cyx", Spacing((0.5, 0.25), "micrometer"), ("haematoxylin", "dab"))
