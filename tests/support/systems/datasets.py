"""Real images that ship inside dependencies: a stained colon section (2D) and the ICBM brain template (3D)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import tissue
from numpy.typing import NDArray

from sciimg.protocol.models import Condition, MaskCondition, ScalarCondition, TextCondition
from sciimg.randomness import generator
from sciimg.types import PatchSet, Spacing

from .subject import Dataset

Key = tuple[str | int, ...]


class Cut:
    """Random boxes of one image with labels, between two bounds along the last axis.

    Parameters
    ----------
    image : array, shape (C, [Z,] Y, X)
    labels : array, shape ([Z,] Y, X)
    bounds : (int, int)
        Along x; parts share no pixel.
    """

    def __init__(
        self,
        image: NDArray[Any],
        labels: NDArray[np.int32],
        bounds: tuple[int, int],
        patch_shape: tuple[int, ...],
        channels: tuple[str, ...],
        kind: str,
        spacing: Spacing,
    ) -> None:
        self.image, self.labels, self.bounds, self.patch_shape = image, labels, bounds, patch_shape
        self.channels, self.kind, self.spacing = channels, kind, spacing
        self.classes = 0 if kind == "instances" else int(labels.max())

    def draw(self, seed_key: Key, indices: Sequence[int]) -> PatchSet:
        return self._cut([self._place(generator(*seed_key, *self.bounds, int(i))) for i in indices])

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self.draw(("grid",), range(limit or 32))

    def _place(self, rng: np.random.Generator) -> tuple[int, ...]:
        """A place that is not mostly empty."""
        lows = (0,) * (len(self.patch_shape) - 1) + self.bounds[:1]
        highs = (*self.labels.shape[:-1], self.bounds[1])
        for _ in range(50):
            place = tuple(int(rng.integers(a, b - n + 1)) for a, b, n in zip(lows, highs, self.patch_shape, strict=True))
            if (self.labels[self._box(place)] > 0).mean() > (0.02 if self.kind == "instances" else 0.4):
                break
        return place

    def _box(self, place: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(place, self.patch_shape, strict=True))

    def _cut(self, places: Sequence[tuple[int, ...]]) -> PatchSet:
        images = np.stack([self.image[(slice(None), *self._box(place))] for place in places])
        labels = np.stack([self.labels[self._box(place)] for place in places])
        table = pd.DataFrame({"image": "one", "origin": [json.dumps(place) for place in places]})
        table["level"] = images[:, -1].reshape(len(places), -1).mean(1, dtype=np.float64)
        table["cover"] = (labels > 0).reshape(len(places), -1).mean(1)
        groups = np.array(["-".join(str(x // n) for x, n in zip(place, self.patch_shape, strict=True)) for place in places])
        return PatchSet(images, labels, groups, table, self.spacing, self.channels, self.kind)  # type: ignore[arg-type]


def _level(channel: str) -> ScalarCondition:
    return ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel=channel)


@cache
def tissue_section(side: int = 64) -> Dataset:
    """Haematoxylin and DAB of a colon section with its nuclei; mask and DAB level are conditions."""
    image, nuclei = tissue.section()
    conditions: tuple[Condition, ...] = (MaskCondition(kind="mask"), _level("dab"))

    def part(name: str) -> Cut:
        return Cut(image, nuclei, tissue.PARTS[name], (side, side), ("haematoxylin", "dab"), "instances", Spacing((1.0, 1.0), "pixel"))

    return Dataset(part("train"), part("holdout"), conditions)


@cache
def brain(side: int = 24) -> Dataset | None:
    """T1 of the ICBM 152 template at 1 mm with grey and white matter; None where nilearn, in which it ships, is not installed."""
    import nibabel

    found = find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"

    def read(kind: str) -> NDArray[np.float32]:
        name = f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
        return np.asarray(nibabel.load(folder / name).dataobj, np.float32).transpose(2, 1, 0)  # type: ignore[attr-defined]

    t1, grey, white = (read(kind) for kind in ("t1", "gm", "wm"))
    labels = np.zeros(t1.shape, np.int32)
    labels[t1 > 0.2 * t1.max()] = 1
    labels[(grey > 0.3 * grey.max()) & (grey >= white)] = 2
    labels[(white > 0.3 * white.max()) & (white > grey)] = 3
    image = (t1 / t1.max() * 1000)[None].astype(np.float32)
    width = t1.shape[-1]
    conditions: tuple[Condition, ...] = (MaskCondition(kind="mask"), _level("t1"))

    def part(low: float, high: float) -> Cut:
        bounds = (int(low * width), int(high * width))
        return Cut(image, labels, bounds, (side,) * 3, ("t1",), "classes", Spacing((1.0,) * 3, "millimeter"))

    # the template is nearly symmetric left to right, so the unseen part is on the middle and the same side
    return Dataset(part(0.1, 0.36), part(0.37, 0.5), conditions)


def default(dims: int) -> Dataset | None:
    return tissue_section() if dims == 2 else brain()


def captions(dims: int) -> Dataset | None:
    """The default images with captions of two measured numbers."""
    data = default(dims)
    what = ("{cover} nuclei", "{level} stain") if dims == 2 else ("{cover} tissue", "{level} signal")
    caption = TextCondition(kind="text", template=", ".join(what))
    cover = ScalarCondition(kind="scalar", name="cover", measure="foreground-fraction")
    return None if data is None else replace(data, conditions=(*data.conditions, cover, caption))


DATASETS: MappingProxyType[str, Callable[[int], Dataset | None]] = MappingProxyType({"default": default, "captions": captions})
"""Data by name, as a recipe's measure asks for them; a function of the number of dimensions."""
