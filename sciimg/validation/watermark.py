"""Whether the watermark of the released images is found again, and what it cost.

The images before their mark are made for this alone: a sample depends on its number, so each is the same image without the mark. Attacks
are those that an image meets by accident: a piece is cut out of it, its depth becomes 8 bits, noise of its own size is added.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Digest, Metric
from sciimg.types import PatchSet
from sciimg.validation.outcome import faults_of, mismatch
from sciimg.validation.pair import pair_metrics
from sciimg.validation.pooling import by_group, centred_interval, pooled, resampling_weights
from sciimg.validation.scores import f1, overlap_counts
from sciimg.validation.segmentation import Segmenter
from sciimg.watermark import CERTAIN, local_noise, pattern, score, whitened

Array = NDArray[np.float64]

SOURCE = "Hoeffding 1963, doi:10.1080/01621459.1963.10500830; Cox et al. 1997, doi:10.1109/83.650120"
_KEPT = 0.75  # of each side, when a piece is cut out
SCORES = (
    "watermark-z",
    "watermark-z_unmarked",
    "watermark-z_cropped",
    "watermark-z_eight-bit",
    "watermark-z_noisier",
    "watermark-z_together",
)
COSTS = ("watermark-psnr", "watermark-ssim", "watermark-dice-change")


def watermark_metrics(
    marked: PatchSet | None,
    unmarked: PatchSet | None,
    segmenter: Segmenter | None,
    study: Digest,
    *,
    rounds: int,
    key: tuple[str, ...],
) -> list[Metric]:
    """Return the scores of the mark, clean and after each attack, and its cost.

    Parameters
    ----------
    marked, unmarked : PatchSet or None
        Synthetic images and the same before their mark, told apart by column ``id``; ``unmarked`` may hold some of them alone.
    study : Digest
        Which the key is made of.
    """
    if marked is None or unmarked is None:
        return [Metric.undefined(n, "there are no images before and after the mark", source=SOURCE) for n in (*SCORES, *COSTS)]
    ids = unmarked.table["id"].astype(str).to_numpy(dtype=object)
    place = {str(id): row for row, id in enumerate(marked.table["id"])}
    marked = marked.take([place[id] for id in ids])
    reason = faults_of(marked, "marked") or faults_of(unmarked, "unmarked") or mismatch(unmarked, marked, ("unmarked", "marked"))
    if reason:
        return [Metric.undefined(n, reason, source=SOURCE) for n in (*SCORES, *COSTS)]
    signs = [pattern(study, str(id), marked.images.shape[1:]) for id in ids]
    return [
        *_scores(marked, unmarked, signs, rounds, key),
        *_likeness(marked, unmarked, rounds, key),
        _dice_change(marked, unmarked, segmenter, rounds, key),
    ]


# ---------------------------------------------------------------- found again


def _scores(marked: PatchSet, unmarked: PatchSet, signs: list[NDArray[np.int8]], rounds: int, key: tuple[str, ...]) -> list[Metric]:
    """Return mean scores at the true place, with what a search that does not know it finds."""
    n = len(marked)
    attacks: dict[str, tuple[PatchSet, Callable[[NDArray[Any], int], NDArray[Any]]]] = {
        "watermark-z": (marked, lambda image, i: image),
        "watermark-z_unmarked": (unmarked, lambda image, i: image),
        "watermark-z_cropped": (marked, lambda image, i: image[_piece(image.shape[1:], (*key, "piece", str(i)))]),
        "watermark-z_eight-bit": (marked, lambda image, i: eight_bit(image)),
        "watermark-z_noisier": (marked, lambda image, i: noisier(image, (*key, "noise", str(i)))),
    }
    out = []
    for name, (images, attack) in attacks.items():
        values, found = np.empty(n), 0
        for i in range(n):
            white, whole = whitened(attack(images.images[i], i)), signs[i]
            box = _piece(whole.shape[1:], (*key, "piece", str(i))) if name.endswith("cropped") else (slice(None),)
            values[i] = float(np.vdot(whole[box], white))
            match = score(white, whole)
            found += match is not None and match.chance() <= CERTAIN
        detail = {"found": int(found), "of": n, "found_when_chance_is_below": CERTAIN}
        out.append(_mean(name, values, images.groups, rounds, key, higher_is_better=None if "unmarked" in name else True, detail=detail))
        if name == "watermark-z":
            together = Metric(
                name="watermark-z_together", value=float(values.sum() / np.sqrt(n)), n=n, higher_is_better=True, source=SOURCE
            )
    return [*out, together]


def _piece(shape: tuple[int, ...], key: tuple[str, ...]) -> tuple[slice, ...]:
    """Return the box of a piece of an image of this shape, channels first."""
    rng = generator(*key)
    sides = [max(1, round(_KEPT * n)) for n in shape]
    starts = [int(rng.integers(0, n - side + 1)) for n, side in zip(shape, sides, strict=True)]
    return (slice(None), *(slice(a, a + side) for a, side in zip(starts, sides, strict=True)))


def eight_bit(image: NDArray[Any]) -> Array:
    """Return an image, shape (C, ...), each channel's range mapped to 0 … 255 and rounded."""
    axes = tuple(range(1, image.ndim))
    low, high = image.min(axes, keepdims=True).astype(np.float64), image.max(axes, keepdims=True).astype(np.float64)
    scaled: Array = np.rint((image - low) / np.maximum(high - low, 1e-300) * 255)
    return scaled


def noisier(image: NDArray[Any], key: tuple[str, ...]) -> Array:
    """Return an image, shape (C, ...), with Gaussian noise of the size of its own around each voxel."""
    noise = np.stack([local_noise(channel) for channel in image.astype(np.float64)])
    worse: Array = image + noise * generator(*key).standard_normal(image.shape)
    return worse


def _mean(name: str, values: Array, groups: NDArray[Any], rounds: int, key: tuple[str, ...], **about: Any) -> Metric:
    names, sums = by_group(np.stack([values, np.ones_like(values)], axis=1), groups)
    drawn = pooled(sums, resampling_weights(generator(*key, name), len(names), rounds))
    interval = centred_interval(float(values.mean()), drawn[:, 0] / drawn[:, 1], len(names)) if len(names) > 1 else None
    return Metric(name=name, value=float(values.mean()), ci95=interval, n=len(names), unit_of_n="groups", source=SOURCE, **about)


# ---------------------------------------------------------------- what it cost


def _likeness(marked: PatchSet, unmarked: PatchSet, rounds: int, key: tuple[str, ...]) -> list[Metric]:
    axes = (0, *range(2, unmarked.images.ndim))
    low, high = np.quantile(unmarked.images, [0.001, 0.999], axis=axes)
    width = float(np.max(high - low)) or 1.0
    found = pair_metrics(unmarked, marked, width, metrics=("psnr", "ssim"), rounds=rounds, key=key)
    error = float(np.sqrt(np.mean((marked.images.astype(np.float64) - unmarked.images) ** 2)))
    detail: dict[str, Any] = {"root_mean_square_change": error}
    if marked.images.dtype.kind in "ui" and error > 0:
        limits = np.iinfo(marked.images.dtype)
        detail["psnr_over_the_range_of_the_type_db"] = float(20 * np.log10((int(limits.max) - int(limits.min)) / error))
    return [m.model_copy(update={"name": f"watermark-{m.name}", "detail": m.detail | detail}) for m in found]


def _dice_change(marked: PatchSet, unmarked: PatchSet, segmenter: Segmenter | None, rounds: int, key: tuple[str, ...]) -> Metric:
    name = "watermark-dice-change"
    source = "Dice 1945, doi:10.2307/1932409"
    truth = marked.labels
    if segmenter is None or truth is None or not np.any(truth > 0):
        return Metric.undefined(name, "there is no independent segmenter, or nothing to segment", source=source)

    def counts(patches: PatchSet) -> Array:
        predicted = segmenter.segment(patches).labels
        assert predicted is not None
        return by_group(overlap_counts(predicted, truth, segmenter.kind, segmenter.classes), patches.groups)[1]

    with_mark, without = counts(marked), counts(unmarked)
    value = float(f1(with_mark.sum(0)) - f1(without.sum(0)))
    if not np.isfinite(value):
        return Metric.undefined(name, "neither the labels nor the predictions hold an object", source=source)
    weights = resampling_weights(generator(*key, name), len(with_mark), rounds)
    replicates = f1(pooled(with_mark, weights)) - f1(pooled(without, weights))
    kept = replicates[np.isfinite(replicates)]
    interval = centred_interval(value, kept, len(with_mark), within=(-1.0, 1.0)) if len(with_mark) > 1 and kept.size else None
    return Metric(name=name, value=value, ci95=interval, n=len(with_mark), unit_of_n="groups", source=source)
