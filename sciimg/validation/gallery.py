"""The arrays behind the report's pictures, one ``gallery.npz`` a recipe. Nothing is drawn here.

    real.images, real.labels                       holdout patches (N, C, [Z,] Y, X), one or few a group, and their labels
    synthetic.images, synthetic.labels             samples of the judged set and the labels they were made for
    real.read-back, synthetic.read-back            the labels that the independent segmenter finds in them
    paired.real, paired.synthetic, paired.labels   a real patch and a sample made for its conditions; paired.error: their difference
    reconstruction.real, reconstruction.synthetic  a real patch and what the autoencoder keeps of it; reconstruction.error
    nearest.synthetic, nearest.train               the samples that are closest to a training patch, and that patch; nearest.distance
    nearest.holdout, nearest.holdout-train         the same for real holdout patches: what closeness means without copying
    worst.synthetic, worst.distance                the samples farthest from every real holdout patch in a feature space, farthest first
    physics.CHECK.real-CURVE, …synthetic-CURVE     what each physics check measures, as curves
    channels, label-kind, spacing, unit            as text or numbers

An error is the absolute difference of intensities in units of the channel's real range (0.5 to 99.5 %), mean over channels, cut at 1:
shape (N, [Z,] Y, X). Entries that do not apply are missing.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.files import write_bytes
from sciimg.randomness import generator
from sciimg.types import PatchSet

Arrays = dict[str, NDArray[Any]]

SAMPLES = {2: 12, 3: 6}


def describe(patches: PatchSet) -> Arrays:
    """Return what is needed to draw: channels, kind of labels, spacing."""
    return {
        "channels": np.array(patches.channels, dtype=np.str_),
        "label-kind": np.array(patches.label_kind or "", dtype=np.str_),
        "spacing": np.array(patches.spacing.values, dtype=np.float64),
        "unit": np.array(patches.spacing.unit, dtype=np.str_),
    }


def chosen(patches: PatchSet, key: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the rows to show: drawn by the key, never by looks, from as many groups as there are."""
    rng = generator(*key, "shown")
    groups = np.asarray(patches.groups, dtype=str)
    order = rng.permutation(len(patches))
    turn = np.empty(len(patches), dtype=np.intp)
    for group in np.unique(groups):
        rows = order[groups[order] == group]
        turn[rows] = np.arange(len(rows))
    ranked = order[np.argsort(turn[order], kind="stable")]
    return ranked[: SAMPLES[patches.dims]]


def samples(name: str, patches: PatchSet, read_back: PatchSet | None = None) -> Arrays:
    """Return ``NAME.images`` and, where there are any, ``NAME.labels`` and ``NAME.read-back``."""
    out: Arrays = {f"{name}.images": patches.images}
    if patches.labels is not None:
        out[f"{name}.labels"] = patches.labels
    if read_back is not None and read_back.labels is not None:
        out[f"{name}.read-back"] = read_back.labels
    return out


def pairs(name: str, real: PatchSet, test: PatchSet, key: tuple[str, ...]) -> Arrays:
    """Return ``NAME.real``, ``NAME.synthetic``, ``NAME.labels`` and ``NAME.error`` of chosen rows of two aligned sets."""
    rows = chosen(real, key)
    out: Arrays = {f"{name}.real": real.images[rows], f"{name}.synthetic": test.images[rows]}
    if real.labels is not None:
        out[f"{name}.labels"] = real.labels[rows]
    return out | {f"{name}.error": error_map(real, test)[rows]}


def farthest(synthetic: PatchSet, to_real: NDArray[np.float64]) -> Arrays:
    """Return ``worst.synthetic`` and ``worst.distance``: the samples whose nearest real patch is farthest away.

    Parameters
    ----------
    to_real : array, shape (N, M)
        Distance of each sample to each real holdout patch.
    """
    nearest = to_real.min(axis=1)
    rows = np.argsort(-nearest, kind="stable")[: SAMPLES[synthetic.dims]]
    return {"worst.synthetic": synthetic.images[rows], "worst.distance": nearest[rows]}


def error_map(real: PatchSet, test: PatchSet) -> NDArray[np.float32]:
    """Return absolute differences in units of each channel's real range, mean over channels, cut at 1: shape (N, [Z,] Y, X)."""
    axes = (0, *range(2, real.images.ndim))
    low, high = np.quantile(real.images, [0.005, 0.995], axis=axes, keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    error = np.abs(test.images.astype(np.float64) - real.images.astype(np.float64)) / span
    mean: NDArray[np.float32] = np.clip(error.mean(axis=1), 0, 1).astype(np.float32)
    return mean


def physics(check: str, curves: Mapping[str, NDArray[np.float64]]) -> Arrays:
    """Return the curves of a check under their names in the gallery."""
    return {f"physics.{check}.{name}": values for name, values in curves.items()}


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as a compressed npz, whole or not at all; equal arrays give equal bytes."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    write_bytes(path, stream.getvalue())


def read_arrays(path: Path) -> Arrays:
    """Read what :func:`write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
