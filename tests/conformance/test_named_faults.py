"""The faults that a synthetic set must be refused for, each for its own reason, through validation and gates as a study goes through them.

A row of ``FAULTS`` names a fault, how it is planted in real images that nobody has seen, the gate that must refuse it, and what must not
refuse it as well. On the images beside the repository where they are; two rows, and real images that must be accepted, on those that ship.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from least_study import least_study
from real_sets import ABSENT, available, real_set
from scipy import ndimage

from sciimg.decision import judged
from sciimg.io.image import Image
from sciimg.protocol.models import Study
from sciimg.randomness import generator
from sciimg.records import GateResult
from sciimg.stages.baseline import baseline
from sciimg.stages.validate import validate
from sciimg.store import CollectionWriter
from sciimg.types import PatchSet, Spacing
from sciimg.validation.disguises import DISGUISES, disguised, span_of
from sciimg.validation.physics import controls
from sciimg.validation.resampling import group_index

TWICE = "At most twice what 95 % of real halves differ by."


def effect(gate: str, check: str) -> dict[str, Any]:
    return {"name": gate, "metric": f"{check}_effect", "at_most": 2, "why": TWICE}


PICTURE = [effect("intensities", "intensity-law"), effect("sharpness", "power-spectrum")]
SET = [
    {"name": "variety", "metric": "coverage_ratio_texture", "at_least": 0.5, "judged_on": "value", "why": "Half of what real images give."},
    {
        "name": "spread",
        "metric": "vendi_ratio_texture",
        "at_least": 0.7,
        "judged_on": "value",
        "why": "Halves of real images give 0.9 to 1.1 of each other's, other fields 0.8; an eighth repeated gives 0.6.",
    },
]
GATES: dict[str, list[dict[str, Any]]] = {
    "micro": [
        *PICTURE,
        effect("noise", "noise-law"),
        effect("objects", "object-morphology"),
        *SET,
        {"name": "masks", "metric": "mask-fidelity", "at_least": 0.8, "why": "Four fifths of what real images give."},
    ],
    "memory": [{"name": "copies", "metric": "copy-rate", "at_most": 0.15, "why": "What some dozen images can exclude."}],
    "brain": [PICTURE[1], effect("contrast", "contrast-order"), effect("tissues", "tissue-snr"), SET[1]],
    "hippocampus": [*PICTURE, effect("tissues", "tissue-snr"), SET[1]],
    "head": [effect("noise", "rician-noise"), effect("air", "air-quality"), effect("sharpness", "k-space-slope")],
}
PLAN: dict[str, dict[str, Any]] = {
    "micro": {"modality": "fluorescence", "physics": ["intensity-law", "power-spectrum", "noise-law", "object-morphology"]},
    "memory": {"modality": "electron", "physics": []},
    "brain": {"modality": "mri", "physics": ["power-spectrum", "contrast-order", "tissue-snr"]},
    "hippocampus": {"modality": "mri", "physics": ["intensity-law", "power-spectrum", "tissue-snr"]},
    "head": {"modality": "mri", "physics": ["rician-noise", "air-quality", "k-space-slope"]},
}
SETS = {
    "micro": ("nuclei", "tissue"),
    "memory": ("axons", "tissue"),
    "brain": ("brains", "template"),
    "hippocampus": ("hippocampi", None),
    "head": ("echo-planar", None),
}  # beside the repository; shipped

Plant = Callable[[PatchSet, PatchSet, np.random.Generator], PatchSet]  # of images that nobody has seen, and those of the training part


def each(plant: Callable[[PatchSet, np.random.Generator], PatchSet]) -> Plant:
    return lambda fresh, train, rng: plant(fresh, rng)


def smoothed(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Noise removed and edges kept: a median over 3 pixels."""
    return controls.with_images(patches, ndimage.median_filter(patches.images.astype(float), (1, 1, *(3,) * patches.dims)))


def darkest(fresh: PatchSet, train: PatchSet, rng: np.random.Generator) -> PatchSet:
    means = fresh.images[:, 0].reshape(len(fresh), -1).mean(axis=1)
    return repeatedly(fresh, np.argsort(means, kind="stable")[: len(fresh) // 4])


def eighth(fresh: PatchSet, train: PatchSet, rng: np.random.Generator) -> PatchSet:
    return repeatedly(fresh, rng.permutation(len(fresh))[: len(fresh) // 8])


def repeatedly(patches: PatchSet, rows: np.ndarray) -> PatchSet:
    chosen = patches.take(np.resize(rows, len(patches)))
    return replace(chosen, groups=np.array([f"made-{i:03d}" for i in range(len(chosen))], object))


def training_copies(fresh: PatchSet, train: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Every second image is one of the training part, in one of the disguises of copies."""
    images, labels = fresh.images.copy(), None if fresh.labels is None else fresh.labels.copy()
    scale = span_of(train.images)
    for place, row in zip(range(0, len(fresh), 2), np.resize(rng.permutation(len(train)), len(fresh)), strict=False):
        name = list(DISGUISES)[place // 2 % len(DISGUISES)]
        copy = disguised(train.images[row], name, scale, rng)
        images[place] = np.clip(np.rint(copy), 0, 255) if images.dtype == np.uint8 else copy
    return replace(fresh, images=images, labels=labels)


def of_another_size(fresh: PatchSet, train: PatchSet, rng: np.random.Generator) -> PatchSet:
    return replace(fresh, spacing=Spacing(tuple(2 * v for v in fresh.spacing.values), fresh.spacing.unit))


def swapped(fresh: PatchSet, train: PatchSet, rng: np.random.Generator) -> PatchSet:
    assert fresh.labels is not None
    return replace(fresh, labels=np.roll(fresh.labels, len(fresh) // 2, axis=0))


def even_noise(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Noise that grows with the signal, replaced by as much noise everywhere."""
    images = patches.images.astype(float)
    axes = (0, 0, *(1.0,) * patches.dims)
    smooth = ndimage.gaussian_filter(images, axes)
    sigma = float(np.sqrt(np.mean((images - smooth) ** 2)))
    return controls.with_images(patches, smooth + sigma * rng.standard_normal(images.shape))


@dataclass(frozen=True)
class Fault:
    """A fault, the kind of images it is planted in, the gate that must refuse it, and gates that it must pass."""

    name: str
    of: str
    plant: Plant
    refused_by: str
    passes: tuple[str, ...] = ()
    reason: str = ""  # what the reason must say, where there is no number


PIXELS = ("intensities", "sharpness", "noise", "objects")
FAULTS = [
    Fault("blurred", "micro", each(controls.blurred(1.0)), "sharpness"),
    Fault("over-smoothed", "micro", each(smoothed), "noise"),
    Fault("noise-added", "micro", each(controls.noisier(1.0)), "noise", ("intensities",)),
    # fields differ so much in brightness that their intensities allow it; the law of their noise does not
    Fault("gamma-changed", "micro", each(controls.gamma_changed(2.0)), "noise"),
    Fault("mode-dropped", "micro", darkest, "spread"),
    Fault("duplicated", "micro", eighth, "spread", ("intensities", "sharpness", "noise", "masks")),
    Fault("training copies", "memory", training_copies, "copies"),
    Fault("objects of another size than asked for", "micro", each(controls.magnified(0.5)), "masks", ("noise",)),
    Fault("wrong voxel size", "micro", of_another_size, "objects", (), "pixels of"),
    Fault("wrong voxel size, 3D", "brain", of_another_size, "sharpness", (), "pixels of"),
    Fault("swapped labels", "micro", swapped, "masks", (*PIXELS, "variety", "spread")),
    Fault("wrong noise law", "micro", each(even_noise), "noise"),
    Fault("wrong noise law, MRI", "head", each(controls.gaussian_air), "noise"),
    Fault("T1 contrast inverted", "brain", each(controls.inverted), "contrast"),
    Fault("duplicated, MRI", "hippocampus", eighth, "spread"),
    Fault("blurred, MRI", "hippocampus", each(controls.blurred(1.0)), "sharpness"),
    Fault("noise-added, MRI", "hippocampus", each(controls.noisier(1.0)), "tissues"),
    Fault("gamma-changed, MRI", "hippocampus", each(controls.gamma_changed(2.0)), "intensities"),
]


def study_of(of: str, shape: tuple[int, ...]) -> Study:
    mask = of == "micro"
    return least_study(
        source={"modality": PLAN[of]["modality"]},
        patches={"shape": list(shape)},
        conditions=[{"kind": "mask"}] if mask else [],
        generate={"count": 1000},
        validation={"samples": 60, "bootstrap": 50, "physics": PLAN[of]["physics"], "features": ["texture"], "segmenter_steps": 60},
        gates=GATES[of],
    )


def write(path: Path, patches: PatchSet, prefix: str) -> Path:
    """Write images as a collection; each is an image of its own."""
    with CollectionWriter(path, synthetic=prefix == "made") as writer:
        for i in range(len(patches)):
            image = Image.from_array(patches.images[i], "c" + "zyx"[-patches.dims :], patches.spacing, patches.channels)
            labels = None if patches.labels is None else patches.labels[i]
            kind = patches.label_kind if labels is not None else None
            writer.add(f"{prefix}{i:03d}", image, group=str(patches.groups[i]), conditions={}, labels=labels, label_kind=kind)
    return path


@dataclass(frozen=True)
class Ready:
    """A study with its real images on disk, and images that nobody has seen."""

    study: Study
    folder: Path
    fresh: PatchSet
    train: PatchSet
    train_path: Path | None

    def judged(self, made: PatchSet, name: str) -> tuple[str, dict[str, GateResult]]:
        """Return the decision on a set, and the result of every gate."""
        place = self.folder / name
        metrics = validate(
            self.study,
            real=self.folder / "real",
            regions=None,
            synthetic=write(place / "made", made, "made"),
            made_baseline=self.folder / "baseline",
            train=self.train_path,
            out=place / "out",
        )
        decision, gates = judged(self.study, metrics)
        return decision, {g.gate: g for g in gates}


MOST = {"micro": 60, "memory": 60, "brain": 30, "hippocampus": 40, "head": 40}  # images of a part


def prepared(of: str, kind: str, folder: Path) -> Ready:
    """Deal the groups of a kind of images: two fifths holdout, the rest training and images that nobody has seen."""
    everything = real_set(kind).images
    names, index = group_index(everything.groups)
    order = generator("named-faults", kind).permutation(len(names))
    cuts = [round(0.4 * len(names)), round(0.7 * len(names))]
    parts = (np.flatnonzero(np.isin(index, part)) for part in np.split(order, cuts))
    real, train, fresh = (everything.take(rows[: MOST[of]]) for rows in parts)
    study = study_of(of, everything.images.shape[2:])
    write(folder / "real", real, "real")
    path = write(folder / "train", train, "train")
    # masks are read by a segmenter that learned from the training part, which is searched for copies where that is asked
    baseline(study, real=folder / "real", regions=None, train=path if of == "micro" else None, out=folder / "baseline")
    return Ready(study, folder, fresh, train, path if of == "memory" else None)


@cache
def ready(of: str, shared: bool, folder: Path) -> Ready:
    kind = SETS[of][0 if shared else 1]
    assert kind is not None
    return prepared(of, kind, folder / f"{of}-{kind}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


def told(gates: dict[str, GateResult]) -> str:
    return "; ".join(f"{g.gate}: {g.outcome}, {g.reason}" for g in gates.values())


def refuse(fault: Fault, study: Ready) -> None:
    made = fault.plant(study.fresh, study.train, generator("named-faults", fault.name))
    decision, gates = study.judged(made, fault.name.replace(" ", "-"))
    assert decision == "refused", told(gates)
    found = gates[fault.refused_by]
    assert found.outcome == "failed" and fault.reason in found.reason, told(gates)
    assert fault.reason or found.value is not None, "refused by a number, not because there is none: " + told(gates)
    assert all(gates[g].outcome == "passed" for g in fault.passes), told(gates)


def accept(study: Ready) -> None:
    decision, gates = study.judged(study.fresh, "honest")
    assert decision == "accepted", told(gates)


def test_images_that_ship_are_accepted_and_faults_refused(place: Path) -> None:
    study = ready("brain", False, place)
    accept(study)
    for name in ("T1 contrast inverted", "wrong voxel size, 3D"):
        refuse(next(f for f in FAULTS if f.name == name), study)


def missing(of: str) -> bool:
    return bool(available()[SETS[of][0]])


@pytest.mark.slow
@pytest.mark.parametrize("of", SETS)
def test_real_images_are_accepted(of: str, place: Path) -> None:
    if missing(of):
        pytest.skip(ABSENT)
    accept(ready(of, True, place))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=[f.name for f in FAULTS])
def test_a_fault_is_refused_for_its_reason(fault: Fault, place: Path) -> None:
    if missing(fault.of):
        pytest.skip(ABSENT)
    refuse(fault, ready(fault.of, True, place))


def test_every_fault_of_the_list_has_a_row() -> None:
    listed = (
        "blurred, over-smoothed, noise-added, gamma-changed, mode-dropped, duplicated, training copies, wrong voxel size, swapped labels"
    )
    rows = {f.name for f in FAULTS}
    assert {*listed.split(", "), "wrong noise law", "T1 contrast inverted"} <= rows
    assert {f.of for f in FAULTS} == set(SETS) == set(GATES) == set(PLAN) == set(MOST)  # none is left out, here or in the tests above
    assert all(f.refused_by in {g["name"] for g in GATES[f.of]} for f in FAULTS)
