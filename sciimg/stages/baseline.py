"""What judges need of the real images alone, made once a study: the segmenter, the encoder, the students without synthetic images.

segmenter.safetensors   trained on the real training part; absent without labels
encoder.safetensors     the self-supervised feature space; absent without a training part
parts/downstream-*.json results of the arms that no recipe changes
evidence.json           how well the segmenter does on the real holdout
"""

from functools import partial
from pathlib import Path

from sciimg.files import write_json
from sciimg.protocol.models import Study
from sciimg.records import Metric, digest_of
from sciimg.stages.parts import CATALOGUE, Arrays, Parts, file_keys
from sciimg.types import PatchSet
from sciimg.validation.material import RealData, real_data

SEGMENTER = "segmenter.safetensors"
ENCODER = "encoder.safetensors"
EVIDENCE = "evidence.json"

DRAWS = {2: 512, 3: 128}  # random training patches that the segmenter and the feature spaces learn from


def baseline(study: Study, *, real: Path, regions: Path | None, out: Path, train: Path | None = None, key: tuple[str, ...] = ()) -> None:
    """Train what every recipe is judged with.

    Parameters
    ----------
    real : Path
        Collection of real images.
    regions : Path or None
        ``regions.parquet`` of the split; without it the collection is all holdout, and ``train`` holds training images, if there are any.
    out : Path
        Folder to fill; parts of an interrupted attempt are kept.
    key : tuple of str
        What draws depend on beside the study: the fold, where ``regions`` are not the split of the study.
    """
    import pandas as pd

    table = None if regions is None else pd.read_parquet(regions)
    data = real_data(study, real, table, train=train, key=key)
    parts = baseline_parts(study, real=real, regions=regions, train=train, folder=out)
    metrics = _segmenter(study, data, parts, out)
    _encoder(study, data, parts, out)

    _students(study, data, parts)
    write_json(out / EVIDENCE, {"metrics": [m.as_json() for m in metrics]})


def baseline_parts(study: Study, *, real: Path, regions: Path | None, train: Path | None, folder: Path) -> Parts:
    """Return the parts of a baseline folder, under the key of the study and of the real data."""
    return Parts(folder, digest_of([study.digest, file_keys(real / CATALOGUE, regions, None if train is None else train / CATALOGUE)]))


def _segmenter(study: Study, data: RealData, parts: Parts, out: Path) -> list[Metric]:
    """Train and keep the segmenter; return how it does on the real holdout."""
    from sciimg.validation.fidelity import own_scores
    from sciimg.validation.segmentation import Training, train_segmenter

    names = ("segmenter-dice", "segmenter-object-f1")
    if data.train is None or data.train.labels is None:
        reason = "there are no labelled real training images"
        return [Metric.undefined(name, reason, higher_is_better=True) for name in names]

    def compute() -> tuple[list[Metric], Arrays]:
        draws = data.train_draws(DRAWS[study.dims], "segmenter")
        assert draws is not None
        plan = Training(steps=study.validation.segmenter_steps, width=16 if study.dims == 2 else 8)
        segmenter = train_segmenter(draws, plan, key=(*data.key, "segmenter"))
        segmenter.save(out / SEGMENTER)
        return own_scores(segmenter, data.holdout, names, bootstrap=study.validation.bootstrap, key=data.key), {}

    return parts.metrics("segmenter", compute)


def _encoder(study: Study, data: RealData, parts: Parts, out: Path) -> None:
    """Train and keep the encoder of the self-supervised feature space."""
    from sciimg.validation.features.encoder import train_encoder
    from sciimg.validation.features.space import Scale
    from sciimg.validation.outcome import faults_of

    if study.validation.features and "encoder" not in study.validation.features:
        return
    reference = feature_reference(data)
    if reference is None or faults_of(reference, "real training"):
        return

    def compute() -> list[float]:
        images = Scale.of(reference).apply(reference.images)
        encoder = train_encoder(images, steps=study.validation.encoder_steps, key=(*data.key, "encoder"))
        encoder.save(out / ENCODER)
        return list(encoder.losses)

    parts.value("encoder", compute)


def feature_reference(data: RealData) -> PatchSet | None:
    """Return the training patches on which feature spaces are fixed."""
    return data.train_draws(DRAWS[data.study.dims], "features")


def _students(study: Study, data: RealData, parts: Parts) -> None:
    """Train the students that see no synthetic image."""
    from sciimg.validation.downstream import BASELINE_ARMS, obstacle, run_arm

    plan, train = study.validation.downstream, data.train_tiles
    if plan is None or train is None or obstacle(train, data.holdout_tiles):
        return
    for arm in BASELINE_ARMS:
        for seed in range(plan.seeds):
            compute = partial(run_arm, arm, seed, plan, train=train, holdout=data.holdout_tiles, synthetic=None, key=data.key)
            parts.value(f"downstream-{arm}-{seed}", compute)
