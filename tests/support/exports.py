"""Releases of images of every kind that an export may meet: planes and volumes, colours, floats, signed values, oblique orientation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import releases
from numpy.typing import NDArray

from sciimg.io.image import Image
from sciimg.provenance.keys import Key
from sciimg.provenance.release import publish
from sciimg.randomness import generator
from sciimg.records import Lineage, digest_of
from sciimg.store.collection import CollectionWriter
from sciimg.types import LabelKind, Spacing
from sciimg.watermark import embed

COUNT = 2


def oblique(spacing_zyx: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return an affine (voxel x, y, z to RAS mm) turned by 0.3 rad about z and 0.2 about x, with x running right to left."""
    c, s, d, t = np.cos(0.3), np.sin(0.3), np.cos(0.2), np.sin(0.2)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, d, -t], [0, t, d]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 1.0, 1.0]) @ np.diag(spacing_zyx[::-1])
    affine[:3, 3] = (12.5, -30.25, 7.0)
    return affine


@dataclass(frozen=True)
class Kind:
    """What the images of a release are. ``draw(rng)`` gives one, axes c[z]yx."""

    draw: Callable[[np.random.Generator], NDArray[Any]]
    channels: tuple[str, ...]
    spacing: Spacing
    modality: str = "fluorescence"
    label_kind: LabelKind | None = "instances"
    largest: int = 300
    affine: NDArray[np.float64] | None = None

    @property
    def axes(self) -> str:
        return "czyx" if len(self.spacing.values) == 3 else "cyx"


_MM = (1.2, 0.9, 0.7)
KINDS = {
    "planes": Kind(
        lambda r: r.integers(0, 65536, (2, 11, 14)).astype(np.uint16), ("DAPI", "GFP tag"), Spacing((0.325, 0.25), "micrometer")
    ),
    "colours": Kind(
        lambda r: r.integers(0, 256, (3, 9, 7)).astype(np.uint8), ("red", "green", "blue"), Spacing((1.0, 1.0), "pixel"), "brightfield"
    ),
    "volumes": Kind(
        lambda r: r.integers(0, 65536, (2, 5, 6, 8)).astype(np.uint16),
        ("T1", "t2w"),
        Spacing(_MM, "millimeter"),
        "mri",
        "classes",
        2,
        oblique(_MM),
    ),
    "stacks": Kind(lambda r: r.integers(-32768, 32768, (1, 4, 7, 6)).astype(np.int16), ("signal",), Spacing((40.0, 4.5, 4.5), "nanometer")),
    "floats": Kind(lambda r: r.normal(size=(1, 8, 10)).astype(np.float32), ("t1",), Spacing((0.5, 0.5), "millimeter"), "mri", None),
    "many": Kind(lambda r: r.integers(0, 9, (1, 8, 9)).astype(np.uint8), ("dna",), Spacing((1.0, 1.0), "pixel"), largest=70000),
}
ALPHA = 0.05
MARKED = {
    "marked": Kind(lambda r: r.normal(2000, 90, (2, 170, 160)).astype(np.uint16), ("dna", "actin"), Spacing((1.0, 1.0), "pixel"), largest=9)
}
_LABELS = "modality: mri, labels: {kind: files, uri: nowhere, labels: classes, values: {grey: [1], white: [2]}}"


def images_of(kind: str) -> list[tuple[NDArray[Any], NDArray[np.int32] | None]]:
    """Return pixels and labels of each image."""
    made = (KINDS | MARKED)[kind]
    rng = generator("test", "export", kind)
    out = []
    for _ in range(COUNT):
        pixels = made.draw(rng)
        if pixels.dtype.kind in "ui":
            pixels.flat[:2] = np.iinfo(pixels.dtype).min, np.iinfo(pixels.dtype).max
        labels = None if made.label_kind is None else rng.integers(0, made.largest + 1, pixels.shape[1:]).astype(np.int32)
        if labels is not None:
            labels.flat[0] = made.largest
        out.append((pixels, labels))
    return out


def study_of(kind: str) -> str:
    made = (KINDS | MARKED)[kind]
    text = releases.STUDY.replace("modality: fluorescence", _LABELS if made.label_kind == "classes" else f"modality: {made.modality}")
    if kind in MARKED:
        text = text.replace("creator: The testers}", f"creator: The testers, watermark: {{alpha: {ALPHA}}}}}")
    return text.replace("patches:", "conditions: [{kind: scalar, name: dose, measure: channel-mean, channel: a}]\npatches:")


def release_of(folder: Path, key: Key, kind: str) -> Path:
    """Make a whole release of images of this kind in ``folder/release``."""
    made = (KINDS | MARKED)[kind]
    study, files = releases.loaded(study_of(kind)), releases.evidence()
    digest = study.study.digest
    with CollectionWriter(folder / "synthetic", synthetic=True, study=digest) as writer:
        for i, (pixels, labels) in enumerate(images_of(kind)):
            told = {"dose": 0.1 + i}
            lineage = Lineage(study=digest, model=digest_of("m"), recipe="ldm", sampler="heun", steps=2, seed=0, index=i, condition=told)
            if kind in MARKED:
                pixels = embed(pixels, digest, f"ldm-{i}", ALPHA)
            image = Image.from_array(pixels, made.axes, made.spacing, channels=made.channels, affine=made.affine, source=f"ldm {i}")
            writer.add(f"ldm-{i}", image, group=f"g{i}", conditions=told, labels=labels, label_kind=made.label_kind, lineage=lineage)
    publish(
        folder / "release",
        key,
        study=study,
        decision=releases.decided(study, files),
        evidence=files,
        synthetic=folder / "synthetic",
        stages=releases.stages(),
        environment={"python": "3.11.9", "platform": "test", "machine": "x86_64", "sciimg": "0.1.0"},
        render=releases.render,
        time=releases.TIME,
    )
    return folder / "release"
