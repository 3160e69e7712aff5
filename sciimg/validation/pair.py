"""Metrics of two images of the same thing: a reconstruction, a restoration, a sample made for a known mask.

Every function takes single-channel arrays of shape ([Z,] Y, X) and returns a float; :func:`pair_metrics` runs them over two aligned
sets and averages over channels and pairs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric
from sciimg.types import PatchSet
from sciimg.validation.intensity_range import DataRange, data_range_of
from sciimg.validation.outcome import UndefinedError, faults_of
from sciimg.validation.resampling import group_index, mean_interval
from sciimg.validation.similarity import ms_ssim, ms_ssim_scales, ssim, ssim_map

__all__ = ["PAIR_METRICS", "dice", "ms_ssim", "mutual_information", "ncc", "nrmse", "pair_metrics", "psnr", "ssim", "ssim_map"]

Array = NDArray[np.float64]
MI_BINS = 64
MASK_VALUES = 32  # an image with more different values than this is taken for intensities, not for classes


def psnr(reference: NDArray[Any], test: NDArray[Any], *, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB, 10 log10(data_range² / MSE).

    Raises
    ------
    UndefinedError
        For identical images: the ratio is infinite.
    """
    error = _mse(reference, test)
    if error == 0:
        raise UndefinedError("the images are identical: PSNR is infinite")
    return float(10 * np.log10(data_range**2 / error))


def nrmse(reference: NDArray[Any], test: NDArray[Any]) -> float:
    """Return the root-mean-square error over the reference's root-mean-square (Fienup 1997, doi:10.1364/AO.36.008352)."""
    power = float(np.mean(np.square(reference, dtype=np.float64)))
    if power == 0:
        raise UndefinedError("the reference is zero everywhere")
    return float(np.sqrt(_mse(reference, test) / power))


def ncc(reference: NDArray[Any], test: NDArray[Any]) -> float:
    """Return the zero-mean normalised cross-correlation (Pearson's r over pixels)."""
    x = reference.astype(np.float64) - np.mean(reference, dtype=np.float64)
    y = test.astype(np.float64) - np.mean(test, dtype=np.float64)
    norm = float(np.sqrt(np.sum(x * x) * np.sum(y * y)))
    if norm == 0:
        raise UndefinedError("an image is constant")
    return float(np.clip(np.sum(x * y) / norm, -1, 1))


def mutual_information(reference: NDArray[Any], test: NDArray[Any], *, bins: int = MI_BINS) -> float:
    """Return the mutual information of the two intensities in nats, from a joint histogram over the range of each image.

    References
    ----------
    Viola P, Wells WM (1997) Alignment by maximization of mutual information. doi:10.1023/A:1007958904918
    """
    x, y = (image.astype(np.float64).ravel() for image in (reference, test))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise UndefinedError("an image is constant")
    joint = np.histogram2d(x, y, bins=bins)[0] / x.size
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen])))


def dice(reference: NDArray[Any], test: NDArray[Any]) -> float:
    """Return the Dice overlap of two masks; for class maps the mean over the classes of the reference (0 is background).

    Raises
    ------
    UndefinedError
        If the images are intensities, or the reference has no foreground.
    """
    if reference.dtype.kind == "f" and not np.array_equal(reference, np.rint(reference)):
        raise UndefinedError("masks hold whole numbers; these are intensities")
    values = [np.unique(mask) for mask in (reference, test)]
    if max(len(v) for v in values) > MASK_VALUES:
        raise UndefinedError(f"masks hold at most {MASK_VALUES} values; these are intensities or numbered objects")
    if max(np.count_nonzero(v) for v in values) <= 1:  # 0 and 255 on one side may meet 0 and 1 on the other
        reference, test = reference != 0, test != 0
    classes = np.unique(reference[reference != 0])
    if len(classes) == 0:
        raise UndefinedError("the reference mask is empty")
    overlaps = [2 * np.sum((reference == c) & (test == c)) / (np.sum(reference == c) + np.sum(test == c)) for c in classes]
    return float(np.mean(overlaps))


def _mse(reference: NDArray[Any], test: NDArray[Any]) -> float:
    return float(np.mean(np.square(reference.astype(np.float64) - test.astype(np.float64))))


# ---------------------------------------------------------------- over two sets


@dataclass(frozen=True, slots=True)
class PairMetric:
    """A metric with what a reader must know of it. ``compute`` takes (reference, test, data_range)."""

    compute: Callable[[NDArray[Any], NDArray[Any], float], float]
    higher_is_better: bool
    source: str
    unit: str | None = None
    needs_range: bool = True


_SSIM = "Wang et al. 2004, doi:10.1109/TIP.2003.819861"

PAIR_METRICS: dict[str, PairMetric] = {
    "ssim": PairMetric(lambda a, b, r: ssim(a, b, data_range=r), True, f"{_SSIM}; Gaussian window, sigma 1.5 px"),
    "ssim_uniform": PairMetric(
        lambda a, b, r: ssim(a, b, data_range=r, window="uniform"), True, f"{_SSIM}; uniform window of 7 px, sample moments"
    ),
    "ms_ssim": PairMetric(lambda a, b, r: ms_ssim(a, b, data_range=r), True, "Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216"),
    "psnr": PairMetric(lambda a, b, r: psnr(a, b, data_range=r), True, "10 log10(data_range² / MSE)", "dB"),
    "nrmse": PairMetric(lambda a, b, r: nrmse(a, b), False, "Fienup 1997, doi:10.1364/AO.36.008352", needs_range=False),
    "ncc": PairMetric(lambda a, b, r: ncc(a, b), True, "Pearson correlation over pixels", needs_range=False),
    "mutual_information": PairMetric(
        lambda a, b, r: mutual_information(a, b), True, f"Viola & Wells 1997, doi:10.1023/A:1007958904918; {MI_BINS} bins", "nat", False
    ),
    "dice": PairMetric(lambda a, b, r: dice(a, b), True, "Dice 1945, doi:10.2307/1932409", needs_range=False),
}


def pair_metrics(
    reference: PatchSet,
    test: PatchSet,
    data_range: float | None = None,
    *,
    metrics: Sequence[str] = ("ssim", "ms_ssim", "psnr", "nrmse", "ncc"),
    rounds: int = 1000,
    key: tuple[str | int, ...] = ("pair",),
) -> list[Metric]:
    """Compare two aligned sets, row by row.

    Parameters
    ----------
    reference, test : PatchSet
        Row i of one belongs to row i of the other; the groups are those of the reference.
    data_range : float, optional
        Width of the intensity scale; see :func:`sciimg.validation.intensity_range.data_range_of`.
    metrics : sequence of str
        Names in ``PAIR_METRICS``.

    Returns
    -------
    list of Metric
        Mean over channels and pairs, with the group-bootstrap interval; or the reason why there is none.
    """
    return [_pair_metric(name, reference, test, data_range, rounds, (*key, name)) for name in metrics]


def _pair_metric(name: str, reference: PatchSet, test: PatchSet, given: float | None, rounds: int, key: tuple[str | int, ...]) -> Metric:
    metric = PAIR_METRICS[name]
    described: dict[str, Any] = {
        "n": len(reference),
        "unit_of_n": "pairs",
        "higher_is_better": metric.higher_is_better,
        "unit": metric.unit,
        "source": metric.source,
    }
    try:
        reason = _incomparable(reference, test)
        if reason:
            raise UndefinedError(reason)
        scale = data_range_of(reference, test, given) if metric.needs_range else None
        first, second = (_masks(p) if name == "dice" else p.images for p in (reference, test))
        values = _values(metric, first, second, scale)
    except UndefinedError as error:
        return Metric.undefined(name, str(error), **described)
    detail: dict[str, Any] = {"groups": len(group_index(reference.groups)[0])}
    if scale is not None:
        described["data_range"] = scale.value
        detail["data_range_origin"] = scale.origin
    if name == "ms_ssim":
        detail["scales"] = ms_ssim_scales(reference.images.shape[2:])
    interval = mean_interval(values, reference.groups, generator(*key), rounds=rounds)
    return Metric(name=name, value=float(values.mean()), ci95=interval, detail=detail, **described)


def _incomparable(reference: PatchSet, test: PatchSet) -> str:
    if reference.images.shape != test.images.shape:
        return f"both sides need the same shape; the reference has {reference.images.shape}, the test {test.images.shape}"
    for patches, what in ((reference, "reference"), (test, "test")):
        if fault := faults_of(patches, what, constant=True):
            return fault
    return ""


def _masks(patches: PatchSet) -> NDArray[Any]:
    """Return the labels as images with one channel (objects as foreground), or the images where a mask came as an image."""
    if patches.labels is None:
        return patches.images
    return (patches.labels if patches.label_kind == "classes" else patches.labels > 0)[:, None]


def _values(metric: PairMetric, reference: NDArray[Any], test: NDArray[Any], scale: DataRange | None) -> Array:
    """Return the metric of each pair, averaged over channels, shape (N,); one undefined pair makes the whole undefined."""
    values, reasons = np.full(reference.shape[:2], np.nan), []
    for pair, channel in np.ndindex(*values.shape):
        try:
            values[pair, channel] = metric.compute(reference[pair, channel], test[pair, channel], scale.value if scale else np.nan)
        except UndefinedError as error:
            reasons.append(str(error))
    if reasons:
        raise UndefinedError(f"in {len(reasons)} of {values.size} single-channel images: {reasons[0]}")
    return np.asarray(values.mean(axis=1))
