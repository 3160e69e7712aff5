"""Metrics of any two images or sets, for the command line."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.records import Metric
from sciimg.types import LabelKind, PatchSet
from sciimg.workers import HERE, Workers, open_workers

_ENCODED = 512  # training images that the encoder learns from
_PLANTED = 256  # training images that are searched for among the others, and planted as copies
_LPIPS = "lpips"
_GROUPS = {"prdc": ("precision", "recall", "density", "coverage")}


def pair(
    reference: Path,
    test: Path,
    *,
    metrics: Sequence[str],
    data_range: float | None,
    label_kind: str | None = None,
    lpips_weights: Path | None = None,
) -> dict[str, Any]:
    """Compare images one by one; folders are matched by the names of their files.

    Parameters
    ----------
    lpips_weights : Path, optional
        Folder of the user's for one more metric, ``lpips`` (:mod:`sciimg.validation.perceptual`).

    Raises
    ------
    InputError
        Kinds ``unknown-metric``, ``needs-weights`` and ``unmatched``, and whatever reading the images and the weights raises.
    """
    from sciimg.validation.folders import load_patchset
    from sciimg.validation.intensity_range import SMALLEST
    from sciimg.validation.outcome import LARGEST
    from sciimg.validation.pair import PAIR_METRICS, PairMetric, pair_metrics

    more: dict[str, PairMetric] = {}
    metrics = _spelt(metrics)
    if lpips_weights is not None:
        from sciimg.validation.perceptual import lpips

        more[_LPIPS] = lpips(lpips_weights)
        metrics = [*dict.fromkeys((*metrics, _LPIPS))]
    elif _LPIPS in metrics:
        message = "LPIPS needs networks of yours, nothing is downloaded: --lpips-weights FOLDER with alexnet*.pth and alex.pth (or vgg)."
        raise InputError(Problem("--metric", "needs-weights", message))
    _known(metrics, {**PAIR_METRICS, **more}, extra=() if more else (f"{_LPIPS} (with --lpips-weights)",))
    if data_range is not None and not SMALLEST <= data_range <= LARGEST:
        raise InputError(Problem("--data-range", "bad-value", f"The data range is a number above 0, e.g. 255; got {data_range}."))
    kind = next((k for k in get_args(LabelKind) if k == label_kind), None)
    if label_kind is not None and kind is None:
        raise InputError(Problem("--label-kind", "bad-value", f"It must be instances or classes; got {label_kind!r}."))
    first, second = load_patchset(reference), load_patchset(test)
    if len(first) > 1 or len(second) > 1:
        first, second = _matched(first, second, reference, test)
    return {"metrics": [m.as_json() for m in pair_metrics(first, second, data_range, metrics=metrics, label_kind=kind, more=more)]}


def compare_sets(
    real: Path,
    synthetic: Path,
    *,
    train: Path | None,
    metrics: Sequence[str],
    features: Sequence[str] = ("scattering", "texture"),
    weights: Path | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Compare two sets of images in feature spaces that need no download; with ``train`` also search for copies and infer membership.

    Parameters
    ----------
    features : sequence of str
        Names of feature spaces; ``encoder`` is trained here and now on the training images.
    weights : Path, optional
        A network of the user's for one more space, ``weights``; images go through it in one process.
    workers : int, optional
        Processes, as in :func:`sciimg.workers.open_workers`; changes no number.

    Returns
    -------
    dict
        ``metrics``, and ``notes``: what changes no number and what a reader of the numbers must know, each with its kind and message.

    Raises
    ------
    InputError
        Kinds ``unknown-metric``, ``unknown-features`` and ``needs-train``, and whatever reading the images and the weights raises.
    """
    from sciimg.validation.distribution import DERIVED, SET_METRICS
    from sciimg.validation.features.named import ENCODER, FIXED, WEIGHTS
    from sciimg.validation.folders import load_patchset
    from sciimg.validation.memorisation import copies
    from sciimg.validation.nearness import Training

    names = [name for metric in _spelt(metrics) for name in _GROUPS.get(metric, (metric,))]
    _known(names, {**SET_METRICS, **DERIVED}, extra=tuple(_GROUPS))
    spaces = [*dict.fromkeys((*features, *([WEIGHTS] if weights else ())))]
    _known_features(spaces, [*FIXED, ENCODER], train, weights)
    first, second = load_patchset(real), load_patchset(synthetic)
    known = None if train is None else load_patchset(train)
    with open_workers(workers) as places:
        found, controls = _in_spaces(first, second, known, names, spaces, weights, places)
    if known is not None:
        training = Training(list(known.images), known.images.shape[2:], list(known.table["name"]), list(known.groups))
        found += copies(training, known.take(_evenly(known, _PLANTED)), first, second, key=("metrics",))[0]
    return {"metrics": [m.as_json() for m in (*found, *controls)], "notes": [*_notes(first, second)]}


def _notes(real: PatchSet, synthetic: PatchSet) -> Iterator[dict[str, str]]:
    """Yield what is odd about two sets: synthetic images that are real ones, and detectors of two depths."""
    from sciimg.validation.intensity_range import depth_of

    known = {_bytes_of(image) for image in real.images}
    if count := sum(_bytes_of(image) in known for image in synthetic.images):
        message = f"{count} of {len(synthetic)} synthetic images are real ones, pixel for pixel."
        yield {"kind": "identical-images", "message": message}
    depths = depth_of(real.images), depth_of(synthetic.images)
    if None not in depths and depths[0] != depths[1]:
        message = (
            f"The real images fill {depths[0]} bits (largest pixel {real.images.max()}), the synthetic ones {depths[1]} "
            f"({synthetic.images.max()}): if these are two intensity scales, the metrics show that alone."
        )
        yield {"kind": "other-bit-depth", "message": message}


def _bytes_of(image: NDArray[Any]) -> bytes:
    return sha256(np.ascontiguousarray(image).data).digest()


def _in_spaces(
    first: PatchSet,
    second: PatchSet,
    known: PatchSet | None,
    names: Sequence[str],
    spaces: Sequence[str],
    weights: Path | None,
    workers: Workers,
) -> tuple[list[Metric], list[Metric]]:
    """Return the metrics in each feature space, and the controls of the spaces."""
    from sciimg.validation.distribution import set_metrics
    from sciimg.validation.features.named import ENCODER, FIXED, WEIGHTS
    from sciimg.validation.features.space import Embed, Scale, fit_space
    from sciimg.validation.membership import membership_metrics
    from sciimg.validation.outcome import UndefinedError

    reference = first if known is None else known
    found: list[Metric] = []
    controls: list[Metric] = []  # what was asked for comes first
    for space in spaces:
        wanted = {f"{name}_{space}" for name in names}
        try:
            if space == ENCODER:
                embed: Embed = _trained(reference, Scale.of(reference))
            else:
                embed = FIXED[space] if space in FIXED else _given(weights, reference)
            fitted = fit_space(space, embed, reference, workers=HERE if space == WEIGHTS else workers)
            measured = set_metrics(first, second, [fitted], train=known)
        except UndefinedError as error:  # reference images that do not differ from one another make no space
            found += [Metric.undefined(name, error.reason, higher_is_better=None, n_real=len(first)) for name in sorted(wanted)]
            continue
        found += [m for m in measured if m.name in wanted]
        controls += [m for m in measured if m.name.startswith("control_")]
        if known is not None:
            found += membership_metrics(known, first, second, [fitted])
    return found, controls


def _known_features(names: Sequence[str], known: Sequence[str], train: Path | None, weights: Path | None) -> None:
    problems = [
        Problem("--features", "unknown-features", f"There are no features {name!r}; there are: {', '.join(known)}. Your own: --weights.")
        for name in names
        if name not in known and not (name == "weights" and weights)
    ]
    if "encoder" in names and train is None:
        problems.append(Problem("--features", "needs-train", "The encoder learns from training images. Give them with --train."))
    if problems:
        raise InputError(problems)


def _trained(reference: PatchSet, scale: Any) -> Any:
    """Train the self-supervised encoder as a study does by default, on up to as many images."""
    from sciimg.protocol.validation import ValidationPlan
    from sciimg.validation.features.encoder import train_encoder

    rows = _evenly(reference, _ENCODED)
    steps = int(ValidationPlan.model_fields["encoder_steps"].default)
    return train_encoder(scale.apply(reference.images[rows]), steps=steps, key=("metrics", "encoder")).embed


def _evenly(patches: PatchSet, most: int) -> NDArray[np.intp]:
    """Return at most so many rows, evenly spaced."""
    return np.linspace(0, len(patches) - 1, min(len(patches), most)).round().astype(np.intp)


def _given(path: Path | None, reference: PatchSet) -> Any:
    from sciimg.validation.features.weights import weights

    assert path is not None
    return weights(path, reference.images.shape[1], reference.images.shape[2:])


def _spelt(names: Sequence[str]) -> list[str]:
    """Accept ``MS-SSIM`` for ``ms_ssim``."""
    return [name.lower().replace("-", "_") for name in names]


def _known(names: Sequence[str], known: Any, extra: Sequence[str] = ()) -> None:
    problems = [
        Problem("--metric", "unknown-metric", f"There is no metric {name!r}; there are: {', '.join([*known, *extra])}.")
        for name in names
        if name not in known
    ]
    if problems or not names:
        raise InputError(problems or Problem("--metric", "unknown-metric", f"Name at least one of: {', '.join([*known, *extra])}."))


def _matched(first: PatchSet, second: PatchSet, reference: Path, test: Path) -> tuple[PatchSet, PatchSet]:
    here, there = list(first.table["name"]), list(second.table["name"])
    alone = [*(f"{n} (only in {reference})" for n in here if n not in there), *(f"{n} (only in {test})" for n in there if n not in here)]
    if alone:
        message = f"Images of two folders are matched by name; without a partner: {', '.join(alone[:6])}. Name partners alike."
        raise InputError(Problem(str(test), "unmatched", message))
    return first, second.take([there.index(n) for n in here])
