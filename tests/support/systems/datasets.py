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

from sciimg.augmenters.feed import Patches
from sciimg.protocol.models import Condition, ImageCondition, MaskCondition, ScalarCondition
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
        groups = np.array(["-".join(str(x // n) for x, n in zip(place, self.patch_shape, strict=True)) for place in places])
        return PatchSet(images, labels, groups, table, self.spacing, self.channels, self.kind)  # type: ignore[arg-type]


class Planes:
    """Sagittal planes of a volume, as images of two dimensions.

    Parameters
    ----------
    cut : Cut
        Of patches (Z, Y, 1).
    """

    def __init__(self, cut: Cut) -> None:
        self.cut, self.patch_shape, self.classes = cut, cut.patch_shape[:-1], cut.classes

    def draw(self, seed_key: Key, indices: Sequence[int]) -> PatchSet:
        patches = self.cut.draw(seed_key, indices)
        labels = None if patches.labels is None else patches.labels[..., 0]
        spacing = Spacing(patches.spacing.values[:-1], patches.spacing.unit)
        return replace(patches, images=patches.images[..., 0], labels=labels, spacing=spacing)

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self.draw(("grid",), range(limit or 32))


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


def template(kind: str) -> NDArray[np.float32] | None:
    """Return a map of the ICBM 152 template at 1 mm (z, y, x); None where nilearn, in which it ships, is not installed."""
    import nibabel

    found = find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    name = f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
    return np.asarray(nibabel.load(folder / name).dataobj, np.float32).transpose(2, 1, 0)  # type: ignore[attr-defined]


@cache
def brain(side: int = 24) -> Dataset | None:
    """T1 of the ICBM 152 template at 1 mm with grey and white matter."""
    t1, grey, white = (template(kind) for kind in ("t1", "gm", "wm"))
    if t1 is None or grey is None or white is None:
        return None
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


def tissue_stains() -> Dataset:
    """The section again: haematoxylin is given, DAB is made."""
    own = tissue_section()
    return Dataset(own.train, own.unseen, (ImageCondition(kind="image", channels=("haematoxylin",)),))


@cache
def brain_contrasts(*kinds: str) -> Dataset | None:
    """The template again, with tissue probabilities as further channels: T1 is given, they are made."""
    own, maps = brain(), [template(kind) for kind in kinds]
    if own is None:
        return None
    scaled = [own_map * (np.float32(1000) / own_map.max()) for own_map in maps if own_map is not None]

    def both(part: Patches) -> Cut:
        assert isinstance(part, Cut)
        image = np.stack([part.image[0], *scaled])
        return Cut(image, part.labels, part.bounds, part.patch_shape, ("t1", *kinds), "classes", part.spacing)

    return Dataset(both(own.train), both(own.unseen), (ImageCondition(kind="image", channels=("t1",)),))


def contrasts(dims: int, side: int = 64) -> Dataset | None:
    """T1 and both tissue probabilities of the template, for those who learn without pairs.

    Grey and white matter together say about as much as T1, so that each can be had from the other. Two stains of one section share too
    little: nothing but pairs could say which DAB belongs to a nucleus.
    """
    own = brain_contrasts("gm", "wm")
    if dims == 3 or own is None:
        return own

    def planes(part: Patches) -> Planes:
        assert isinstance(part, Cut)
        return Planes(Cut(part.image, part.labels, part.bounds, (side, side, 1), part.channels, "classes", part.spacing))

    return Dataset(planes(own.train), planes(own.unseen), own.conditions)


@cache
def ms_contrasts(folder: Path, made: str = "T2", side: int = 24) -> Dataset:
    """Coregistered contrasts of one person with multiple sclerosis (Lesjak et al. 2017) at 1 mm: T1 is given, another contrast is made.

    There is one person, so the unseen part is a slab of the same brain: what is measured says nothing of other people.
    """
    import nibabel

    def read(contrast: str) -> NDArray[np.float32]:
        path = folder / f"{contrast}_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
        return np.asarray(nibabel.load(path).dataobj, np.float32).transpose(2, 1, 0)  # type: ignore[attr-defined]

    image = np.stack([read("T1"), read(made)])
    labels = (image > 0).all(0).astype(np.int32)
    width = image.shape[-1]

    def part(low: float, high: float) -> Cut:
        bounds = (int(low * width), int(high * width))
        return Cut(image, labels, bounds, (side,) * 3, ("t1", made.lower()), "classes", Spacing((1.0,) * 3, "millimeter"))

    return Dataset(part(0.1, 0.36), part(0.37, 0.5), (ImageCondition(kind="image", channels=("t1",)),))


def translation(dims: int) -> Dataset | None:
    return tissue_stains() if dims == 2 else brain_contrasts("gm")


DATASETS: MappingProxyType[str, Callable[[int], Dataset | None]] = MappingProxyType(
    {"default": default, "translation": translation, "contrasts": contrasts}
)
"""Data by name, as a recipe's measure asks for them; a function of the number of dimensions."""
