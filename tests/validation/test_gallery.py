"""The arrays behind the report's pictures."""

import numpy as np
import pandas as pd

from sciimg.types import PatchSet, Spacing
from sciimg.validation.gallery import farthest


def test_the_farthest_samples_come_first():
    images = np.arange(20.0)[:, None, None, None] * np.ones((1, 1, 4, 4))
    samples = PatchSet(images, None, np.arange(20).astype(str), pd.DataFrame(index=range(20)), Spacing((1.0, 1.0), "pixel"), ("a",))
    shown = farthest(samples, np.abs(np.arange(20.0)[:, None] - np.array([[0.0, 3.0]])))
    assert shown["worst.synthetic"][:3, 0, 0, 0].tolist() == [19, 18, 17]
    assert shown["worst.distance"][:3].tolist() == [16, 15, 14]
    assert len(shown["worst.synthetic"]) == 12
