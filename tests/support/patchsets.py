"""Small patch sets from arrays."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.types import LabelKind, PatchSet, Spacing


def images_2d(images: NDArray[Any], labels: NDArray[np.int32] | None = None, kind: LabelKind | None = None) -> PatchSet:
    """Wrap images (N, C, Y, X); every image is its own group."""
    n, channels = images.shape[:2]
    return PatchSet(
        images,
        labels,
        np.array([f"g{i:03d}" for i in range(n)]),
        pd.DataFrame(index=range(n)),
        Spacing((1.0, 1.0), "pixel"),
        tuple(f"c{i}" for i in range(channels)),
        kind or ("instances" if labels is not None else None),
    )
