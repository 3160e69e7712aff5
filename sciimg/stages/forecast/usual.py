"""What stages usually cost, by the size of their work: unit costs that were measured on bundled studies, in processor seconds.

They hold for a machine on which :data:`SPEED_S` is what :func:`speed_s` measures, and are multiplied by what it measures here. Training and
generation are not among them: their unit costs depend on the recipe, and are timed (:mod:`sciimg.stages.forecast.trial`).

The numbers come from tissue-demo, nuclei, hippocampus and brain-demo, part by part; ``reports/benchmarks/costs.json`` says how far they are
off.
"""

import math
import time
from dataclasses import dataclass

from sciimg.protocol.data import ClassCondition, MaskCondition, SplitByBlocks
from sciimg.protocol.models import Study
from sciimg.protocol.validation import DownstreamPlan
from sciimg.protocol.vocabulary import USUAL_SPACES
from sciimg.stages.forecast.material import Material

SPEED_S = 0.030  # of the machine on which the costs below were measured
PAIRS = 64  # samples beside those that are released: see sciimg.stages.generate

_TURNS = 6
_SEGMENTER = {2: 16e-6, 3: 3.0e-6}  # seconds a step and a voxel of a patch; the networks for volumes are narrower
_ENCODER = {2: 12e-6, 3: 2.2e-6}
_STUDENT = {2: 6.5e-6, 3: 2.8e-6}
_DRAWS = {2: 512, 3: 128}
_SEES_OBJECTS = ("object-morphology", "point-pattern", "tissue-volumes")
_READ_BACK = {2: 1.5e-6, 3: 5e-6}  # a voxel that is segmented and described
_FIDELITY = {2: 0.7e-6, 3: 1.5e-6}


@dataclass(frozen=True)
class Usual:
    """Processor seconds on the machine of reference, MiB of the process, bytes that are kept."""

    cpu_s: float
    peak_mb: float
    kept_bytes: float


def usual(kind: str, study: Study, material: Material) -> Usual | None:
    """Return what a stage of a kind costs; None for training and generation.

    Parameters
    ----------
    kind : str
        Name of the stage without fold and recipe, e.g. ``"validate"``.
    """
    match kind:
        case "ingest":
            return _ingest(material)
        case "split":
            return _split(study, material)
        case "verify":
            again = 110.0 if study.verification is not None and study.verification.benchmarks else 0.0
            return Usual(1.8 + again, 420, 25e3)
        case "baseline":
            return _baseline(study, material)
        case "validate":
            return _validate(study, material)
        case "folds":
            return Usual(0.6, 250, 50e3)
        case "decide":
            return Usual(0.05, 200, 10e3)
        case "release":
            return Usual(2.5 + 0.001 * study.generate.count, 400, 5e6 + sample_bytes(study, material) * study.generate.count)
    return None


def samples(study: Study) -> int:
    """Return how many samples a generation makes: those to release, the pairs, and those without a watermark."""
    unmarked = min(PAIRS, study.generate.count) if study.release.watermark else 0
    return study.generate.count + min(PAIRS, study.validation.samples) + unmarked


def sample_bytes(study: Study, material: Material) -> float:
    """Return what a sample takes on disk: noise packs badly, labels pack well, and every image has a description."""
    return 0.85 * _patch(study) * _made(study, material) * _itemsize(material) + 1500


def _patch(study: Study) -> int:
    return math.prod(study.patches.shape)


def _made(study: Study, material: Material) -> int:
    given = {name for c in study.conditions if c.kind == "image" and not c.made for name in c.channels}
    return max(1, len([name for name in material.channels if name not in given]))


def _itemsize(material: Material) -> int:
    import numpy as np

    return int(np.dtype(material.dtype).itemsize)


def _ingest(material: Material) -> Usual:
    segmentation = 4e-7 * material.pixels if material.segmented else 0.0
    cpu_s = 0.6 + 0.0035 * material.images + 8e-9 * material.pixels * len(material.channels) + segmentation
    return Usual(cpu_s, 200 + min(250.0, 30 * material.largest / 2**20), 0.75 * material.bytes + 6e3 * material.images)


def _split(study: Study, material: Material) -> Usual:
    searched = 3 * 2e6 * _patch(study) / 8 ** len(study.patches.shape)  # a seeded choice where there is more: sciimg.patches.prove
    return Usual(1.7 + 5e-7 * min(material.pixels, searched), 200 + min(200.0, material.pixels / 5e4), 10e3)


def _train_pixels(study: Study, material: Material) -> float:
    plan = study.split
    guarded = 0.9 if isinstance(plan, SplitByBlocks) else 1.0
    return material.pixels * (1 - plan.calibration - plan.holdout) * guarded


def _students(study: Study, arms: int) -> float:
    plan: DownstreamPlan | None = study.validation.downstream
    return 0.0 if plan is None else arms * plan.seeds * plan.steps * _STUDENT[study.dims] * _patch(study)


def _more_arms(study: Study) -> int:
    plan = study.validation.downstream
    return 0 if plan is None else plan.synthetic_only + len(plan.ratios or ())


def _baseline(study: Study, material: Material) -> Usual:
    asked, voxels = study.validation, _patch(study)
    cpu_s = 2.0 + _students(study, 2)
    if material.labels is not None:
        cpu_s += asked.segmenter_steps * _SEGMENTER[study.dims] * voxels
    if not asked.features or "encoder" in asked.features:
        cpu_s += asked.encoder_steps * _ENCODER[study.dims] * voxels
    cpu_s += _alike(study) + _masks_read(study)  # the rehearsal
    return Usual(cpu_s, _judges_mb(study, material), 0.7e6)


def _validate(study: Study, material: Material) -> Usual:
    asked, voxels = study.validation, _patch(study)
    cpu_s = 3.0 + _alike(study) + _students(study, 2 + _more_arms(study)) + _masks_read(study)
    training = _train_pixels(study, material)
    cpu_s += 1.0 + 6e-9 * training * (study.generate.count + asked.samples)  # the search for copies
    classes = sum(isinstance(c, ClassCondition) for c in study.conditions)
    cpu_s += classes * 1.8e-6 * voxels * (min(1024.0, training / voxels) + 2 * asked.samples)
    cpu_s += len(asked.subgroups or ()) * _alike(study)
    return Usual(cpu_s, _judges_mb(study, material) + 60, 150 * voxels * _made(study, material) * _itemsize(material) + 0.2e6)


def _alike(study: Study) -> float:
    """Return what it takes to compare two sets in every feature space and by every physics check."""
    asked, dims = study.validation, study.dims
    spaces = len(asked.features or USUAL_SPACES) + (asked.weights is not None)
    likeness = spaces * 1e-6 * (_DRAWS[dims] * _patch(study) + _seen(study))
    return likeness + sum(0.5 + (_READ_BACK[dims] * _seen(study) if name in _SEES_OBJECTS else 0.0) for name in asked.physics)


def _masks_read(study: Study) -> float:
    masks = any(isinstance(c, MaskCondition) for c in study.conditions)
    return _FIDELITY[study.dims] * _seen(study) if masks else 0.0


def _seen(study: Study) -> int:
    """Return the voxels of holdout, calibration, training, judged and paired samples."""
    return 5 * study.validation.samples * _patch(study)


def _judges_mb(study: Study, material: Material) -> float:
    """Return the memory of a process that holds torch, patches as float32 and what a small network makes of a batch of them."""
    return 600 + 9 * _DRAWS[study.dims] * _patch(study) * _made(study, material) * 4 / 2**20


def speed_s() -> float:
    """Return the processor seconds of a little work of the kind that stages do: transforms, products and sums beyond the caches.

    The mean and not the best of several, because a machine that others use as well is as slow for a stage as it is on average.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    image, matrix = rng.standard_normal((768, 768)), rng.standard_normal((384, 384)).astype(np.float32)
    begun = time.process_time()
    for _ in range(_TURNS):
        spectrum = np.fft.rfft2(image)
        np.fft.irfft2(spectrum * spectrum.conj())
        np.exp(-np.abs(image)).sum()
        np.sort(matrix @ matrix, axis=None)
    return (time.process_time() - begun) / _TURNS
