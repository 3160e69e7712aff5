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
from sciimg.protocol.data import ClassCondition, Condition, ImageCondition, MaskCondition, ScalarCondition, TextCondition
from sciimg.randomness import generator
from sciimg.types import PatchSet, Spacing

from .subject import Dataset

Key = tuple[str | int, ...]
DARK = 100  # grey level of the dark in the images of `photons`


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


class Captioned(Cut):
    """Boxes with captions made of what is measured in them; ``stain`` and ``nuclei`` are the numbers of the words.

    Parameters
    ----------
    cut : Cut
    stain : (float, float)
        Means of the last channel between which it is in the middle.
    crowd : float
        Number of nuclei from which they are many.
    """

    def __init__(self, cut: Cut, stain: tuple[float, float], crowd: float) -> None:
        super().__init__(cut.image, cut.labels, cut.bounds, cut.patch_shape, cut.channels, cut.kind, cut.spacing)
        self.stain, self.crowd = stain, crowd

    def _cut(self, places: Sequence[tuple[int, ...]]) -> PatchSet:
        patches = super()._cut(places)
        assert patches.labels is not None
        patches.table["stain"] = np.digitize(patches.table["level"], self.stain)
        patches.table["nuclei"] = [int(len(np.unique(label)) - 1 >= self.crowd) for label in patches.labels]
        told = zip(patches.table["stain"], patches.table["nuclei"], strict=True)
        patches.table["caption"] = [f"{('low', 'middle', 'high')[s]} stain, {('few', 'many')[n]} nuclei" for s, n in told]
        return patches


@cache
def captioned_section() -> Dataset:
    """The colon section with captions of its stain (thirds of the training part) and of how many nuclei there are (halves)."""
    plain = tissue_section()
    assert isinstance(plain.train, Cut) and isinstance(plain.unseen, Cut)
    seen = plain.train.draw(("captions",), range(256))
    assert seen.labels is not None
    low, high = np.quantile(seen.table["level"], [1 / 3, 2 / 3])
    crowd = float(np.median([len(np.unique(label)) - 1 for label in seen.labels]))
    parts = (Captioned(cut, (float(low), float(high)), crowd) for cut in (plain.train, plain.unseen))
    caption = TextCondition(kind="text", template="{stain} stain, {nuclei} nuclei")
    return Dataset(*parts, (caption,))


def captioned(dims: int) -> Dataset | None:
    return captioned_section() if dims == 2 else None


def default(dims: int) -> Dataset | None:
    return tissue_section() if dims == 2 else brain()


@cache
def photons(dims: int) -> Dataset | None:
    """The same images as a camera sees them: real structure, Poisson noise of 4 grey levels an electron on a dark level."""
    clean = default(dims)
    if clean is None:
        return None
    rng = generator("photons", dims)

    def exposed(part: Cut) -> Cut:
        low, high = np.quantile(part.image, [0.001, 0.999])
        light = np.clip((part.image - low) / (high - low), 0, None) * 150
        image = (DARK + 4 * rng.poisson(light) + rng.normal(0, 3, light.shape)).clip(0, 65535).astype(np.uint16)
        return Cut(image, part.labels, part.bounds, part.patch_shape, part.channels, part.kind, part.spacing)

    train, unseen = clean.train, clean.unseen
    assert isinstance(train, Cut) and isinstance(unseen, Cut)
    return Dataset(exposed(train), exposed(unseen), clean.conditions)


def its_own_reference(dims: int) -> Dataset | None:
    """The default images, told of themselves: by a reference image, or by what is coarse in them."""
    data = default(dims)
    if data is None:
        return None
    channels = ("haematoxylin", "dab") if dims == 2 else ("t1",)
    return replace(data, conditions=(*data.conditions, ImageCondition(kind="image", channels=channels, made=True)))


class Described(Cut):
    """The same boxes with captions and classes made from what is measured in them: level of the last channel, share of objects.

    Parameters
    ----------
    cut : Cut
    few, low, high : float
        Share of the patch below which objects are few, and levels between which the last channel is in the middle.
    """

    def __init__(self, cut: Cut, few: float, low: float, high: float) -> None:
        super().__init__(cut.image, cut.labels, cut.bounds, cut.patch_shape, cut.channels, cut.kind, cut.spacing)
        self.few, self.low, self.high = few, low, high

    def _cut(self, places: Sequence[tuple[int, ...]]) -> PatchSet:
        patches = super()._cut(places)
        assert patches.labels is not None
        top = 0 if self.kind == "instances" else self.classes - 1
        share = (patches.labels > top).reshape(len(places), -1).mean(1)
        table = patches.table
        table["amount"] = np.where(share < self.few, "few", "many")
        stain = np.array(["low", "middle", "high"])[np.digitize(table["level"], (self.low, self.high))]
        table["caption"] = [f"{a} nuclei, {b} stain" for a, b in zip(table["amount"], stain, strict=True)]
        return patches


@cache
def described(dims: int) -> Dataset | None:
    """The default data with a class and a caption; bounds are quantiles of the training part."""
    plain = default(dims)
    if plain is None:
        return None
    assert isinstance(plain.train, Cut) and isinstance(plain.unseen, Cut)
    survey = plain.train.draw(("survey",), range(256))
    assert survey.labels is not None
    top = 0 if plain.train.kind == "instances" else plain.train.classes - 1
    few = float(np.median((survey.labels > top).reshape(256, -1).mean(1)))
    low, high = (float(q) for q in np.quantile(survey.table["level"], (1 / 3, 2 / 3)))
    conditions: tuple[Condition, ...] = (
        *plain.conditions,
        ClassCondition(kind="class", name="amount", column="amount"),
        TextCondition(kind="text", template="{amount} nuclei, {stain} stain"),
    )
    return Dataset(Described(plain.train, few, low, high), Described(plain.unseen, few, low, high), conditions)


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


def captions(dims: int) -> Dataset | None:
    """The default images with captions of two measured numbers."""
    data = default(dims)
    what = ("{cover} nuclei", "{level} stain") if dims == 2 else ("{cover} tissue", "{level} signal")
    caption = TextCondition(kind="text", template=", ".join(what))
    cover = ScalarCondition(kind="scalar", name="cover", measure="foreground-fraction")
    return None if data is None else replace(data, conditions=(*data.conditions, cover, caption))


DATASETS: MappingProxyType[str, Callable[[int], Dataset | None]] = MappingProxyType(
    {
        "captioned": captioned,
        "default": default,
        "photons": photons,
        "its-own-reference": its_own_reference,
        "described": described,
        "contrasts": contrasts,
        "translation": translation,
        "captions": captions,
    }
)
"""Data by name, as a recipe's measure asks for them; a function of the number of dimensions."""
