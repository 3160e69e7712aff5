"""Real images for the judges' tests: patches of scikit-image's tissue section, and a magnetic-resonance phantom of known noise."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.data import immunohistochemistry, retina

from sciimg.io.derive import prepare
from sciimg.io.image import Image
from sciimg.io.nuclei import segment_nuclei
from sciimg.protocol.data import SegmentNuclei, StainSeparation
from sciimg.types import PatchSet, Spacing

PARTS = {"train": (0, 250), "calibration": (266, 353), "holdout": (369, 512)}  # columns, with a guard gap
SIDE = 64
_NUCLEI = SegmentNuclei(kind="segment-nuclei", channel="haematoxylin", subtract="dab", min_area_px=40)


@cache
def section() -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """The colon section as haematoxylin and DAB density, (2, 512, 512), and its nuclei."""
    rgb = Image.from_array(immunohistochemistry().transpose(2, 0, 1), "cyx", Spacing((1.0, 1.0), "pixel"), ("red", "green", "blue"))
    stains = prepare(rgb, (StainSeparation(kind="stain-separation"),)).read()
    return stains, segment_nuclei(stains[0], stains[1], _NUCLEI)


def nuclei(patches: PatchSet) -> PatchSet:
    """A segmenter that needs no training: the one that labelled the section."""
    labels = [segment_nuclei(image[0], image[1], _NUCLEI) for image in patches.images]
    return replace(patches, labels=np.stack(labels).astype(np.int32), label_kind="instances")


def patches(part: str, stride: int = 32) -> PatchSet:
    """Patches of one part on a grid; groups are 64-pixel cells of the section."""
    image, nuclei = section()
    low, high = PARTS[part]
    origins = [(y, x) for y in range(0, 512 - SIDE + 1, stride) for x in range(low, high - SIDE + 1, stride)]
    return PatchSet(
        np.stack([image[:, y : y + SIDE, x : x + SIDE] for y, x in origins]),
        np.stack([nuclei[y : y + SIDE, x : x + SIDE] for y, x in origins]),
        np.array([f"{part}-{(y + SIDE // 2) // SIDE}-{(x - low + SIDE // 2) // SIDE}" for y, x in origins]),
        pd.DataFrame({"image": "ihc", "origin": [json.dumps(o) for o in origins]}),
        Spacing((1.0, 1.0), "pixel"),
        ("haematoxylin", "dab"),
        "instances",
    )


@cache
def tiles(part: str, side: int = 96) -> PatchSet:
    """Large tiles of the whole section, dealt to the parts at random: two of five to training, one to calibration, two to the holdout."""
    image, nuclei = section()
    origins = [(y, x) for y in range(0, 512 - side + 1, side) for x in range(0, 512 - side + 1, side)]
    order = np.random.default_rng(0).permutation(len(origins)).tolist()
    dealt = {"train": (0, 1), "calibration": (2,), "holdout": (3, 4)}[part]
    mine = [origins[k] for place, k in enumerate(order) if place % 5 in dealt]
    return PatchSet(
        np.stack([image[:, y : y + side, x : x + side] for y, x in mine]),
        np.stack([nuclei[y : y + side, x : x + side] for y, x in mine]),
        np.array([f"tile-{y}-{x}" for y, x in mine]),
        pd.DataFrame({"image": "ihc", "origin": [json.dumps(o) for o in mine]}),
        Spacing((1.0, 1.0), "pixel"),
        ("haematoxylin", "dab"),
        "instances",
    )


GAIN, OFFSET, READ_NOISE = 2.0, 100.0, 5.0  # grey levels a photon, grey levels, grey levels
_FUNDUS = {"train": (352, 608), "calibration": (608, 800), "holdout": (800, 1056)}  # columns


@cache
def fundus(part: str, seed: int = 0, gain: float = GAIN, offset: float = OFFSET, read_noise: float = READ_NOISE) -> PatchSet:
    """The fundus of scikit-image seen by a camera whose gain, offset and read noise are known: Poisson photons, Gaussian reading.

    Its green channel, through optics of 2.5 pixels, so that the camera's noise is all the noise there is.
    """
    low, high = _FUNDUS[part]
    scene = ndimage.gaussian_filter(retina()[None, ..., 1].astype(float), (0, 2.5, 2.5))[:, 352:1056, low:high]
    rng = np.random.default_rng((seed, low))
    photons = rng.poisson(20 + 8 * np.clip(scene - 40, 0, None))
    seen = offset + gain * photons + rng.normal(0, read_noise, scene.shape)
    image = np.clip(np.rint(seen), 0, 65535).astype(np.uint16)
    origins = [(y, x) for y in range(0, image.shape[1] - SIDE + 1, SIDE) for x in range(0, image.shape[2] - SIDE + 1, SIDE)]
    return PatchSet(
        np.stack([image[:, y : y + SIDE, x : x + SIDE] for y, x in origins]),
        None,
        np.array([f"{part}-{y}-{x}" for y, x in origins]),
        pd.DataFrame({"image": "fundus", "origin": [json.dumps(o) for o in origins]}),
        Spacing((0.1, 0.1), "micrometer"),
        ("green",),
        attributes={"numerical_aperture": 0.65, "wavelengths_nm": {"green": 520.0}},  # 2.5 cycles/um: what blur leaves beyond is nothing
    )


@cache
def exposed(part: str) -> PatchSet:
    """Samples of the same camera, dealt to the parts at random: thirds at half, usual and twice the exposure; column ``exposure``."""
    parts = [fundus(name) for name in _FUNDUS]
    images, groups = np.concatenate([p.images for p in parts]), np.concatenate([p.groups for p in parts])
    rng = np.random.default_rng(7)
    mine = np.array_split(rng.permutation(len(images)), len(_FUNDUS))[list(_FUNDUS).index(part)]
    dose = rng.permutation(np.resize([0.5, 1.0, 2.0], len(mine)))
    light = (images[mine].astype(float) - OFFSET) * dose[:, None, None, None]
    seen = np.clip(np.rint(OFFSET + light), 0, 65535).astype(np.uint16)
    table = pd.DataFrame({"image": "fundus", "origin": "[0, 0]", "exposure": dose})
    return replace(parts[0], images=seen, groups=groups[mine], table=table, attributes={"dose": "exposure"})


def brain(samples: int = 24, side: int = 24, sigma: float = 20.0, *, seed: int = 0, group: str = "s") -> PatchSet:
    """3D T1-like phantom: air, CSF, grey and white matter at 0, 200, 500, 800, with Rician noise of known sigma."""
    rng = np.random.default_rng(seed)
    values = np.array([0.0, 200.0, 500.0, 800.0])
    images, labels = [], []
    for _ in range(samples):
        relief = ndimage.gaussian_filter(rng.standard_normal((side,) * 3), 3)
        tissue = np.digitize(relief, np.quantile(relief, [0.3, 0.6])) + 1
        tissue[:, :, : side // 3] = 0
        smooth = ndimage.gaussian_filter(values[tissue], 0.4)
        noise = rng.standard_normal((2, *smooth.shape)) * sigma
        images.append(np.hypot(smooth + noise[0], noise[1])[None])
        labels.append(tissue)
    return PatchSet(
        np.stack(images).astype(np.float32),
        np.stack(labels).astype(np.int32),
        np.array([f"{group}{i:02d}" for i in range(samples)]),
        pd.DataFrame({"image": [f"{group}{i:02d}" for i in range(samples)]}),
        Spacing((1.0, 1.0, 1.0), "millimeter"),
        ("t1",),
        "classes",
        {"classes": {"csf": 1, "grey-matter": 2, "white-matter": 3}},
    )


def head(samples: int = 24, side: int = 48, sigma: float = 15.0, *, seed: int = 0, group: str = "s") -> PatchSet:
    """Whole 2D fields of view of a T1-like phantom: a nearly symmetric head amid air, with Rician noise of known sigma."""
    rng = np.random.default_rng(seed)
    values = np.array([0.0, 200.0, 500.0, 800.0])
    y, x = np.meshgrid(*(np.arange(side) - (side - 1) / 2,) * 2, indexing="ij")
    images, labels = [], []
    for _ in range(samples):
        relief = ndimage.gaussian_filter(rng.standard_normal((side, side)), 2.5)
        relief = relief + relief[:, ::-1] + 0.3 * ndimage.gaussian_filter(rng.standard_normal((side, side)), 2.5)
        inside = (y / rng.uniform(0.31, 0.35) / side) ** 2 + (x / rng.uniform(0.25, 0.29) / side) ** 2 < 1
        tissue = np.where(inside, np.digitize(relief, np.quantile(relief[inside], [0.3, 0.6])) + 1, 0)
        noise = rng.standard_normal((2, side, side)) * sigma
        images.append(np.hypot(ndimage.gaussian_filter(values[tissue], 0.4) + noise[0], noise[1])[None])
        labels.append(tissue)
    return PatchSet(
        np.stack(images).astype(np.float32),
        np.stack(labels).astype(np.int32),
        np.array([f"{group}{i:02d}" for i in range(samples)]),
        pd.DataFrame({"image": [f"{group}{i:02d}" for i in range(samples)], "origin": "[0, 0]"}),
        Spacing((1.0, 1.0), "millimeter"),
        ("t1",),
        "classes",
        {"classes": {"csf": 1, "grey-matter": 2, "white-matter": 3}, "left_right": "x"},
    )
