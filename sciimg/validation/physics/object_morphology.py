"""Object morphology: size, shape, number and holes of objects that one independent segmenter finds in real and in synthetic images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import euler_number, marching_cubes, mesh_surface_area, perimeter_crofton, regionprops

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
_ROUNDNESS = np.linspace(0, 1.2, 33)  # the outlines of a few pixels are taken a little too short, so beyond 1


class ObjectMorphology(Check):
    """Distance between distributions of object size, elongation, roundness and number, and between foregrounds and Euler numbers.

    Roundness in 2D is the form factor, 4 pi area / perimeter², in 3D the sphericity, the surface of a ball of the same volume over the
    surface, in units of the spacing; 1 for a disc or ball, less for spikes. The Euler number of an object is its pieces less its holes; in
    3D pieces less tunnels plus cavities. Its mean has no weights: one large object with a hole must not speak for many.
    """

    name = "object-morphology"
    estimator = (
        "objects found by the segmenter trained on the real training part, in real and synthetic images alike; 1-Wasserstein distances "
        "of ln(size), eccentricity and roundness (form factor by Crofton's perimeter; sphericity by marching cubes) over objects that do "
        "not touch the border (Miles-Lantuejoul weights), and of the number per sample; difference of foreground fraction and of the "
        "mean Euler number (holes) of the objects inside"
    )
    unit = (
        "size: real standard deviations of ln(size); eccentricity, roundness: 1; number: real mean; foreground: fraction of pixels; euler: "
        "holes for each object"
    )
    source = (
        "Second moments: Teague 1980, doi:10.1364/JOSA.70.000920; edge correction: Miles 1974, Lantuejoul 1978, as in Serra 1982; form "
        "factor: Cox 1927, J. Paleontol. 1:179; sphericity: Wadell 1935, doi:10.1086/624298; surface: Lewiner et al. 2003, "
        "doi:10.1080/10867651.2003.10487582; perimeter and Euler number: Ohser et al. 2002, doi:10.1007/3-540-45782-8_12"
    )
    labels = "segmented"
    controls = (Control("half-size", magnified(0.5)),)

    def obstacle(self, real: PatchSet) -> str:
        if real.label_kind != "instances":
            return "objects need instance labels; these labels are classes" if real.label_kind else "the real images have no labels"
        found = 0 if real.labels is None else sum(len(np.unique(x)) - 1 for x in real.labels)
        return f"{found} objects in the real holdout; {_LEAST_OBJECTS} are needed" if found < _LEAST_OBJECTS else ""

    def frame(self, real: PatchSet) -> _Frame:
        regions = [_regions(label, _spacing(real)) for label in _labels(real)]
        sizes = np.array([np.log(region.num_pixels) for whole, _ in regions for region, _ in whole])
        sizes = sizes if sizes.size else np.array([0.0, 1.0])
        numbers = np.array([number for _, number in regions])
        edges = np.arange(-0.5, 4 * max(numbers.max(), 1.0) + 1)
        return _Frame(edges_of(sizes, _BINS), edges, float(sizes.std()) or 1.0, max(float(numbers.mean()), 1.0))

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        rows = []
        for label in _labels(patches):
            found = _objects(label, _spacing(patches))
            parts = (
                counts(found.sizes, frame.sizes, found.weights),
                counts(found.elongations, _ELONGATION, found.weights),
                counts(found.roundness, _ROUNDNESS, found.weights),
                counts(np.array([found.number]), frame.numbers),
            )
            rows.append(np.concatenate([*parts, [np.mean(label > 0), found.euler.sum(), len(found.euler)]]))
        return np.array(rows)

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        a, b = _split(first, frame), _split(second, frame)
        return {
            "size": wasserstein(a[0], b[0], frame.sizes) / frame.spread,
            "eccentricity": wasserstein(a[1], b[1], _ELONGATION),
            "roundness": wasserstein(a[2], b[2], _ROUNDNESS),
            "number": wasserstein(a[3], b[3], frame.numbers) / frame.mean_number,
            "foreground": np.abs(a[4] - b[4]),
            "euler": np.abs(a[5] - b[5]),
        }

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {"size": 0.05, "eccentricity": 0.01, "roundness": 0.01, "number": 0.02, "foreground": 0.005, "euler": 0.05}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        sizes, elongations, roundness, numbers, _, _ = _split(total[None], frame)
        return {
            "ln-size-edges": frame.sizes,
            "ln-size": sizes[0] / max(sizes.sum(), 1.0),
            "eccentricity-edges": _ELONGATION,
            "eccentricity": elongations[0] / max(elongations.sum(), 1.0),
            "roundness-edges": _ROUNDNESS,
            "roundness": roundness[0] / max(roundness.sum(), 1.0),
            "number": numbers[0] / max(numbers.sum(), 1.0),
        }


def _labels(patches: PatchSet) -> NDArray[np.int32]:
    assert patches.labels is not None  # the engine has segmented them
    return patches.labels


def _spacing(patches: PatchSet) -> tuple[float, ...]:
    return patches.spacing.values[-patches.dims :]


def _split(rows: Array, frame: _Frame) -> tuple[Array, Array, Array, Array, Array, Array]:
    ends = np.cumsum([len(edges) - 1 for edges in (frame.sizes, _ELONGATION, _ROUNDNESS, frame.numbers)])
    sizes, elongations, roundness, numbers, sums = np.split(rows, ends, axis=1)
    samples = np.maximum(numbers.sum(axis=-1), 1.0)
    return sizes, elongations, roundness, numbers, sums[:, 0] / samples, sums[:, 1] / np.maximum(sums[:, 2], 1.0)


@dataclass(frozen=True)
class _Objects:
    """Objects that lie inside a frame, with the weight that makes up for those of their size that do not; ``number`` counts all."""

    sizes: Array  # ln of pixels
    elongations: Array
    roundness: Array
    euler: Array  # pieces less holes
    weights: Array
    number: float


def _regions(label: NDArray[np.int32], spacing: tuple[float, ...]) -> tuple[list[tuple[Any, float]], int]:
    """Return the objects inside the frame, each with its Miles-Lantuejoul weight (Serra 1982), and the number of all.

    Without the weights a frame shows too few large objects.
    """
    regions = regionprops(label, spacing=spacing)
    whole = []
    for region in regions:
        box = np.array(region.bbox).reshape(2, -1)
        if np.any(box[0] == 0) or np.any(box[1] == label.shape):
            continue
        fits = np.prod(1 - (box[1] - box[0]) / np.array(label.shape))  # chance that an object of this extent lies inside the frame
        whole.append((region, 1 / max(float(fits), 1 / _HEAVIEST)))
    return whole, len(regions)


def _objects(label: NDArray[np.int32], spacing: tuple[float, ...]) -> _Objects:
    whole, number = _regions(label, spacing)
    rows = [
        (np.log(float(r.num_pixels)), _elongation(r), roundness(r.image, spacing), euler_number(r.image), weight) for r, weight in whole
    ]
    sizes, elongations, round_, euler, weights = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return _Objects(sizes, elongations, round_, euler, weights, float(number))


def _elongation(region: Any) -> float:
    moments = region.inertia_tensor_eigvals
    return float(np.sqrt(max(0.0, 1 - moments[-1] / moments[0]))) if moments[0] > 0 else 0.0


def roundness(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    """Return the form factor (Y, X), in pixels, or the sphericity (Z, Y, X), in units of the spacing, of one object; a ball has 1."""
    padded = np.pad(mask, 1)
    if mask.ndim == 2:
        return float(4 * np.pi * mask.sum() / perimeter_crofton(padded) ** 2)
    points, faces, _, _ = marching_cubes(padded.astype(np.float32), 0.5, spacing=spacing)
    volume = mask.sum() * np.prod(spacing)
    return float(np.cbrt(np.pi * (6 * volume) ** 2) / mesh_surface_area(points, faces))
