"""Judge one synthetic collection by a study's checks: every metric, with its reason where there is no number, and the report's pictures.

evidence.json   {"metrics": [...]}
gallery.npz     see :mod:`sciimg.validation.gallery`
parts/          what is done so far; a killed stage goes on with the next part
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.patches.conditions import condition_table
from sciimg.protocol.models import ClassCondition, ImageCondition, MaskCondition, ScalarCondition, Study, TextCondition
from sciimg.protocol.vocabulary import USUAL_SPACES
from sciimg.randomness import generator
from sciimg.records import Metric, digest_file, digest_of
from sciimg.stages.baseline import ENCODER, EVIDENCE, SEGMENTER, baseline, baseline_parts, feature_reference
from sciimg.stages.parts import CATALOGUE, Arrays, Parts, file_keys
from sciimg.types import PatchSet, Spacing
from sciimg.validation import gallery
from sciimg.validation.features.named import FIXED, WEIGHTS
from sciimg.validation.features.space import Embed, FeatureSpace, Scale, fit_space
from sciimg.validation.material import RealData, real_data, synthetic_set
from sciimg.validation.outcome import UndefinedError, faults_of
from sciimg.validation.physics import obstacle_between
from sciimg.workers import HERE, Workers, open_workers

Found = tuple[list[Metric], Arrays]

GALLERY = "gallery.npz"
_PLANTED = 80  # training patches, most of which are planted as copies that the search must find


def validate(
    study: Study,
    *,
    real: Path,
    regions: Path | None,
    synthetic: Path,
    paired: Path | None = None,
    reconstruction: Path | None = None,
    unmarked: Path | None = None,
    made_baseline: Path | None = None,
    train: Path | None = None,
    folder: Path = Path(),
    out: Path,
    key: tuple[str, ...] = (),
) -> list[Metric]:
    """Judge a synthetic collection and write ``evidence.json`` and ``gallery.npz``.

    Parameters
    ----------
    real : Path
        Collection of real images.
    regions : Path or None
        ``regions.parquet`` of the split; without it REAL is all holdout.
    synthetic : Path
        The collection to judge, whoever made it.
    paired : Path, optional
        Samples made for conditions of the holdout, with columns ``real_image`` and ``real_origin``.
    reconstruction : Path, optional
        What an autoencoder keeps of holdout patches, with the same columns.
    unmarked : Path, optional
        The first of the synthetic images before their watermark.
    made_baseline : Path, optional
        Folder of :func:`sciimg.stages.baseline.baseline`; made inside ``out`` where it is not given.
    train : Path, optional
        Collection of real training images, where they are not part of ``real``.
    folder : Path
        What the path of ``validation.weights`` is relative to: that of the study file.
    out : Path
        Folder to fill; parts of an interrupted attempt are kept.
    key : tuple of str
        What draws depend on beside the study: the fold, where ``regions`` are not the split of the study.
    """
    import pandas as pd

    weights = _checked_weights(study, folder)
    base = made_baseline or out / "baseline"
    if made_baseline is None:
        baseline(study, real=real, regions=regions, train=train, out=base, key=key)
    collections = (real, synthetic, paired, reconstruction, unmarked, train)
    files = file_keys(
        *(None if c is None else c / CATALOGUE for c in collections), regions, base / EVIDENCE, base / SEGMENTER, base / ENCODER
    )
    parts = Parts(out, digest_of([study.digest, files]))
    table = None if regions is None else pd.read_parquet(regions)
    kept = baseline_parts(study, real=real, regions=regions, train=train, folder=base)
    opened = real_data(study, real, table, train=train, key=key)
    with open_workers() as workers:
        judge = _Judge(study, opened, synthetic, paired, reconstruction, unmarked, base, weights, kept, parts, workers)
        metrics = [metric for name, compute in judge.plan() for metric in parts.metrics(name, compute)]
    _no_name_twice(metrics)
    write_json(out / EVIDENCE, {"metrics": [m.as_json() for m in metrics]})
    gallery.write_arrays(out / GALLERY, parts.arrays)
    return metrics


def validate_command(study: Path, real: Path, synthetic: Path, train: Path | None, out: Path) -> dict[str, Any]:
    """Judge images from the command line; return metrics, what was left out, and gates and decision where the study only judges.

    Parameters
    ----------
    real, synthetic, train : Path
        Collections, or anything that ingest reads; files are taken as they are, without the preparation that the study's sources get.

    Raises
    ------
    InputError
        Faults of the study, and whatever reading the images raises: a file that cannot be read is left out, but not all of them.
    """
    from sciimg.decision import judged
    from sciimg.protocol import load_study

    loaded = load_study(study, judging=True)
    rejected: list[dict[str, Any]] = []
    read = {
        name: _collection(path, out / "read" / name, loaded.study, rejected)
        for name, path in (("real", real), ("synthetic", synthetic), ("train", train))
    }
    assert read["real"] is not None and read["synthetic"] is not None
    metrics = validate(
        loaded.study, real=read["real"], regions=None, synthetic=read["synthetic"], train=read["train"], folder=loaded.folder, out=out
    )
    value: dict[str, Any] = {"metrics": [m.as_json() for m in metrics], "rejected": rejected}
    if loaded.only_judges:
        decision, gates = judged(loaded.study, metrics)
        value |= {"gates": [g.as_json() for g in gates], "decision": decision}
    return value


def _collection(path: Path | None, place: Path, study: Study, rejected: list[dict[str, Any]]) -> Path | None:
    """Return a collection as it is, and files as a collection made at ``place``, with the spacing of the study where they say none.

    Files that cannot be read are added to ``rejected``.
    """
    from sciimg.stages.ingest import ingest_files

    if path is None or (path / CATALOGUE).exists():
        return path
    if place.exists():  # of an earlier call; the files may have changed since
        shutil.rmtree(place)
    source = study.sources[0]
    known = Spacing(source.spacing, source.unit) if source.spacing and source.unit else None
    place.parent.mkdir(parents=True, exist_ok=True)
    rejected += ingest_files([path], place, spacing=known, keep_names=source.names == "kept")["rejected"]
    return place


def _checked_weights(study: Study, folder: Path) -> Path | None:
    """Return the file of the user's network, if it is the one that the study names."""
    asked = study.validation.weights
    if asked is None:
        return None
    path, place = folder / asked.path, "validation.weights"
    if not path.is_file():
        raise InputError(Problem(place, "not-found", f"The weights are a file; there is none at {asked.path}, relative to the study file."))
    if (came := digest_file(path).removeprefix("sha256:")) != asked.sha256:
        message = f"The file has the SHA-256 that the study registers, {asked.sha256}; {asked.path} has {came}. Use the registered file."
        raise InputError(Problem(place, "other-weights", message))
    return path


def _no_name_twice(metrics: list[Metric]) -> None:
    names = [m.name for m in metrics]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise AssertionError(f"Metrics carry one name each; twice: {', '.join(twice)}")


@dataclass(frozen=True)
class _Judge:
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

    def plan(self) -> list[tuple[str, Callable[[], Found]]]:
        """Return the parts in the order in which they are made."""
        checks = [(f"physics-{name}", lambda name=name: self.physics(name)) for name in self.study.validation.physics]
        return [
            ("pictures", self.pictures),
            ("worst", self.worst),
            ("likeness", self.likeness),
            ("copies", self.copies),
            ("membership", self.membership),
            *checks,
            ("fidelity", self.fidelity),
            ("conditions", self.conditions),
            ("pairs", self.pairs),
            ("downstream", self.downstream),
            *([("watermark", self.watermark)] if self.study.release.watermark else []),
            *((f"subgroups-{i}", partial(self.subgroups, column)) for i, column in enumerate(self.study.validation.subgroups or ())),
        ]

    # ------------------------------------------------------------ material

    @property
    def rounds(self) -> int:
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

    # ------------------------------------------------------------ parts

    def pictures(self) -> Found:
        arrays: dict[str, Any] = dict(gallery.describe(self.real.holdout))
        for name, patches in (("real", self.real.holdout), ("synthetic", self.judged)):
            if patches is None or faults_of(patches, name):
                continue
            shown = patches.take(gallery.chosen(patches, (*self.key, name)))
            read_back = self.segmenter.segment(shown) if self.segmenter is not None else None
            arrays |= gallery.samples(name, shown, read_back)
        return [], arrays

    def worst(self) -> Found:
        """Pictures of the samples least like any real one; no metric, no gate."""
        from scipy.spatial.distance import cdist

        if not self.spaces or self.judged is None or obstacle_between(self.real.holdout, self.judged):
            return [], {}
        space = self.spaces[0]
        return [], gallery.farthest(self.judged, cdist(space.transform(self.judged), space.transform(self.real.holdout)))

    def likeness(self) -> Found:
        from sciimg.validation.distribution import set_metrics

        metrics: list[Metric] = []
        for suffix, patches in (("", self.judged), ("_paired", self.paired)):
            if suffix and patches is None:
                continue
            synthetic = patches if patches is not None else self.real.holdout.take([])
            about: dict[str, Any] = {"train": self.real.train_tiles, "rounds": self.rounds, "key": (*self.key, "likeness")}
            found = set_metrics(self.real.holdout, synthetic, self.spaces, **about)
            kept = [m for m in found if not (suffix and m.name.startswith("control_"))]  # the controls belong to the space: told once
            metrics += [m.model_copy(update={"name": m.name + suffix}) for m in kept]
        return metrics, {}

    def copies(self) -> Found:
        from sciimg.validation.memorisation import NAMES, SOURCE, copies
        from sciimg.validation.nearness import Training

        pieces, draws = self.real.train_pieces, self.real.train_draws(_PLANTED, "planted")
        if draws is None or not pieces:
            reason = "there is no real training image as large as a sample"
            return [Metric.undefined(name, reason, higher_is_better=False, source=SOURCE) for name in NAMES], {}
        regions = self.real.train_regions
        named = {"names": [r.image for r in regions], "groups": [r.group if r.cell is None else r.image for r in regions]}
        training = Training(pieces, self.study.patches.shape, **named)
        every = self.synthetic  # that may leave
        return copies(training, draws, self.real.holdout, every, apart=self.real.calibration, key=(*self.key, "copies"))

    def membership(self) -> Found:
        from sciimg.validation.membership import membership_metrics

        about: dict[str, Any] = {"rounds": self.rounds, "key": (*self.key, "membership")}
        return membership_metrics(self.real.train, self.real.holdout, self.synthetic, self.spaces, **about), {}

    def physics(self, name: str) -> Found:
        from sciimg.validation.physics import CHECKS, calibrate, curves, effect

        if name not in CHECKS:
            reason = f"there is no check of this name; there are: {', '.join(CHECKS)}"
            return [Metric.undefined(f"{name}_effect", reason, higher_is_better=False)], {}
        ready = calibrate(CHECKS[name], self.real_images, bootstrap=self.rounds, key=(*self.key, "physics"))
        metrics = [effect(ready, self.judged, name=f"{name}_effect")]
        if self.paired is not None:
            metrics.append(effect(ready, self.paired, name=f"{name}_effect_paired", paired=True))
        arrays = {} if isinstance(ready, str) else gallery.physics(name, curves(ready, self.judged))
        return metrics, arrays

    def fidelity(self) -> Found:
        from sciimg.validation.fidelity import mask_fidelity

        if not any(isinstance(c, MaskCondition) for c in self.study.conditions):
            return [], {}
        about: dict[str, Any] = {"bootstrap": self.rounds, "key": (*self.key, "fidelity")}
        metrics = mask_fidelity(self.segmenter, self.real.holdout, self.judged, **about)
        if self.paired is not None:
            metrics += mask_fidelity(self.segmenter, self.real.holdout, self.paired, suffix="_paired", **about)
        return metrics, {}

    def conditions(self) -> Found:
        metrics: list[Metric] = []
        for condition in self.study.conditions:
            match condition:
                case MaskCondition() | ImageCondition() | TextCondition():
                    continue
                case ScalarCondition():
                    metrics += self._scalar(condition)
                case ClassCondition():
                    metrics += self._class(condition)
        return metrics, {}

    def pairs(self) -> Found:
        from sciimg.validation.pair import OF_IMAGES, pair_metrics

        metrics: list[Metric] = []
        arrays: dict[str, Any] = {}
        for name, test in (("paired", self.paired), ("reconstruction", self.reconstruction)):
            if test is None:
                continue
            real = self.real.at(test)
            found = pair_metrics(real, test, _data_range(real), metrics=OF_IMAGES, rounds=self.rounds, key=(*self.key, name))
            metrics += [m.model_copy(update={"name": f"{name}_{m.name}"}) for m in found]
            if real.images.shape == test.images.shape and not faults_of(test, name):
                arrays |= gallery.pairs(name, real, test, self.key)
        return metrics, arrays

    def watermark(self) -> Found:
        """Say whether the mark is found again, and what it cost."""
        from sciimg.validation.watermark import watermark_metrics

        before = synthetic_set(self.study, self.unmarked_path)
        about: dict[str, Any] = {"rounds": self.rounds, "key": (*self.key, "watermark")}
        return watermark_metrics(self.synthetic, before, self.segmenter, self.study.digest, **about), {}

    def downstream(self) -> Found:
        from sciimg.validation.downstream import BASELINE_ARMS, RECIPE_ARMS, downstream_metrics, names, obstacle, run_arm

        plan, train, holdout = self.study.validation.downstream, self.real.train_tiles, self.real.holdout_tiles
        if plan is None:
            return [], {}
        reason = "there are no real training images" if train is None else obstacle(train, holdout, self.synthetic, with_synthetic=True)
        if reason or train is None:
            return [Metric.undefined(name, reason, higher_is_better=True) for name in names(holdout.label_kind)], {}
        seeds = range(plan.seeds)
        results = {(arm, seed): self.kept.made(f"downstream-{arm}-{seed}") for arm in BASELINE_ARMS for seed in seeds}
        for arm in RECIPE_ARMS:
            for seed in seeds:
                compute = partial(run_arm, arm, seed, plan, train=train, holdout=holdout, synthetic=self.synthetic, key=self.key)
                results[arm, seed] = self.parts.value(f"downstream-{arm}-{seed}", compute)
        ceiling = _ceiling(self.baseline)
        about: dict[str, Any] = {"kind": holdout.label_kind, "bootstrap": self.rounds, "key": (*self.key, "downstream"), "ceiling": ceiling}
        return downstream_metrics(results, plan, **about), {}

    def subgroups(self, column: str) -> Found:
        """Judge the images of each value of a column apart, and report the worst."""
        from sciimg.validation.subgroups import obstacle, of_value, values_of, worst

        asked = next((c.name for c in self.study.conditions if isinstance(c, ClassCondition) and c.column == column), column)
        parts = {"holdout": self.real.holdout, "train": self.real.train, "calibration": self.real.calibration}
        real = {part: None if p is None else self.real.with_column(p, part, column) for part, p in parts.items()}  # type: ignore[arg-type]
        values = {part: values_of(p, column) for part, p in real.items()}
        made = values_of(self.judged, asked)
        reason = "there are no synthetic images" if self.judged is None else obstacle(values["holdout"], made, column)
        if reason:
            none = self._of_subgroup(self.real.holdout.take([]), None, None, None)
            undefined = [Metric.undefined(m.name, reason, higher_is_better=m.higher_is_better, features=m.features) for m in none]
            return worst(column, {"all": undefined}), {}
        by_value = {}
        for value in sorted(set(values["holdout"].tolist())):  # type: ignore[union-attr]
            some = {part: of_value(p, values[part], value) for part, p in real.items()}
            assert some["holdout"] is not None
            by_value[value] = self._of_subgroup(some["holdout"], some["train"], some["calibration"], of_value(self.judged, made, value))
        return worst(column, by_value), {}

    def _of_subgroup(self, holdout: PatchSet, train: PatchSet | None, apart: PatchSet | None, synthetic: PatchSet | None) -> list[Metric]:
        """Return the metrics that exist for a part of the images."""
        from sciimg.validation.distribution import set_metrics
        from sciimg.validation.membership import membership_metrics
        from sciimg.validation.physics import CHECKS, RealImages, calibrate, effect

        made = holdout.take([]) if synthetic is None else synthetic
        key = (*self.key, "subgroups")
        found = [m for m in set_metrics(holdout, made, self.spaces, rounds=self.rounds, key=key) if not m.name.startswith("control_")]
        found += membership_metrics(train, holdout, made, self.spaces, rounds=self.rounds, key=key)
        segment = None if self.segmenter is None else self.segmenter.segment
        for name in (n for n in self.study.validation.physics if n in CHECKS):
            reason = faults_of(holdout, "real")
            ready = reason or calibrate(CHECKS[name], RealImages(holdout, apart, train, segment), bootstrap=self.rounds, key=key)
            found.append(effect(ready, made, name=f"{name}_effect"))
        return found

    def _scalar(self, condition: ScalarCondition) -> list[Metric]:
        from sciimg.validation.obedience import scalar_obedience, undefined_scalar

        name, judged, holdout = condition.name, self.judged, self.real.holdout
        if condition.measure == "column":
            return undefined_scalar(name, "a value from a table cannot be measured on an image")
        if condition.measure == "channel-mean" and condition.channel not in holdout.channels:
            return undefined_scalar(name, f"channel {condition.channel} is given, not made")
        if judged is None or (reason := obstacle_between(holdout, judged)):
            return undefined_scalar(name, "no synthetic images" if judged is None else reason)
        if name not in judged.table:
            return undefined_scalar(name, f"the synthetic images do not say which {name} they were asked for")
        if condition.measure == "foreground-fraction" and self.segmenter is None:
            return undefined_scalar(name, "no independent segmenter was trained for this study")
        on_real = (holdout.table[name].to_numpy(float), self._measured(condition, holdout))
        requested = judged.table[name].to_numpy(float)
        spread = float(on_real[0].std())
        about: dict[str, Any] = {"real_spread": spread, "bootstrap": self.rounds, "key": (*self.key, "condition"), "on_real": on_real}
        return scalar_obedience(name, requested, self._measured(condition, judged), judged.groups, **about)

    def _class(self, condition: ClassCondition) -> list[Metric]:
        from sciimg.validation.obedience import class_obedience, undefined_class

        name, judged, train, holdout = condition.name, self.judged, self.real.train_tiles, self.real.holdout
        if train is None:
            return undefined_class(name, "there are no real training images")
        if judged is None or (reason := obstacle_between(holdout, judged)):
            return undefined_class(name, "no synthetic images" if judged is None else reason)
        if not self.spaces:
            return undefined_class(name, "the real training images do not differ from one another")
        if name not in judged.table:
            return undefined_class(name, f"the synthetic images do not say which {name} they were asked for")
        read = [(self._described(p), p.table[name].astype(str).to_numpy(dtype=object)) for p in (train, holdout, judged)]
        features = f"{self.spaces[0].name}, segmented fractions" if self.segmenter is not None else self.spaces[0].name
        about: dict[str, Any] = {"features": features, "bootstrap": self.rounds, "key": (*self.key, "condition")}
        return class_obedience(name, train=read[0], holdout=(*read[1], holdout.groups), synthetic=(*read[2], judged.groups), **about)

    def _described(self, patches: PatchSet) -> NDArray[np.float64]:
        """Return features from which a class is read: texture, and how much of each segmented class there is."""
        vectors = self.spaces[0].transform(patches)
        if self.segmenter is None:
            return vectors
        shares = self.segmenter.probabilities(patches.images).mean(axis=tuple(range(2, patches.images.ndim)), dtype=np.float64)
        return np.concatenate([vectors, shares], axis=1)

    def _measured(self, condition: ScalarCondition, patches: PatchSet) -> NDArray[np.float64]:
        """Measure a scalar as the study defines it; a fraction of foreground is that which the independent segmenter finds."""
        seen = self.segmenter.segment(patches) if condition.measure == "foreground-fraction" else patches
        table = condition_table(seen, (condition,), seen.table)
        return table[condition.name].to_numpy(float)


def _some(patches: PatchSet | None, limit: int, key: tuple[str, ...]) -> PatchSet | None:
    """Return at most ``limit`` samples, drawn by the key, in their own order."""
    if patches is None or len(patches) <= limit:
        return patches
    return patches.take(np.sort(generator(*key).permutation(len(patches))[:limit]))


def _ceiling(folder: Path) -> float | None:
    """Return the Dice of the segmenter that was trained on the whole real training part."""
    metrics = json.loads((folder / EVIDENCE).read_text(encoding="utf-8"))["metrics"]
    return next((m["value"] for m in metrics if m["name"] == "segmenter-dice"), None)


def _data_range(real: PatchSet) -> float:
    """Return the width of the scale on which pairs are compared: 0.1 to 99.9 % of the real intensities, widest channel."""
    axes = (0, *range(2, real.images.ndim))
    low, high = np.quantile(real.images, [0.001, 0.999], axis=axes)
    return float(np.max(high - low)) or 1.0
