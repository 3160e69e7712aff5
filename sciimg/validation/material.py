"""What judges look at: the parts of the real data and synthetic sets, as patches of one shape with groups and conditions.

Where a study gives some channels of an image and asks for the others (an image condition), only those that are made are judged, in real and
synthetic images alike: the given ones are real in both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from sciimg.patches.location import PatchLocation
from sciimg.patches.regions import Region, from_table, refuse_short, to_table
from sciimg.patches.source import PatchSource
from sciimg.protocol.data import ImageCondition, TissueMaps
from sciimg.protocol.models import Study
from sciimg.store import Collection
from sciimg.store.metadata import left_right_axis
from sciimg.types import SPATIAL, Part, PatchSet, Spacing
from sciimg.validation.stack import Stack

TRAIN_TILES = 1024  # more are not needed to fit a small segmenter, and memory stays bounded


@dataclass(frozen=True)
class RealData:
    """The real side of a study, read when it is asked for.

    Parameters
    ----------
    study : Study
    sources : dict
        A :class:`PatchSource` for each part that there is.
    key : tuple of str
        Seeds what is chosen where there is more than is needed.
    """

    study: Study
    sources: dict[Part, PatchSource]
    key: tuple[str, ...]

    @cached_property
    def holdout(self) -> PatchSet:
        """Up to ``validation.samples`` patches of the holdout, spread over its groups; they may overlap where there is little."""
        return self._grid("holdout")

    @cached_property
    def holdout_tiles(self) -> PatchSet:
        """Patches of the holdout that do not overlap."""
        return self._tiles("holdout", self.study.validation.samples)

    @cached_property
    def calibration(self) -> PatchSet | None:
        """Patches of the calibration part: real, never trained on, used to say how much real images differ."""
        return self._grid("calibration") if "calibration" in self.sources else None

    @cached_property
    def train(self) -> PatchSet | None:
        """Patches of the training part, as many as of the holdout."""
        return self._grid("train") if "train" in self.sources else None

    @cached_property
    def train_tiles(self) -> PatchSet | None:
        """Patches of the training part that do not overlap: those that may count as annotated."""
        return self._tiles("train", TRAIN_TILES) if "train" in self.sources else None

    def train_draws(self, count: int, *purpose: str) -> PatchSet | None:
        """Return random patches of the training part."""
        if "train" not in self.sources:
            return None
        return self._named(self.sources["train"].draw((*self.key, *purpose), range(count)))

    @cached_property
    def train_regions(self) -> list[Region]:
        """The training regions that hold a patch; none where patches are planes of volumes."""
        source, shape = self.sources.get("train"), self.study.patches.shape
        regions = source.regions if source else ()
        return [r for r in regions if len(r.extent) == len(shape) and all(e >= p for e, p in zip(r.extent, shape, strict=True))]

    @cached_property
    def train_pieces(self) -> list[NDArray[Any]]:
        """The pixels of :attr:`train_regions`, (C, [Z,] Y, X)."""
        pieces = []
        for region in self.train_regions:
            source = self.sources["train"]
            volume = source.collection.volume(region.image)
            box = tuple(slice(a, b) for a, b in zip(region.start, region.stop, strict=True))
            pixels = volume.read((slice(None), *box)) if "c" in volume.axes else volume.read(box)[None]
            pieces.append(pixels[made_channels(self.study, source.channels)])
        return pieces

    def with_column(self, patches: PatchSet, part: Part, column: str) -> PatchSet:
        """Return patches of a part with a column of the catalogue in their table, where the catalogue has it."""
        rows = self.sources[part].collection.columns("id", column)
        if column in patches.table or column not in rows:
            return patches
        known = dict(zip(rows["id"].astype(str), rows[column], strict=True))
        return replace(patches, table=patches.table.assign(**{column: [known[str(i)] for i in patches.table["image"]]}))

    def at(self, synthetic: PatchSet) -> PatchSet:
        """Return the real patches from whose place (columns ``real_image`` and ``real_origin``) each synthetic one took its conditions."""
        shape = self.study.patches.shape
        places = []
        for image, text in zip(synthetic.table["real_image"], synthetic.table["real_origin"], strict=True):
            origin = tuple(json.loads(text))
            places.append(PatchLocation(str(image), origin, (1,) * (len(origin) - len(shape)) + shape))  # a plane of a volume is 1 thick
        return self._named(self.sources["holdout"].at(places))

    def _grid(self, part: Part) -> PatchSet:
        return self._named(self.sources[part].grid(limit=self.study.validation.samples, seed_key=(*self.key, part)))

    def _tiles(self, part: Part, limit: int) -> PatchSet:
        return self._named(self.sources[part].grid(limit=limit, stride=self.study.patches.shape, seed_key=(*self.key, part, "tiles")))

    @cached_property
    def left_right(self) -> str | None:
        """The axis between left and right that all images of the holdout share; None where they do not say."""
        source = self.sources["holdout"]
        found = {left_right_axis(source.collection.volume(name).affine) for name in sorted({r.image for r in source.regions})}
        return found.pop() if len(found) == 1 else None

    @cached_property
    def optics(self) -> dict[str, Any]:
        """Numerical aperture and wavelengths as the study's sources give them, else as the images of the holdout say, where all agree."""
        source, given = self.sources["holdout"], [s.optics for s in self.study.sources]
        volumes = [source.collection.volume(name) for name in sorted({r.image for r in source.regions})]
        aperture = {v.acquisition.get("numerical_aperture") for v in volumes}
        waves = {tuple((c.name, c.wavelength_nm) for c in v.channels) for v in volumes}
        found: dict[str, Any] = {
            "numerical_aperture": aperture.pop() if len(aperture) == 1 else None,
            "wavelengths_nm": {name: nm for name, nm in waves.pop() if nm} if len(waves) == 1 else {},
        }
        if given[0] is None or any(optics != given[0] for optics in given):
            return found
        known = {**found["wavelengths_nm"], **given[0].wavelengths_nm}
        return {"numerical_aperture": given[0].numerical_aperture, "wavelengths_nm": known}

    @cached_property
    def detector(self) -> dict[str, dict[str, float]]:
        """The camera's offset in each channel, in grey levels, as all of the study's sources give it; no key where none gives any."""
        given = [{} if s.detector is None else s.detector.offset for s in self.study.sources]
        return {"offsets": dict(set.intersection(*(set(g.items()) for g in given)))} if any(given) else {}

    def _named(self, patches: PatchSet) -> PatchSet:
        about = {**patches.attributes, "left_right": self.left_right, **self.optics, **self.detector, **_told(self.study)}
        return _made(self.study, replace(patches, attributes=about))


def real_data(
    study: Study, collection: Path, regions: pd.DataFrame | None, *, train: Path | None = None, key: tuple[str, ...] = ()
) -> RealData:
    """Open the real side of a study.

    Parameters
    ----------
    collection : Path
        Collection of real images.
    regions : DataFrame or None
        The split; without one the whole collection is holdout, and ``train`` (if given) is a collection of training images.

    Raises
    ------
    InputError
        Kind ``too-small`` where images to be judged are smaller than a patch. The training part of a split may hold such images: they are
        judged as what was learned from, mirrored as they were then.
    """
    about = (study.patches.shape, study.conditions, study.patches.min_foreground)
    opened = Collection(collection)
    if regions is None:
        sources = {"holdout": PatchSource(opened, _judged(opened, "holdout", study, "real images"), "holdout", *about)}
        if train is not None:
            other = Collection(train)
            sources["train"] = PatchSource(other, _judged(other, "train", study, "training images"), "train", *about)
    else:
        for part in ("calibration", "holdout"):
            refuse_short(from_table(regions, part), study.patches.shape, part)
        sources = {part: PatchSource(opened, regions, part, *about) for part in ("train", "calibration", "holdout")}
    return RealData(study, sources, (study.digest, "validate", *key))  # type: ignore[arg-type]


def whole(collection: Collection, part: Part) -> pd.DataFrame:
    """Return regions that put every image, whole, into one part; its groups are those of the catalogue."""
    regions = []
    for row in collection.columns("id", "group", "axes", "shape").itertuples():
        extent = _extent(row.axes, row.shape)
        regions.append(Region(str(row.id), part, str(row.group), (0,) * len(extent), extent))
    return to_table(regions)


def _judged(collection: Collection, part: Part, study: Study, where: str) -> pd.DataFrame:
    """Return :func:`whole`, if each image holds a patch."""
    regions = whole(collection, part)
    refuse_short(from_table(regions), study.patches.shape, where)
    return regions


def made_channels(study: Study, channels: Sequence[str]) -> list[int]:
    """Return which of these channels a study asks for: all that no image condition gives."""
    given = {name for c in study.conditions if isinstance(c, ImageCondition) for name in c.channels}
    return [i for i, name in enumerate(channels) if name not in given]


def _made(study: Study, patches: PatchSet) -> PatchSet:
    places = made_channels(study, patches.channels)
    if len(places) in (0, len(patches.channels)):
        return patches
    return replace(patches, images=patches.images[:, places], channels=tuple(patches.channels[i] for i in places))


def _told(study: Study) -> dict[str, Any]:
    """Return what the study says of all its images, real and synthetic."""
    return {"classes": class_names(study), "dose": study.validation.dose}


def class_names(study: Study) -> dict[str, int]:
    """Return the names and numbers of label classes where the study names them."""
    for source in study.sources:
        if isinstance(source.labels, TissueMaps):
            return {name: number for number, name in enumerate(source.labels.classes, start=1)}
    return {}


def synthetic_set(study: Study, path: Path | None) -> PatchSet | None:
    """Return the samples of a synthetic collection, with conditions and groups as in its catalogue; None where there is no collection.

    Images of another shape than the study's samples (a collection made elsewhere) are cut into patches, without their conditions.

    Raises
    ------
    InputError
        Kind ``too-small`` where images are smaller than a patch.
    """
    if path is None or not path.exists():
        return None
    collection = Collection(path)
    table = collection.catalogue.reset_index(drop=True)
    if table.empty:
        return None
    if {_extent(row.axes, row.shape) for row in table.itertuples()} != {study.patches.shape}:
        source = PatchSource(collection, _judged(collection, "holdout", study, "synthetic images"), "holdout", study.patches.shape)
        cut = source.grid(limit=study.validation.samples, seed_key=(study.digest, "validate", "synthetic"))
        return _made(study, replace(cut, attributes=_told(study)))
    first = collection.volume(str(table["id"][0]))
    images, masks, labelled = Stack(len(table)), Stack(len(table)), True
    for name in table["id"]:
        volume = collection.volume(str(name))
        images.add(volume.read() if "c" in volume.axes else volume.read()[None])
        drawn = volume.read_labels() if labelled else None
        labelled = drawn is not None
        if drawn is not None:
            masks.add(drawn)
    whole_set = PatchSet(
        images.array,
        masks.array if labelled else None,
        table["group"].astype(str).to_numpy(dtype=object),
        table,
        first.spacing or Spacing((1.0,) * len(study.patches.shape), "pixel"),
        tuple(c.name for c in first.channels),
        first.label_kind,
        _told(study),
    )
    return _made(study, whole_set)


def refuse_small(study: Study, path: Path) -> None:
    """Refuse a synthetic collection with images smaller than a patch, before anything is made of it."""
    if path.exists():
        _judged(Collection(path), "holdout", study, "synthetic images")


def _extent(axes: Any, shape: Any) -> tuple[int, ...]:
    return tuple(int(n) for a, n in zip(str(axes), json.loads(str(shape)), strict=True) if a in SPATIAL)
