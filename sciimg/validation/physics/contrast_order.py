"""Contrast order: in every sample, do the tissues come in the order of brightness that real images show."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import inverted
from sciimg.validation.physics.tissues import ORDERS, class_numbers, tissue_of, weighting_of

Array = NDArray[np.float64]

_LEAST = 50  # voxels of a class in a sample


@dataclass(frozen=True)
class _Frame:
    channels: tuple[str, ...]
    pairs: tuple[tuple[str, int, int], ...]  # name, and the numbers of the two classes
    unit: Array  # (C, P) signed: real intensities' standard deviation, positive where the first class is the brighter one


class ContrastOrder(Check):
    """Distance between fractions of samples that keep the tissue order, and between mean tissue contrasts."""

    name = "contrast-order"
    estimator = (
        "per channel and pair of tissues with 50 or more voxels each in a sample: difference of their means, positive where it has the "
        "sign of the real images, which must be that of T1, T2 or FLAIR where a channel is named so; fraction of samples out of order, "
        "and mean contrast"
    )
    unit = "order: fraction of samples; contrast: standard deviations of real intensities"
    source = (
        "Relaxation times: Bottomley et al. 1984, doi:10.1118/1.595535; orders: McRobbie et al. 2017, MRI from Picture to Proton, chapter 3"
    )
    labels = "condition"
    controls = (Control("inverted", inverted),)

    def obstacle(self, real: PatchSet) -> str:
        classes = class_numbers(real)
        if len(classes) < 2:
            return f"needs two or more tissue classes; the real images have {len(classes)}"
        frame = self.frame(real)
        if not frame.pairs:
            return f"no real sample shows two tissues with {_LEAST} voxels each"
        tissues = {number: tissue_of(name) for name, number in classes.items()}
        for j, channel in enumerate(frame.channels):
            weighting = weighting_of(channel)
            signs = frame.unit[j] > 0
            wrong = [
                name for (name, m, n), sign in zip(frame.pairs, signs, strict=True) if _against(weighting, tissues[m], tissues[n], sign)
            ]
            if weighting and wrong:
                order = " > ".join(ORDERS[weighting])
                return f"real images of channel {channel!r} are not in {weighting} order ({order}): {', '.join(wrong)}; check the labels"
        return ""

    def frame(self, real: PatchSet) -> _Frame:
        pairs = tuple((f"{a}/{b}", m, n) for (a, m), (b, n) in combinations(class_numbers(real).items(), 2))
        unsigned = _Frame(real.channels, pairs, np.ones((len(real.channels), len(pairs))))
        total = self.measure(real, unsigned).sum(axis=0)
        seen = [k for k in range(len(pairs)) if total[0, k, 2] > 0]
        scale = real.images.astype(np.float64).std(axis=(0, *range(2, real.images.ndim)))
        sign = np.where(total[:, seen, 1] < 0, -1.0, 1.0)
        return _Frame(real.channels, tuple(pairs[k] for k in seen), sign * np.where(scale > 0, scale, 1.0)[:, None])

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        """Return, per sample, channel and pair: out of order (0 or 1), contrast, and whether the sample shows both tissues."""
        out = np.zeros((len(patches), len(frame.channels), len(frame.pairs), 3))
        assert patches.labels is not None
        for i, (image, label) in enumerate(zip(patches.images, patches.labels, strict=True)):
            for k, (_, first, second) in enumerate(frame.pairs):
                a, b = label == first, label == second
                if min(a.sum(), b.sum()) < _LEAST:
                    continue
                for j, channel in enumerate(image):
                    contrast = (np.mean(channel[a], dtype=np.float64) - np.mean(channel[b], dtype=np.float64)) / frame.unit[j, k]
                    out[i, j, k] = contrast <= 0, contrast, 1
        return out

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        gap = np.abs(_mean(first) - _mean(second))
        return {
            f"{channel}:{name}:{part}": gap[:, j, k, p]
            for j, channel in enumerate(frame.channels)
            for k, (name, _, _) in enumerate(frame.pairs)
            for p, part in enumerate(("order", "contrast"))
        }

    def floors(self, frame: _Frame) -> dict[str, float]:
        smallest = {"order": 0.02, "contrast": 0.05}
        return {f"{c}:{name}:{part}": floor for c in frame.channels for name, _, _ in frame.pairs for part, floor in smallest.items()}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        mean = np.nan_to_num(_mean(total))
        return {f"{channel}-out-of-order": mean[j, :, 0] for j, channel in enumerate(frame.channels)} | {
            f"{channel}-contrast": mean[j, :, 1] for j, channel in enumerate(frame.channels)
        }


def _mean(rows: Array) -> Array:
    """Means over samples, (..., 2); NaN (an infinite distance) for a pair that no sample shows."""
    mean: Array = np.where(rows[..., 2:] > 0, rows[..., :2] / np.maximum(rows[..., 2:], 1.0), np.nan)
    return mean


def _against(weighting: str | None, first: str | None, second: str | None, first_is_brighter: bool) -> bool:
    if weighting is None or first is None or second is None or first == second:
        return False
    order = ORDERS[weighting]
    return (order.index(first) < order.index(second)) != first_is_brighter
