"""Tissue volumes: the fraction of each sample that one independent segmenter gives to every class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import thickened
from sciimg.validation.physics.histograms import counts, edges_of, wasserstein
from sciimg.validation.physics.tissues import class_numbers

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Frame:
    classes: dict[str, int]
    edges: tuple[Array, ...]


class TissueVolumes(Check):
    """Distance between distributions of tissue fraction, per class."""

    name = "tissue-volumes"
    estimator = (
        "classes found by the segmenter trained on the real training part, in real and synthetic images alike; 1-Wasserstein distance of "
        "the fraction of the sample's volume"
    )
    unit = "fraction of the sample's volume"
    source = "Intracranial volume fractions: MRIQC's icvs, Esteban et al. 2017, doi:10.1371/journal.pone.0184661"
    labels = "segmented"
    controls = (Control("thickened-1px", thickened),)

    def obstacle(self, real: PatchSet) -> str:
        return "" if class_numbers(real) else "tissues need class labels; the real images have none"

    def frame(self, real: PatchSet) -> _Frame:
        classes = class_numbers(real)
        return _Frame(classes, tuple(edges_of(f, 16) for f in _fractions(real, classes).T))

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        width = max(len(e) for e in frame.edges) - 1
        out = np.zeros((len(patches), len(frame.classes), width + 1))
        for i, row in enumerate(_fractions(patches, frame.classes)):
            for k, (fraction, edges) in enumerate(zip(row, frame.edges, strict=True)):
                out[i, k, : len(edges) - 1] = counts(fraction[None], edges)
                out[i, k, -1] = fraction
        return out

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        out = {}
        for k, (name, edges) in enumerate(zip(frame.classes, frame.edges, strict=True)):
            bins = len(edges) - 1
            out[name] = wasserstein(first[:, k, :bins], second[:, k, :bins], edges)
        return out

    def floors(self, frame: _Frame) -> dict[str, float]:
        return dict.fromkeys(frame.classes, 0.005)

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        samples = max(total[0, : len(frame.edges[0]) - 1].sum(), 1.0)
        return {"mean-fraction": total[:, -1] / samples}


def _fractions(patches: PatchSet, classes: dict[str, int]) -> Array:
    assert patches.labels is not None  # the engine has segmented them
    flat = patches.labels.reshape(len(patches), -1)
    return np.stack([np.mean(flat == number, axis=1) for number in classes.values()], axis=1)
