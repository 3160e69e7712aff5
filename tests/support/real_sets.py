"""Real images of several kinds, each with what a study knows of it: groups, labels, classes. Where they lie beside the repository, or ship.

``sets()`` gives every kind that is there and says why the others are not. Images of one group are of one field, volume, slice or tile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.types import PatchSet, Spacing

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
ABSENT = "needs ../shared/data, which users do not have"
SIDE = 64

Segment = Callable[[PatchSet], PatchSet]


@dataclass(frozen=True)
class RealSet:
    """Real images of one kind.

    Parameters
    ----------
    about : str
        What they are, and what a group is.
    modality : str
        As a study calls it.
    images : PatchSet
        ``table`` may have the column ``class``.
    """

    name: str
    about: str
    modality: str
    images: PatchSet
    segment: Segment | None = None


def _set(
    images: Sequence[NDArray[Any]],
    groups: Sequence[str],
    spacing: Spacing,
    *,
    labels: Sequence[NDArray[Any]] | None = None,
    kind: Any = None,
    classes: Sequence[str] | None = None,
    channels: Sequence[str] = ("grey",),
    attributes: dict[str, Any] | None = None,
) -> PatchSet:
    table = pd.DataFrame({"number": range(len(images))})
    if classes is not None:
        table["class"] = list(classes)
    drawn = None if labels is None else np.stack(labels).astype(np.int32)
    return PatchSet(np.stack(images), drawn, np.array(groups, object), table, spacing, tuple(channels), kind, attributes or {})


def _tiles(shape: Sequence[int], side: int) -> list[tuple[slice, ...]]:
    starts = (range(0, n - side + 1, side) for n in shape)
    return [tuple(slice(s, s + side) for s in start) for start in product(*starts)]


def _some(items: Sequence[Any], count: int, *key: str) -> list[Any]:
    return [items[i] for i in np.sort(generator("real-sets", *key).permutation(len(items))[:count])]


PIXEL = Spacing((1.0, 1.0), "pixel")


def nuclei(side: int = SIDE, per_field: int = 5, name: str = "nuclei") -> RealSet:
    """Fluorescence nuclei, up to five patches with a nucleus from each field of 256 x 256 pixels."""
    from skimage.io import imread

    folder = SHARED / "dsb2018_nuclei"
    rows = pd.read_csv(folder / "metadata.csv").query("acquisition == '256x256'")
    found: dict[str, list[Any]] = {}
    for row in rows.itertuples():
        image = imread(folder / "images" / f"{row.image_id}.png")
        grey = np.rint(image[..., :3].mean(axis=2)).astype(np.uint8) if image.ndim == 3 else image
        mask = imread(next((folder / "masks").glob(f"{row.image_id}.*"))).astype(np.int32)
        tiles = [(grey[t], mask[t], row.phenotype) for t in _tiles(grey.shape, side) if np.mean(mask[t] > 0) > 0.02]
        found.setdefault(row.field_id, []).extend(tiles)
    chosen = [(field, tile) for field, tiles in sorted(found.items()) for tile in _some(tiles, per_field, field)]
    images = _set(
        [t[0][None] for _, t in chosen],
        [f for f, _ in chosen],
        PIXEL,
        labels=[t[1] for _, t in chosen],
        kind="instances",
        classes=[t[2] for _, t in chosen],
    )
    return RealSet(name, f"fluorescence nuclei (BBBC038), {side} x {side}; a group is a field", "fluorescence", images, otsu_objects)


def cells() -> RealSet:
    """Drosophila cells in three channels, 64 x 64."""
    from skimage.io import imread

    channels = {c: imread(SHARED / "hcs_multichannel" / "fly_kc167" / f"01_POS002_{c}.TIF") for c in "DFR"}
    whole = np.stack(list(channels.values()))
    tiles = _some(_tiles(whole.shape[1:], SIDE), 160, "cells")
    images = _set([whole[(slice(None), *t)] for t in tiles], [f"tile-{i:03d}" for i in range(len(tiles))], PIXEL, channels=tuple(channels))
    return RealSet("cells", "Drosophila Kc167 cells, three stains, 64 x 64 tiles of one field; a group is a tile", "fluorescence", images)


def axons() -> RealSet:
    """Myelinated axons in an electron microscope, 64 x 64."""
    from skimage.io import imread

    whole = imread(SHARED / "em_axons" / "data_test_image.png")
    tiles = _some(_tiles(whole.shape, SIDE), 160, "axons")
    spacing = Spacing((0.07, 0.07), "micrometer")
    images = _set([whole[t][None] for t in tiles], [f"tile-{i:03d}" for i in range(len(tiles))], spacing)
    return RealSet("axons", "myelinated axons in an electron microscope, 64 x 64 tiles of one image; a group is a tile", "electron", images)


def hippocampi(side: tuple[int, ...] = (28, 28, 28)) -> RealSet:
    """The middle of T1 volumes around the hippocampus, with head and body; only volumes of one intensity scale."""
    import nibabel

    folder = SHARED / "hippocampus_mri"
    rows = pd.read_csv(folder / "metadata.csv").query("intensity_batch == 'float32'")
    images, labels, kinds, names = [], [], [], []
    for row in rows.itertuples():
        volume = np.asarray(nibabel.load(next((folder / "images").glob(f"{row.subject}.nii*"))).dataobj, np.float32)
        drawn = np.asarray(nibabel.load(next((folder / "labels").glob(f"{row.subject}.nii*"))).dataobj).astype(np.int32)
        if any(n < s for n, s in zip(volume.shape, side, strict=True)):
            continue
        box = tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(volume.shape, side, strict=True))
        low, high = np.quantile(volume, [0.005, 0.995])  # as the study of hippocampi prepares them
        images.append((np.clip((volume[box] - low) / (high - low), 0, 1) * 10000).astype(np.float32)[None])
        labels.append(drawn[box])
        kinds.append(row.volume_tertile)
        names.append(row.subject)
    classes = {"classes": {"anterior": 1, "posterior": 2}}
    found = _set(images, names, Spacing((1.0,) * 3, "millimeter"), labels=labels, kind="classes", classes=kinds, attributes=classes)
    about = "T1 around the hippocampus (Decathlon task 4), 28 x 28 x 28; a group is a volume"
    return RealSet("hippocampi", about, "mri", found)


def heads() -> RealSet:
    """Raw T1 slices of whole heads with their air, of two patients."""
    import nibabel

    images, names = [], []
    for path in sorted((SHARED / "ms_brain_mri" / "longitudinal_raw").glob("*/*T1W.nii.gz")):
        volume = np.asarray(nibabel.load(path).dataobj)
        for z in range(10, volume.shape[2] - 10):
            images.append(np.rot90(volume[..., z])[None].astype(np.uint16))
            names.append(f"{path.parent.name}-{z:02d}")
    found = _set(images, names, Spacing((0.9, 0.9), "millimeter"), channels=("t1",), attributes={"left_right": "x"})
    return RealSet("heads", "raw T1 slices of two heads with their air (Lesjak 2017), 256 x 256; a group is a slice", "mri", found)


def echo_planar() -> RealSet:
    """Echo-planar images of one head with the noise of the air around it: 15 positions at ten times."""
    import pydicom

    folder = SHARED / "dicom_mr" / "nih_epi"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "GE" in str(path.relative_to(folder))]
    images = [pydicom.dcmread(path).pixel_array.astype(np.uint16)[None] for path in files]
    shape = images[0].shape
    images = [image for image in images if image.shape == shape]
    found = _set(images, [f"image-{i:03d}" for i in range(len(images))], Spacing((3.75, 3.75), "millimeter"), channels=("epi",))
    about = "echo-planar images of one head with their air (dcm_qa_nih), 64 x 64, 15 positions at ten times; a group is an image"
    return RealSet("echo-planar", about, "mri", replace(found, attributes={"left_right": "x"}))


def brains(side: int = 24) -> RealSet:
    """T1 of a brain beside the grey and white matter of the template that it was registered to."""
    import nibabel

    path = next((SHARED / "ms_brain_mri" / "cross_sectional_MNI").glob("*/T1_*.nii.gz"))
    image = nibabel.load(path)
    volume = np.asarray(image.dataobj, np.float32)
    return _brain("brains", "T1 of one patient (Lesjak 2016), with tissues of the ICBM template", volume, image.affine, side)


def template(side: int = 24) -> RealSet:
    """The T1 template that ships in nilearn, with its grey and white matter."""
    import nibabel

    image = nibabel.load(_icbm("t1"))
    return _brain("template", "ICBM 152 T1 template as shipped in nilearn", np.asarray(image.dataobj, np.float32), image.affine, side)


def _icbm(kind: str) -> Path:
    import importlib.util

    found = importlib.util.find_spec("nilearn")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "datasets" / "data" / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"


def _brain(name: str, about: str, volume: NDArray[np.float32], affine: NDArray[Any], side: int) -> RealSet:
    import nibabel
    from scipy import ndimage

    maps = {kind: nibabel.load(_icbm(kind)) for kind in ("gm", "wm")}
    onto = np.linalg.inv(maps["gm"].affine) @ affine
    there = {
        kind: ndimage.affine_transform(np.asarray(m.dataobj, np.float32), onto[:3, :3], onto[:3, 3], volume.shape, order=1)
        for kind, m in maps.items()
    }
    top = max(float(there["gm"].max()), float(there["wm"].max()))
    labels = np.where(there["wm"] > 0.5 * top, 2, np.where(there["gm"] > 0.5 * top, 1, 0)).astype(np.int32)
    tiles = [t for t in _tiles(volume.shape, side) if all(np.sum(labels[t] == k) > 200 for k in (1, 2))]
    images = _set(
        [volume[t][None] for t in tiles],
        [f"block-{i:03d}" for i in range(len(tiles))],
        Spacing((1.0,) * 3, "millimeter"),
        labels=[labels[t] for t in tiles],
        kind="classes",
        channels=("t1",),
        attributes={"classes": {"grey-matter": 1, "white-matter": 2}},
    )
    return RealSet(name, f"{about}, {side} x {side} x {side} blocks; a group is a block", "mri", images, nearest_class(images))


def tissue() -> RealSet:
    """Two stains of the colon section that ships in scikit-image, 64 x 64 tiles of all of it."""
    import tissue as section

    image, found = section.section()
    tiles = _tiles(image.shape[1:], SIDE // 2 * 2)
    images = _set(
        [image[(slice(None), *t)] for t in tiles],
        [f"tile-{i:03d}" for i in range(len(tiles))],
        PIXEL,
        labels=[found[t] for t in tiles],
        kind="instances",
        channels=("haematoxylin", "dab"),
    )
    about = "colon section as shipped in scikit-image, two stains, 64 x 64; a group is a tile"
    return RealSet("tissue", about, "brightfield", images, section.nuclei)


def fundus() -> RealSet:
    """A real scene (the retina that ships in scikit-image) seen by a camera whose noise is known."""
    import tissue as section

    parts = [section.fundus(part) for part in ("train", "calibration", "holdout")]
    images = _set([i for p in parts for i in p.images], [str(g) for p in parts for g in p.groups], PIXEL, channels=("green",))
    about = "retina as shipped in scikit-image, seen by a simulated camera of known gain, 64 x 64; a group is a tile"
    return RealSet("fundus", about, "fluorescence", images)


def nearest_class(known: PatchSet) -> Segment:
    """Return a segmenter that needs no training: the class (or the background) whose mean brightness is nearest."""
    from scipy import ndimage

    assert known.labels is not None
    values = np.array([np.mean(known.images[:, 0][known.labels == k]) for k in range(int(known.labels.max()) + 1)])

    def segment(patches: PatchSet) -> PatchSet:
        smooth = ndimage.gaussian_filter(patches.images[:, 0].astype(float), (0, *(0.7,) * patches.dims))
        found = np.stack([np.abs(one[..., None] - values).argmin(-1) for one in smooth])
        return replace(patches, labels=found.astype(np.int32))

    return segment


def otsu_objects(patches: PatchSet) -> PatchSet:
    """A segmenter that needs no training: Otsu's threshold on each smoothed image, connected regions."""
    from scipy import ndimage
    from skimage.filters import threshold_otsu
    from skimage.measure import label

    smooth = ndimage.gaussian_filter(patches.images[:, 0].astype(float), (0, *(1.5,) * patches.dims))
    found = [label(s > threshold_otsu(s)) if np.ptp(s) else np.zeros(s.shape, int) for s in smooth]
    return replace(patches, labels=np.stack(found).astype(np.int32), label_kind="instances")


MAKERS: dict[str, tuple[Callable[[], RealSet], str]] = {  # what makes them, and the folder of ../shared/data that they need
    "nuclei": (nuclei, "dsb2018_nuclei"),
    "nuclei-wide": (lambda: nuclei(128, 3, "nuclei-wide"), "dsb2018_nuclei"),
    "cells": (cells, "hcs_multichannel"),
    "axons": (axons, "em_axons"),
    "hippocampi": (hippocampi, "hippocampus_mri"),
    "heads": (heads, "ms_brain_mri"),
    "echo-planar": (echo_planar, "dicom_mr"),
    "brains": (brains, "ms_brain_mri"),
    "tissue": (tissue, ""),
    "template": (template, ""),
    "fundus": (fundus, ""),
}


@cache
def real_set(name: str) -> RealSet:
    """Return one kind of real images."""
    return MAKERS[name][0]()


def available() -> dict[str, str]:
    """Return, for every kind, why it is not there, or ``""``."""
    return {name: "" if not folder or (SHARED / folder).is_dir() else f"{ABSENT} ({folder})" for name, (_, folder) in MAKERS.items()}
