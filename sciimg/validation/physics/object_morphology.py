"""Object morphology: size, elongation and number of objects that one independent segmenter finds in real and in synthetic images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import magnified
from sciimg.validation.physics.histograms import counts, edges_of, wasserstein

Array = NDArray[np.float64]

_BINS = 32
_LEAST_OBJECTS = 20
_HEAVIEST = 8.0  # an object nearly as large as the frame must not speak for hundreds


@dataclass(frozen=True)
class _Frame:
    sizes: Array  # edges of ln(size in pixels)
    numbers: Array  # edges of objects per sample
    spread: float  # standard deviation of ln(size)
    mean_number: float


_ELONGATION = np.linspace(0, 1, 33)


class ObjectMorphology(Check):
    """Distance between distributions of object size, elongation and number, and between foreground fractions."""

    name = "object-morphology"
    estimator = (
        "objects found by the segmenter trained on the real training part, in real and synthetic images alike; 1-Wasserstein distances "
        "of ln(size) and eccentricity over objects that do not touch the border (Miles-Lantuejoul weights), and of the number per "
        "sample; difference of foreground fraction"
    )
    unit = "size: real standard deviations of ln(size); eccentricity: 1; number: real mean; foreground: fraction of pixels"
    source = "Second moments: Teague 1980, doi:10.1364/JOSA.70.000920; edge correction: Miles 1974, Lantuejoul 1978, as in Serra 1982"
    labels = "segmented"
    controls = (Control("half-size", magnified(0.5)),)

    def obstacle(self, real: PatchSet) -> str:
        if real.label_kind != "instances":
            return "objects need instance labels; these labels are classes" if real.label_kind else "the real images have no labels"
        found = 0 if real.labels is None else sum(len(np.unique(x)) - 1 for x in real.labels)
        return f"{found} objects in the real holdout; {_LEAST_OBJECTS} are needed" if found < _LEAST_OBJECTS else ""

    def frame(self, real: PatchSet) -> _Frame:
        objects = [_objects(label) for label in _labels(real)]
        sizes = np.concatenate([o.sizes for o in objects])
        sizes = sizes if sizes.size else np.array([0.0, 1.0])
        numbers = np.array([o.number for o in objects])
        edges = np.arange(-0.5, 4 * max(numbers.max(), 1.0) + 1)
        return _Frame(edges_of(sizes, _BINS), edges, float(sizes.std()) or 1.0, max(float(numbers.mean()), 1.0))

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        rows = []
        for label in _labels(patches):
            found = _objects(label)
            parts = (
                counts(found.sizes, frame.sizes, found.weights),
                counts(found.elongations, _ELONGATION, found.weights),
                counts(np.array([found.number]), frame.numbers),
            )
            rows.append(np.concatenate([*parts, [np.mean(label > 0)]]))
        return np.array(rows)

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        a, b = _split(first, frame), _split(second, frame)
        return {
            "size": wasserstein(a[0], b[0], frame.sizes) / frame.spread,
            "eccentricity": wasserstein(a[1], b[1], _ELONGATION),
            "number": wasserstein(a[2], b[2], frame.numbers) / frame.mean_number,
            "foreground": np.abs(a[3] - b[3]),
        }

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {"size": 0.05, "eccentricity": 0.01, "number": 0.02, "foreground": 0.005}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        sizes, elongations, numbers, _ = _split(total[None], frame)
        return {
            "ln-size-edges": frame.sizes,
            "ln-size": sizes[0] / max(sizes.sum(), 1.0),
            "eccentricity-edges": _ELONGATION,
            "eccentricity": elongations[0] / max(elongations.sum(), 1.0),
            "number": numbers[0] / max(numbers.sum(), 1.0),
        }


def _labels(patches: PatchSet) -> NDArray[np.int32]:
    assert patches.labels is not None  # the engine has segmented them
    return patches.labels


def _split(rows: Array, frame: _Frame) -> tuple[Array, Array, Array, Array]:
    one = len(frame.sizes) - 1
    two = one + len(_ELONGATION) - 1
    three = two + len(frame.numbers) - 1
    samples = np.maximum(rows[:, two:three].sum(axis=-1), 1.0)
    return rows[:, :one], rows[:, one:two], rows[:, two:three], rows[:, three] / samples


@dataclass(frozen=True)
class _Objects:
    """Objects that lie inside a frame, with the weight that makes up for those of their size that do not; ``number`` counts all."""

    sizes: Array  # ln of pixels
    elongations: Array
    weights: Array
    number: float


def _objects(label: NDArray[np.int32]) -> _Objects:
    """Measure objects with Miles-Lantuejoul weights (Serra 1982): without them a frame shows too few large objects."""
    sizes, elongations, weights, number = [], [], [], 0
    for region in regionprops(label):
        number += 1
        box = np.array(region.bbox).reshape(2, -1)
        if np.any(box[0] == 0) or np.any(box[1] == label.shape):
            continue
        fits = np.prod(1 - (box[1] - box[0]) / np.array(label.shape))  # chance that an object of this extent lies inside the frame
        weights.append(1 / max(float(fits), 1 / _HEAVIEST))
        sizes.append(np.log(float(region.num_pixels)))
        moments = region.inertia_tensor_eigvals
        elongations.append(np.sqrt(max(0.0, 1 - moments[-1] / moments[0])) if moments[0] > 0 else 0.0)
    arrays = [np.array(values, dtype=np.float64) for values in (sizes, elongations, weights)]
    return _Objects(arrays[0], arrays[1], arrays[2], float(number))
