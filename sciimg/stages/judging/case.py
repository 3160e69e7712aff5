"""What is judged, and by what."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sciimg.protocol.models import Study
from sciimg.protocol.vocabulary import USUAL_SPACES
from sciimg.randomness import generator
from sciimg.records import Metric
from sciimg.stages.baseline import ENCODER, SEGMENTER, feature_reference
from sciimg.stages.parts import Arrays, Parts
from sciimg.types import PatchSet
from sciimg.validation.features.named import FIXED, WEIGHTS
from sciimg.validation.features.space import Embed, FeatureSpace, Scale, fit_space
from sciimg.validation.material import RealData, synthetic_set
from sciimg.validation.outcome import UndefinedError
from sciimg.workers import HERE, Workers

Found = tuple[list[Metric], Arrays]


@dataclass(frozen=True)
class Case:
    """Everything that the parts look at, read when the first part asks for it."""

    study: Study
    real: RealData
    synthetic_path: Path
    paired_path: Path | None
    reconstruction_path: Path | None
    unmarked_path: Path | None
    baseline: Path
    weights: Path | None
    kept: Parts  # of the baseline
    parts: Parts
    workers: Workers

    @property
    def rounds(self) -> int:
        """Draws of the bootstrap."""
        return self.study.validation.bootstrap

    @property
    def key(self) -> tuple[str, ...]:
        return self.real.key

    @cached_property
    def synthetic(self) -> PatchSet | None:
        return synthetic_set(self.study, self.synthetic_path)

    @cached_property
    def judged(self) -> PatchSet | None:
        """As many synthetic samples as the study asks for, drawn by the key."""
        return _some(self.synthetic, self.study.validation.samples, (*self.key, "judged"))

    @cached_property
    def paired(self) -> PatchSet | None:
        return _some(synthetic_set(self.study, self.paired_path), self.study.validation.samples, (*self.key, "paired"))

    @cached_property
    def reconstruction(self) -> PatchSet | None:
        return _some(synthetic_set(self.study, self.reconstruction_path), self.study.validation.samples, (*self.key, "reconstruction"))

    @cached_property
    def segmenter(self) -> Any:
        from sciimg.validation.segmentation import Segmenter

        path = self.baseline / SEGMENTER
        return Segmenter.load(path) if path.exists() else None

    @cached_property
    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces that can be fixed on the training part (on the holdout, where there is none)."""
        from sciimg.validation.features.encoder import TrainedEncoder

        reference = feature_reference(self.real) or self.real.holdout
        chosen = self.study.validation.features or USUAL_SPACES
        embeddings: dict[str, Embed] = {name: embed for name, embed in FIXED.items() if name in chosen}
        if "encoder" in chosen and (self.baseline / ENCODER).exists():
            embeddings["encoder"] = TrainedEncoder.load(self.baseline / ENCODER).embed
        if self.weights is not None:
            from sciimg.validation.features.weights import weights

            embeddings["weights"] = weights(self.weights, reference.images.shape[1], reference.images.shape[2:])
        try:
            scale = Scale.of(reference)
            places = {name: HERE if name == WEIGHTS else self.workers for name in embeddings}
            return [fit_space(name, embed, reference, scale, places[name]) for name, embed in embeddings.items()]
        except UndefinedError:  # the reference images do not differ from one another: nothing can be told from them
            return []

    @cached_property
    def real_images(self) -> Any:
        from sciimg.validation.physics import RealImages

        segment = None if self.segmenter is None else self.segmenter.segment
        return RealImages(self.real.holdout, self.real.calibration, self.real.train, segment)


def _some(patches: PatchSet | None, limit: int, key: tuple[str, ...]) -> PatchSet | None:
    """Return at most ``limit`` samples, drawn by the key, in their own order."""
    if patches is None or len(patches) <= limit:
        return patches
    return patches.take(np.sort(generator(*key).permutation(len(patches))[:limit]))
