import numpy as np
import pandas as pd
import pytest
from skimage import data

from sciimg.review import agreement
from sciimg.types import PatchSet, Spacing


def _patches(images, name):
    table = pd.DataFrame({"image": [name] * len(images), "origin": [f"[{i}]" for i in range(len(images))]})
    return PatchSet(images, None, np.array([name] * len(images)), table, Spacing((1.0, 1.0), "pixel"), ("haematoxylin", "dab"))


@pytest.fixture
def few_rounds(monkeypatch):
    """Resample little where a test does not look at intervals."""
    monkeypatch.setattr(agreement, "ROUNDS", 20)


@pytest.fixture(scope="session")
def tissue():
    """Real optical densities (offset 0.2, scale 10000) of colon tissue as two stains, 64 patches of 32 x 32; half play synthetic."""
    density = -np.log10(np.maximum(data.immunohistochemistry()[..., [0, 2]], 1) / 255.0)
    image = np.rint(10000 * (density + 0.2)).astype(np.uint16).transpose(2, 0, 1)
    cut = np.stack([image[:, y : y + 32, x : x + 32] for y in range(0, 256, 32) for x in range(0, 256, 32)])
    return _patches(cut[:32], "real"), _patches(cut[32:], "made")
