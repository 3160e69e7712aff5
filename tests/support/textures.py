"""Patches with a closed-form recipe: bright discs on a correlated background; a stand-in for a patch source where pixels do not matter."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage

from sciimg.protocol.data import ClassCondition, MaskCondition, ScalarCondition, TextCondition
from sciimg.randomness import generator
from sciimg.types import PatchSet, Spacing

CONDITIONS = (
    MaskCondition(kind="mask"),
    ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel="a"),
    ClassCondition(kind="class", name="kind", column="kind"),
    TextCondition(kind="text", template="{kind} discs, {level} level"),
)


class Textures:
    """Discs (balls) of class ``dim`` or ``bright`` in ``channels`` channels."""

    classes = 0
    conditions = CONDITIONS

    def __init__(
        self, patch_shape: tuple[int, ...] = (16, 16), channels: tuple[str, ...] = ("a", "b"), part: str = "train", places: int = 9
    ) -> None:
        self.patch_shape, self.channels, self.part, self.places = patch_shape, channels, part, places

    def draw(self, seed_key: tuple[str | int, ...], indices: Sequence[int]) -> PatchSet:
        made = [self._one(generator(*seed_key, self.part, int(i))) for i in indices]
        images = np.stack([image for image, _, _ in made])
        labels = np.stack([label for _, label, _ in made])
        table = pd.DataFrame(
            {"image": "t", "origin": "[0]", "level": images[:, 0].reshape(len(made), -1).mean(1), "kind": [k for _, _, k in made]}
        )
        groups = np.array([f"g{i % 4}" for i in indices])
        spacing = Spacing((1.0,) * len(self.patch_shape), "pixel")
        return PatchSet(images, labels, groups, table, spacing, self.channels, "instances")

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self.draw(("grid",), range(min(self.places, limit or self.places)))

    def _one(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, str]:
        shape, kind = self.patch_shape, ("dim", "bright")[int(rng.integers(2))]
        places = np.indices(shape)
        label = np.zeros(shape, np.int32)
        for number in (1, 2):
            centre = [rng.uniform(0, n) for n in shape]
            distance = sum((p - c) ** 2 for p, c in zip(places, centre, strict=True))
            label[distance < (min(shape) / 4) ** 2] = number
        base = ndimage.gaussian_filter(rng.standard_normal((len(self.channels), *shape)), (0, *(1.0,) * len(shape)))
        image = 1000 + 300 * base + (600 if kind == "bright" else 250) * (label > 0) + rng.uniform(-100, 100)
        return np.clip(image, 0, 65535).astype(np.uint16), label, kind
